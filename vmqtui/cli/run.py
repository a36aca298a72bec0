"""Running the event loop of a command."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; on Windows on the selector loop, which the MQTT client needs."""
    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def on_signal(number: int, call: Callable[[], object]) -> None:
    """Have the running event loop call something when a signal comes."""
    event_loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        signal.signal(number, lambda *_: event_loop.call_soon_threadsafe(call))
    else:
        event_loop.add_signal_handler(number, call)
