"""The viewer's choices: the adapter, the sort order, filter and columns of each table, and the layout.

All but ``adapter`` and ``deltas`` are kept from one start to the next (``vmqtui.preferences.kept``).
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar

V = TypeVar("V", bound=bool | int | str)


@dataclass(frozen=True)
class TableChoice:
    """Choices for one table. ``sort`` is the key of a column, and whether the order is reversed. ``always``
    and ``never`` are keys of columns to show, or hide, regardless of the available width."""

    sort: tuple[str, bool] | None = None
    filter: str = ""
    always: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()


AS_IT_COMES = TableChoice()


@dataclass(frozen=True)
class Setting(Generic[V]):
    """A setting of the layout, chosen on the screen. ``values`` are all that fit, the default first."""

    key: str
    values: tuple[V, ...]

    def place(self, view: str = "") -> str:
        """The key of its value: of one view, or of all views that share it."""
        return f"{self.key}.{view}" if view else self.key


SETTINGS: Final[tuple[Setting[Any], ...]] = ()
"""Every setting of the layout; only these are kept."""


@dataclass
class Choices:
    """``adapter`` None: all adapters. ``deltas``: show counters since the last reset, not in total."""

    adapter: str | None = None
    deltas: bool = False
    tables: dict[str, TableChoice] = field(default_factory=dict)
    """By the id of the table's widget: every view has its own choices."""
    layout: dict[str, bool | int | str] = field(default_factory=dict)
    """Values of settings by ``Setting.place``; what is left out has its default."""

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
