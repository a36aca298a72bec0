"""Load the workers' kernels in their fork server, and kill the workers when it exits. Only the server imports
this.

The server exits with the engine (``engine.signals``). Most workers then exit by themselves; this kills those
that are stopped or in an endless loop, and removes the socket and directory that a killed engine leaves.
"""

import atexit
import os
from contextlib import suppress
from pathlib import Path

import psutil

from engine.kernels.jit import Kernel


def _end_children(server: int) -> None:
    if os.getpid() != server:  # a child of the server exits
        return
    for child in psutil.Process(server).children():
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _remove_socket(server: int, sockets: list[Path]) -> None:
    if os.getpid() == server:
        for path in sockets:
            with suppress(OSError):
                path.unlink(missing_ok=True)
                path.parent.rmdir()


atexit.register(_end_children, os.getpid())
atexit.register(
    _remove_socket,
    os.getpid(),
    [Path(str(one.laddr)) for one in psutil.Process().net_connections(kind="unix") if one.laddr],
)

Kernel.load_all()
