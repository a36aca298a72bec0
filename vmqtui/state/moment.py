"""Moments of a host, live or past; tapes (sequences of moments), the playhead on a tape; parsing of times."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

from engine.bus.messages import Status
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from vmqtui.numbers import UNKNOWN


@dataclass(frozen=True, eq=False)
class Moment:
    """The state of a host at a reading; ``before`` is the reading that rates are computed against."""

    status: Status | None = None
    config: Config | None = None
    stats: Stats | None = None
    before: Stats | None = None
    events: tuple[Event, ...] = ()


class Tape(Protocol):
    """Moments of one host. A moment has a number that never changes; numbers ascend with time."""

    @property
    def unreadable(self) -> int:
        """Number of requested readings that could not be unpacked."""

    def numbers(self) -> Sequence[int]:
        """The numbers of all stored moments, ascending."""

    def time_ns(self, number: int) -> int:
        """The Unix time of a moment, in ns."""

    def sim_time_ns(self, number: int) -> int:
        """The simulated time of a moment's reading, in ns."""

    def reading(self, number: int) -> tuple[Config | None, Stats]:
        """A moment's reading, and its configuration. Raises KeyError if it is gone or unreadable."""

    def moment(self, number: int) -> Moment:
        """The moment with a number. Raises KeyError if it is gone or unreadable."""


def step(tape: Tape, number: int, by: int) -> int:
    """The moment ``by`` places after another (before it if negative), limited to the ends of the tape.

    If the moment is gone, counts from the nearest earlier one. Raises KeyError on an empty tape.
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
    """The moments of the same run from ``span_ns`` of simulated time before a moment up to the moment itself.

    The first is the last one at or before that time, or the oldest of the run. Raises KeyError if the moment
    is not on the tape.
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
    """The reading ``span_ns`` of simulated time before a moment, or the oldest of its run; None if none."""
    with suppress(KeyError):
        first = lead(tape, number, span_ns)[0]
        return tape.reading(first)[1] if first != number else None
    return None


def _place(numbers: Sequence[int], number: int) -> int:
    return max(bisect_right(numbers, number) - 1, 0)


SPEEDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0)
"""Speeds that the keys select; a recording may start at another speed."""


@dataclass(frozen=True)
class Where:
    """The position of the playhead, and the first and last stored times. Times are Unix time in ns."""

    playing: bool
    recorded: bool
    """It is a recording, so its end is not the present."""
    time_ns: int
    first_ns: int
    last_ns: int
    speed: float

    @property
    def on_space(self) -> str:
        """What the key of pause does now, in a word."""
        if self.playing:
            return "hold"
        return "play" if self.recorded else "now"

    @property
    def fraction(self) -> float:
        """Position between the ends, 0..1; 1 if they are equal."""
        length = self.last_ns - self.first_ns
        return min(1.0, max(0.0, (self.time_ns - self.first_ns) / length)) if length > 0 else 1.0


class Reach(NamedTuple):
    """The times of the first, the last and the shown moment (Unix time in ns)."""

    first_ns: int
    last_ns: int
    shown_ns: int


class Playhead:
    """A position on a tape. ``number`` is the shown moment; None: always the newest.

    ``number`` is never None for a recording: that is played from its first moment, at ``speed`` times the
    original speed.
    """

    def __init__(self, tape: Tape, *, recorded: bool = False, speed: float = 1.0) -> None:
        self._tape = tape
        self._recorded = recorded
        self.speed: float = speed
        self.playing: bool = False
        self.number: int | None = None
        self._seen_ns = 0
        """The Unix time of the shown moment, which the tape may have dropped."""
        self._played_ns = 0
        """The Unix time up to which it is played, between the shown moment and the next."""
        self._ticked: float | None = None
        if recorded and tape.numbers():
            self._go(tape.numbers()[0])
            self.playing = True

    def where(self) -> Where | None:
        """The position; None: the present."""
        numbers = self._tape.numbers()
        if self.number is None or not numbers:
            return None
        first, last = self._tape.time_ns(numbers[0]), self._tape.time_ns(numbers[-1])
        return Where(self.playing, self._recorded, self._seen_ns, first, last, self.speed)

    def toggle(self) -> bool:
        """Pause; or return to the present, or resume the recording. Returns False on an empty tape."""
        numbers = self._tape.numbers()
        if not numbers:
            return False
        if self._recorded:
            self.playing = not self.playing
            self._ticked = None
            if self.playing and self.number == numbers[-1]:
                self._go(numbers[0])
        elif self.number is None:
            self._go(numbers[-1])
        else:
            self.number = None
        return True

    def step(self, by: int) -> bool:
        """Pause ``by`` moments further (back if negative); return False on an empty tape."""
        numbers = self._tape.numbers()
        if not numbers:
            return False
        self.playing = False
        self._go(step(self._tape, numbers[-1] if self.number is None else self.number, by))
        return True

    def skip(self, seconds: float) -> bool:
        """Go ``seconds`` forward (back if negative), without pausing a playing recording."""
        where = self.where()
        numbers = self._tape.numbers()
        if not numbers:
            return False
        here = self._tape.time_ns(numbers[-1]) if where is None else where.time_ns
        self._go(at_time(self._tape, here + int(seconds * 1e9)))
        return True

    def scrub(self, fraction: float) -> bool:
        """Go to the moment at ``fraction`` (0..1) of the time between the ends."""
        numbers = self._tape.numbers()
        if not numbers:
            return False
        first, last = self._tape.time_ns(numbers[0]), self._tape.time_ns(numbers[-1])
        self._go(at_time(self._tape, first + int((last - first) * fraction)))
        return True

    def reach(self) -> "Reach | None":
        """The times between which there are moments, and that of the shown one; None if there is none."""
        numbers = self._tape.numbers()
        if not numbers:
            return None
        first_ns, last_ns = self._tape.time_ns(numbers[0]), self._tape.time_ns(numbers[-1])
        return Reach(first_ns, last_ns, last_ns if self.number is None else self._seen_ns)

    def go_to(self, time_ns: int) -> bool:
        """Go to the last moment at or before a time, or the first one."""
        if not self._tape.numbers():
            return False
        self._go(at_time(self._tape, time_ns))
        return True

    def change_speed(self, step: int) -> float | None:
        """Play at the next higher speed of ``SPEEDS`` (lower if ``step`` < 0); return it, or None if live."""
        if not self._recorded:
            return None
        others = [one for one in SPEEDS if (one > self.speed if step > 0 else one < self.speed)]
        if others:
            self.speed = min(others) if step > 0 else max(others)
        return self.speed

    def tick(self, now: float) -> bool:
        """Advance to the time ``now`` (seconds on any clock); return whether the shown moment changed."""
        ticked, self._ticked = self._ticked, now
        if not self.playing or ticked is None or self.number is None:
            return False
        self._played_ns += int((now - ticked) * self.speed * 1e9)
        number = at_time(self._tape, self._played_ns)
        last = self._tape.numbers()[-1]
        if number >= last:
            self.playing = False
        if number == self.number:
            return False
        self.number = number
        self._seen_ns = self._tape.time_ns(number)
        return True

    def _go(self, number: int) -> None:
        self.number = number
        self._seen_ns = self._played_ns = self._tape.time_ns(number)


_DAY: Final = r"(?:(\d{4})-(\d\d)-(\d\d)[T ])?"
_CLOCK: Final = re.compile(_DAY + r"(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d{1,9})?))?")
_AWAY: Final = re.compile(
    r"([+-])(?:(\d{1,6}(?:\.\d{1,9})?) ?(s|min|m|h)?|(?:(\d{1,4}):)?(\d{1,4}):(\d\d(?:\.\d{1,9})?))"
)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}

FITS: Final = "14:03, 14:03:20, 2026-11-26 14:03:20 (UTC), -30 or +1:30 from what was shown"


def read_when(text: str, first_ns: int, last_ns: int, shown_ns: int) -> int:
    """Parse a typed time; return Unix time in ns. A time of day without a date is the last one before
    ``last_ns``; a distance counts from ``shown_ns``.

    Raises ValueError if the text is not a time (``FITS`` lists the formats) or not between the ends.
    """
    text = text.strip()
    if away := _AWAY.fullmatch(text):
        sign, number, unit, hours, minutes, seconds = away.groups(default="")
        length = float(number) * _SECONDS[unit] if number else _length(hours, minutes, seconds)
        at_ns = shown_ns + round(length * 1e9) * (1 if sign == "+" else -1)
    elif clock := _CLOCK.fullmatch(text):
        at_ns = _of_day(clock, last_ns)
    else:
        raise ValueError("not a time")
    # Times are typed to the second, so one second of tolerance applies.
    if at_ns < first_ns - 1_000_000_000 or at_ns > last_ns + 1_000_000_000:
        raise ValueError(
            f"{'before' if at_ns < first_ns else 'after'} all there is: {ends(first_ns, last_ns)}"
        )
    return min(max(at_ns, first_ns), last_ns)


def _length(hours: str, minutes: str, seconds: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)


def _of_day(clock: "re.Match[str]", last_ns: int) -> int:
    year, month, day, hour, minute, second = clock.groups(default="")
    last = _date(last_ns)
    if last is None:
        raise ValueError("its times are no dates (+90 or -30 fits)")
    try:
        date = datetime(int(year), int(month), int(day), tzinfo=UTC) if year else last
        at = date.replace(hour=int(hour), minute=int(minute), second=int(float(second or 0)), microsecond=0)
    except ValueError as error:
        raise ValueError(f"not a time: {error}") from None
    if not year and at > last + timedelta(seconds=1):
        at -= timedelta(days=1)
    return round(at.timestamp()) * 1_000_000_000 + round(float(second or 0) % 1 * 1e9)


def _date(time_ns: int) -> datetime | None:
    """The date and time in whole seconds; None if out of range, because times in a file are untrusted."""
    try:
        return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def ends(first_ns: int, last_ns: int) -> str:
    """The range of times in words: "2026-11-26 14:03:20 to 15:13:20 UTC"."""
    first, last = _date(first_ns), _date(last_ns)
    same_day = first is not None and last is not None and first.date() == last.date()
    until = UNKNOWN if last is None else f"{last:%H:%M:%S}" if same_day else f"{last:%Y-%m-%d %H:%M:%S}"
    return f"{UNKNOWN if first is None else f'{first:%Y-%m-%d %H:%M:%S}'} to {until} UTC"


def time_of_day(time_ns: int) -> str:
    """A time in words: "14:03:20"."""
    at = _date(time_ns)
    return UNKNOWN if at is None else f"{at:%H:%M:%S}"
