"""Prints what a module can see when it is run with -m."""
import inspect
import sys

print(__name__, __file__, __package__, __spec__ and __spec__.name,
      sys.argv, getattr(sys, "orig_argv", None))
print(sys.path, "pkg.facts" in sys.modules, len(inspect.stack()) if __name__ == "__main__" else "")
if __name__ == "__main__":
    1 / 0
