"""The history of one host: a point a second of each rate; findings at past moments."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from time import perf_counter
from typing import Final

from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import LONGEST_CUT_NS, AdviceWindow
from engine.view.rates import WINDOW_NS
from vmqtui.state.moment import Tape, at_time, lead
from vmqtui.state.rows import Advised
from vmqtui.state.series import DETAIL_POINTS, SECOND_NS, History
from vmqtui.state.snapshot import Snapshot


def covered_s(snapshot: Snapshot) -> int:
    """Seconds up to a reading for which its rates hold: of the time since the reading they are compared with,
    an interval between two readings, so that missed readings are a gap."""
    stats, before = snapshot.stats, snapshot.before
    if stats is None or before is None:
        return 1
    span_ns = stats.sim_time_ns - before.sim_time_ns
    interval_ns = span_ns // max(1, stats.seq - before.seq)
    return max(1, ceil(min(span_ns, max(3 * WINDOW_NS // 2, interval_ns)) / SECOND_NS))


_REBUILT_NS: Final = 90 * WINDOW_NS
"""The span computed after a jump, as long as the longest sparkline."""


class Curve:
    """A history with one point for each second of simulated time."""

    def __init__(self) -> None:
        self.history: History = History()
        self.details: History = History(DETAIL_POINTS)
        """Values of queues that only their panels show."""
        self._at_ns: int | None = None
        self._second = 0
        """The second of the last point, by rounding: readings are late by a little, or early."""

    def add(self, snapshot: Snapshot, number: int | None) -> None:
        """Add a point if a second of simulated time, less a twentieth, has passed since the last one.

        A point for each second that has passed; unknown where readings were missed.
        """
        stats = snapshot.stats
        if stats is None or (old := self._at_ns) == stats.sim_time_ns:
            return
        if old is not None and stats.sim_time_ns < old:
            self.history.begin_run()
            self.details.begin_run()
            old = None
        if old is not None and stats.sim_time_ns - old < WINDOW_NS * 19 // 20:
            return
        second = (stats.sim_time_ns + SECOND_NS // 2) // SECOND_NS
        passed = 1 if old is None else second - self._second
        if passed < 1:  # two readings round to one second
            self.history.raise_last(snapshot.series())
            self.details.raise_last(snapshot.details())
        else:
            covered = min(passed, covered_s(snapshot))
            skipped = passed - covered
            self.history.add(snapshot.series(), number, covers=covered, skipped=skipped)
            self.details.add(snapshot.details(), number, covers=covered, skipped=skipped)
        self._at_ns = stats.sim_time_ns
        self._second = second if passed > 0 else self._second

    def is_next(self, snapshot: Snapshot) -> bool:
        """Whether a reading continues the curve: at most 3 s of simulated time after the last point."""
        if snapshot.stats is None or self._at_ns is None:
            return False
        return 0 <= snapshot.stats.sim_time_ns - self._at_ns <= 3 * WINDOW_NS


class TapeCurve:
    """The history up to the moment shown from a tape; it is empty or has gaps until it is computed."""

    def __init__(self, host: str, tape: Tape) -> None:
        self._host = host
        self._tape = tape
        self._curve = Curve()
        self._working: Iterator[Curve | None] | None = None
        self._first: int | None = None
        """The moment from which the history is computed, or will be."""
        self._target = 0
        """The moment that the computation leads to."""

    @property
    def history(self) -> History:
        return self._curve.history

    @property
    def details(self) -> History:
        return self._curve.details

    def follow(self, snapshot: Snapshot, number: int, span_s: int) -> None:
        """Extend the history to a moment; after a jump, or for a longer span, start to compute a new one."""
        tape, span_ns = self._tape, max(_REBUILT_NS, span_s * SECOND_NS)
        at_ns = tape.time_ns(number)
        covered = self._curve.history.covers(number)
        if self._first is not None and self._first <= at_time(tape, at_ns - span_ns):
            if not covered and self._curve.is_next(snapshot):
                self._curve.add(snapshot, number)
                covered = True
            if self._working is None and covered:
                return
            if self._working is not None and 0 <= at_ns - tape.time_ns(self._target) <= 3 * WINDOW_NS:
                self._target = number
                return
        if not covered:
            self._curve = Curve()
        self._first, self._target = at_time(tape, at_ns - span_ns * 5 // 4), number
        self._working = self._lead(at_time(tape, at_ns - _REBUILT_NS))

    def work(self, budget_s: float) -> bool:
        """Continue the computation for about ``budget_s``; return whether there is more to see now."""
        if self._working is None:
            return False
        end = perf_counter() + budget_s
        for curve in self._working:
            if curve is not None:
                self._curve = curve
                return True
            if perf_counter() > end:
                return False
        self._working = None
        return False

    def _lead(self, soon: int) -> Iterator[Curve | None]:
        """Compute the history from the moment ``soon``, then all of it; yield each, and None in between."""
        tape, numbers = self._tape, self._tape.numbers()
        for first in dict.fromkeys((soon, self._first or 0)):
            made, snapshot, last_ns = Curve(), None, 0
            for one in numbers[bisect_left(numbers, first) :]:
                if one > self._target:
                    break
                if 0 <= tape.time_ns(one) - last_ns < WINDOW_NS // 2:
                    continue
                last_ns = tape.time_ns(one)
                with suppress(KeyError):  # an unreadable moment is a gap
                    snapshot = Snapshot.of(self._host, tape.moment(one), snapshot)
                    made.add(snapshot, one)
                yield None
            yield made


_THINNED_NS: Final = 200_000_000
"""Minimum distance of the readings that are judged, except the last."""
_MARGIN_NS: Final = 10_000_000_000
"""Judging begins this much earlier than necessary, so that a shorter step back judges nothing again."""
_KEPT: Final = 32
"""Maximum number of past results that are cached."""


def advised(window: AdviceWindow) -> Advised:
    """The current findings of a window."""
    judged_ns = window.judged.sim_time_ns if window.judged is not None else None
    window_s = window.thresholds.window_s
    return Advised(window.listed, judged_ns, window.seconds, window.unchecked, window_s)


class TapeAdvice:
    """The advisor's findings at moments of a tape, computed by judging the readings up to a moment in order.

    A step forward judges only the readings in between; a short step back uses cached results.
    """

    def __init__(self, tape: Tape, thresholds: AdviceThresholds) -> None:
        self._tape = tape
        self._thresholds = thresholds
        self._span_ns = round(thresholds.window_s * 1e9) + LONGEST_CUT_NS
        self._window = AdviceWindow(thresholds)
        self._first = self._reached = -1
        self._found: deque[tuple[int, Advised]] = deque(maxlen=_KEPT)

    def at(self, number: int) -> Advised:
        """The findings at a moment; none if the moment is not on the tape."""
        with suppress(KeyError):
            leading = lead(self._tape, number, self._span_ns)
            known = self._first <= leading[0] <= self._reached
            if not known or not self._found or self._found[0][0] > number:
                self._begin(lead(self._tape, number, self._span_ns + _MARGIN_NS)[0])
            self._go_on(number)
            return next(found for since, found in reversed(self._found) if since <= number)
        return Advised()

    def _begin(self, number: int) -> None:
        """Reset, to judge from a moment on."""
        self._window = AdviceWindow(self._thresholds)
        self._first, self._reached = number, number - 1
        self._found.clear()
        self._found.append((number, Advised()))

    def _go_on(self, number: int) -> None:
        """Judge the readings up to a moment."""
        numbers, tape, window = self._tape.numbers(), self._tape, self._window
        last_ns: int | None = None
        for one in numbers[bisect_right(numbers, self._reached) : bisect_right(numbers, number)]:
            at_ns = tape.sim_time_ns(one)
            if one != number and last_ns is not None and 0 <= at_ns - last_ns < _THINNED_NS:
                continue
            last_ns = at_ns
            with suppress(KeyError):  # unreadable moments are skipped
                judged = window.add(*tape.reading(one))
                restarted = window.judged is None and self._found[-1][1].judged_ns is not None
                if judged or restarted:
                    self._found.append((one, advised(window)))
        self._reached = max(self._reached, number)
