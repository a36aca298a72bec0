"""Rows as the viewer wants them: filtered by a query, then sorted by a column."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from vmqtui.columns.column import Column, ordered
from vmqtui.state.choices import TableChoice
from vmqtui.state.query import Query, parse

_NOTHING = Query()
_SAME: Final = 0.1
"""Of a rate: a change by less than this part moves no row."""


@dataclass(frozen=True, eq=False)
class Arranged:
    """The rows that are left, in order; of how many; what could not be used of the filter; and whether that
    is of rates."""

    rows: list[Any]
    total: int
    problem: str = ""
    of_rates: bool = False


@lru_cache(maxsize=64)
def _query(text: str, columns: tuple[Column[Any], ...]) -> Query:
    return parse(text, columns)


def sorted_by(column: Column[Any], now: tuple[str, bool] | None) -> tuple[str, bool] | None:
    """The order when a column is chosen: measures largest first; chosen again, the other way round; chosen a
    third time, None: as the rows come, which is worst first for findings."""
    if now is None or now[0] != column.key:
        return column.key, column.largest_first
    return (column.key, not now[1]) if now[1] == column.largest_first else None


Steady = Callable[[], Mapping[Hashable, Any]]
"""Makes the rows, by their identity, as they are with rates over a longer time."""


class SteadyOrder:
    """The values that one table is sorted by: where a rate changed by less than ``_SAME``, its old one, so
    rows that do about the same keep their places. Another order begins again."""

    def __init__(self) -> None:
        self._sort: tuple[str, bool] | None = None
        self._kept: dict[Hashable, float] = {}

    def keys(
        self, rows: Sequence[Any], column: Column[Any], sort: tuple[str, bool]
    ) -> list[tuple[bool, int, Any]]:
        """What each row is sorted by."""
        kept = self._kept if sort == self._sort else {}
        self._sort, self._kept = sort, {}
        keys = []
        for row in rows:
            unknown, kind, value = column.sort_key(row)
            if not unknown and kind == 0:
                old = kept.get(row.identity)
                if old is not None and abs(value - old) <= _SAME * abs(old):
                    value = old
                self._kept[row.identity] = value
            keys.append((unknown, kind, value))
        return keys


def arrange(
    rows: Sequence[Any],
    columns: tuple[Column[Any], ...],
    choice: TableChoice,
    steady: Steady | None = None,
    order: SteadyOrder | None = None,
) -> Arranged:
    """Filter and sort. A column that is not there sorts nothing.

    Where a rate decides, the ``steady`` rows are judged, and ``order`` keeps rows in their places.
    """
    query = _query(choice.filter, columns) if choice.filter else _NOTHING
    column = None
    if choice.sort is not None:
        column = next((one for one in columns if one.key == choice.sort[0]), None)
    by_rate = column is not None and column.is_rate
    steadily = steady() if steady is not None and (by_rate or query.of_rates) else {}
    kept = list(rows)
    if query.tests:
        kept = [row for row in rows if query.matches(steadily.get(row.identity, row))]
    if column is not None and choice.sort is not None:
        keys = None
        if by_rate and order is not None:
            keys = order.keys([steadily.get(row.identity, row) for row in kept], column, choice.sort)
        kept = ordered(kept, column, choice.sort[1], keys)
    return Arranged(kept, len(rows), query.problem, query.of_rates)
