"""Prints facts about its process, then waits for the end of its standard input."""
import ctypes
import os
import sys

death = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(death))  # PR_GET_PDEATHSIG
sys.stdout.write("%d %d %d %d\n" % (os.getpid(), os.getppid(), os.getpgrp(), death.value))
sys.stdin.read()
