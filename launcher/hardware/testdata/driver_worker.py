"""A worker that calls the CUDA driver itself, so that it needs nothing but Python.

Usage: driver_worker.py look            reports which devices it sees
       driver_worker.py hold BYTES      allocates memory at SIGUSR1, and reports that
       driver_worker.py loop BYTES HOW  keeps the GPU busy; HOW is what it does at SIGTERM: die or
                                        ignore
       driver_worker.py files [FILE]    opens FILE and lists its open files, without using CUDA
"""
import ctypes
import json
import os
import signal
import sys
import uuid


class Driver:
    """Calls the functions of cuda.h by the names that libcuda.so.1 exports."""

    def __init__(self):
        self.lib = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", ctypes.c_uint(0))

    def call(self, name, *args):
        function = getattr(self.lib, name)
        function.restype = ctypes.c_int
        result = function(*args)
        if result != 0:
            text = ctypes.c_char_p()
            self.lib.cuGetErrorName(ctypes.c_int(result), ctypes.byref(text))
            raise RuntimeError("%s: %s (%d)" % (name, (text.value or b"?").decode(), result))

    def devices(self):
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        return [self.device(i) for i in range(count.value)]

    def device(self, ordinal):
        handle = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(handle), ctypes.c_int(ordinal))
        octets = (ctypes.c_ubyte * 16)()
        # Version 2 returns the UUID of a MIG instance. Drivers before CUDA 11.4 do not have it.
        version = "_v2" if hasattr(self.lib, "cuDeviceGetUuid_v2") else ""
        self.call("cuDeviceGetUuid" + version, octets, handle)
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, ctypes.c_int(len(name)), handle)
        pci = ctypes.create_string_buffer(64)
        self.call("cuDeviceGetPCIBusId", pci, ctypes.c_int(len(pci)), handle)
        return {
            "uuid": str(uuid.UUID(bytes=bytes(octets))),
            "name": name.value.decode(), "pci": pci.value.decode()}

    def open(self):
        """Creates a context on the first device, which makes this a compute process."""
        handle, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(handle), ctypes.c_int(0))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self.call("cuCtxSetCurrent", context)

    def allocate(self, size):
        memory = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(size))
        self.fill(memory, size)
        return memory

    def fill(self, memory, size):
        """Runs a kernel that fills the memory, and waits for it."""
        self.call("cuMemsetD8_v2", memory, ctypes.c_ubyte(1), ctypes.c_size_t(size))
        self.call("cuCtxSynchronize")

    def free(self, memory):
        self.call("cuMemFree_v2", memory)


def say(word, what):
    print(word, what, flush=True)


def report(devices, size=0):
    env = os.environ.get
    say("gpu", json.dumps({
        "pid": os.getpid(), "rank": int(env("RANK")), "local_rank": int(env("LOCAL_RANK")),
        "uuid": env("GPULAUNCH_GPU_UUID"), "pci": env("GPULAUNCH_GPU_PCI"),
        "bytes": size, "devices": devices}))


def look():
    report(Driver().devices())


def hold(size):
    # The signal ends the process unless it is blocked before anybody can send it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    say("ready", os.getpid())
    signal.sigwait([signal.SIGUSR1])
    driver = Driver()
    driver.open()
    driver.allocate(int(size))
    report(driver.devices(), int(size))
    while True:
        signal.pause()


def loop(size, how):
    if how == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    driver = Driver()
    driver.open()
    memory = driver.allocate(int(size))
    report(driver.devices(), int(size))
    while True:
        driver.free(memory)
        memory = driver.allocate(int(size))


def files(*extra):
    held = [open(name, "rb") for name in extra]
    targets = []
    for name in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass  # the descriptor with which listdir read the folder
    say("files", json.dumps(targets))
    del held


globals()[sys.argv[1]](*sys.argv[2:])
