"""Signals that end a command."""

import asyncio
import signal
import sys
from types import FrameType

import pytest

from vmqtui.cli.run import on_signal


class Came:
    """The program's handler after a library has swallowed what it raised."""

    came = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        raise AssertionError("it came before")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
async def test_a_signal_that_came_before_the_event_loop_hears_it_is_not_lost() -> None:
    before = signal.signal(signal.SIGTERM, Came())
    heard = asyncio.Event()
    try:
        on_signal(signal.SIGTERM, heard.set)
        async with asyncio.timeout(60):
            await heard.wait()
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
