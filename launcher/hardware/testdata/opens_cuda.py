"""A module that initialises CUDA when it is imported, which no preload may do."""
import ctypes

ctypes.CDLL("libcuda.so.1").cuInit(0)
