"""Initialises CUDA when it is imported. gpulaunch must refuse to preload such a module."""
import ctypes

ctypes.CDLL("libcuda.so.1").cuInit(0)
