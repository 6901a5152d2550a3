"""Initialises CUDA with PyTorch when it is imported."""
import torch

torch.cuda.init()
