"""Bounded history: one point a second of each rate for sparklines and charts; findings at past moments."""

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isnan, nan
from time import perf_counter
from typing import Final

from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import LONGEST_CUT_NS, AdviceWindow
from engine.view.rates import WINDOW_NS
from vmqtui.state.moment import Tape, at_time, lead
from vmqtui.state.rows import Advised
from vmqtui.state.snapshot import Snapshot

POINTS = 4200
"""Maximum number of points of each series: seventy minutes, the span of the archive."""

_SPARE = 256
"""Points dropped at a time: truncating a thousand series is expensive, so it is done rarely."""


@dataclass(slots=True)
class _Series:
    start: int
    """The place of its first point, counted from the first point of the history, including dropped ones."""
    values: "array[float]" = field(default_factory=lambda: array("f"))


class History:
    """Series by key, all on one time line; a series has a gap at moments when its value was unknown.

    Every point has the number of its moment (ascending), so that a chart can be drawn as of a past moment.
    Points of an earlier run of the engine are retained, but shown only at moments of that run.
    """

    def __init__(self, points: int = POINTS) -> None:
        self._points = points
        self._moments: list[int] = []
        self._dropped = 0
        self._run = 0
        self._run_starts: list[int] = [0]
        self._series: dict[tuple[int, Hashable], _Series] = {}

    def add(self, values: Iterable[tuple[Hashable, float | None]], moment: int | None = None) -> None:
        """Add a moment later than all others, with the value of each current series; None: unknown."""
        if len(self._moments) >= self._points + _SPARE:
            self._drop(len(self._moments) - self._points)
        place = self._dropped + len(self._moments)
        if moment is None:
            moment = self._moments[-1] + 1 if self._moments else 0
        self._moments.append(moment)
        for key, value in values:
            series = self._series.get((self._run, key))
            if series is None:
                series = self._series[self._run, key] = _Series(place)
            missing = place - series.start - len(series.values)
            if missing:
                series.values.extend([nan] * missing)
            series.values.append(nan if value is None else value)

    def begin_run(self) -> None:
        """Begin a new run after a restart of the engine: later points don't continue earlier series."""
        if len(self):
            self._run += 1
            self._run_starts.append(self._dropped + len(self._moments))

    def last(self, key: Hashable, count: int, moment: int | None = None) -> Sequence[float | None]:
        """Up to ``count`` points of a series, up to ``moment`` or the newest.

        Oldest first; None for an unknown value; fewer than ``count`` if the run has fewer.
        """
        latest = self._dropped + len(self._moments)
        end = latest if moment is None else self._dropped + bisect_right(self._moments, moment)
        run = self._run if moment is None else max(0, bisect_left(self._run_starts, end) - 1)
        begin = max(self._run_starts[run], latest - self._points, end - count)
        series = self._series.get((run, key))
        if series is None or begin >= end or series.start + len(series.values) < end:
            return []
        known = series.values[max(begin - series.start, 0) : max(end - series.start, 0)]
        return [
            *[None] * (end - begin - len(known)),
            *(None if isnan(one) else one for one in known),
        ]

    def covers(self, moment: int) -> bool:
        """Whether the number of a moment is between the first and the last point."""
        return bool(self._moments) and self._moments[0] <= moment <= self._moments[-1]

    def _drop(self, count: int) -> None:
        del self._moments[:count]
        self._dropped += count
        for key, series in list(self._series.items()):
            gone = self._dropped - series.start
            if gone >= len(series.values):
                del self._series[key]
            elif gone > 0:
                del series.values[:gone]
                series.start = self._dropped

    def __len__(self) -> int:
        """Number of points of the current run."""
        first = max(self._run_starts[self._run], self._dropped)
        return min(self._points, self._dropped + len(self._moments) - first)


_REBUILT_NS: Final = 90 * WINDOW_NS
"""The span computed after a jump, as long as the longest sparkline."""


class Curve:
    """A history with one point for each second of simulated time."""

    def __init__(self) -> None:
        self.history: History = History()
        self._at_ns: int | None = None

    def add(self, snapshot: Snapshot, number: int | None) -> None:
        """Add a point if a second of simulated time has passed since the last one."""
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
        self._working: Iterator[Curve] | None = None

    @property
    def history(self) -> History:
        return self._curve.history

    def follow(self, snapshot: Snapshot, number: int) -> None:
        """Extend the history to a moment; after a jump, drop it and start the computation of a new one."""
        if self._working is None and self._curve.history.covers(number):
            return
        if self._working is None and self._curve.is_next(snapshot):
            self._curve.add(snapshot, number)
            return
        self._curve = Curve()
        self._working = self._lead_to(number)

    def work(self, budget_s: float) -> bool:
        """Continue the computation after a jump for about ``budget_s``; return whether it is complete now."""
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
            with suppress(KeyError):  # an unreadable moment is a gap
                snapshot = Snapshot.of(self._host, tape.moment(one), snapshot)
                made.add(snapshot, one)
            yield self._curve
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
    return Advised(window.listed, judged_ns, window.seconds, window.is_whole, window.unchecked)


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


SECOND_NS = 1_000_000_000


class ShortHistory:
    """Values of one object while it was viewed, by name, at each second of simulated time."""

    def __init__(self) -> None:
        self._of: Hashable = None
        self._seen: OrderedDict[int, dict[str, float | None]] = OrderedDict()

    def note(self, of: Hashable, sim_time_ns: int, values: dict[str, float | None]) -> None:
        """Store the present values of an object; a different object clears all earlier values."""
        if of != self._of:
            self._of = of
            self._seen.clear()
        self._seen[sim_time_ns // SECOND_NS] = values
        while len(self._seen) > POINTS:
            self._seen.popitem(last=False)

    def last(self, name: str, count: int, sim_time_ns: int) -> Sequence[float | None]:
        """The values of the ``count`` seconds up to a moment, oldest first; None for seconds without one."""
        end = sim_time_ns // SECOND_NS
        return [self._seen.get(at, {}).get(name) for at in range(end - count + 1, end + 1)]
