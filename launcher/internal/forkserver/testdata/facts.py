"""Prints everything that a script can see of its interpreter and its process."""
import atexit
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import warnings


def first_of_each(entries):
    """Returns the entries that getenv(3) finds."""
    names = [e.split(b"=")[0] for e in entries]
    return [e for i, e in enumerate(entries) if b"=" in e and names.index(names[i]) == i]


main = sys.modules["__main__"]
for name in sorted(vars(main)):
    if name.startswith("__"):
        print(name, type(vars(main)[name]).__name__, str(vars(main)[name]).split(" at 0x")[0])
print("main", main.__dict__ is globals(), len(inspect.stack()),
      sys.excepthook is sys.__excepthook__)
print("argv", sys.argv, getattr(sys, "orig_argv", None), sys.executable)
print("path", sys.path, sys.prefix, sys.warnoptions, sys._xoptions, sys.flags)
print("left behind", sorted(k for k in sys.path_importer_cache if k.startswith("/tmp")),
      [k for k in sys.modules if "forkserver" in k])
print("filters", warnings.filters)
print("hook", getattr(sys.modules.get("sitecustomize"), "__file__", "").split("/")[-2:])
for stream in sys.stdin, sys.stdout, sys.stderr:
    print(stream, stream.buffer, stream.errors, stream.line_buffering, stream.write_through,
          stream.isatty(), stream.seekable(), stream.fileno())
print("stdin", repr(sys.stdin.readline()), sys.stdin.tell(), repr(sys.stdin.read()))
print("environment", sorted(os.environb.items()))
children = subprocess.check_output(["/usr/bin/env", "-0"]).split(b"\0")
print("environment of children", sorted(first_of_each(children)), flush=True)
print("threads", threading.current_thread(),
      threading.main_thread() is threading.current_thread(), threading.active_count())
print("signals", [signal.getsignal(n) for n in range(1, 32)],
      signal.pthread_sigmask(signal.SIG_BLOCK, []))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
# Signals above 31 are left out: the C library catches two of them once it has started a thread.
masks = [hex(int(status[k], 16) & 0x7FFFFFFF) for k in ("SigBlk", "SigIgn", "SigCgt")]
print("kernel", masks, status["Name"], status["Threads"], status["Cpus_allowed_list"])
print("process", open("/proc/self/cmdline").read().split("\0"), open("/proc/self/comm").read(),
      os.getcwd(), oct(os.umask(0o22)))
print("group", os.getpid() == os.getpgrp(), os.getsid(0), os.getppid())
print("descriptors", sorted(os.listdir("/proc/self/fd")), os.open("/dev/null", os.O_RDONLY))
print("collector", gc.isenabled(), gc.get_threshold())
atexit.register(print, "at exit")
