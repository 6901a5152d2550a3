"""Prints random numbers and how many threads PyTorch uses."""
import os
import random

import numpy
import torch

print(numpy.random.rand(), random.random(), torch.rand(1).item())
print(torch.get_num_threads(), sorted(os.sched_getaffinity(0)))
# This is enough work for several threads. If a lock had been held during the fork, it would hang.
print((torch.ones(300, 300) @ torch.ones(300, 300)).sum().item())
