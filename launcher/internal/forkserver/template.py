"""The template of gpulaunch's forkserver: see the Go package's doc.go.

Run as a program it starts the interpreter again, with itself as the sitecustomize
module. As that module it imports what is to be preloaded, forks workers when asked
over descriptor 3, and returns in each worker. In the template it never returns.
"""

import array
import binascii
import ctypes
import errno
import gc
import io
import json
import os
import socket
import sys
import time
import traceback
import types
import warnings

LINK = 3
FOLDER = os.path.dirname(os.path.abspath(__file__))


def restart():
    """Runs the interpreter anew, without this file in its arguments and with its folder first on the path."""
    if sys.flags.ignore_environment or sys.flags.no_site:
        # The hook would not be found, and the script would run in the template.
        give_up(1, "%s ignores its environment or has no site module (its options -I, -E or -S), which the template "
                "needs: leave them out, or use --start-method=exec" % sys.executable)
    # As the kernel got them, with any options that a wrapper has put in.
    with open("/proc/self/cmdline", "rb") as f:
        args = f.read().split(b"\0")[:-1]
    args.remove(os.fsencode(sys.argv[0]))
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = FOLDER + os.pathsep + path if path else FOLDER
    os.execv(sys.executable, args)


def remove_traces():
    """Makes this process what it would be without the hook, as far as modules can see."""
    path = os.environ["PYTHONPATH"][len(FOLDER) + 1:]
    if path:
        os.environ["PYTHONPATH"] = path
    else:
        del os.environ["PYTHONPATH"]
    sys.path.remove(FOLDER)
    sys.path_importer_cache.pop(FOLDER, None)
    # There may be another one behind this, for instance the distribution's.
    del sys.modules[__name__]
    try:
        __import__(__name__)
    except Exception as e:
        if not isinstance(e, ImportError) or e.name != __name__:
            traceback.print_exc()  # like site, which goes on
    sys.modules.setdefault(__name__, types.ModuleType(__name__))  # the import system insists on one


def send(connection, message):
    text = json.dumps(message).encode()
    connection.sendall(len(text).to_bytes(4, "big") + text)


def receive(connection):
    """Gives None when the other side has gone."""
    size = read(connection, 4)
    text = size and read(connection, int.from_bytes(size, "big"))
    return json.loads(text.decode()) if text else None


def read(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            return None
        data += more
    return data


def give_up(code, text, connection=None, **more):
    """Says why and ends the process, without what interpreters do at their end."""
    try:
        send(connection or socket.socket(fileno=LINK), dict(more, error=" ".join(text.split())))
    except OSError:
        pass  # nobody listens any more
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def describe(e):
    """The last line of a traceback."""
    return "".join(traceback.format_exception_only(type(e), e)).strip()


def preload(link, modules):
    """Imports modules with __main__ and the path as the script would have them."""
    main = sys.modules["__main__"]
    script = None if sys.argv[0] == "-m" else sys.argv[0]
    folder = os.path.dirname(os.path.realpath(script)) if script else os.getcwd()
    if script:
        main.__file__ = script
    if not getattr(sys.flags, "safe_path", False):  # since Python 3.11
        sys.path.insert(0, folder)
    for name in modules:
        send(link, {"importing": name})
        try:
            # Not importlib.import_module, whose own frames are in tracebacks.
            __import__(name)
        except BaseException as e:  # SystemExit, too
            explain(link, name, e)
    # The interpreter puts them in when it gets to the script.
    if script and getattr(main, "__file__", None) == script:
        del main.__file__
    if not getattr(sys.flags, "safe_path", False) and folder in sys.path:
        sys.path.remove(folder)


def explain(link, name, e):
    frames = e.__traceback__ and e.__traceback__.tb_next  # without this file's
    text = "".join(traceback.format_exception(type(e), e, frames))
    # Only the end of a very long one: messages are bounded.
    give_up(1, "cannot import %s: %s" % (name, describe(e)), link, module=name, traceback=text[-60000:])


def refuse_cuda(link):
    """CUDA's state cannot be used after fork(2): its driver says so, and PyTorch, too."""
    seen = None
    for name in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue  # the folder's own
        if path.startswith("/dev/nvidia"):
            seen = path + " is open"
    torch = sys.modules.get("torch")
    if hasattr(torch, "cuda") and torch.cuda.is_initialized():
        seen = "torch.cuda.is_initialized()"
    if seen:
        give_up(1, "the preload initialised CUDA (%s), which a forked process cannot use: keep CUDA calls out of "
                "module level, or use --start-method=exec" % seen, link)


def warn_of_threads():
    threading = sys.modules.get("threading")
    names = [t.name for t in threading.enumerate()[1:]] if threading else []
    if names:
        sys.stderr.write("gpulaunch: the preload started threads, which do not live on in workers: %s\n" % ", ".join(names))


def occupy_standard_files():
    """What a worker is sent must not get one of these numbers, should a module have closed the file."""
    fd = 0
    while fd <= 2:
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)


def name_process(name):
    """Sets the name that ps and top show, and gives the one before."""
    with open("/proc/self/comm", "r+") as f:
        before = f.read()
        f.write(name)
    return before.rstrip("\n")


def fork():
    """os.fork, without Python 3.12's warning to those who have threads: see warn_of_threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def fork_orphan():
    """Forks a child that its subreaper inherits at once. Gives its pid, and 0 in the child itself."""
    reader, writer = os.pipe()
    try:
        middle = fork()
        if middle == 0:
            try:
                pid = fork()
            except OSError as e:
                pid = -e.errno
            except BaseException:
                os._exit(1)
            if pid == 0:
                return 0
            os.write(writer, str(pid).encode())
            os._exit(0)
        # Until it is gone the worker is its child, and the supervisor's only then.
        try:
            os.waitpid(middle, 0)
        except ChildProcessError:
            pass  # a module ignores SIGCHLD: the kernel has reaped it, when it had ended
        os.close(writer)
        writer = None
        pid = int(os.read(reader, 20) or -errno.EAGAIN)  # nothing: it was killed
        if pid < 0:
            raise OSError(-pid, "")
        return pid
    finally:
        os.close(reader)
        if writer is not None:
            os.close(writer)


def serve(link):
    """Forks workers until the supervisor has gone. In a worker it returns the control socket and the files."""
    while True:
        fds = array.array("i")
        word, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(4 * fds.itemsize), socket.MSG_CMSG_CLOEXEC)
        if not word:
            os._exit(0)
        for _, _, data in ancillary:
            fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        try:
            if len(fds) != 4:
                raise OSError(errno.EMFILE, "")  # the kernel drops what does not fit
            pid = fork_orphan()
            if pid == 0:
                control, fds = socket.socket(fileno=fds[0]), fds[1:]
                link.close()
                return control, fds
            reply = {"pid": pid}
        except OSError as e:
            reply = {"errno": e.errno}
        for fd in fds:
            os.close(fd)
        send(link, reply)


def become_worker(control, files, comm, libc):
    """Makes this process what one started for the purpose would be; then its script may run."""
    spec = receive(control)
    if spec is None:
        os._exit(125)  # the supervisor does not want it any more
    step = "parent death signal"
    try:
        if libc.prctl(1, 9, 0, 0, 0) != 0:  # PR_SET_PDEATHSIG, SIGKILL
            raise OSError("prctl failed")
        if os.getppid() != spec["supervisor"]:
            os._exit(125)  # it died before the signal was set
        step = "files"
        for target, fd in enumerate(files):
            os.dup2(fd, target)
            os.close(fd)
        renew_streams()
        step = "process group"
        os.setpgid(0, 0)
        step = "environment"
        template_threads = os.environ.get("OMP_NUM_THREADS")
        replace_environment(spec["env"])
        step = "CPUs"
        if spec["cpus"] is not None:
            os.sched_setaffinity(0, spec["cpus"])
        step = "memory policy"
        set_memory_policy(libc, spec["memory"] or [])
        step = "name"
        name_process(comm)
        step = "libraries"
        renew_libraries(template_threads)
        send(control, {"done": True})
        control.close()
    except BaseException as e:
        give_up(125, "%s: %s" % (step, describe(e)), control)


def set_memory_policy(libc, calls):
    """Tries the calls of set_mempolicy(2) until the kernel knows one."""
    for i, call in enumerate(calls):
        word = 8 * ctypes.sizeof(ctypes.c_ulong)
        mask = (ctypes.c_ulong * (max(call["nodes"]) // word + 1))()
        for node in call["nodes"]:
            mask[node // word] |= 1 << node % word
        # The kernel takes one bit less than it is told for nodes.
        if libc.syscall(call["number"], call["mode"], mask, ctypes.c_ulong(len(mask) * word + 1)) == 0:
            return
        error = ctypes.get_errno()
        if error != errno.EINVAL or i == len(calls) - 1:
            raise OSError(error, os.strerror(error))


def renew_streams():
    """Initialises sys.stdin and its like again, since they have looked at the template's files.

    In place: modules may hold on to them, as logging does.
    """
    for stream, name in (sys.__stdin__, "<stdin>"), (sys.__stdout__, "<stdout>"), (sys.__stderr__, "<stderr>"):
        if stream is None or stream.closed:
            continue
        fd, buffer = stream.fileno(), stream.buffer
        raw = io.FileIO(fd, "rb" if fd == 0 else "wb", closefd=False)
        raw.name = name
        how = dict(encoding=stream.encoding, errors=stream.errors, newline="\n",
                   line_buffering=stream.line_buffering, write_through=stream.write_through)
        if hasattr(buffer, "raw"):
            buffer.__init__(raw)
        else:
            buffer = raw  # -u: what is written has no buffer
        stream.__init__(buffer, **how)


def replace_environment(block):
    os.environb.clear()
    for entry in binascii.a2b_base64(block).split(b"\0"):
        name, equals, value = entry.partition(b"=")
        # As Python does at its start: the first of two counts.
        if name and equals and name not in os.environb:
            os.environb[name] = value


def renew_libraries(template_threads):
    threads = os.environ.get("OMP_NUM_THREADS", "")
    torch = sys.modules.get("torch")
    if hasattr(torch, "set_num_threads") and threads != template_threads and threads.isdigit() and int(threads) > 0:
        # The OpenMP library read the variable when it was loaded, in the template.
        torch.set_num_threads(int(threads))
    # The first state of these generators is from the system's randomness, in each
    # process another. Python's own random module sees to that itself.
    if hasattr(torch, "default_generator"):
        torch.default_generator.seed()
    random = sys.modules.get("numpy.random")
    if hasattr(random, "seed"):
        random.seed()


def main():
    """Returns in workers."""
    link = None
    try:
        os.set_inheritable(LINK, False)
        link = socket.socket(fileno=LINK)
        libc = ctypes.CDLL(None, use_errno=True)
        comm = name_process("python-template")
        hello = receive(link)
        if hello is None:
            os._exit(0)
        remove_traces()
        start = time.monotonic()
        preload(link, hello["preload"])
        seconds = time.monotonic() - start
        refuse_cuda(link)
        warn_of_threads()
        # Collections in workers then leave these objects alone, whose pages they share.
        occupy_standard_files()
        gc.collect()
        gc.freeze()
        send(link, {"ready": {"seconds": seconds}})
        control, files = serve(link)
    except BaseException as e:
        give_up(1, "the template failed: " + describe(e), link)
    become_worker(control, files, comm, libc)


if __name__ == "__main__":
    restart()
else:
    main()
