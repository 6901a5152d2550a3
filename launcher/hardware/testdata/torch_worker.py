"""A PyTorch worker that allocates BYTES on its GPU and reports which devices it sees."""
import json
import os
import sys

import torch

size = int(sys.argv[1])
memory = torch.ones(size, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
devices = []
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    # PyTorch has the UUID since version 2.4.
    devices.append({"uuid": str(getattr(p, "uuid", "")), "name": p.name, "pci": ""})
print("gpu", json.dumps({
    "pid": os.getpid(),
    "rank": int(os.environ["RANK"]), "local_rank": int(os.environ["LOCAL_RANK"]),
    "uuid": os.environ["GPULAUNCH_GPU_UUID"], "pci": os.environ["GPULAUNCH_GPU_PCI"],
    "bytes": memory.numel(), "devices": devices}), flush=True)
