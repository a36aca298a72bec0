"""The layout of a table: the columns that fit its width, the width of each, and when that changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmqtui.columns.column import Column
from vmqtui.state.choices import TableChoice

WIDE: Final = 150
"""Minimum width of a table, in cells, for two blanks between columns, if that cuts nothing."""
_SECOND: Final = 5
"""Columns above this priority are dropped before a name is cut, even if they hold names."""
_MINOR: Final = 3
"""Numbers of this priority or above are dropped before a sentence is cut, if that cuts none."""
_EXTRA: Final = 10
"""Columns of this priority or above are shown only if all others have the room they want."""
_EASE: Final = 3
"""Cells that bars and trends grow by before such an extra column is shown."""


@dataclass(frozen=True)
class Layout:
    """The columns that are shown, each with its width; ``gap`` blanks separate them."""

    columns: list[tuple[Column[Any], int]]
    gap: int = 1
    whole: bool = True
    """Whether every text has the cells it needs."""


def lay_out(
    columns: Sequence[Column[Any]],
    room: int,
    needs: Mapping[str, int] | None = None,
    without: frozenset[str] = frozenset(),
    always: frozenset[str] = frozenset(),
) -> Layout:
    """Distribute ``room`` cells: to names first, then numbers, then sentences, then drawn columns.

    Drawn columns are bars and trends. ``needs`` maps a column's key to the cells of its widest text, if
    known. Columns that don't fit are dropped from the highest priority (rightmost first); those in ``always``
    go last. Before a name is cut, drawn columns are dropped, then numbers, except those of priority 0; then
    the widest names are cut. Drawn columns are also dropped if that leaves every sentence uncut, and minor
    numbers if it takes both. Dropped columns that fit into the cells left over come back, the lowest priority
    first; what is left goes to sentences, then to drawn columns.
    """
    chosen = [column for column in columns if column.key not in without or column.key in always]
    if room >= WIDE:
        spaced = _Shares(chosen, room, 2, needs or {}, always).layout()
        if spaced.whole:
            return spaced
    return _Shares(chosen, room, 1, needs or {}, always).layout()


class _Shares:
    """The distribution of ``room`` cells among columns; methods drop columns from the list."""

    def __init__(
        self,
        columns: list[Column[Any]],
        room: int,
        gap: int,
        needs: Mapping[str, int],
        always: frozenset[str],
    ) -> None:
        self._columns = columns
        self._room = room
        self._gap = gap
        self._needs = needs
        self._always = always

    def layout(self) -> Layout:
        all_of_them = [*self._columns]
        self._leave_for_room()
        self._leave_for_names()
        self._leave_for_sentences()
        self._leave_alone()
        self._come_back(all_of_them)
        widths = self._cut()
        self._grow(widths)
        whole = all(widths[n] >= self._need(column) for n, column in enumerate(self._columns))
        return Layout(list(zip(self._columns, widths, strict=True)), self._gap, whole)

    def _need(self, column: Column[Any]) -> int:
        """Return the cells in which nothing of the column is cut."""
        if column.is_drawn:
            return column.width
        return max(self._needs.get(column.key, column.width), len(column.title))

    def _least(self, column: Column[Any]) -> int:
        """Return the fewest cells with which the column is worth showing."""
        need = self._need(column)
        return need if column.is_drawn or column.is_measure else min(need, column.width)

    def _standing(self, column: Column[Any]) -> int:
        """Return the cells before anything grows: sentences may be cut for other columns, names may not."""
        return self._least(column) if column.prose else self._need(column)

    def _easy(self, column: Column[Any]) -> int:
        return column.width + min(_EASE, column.grow) if column.is_drawn else self._need(column)

    def _over(self, widths: Sequence[int]) -> int:
        """Return by how many cells these widths exceed the room; negative if cells are left."""
        return sum(widths) + self._gap * (len(widths) - 1) - self._room

    def _leave_for_room(self) -> None:
        """Drop columns until each of the rest gets its minimum width."""
        columns = self._columns
        while len(columns) > 1:
            worst = max(
                range(len(columns)),
                key=lambda n: (columns[n].key not in self._always, columns[n].priority, n),
            )
            one = columns[worst]
            extra = one.priority >= _EXTRA and one.key not in self._always
            if self._over([(self._easy if extra else self._least)(column) for column in columns]) <= 0:
                break
            del columns[worst]

    def _leave_for_names(self) -> None:
        """Before a name is cut, drop drawn columns, then numbers."""
        columns = self._columns
        while self._over([self._standing(column) for column in columns]) > 0:
            losable = [
                n
                for n, column in enumerate(columns)
                if column.priority > 0
                and column.key not in self._always
                and (column.is_drawn or column.is_measure or column.priority > _SECOND)
            ]
            if not losable:
                break
            del columns[max(losable, key=lambda n: (columns[n].is_drawn, columns[n].priority, n))]

    def _leave_for_sentences(self) -> None:
        """Drop drawn columns if that leaves every sentence uncut; else also minor numbers."""
        columns = self._columns
        drawn = [column for column in columns if column.is_drawn and self._is_losable(column)]
        minor = [
            column
            for column in columns
            if column.priority >= _MINOR and column.is_measure and self._is_losable(column)
        ]
        over = self._over([self._need(column) for column in columns])
        for losable in (drawn, [one for one in columns if one in drawn or one in minor]):
            if over > sum(self._need(column) + self._gap for column in losable):
                continue
            for column in sorted(losable, key=lambda column: (not column.is_drawn, -column.priority)):
                if self._over([self._need(column) for column in columns]) <= 0:
                    break
                columns.remove(column)
            return

    def _is_losable(self, column: Column[Any]) -> bool:
        return column.priority > 0 and column.key not in self._always

    def _leave_alone(self) -> None:
        """Drop trends whose number is not shown: they show what changes, not how much it is."""
        shown = {column.key for column in self._columns}
        self._columns = [column for column in self._columns if not column.beside or column.beside in shown]

    def _come_back(self, all_of_them: Sequence[Column[Any]]) -> None:
        """Show dropped names and numbers that fit uncut beside the others, uncut too, and bars that may grow.

        One wide column that had to go for a cell or two leaves room for a narrower one that went before it.
        """
        for column in sorted(all_of_them, key=lambda column: column.priority):
            shown = [*self._columns, column]
            if column in self._columns or column.is_drawn or column.prose or column.priority >= _EXTRA:
                continue
            if self._over([self._easy(one) for one in shown]) <= 0:
                self._columns = [one for one in all_of_them if one in shown]

    def _cut(self) -> list[int]:
        """Return widths that fit: cut the widest columns, each to its minimum at the lowest."""
        widths = [self._standing(column) for column in self._columns]
        least = [self._least(column) for column in self._columns]
        for _ in range(self._over(widths)):
            wide = [n for n, width in enumerate(widths) if width > least[n]]
            if not wide:
                break
            widths[max(wide, key=lambda n: widths[n])] -= 1
        if len(widths) == 1:
            widths[0] = max(1, min(widths[0], self._room))
        return widths

    def _grow(self, widths: list[int]) -> None:
        """Give the cells left over to sentences, then to drawn columns, round-robin."""
        left = -self._over(widths)
        for drawn in (False, True):
            most = {
                n: column.width + column.grow if drawn else self._need(column)
                for n, column in enumerate(self._columns)
                if (column.is_drawn if drawn else column.prose)
            }
            while left > 0 and (growing := [n for n in most if widths[n] < most[n]]):
                for n in growing[:left]:
                    widths[n] += 1
                left -= len(growing[:left])


class Fitting:
    """The layout of a table, recomputed when a text outgrows its column.

    Settled columns are measured over all rows whenever a configuration changes. The others are measured as
    they are drawn, and keep their largest width until the table's choices change, so that columns don't move
    as their numbers change.
    """

    def __init__(self) -> None:
        self.layout: Layout = Layout([])
        self.outgrown: bool = False
        """Whether a text needs more cells than its column has."""
        self._wanted: tuple[object, ...] = ()
        self._configs: list[object] = []
        self._settled: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def measure(self, columns: Sequence[Column[Any]], rows: Sequence[Any]) -> None:
        """Measure the settled columns if any row's configuration changed."""
        configs = [getattr(row, "config", None) for row in rows]
        if set(map(id, configs)) == set(map(id, self._configs)):
            return
        self._configs = configs  # holding references keeps their ids unique
        known = [row for row, config in zip(rows, configs, strict=True) if config is not None]
        self._settled = {
            column.key: max(column.need(row) for row in known)
            for column in columns
            if column.settled and known
        }
        self.outgrown = True

    def see(self, column: Column[Any], need: int) -> None:
        """Record the cells that a text needs and its column does not have."""
        if need > self._seen.get(column.key, 0):
            self._seen[column.key] = need
            self.outgrown = True

    def fit(
        self,
        columns: Sequence[Column[Any]],
        room: int,
        without: frozenset[str],
        choice: TableChoice,
        titles: Mapping[str, str],
    ) -> bool:
        """Lay the columns out for ``room`` cells if anything changed; return whether it did.

        ``titles`` has the headings, by key, that differ from the columns' titles.
        """
        wanted = (columns, room, without, choice.always, choice.never, choice.filter, titles)
        if self._wanted != wanted:
            self._wanted, self.outgrown = wanted, True
            self._seen.clear()
        if not self.outgrown:
            return False
        self.outgrown = False
        needs = self._settled | self._seen
        for column in columns:
            if not column.is_drawn and (title := titles.get(column.key)):
                needs[column.key] = max(needs.get(column.key, column.width), len(title))
        self.layout = lay_out(columns, room, needs, without | choice.never, choice.always)
        return True
