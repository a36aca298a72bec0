"""Columns of a table that has rows of several hosts: the host's name comes first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vmqtui.columns.column import Column, Value

R = TypeVar("R")


@dataclass(frozen=True)
class OfHost(Generic[R]):
    """A row, and the host it is of."""

    host: str
    row: R


@dataclass(frozen=True)
class _OfHostColumn(Column[OfHost[Any]]):
    """A column of the rows themselves."""

    of_row: Column[Any] | None = None

    def text(self, row: OfHost[Any]) -> str:
        assert self.of_row is not None
        return self.of_row.text(row.row)


def of_hosts(columns: Sequence[Column[R]]) -> tuple[Column[OfHost[R]], ...]:
    """The same columns, without pictures, for rows of several hosts; a column ``host`` is before them."""
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
