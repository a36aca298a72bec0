"""The columns that a table shows in the width it has, the width of each, and when that changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmqtui.columns.column import Column
from vmqtui.state.choices import TableChoice

WIDE: Final = 150
"""Cells from which two blanks stand between columns, where nothing is cut for it."""
_SECOND: Final = 5
"""Columns above this priority leave before a name is cut, also where they are names."""
_EXTRA: Final = 10
"""Columns from this priority on are shown only where all others have the room they want."""
_EASE: Final = 3
"""Cells by which pictures have grown where an extra is shown."""


@dataclass(frozen=True)
class Layout:
    """The columns that are shown, each with its width, and the blanks after each."""

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
    """Share ``room`` cells: what names things first, then numbers, then sentences, then pictures.

    ``needs`` are the cells of the widest text of a column, by its key, where they are known. Columns that
    don't fit leave from the highest priority (rightmost first); those in ``always`` leave last. Before a name
    is cut, pictures leave, then numbers, all but those of priority 0; then the widest names are cut. Pictures
    also leave where that makes sentences whole. Cells left over go to sentences, then to pictures.
    """
    chosen = [column for column in columns if column.key not in without or column.key in always]
    if room >= WIDE:
        spaced = _Shares(chosen, room, 2, needs or {}, always).layout()
        if spaced.whole:
            return spaced
    return _Shares(chosen, room, 1, needs or {}, always).layout()


class _Shares:
    """The columns that are still there, and how the room is shared between them."""

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
        self._leave_for_room()
        self._leave_for_names()
        self._leave_for_sentences()
        widths = self._cut()
        self._grow(widths)
        whole = all(widths[n] >= self._need(column) for n, column in enumerate(self._columns))
        return Layout(list(zip(self._columns, widths, strict=True)), self._gap, whole)

    def _need(self, column: Column[Any]) -> int:
        """Cells in which nothing of it is cut."""
        if column.is_drawn:
            return column.width
        return max(self._needs.get(column.key, column.width), len(column.title))

    def _least(self, column: Column[Any]) -> int:
        """Cells with which it is still worth showing."""
        need = self._need(column)
        return need if column.is_drawn or column.is_measure else min(need, column.width)

    def _standing(self, column: Column[Any]) -> int:
        """Cells before anything grows: sentences may be cut for other columns, names may not."""
        return self._least(column) if column.prose else self._need(column)

    def _easy(self, column: Column[Any]) -> int:
        return column.width + min(_EASE, column.grow) if column.is_drawn else self._need(column)

    def _over(self, widths: Sequence[int]) -> int:
        """Cells that these widths take too many."""
        return sum(widths) + self._gap * (len(widths) - 1) - self._room

    def _leave_for_room(self) -> None:
        """Columns leave until the rest has the least that each is worth showing with."""
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
        """Pictures leave before a name is cut, then numbers."""
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
        """Pictures leave where that makes every sentence whole."""
        columns = self._columns
        losable = [
            column
            for column in columns
            if column.is_drawn and column.priority > 0 and column.key not in self._always
        ]
        needs = [self._need(column) for column in columns]
        if self._over(needs) - sum(column.width + self._gap for column in losable) > 0:
            return
        for column in sorted(losable, key=lambda column: -column.priority):
            if self._over([self._need(column) for column in columns]) <= 0:
                break
            columns.remove(column)

    def _cut(self) -> list[int]:
        """Widths that fit: the widest names are cut, down to the least that is worth showing."""
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
        """Give cells left over to sentences, then to pictures, one to each in turn."""
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
    """The layout of a table, made again when its rows outgrow it.

    Settled columns are measured in all rows, when a configuration changed. The others are measured where
    they are drawn, and their widths are kept until the table's choices change: columns don't move
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
