"""Where on a tape the viewer is: at its end, held at a moment, or playing on from one."""

from dataclasses import dataclass
from typing import Final

from vmqtui.state.moment import Tape, at_time, step

SPEEDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0)
"""Speeds that a key goes through; a recording may be begun at another."""


@dataclass(frozen=True)
class Where:
    """The moment that is seen, and the ends of what can be seen. Times are Unix time in ns."""

    playing: bool
    recorded: bool
    """Of a recording, whose end is no "now"."""
    time_ns: int
    first_ns: int
    last_ns: int
    speed: float

    @property
    def fraction(self) -> float:
        """How far between the ends, 0..1."""
        length = self.last_ns - self.first_ns
        return min(1.0, max(0.0, (self.time_ns - self.first_ns) / length)) if length > 0 else 1.0


class Playhead:
    """A place on a tape. ``number`` is the moment that is seen, or None: whatever is newest.

    A recording is never seen "now": it is played from its first moment, as fast as it was made times
    ``speed``.
    """

    def __init__(self, tape: Tape, *, recorded: bool = False, speed: float = 1.0) -> None:
        self._tape = tape
        self._recorded = recorded
        self.speed = speed
        self.playing = False
        self.number: int | None = None
        self._seen_ns = 0
        """When the moment was; it may be gone from the tape since."""
        self._played_ns = 0
        """How far it is played: between that moment and the next."""
        self._ticked: float | None = None
        if recorded and tape.numbers():
            self._go(tape.numbers()[0])
            self.playing = True

    def where(self) -> Where | None:
        """The moment that is seen; None: now."""
        numbers = self._tape.numbers()
        if self.number is None or not numbers:
            return None
        first, last = self._tape.time_ns(numbers[0]), self._tape.time_ns(numbers[-1])
        return Where(self.playing, self._recorded, self._seen_ns, first, last, self.speed)

    def toggle(self) -> bool:
        """Hold, or go on: with what is now, or with playing. Whether there is anything to hold."""
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
        """Hold at the moment so many after (before, when negative). Whether there is one to hold."""
        numbers = self._tape.numbers()
        if not numbers:
            return False
        self.playing = False
        self._go(step(self._tape, numbers[-1] if self.number is None else self.number, by))
        return True

    def skip(self, seconds: float) -> bool:
        """Go so many seconds forward, or back when negative; a recording goes on playing if it did."""
        where = self.where()
        numbers = self._tape.numbers()
        if not numbers:
            return False
        here = self._tape.time_ns(numbers[-1]) if where is None else where.time_ns
        self._go(at_time(self._tape, here + int(seconds * 1e9)))
        return True

    def scrub(self, fraction: float) -> bool:
        """Go to a place between the ends, 0..1."""
        numbers = self._tape.numbers()
        if not numbers:
            return False
        first, last = self._tape.time_ns(numbers[0]), self._tape.time_ns(numbers[-1])
        self._go(at_time(self._tape, first + int((last - first) * fraction)))
        return True

    def ends(self) -> tuple[int, int] | None:
        """When the first moment and the last one were; None: there is none."""
        numbers = self._tape.numbers()
        return (self._tape.time_ns(numbers[0]), self._tape.time_ns(numbers[-1])) if numbers else None

    def go_to(self, time_ns: int) -> bool:
        """Go to the last moment at or before a time."""
        if not self._tape.numbers():
            return False
        self._go(at_time(self._tape, time_ns))
        return True

    def change_speed(self, step: int) -> float | None:
        """Play at the next speed of ``SPEEDS``, or the one before; None: only a recording has a speed."""
        if not self._recorded:
            return None
        others = [one for one in SPEEDS if (one > self.speed if step > 0 else one < self.speed)]
        if others:
            self.speed = min(others) if step > 0 else max(others)
        return self.speed

    def tick(self, now: float) -> bool:
        """Play on to the time ``now``, seconds on any clock; whether another moment is seen."""
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
