"""One moment of a host, live or past: what a snapshot is made of; and what moments can be looked up in."""

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
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

    @property
    def unreadable(self) -> int:
        """Readings that were asked for and could not be unpacked."""

    def numbers(self) -> Sequence[int]:
        """The numbers of all moments there are, ascending."""

    def time_ns(self, number: int) -> int:
        """When it was (Unix time)."""

    def sim_time_ns(self, number: int) -> int:
        """The simulated time of its reading."""

    def reading(self, number: int) -> tuple[Config | None, Stats]:
        """Its reading, and the configuration of that. Raises KeyError where it is gone or unreadable."""

    def moment(self, number: int) -> Moment:
        """Everything about it. Raises KeyError where it is gone or unreadable."""


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


def lead(tape: Tape, number: int, span_ns: int) -> Sequence[int]:
    """The moments of one run that lead to a moment: so much simulated time before it, itself the last.

    Raises KeyError where it is not on the tape.
    """
    numbers = tape.numbers()
    place = first = _place(numbers, number)
    if not numbers or numbers[place] != number:
        raise KeyError(number)
    end_ns = later_ns = tape.sim_time_ns(number)
    while first and end_ns - later_ns < span_ns:
        earlier_ns = tape.sim_time_ns(numbers[first - 1])
        if earlier_ns > later_ns:  # another run of the engine
            break
        first, later_ns = first - 1, earlier_ns
    return numbers[first : place + 1]


def reading_before(tape: Tape, number: int, span_ns: int) -> Stats | None:
    """The reading so much simulated time before a moment, or the oldest of its run; None: there is none."""
    with suppress(KeyError):
        first = lead(tape, number, span_ns)[0]
        return tape.reading(first)[1] if first != number else None
    return None


def _place(numbers: Sequence[int], number: int) -> int:
    return max(bisect_right(numbers, number) - 1, 0)
