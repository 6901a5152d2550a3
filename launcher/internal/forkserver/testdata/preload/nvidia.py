"""Opens a file named like an NVIDIA device, in a mount namespace of its own."""
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"tmpfs", b"/dev", b"tmpfs", 0, None) != 0:
    raise OSError(ctypes.get_errno(), "mount")
device = os.open("/dev/nvidiactl", os.O_RDWR | os.O_CREAT)
