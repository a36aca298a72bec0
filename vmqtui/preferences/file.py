"""The configuration file: parses TOML into checked ``Preferences``, or reports its errors; writes it back.

Every command reads it, also without a file: actions and columns are imported only for a file that names some.
"""

import os
from bisect import insort
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import platformdirs

from engine.scenario.keys import KeyPath
from engine.scenario.load import Document, unknown_key
from engine.scenario.relations import MisfitError
from engine.scenario.values import one_line, show
from engine.trusted import trusted_path
from vmqtui.preferences.model import PLACES, Broker, Preferences, TableColumns, Thresholds

if TYPE_CHECKING:
    from vmqtui.actions.action import Action

ENVIRONMENT_VARIABLE: Final = "VMQTUI_CONFIG"
"""Environment variable with the path of another configuration file."""
MOST_MISTAKES: Final = 20
"""Limit of mistakes reported for one file."""


class PreferencesError(Exception):
    """The file can't be used; each of ``mistakes`` is ``FILE: KEY PATH: the value and what would fit``."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


_COMMENTS_AT: Final = 30
"""Place of comments in a line, where it is not longer."""
_FILE: Final = Document("a configuration", PreferencesError)


def config_path() -> Path:
    """The path of the configuration file, which may not exist."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(named) if named else platformdirs.user_config_path("vmqtui", appauthor=False) / "config.toml"


def load_preferences(path: Path | None = None) -> Preferences:
    """Read the configuration file; return defaults if it does not exist. Raises ``PreferencesError``.

    A file named by ``ENVIRONMENT_VARIABLE`` must exist.
    """
    path = path or config_path()
    if not os.environ.get(ENVIRONMENT_VARIABLE) and not path.exists():
        return Preferences()
    preferences = loads(_FILE.read_text(path), str(path))
    if preferences.broker != Broker():
        _check_trusted(path)
    return preferences


def loads(text: str, name: str) -> Preferences:
    """Parse a TOML text. Raises ``PreferencesError`` with all mistakes (up to ``MOST_MISTAKES``).

    ``name`` is the file's name in errors. To find all mistakes, each invalid value is removed and the rest is
    parsed again.
    """
    document = _FILE.parse(text, name)
    mistakes: dict[KeyPath, str] = {}
    left_out = _LeftOut(document)
    while True:
        try:
            preferences = _read(document)
        except MisfitError as misfit:
            path = left_out.original(misfit.path)
            mistakes.setdefault(path, str(_FILE.misfit(name, MisfitError(path, str(misfit)))))
            if len(mistakes) < MOST_MISTAKES and left_out.leave_out(misfit.path):
                continue
        if mistakes:
            raise PreferencesError(*mistakes.values())
        return preferences


def _read(document: dict[str, Any]) -> Preferences:
    """Convert plain tables to ``Preferences``. Raises ``MisfitError`` for the first invalid value."""
    read: Preferences = _FILE.read_table(Preferences, document, ())
    _check_thresholds(read.thresholds)
    return Preferences(
        theme=read.theme,
        trends=read.trends,
        interval_s=read.interval_s,
        exports=read.exports,
        keymap=_keymap(document.get("keymap", {})),
        columns=_columns(document.get("columns", {})),
        thresholds=read.thresholds,
        advice=read.advice,
        broker=read.broker,
    )


class _LeftOut:
    """Removes invalid values from a document; maps positions in shortened arrays to the original ones."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._gone: dict[KeyPath, list[int]] = {}

    def original(self, path: KeyPath) -> KeyPath:
        """Return the path that a value had in the file, before earlier elements of its array were removed."""
        if not path or not isinstance(place := path[-1], int):
            return path
        for gone in self._gone.get(path[:-1], ()):  # in ascending order
            place += gone <= place
        return (*path[:-1], place)

    def leave_out(self, path: KeyPath) -> bool:
        """Remove the value at a path, or its container if it has no such value; return whether anything was
        removed."""
        holder: Any = self._document
        for part in path[:-1]:
            try:
                holder = holder[part]
            except (KeyError, IndexError, TypeError):
                return self.leave_out(path[:-1])
        if isinstance(holder, list):
            place, original = path[-1], self.original(path)[-1]
            assert isinstance(place, int)
            assert isinstance(original, int)
            insort(self._gone.setdefault(path[:-1], []), original)
            del holder[place]
            return True
        if not isinstance(holder, dict) or not path:
            return False
        return holder.pop(path[-1], None) is not None or self.leave_out(path[:-1])


def _check_trusted(path: Path) -> None:
    """Raise PreferencesError if other users can write the file: they could choose CAs and credentials."""
    try:
        trusted_path(path)
    except OSError as error:
        why = one_line(error.strerror or str(error))
        raise PreferencesError(
            f"{one_line(str(path))}: broker: other users can write this table: {why}"
        ) from None


def _check_thresholds(thresholds: Thresholds) -> None:
    for what in ("buffers", "load"):
        warn, bad = getattr(thresholds, f"{what}_warn"), getattr(thresholds, f"{what}_bad")
        if warn > bad:
            raise MisfitError(
                ("thresholds", f"{what}_warn"), f"{warn:g} is above {what}_bad, {bad:g} (0..{bad:g} fits)"
            )


def _keymap(table: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Parse the table ``[keymap]`` into keys by action. Raises ``MisfitError``, also for an ambiguous key."""
    if not table:
        return {}
    from vmqtui.actions.keymap import Keymap, KeymapError, read_keys

    chosen: dict[str, tuple[str, ...]] = {}
    for action, value in table.items():
        try:
            chosen[action] = read_keys(value)
        except ValueError as error:
            raise MisfitError(("keymap", action), str(error)) from None
    try:
        Keymap(chosen)
    except KeymapError as error:
        raise MisfitError(("keymap", error.action), str(error)) from None
    return chosen


def _columns(table: dict[str, Any]) -> dict[str, TableColumns]:
    if not table:
        return {}
    from vmqtui.columns import COLUMNS

    chosen: dict[str, TableColumns] = {}
    for place, value in table.items():
        path: KeyPath = ("columns", place)
        if place not in PLACES:
            raise MisfitError(path, unknown_key(place, list(PLACES)))
        read = chosen[place] = _FILE.read_table(TableColumns, value, path)
        known = [column.key for column in COLUMNS[PLACES[place]]]
        for key in ("show", "hide"):
            for index, name in enumerate(getattr(read, key)):
                if name not in known:
                    what = unknown_key(name, known).replace("unknown key", f"{show(name)} is no column here")
                    raise MisfitError((*path, key, index), what)
                if key == "hide" and name in read.show:
                    raise MisfitError((*path, key, index), f"{show(name)} is in show, too (one of them fits)")
    return chosen


def written_keys(path: Path | None = None) -> frozenset[str]:
    """The keys that the configuration file has, with the names of their tables: ``thresholds.load_warn``.
    Raises ``PreferencesError`` if it is no TOML."""
    path = path or config_path()
    return frozenset(_keys(_FILE.parse(_FILE.read_text(path), str(path)))) if path.exists() else frozenset()


def _keys(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def as_toml(preferences: Preferences, sources: Mapping[str, str] | None = None) -> str:
    """All preferences as a configuration file; keys without a value are commented out. ``sources`` says in a
    comment where each value comes from, by its key as ``written_keys`` has it."""
    return "".join(map(_with_source, _lines(preferences), repeat(sources or {})))


def _with_source(line: tuple[str, str, str], sources: Mapping[str, str]) -> str:
    key, text, about = line
    source = sources.get(key, "")
    comment = f"{about} ({source})" if about and source else about or source
    return f"{text:<{_COMMENTS_AT}}  # {comment}\n" if comment else f"{text}\n"


def as_document(preferences: Preferences) -> dict[str, Any]:
    """All preferences, and the keys of all actions, as JSON-compatible values."""
    plain: dict[str, Any] = msgspec.to_builtins(preferences)
    return plain | {
        "keymap": {action.id: list(map(key_text, action.keys)) for action in _actions(preferences)}
    }


def all_keys(preferences: Preferences) -> list[str]:
    """Every key of ``as_toml``."""
    return [key for key, _, _ in _lines(preferences) if key]


def key_text(key: str) -> str:
    """A key in the file's notation: the character itself instead of Textual's name for it."""
    from vmqtui.actions.action import KEY_CHARACTERS

    *modifiers, base = key.split("+")
    return "+".join([*modifiers, KEY_CHARACTERS.get(base, base)])


def _actions(preferences: Preferences) -> "tuple[Action, ...]":
    from vmqtui.actions.keymap import Keymap

    return Keymap(preferences.keymap).actions


def _lines(preferences: Preferences) -> Iterator[tuple[str, str, str]]:
    """Yield each line of the file: its key, if it has one, its text, and a comment."""
    for key in ("theme", "trends", "interval_s", "exports"):
        yield _line("", key, getattr(preferences, key))
    for table in ("thresholds", "advice", "broker"):
        yield from _heading(table)
        for key, value in msgspec.structs.asdict(getattr(preferences, table)).items():
            yield _line(f"{table}.", key, value)
    for place, columns in preferences.columns.items():
        yield from _heading(f"columns.{place}")
        for key in ("show", "hide"):
            yield _line(f"columns.{place}.", key, list(getattr(columns, key)))
    yield from _heading("keymap")
    for action in _actions(preferences):
        texts = [key_text(key) for key in action.keys if key != "ctrl+c"]
        key, text, _ = _line("keymap.", action.id, texts[0] if len(texts) == 1 else texts)
        yield key, text, action.title


def _heading(table: str) -> Iterator[tuple[str, str, str]]:
    yield "", "", ""
    yield "", f"[{table}]", ""


def _line(prefix: str, key: str, value: Any) -> tuple[str, str, str]:
    return f"{prefix}{key}", f"# {key} =" if value is None else f"{key} = {_value(value)}", ""


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f"{value:g}"
