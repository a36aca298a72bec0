"""One moment of a host, live or past: what a snapshot is made of; and what moments can be looked up in."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.bus.messages import Status
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats


@dataclass(frozen=True, eq=False)
class Moment:
    """What was known when a reading came; ``before`` is the reading that rates are taken against."""

    status: Status | None = None
    config: Config | None = None
    stats: Stats | None = None
    before: Stats | None = None
    events: tuple[Event, ...] = ()


class Tape(Protocol):
    """Moments of one host, by ascending numbers that stay theirs."""

    def numbers(self) -> Sequence[int]:
        """The numbers of all moments there are, ascending."""

    def time_ns(self, number: int) -> int:
        """When it was (Unix time)."""

    def moment(self, number: int) -> Moment:
        """Everything about it. Raises KeyError when there is none of that number."""


def step(tape: Tape, number: int, by: int) -> int:
    """The moment so many after (before, when negative) another, or the last (first) one.

    From a moment that is no longer there it starts at the nearest earlier one. Raises KeyError on an empty
    tape.
    """
    numbers = tape.numbers()
    if not numbers:
        raise KeyError(number)
    place = _place(numbers, number) + by
    return numbers[min(max(place, 0), len(numbers) - 1)]


def at_time(tape: Tape, time_ns: int) -> int:
    """The last moment at or before a time, or the first one. Raises KeyError on an empty tape."""
    numbers = tape.numbers()
    if not numbers:
        raise KeyError(time_ns)
    return numbers[max(bisect_right(numbers, time_ns, key=tape.time_ns) - 1, 0)]


def _place(numbers: Sequence[int], number: int) -> int:
    return max(bisect_right(numbers, number) - 1, 0)
