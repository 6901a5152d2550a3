"""A module that initialises CUDA through PyTorch when it is imported."""
import torch

torch.cuda.init()
