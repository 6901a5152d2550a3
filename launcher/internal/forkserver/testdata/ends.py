"""Ends in the way that the variable CASE names."""
# -*- coding: utf-8 -*-
import atexit
import os
import pickle
import signal
import sys
import threading


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(self) is type(other) and self.x == other.x


def double(point):
    return Point(2 * point.x)


def uncaught():
    def inner():
        raise ValueError("inner: é")

    try:
        inner()
    except ValueError as e:
        raise RuntimeError("outer") from e


def own_hook():
    import traceback

    def hook(kind, value, tb):
        print("hook", kind, [f.name for f in traceback.extract_tb(tb)])

    sys.excepthook = hook
    uncaught()


def stack():
    import traceback

    traceback.print_stack()
    import faulthandler

    faulthandler.dump_traceback(all_threads=False)


def warning():
    import warnings

    warnings.warn("a warning", DeprecationWarning, stacklevel=2)
    warnings.warn("from above", UserWarning, stacklevel=9)


def handlers():
    def late():
        threading.Event().wait(0.05)
        print("thread done")

    atexit.register(print, "at exit")
    threading.Thread(target=late).start()
    sys.stdout.write("no newline")
    sys.exit(3)


def thread_raises():
    t = threading.Thread(target=uncaught, name="T")
    t.start()
    t.join()


def unraisable():
    class Bad:
        def __del__(self):
            raise ValueError("in del")

    Bad()


def many(method):
    import multiprocessing

    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        print(method, pool.map(double, [Point(1), Point(2)]) == [Point(2), Point(4)])
    q = context.Queue()
    p = context.Process(target=q.put, args=(Point(3),))
    p.start()
    print(q.get() == Point(3), p.join(), p.exitcode)


def pickled():
    data = pickle.dumps(Point(5), 2)
    print(data, pickle.loads(data) == Point(5), Point.__module__)


def subinterpreter():
    import subprocess

    code = ("import sys, os; "
            "print(sys.path[0] == '', os.environ['CASE'], 'sitecustomize' in sys.modules)")
    print(subprocess.check_output([sys.executable, "-c", code]))


cases = {
    "nothing": lambda: None,
    "uncaught": uncaught,
    "own hook": own_hook,
    "stack": stack,
    "warning": warning,
    "handlers": handlers,
    "thread raises": thread_raises,
    "unraisable": unraisable,
    "exit": lambda: sys.exit(),
    "exit 12": lambda: sys.exit(12),
    "exit text": lambda: sys.exit("bad: é"),
    "exit 256": lambda: sys.exit(256),
    "_exit": lambda: os._exit(7),
    "abort": lambda: os.abort(),
    "interrupt": lambda: signal.raise_signal(signal.SIGINT),
    "KeyboardInterrupt": lambda: exec("raise KeyboardInterrupt"),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "pipe": lambda: os.kill(os.getpid(), signal.SIGPIPE),
    "closed stdout": lambda: os.close(1) or print("x"),
    "spawn": lambda: many("spawn"),
    "fork": lambda: many("fork"),
    "forkserver": lambda: many("forkserver"),
    "pickle": pickled,
    "subinterpreter": subinterpreter,
    "generic": lambda: print(list(range(3)), flush=False),
}

if __name__ == "__main__":
    print("start", os.environ["CASE"])
    cases[os.environ["CASE"]]()
