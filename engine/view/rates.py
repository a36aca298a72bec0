"""The one home of rates: tables of counters at two readings, their growth, and their growth per second."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from engine.telemetry.stats import Cell, Columns, Stats

WINDOW_NS = 1_000_000_000
"""Displayed rates cover about this much simulated time, so that the digits stay readable."""
STEADY_NS = 10_000_000_000
"""Tables are filtered and sorted by rates over this much simulated time, so that a burst of one second does
not reorder or hide rows."""

Key = tuple[int, ...]
Table = Mapping[str, Sequence[int | None]]
"""Columns by name, all of the same length. A cell may be None (unknown)."""


def per_second(now: int | None, before: int | None, seconds: float | None) -> float | None:
    """Return the growth of a counter per simulated second; None if it went back or no time passed."""
    if now is None or before is None or now < before or not seconds or seconds <= 0:
        return None
    return (now - before) / seconds


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return part / whole; None if either is unknown or ``whole`` is 0."""
    return part / whole if part is not None and whole else None


def known_sum(values: Iterable[float | None]) -> float | None:
    """Return the sum of the known values; None if none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def whole_sum(values: Iterable[float | None]) -> float | None:
    """Return the sum of the values; None if one is unknown, or there is none."""
    total: float | None = None
    for value in values:
        if value is None:
            return None
        total = value if total is None else total + value
    return total


class CounterTable:
    """A table of counters at the present reading, and at an earlier one if there is one.

    The columns in ``identity`` identify a row. A rate is delta(counter) / ``seconds``; it is None (unknown,
    not zero) for a new row, for a counter that went back, and if no simulated time passed. ``since`` counts
    from the reading ``mark``. ``from_zero``: without ``before``, counters grew from 0.
    """

    __slots__ = (
        "_before",
        "_deltas",
        "_identity",
        "_index",
        "_mark",
        "_marked",
        "_now",
        "_prior",
        "from_zero",
        "keys",
        "seconds",
    )

    def __init__(
        self,
        now: Table,
        before: Table | None,
        seconds: float | None,
        identity: tuple[str, ...] = ("id",),
        mark: Table | None = None,
        from_zero: bool = False,
    ) -> None:
        self._identity = identity
        self._mark = mark
        self._marked: dict[Key, int] | None = None
        self._now = now
        self._before = before or {}
        self._deltas: dict[str, list[int | None]] = {}
        self.from_zero = from_zero and before is None
        self.seconds = seconds if seconds and seconds > 0 else None
        self.keys = _keys(now, identity)
        self._index: dict[Key, int] | None = None
        self._prior: list[int] | None = None
        """Index of each row in the earlier reading, -1 for a new row; None if no row moved."""
        if any(now.get(name) != self._before.get(name) for name in identity):
            prior = {key: row for row, key in enumerate(_keys(self._before, identity))}
            self._prior = [prior.get(key, -1) for key in self.keys]

    @property
    def index(self) -> dict[Key, int]:
        """Row index by key."""
        if self._index is None:
            self._index = {key: row for row, key in enumerate(self.keys)}
        return self._index

    def count(self, name: str, row: int) -> int | None:
        """Return a counter of a row; None if the writer did not send it."""
        try:
            return self._now[name][row] if row >= 0 else None
        except (KeyError, IndexError):
            return None

    def earlier(self, name: str, row: int) -> int | None:
        """Return a counter of a row at the earlier reading; None for a new row."""
        place = row if self._prior is None or row < 0 else self._prior[row]
        column = self._before.get(name, ())
        return column[place] if 0 <= place < len(column) else None

    def delta(self, name: str, row: int) -> int | None:
        """Return the growth of a counter between the readings; None if unknown."""
        if row < 0 or self.seconds is None:
            return None
        deltas = self._deltas.get(name)
        if deltas is None:
            deltas = self._deltas[name] = self._column(name)
        return deltas[row]

    def _column(self, name: str) -> list[int | None]:
        """Return the growth of a whole column at once, because tables are mostly read by column."""
        count = len(self.keys)
        now = self._now.get(name, [])
        before: Sequence[int | None] = self._before.get(name, [])
        if self.from_zero:
            deltas = list(now[:count])
        else:
            if self._prior is not None:
                size = len(before)
                before = [before[old] if 0 <= old < size else None for old in self._prior]
            deltas = [
                new - old if old is not None and new is not None and new >= old else None
                for new, old in zip(now, before, strict=False)
            ][:count]
        return deltas + [None] * (count - len(deltas))

    def since(self, name: str, row: int) -> int | None:
        """Return the growth of a counter since ``mark``, or since the row was created if that was later."""
        now = self.count(name, row)
        if now is None or self._mark is None:
            return now
        if self._marked is None:
            self._marked = {key: at for at, key in enumerate(_keys(self._mark, self._identity))}
        at = self._marked.get(self.keys[row])
        if at is None:
            return now
        old = self._mark[name][at] if name in self._mark else 0
        return now - old if old is not None and now >= old else None

    def rate(self, name: str, row: int) -> float | None:
        """Return the growth of a counter per simulated second; None if unknown."""
        grown = self.delta(name, row)
        return None if grown is None or self.seconds is None else grown / self.seconds

    def total_rate(self, name: str) -> float | None:
        """Return the sum of the rates of all rows but new ones; None if the counter of a row is unknown."""
        if self.seconds is None or not self.keys or None in self._now.get(name, ()):
            return None
        self.delta(name, 0)
        total = known_sum(self._deltas[name])
        return None if total is None else total / self.seconds


def _keys(columns: Table, identity: tuple[str, ...]) -> list[Key]:
    return list(zip(*(columns.get(name, []) for name in identity), strict=False))


def one_row(counters: dict[str, Cell] | None) -> Columns:
    """Return single counters (of a port, or the default queue by reason) as a table of one row."""
    if counters is None:
        return {}
    return {"id": [0], **{name: [value] for name, value in counters.items()}}


class RateWindow:
    """Past readings for rates over ``span_ns``: about ``marks`` of them, evenly spaced, so a rate covers the
    span plus up to one spacing."""

    def __init__(self, span_ns: int = WINDOW_NS, marks: int = 8) -> None:
        self._readings: deque[Stats] = deque(maxlen=2 * marks)
        self._span_ns = span_ns
        self._step_ns = span_ns // marks

    def take(self, stats: Stats) -> Stats | None:
        """Add a reading; return the one to compare it with, or None for the first reading of a run.

        A reading whose simulated time or sequence number went back starts a new run.
        """
        readings = self._readings
        if readings and (stats.sim_time_ns < readings[-1].sim_time_ns or stats.seq <= readings[-1].seq):
            readings.clear()
        while len(readings) > 1 and stats.sim_time_ns - readings[1].sim_time_ns >= self._span_ns:
            readings.popleft()
        before = readings[0] if readings else None
        if not readings or stats.sim_time_ns - readings[-1].sim_time_ns >= self._step_ns:
            readings.append(stats)
        return before
