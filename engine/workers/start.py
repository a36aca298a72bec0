"""Start worker processes. This module imports nothing heavy, so that it can run first."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import util
from multiprocessing.context import BaseContext
from typing import Any, Final

from engine.files import own_directory

_PRELOADED: Final = ("engine.workers.shard", "engine.workers.fork_server")


def context() -> BaseContext:
    """Return the start method of workers: a fork server with loaded kernels; without fork, spawn."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    _make_place_of_sockets()
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(list(_PRELOADED))
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

        forkserver.set_forkserver_preload([*_PRELOADED, *also])
        resource_tracker.ensure_running()  # else the server starts it, with Ctrl-C unblocked
        with _ctrl_c_blocked():
            forkserver.ensure_running()


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
