"""Bounded history of the rates that sparklines and charts show: one point a second."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan, nan

POINTS = 4200
"""Points kept of each series: seventy minutes, as long as readings are kept."""

_SPARE = 256
"""Points dropped at once: shortening a thousand series is dear, so it is done seldom."""


@dataclass(slots=True)
class _Series:
    start: int
    """The place of its first point, counted from the first point ever."""
    values: "array[float]" = field(default_factory=lambda: array("f"))


class History:
    """Series by key, all on one time line; a moment in which a series was unknown holds a gap.

    Every point belongs to a moment (its number, ascending), so that a chart can be drawn as it stood then.
    Points of an earlier run of the engine are kept, and shown at its moments only.
    """

    def __init__(self, points: int = POINTS) -> None:
        self._points = points
        self._moments: list[int] = []
        self._dropped = 0
        self._run = 0
        self._run_starts: list[int] = [0]
        self._series: dict[tuple[int, Hashable], _Series] = {}

    def add(self, values: Iterable[tuple[Hashable, float | None]], moment: int | None = None) -> None:
        """One moment, later than all before: the value of each series that exists now."""
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
        """The engine has started anew: what follows does not go on from what was."""
        if len(self):
            self._run += 1
            self._run_starts.append(self._dropped + len(self._moments))

    def last(self, key: Hashable, count: int, moment: int | None = None) -> Sequence[float | None]:
        """The last ``count`` points of a series, up to a moment where one is given.

        Oldest first, None where unknown, fewer when there are fewer.
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
        """Whether a moment lies between the first and the last point."""
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
        """Points of this run."""
        first = max(self._run_starts[self._run], self._dropped)
        return min(self._points, self._dropped + len(self._moments) - first)
