"""A column, lists of columns, and the parts that columns of several tables share: levels and formats."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from engine.view.rows import QueueView
from vmqtui.draw import cells_of, fit
from vmqtui.numbers import UNKNOWN, compact, decimal, grouped, percent
from vmqtui.preferences.model import Thresholds
from vmqtui.printable import printable

R = TypeVar("R")
Scalar = str | int | float | bool | None
Value = Scalar | Sequence[str | int | None]
Level = Literal["", "good", "warn", "bad", "dim"]
GLYPHS: dict[Level, str] = {"warn": "△", "bad": "▲"}
"""The glyph of a threshold, beside its colour."""


def plain(value: Any) -> str:
    """A value as text: unknown is "–", names are made printable."""
    if value is None:
        return UNKNOWN
    return printable(value) if isinstance(value, str) else str(value)


_BARE = (plain, compact, grouped, decimal)
"""Formats that write a number without a unit."""


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column. ``key`` names it in JSON, ``heading`` in ``vmqtui get``, ``title`` on the screen.

    ``value`` gives what is exported (JSON-able, None when unknown), ``text`` what is shown. ``width`` is in
    cells: what a number needs, and the least with which a name or sentence is worth showing. Columns of the
    highest ``priority`` are left out first where there is no room; 0 stays (``vmqtui.columns.layout``).
    ``gauge`` (fractions with palette roles) and ``trend`` (a key of the history) draw a bar or a sparkline
    instead of text; such columns have no value to export.
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
    """Of a ``gauge`` or ``trend``: most cells it may grow by."""
    prose: bool = False
    """A sentence, or a list of any length: it may be cut for other columns, as names may not."""
    level: Callable[[R], Level] | None = None
    picture: bool = False
    """A glyph for another column's words; not exported."""
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
        return not self.is_drawn and not self.picture

    @property
    def is_drawn(self) -> bool:
        """Whether it is a bar or a sparkline."""
        return self.gauge is not None or self.trend is not None

    @property
    def is_measure(self) -> bool:
        """Whether it is a measure, with a unit or a share; names and ids are none."""
        return bool(self.unit) or self.fraction

    def amount(self, row: R) -> str:
        """The text with its unit, where a number alone is shown: ``1 frame``, ``12.3k frames/s``."""
        text, value = self.text(row), self.value(row)
        if not self.right or value is None or self.format not in _BARE or self.unit == "count":
            return text
        what, slash, per = self.unit.partition("/")
        what = what.removesuffix("s") if value == 1 else what
        return f"{text} {what}{slash}{per}".rstrip()

    @property
    def is_rate(self) -> bool:
        """Whether it is computed from how counters grew, over some time."""
        return "Δ" in self.computed

    @property
    def largest_first(self) -> bool:
        """Whether sorting by it begins with the largest."""
        return self.is_measure or self.is_drawn

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

    def written(self, row: R) -> tuple[str, Level]:
        """Text of any length behind the glyph of its threshold; that threshold."""
        level: Level = self.level(row) if self.level else ""
        glyph = GLYPHS.get(level, "") if self.right else ""
        return glyph + self.text(row), level

    def need(self, row: R) -> int:
        """Cells in which the row's text is whole."""
        return cells_of(self.written(row)[0])

    def fitted(self, text: str, level: Level, width: int) -> str:
        """Fit the text of ``written`` into ``width`` cells; the glyph goes before anything is cut."""
        if self.right and level in GLYPHS and len(text) > width:
            text = text[1:]
        return fit(text, width, right=self.right)

    def cell(self, row: R, width: int) -> tuple[str, Level]:
        """Text in exactly ``width`` cells, and its threshold."""
        text, level = self.written(row)
        return self.fitted(text, level, width), level

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


def ordered(
    rows: Sequence[R],
    column: Column[R],
    reverse: bool = False,
    keys: Sequence[tuple[bool, int, Any]] | None = None,
) -> list[R]:
    """Rows by a column, stably; rows in which it is unknown last, whichever the direction. ``keys`` are what
    each is sorted by, where that is not the column's own ``sort_key``."""
    keys = [column.sort_key(row) for row in rows] if keys is None else keys
    known = [index for index, key in enumerate(keys) if not key[0]]
    known.sort(key=lambda index: keys[index], reverse=reverse)
    return [rows[index] for index in known] + [rows[i] for i, key in enumerate(keys) if key[0]]


def export_row(columns: Sequence[Column[R]], row: R) -> dict[str, Value]:
    """A row as JSON has it."""
    return {column.key: column.value(row) for column in columns if column.exported}


RATE = "Δ {} / Δ sim_time_ns"


_limits = [Thresholds()]


def use_thresholds(thresholds: Thresholds) -> None:
    """Mark values by these from now on. They hold for the process, which has one screen."""
    _limits[0] = thresholds


def several(values: Any) -> str:
    """A list in little room: the first, and how many more."""
    if not values:
        return UNKNOWN
    first = "any" if values[0] is None else plain(values[0])
    return first if len(values) == 1 else f"{first} +{len(values) - 1}"


def vlan_text(vlan: Any) -> str:
    """A VLAN test: an id, "untagged", or any."""
    return "any" if vlan is None else plain(vlan)


def vlans_text(vlans: Any) -> str:
    """The VLAN tests of a queue's filters: distinct ones, as far as there is room."""
    return UNKNOWN if not vlans else ",".join(dict.fromkeys(vlan_text(vlan) for vlan in vlans))


def use_level(fraction: float | None) -> Level:
    """Of buffers in use: worth a look, or about to drop."""
    if fraction is None:
        return "dim"
    limits = _limits[0]
    return "bad" if fraction >= limits.buffers_bad else "warn" if fraction >= limits.buffers_warn else ""


def low_level(low: float | None, total: float | None) -> Level:
    """Of the fewest free buffers: none left is bad, under 5 % worth a look."""
    if low is None or not total:
        return "dim"
    return "bad" if low <= 0 else "warn" if low < 0.05 * total else ""


def drops_level(rate: float | None) -> Level:
    """Any drop is bad, unless some are put up with."""
    if not rate:
        return "dim"
    return "bad" if rate > _limits[0].drops_bad else ""


def quiet(rate: float | None) -> Level:
    """A rate of zero, or unknown, steps back."""
    return "" if rate else "dim"


def load_level(load: float | None) -> Level:
    """Of a processor: worth a look, or saturated."""
    if load is None:
        return "dim"
    limits = _limits[0]
    return "bad" if load >= limits.load_bad else "warn" if load >= limits.load_warn else ""


def gauge(fraction: float | None) -> Sequence[tuple[float, str]] | None:
    """A bar of one part, or unknown."""
    return None if fraction is None else [(fraction, "bar")]


def adapter_column() -> Column[Any]:
    """The adapter of any row that has one."""
    return Column(
        key="adapter",
        settled=True,
        title="Adapter",
        heading="Name",
        width=7,
        help="The adapter.",
        value=lambda row: row.adapter,
        priority=1,
        level=lambda row: "dim",
    )


def queue_id_column() -> Column[Any]:
    """The id of a queue's row."""
    return Column(
        key="queue_id",
        settled=True,
        title="ID",
        heading="QueueID",
        width=4,
        help="The queue's id on its adapter; 0 is the default queue.",
        value=lambda row: row.queue_id,
        right=True,
    )


def vm_column(
    help_: str,
    value: Callable[[R], Value],
    *,
    settled: bool = True,
    priority: int = 0,
    level: Callable[[R], Level] | None = None,
) -> Column[R]:
    """The VM of a row."""
    return Column(
        key="vm",
        settled=settled,
        title="VM",
        heading="VmFriendlyName",
        width=10,
        help=help_,
        value=value,
        priority=priority,
        level=level,
    )


def mac_column(help_: str, value: Callable[[R], Value], *, settled: bool = True) -> Column[R]:
    """The one MAC address of a row."""
    return Column(
        key="mac",
        settled=settled,
        title="MAC",
        heading="MacAddress",
        width=17,
        help=help_,
        value=value,
    )


def vlan_column(
    help_: str,
    value: Callable[[R], Value],
    *,
    settled: bool = True,
    title: str = "VLAN",
    right: bool = True,
    level: Callable[[R], Level] | None = None,
) -> Column[R]:
    """The one VLAN, or VLAN test, of a row."""
    return Column(
        key="vlan",
        settled=settled,
        title=title,
        heading="VlanID",
        width=8,
        help=help_,
        value=value,
        format=vlan_text,
        right=right,
        level=level,
    )


def rate_column(
    help_: str,
    computed: str,
    value: Callable[[R], float | None],
    *,
    key: str = "pps",
    title: str = "pkt/s",
    heading: str = "Packets/s",
    width: int = 6,
    priority: int = 0,
) -> Column[R]:
    """Frames a second; none, or unknown, steps back."""
    return Column(
        key=key,
        title=title,
        heading=heading,
        width=width,
        unit="frames/s",
        help=help_,
        computed=computed,
        value=value,
        format=compact,
        right=True,
        priority=priority,
        level=lambda row: quiet(value(row)),
    )


def share_column(help_: str, computed: str, value: Callable[[R], float | None], priority: int) -> Column[R]:
    """A share of frames as a number; none, or unknown, steps back."""
    return Column(
        key="share",
        title="Share",
        heading="Share",
        width=6,
        help=help_,
        computed=computed,
        value=value,
        format=percent,
        right=True,
        priority=priority,
        level=lambda row: quiet(value(row)),
    )


def drops_column() -> Column[QueueView]:
    """A queue's drops a second."""
    return Column(
        key="drops_per_second",
        title="Drop/s",
        heading="Drops/s",
        width=6,
        unit="frames/s",
        help="Frames a second that found no free receive buffer.",
        computed=RATE.format("dropped_no_buffer"),
        value=lambda row: row.drops,
        format=compact,
        right=True,
        level=lambda row: drops_level(row.drops),
    )
