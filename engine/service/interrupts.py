"""Ctrl-C at a moment when nothing is half built."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def whole() -> Iterator[None]:
    """A Ctrl-C that comes meanwhile takes effect at the end.

    For what must be built and noted for taking down, or taken down, in one piece: a KeyboardInterrupt comes
    between any two instructions, and shared memory that nobody knows of stays for ever.
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
