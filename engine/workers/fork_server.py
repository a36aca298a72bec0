"""Ends the workers with their fork server. Only the server imports this.

It ends with the engine (``engine.signals``). Workers that can run end by themselves then; this is for those
that are stopped, or spin, and for the socket and its directory, which an engine that is killed leaves.
"""

import atexit
import os
from contextlib import suppress
from pathlib import Path

import psutil


def _end_children(server: int) -> None:
    if os.getpid() != server:  # a child of it ends
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
