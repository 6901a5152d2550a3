"""Raises in one rank, under PyTorch's own @record; the others wait for their end."""
import os
import signal
import sys

from torch.distributed.elastic.multiprocessing.errors import record


def second(rank):
    raise RuntimeError(f"rank {rank} found no data")


def first(rank):
    second(rank)


@record
def main():
    rank = int(os.environ["RANK"])
    if rank == int(sys.argv[1]):
        first(rank)
    signal.pause()


if __name__ == "__main__":
    main()
