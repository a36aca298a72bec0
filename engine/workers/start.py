"""Start worker processes. This module imports nothing heavy, so that it can run first."""

import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import util
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Final

from engine.files import own_directory

_WORKER: Final = "engine.workers.shard"
_SERVER: Final = "engine.workers.fork_server"  # the last: it loads the kernels of all modules before it
_starting: Final = threading.Lock()


def context() -> BaseContext:
    """Return the start method of workers: a fork server with loaded kernels; without fork, spawn."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    _make_place_of_sockets()
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload([_WORKER, _SERVER])
    return forkserver


def _make_place_of_sockets() -> None:
    """Make multiprocessing create its sockets where a later start can remove them if this process is killed.

    The name of its default directory (``pymp-…``) does not identify the process.
    """
    process: Any = multiprocessing.current_process()
    if process._config.get("tempdir") is None:
        with suppress(OSError), ExitStack() as stack:
            process._config["tempdir"] = str(stack.enter_context(own_directory(short=True)))
            util.Finalize(None, stack.pop_all().close, exitpriority=-100)  # as the library removes its own


def warm_up(*also: str) -> None:
    """Start the fork server now, so that it loads kernels and the modules ``also`` in the background.

    The kernels should already be cached.
    """
    if context().get_start_method() == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        forkserver.set_forkserver_preload([_WORKER, *also, _SERVER])
        resource_tracker.ensure_running()  # else the server starts it, with Ctrl-C unblocked
        with _ctrl_c_blocked():
            forkserver.ensure_running()


def start(process: BaseProcess) -> None:
    """Start a process of ``context`` that does not import the main module: it needs nothing of it.

    Otherwise a script without the ``if __name__ == "__main__":`` guard would run again in each worker, one
    from standard input could start none, and each worker would import what the script imports. The library
    names the main module to the new process by its ``__spec__`` or ``__file__``, so for a moment a copy
    without them takes its place; other threads find all of its names there.
    """
    with _starting:
        main = sys.modules.get("__main__")
        copy = ModuleType("__main__", None if main is None else main.__doc__)
        copy.__dict__.update({} if main is None else vars(main))
        copy.__dict__.pop("__file__", None)
        copy.__spec__ = None
        sys.modules["__main__"] = copy
        try:
            process.start()
        finally:
            if main is None:
                del sys.modules["__main__"]
            else:
                sys.modules["__main__"] = main


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Block SIGINT in processes started within the context, and in their children until they unblock it.

    A terminal sends Ctrl-C to all processes, and one that is still importing would print a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
