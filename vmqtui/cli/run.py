"""Running the event loop of a command."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from vmqtui.cli.failures import DONE, internal

if TYPE_CHECKING:
    from vmqtui.app import VmqApp

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; on Windows on the selector loop, which the MQTT client needs."""
    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def status_of(app: "VmqApp") -> int:
    """The exit status of a screen that was left; says and logs why, where it failed."""
    return (app.return_code or DONE) if app.failure is None else internal(app.failure)


def on_signal(number: int, call: Callable[[], object]) -> None:
    """Have the running event loop call something when a signal comes."""
    event_loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        signal.signal(number, lambda *_: event_loop.call_soon_threadsafe(call))
    else:
        event_loop.add_signal_handler(number, call)
