"""Tables as JSON (the format of ``vmqtui get --json``) and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any, Final, Generic, TypeVar

from engine.telemetry.stats import Source, Stats
from vmqtui.columns.column import Column, Value, export_row
from vmqtui.printable import shown

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Characters that start a formula in a spreadsheet."""
DIGITS: Final = 9
"""Significant digits of rates, shares and loads in a cell."""


def document(
    table: str,
    columns: Sequence[Column[Any]],
    rows: Sequence[Any],
    host: str | None = None,
    stats: Stats | None = None,
    *,
    hosts: Sequence[str] | None = None,
    sources: Mapping[str, Source] | None = None,
) -> dict[str, Any]:
    """Return a table as a JSON document, with its host or hosts and the time of its reading; of a measured
    host also with how the columns are known, by key."""
    made: dict[str, Any] = {"schema": f"vmq.get.{table}/1"}
    if host is not None:
        made["host"] = host
    if hosts is not None:
        made["hosts"] = list(hosts)
    if stats is not None:
        made |= {"sim_time_ns": stats.sim_time_ns, "time_ns": stats.time_ns}
    if sources:
        keys = {column.key for column in columns}
        made["sources"] = {key: source for key, source in sources.items() if key in keys}
    return made | {table: [export_row(columns, row) for row in rows]}


def as_csv(columns: Sequence[Column[Any]], rows: Sequence[Any]) -> str:
    """Return a table as CSV (RFC 4180), with the column names of the JSON document.

    Counters have all their digits; other numbers are rounded to ``DIGITS``, never before the point. An
    unknown value is an empty cell; several values share a cell, separated by spaces, with "any" for any
    VLAN. Text that a spreadsheet would read as a formula gets a leading apostrophe.
    """
    exported = [column for column in columns if column.exported]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.key for column in exported])
    writer.writerows([cell(column.value(row)) for column in exported] for row in rows)
    return text.getvalue()


def cell(value: Value) -> str | int | float:
    """Return a value as a CSV cell, by the rules of ``as_csv``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _rounded(value)
    if isinstance(value, int):
        return value
    text = value if isinstance(value, str) else " ".join("any" if one is None else str(one) for one in value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _rounded(value: float) -> int | float:
    """Return a measured number without the digits that its computation alone left: 67.26873599999999 is
    67.268736."""
    if not isfinite(value):
        return value
    places = DIGITS - 1 - (floor(log10(abs(value))) if value else 0)
    value = round(value, max(0, places))
    return int(value) if value.is_integer() else value


def as_line(columns: Sequence[Column[Any]], row: Any) -> str:
    """Return a row for the clipboard: the cells of ``as_csv``, separated by tabs. Control characters in them
    are made visible, so that none separates cells, or does anything in a terminal that it is pasted into."""
    return "\t".join(shown(str(cell(column.value(row)))) for column in columns if column.exported)


def as_lines(columns: Sequence[Column[Any]], rows: Sequence[Any]) -> str:
    """Return rows for the clipboard: a line with the column names of the JSON document, then each row as
    ``as_line`` has it."""
    headings = "\t".join(column.key for column in columns if column.exported)
    return "\n".join((headings, *(as_line(columns, row) for row in rows)))


R = TypeVar("R")


@dataclass(frozen=True)
class OfHost(Generic[R]):
    """A row and its host."""

    host: str
    row: R


@dataclass(frozen=True)
class _OfHostColumn(Column[OfHost[Any]]):
    """A column of the wrapped row; its text is that of ``of_row``."""

    of_row: Column[Any] | None = None

    def text(self, row: OfHost[Any]) -> str:
        assert self.of_row is not None
        return self.of_row.text(row.row)


def of_hosts(columns: Sequence[Column[R]]) -> tuple[Column[OfHost[R]], ...]:
    """Return a ``host`` column and the exported columns, adapted to rows of several hosts."""
    host = Column[OfHost[R]](
        key="host", title="Host", heading="Host", width=12, help="The host.", value=lambda of: of.host
    )
    return (host, *(_of_host(column) for column in columns if column.exported))


def _of_host(column: Column[Any]) -> Column[OfHost[Any]]:
    def value(row: OfHost[Any]) -> Value:
        return column.value(row.row)

    return _OfHostColumn(
        key=column.key,
        title=column.title,
        width=column.width,
        help=column.help,
        value=value,
        heading=column.heading,
        unit=column.unit,
        right=column.right,
        priority=column.priority,
        of_row=column,
    )
