"""The one home of a rate: tables of counters at two readings, their growth, and growth per second."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from engine.telemetry.stats import Columns, Stats

WINDOW_NS = 1_000_000_000
"""Rates are taken over about this much simulated time, so that digits can be read."""
STEADY_NS = 10_000_000_000
"""Tables are filtered and sorted by rates over this much, so that bursts don't make rows come, go and change
places: the frames of one second are no measure of a queue."""

Key = tuple[int, ...]
Table = Mapping[str, Sequence[int | None]]
"""Columns of one length by name. A cell may be unknown (None)."""


def per_second(now: int | None, before: int | None, seconds: float | None) -> float | None:
    """The growth of a counter per second of simulated time; unknown where it went back, or no time passed."""
    if now is None or before is None or now < before or not seconds or seconds <= 0:
        return None
    return (now - before) / seconds


def ratio(part: float | None, whole: float | None) -> float | None:
    """part / whole; unknown when either is, and when there is no whole."""
    return part / whole if part is not None and whole else None


def known_sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; unknown when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


class CounterTable:
    """One table of columns now and, where there is one, before.

    Rows are told apart by the columns in ``identity``. A rate is delta(counter) / ``seconds``; it is
    None (unknown, not zero) for a row that was not there before, for a counter that went back, and when
    no simulated time passed. ``mark`` is the reading that deltas are taken against. ``from_zero``: without
    ``before``, counters grew from 0.
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
        """Where each row was before, -1 when it was not; None when every row is where it was."""
        if any(now.get(name) != self._before.get(name) for name in identity):
            prior = {key: row for row, key in enumerate(_keys(self._before, identity))}
            self._prior = [prior.get(key, -1) for key in self.keys]

    @property
    def index(self) -> dict[Key, int]:
        """Where each row is, by its key."""
        if self._index is None:
            self._index = {key: row for row, key in enumerate(self.keys)}
        return self._index

    def count(self, name: str, row: int) -> int | None:
        """A counter of a row; None when the writer did not send it."""
        try:
            return self._now[name][row] if row >= 0 else None
        except (KeyError, IndexError):
            return None

    def earlier(self, name: str, row: int) -> int | None:
        """The same at the reading before; None for a row that was not there."""
        place = row if self._prior is None or row < 0 else self._prior[row]
        column = self._before.get(name, ())
        return column[place] if 0 <= place < len(column) else None

    def delta(self, name: str, row: int) -> int | None:
        """How much a counter grew between the readings, or None when that is unknown."""
        if row < 0 or self.seconds is None:
            return None
        deltas = self._deltas.get(name)
        if deltas is None:
            deltas = self._deltas[name] = self._column(name)
        return deltas[row]

    def _column(self, name: str) -> list[int | None]:
        """The growth of every row, computed at once: tables are mostly read by column."""
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
        """How much a counter grew since ``mark``, or, where the row was not there then, since it began."""
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
        """A counter's growth per second of simulated time, or None when that is unknown."""
        grown = self.delta(name, row)
        return None if grown is None or self.seconds is None else grown / self.seconds

    def total_rate(self, name: str) -> float | None:
        """The rates of all rows together, of those that are known; None when none is."""
        if self.seconds is None or not self.keys:
            return None
        self.delta(name, 0)
        total = known_sum(self._deltas[name])
        return None if total is None else total / self.seconds


def _keys(columns: Table, identity: tuple[str, ...]) -> list[Key]:
    return list(zip(*(columns.get(name, []) for name in identity), strict=False))


def one_row(counters: dict[str, int] | None) -> Columns:
    """Single counters (a port, the default queue's reasons) as a table of one row."""
    if counters is None:
        return {}
    return {"id": [0], **{name: [value] for name, value in counters.items()}}


class RateWindow:
    """The readings that rates over ``span_ns`` are taken against: about ``marks`` of them, evenly spaced, so
    a rate is over the span and up to a mark more."""

    def __init__(self, span_ns: int = WINDOW_NS, marks: int = 8) -> None:
        self._readings: deque[Stats] = deque(maxlen=2 * marks)
        self._span_ns = span_ns
        self._step_ns = span_ns // marks

    def take(self, stats: Stats) -> Stats | None:
        """Add a reading; return the one to compare it with, or None after a restart or at the start.

        A reading whose simulated time or sequence went back belongs to a new run.
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
