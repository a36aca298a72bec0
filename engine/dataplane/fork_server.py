"""What the fork server does besides starting workers: when it ends, they do. Only the server imports this.

It ends with the engine (``engine.ending``). Workers that can run end by themselves then; this is for those
that are stopped, or spin.
"""

import atexit
import os
from contextlib import suppress

import psutil


def _end_children(server: int) -> None:
    if os.getpid() != server:  # a child of it ends
        return
    for child in psutil.Process(server).children():
        with suppress(psutil.NoSuchProcess):
            child.kill()


atexit.register(_end_children, os.getpid())
