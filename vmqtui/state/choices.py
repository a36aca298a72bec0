"""The viewer's choices: the adapter, the sort order, filter and columns of each table, and the layout.

All but ``adapter``, ``deltas`` and ``marks`` are kept from one start to the next
(``vmqtui.preferences.kept``).
"""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar

V = TypeVar("V", bound=bool | int | str)


@dataclass(frozen=True)
class TableChoice:
    """Choices for one table. ``sort`` is the key of a column, and whether the order is reversed. ``filter``
    is the search. ``always`` and ``never`` are keys of columns to show, or hide, regardless of the available
    width."""

    sort: tuple[str, bool] | None = None
    filter: str = ""
    always: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()


AS_IT_COMES = TableChoice()

MARKABLE: Final[Mapping[str, str]] = {"queues": "queues", "buffers": "queues", "filters": "filters"}
"""The tables whose rows can be marked, and what the rows are: tables of the same rows share their marks."""
MOST_MARKED: Final = 1024
"""Most rows of a kind that can be marked."""


class Marks:
    """The marked rows of the shown host, by kind (a value of ``MARKABLE``) and identity, with their names.

    A mark goes with its row. ``gone`` has the names of rows that went until they are reported.
    """

    def __init__(self) -> None:
        self._engine: tuple[str, float] = ("", 0.0)
        self._marked: dict[str, dict[Hashable, str]] = {}
        self.gone: dict[str, dict[Hashable, str]] = {}

    def of(self, kind: str | None) -> Mapping[Hashable, str]:
        """The names of the marked rows of a kind, by identity."""
        return self._marked.get(kind or "", {})

    def set(self, kind: str, rows: Mapping[Hashable, str]) -> int:
        """Mark rows, up to ``MOST_MARKED``; return how many could not be marked."""
        marked = self._marked.setdefault(kind, {})
        for count, (identity, name) in enumerate(rows.items()):
            if len(marked) >= MOST_MARKED and identity not in marked:
                return len(rows) - count
            marked[identity] = name
        return 0

    def drop(self, rows: Collection[Hashable]) -> None:
        """Remove marks, without reporting their rows as gone."""
        for kept in (*self._marked.values(), *self.gone.values()):
            for identity in rows:
                kept.pop(identity, None)

    def clear(self, kind: str) -> bool:
        """Remove all marks of a kind; return whether there were any."""
        self.gone.pop(kind, None)
        return bool(self._marked.pop(kind, None))

    def follow(self, host: str, started_at: float, present: Mapping[str, Collection[Hashable]]) -> None:
        """Remove the marks of rows that are not ``present``, of each kind, on this host's engine.

        Another host has no marks; the rows of an engine that was started again are others.
        """
        known = self._engine[0] == host and self._engine[1]
        restarted = bool(known and started_at and started_at != known)
        if self._engine[0] != host:
            self._marked.clear()
            self.gone.clear()
        self._engine = (host, started_at or self._engine[1])
        for kind, marked in self._marked.items():
            there = () if restarted else present[kind]
            for identity in [one for one in marked if one not in there]:
                self.gone.setdefault(kind, {})[identity] = marked.pop(identity)


@dataclass(frozen=True)
class Setting(Generic[V]):
    """A setting of the layout, chosen on the screen. ``values`` are all that fit, the default first."""

    key: str
    values: tuple[V, ...]

    def place(self, view: str = "") -> str:
        """The key of its value: of one view, or of all views that share it."""
        return f"{self.key}.{view}" if view else self.key


SPAN_S: Final = Setting("chart_span_s", (60, 300, 900, 3600))
"""The span of charts over time, in seconds; the history is longer than the longest."""
PANE: Final = Setting("detail_pane", (True, False))
"""Whether the detail pane is shown where there is room for it."""
LESSON: Final = Setting("lesson_pane", (True, False))
"""Whether a lesson is unfolded where there is room for all of it."""
SETTINGS: Final[tuple[Setting[Any], ...]] = (SPAN_S, PANE, LESSON)
"""Every setting of the layout; only these are kept."""


MOST_HOSTS: Final = 4
"""Hosts whose searches are kept; then those of the host that was shown longest ago go."""


@dataclass
class Choices:
    """``adapter`` None: all adapters. ``deltas``: show counters since the last reset, not in total."""

    adapter: str | None = None
    deltas: bool = False
    marks: Marks = field(default_factory=Marks)
    tables: dict[str, TableChoice] = field(default_factory=dict)
    """By the id of the table's widget: every view has its own choices."""
    layout: dict[str, bool | int | str] = field(default_factory=dict)
    """Values of settings by ``Setting.place``; what is left out has its default."""

    host: str = ""
    """The host that is shown; "" if none is yet."""
    aside: dict[str, dict[str, str]] = field(default_factory=dict)
    """Searches of hosts that are not shown, by the id of the table's widget, the newest last."""
    brought_back: dict[str, str] = field(default_factory=dict)
    """Searches that the host that is shown had aside; what tells them empties it."""

    def follow(self, host: str) -> None:
        """Put the searches of the host shown so far aside, and bring back those of another: they would hide
        rows that nobody has looked for."""
        if host == self.host:
            return
        if self.host:
            self.aside = self.searches
            for table in self.aside.get(self.host, {}):
                self.change(table, filter="")
        self.host = host
        self.bring_back()

    def bring_back(self) -> None:
        """Search again as when the host that is shown was left, or the last run ended."""
        self.brought_back = self.aside.pop(self.host, {})
        for table, text in self.brought_back.items():
            self.change(table, filter=text)

    @property
    def searches(self) -> dict[str, dict[str, str]]:
        """The searches of at most ``MOST_HOSTS`` hosts, the newest last."""
        now = {table: choice.filter for table, choice in self.tables.items() if choice.filter}
        hosts = {host: searches for host, searches in self.aside.items() if host != self.host}
        if now and self.host:
            hosts[self.host] = now
        return dict([*hosts.items()][-MOST_HOSTS:])

    def of(self, table: str | None) -> TableChoice:
        """The choices for a table; the defaults if there are none."""
        return self.tables.get(table or "", AS_IT_COMES)

    def change(self, table: str | None, **changes: Any) -> None:
        """Change fields of a table's ``TableChoice``; does nothing for a table without an id."""
        if table:
            self.tables[table] = replace(self.of(table), **changes)

    def setting(self, setting: Setting[V], view: str = "") -> V:
        """The value of a setting, in one view or in all; its default if none was chosen."""
        value = self.layout.get(setting.place(view))
        return next((one for one in setting.values if one == value), setting.values[0])

    def set(self, setting: Setting[V], value: V, view: str = "") -> None:
        """Choose the value of a setting, in one view or in all."""
        if value == setting.values[0]:
            self.layout.pop(setting.place(view), None)
        else:
            self.layout[setting.place(view)] = value
