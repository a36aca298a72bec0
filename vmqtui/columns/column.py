"""What a column is, and what can be done with a list of them."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from vmqtui.draw import fit
from vmqtui.numbers import UNKNOWN, percent
from vmqtui.printable import printable

R = TypeVar("R")
Scalar = str | int | float | bool | None
Value = Scalar | Sequence[str | int | None]
Level = Literal["", "good", "warn", "bad", "dim"]
GLYPHS: dict[Level, str] = {"warn": "△", "bad": "▲"}
"""What a threshold looks like beside its colour."""


def plain(value: Any) -> str:
    """A value as text: unknown is "–", names are made printable."""
    if value is None:
        return UNKNOWN
    return printable(value) if isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column. ``key`` names it in JSON, ``heading`` in ``vmqtui get``, ``title`` on the screen.

    ``value`` gives what is exported (JSON-able, None when unknown), ``text`` what is shown. ``width`` is
    in cells; a ``grow`` column takes what is left over. Columns of the highest ``priority`` are left out
    first where there is no room; 0 stays. ``gauge`` (fractions with palette roles) and ``trend`` (a key
    of the history) draw a bar or a sparkline instead of text; such columns have no value to export.
    """

    key: str
    title: str
    width: int
    help: str
    value: Callable[[R], Value]
    heading: str = ""
    unit: str = ""
    computed: str = ""
    format: Callable[[Any], str] = plain
    instead: Callable[[R], str | None] | None = None
    """A word that is shown in place of the value, where there is one to say."""
    right: bool = False
    priority: int = 0
    grow: int = 0
    """Most cells it may grow by."""
    level: Callable[[R], Level] | None = None
    picture: bool = False
    """Says in a glyph what another column says in words; not exported."""
    settled: bool = False
    """Follows from the row's configuration alone, so what is shown is kept until that is another."""
    sort: Callable[[R], Value] | None = None
    gauge: Callable[[R], Sequence[tuple[float, str]] | None] | None = None
    mark: Callable[[R], float | None] | None = None
    """A fraction at which a line stands across the ``gauge``, whose parts then differ in their glyphs too."""
    trend: Callable[[R], Hashable] | None = None
    top: float | None = None
    """Value of a full cell of a ``trend``; None: the highest shown."""
    since: Callable[[R], Value] | None = None
    """Of a counter: how much it grew since deltas were last reset."""

    @property
    def exported(self) -> bool:
        """Whether it has a value: pictures don't."""
        return self.gauge is None and self.trend is None and not self.picture

    @property
    def fraction(self) -> bool:
        """Whether it is a share of something, shown in percent."""
        return self.format is percent

    @property
    def words(self) -> bool:
        """Whether a word typed to filter is looked for in it: names and ids, not measures."""
        return self.exported and not self.unit and not self.computed

    def in_deltas(self) -> "Column[R]":
        """The column as it is when counters are shown since the last reset."""
        since = self.since
        if since is None:
            return self
        return replace(
            self,
            title=f"Δ{self.title}",
            value=since,
            level=(lambda row: "" if since(row) else "dim") if self.level is not None else None,
        )

    def text(self, row: R) -> str:
        """The value as it is shown, of any length."""
        word = self.instead(row) if self.instead is not None else None
        return word or self.format(self.value(row))

    def cell(self, row: R, width: int) -> tuple[str, Level]:
        """Text in exactly ``width`` cells, and its threshold; a glyph tells it without colour."""
        level: Level = self.level(row) if self.level else ""
        text = self.text(row)
        glyph = GLYPHS.get(level) if self.right else None
        if glyph and len(text) < width:
            text = glyph + text
        return fit(text, width, right=self.right), level

    def sort_key(self, row: R) -> tuple[bool, int, Any]:
        """Comparable with that of any other row; unknown comes last."""
        value = (self.sort or self.value)(row)
        if value is None:
            return (True, 0, 0)
        if isinstance(value, (int, float)):
            return (False, 0, value)
        if isinstance(value, str):
            return (False, 1, value.lower())
        return (False, 1, " ".join(f"{part:>5}" if isinstance(part, int) else str(part) for part in value))


def ordered(rows: Sequence[R], column: Column[R], reverse: bool = False) -> list[R]:
    """Rows by a column, stably; rows in which it is unknown last, whichever the direction."""
    keys = [column.sort_key(row) for row in rows]
    known = [index for index, key in enumerate(keys) if not key[0]]
    known.sort(key=lambda index: keys[index], reverse=reverse)
    return [rows[index] for index in known] + [rows[i] for i, key in enumerate(keys) if key[0]]


def visible(
    columns: Sequence[Column[Any]],
    width: int,
    gap: int = 1,
    without: frozenset[str] = frozenset(),
    always: frozenset[str] = frozenset(),
) -> list[tuple[Column[Any], int]]:
    """The columns that fit ``width`` cells, each with its width.

    Columns leave from the highest priority (rightmost first) until the rest fits; what is left over goes
    to the columns that may grow, in turns. An extra (priority 10 and above) is shown only where the others
    have grown by up to three cells each. Those in ``always`` leave last, whatever their priority.
    """
    chosen = [column for column in columns if column.key not in without or column.key in always]

    def leaves(index: int) -> tuple[bool, int, int]:
        return chosen[index].key not in always, chosen[index].priority, index

    while len(chosen) > 1:
        worst = max(range(len(chosen)), key=leaves)
        comfort = 3 if chosen[worst].priority >= 10 and chosen[worst].key not in always else 0
        if sum(column.width + min(comfort, column.grow) + gap for column in chosen) - gap <= width:
            break
        del chosen[worst]
    widths = [column.width for column in chosen]
    room = width - sum(widths) - gap * (len(widths) - 1)
    for index, column in enumerate(chosen):  # what nearly fits comes first
        if column.grow <= 3:
            more = min(room, column.grow)
            widths[index] += more
            room -= more
    growing = [index for index, column in enumerate(chosen) if column.grow > 3]
    while room > 0 and growing:
        for index in list(growing):
            if room <= 0:
                break
            widths[index] += 1
            room -= 1
            if widths[index] - chosen[index].width >= chosen[index].grow:
                growing.remove(index)
    return list(zip(chosen, widths, strict=True))


def export_row(columns: Sequence[Column[R]], row: R) -> dict[str, Value]:
    """A row as JSON has it."""
    return {column.key: column.value(row) for column in columns if column.exported}
