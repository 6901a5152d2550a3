import os
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))  # now only SIGKILL can end it
os.write(1, b"hanging\n")
while True:
    signal.pause()
