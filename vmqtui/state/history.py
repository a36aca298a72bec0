"""Bounded history of the rates that sparklines and charts show: one point a second."""

from array import array
from collections.abc import Hashable, Iterable, Sequence
from math import isnan, nan

POINTS = 300
"""Points kept of each series: five minutes."""


class History:
    """Series by key, all on one time line; a moment in which a series was unknown holds a gap."""

    def __init__(self, points: int = POINTS) -> None:
        self._points = points
        self._series: dict[Hashable, array[float]] = {}
        self._length = 0

    def add(self, values: Iterable[tuple[Hashable, float | None]]) -> None:
        """One moment: the value of each series that exists now. Others end and are forgotten."""
        self._length = min(self._length + 1, self._points)
        kept: dict[Hashable, array[float]] = {}
        for key, value in values:
            series = self._series.get(key)
            if series is None:
                series = array("d", [nan]) * (self._length - 1)
            elif len(series) >= self._points:
                del series[0]
            series.append(nan if value is None else value)
            kept[key] = series
        self._series = kept

    def last(self, key: Hashable, count: int) -> Sequence[float | None]:
        """The last ``count`` points of a series, oldest first, None where unknown; fewer when there are."""
        series = self._series.get(key)
        if series is None or count <= 0:
            return []
        return [None if isnan(value) else value for value in series[-count:]]

    def clear(self) -> None:
        """Forget everything: a new run began."""
        self._series = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length
