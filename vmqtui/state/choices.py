"""The viewer's choices: the adapter, and for each table its order, filter and columns."""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class TableChoice:
    """Choices for one table. ``sort`` is the key of a column, and whether reversed; ``always`` and
    ``never`` are keys of columns that are shown, or not, whatever there is room for."""

    sort: tuple[str, bool] | None = None
    filter: str = ""
    always: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()


AS_IT_COMES = TableChoice()


@dataclass
class Choices:
    """``adapter`` None: all. ``deltas``: counters are shown since the last reset, not in total."""

    adapter: str | None = None
    deltas: bool = False
    tables: dict[str, TableChoice] = field(default_factory=dict)
    """By the id of the table on the screen: every view has its own."""

    def of(self, table: str | None) -> TableChoice:
        """The choices for a table."""
        return self.tables.get(table or "", AS_IT_COMES)

    def change(self, table: str | None, **changes: Any) -> None:
        """Choose something else for a table."""
        if table:
            self.tables[table] = replace(self.of(table), **changes)
