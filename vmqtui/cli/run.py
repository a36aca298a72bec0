"""Running the event loop of a command."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vmqtui.cli.failures import DONE, internal

if TYPE_CHECKING:
    from vmqtui.app import VmqApp

T = TypeVar("T")

_FAREWELL_S: Final = 15.0
"""Longer than a private engine is given to end."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; on Windows on the selector loop, which the MQTT client needs."""
    import asyncio

    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    with closing(work), asyncio.Runner(loop_factory=factory) as runner:
        with _held_back():  # half an event loop complains when it goes
            runner.get_loop()
        return runner.run(work)


@contextmanager
def _held_back() -> Iterator[None]:
    """Signals that end a command come when this is over."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def run_app(app: "VmqApp") -> None:
    """Run a screen until it is left or a signal ends it; either way it gives its terminal back as it was.

    Call it from the main thread. A screen that a signal can't end within ``_FAREWELL_S`` (its terminal takes
    no more output) is ended with its process; what it started ends with that.
    """
    import asyncio

    event_loop = asyncio.get_running_loop()
    restore = _terminal_mode()

    def give_up(status: int) -> None:
        try:
            restore()
        finally:
            os._exit(status)

    def end(number: int, frame: object) -> None:
        status = 128 + number
        event_loop.call_soon_threadsafe(lambda: app.exit(return_code=status))
        last = threading.Timer(_FAREWELL_S, give_up, (status,))
        last.daemon = True
        last.start()

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end)
    await app.run_async()


def _terminal_mode() -> Callable[[], object]:
    """What makes the terminal take what is typed as it does now."""
    if sys.platform == "win32":
        return lambda: None
    import termios

    file = sys.stdin.fileno()
    try:
        mode = termios.tcgetattr(file)
    except termios.error:  # it is no terminal
        return lambda: None
    return lambda: termios.tcsetattr(file, termios.TCSANOW, mode)


def status_of(app: "VmqApp") -> int:
    """The exit status of a screen that was left; says and logs why, where it failed."""
    return (app.return_code or DONE) if app.failure is None else internal(app.failure)


def on_signal(number: int, call: Callable[[], object]) -> None:
    """Have the running event loop call something when a signal comes, or came before and ended nothing."""
    import asyncio

    event_loop = asyncio.get_running_loop()
    before = signal.getsignal(number)
    if sys.platform == "win32":
        signal.signal(number, lambda *_: event_loop.call_soon_threadsafe(call))
    else:
        event_loop.add_signal_handler(number, call)
    if getattr(before, "came", False):
        event_loop.call_soon(call)
