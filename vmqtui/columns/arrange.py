"""Rows as the viewer wants them: filtered by a query, then sorted by a column."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vmqtui.columns.column import Column, ordered
from vmqtui.state.choices import TableChoice
from vmqtui.state.query import Query, parse

_NOTHING = Query()


@dataclass(frozen=True, eq=False)
class Arranged:
    """The rows that are left, in order; of how many; and what could not be used of the filter."""

    rows: list[Any]
    total: int
    problem: str = ""


@lru_cache(maxsize=64)
def _query(text: str, columns: tuple[Column[Any], ...]) -> Query:
    return parse(text, columns)


def sorted_by(column: Column[Any], now: tuple[str, bool] | None) -> tuple[str, bool] | None:
    """The order when a column is chosen: measures largest first; chosen again, the other way round; chosen a
    third time, None: as the rows come, which is worst first for findings."""
    if now is None or now[0] != column.key:
        return column.key, column.largest_first
    return (column.key, not now[1]) if now[1] == column.largest_first else None


def arrange(rows: Sequence[Any], columns: tuple[Column[Any], ...], choice: TableChoice) -> Arranged:
    """Filter and sort. A column that is not there sorts nothing."""
    query = _query(choice.filter, columns) if choice.filter else _NOTHING
    kept = [row for row in rows if query.matches(row)] if query.tests else list(rows)
    if choice.sort is not None:
        column = next((one for one in columns if one.key == choice.sort[0]), None)
        if column is not None:
            kept = ordered(kept, column, choice.sort[1])
    return Arranged(kept, len(rows), query.problem)
