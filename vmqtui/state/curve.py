"""Keeping the history of what is shown in step: point by point as readings come, anew after a jump."""

from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Final

from engine.view.rates import WINDOW_NS
from vmqtui.state.history import History
from vmqtui.state.moment import Tape, at_time
from vmqtui.state.snapshot import Snapshot

_REBUILT_NS: Final = 90 * WINDOW_NS
"""What is worked out after a jump: as much as the longest sparkline shows."""


class Curve:
    """A history with one point for each second of simulated time."""

    def __init__(self) -> None:
        self.history = History()
        self._at_ns: int | None = None

    def add(self, snapshot: Snapshot, number: int | None) -> None:
        """Take a reading in, if a second has passed since the last point."""
        stats = snapshot.stats
        if stats is None or (old := self._at_ns) == stats.sim_time_ns:
            return
        if old is not None and stats.sim_time_ns < old:
            self.history.begin_run()
            old = None
        if old is None or stats.sim_time_ns - old >= WINDOW_NS:
            self._at_ns = stats.sim_time_ns
            self.history.add(snapshot.series(), number)

    def is_next(self, snapshot: Snapshot) -> bool:
        """Whether a reading goes on from the last point."""
        if snapshot.stats is None or self._at_ns is None:
            return False
        return 0 <= snapshot.stats.sim_time_ns - self._at_ns <= 3 * WINDOW_NS


class TapeCurve:
    """The history that led to the moment seen on a tape; where it is not known yet there are gaps."""

    def __init__(self, host: str, tape: Tape) -> None:
        self._host = host
        self._tape = tape
        self._curve = Curve()
        self._working: Iterator[Curve] | None = None

    @property
    def history(self) -> History:
        return self._curve.history

    def follow(self, snapshot: Snapshot, number: int) -> None:
        """See a moment: it is known already, or the next point, or a jump."""
        if self._working is None and self._curve.history.covers(number):
            return
        if self._working is None and self._curve.is_next(snapshot):
            self._curve.add(snapshot, number)
            return
        self._curve = Curve()
        self._working = self._lead_to(number)

    def work(self, budget_s: float) -> bool:
        """Work on what a jump left to do, for so long; whether there is more to see now."""
        if self._working is None:
            return False
        end = perf_counter() + budget_s
        for curve in self._working:
            if curve is not self._curve:
                self._curve, self._working = curve, None
                return True
            if perf_counter() > end:
                break
        return False

    def _lead_to(self, number: int) -> Iterator[Curve]:
        tape, made, snapshot = self._tape, Curve(), None
        numbers = tape.numbers()
        first = at_time(tape, tape.time_ns(number) - _REBUILT_NS)
        last_ns = 0
        for one in numbers[numbers.index(first) : numbers.index(number) + 1]:
            if 0 <= tape.time_ns(one) - last_ns < WINDOW_NS // 2:
                continue
            last_ns = tape.time_ns(one)
            with suppress(KeyError):  # what can't be read is a gap
                snapshot = Snapshot.of(self._host, tape.moment(one), snapshot)
                made.add(snapshot, one)
            yield self._curve
        yield made
