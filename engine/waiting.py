"""Wait until a condition holds; raise an error that names the condition and what was last seen.

It imports nothing of the engine: tests, readers and the engine use it.
"""

import asyncio
import inspect
import linecache
import time
from collections.abc import Awaitable, Callable
from reprlib import Repr
from types import CodeType
from typing import Any, Final, TypeVar, cast, overload

DEFAULT_TIMEOUT_S: Final = 60.0
"""A wait ends as soon as its condition holds, so only a test that fails takes this long."""

_POLL_S: Final = 0.005
_BLOCKING_POLL_S: Final = 0.02
_LONGEST_CONDITION: Final = 200
_SHORT: Final = Repr()
_SHORT.maxstring = _SHORT.maxother = 200

T = TypeVar("T")


class WaitTimeoutError(TimeoutError):
    """A condition did not hold in time; the text names the condition and what was last seen."""


def wait_timeout(what: str, within: str, seen: str) -> WaitTimeoutError:
    """Return the error of a wait that ended without success; ``within`` is a duration, like ``5 s``."""
    return WaitTimeoutError(f"not within {within}: {what}" + (f"; last seen: {seen}" if seen else ""))


@overload
async def until(
    condition: Callable[[], Awaitable[T]],
    timeout_s: float = ...,
    *,
    what: str = ...,
    seen: Callable[[], object] | None = ...,
    between: Callable[[], Awaitable[object]] | None = ...,
) -> T: ...


@overload
async def until(
    condition: Callable[[], T],
    timeout_s: float = ...,
    *,
    what: str = ...,
    seen: Callable[[], object] | None = ...,
    between: Callable[[], Awaitable[object]] | None = ...,
) -> T: ...


async def until(
    condition: Callable[[], Any],
    timeout_s: float = DEFAULT_TIMEOUT_S,
    *,
    what: str = "",
    seen: Callable[[], object] | None = None,
    between: Callable[[], Awaitable[object]] | None = None,
) -> Any:
    """Wait until ``condition()`` is true, or what it returns is once awaited; return that value.

    ``between`` is awaited before each further check; by default a few milliseconds pass. Raises
    WaitTimeoutError after ``timeout_s`` seconds, which calls the condition ``what`` (default: its source) and
    reports the result of ``seen`` (default: the condition's last value, and the variables that it reads from
    the enclosing function). An exception of the condition ends the wait.
    """
    value: Any = None
    awaited = False
    try:
        async with asyncio.timeout(timeout_s) as limit:
            while True:
                value = condition()
                if inspect.isawaitable(value):
                    awaited = True
                    value = await value
                if value:
                    return value
                await (between or _pause)()
    except TimeoutError:
        if not limit.expired():
            raise
        if not awaited and (last := condition()):  # it may hold by now, on a busy machine
            return last
        raise _timeout(condition, value, timeout_s, what, seen) from None


def wait_until(
    condition: Callable[[], T],
    timeout_s: float = DEFAULT_TIMEOUT_S,
    *,
    what: str = "",
    seen: Callable[[], object] | None = None,
    between: Callable[[], object] | None = None,
) -> T:
    """Do what ``until`` does, without an event loop: it blocks its thread."""
    until_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() >= until_s:
            raise _timeout(condition, value, timeout_s, what, seen)
        if between is None:
            time.sleep(_BLOCKING_POLL_S)
        else:
            between()
    return value


async def _pause() -> None:
    await asyncio.sleep(_POLL_S)


def _timeout(
    condition: Callable[[], object],
    value: object,
    timeout_s: float,
    what: str,
    seen: Callable[[], object] | None,
) -> WaitTimeoutError:
    text = last_seen(condition, value) if seen is None else str(seen())
    return wait_timeout(what or source_of(condition), f"{timeout_s:g} s", text)


def last_seen(condition: Callable[[], object], value: object) -> str:
    """Describe a condition's last value, unless it says nothing, and the variables that it reads from the
    enclosing function."""
    parts = [] if value is None or value is False else [_SHORT.repr(value)]
    if inspect.isfunction(condition):
        names = inspect.getclosurevars(condition).nonlocals
        parts += [f"{name} = {_SHORT.repr(found)}" for name, found in names.items() if not callable(found)]
    return ", ".join(parts)


def source_of(condition: Callable[[], object]) -> str:
    """Return the source of a lambda's expression on one line; of another condition, its name."""
    name = getattr(condition, "__qualname__", None) or repr(condition)
    if getattr(condition, "__name__", "") != "<lambda>":
        return str(name)
    return _expression(cast("Any", condition).__code__) or str(name)


def _expression(code: CodeType) -> str:
    places = [
        (line, column, end_line, end_column)
        for line, end_line, column, end_column in code.co_positions()
        if line is not None and end_line is not None and column is not None and end_column
    ]
    lines = linecache.getlines(code.co_filename)
    if not places or len(lines) < max(place[2] for place in places):
        return ""
    (first, begin), (last, end) = min(place[:2] for place in places), max(place[2:] for place in places)
    found = [line.encode() for line in lines[first - 1 : last]]
    found[-1] = found[-1][:end]
    found[0] = found[0][begin:]
    text = " ".join(b" ".join(found).decode(errors="replace").split())
    return text if len(text) <= _LONGEST_CONDITION else f"{text[: _LONGEST_CONDITION - 1]}…"
