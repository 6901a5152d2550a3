"""Writes the name of the script to a file each time it is imported or run."""
import os
import sys

with open(os.environ["COUNT_FILE"], "a") as f:
    print(os.path.basename(getattr(sys.modules["__main__"], "__file__", "none")), file=f)
