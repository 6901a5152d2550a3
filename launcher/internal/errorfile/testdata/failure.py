"""Prints, as JSON, how torchrun understands the error files named by the arguments."""

import json
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

failures = []
for name in sys.argv[1:]:
    failure = ProcessFailure(local_rank=0, pid=4711, exitcode=1, error_file=name)
    report = ChildFailedError("train.py", {0: failure}).format_msg()
    failures.append({
        "message": failure.message, "timestamp": failure.timestamp, "report": report})
json.dump(failures, sys.stdout)
