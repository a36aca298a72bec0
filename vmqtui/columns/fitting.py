"""What the columns of one table need for the rows it has, and the layout that follows."""

from collections.abc import Sequence
from typing import Any

from vmqtui.columns.column import Column
from vmqtui.columns.layout import Layout, lay_out
from vmqtui.state.choices import TableChoice


class Fitting:
    """The layout of a table, made again when its rows outgrow it.

    Settled columns are measured in all rows, when a configuration changed. The others are measured where
    they are drawn, and what they needed is kept until the table is wanted in another way: columns don't move
    to and fro with the numbers in them.
    """

    def __init__(self) -> None:
        self.layout = Layout([])
        self.outgrown = False
        """Whether a text turned out to need more cells than its column has."""
        self._wanted: tuple[object, ...] = ()
        self._configs: list[object] = []
        self._settled: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def measure(self, columns: Sequence[Column[Any]], rows: Sequence[Any]) -> None:
        """Measure the settled columns, if any row has another configuration than before."""
        configs = [getattr(row, "config", None) for row in rows]
        if set(map(id, configs)) == set(map(id, self._configs)):
            return
        self._configs = configs  # kept, so that no other object gets the id of one of them
        known = [row for row, config in zip(rows, configs, strict=True) if config is not None]
        self._settled = {
            column.key: max(column.need(row) for row in known)
            for column in columns
            if column.settled and known
        }
        self.outgrown = True

    def see(self, column: Column[Any], need: int) -> None:
        """Take note of the cells that a text of a column needs, where it has fewer."""
        if need > self._seen.get(column.key, 0):
            self._seen[column.key] = need
            self.outgrown = True

    def fit(
        self, columns: Sequence[Column[Any]], room: int, without: frozenset[str], choice: TableChoice
    ) -> bool:
        """Lay the columns out for ``room`` cells, unless they are; whether the layout is another now."""
        wanted = (columns, room, without, choice.always, choice.never, choice.filter)
        if self._wanted != wanted:
            self._wanted, self.outgrown = wanted, True
            self._seen.clear()
        if not self.outgrown:
            return False
        self.outgrown = False
        needs = self._settled | self._seen
        self.layout = lay_out(columns, room, needs, without | choice.never, choice.always)
        return True
