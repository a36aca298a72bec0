"""Run the event loop of a command, with its signals."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vmqtui.cli.failures import DONE, internal, warn

if TYPE_CHECKING:
    from vmqtui.app import VmqApp

T = TypeVar("T")

_FAREWELL_S: Final = 15.0
"""Time for a screen to exit after a signal; longer than the timeout for a private engine's exit."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine. The MQTT client needs the selector event loop on Windows."""
    import asyncio

    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    with closing(work), interrupts_of_python(), asyncio.Runner(loop_factory=factory) as runner:
        with _held_back():  # a half-built event loop warns when it is deleted
            runner.get_loop()
        return runner.run(work)


@contextmanager
def interrupts_of_python() -> Iterator[None]:
    """Give SIGINT Python's own handler, which the event loop replaces by one that cancels the coroutine."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _held_back() -> Iterator[None]:
    """Block SIGINT and SIGTERM; they are delivered on exit from the context."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def run_app(app: "VmqApp") -> None:
    """Run a screen until the user or a signal ends it; restore the terminal, and keep what was chosen.

    Call it from the main thread. If a screen does not exit within ``_FAREWELL_S`` of a signal (its terminal
    accepts no more output), the process exits; child processes exit with it.
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
    try:
        await app.run_async()
    finally:
        why = await app.keep_choices()
    if why:
        warn(why)


def _terminal_mode() -> Callable[[], object]:
    """Return a function that restores the terminal's current input mode."""
    if sys.platform == "win32":
        return lambda: None
    import termios

    file = sys.stdin.fileno()
    try:
        mode = termios.tcgetattr(file)
    except termios.error:  # not a terminal
        return lambda: None
    return lambda: termios.tcsetattr(file, termios.TCSANOW, mode)


def status_of(app: "VmqApp") -> int:
    """Return the exit status of a screen that has ended; print and log its error, if any."""
    return (app.return_code or DONE) if app.failure is None else internal(app.failure)


def on_signal(number: int, call: Callable[[], object]) -> None:
    """Have the running event loop call ``call`` on a signal, also one that arrived before this call."""
    import asyncio

    event_loop = asyncio.get_running_loop()
    before = signal.getsignal(number)
    if sys.platform == "win32":
        signal.signal(number, lambda *_: event_loop.call_soon_threadsafe(call))
    else:
        event_loop.add_signal_handler(number, call)
    if getattr(before, "came", False):
        event_loop.call_soon(call)
