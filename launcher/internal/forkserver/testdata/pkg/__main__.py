import sys

print("package as a program", sys.argv, __spec__.name, sys.path[0], __package__)
from . import facts  # noqa
