import sys

for _ in range(64):
    sys.stdout.write("x" * 65536)
    sys.stderr.write("y" * 65536)
