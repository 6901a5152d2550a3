"""The program of a template process. The Go package's doc.go describes what it is for.

When this file is run as a script, it starts the interpreter again so that it is the sitecustomize
module. As that module it imports the modules that are to be preloaded, and forks workers when it
is asked to on the descriptor LINK. It returns in each worker, but never in the template process.
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

LINK_VARIABLE = "GPULAUNCH_TEMPLATE_LINK"
LINK = int(os.environ[LINK_VARIABLE])
FOLDER = os.path.dirname(os.path.abspath(__file__))


def restart():
    """Executes the interpreter again, without this file's name and with its folder on the path."""
    if sys.flags.ignore_environment or sys.flags.no_site:
        # The interpreter would not import this file but run the user's script.
        give_up(1, "%s runs with the option -I, -E or -S, but a template process needs its "
                "environment and the site module: leave the option out, or use "
                "--start-method=exec" % sys.executable)
    # These arguments include options that a wrapper script has added.
    with open("/proc/self/cmdline", "rb") as f:
        args = f.read().split(b"\0")[:-1]
    args.remove(os.fsencode(sys.argv[0]))
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = FOLDER + os.pathsep + path if path else FOLDER
    os.execv(sys.executable, args)


def remove_traces():
    """Removes everything by which modules could notice that this file was imported."""
    del os.environ[LINK_VARIABLE]
    path = os.environ["PYTHONPATH"][len(FOLDER) + 1:]
    if path:
        os.environ["PYTHONPATH"] = path
    else:
        del os.environ["PYTHONPATH"]
    sys.path.remove(FOLDER)
    sys.path_importer_cache.pop(FOLDER, None)
    # There may be another sitecustomize on the path, for instance the distribution's.
    del sys.modules[__name__]
    try:
        __import__(__name__)
    except Exception as e:
        if not isinstance(e, ImportError) or e.name != __name__:
            traceback.print_exc()  # the site module does the same, and goes on
    # The import system requires that this name is in sys.modules after the import.
    sys.modules.setdefault(__name__, types.ModuleType(__name__))


def send(connection, message):
    text = json.dumps(message).encode()
    connection.sendall(len(text).to_bytes(4, "big") + text)


def receive(connection):
    """Returns None if the other side has closed the connection."""
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
    """Sends an error message and exits at once, without running any other Python code."""
    try:
        send(connection or socket.socket(fileno=LINK), dict(more, error=" ".join(text.split())))
    except OSError:
        pass  # the other side has ended
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def describe(e):
    """Returns the last line of the traceback."""
    return "".join(traceback.format_exception_only(type(e), e)).strip()


def preload(link, modules):
    """Imports modules with the __main__ and the path that the script will have."""
    main = sys.modules["__main__"]
    script = None if sys.argv[0] == "-m" else sys.argv[0]
    if script and is_app(script):
        folder = script
    else:
        folder = os.path.dirname(os.path.realpath(script)) if script else os.getcwd()
    if script:
        main.__file__ = script
    if not getattr(sys.flags, "safe_path", False):  # since Python 3.11
        sys.path.insert(0, folder)
    for name in modules:
        send(link, {"importing": name})
        try:
            # importlib.import_module would add its own frames to tracebacks.
            __import__(name)
        except BaseException as e:  # also SystemExit
            give_up_import(link, name, e)
    # The interpreter adds these again before it runs the script.
    if script and getattr(main, "__file__", None) == script:
        del main.__file__
    if not getattr(sys.flags, "safe_path", False) and folder in sys.path:
        sys.path.remove(folder)


def is_app(script):
    """Says whether the interpreter puts the script itself on the path: a folder or zip archive."""
    import zipimport  # the interpreter has it already
    try:
        return os.path.isdir(script) or bool(zipimport.zipimporter(script))
    except zipimport.ZipImportError:
        return False


def give_up_import(link, name, e):
    frames = e.__traceback__ and e.__traceback__.tb_next  # without the frame in this file
    text = "".join(traceback.format_exception(type(e), e, frames))
    text = text[-60000:]  # the length of messages is limited
    give_up(1, "cannot import %s: %s" % (name, describe(e)), link, module=name, traceback=text)


def refuse_cuda(link):
    """Gives up if CUDA is initialised: its driver and PyTorch refuse to work after fork(2) then."""
    seen = None
    for name in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue  # the descriptor with which listdir read the folder
        if path.startswith("/dev/nvidia"):
            seen = path + " is open"
    torch = sys.modules.get("torch")
    if hasattr(torch, "cuda") and torch.cuda.is_initialized():
        seen = "torch.cuda.is_initialized()"
    if seen:
        give_up(1, "the preloaded modules initialised CUDA (%s), which a forked process cannot "
                "use: keep CUDA calls out of module level, or use --start-method=exec" % seen, link)


def warn_of_threads():
    """Warns about threads, because fork(2) copies only the thread that calls it."""
    threading = sys.modules.get("threading")
    names = [t.name for t in threading.enumerate()[1:]] if threading else []
    if names:
        sys.stderr.write("gpulaunch: warning: the preloaded modules started threads, "
                         "which workers do not have: %s\n" % ", ".join(names))


def occupy_standard_files():
    """Opens /dev/null for those of the descriptors 0, 1 and 2 that a module has closed.

    Otherwise the descriptors that are received for a worker could get these numbers.
    """
    fd = 0
    while fd <= 2:
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)


def name_process(name):
    """Sets the name that ps and top show, and returns the previous one."""
    with open("/proc/self/comm", "r+") as f:
        before = f.read()
        f.write(name)
    return before.rstrip("\n")


def fork():
    """Calls os.fork without the warning about threads of Python 3.12: see warn_of_threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def fork_orphan():
    """Forks a process that becomes the subreaper's child. Returns its pid, and 0 in the process."""
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
        # The new process becomes the subreaper's child when the middle process has ended.
        try:
            os.waitpid(middle, 0)
        except ChildProcessError:
            pass  # a module ignores SIGCHLD, so the kernel itself has waited for the process
        os.close(writer)
        writer = None
        pid = int(os.read(reader, 20) or -errno.EAGAIN)  # empty if the middle process was killed
        if pid < 0:
            raise OSError(-pid, "")
        return pid
    finally:
        os.close(reader)
        if writer is not None:
            os.close(writer)


def serve(link):
    """Forks workers until the supervisor closes the link.

    In a worker it returns the control connection and the descriptors of the worker's files.
    """
    while True:
        fds = array.array("i")
        space = socket.CMSG_SPACE(4 * fds.itemsize)
        request, ancillary, _, _ = link.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
        if not request:
            os._exit(0)
        for _, _, data in ancillary:
            fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        try:
            if len(fds) != 4:
                raise OSError(errno.EMFILE, "")  # the kernel has dropped those above the limit
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
    """Gives this process all the properties of a worker that was started directly."""
    spec = receive(control)
    if spec is None:
        os._exit(125)  # the supervisor has closed the connection
    step = "parent death signal"
    try:
        if libc.prctl(1, 9, 0, 0, 0) != 0:  # PR_SET_PDEATHSIG, SIGKILL
            raise OSError("prctl failed")
        if os.getppid() != spec["supervisor"]:
            os._exit(125)  # the supervisor ended before the signal was set
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
    """Makes the first call of set_mempolicy(2) that the kernel supports."""
    for i, call in enumerate(calls):
        word = 8 * ctypes.sizeof(ctypes.c_ulong)
        mask = (ctypes.c_ulong * (max(call["nodes"]) // word + 1))()
        for node in call["nodes"]:
            mask[node // word] |= 1 << node % word
        # The kernel subtracts one from maxnode (get_nodes in mm/mempolicy.c).
        maxnode = ctypes.c_ulong(len(mask) * word + 1)
        if libc.syscall(call["number"], call["mode"], mask, maxnode) == 0:
            return
        error = ctypes.get_errno()
        if error != errno.EINVAL or i == len(calls) - 1:
            raise OSError(error, os.strerror(error))


def renew_streams():
    """Initialises sys.stdin, sys.stdout and sys.stderr again for the worker's files.

    It keeps the objects, because modules may refer to them, as logging does.
    """
    names = ("<stdin>", "<stdout>", "<stderr>")
    for stream, name in zip((sys.__stdin__, sys.__stdout__, sys.__stderr__), names):
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
            buffer = raw  # with -u, output is not buffered
        stream.__init__(buffer, **how)


def replace_environment(block):
    os.environb.clear()
    for entry in binascii.a2b_base64(block).split(b"\0"):
        name, equals, value = entry.partition(b"=")
        # If a name occurs twice, Python keeps the first value when it starts.
        if name and equals and name not in os.environb:
            os.environb[name] = value


def renew_libraries(template_threads):
    """Makes libraries notice what differs between the worker and the template process."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    torch = sys.modules.get("torch")
    if hasattr(torch, "set_num_threads") and threads != template_threads:
        if threads.isdigit() and int(threads) > 0:
            # The OpenMP library read the variable when the template process loaded it.
            torch.set_num_threads(int(threads))
    # Otherwise all workers would draw the same random numbers. Python's own random module seeds
    # itself again after a fork.
    if hasattr(torch, "default_generator"):
        torch.default_generator.seed()
    random = sys.modules.get("numpy.random")
    if hasattr(random, "seed"):
        random.seed()


def main():
    """Returns only in workers."""
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
        occupy_standard_files()
        # The garbage collector writes to every object it examines. Frozen objects are left alone,
        # so their memory stays shared (https://docs.python.org/3/library/gc.html#gc.freeze).
        gc.collect()
        gc.freeze()
        send(link, {"ready": {"seconds": seconds}})
        control, files = serve(link)
    except BaseException as e:
        give_up(1, "the template process failed: " + describe(e), link)
    become_worker(control, files, comm, libc)


if __name__ == "__main__":
    restart()
else:
    main()
