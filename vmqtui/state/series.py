"""Values at each second of simulated time, bounded: for trends and charts. No rates are computed here."""

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

SECOND_NS: Final = 1_000_000_000
POINTS = 4200
"""Maximum number of points of each series: seventy minutes, the span of the archive."""

DETAIL_POINTS = 300
"""Maximum number of points of each series of a queue's details: five minutes."""
_GAP_S: Final = 3
"""Most seconds between two values of an object that is viewed all the time."""
_SPARE = 256
"""Points dropped at a time: truncating a thousand series is expensive, so it is done rarely."""


_UNKNOWN: Final = -1.0
"""A second of which the value, never negative, is not known."""
MOST_CHARTS: Final = 16
"""Maximum number of charts whose cells are cached."""
_CELLS_KEPT: Final = 1024
"""Maximum number of cells of a chart that are cached."""
Groups = tuple[tuple[Hashable, ...], ...]
"""Keys of series: those of a group are summed."""


@dataclass(slots=True)
class _Series:
    start: int
    """The place of its first point, counted from the first point of the history, including dropped ones."""
    values: "array[float]" = field(default_factory=lambda: array("f"))

    def cut(self, begin: int, end: int) -> Sequence[float]:
        """The values of places ``begin`` to ``end`` - 1; unknown where the series has none."""
        known = self.values[max(0, begin - self.start) : max(0, end - self.start)]
        if len(known) == end - begin:
            return known
        before = min(end - begin, max(0, self.start - begin))
        after = end - begin - before - len(known)
        return [*[_UNKNOWN] * before, *known, *[_UNKNOWN] * after]


def cells_of_span(end: int, span: int, cells: int) -> list[tuple[int, int, int]]:
    """Divide the ``span`` seconds before ``end`` among ``cells``: number, first second and end of each cell.

    A second stays in its cell as time goes on, so that a cell moves and does not change. Where there are more
    cells than seconds, several have the same one.
    """
    last = -(-end * cells // span) - 1
    found = []
    for cell in range(last - cells + 1, last + 1):
        first, after = -(-cell * span // cells), min(end, -(-(cell + 1) * span // cells))
        if first >= after:
            first = cell * span // cells
            after = first + 1
        found.append((cell, first, after))
    return found


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
        self._charts: OrderedDict[tuple[object, ...], dict[int, tuple[float, ...] | None]] = OrderedDict()

    def add(
        self,
        values: Iterable[tuple[Hashable, float | None]],
        moment: int | None = None,
        *,
        covers: int = 1,
        skipped: int = 0,
    ) -> None:
        """Add a moment later than all others, with the value of each current series; None: unknown.

        The values hold for the last ``covers`` seconds; nothing is known of the ``skipped`` seconds before.
        """
        covers, skipped = min(covers, self._points), min(skipped, self._points)
        more = len(self._moments) + covers + skipped - self._points
        if more > _SPARE:
            self._drop(min(more, len(self._moments)))
        place = self._dropped + len(self._moments) + skipped
        if moment is None:
            moment = self._moments[-1] + 1 if self._moments else 0
        self._moments.extend([moment] * (skipped + covers))
        for key, value in values:
            series = self._series_at(key, place)
            series.values.extend([_UNKNOWN if value is None else value] * covers)

    def raise_last(self, values: Iterable[tuple[Hashable, float | None]]) -> None:
        """Add values to the last second: of each series, the higher value stays."""
        place = self._dropped + len(self._moments) - 1
        for key, value in values:
            series = self._series_at(key, place)
            known = [_UNKNOWN if value is None else value, *series.values[place - series.start :]]
            series.values[place - series.start :] = array("f", [max(known)])

    def _series_at(self, key: Hashable, place: int) -> _Series:
        """A series of the current run, with values for all places before ``place`` since its start."""
        series = self._series.get((self._run, key))
        if series is None:
            series = self._series[self._run, key] = _Series(place)
        missing = place - series.start - len(series.values)
        if missing > 0:
            series.values.extend([_UNKNOWN] * missing)
        return series

    def begin_run(self) -> None:
        """Begin a new run after a restart of the engine: later points don't continue earlier series."""
        if len(self):
            self._run += 1
            self._run_starts.append(self._dropped + len(self._moments))

    def _reach(self, moment: int | None) -> tuple[int, int, int]:
        """The run of a moment, or the newest, and the first place and the end of its stored points."""
        latest = self._dropped + len(self._moments)
        end = latest if moment is None else self._dropped + bisect_right(self._moments, moment)
        run = self._run if moment is None else max(0, bisect_left(self._run_starts, end) - 1)
        return run, max(self._run_starts[run], latest - self._points), end

    def last(self, key: Hashable, count: int, moment: int | None = None) -> Sequence[float | None]:
        """Up to ``count`` points of a series, up to ``moment`` or the newest.

        Oldest first; None for an unknown value; fewer than ``count`` if the run has fewer.
        """
        run, begin, end = self._reach(moment)
        begin = max(begin, end - count)
        series = self._series.get((run, key))
        if series is None or begin >= end or series.start + len(series.values) < end:
            return []
        return [None if one < 0 else one for one in series.cut(begin, end)]

    def peaks(
        self, groups: Groups, span: int, cells: int, moment: int | None = None
    ) -> list[list[float | None]]:
        """The ``span`` seconds up to ``moment`` or the newest, in ``cells`` parts: a list for each group.

        Each part is its second with the highest total of all groups, so that no burst is lost and no total is
        shown that never was. None if no second of a part is known of every series.
        """
        run, begin, end = self._reach(moment)
        kept = self._cells_of(run, groups, span, cells)
        series = [[self._series.get((run, key)) for key in group] for group in groups]
        columns: list[tuple[float, ...] | None] = []
        for cell, first, after in cells_of_span(end, span, cells):
            whole = after < end  # the last may have been cut at ``end``, and be cached as it was later
            if whole and cell in kept:
                columns.append(kept[cell])
                continue
            column = _highest(series, max(first, begin), after)
            if whole:
                kept[cell] = column
            columns.append(column)
        return [[None if column is None else column[n] for column in columns] for n in range(len(groups))]

    def _cells_of(self, *chart: object) -> dict[int, tuple[float, ...] | None]:
        """The cached cells of a chart, by number: those that change no more."""
        kept = self._charts.setdefault(chart, {})
        self._charts.move_to_end(chart)
        if len(self._charts) > MOST_CHARTS:
            self._charts.popitem(last=False)
        if len(kept) > _CELLS_KEPT:
            kept.clear()
        return kept

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


def _highest(groups: Sequence[Sequence[_Series | None]], begin: int, end: int) -> tuple[float, ...] | None:
    """The sum of each group in the second with the highest total; None if no second is wholly known."""
    rows: list[Sequence[float]] = []
    for group in groups:
        parts = [one.cut(begin, end) for one in group if one is not None] if begin < end else []
        if not parts or len(parts) < len(group):
            return None
        rows.append(parts[0] if len(parts) == 1 else [_whole(values) for values in zip(*parts, strict=True)])
    totals = rows[0] if len(rows) == 1 else [_whole(values) for values in zip(*rows, strict=True)]
    highest = max(totals)
    if highest < 0:
        return None
    second = totals.index(highest)
    return tuple(row[second] for row in rows)


def _whole(values: Sequence[float]) -> float:
    """The sum of values; unknown if one is."""
    return sum(values) if min(values) >= 0 else _UNKNOWN


class ShortHistory:
    """Values of one object by name, at each second of simulated time: while it was viewed, and before as far
    as that is known."""

    def __init__(self) -> None:
        self._of: Hashable = None
        self._noted = 0
        """The second of the last values."""
        self._first = 0
        """The second of the first value of every row."""
        self._rows: dict[str, array[float]] = {}

    def note(
        self,
        of: Hashable,
        sim_time_ns: int,
        values: dict[str, float | None],
        covers: int = 1,
        known: Callable[[str], Sequence[float | None]] | None = None,
    ) -> None:
        """Store the values of the last ``covers`` seconds; a different object clears all earlier values.

        ``known`` returns what else is known of a name at the seconds up to this one, oldest first; it is
        called if the object was not viewed just before.
        """
        second = sim_time_ns // SECOND_NS
        viewed = of == self._of and 0 <= second - self._noted <= _GAP_S
        if of != self._of or abs(second - self._first) >= 2 * POINTS:
            self._of, self._first, self._rows = of, second, {}
        self._noted = second
        self._begin_at(min(second, self._first))
        if known is not None and not viewed:
            for name in values:
                self._fill(name, second, known(name))
        place = second - self._first
        for name, value in values.items():
            row = self._rows.setdefault(name, array("f"))
            row.extend([_UNKNOWN] * (place + 1 - len(row)))
            now = row[place] = _UNKNOWN if value is None else value
            for earlier in range(max(0, place - covers + 1), place):
                row[earlier] = now if row[earlier] < 0 else row[earlier]
        if place >= POINTS + _SPARE:
            self._begin_at(second - POINTS + 1)

    def _fill(self, name: str, second: int, known: Sequence[float | None]) -> None:
        """Store values of the seconds up to ``second`` where none are known."""
        begin = second + 1 - len(known)
        self._begin_at(min(begin, self._first))
        row = self._rows.setdefault(name, array("f"))
        row.extend([_UNKNOWN] * (second + 1 - self._first - len(row)))
        for place, value in enumerate(known, begin - self._first):
            if value is not None and row[place] < 0:
                row[place] = value

    def _begin_at(self, second: int) -> None:
        """Let every row begin at a second: drop values before it, or add unknown ones."""
        for row in self._rows.values():
            row[: max(0, second - self._first)] = array("f", [_UNKNOWN] * max(0, self._first - second))
        self._first = second

    def peaks(self, name: str, span: int, cells: int, sim_time_ns: int) -> list[float | None]:
        """The ``span`` seconds up to a moment in ``cells`` parts: the highest value of each, or None."""
        row = _Series(self._first, self._rows.get(name, array("f")))
        parts = (
            row.cut(first, end) for _, first, end in cells_of_span(sim_time_ns // SECOND_NS + 1, span, cells)
        )
        return [None if (highest := max(part)) < 0 else highest for part in parts]
