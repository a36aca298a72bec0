"""Makes child processes end with their parent, and defers Ctrl-C.

A child process ends when its pipe to the parent closes. A child that is stopped or in an endless loop does
not notice that; therefore on Linux the kernel sends it a signal when its parent ends, and the fork server
(``engine.workers.fork_server``) kills workers. The fork server itself ends when its pipe closes; that
requires its workers to close their copies of the pipe.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """On Linux, have the kernel kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        _get_when_alone(signal.SIGKILL)


def resume_when_orphaned() -> None:
    """On Linux, have the kernel send SIGCONT when the thread that started this process ends.

    If this process is stopped, it continues and notices that its pipe is closed.
    """
    if sys.platform == "linux":
        _get_when_alone(signal.SIGCONT)


def _get_when_alone(number: signal.Signals) -> None:
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def let_fork_server_end() -> None:
    """Close this child's copy of the fork server's pipe: an open copy would keep the server running."""
    if os.name != "posix":
        return
    from multiprocessing import forkserver

    server: Any = forkserver._forkserver
    descriptor = getattr(server, "_forkserver_alive_fd", None)
    if descriptor is not None and getattr(server, "_forkserver_pid", None) is None:
        os.close(descriptor)
        server._forkserver_alive_fd = None


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Defer a Ctrl-C to the end of the context, in the main thread; elsewhere do nothing.

    Use it to create and remove processes and shared memory: a KeyboardInterrupt can come between any two
    instructions, and would leak shared memory that is not registered yet.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[Any, ...]] = []
    signal.signal(signal.SIGINT, lambda *how: came.append(how))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[0])
