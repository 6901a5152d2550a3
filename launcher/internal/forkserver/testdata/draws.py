"""Draws random numbers, and says how many threads PyTorch uses."""
import os
import random

import numpy
import torch

print(numpy.random.rand(), random.random(), torch.rand(1).item())
print(torch.get_num_threads(), sorted(os.sched_getaffinity(0)))
# Enough for a team of threads: a lock that was held at the fork would show.
print((torch.ones(300, 300) @ torch.ones(300, 300)).sum().item())
