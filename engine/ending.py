"""How the processes that an engine starts end with it, also those that are stopped or spin just then.

A process that can run ends when its pipe does. One that cannot is ended, or let run, by others: by the
system, where that offers it (Linux), and workers by their fork server (``engine.workers.fork_server``). It
ends when nobody holds its pipe any more but workers, and those let go of it here.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import Any

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the system kill this process when the thread that started it is gone, where it can do that."""
    if sys.platform == "linux":
        _get_when_alone(signal.SIGKILL)


def hear_of_parents_end() -> None:
    """Have the system let this process run on then, where it is stopped: it hears of that end by its pipe."""
    if sys.platform == "linux":
        _get_when_alone(signal.SIGCONT)


def _get_when_alone(number: signal.Signals) -> None:
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def let_fork_server_end() -> None:
    """Let go of what keeps the fork server, whose child this process is, from ending with the engine."""
    if os.name != "posix":
        return
    from multiprocessing import forkserver

    server: Any = forkserver._forkserver
    descriptor = getattr(server, "_forkserver_alive_fd", None)
    if descriptor is not None and getattr(server, "_forkserver_pid", None) is None:
        os.close(descriptor)
        server._forkserver_alive_fd = None
