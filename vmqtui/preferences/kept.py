"""The state file: what was chosen on the screen, kept from one start to the next.

The program writes it; a person writes the configuration beside it, which the program never does. With a value
that the configuration has too, the file keeps what it was chosen instead of: if the configuration says
something else by now, it was edited since, and holds.
"""

import errno
import os
import threading
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.bus.topics import valid_name
from engine.files import put_in_place
from engine.scenario.values import check_identifier
from vmqtui.actions.action import TITLES
from vmqtui.columns import COLUMNS
from vmqtui.columns.arrange import LIMIT
from vmqtui.preferences.file import config_path
from vmqtui.preferences.model import PLACES, Preferences, TableColumns
from vmqtui.state.choices import MOST_HOSTS, SETTINGS, Choices

SCHEMA: Final = "vmq.state/1"
LIMIT_BYTES: Final = 64 << 10
"""Limit of the file's size; all that can be chosen takes less."""
_AS_WRITTEN: Final = TableColumns()


class KeptTheme(msgspec.Struct, frozen=True):
    """A theme, and the configuration's when it was chosen."""

    chosen: str
    instead_of: str | None = None


class KeptColumns(msgspec.Struct, frozen=True):
    """Columns of a table, and the configuration's when they were chosen."""

    chosen: TableColumns
    instead_of: TableColumns = _AS_WRITTEN


class KeptTable(msgspec.Struct, frozen=True, omit_defaults=True):
    """Choices for one table, as in ``vmqtui.state.choices.TableChoice``."""

    sort: tuple[str, bool] | None = None
    columns: KeptColumns | None = None


class Kept(msgspec.Struct, frozen=True):
    """The whole file: choices that differ from the configuration and the defaults. ``tables`` is by the id of
    the table's widget, ``layout`` as in ``Choices``, ``searches`` by host and the id of the widget."""

    schema: str = SCHEMA
    theme: KeptTheme | None = None
    tables: dict[str, KeptTable] = {}
    layout: dict[str, bool | int | str] = {}
    searches: dict[str, dict[str, str]] = {}

    def of(self, place: str) -> KeptTable:
        """The choices kept for a table; none if there are none."""
        return self.tables.get(place, _NOTHING)

    def theme_over(self, preferences: Preferences) -> str | None:
        """The theme that was chosen, unless the configuration has another since."""
        theme = self.theme
        return theme.chosen if theme is not None and theme.instead_of == preferences.theme else None

    def columns_over(self, preferences: Preferences, place: str) -> TableColumns | None:
        """The columns that were chosen for a table, unless the configuration has others since."""
        kept = self.of(place).columns
        written = preferences.columns.get(place, _AS_WRITTEN)
        return kept.chosen if kept is not None and kept.instead_of == written else None

    def over(self, preferences: Preferences) -> tuple[Preferences, frozenset[str]]:
        """The preferences with the theme and columns that were chosen, and the keys of those values."""
        theme = self.theme_over(preferences)
        columns = {place: self.columns_over(preferences, place) for place in PLACES}
        chosen = {place: one for place, one in columns.items() if one is not None}
        keys = {f"columns.{place}.{key}" for place in chosen for key in ("show", "hide")}
        held = msgspec.structs.replace(
            preferences, theme=theme or preferences.theme, columns={**preferences.columns, **chosen}
        )
        return held, frozenset(keys | ({"theme"} if theme is not None else set()))

    def put_into(self, choices: Choices, preferences: Preferences) -> None:
        """Begin with the kept choices, and with the configuration's columns where none were chosen. Searches
        wait until their host is shown, if it is not yet."""
        held, _ = self.over(preferences)
        for place in PLACES:
            table, columns = self.of(place), held.columns.get(place, _AS_WRITTEN)
            choices.change(
                place,
                sort=table.sort,
                always=frozenset(columns.show),
                never=frozenset(columns.hide),
            )
        choices.layout.update(self.layout)
        choices.aside = {host: dict(tables) for host, tables in self.searches.items()}
        choices.bring_back()


_NOTHING: Final = KeptTable()


def kept_of(choices: Choices, theme: str | None, preferences: Preferences) -> Kept:
    """What there is to keep: the ``theme`` chosen on the screen, if any, and choices that are no defaults."""
    tables = {}
    for place in PLACES:
        choice, written = choices.of(place), preferences.columns.get(place, _AS_WRITTEN)
        as_written = choice.always == frozenset(written.show) and choice.never == frozenset(written.hide)
        chosen = TableColumns(show=tuple(sorted(choice.always)), hide=tuple(sorted(choice.never)))
        columns = None if as_written else KeptColumns(chosen, written)
        table = KeptTable(choice.sort, columns)
        if table != _NOTHING:
            tables[place] = table
    changed = theme is not None and theme != preferences.theme
    return Kept(
        theme=KeptTheme(theme, preferences.theme) if theme is not None and changed else None,
        tables=tables,
        layout=dict(choices.layout),
        searches=choices.searches,
    )


def state_path() -> Path | None:
    """The path of the state file, which may not exist; None if the configuration is no regular file."""
    path = config_path()
    return None if path.exists() and not path.is_file() else path.with_suffix(".state.json")


class StateFile:
    """A state file, read once. ``problem`` is a sentence if it could not be used, else "".

    A file of a newer program, or one that can't be read, is left alone: nothing is kept. One that holds
    something else is renamed before it is replaced, unless an earlier one was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str = ""
        self._left_alone = False
        self.kept: Kept = self._read()
        self._newest = self._written = self.kept
        self._lock = threading.Lock()

    @property
    def writing(self) -> bool:
        """Whether a thread writes it just now."""
        return self._lock.locked()

    def offer(self, kept: Kept) -> bool:
        """Take what is to be kept; return whether it has to be written."""
        self._newest = kept
        return not self._left_alone and kept != self._written

    def write(self) -> None:
        """Write what was offered last, if it is not in the file yet; blocks. Raises OSError.

        The file is replaced as a whole, so that of two dashboards the last one wins. What another program
        put there since it was read is treated as if it had been there then.
        """
        with self._lock:
            newest = self._newest
            if self._left_alone or newest == self._written:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with put_in_place(self.path) as part:
                with part.open("wb") as file:
                    file.write(msgspec.json.format(msgspec.json.encode(newest), indent=1) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    foreign = self._present() is None
                except OSError:
                    self._left_alone = True
                    raise
                if foreign:
                    self.path.replace(self._aside)
            self._written = newest

    @property
    def _aside(self) -> Path:
        return self.path.with_name(f"{self.path.name}.bad")

    def _read(self) -> Kept:
        try:
            kept = self._present()
        except OSError as error:
            self._left_alone = True
            self.problem = (
                f"{self.path}: {error.strerror}; it is left as it is, and what you choose is not kept"
            )
            return Kept()
        if kept is None:
            self.problem = (
                f"{self.path}: holds no choices that can be read; what you choose next replaces it,"
                f" and it becomes {self._aside.name}"
            )
        return kept or Kept()

    def _present(self) -> Kept | None:
        """Return what the file holds; None if that is something else, to be renamed.

        Raises OSError, whose ``strerror`` says why the file has to be left as it is.
        """
        if self.path.exists() and not self.path.is_file():
            raise OSError(errno.EEXIST, "is no file")
        try:
            with self.path.open("rb") as file:
                content = file.read(LIMIT_BYTES + 1)
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            raise OSError(error.errno, f"can't be read: {error.strerror or error}") from error
        try:
            schema = msgspec.json.decode(content, type=_Head).schema
            if schema == SCHEMA and len(content) <= LIMIT_BYTES:
                return _known(msgspec.json.decode(content, type=Kept))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            schema = ""
        if _is_newer(schema):
            raise OSError(errno.EEXIST, f"is of a newer vmqtui ({schema})")
        if self._aside.exists():
            why = f"holds no choices that can be read, and {self._aside.name} is there from an earlier time"
            raise OSError(errno.EEXIST, why)
        return None


class _Head(msgspec.Struct):
    schema: str


def _is_newer(schema: str) -> bool:
    name, _, number = schema.partition("/")
    own, _, own_number = SCHEMA.partition("/")
    return (
        name == own
        and number.isascii()
        and number.isdigit()
        and len(number) < 10
        and (int(number) > int(own_number))
    )


def _known(kept: Kept) -> Kept:
    """Leave out what this program does not know: tables, columns, settings and their values."""
    theme = kept.theme
    if theme is not None:
        check_identifier(theme.chosen)
    tables = {place: _known_table(place, table) for place, table in kept.tables.items() if place in PLACES}
    hosts = [(host, one) for host, one in kept.searches.items() if valid_name(host)]
    return Kept(
        theme=theme,
        tables={place: table for place, table in tables.items() if table != _NOTHING},
        layout={place: value for place, value in kept.layout.items() if _fits(place, value)},
        searches={host: known for host, one in hosts[-MOST_HOSTS:] if (known := _known_searches(one))},
    )


def _known_searches(tables: dict[str, str]) -> dict[str, str]:
    return {
        place: text
        for place, text in tables.items()
        if place in PLACES and 0 < len(text) <= LIMIT and text.isprintable()
    }


def _known_table(place: str, table: KeptTable) -> KeptTable:
    known = {column.key for column in COLUMNS[PLACES[place]]}
    columns = table.columns
    if columns is not None:
        chosen = TableColumns(
            show=tuple(key for key in columns.chosen.show if key in known),
            hide=tuple(key for key in columns.chosen.hide if key in known),
        )
        columns = KeptColumns(chosen, columns.instead_of)
    return KeptTable(
        table.sort if table.sort is not None and table.sort[0] in known else None,
        columns,
    )


def _fits(place: str, value: Any) -> bool:
    key, _, view = place.partition(".")
    setting = next((one for one in SETTINGS if one.key == key), None)
    return setting is not None and (view in TITLES or place == key) and value in setting.values
