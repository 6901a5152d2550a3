"""A worker that fails under PyTorch's @record, in the way that its argument names."""

import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, record


@record
def main():
    how = sys.argv[1]
    if how == "raise":
        raise ValueError("no such layer: \"konv2d\" \u00e9 \U0001f600 \udc80 \x1b[31m")
    if how == "child":
        # A launcher within the worker passes on what its own worker has left.
        raise ChildFailedError("inner", {0: ProcessFailure(0, 4711, -6, sys.argv[2])})


main()
