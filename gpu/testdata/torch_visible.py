"""Reads {"uuids": [...], "values": [...]} and writes PyTorch's reading of each value.

The values are values of CUDA_VISIBLE_DEVICES. PyTorch 1.x knows only indexes and returns them as a
set, with -1 for an entry that is not an index: {"set": [...]}. From 2.0 on it returns a list of
indexes or of UUIDs, and can turn the latter into indexes: {"list": [...]}. An exception is written
as {"error": "..."}. The exit status is 77 if there is no PyTorch.
"""

import json
import os
import sys

try:
    from torch import cuda
except ImportError:
    sys.exit(77)

question = json.load(sys.stdin)
answers = []
for value in question["values"]:
    os.environ["CUDA_VISIBLE_DEVICES"] = value
    try:
        seen = cuda._parse_visible_devices()
        if isinstance(seen, set):
            answers.append({"set": sorted(seen)})
            continue
        if seen and isinstance(seen[0], str):
            seen = cuda._transform_uuid_to_ordinals(seen, question["uuids"])
        answers.append({"list": seen})
    except ValueError as e:
        answers.append({"error": str(e)})
json.dump(answers, sys.stdout)
