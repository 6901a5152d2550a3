"""A worker with PyTorch's @record that fails in the way its first argument names."""

import sys

from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError, ProcessFailure, record)


@record
def main():
    how = sys.argv[1]
    if how == "raise":
        raise ValueError("no such layer: \"konv2d\" \u00e9 \U0001f600 \udc80 \x1b[31m")
    if how == "child":
        # A launcher inside the worker passes on the error file of its own worker.
        raise ChildFailedError("inner", {0: ProcessFailure(0, 4711, -6, sys.argv[2])})


main()
