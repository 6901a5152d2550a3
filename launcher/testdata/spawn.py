"""A worker that does as it is told, for the tests of what spawning promises.

Usage: spawn.py MODE [ARGUMENT...]; launcher_test.go says what the modes are for.
"""
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

RANK = int(os.environ["RANK"])


def say(text):
    print(text, flush=True)


def block():
    while True:
        signal.pause()


def record(run):
    """Leaves an error file as torch.distributed.elastic's @record does."""
    try:
        run()
    except Exception as e:
        data = {"message": {"message": f"{type(e).__name__}: {e}", "extraInfo": {
            "py_callstack": traceback.format_exc(), "timestamp": str(int(time.time()))}}}
        with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as f:
            json.dump(data, f)
        raise


def fail():
    raise ValueError(f"legitimate exception from process {RANK}")


def hold(path):
    """Takes the lock that the kernel releases when this process ends, and shows it."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, b"%d" % os.getpid())


def await_end(path):
    """Waits until the process that held the lock has ended."""
    while not (os.path.exists(path) and os.path.getsize(path)):
        time.sleep(0.005)
    with open(path) as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        holder = f.read()
    # A lock is released before its holder can be waited for, and a process is in state
    # Z before its threads have ended: only one that has been waited for has ended.
    while holder != "0" and os.path.exists(f"/proc/{holder}"):
        time.sleep(0.001)


def nothing():
    pass


def index(*wrong):
    say(f"index {wrong[0] if wrong else os.environ['LOCAL_RANK']} rank {RANK}")


def wait(path):
    await_end(path)


def raise_one(rank):
    if RANK == int(rank):
        record(fail)
    say(f"ready {os.getpid()}")
    block()


def raise_all():
    time.sleep(int.from_bytes(os.urandom(1), "big") / 5000)  # at random moments within 51 ms
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    record(fail)


def raise_in_turn(first, path):
    """Rank first fails; the other one only when that has ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if RANK == int(first):
        hold(path)
    else:
        await_end(path)
    record(fail)


def abort(rank):
    if RANK == int(rank):
        os.abort()
    block()


def exit_one(rank, code, path=None):
    """Rank exits, when the lock is free; the others say so when they are signalled."""
    if RANK == int(rank):
        if path:
            await_end(path)
        sys.exit(int(code))
    signal.signal(signal.SIGTERM, lambda *_: (say("signalled"), os._exit(0)))
    say(f"ready {os.getpid()}")
    block()


def exit_and_leave(path, code):
    """Rank 0 exits; the others then leave by themselves, or say that they were hurried."""
    signal.signal(signal.SIGTERM, lambda *_: (say("signalled"), os._exit(0)))
    if RANK == 0:
        hold(path)
        while not os.path.exists(path + ".ready"):  # or it would not be started any more
            time.sleep(0.005)
        sys.exit(int(code))
    open(path + ".ready", "w").close()
    await_end(path)
    time.sleep(0.1)
    say("left by itself")


def succeed_then_raise(path):
    if RANK == 0:
        hold(path)
        return
    await_end(path)
    record(fail)


def nested(deaf=None):
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which children inherit, and keep
    children = [subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True) for _ in range(2)]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    say("children " + " ".join(str(c.pid) for c in children))
    block()


def imported():
    import slow_import
    say(f"imported {slow_import.NUMBER}")


def busy():
    """Computes in threads and in a child, for ever."""
    compute = "while True: sum(range(100000))"
    child = subprocess.Popen([sys.executable, "-c", compute])
    for _ in range(2):
        threading.Thread(target=exec, args=(compute,), daemon=True).start()
    say(f"busy {os.getpid()} {child.pid}")
    block()


def stray():
    """Lets itself run on all CPUs that the kernel grants."""
    os.sched_setaffinity(0, range(os.cpu_count()))
    say(f"ready {os.getpid()}")
    block()


def succeed_after(restarts):
    import slow_import
    say(f"imported {slow_import.NUMBER} pid {os.getpid()}")
    sys.exit(0 if os.environ["TORCHELASTIC_RESTART_COUNT"] == restarts else 9)


globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
