"""The viewer's choices: the adapter, and the sort order, filter and columns of each table."""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class TableChoice:
    """Choices for one table. ``sort`` is the key of a column, and whether the order is reversed. ``always``
    and ``never`` are keys of columns to show, or hide, regardless of the available width."""

    sort: tuple[str, bool] | None = None
    filter: str = ""
    always: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()


AS_IT_COMES = TableChoice()


@dataclass
class Choices:
    """``adapter`` None: all adapters. ``deltas``: show counters since the last reset, not in total."""

    adapter: str | None = None
    deltas: bool = False
    tables: dict[str, TableChoice] = field(default_factory=dict)
    """By the id of the table's widget: every view has its own choices."""

    def of(self, table: str | None) -> TableChoice:
        """The choices for a table; the defaults if there are none."""
        return self.tables.get(table or "", AS_IT_COMES)

    def change(self, table: str | None, **changes: Any) -> None:
        """Change fields of a table's ``TableChoice``; does nothing for a table without an id."""
        if table:
            self.tables[table] = replace(self.of(table), **changes)
