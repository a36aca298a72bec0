"""How an engine ends: every step is carried out, whichever fails; none outlives its process or its loop."""

import asyncio
import atexit
import logging
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol, TypeVar
from weakref import WeakSet

from engine.logs import note

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Ending:
    """Runs the steps of an end, each one even if others fail or are cancelled."""

    def __init__(self) -> None:
        self._errors: list[BaseException] = []

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Carry out a step; keep its error for ``finish``. ``doing`` completes "the engine ended, but …"."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"The engine ended, but {doing} failed.")
            note(_log, logging.ERROR, "end_failed", step=doing, why=f"{type(error).__name__}: {error}")
            self._errors.append(error)

    def finish(self, cause: BaseException | None = None) -> None:
        """Raise the first error, with a note for each other one; if the engine ends because of ``cause``, add
        the notes to that and raise nothing."""
        errors = self._errors if cause is None else [cause, *self._errors]
        for error in errors[1:]:
            errors[0].add_note(f"{type(error).__name__}: {error} ({' '.join(error.__notes__)})")
        if cause is None and errors:
            raise errors[0]


async def to_its_end(coroutine: Coroutine[None, None, T]) -> T:
    """Await a coroutine to its end, even if this task is cancelled meanwhile; then raise CancelledError."""
    task = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        with suppress(BaseException):
            task.result()
        raise cancelled
    return task.result()


async def in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call in a thread, or here if the loop or the interpreter starts no more threads."""
    try:
        running = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:
        return call()
    return await running


class Endable(Protocol):
    """An engine, as this module needs it."""

    @property
    def host(self) -> str: ...

    def close(self) -> None: ...


_running: Final[WeakSet[Endable]] = WeakSet()


def started(engine: Endable) -> None:
    """Note that an engine runs, so that it ends with the process at the latest."""
    _running.add(engine)


def ended(engine: Endable) -> None:
    """Note that an engine has ended."""
    _running.discard(engine)


def close_abandoned(engine: Endable, why: str) -> None:
    """Warn that an engine was not ended, and end it in a thread: its own may be the one that noticed."""
    if engine not in _running:
        return
    _running.discard(engine)
    threading.Thread(target=engine.close, name="vmq-ending").start()
    warnings.warn(
        f"the engine of host {engine.host!r} was not ended, and {why}; it ends now. Leave its context"
        " (async with Engine(…) as engine), or call engine.close()",
        ResourceWarning,
        stacklevel=2,
    )


@atexit.register
def _close_all() -> None:
    """End the engines that still run when the interpreter exits."""
    for engine in list(_running):
        with suppress(Exception):
            warnings.warn(
                f"the engine of host {engine.host!r} was not ended before the program; it ends now",
                ResourceWarning,
                stacklevel=2,
            )
        with suppress(Exception):
            engine.close()
