"""A module that takes long to import, and that counts its imports in a file."""
import os
import time

time.sleep(float(os.environ["SLOW_IMPORT_SECONDS"]))
with open(os.environ["SLOW_IMPORT_COUNT"], "a") as f:
    f.write("x")
NUMBER = os.path.getsize(os.environ["SLOW_IMPORT_COUNT"])
