"""The class of columns, sorting and export by columns, and levels and formats that several tables share."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from engine.view.rows import QueueView
from vmqtui.draw import TrendScale, cells_of, fit
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
    """Return a value as text: "–" if unknown; control characters in names are made printable."""
    if value is None:
        return UNKNOWN
    return printable(value) if isinstance(value, str) else str(value)


_BARE = (plain, compact, grouped, decimal)
"""Formats that write a number without a unit."""


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column. ``key`` names it in JSON, ``heading`` in ``vmqtui get``, ``title`` on the screen.

    ``value`` returns the exported value (JSON-able, None when unknown), ``text`` the displayed text.
    ``width`` is in cells: the width of a number, or the minimum useful width of a name or sentence. If room
    is short, columns of the highest ``priority`` are dropped first, 0 last (``vmqtui.columns.layout``).
    ``gauge`` (fractions with palette roles) and ``trend`` (a key of the history) draw a bar or a trend
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
    facts: tuple[str, ...] = ()
    """Names in a host's sources that its value rests on, besides the counters in ``computed``."""
    format: Callable[[Any], str] = plain
    instead: Callable[[R], str | None] | None = None
    """Returns a word to show in place of the value, or None."""
    right: bool = False
    priority: int = 0
    grow: int = 0
    """Maximum number of cells that a ``gauge`` or ``trend`` may grow by."""
    prose: bool = False
    """A sentence, or a list of any length: unlike a name, it may be cut to make room for other columns."""
    level: Callable[[R], Level] | None = None
    picture: bool = False
    """A glyph that repeats another column's words; not exported."""
    settled: bool = False
    """Depends on the row's configuration alone: its text is cached until the configuration changes."""
    sort: Callable[[R], Value] | None = None
    gauge: Callable[[R], Sequence[tuple[float, str]] | None] | None = None
    mark: Callable[[R], float | None] | None = None
    """Fraction at which a line crosses the ``gauge``; the parts of such a gauge also differ in glyph."""
    trend: Callable[[R], Hashable] | None = None
    beside: str = ""
    """Key of the column with the number of which a ``trend`` shows the change: it is shown only with that."""
    scale: TrendScale = "count"
    """What a ``trend`` is of."""
    since: Callable[[R], Value] | None = None
    """For a counter: returns its growth since deltas were last reset."""

    @property
    def exported(self) -> bool:
        """Whether it has a value to export; bars, trends and glyphs have none."""
        return not self.is_drawn and not self.picture

    @property
    def is_drawn(self) -> bool:
        """Whether it is a bar or a trend."""
        return self.gauge is not None or self.trend is not None

    @property
    def is_measure(self) -> bool:
        """Whether it is a measure: it has a unit or is a share. Names and ids are not measures."""
        return bool(self.unit) or self.fraction

    def amount(self, row: R) -> str:
        """Return the text; append the unit if the text is a bare number: ``1 frame``, ``12.3k frames/s``."""
        text, value = self.text(row), self.value(row)
        if not self.right or value is None or self.format not in _BARE or self.unit == "count":
            return text
        what, slash, per = self.unit.partition("/")
        what = what.removesuffix("s") if value == 1 else what
        return f"{text} {what}{slash}{per}".rstrip()

    def whole(self, row: R) -> str:
        """Return everything that the value says: of a list all of it, else ``amount``."""
        value = self.value(row)
        if not isinstance(value, list):
            return self.amount(row)
        return ", ".join("any" if part is None else plain(str(part)) for part in value) or UNKNOWN

    @property
    def is_rate(self) -> bool:
        """Whether it is computed from differences of counters."""
        return "Δ" in self.computed

    @property
    def largest_first(self) -> bool:
        """Whether its default sort order is descending."""
        return self.is_measure or self.is_drawn

    @property
    def fraction(self) -> bool:
        """Whether its value is a fraction, shown in percent."""
        return self.format is percent

    @property
    def words(self) -> bool:
        """Whether a bare word in a filter searches it: true for names and ids, false for measures."""
        return self.exported and not self.unit and not self.computed

    def knows(self, row: R) -> bool:
        """Whether anything is known of a row: its value, or what is drawn of it."""
        if self.gauge is not None:
            return self.gauge(row) is not None
        return (self.value if self.sort is None else self.sort)(row) is not None

    def in_deltas(self) -> "Column[R]":
        """Return the variant that shows growth since the last reset; the same column if it is no counter."""
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
        """Return the displayed text, of any length."""
        word = self.instead(row) if self.instead is not None else None
        return word or self.format(self.value(row))

    def written(self, row: R) -> tuple[str, Level]:
        """Return the text, of any length, after the glyph of its level; and the level."""
        level: Level = self.level(row) if self.level else ""
        glyph = GLYPHS.get(level, "") if self.right else ""
        return glyph + self.text(row), level

    def need(self, row: R) -> int:
        """Return the number of cells that the row's text needs."""
        return cells_of(self.written(row)[0])

    def fitted(self, text: str, level: Level, width: int) -> str:
        """Fit the text of ``written`` into ``width`` cells; remove its glyph before cutting the text."""
        if self.right and level in GLYPHS and len(text) > width:
            text = text[1:]
        return fit(text, width, right=self.right)

    def cell(self, row: R, width: int) -> tuple[str, Level]:
        """Return the text in exactly ``width`` cells, and its level."""
        text, level = self.written(row)
        return self.fitted(text, level, width), level

    def sort_key(self, row: R) -> tuple[bool, int, Any]:
        """Return a key that compares with that of any other row; unknown sorts last."""
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
    """Sort rows by a column, stably; unknown values come last in either direction. ``keys``, one a row,
    replace the column's own ``sort_key``."""
    keys = [column.sort_key(row) for row in rows] if keys is None else keys
    known = [index for index, key in enumerate(keys) if not key[0]]
    known.sort(key=lambda index: keys[index], reverse=reverse)
    return [rows[index] for index in known] + [rows[i] for i, key in enumerate(keys) if key[0]]


def export_row(columns: Sequence[Column[R]], row: R) -> dict[str, Value]:
    """Return a row as a JSON object: exported values by column key."""
    return {column.key: column.value(row) for column in columns if column.exported}


RATE = "Δ {} / Δ sim_time_ns"


_limits = [Thresholds()]


def use_thresholds(thresholds: Thresholds) -> None:
    """Set the thresholds of all level functions. They are process-wide: a process has one screen."""
    _limits[0] = thresholds


def several(values: Any) -> str:
    """Shorten a list to its first value and the number of others: ``web +2``."""
    if not values:
        return UNKNOWN
    first = "any" if values[0] is None else plain(values[0])
    return first if len(values) == 1 else f"{first} +{len(values) - 1}"


def vlan_text(vlan: Any) -> str:
    """Return a VLAN test as text: an id, "untagged", or "any" for None."""
    return "any" if vlan is None else plain(vlan)


def vlans_text(vlans: Any) -> str:
    """Return VLAN tests, separated by commas."""
    return UNKNOWN if not vlans else ",".join(map(vlan_text, vlans))


def use_level(fraction: float | None) -> Level:
    """Level of the fraction of buffers in use, by the user's thresholds."""
    if fraction is None:
        return "dim"
    limits = _limits[0]
    return "bad" if fraction >= limits.buffers_bad else "warn" if fraction >= limits.buffers_warn else ""


def low_level(low: float | None, total: float | None) -> Level:
    """Level of the low-water mark of free buffers: none left is bad, under 5 % is a warning."""
    if low is None or not total:
        return "dim"
    return "bad" if low <= 0 else "warn" if low < 0.05 * total else ""


def drops_level(rate: float | None) -> Level:
    """Level of a drop rate: bad above the user's threshold; dim if zero or unknown."""
    if not rate:
        return "dim"
    return "bad" if rate > _limits[0].drops_bad else ""


def quiet(rate: float | None) -> Level:
    """Level of a rate or count without a threshold: dim if zero or unknown."""
    return "" if rate else "dim"


def load_level(load: float | None) -> Level:
    """Level of a processor's load, by the user's thresholds."""
    if load is None:
        return "dim"
    limits = _limits[0]
    return "bad" if load >= limits.load_bad else "warn" if load >= limits.load_warn else ""


def gauge(fraction: float | None) -> Sequence[tuple[float, str]] | None:
    """Return a bar of one part; None if the fraction is unknown."""
    return None if fraction is None else [(fraction, "bar")]


def adapter_column() -> Column[Any]:
    """The column of the adapter, for rows with an ``adapter``."""
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
    """The column of the queue id, for rows of queues."""
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
    """The column of the VM."""
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
    """The column of a single MAC address."""
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
    """The column of a single VLAN or VLAN test."""
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
    facts: tuple[str, ...] = (),
) -> Column[R]:
    """A column of frames a second; dim if zero or unknown."""
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
        facts=facts,
    )


def share_column(help_: str, computed: str, value: Callable[[R], float | None], priority: int) -> Column[R]:
    """A column of a share of frames, in percent; dim if zero or unknown."""
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
    """The column of a queue's drops a second."""
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
