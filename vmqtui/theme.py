"""Themes: one file each in ``themes/``, loaded as a Textual theme and a palette for our own drawing."""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import platformdirs
from rich.style import Style
from textual.color import Color, ColorParseError
from textual.theme import Theme

COLOURS = (
    "primary",
    "secondary",
    "accent",
    "success",
    "warning",
    "error",
    "foreground",
    "background",
    "surface",
    "panel",
)
ROLES = (
    "text",
    "strong",
    "dim",
    "faint",
    "accent",
    "title",
    "header",
    "good",
    "warn",
    "bad",
    "bar",
    "bar2",
    "trend",
    "track",
    "border",
    "cursor",
    "cursor_idle",
    "reason1",
    "reason2",
    "reason3",
    "reason4",
    "reason5",
)
_BOLD = frozenset({"strong", "title", "accent"})
DEFAULT = "dark"
MONOCHROME = "mono"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LIMIT_BYTES = 256 << 10


@dataclass(frozen=True)
class LoadedTheme:
    """A theme file: ``textual`` for widgets and CSS (``$vmq-<role>``), ``roles`` for our own drawing."""

    name: str
    title: str
    textual: Theme
    roles: dict[str, str]


_FALLBACK_ROLES = {
    **dict.fromkeys(ROLES, "#d0d0d0"),
    "warn": "#e0b050",
    "bad": "#f07070",
    "cursor": "#404040",
    "cursor_idle": "#303030",
    "track": "#404040",
    "border": "#505050",
    "dim": "#909090",
    "faint": "#606060",
}


def themes_directory() -> Path | None:
    """The directory of the shipped themes: in the installed package, or beside it in a checkout; None if
    neither has any."""
    package = Path(__file__).parent
    for candidate in (package / "themes", package.parent / "themes"):
        if candidate.is_dir() and any(candidate.glob("*.toml")):
            return candidate
    return None


def own_themes_directory() -> Path:
    """The directory of the user's own themes; it may not exist."""
    return platformdirs.user_config_path("vmqtui", appauthor=False) / "themes"


def load_themes(directory: Path | None = None) -> tuple[dict[str, LoadedTheme], list[str]]:
    """Return the themes by name, and a sentence for each file that could not be used.

    Loads the shipped themes, then the user's own, which replace shipped ones of the same name; with
    ``directory``, only the themes there. If no file is usable, the only theme is a plain grey one.
    """
    shipped = themes_directory()
    own = own_themes_directory()
    directories = [directory] if directory else [*([shipped] if shipped else []), own]
    themes: dict[str, LoadedTheme] = {}
    problems: list[str] = []
    for place in directories:
        for path in _files(place, problems):
            try:
                theme = read_theme(path)
            except (OSError, ValueError) as error:
                problems.append(f"theme {path if place == own else path.name}: {error}")
            else:
                themes[theme.name] = theme
    if not themes:
        problems.append("no theme could be used; a plain one stands in")
        themes["plain"] = _make("plain", "Plain", True, {"primary": "#d0d0d0"}, _FALLBACK_ROLES)
    return themes, problems


def preferred(themes: Mapping[str, LoadedTheme]) -> str:
    """The name of the default theme: the monochrome one if NO_COLOR is set."""
    first = MONOCHROME if os.environ.get("NO_COLOR") else DEFAULT
    return next((name for name in (first, DEFAULT) if name in themes), next(iter(themes)))


def _files(place: Path, problems: list[str]) -> list[Path]:
    try:
        return sorted(place.glob("*.toml"))
    except OSError as error:
        problems.append(f"themes of {place}: {error.strerror or error}")
        return []


def read_theme(path: Path) -> LoadedTheme:
    """Read a theme file. Raises OSError, or ValueError with a sentence if something is missing or invalid."""
    if not path.is_file() or path.stat().st_size > _LIMIT_BYTES:
        raise ValueError(f"not a file of at most {_LIMIT_BYTES >> 10} KiB")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text ({error.reason})") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"not TOML: {error}") from None
    colours = _colours(table, "colours", COLOURS)
    roles = _colours(table, "roles", ROLES)
    name, title, dark = table.get("name", path.stem), table.get("title", path.stem), table.get("dark", True)
    if not isinstance(name, str) or not isinstance(title, str) or not isinstance(dark, bool):
        raise ValueError("name and title are text, dark is true or false")
    if not _NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} is not a name (1 to 64 of A-Z a-z 0-9 _ -)")
    return _make(name, title, dark, colours, roles)


def _colours(table: dict[str, Any], section: str, keys: tuple[str, ...]) -> dict[str, str]:
    found = table.get(section)
    if not isinstance(found, dict):
        raise ValueError(f"no [{section}] table")
    return {key: _colour(found.get(key), f"{section}.{key}") for key in keys}


def _colour(value: object, key: str) -> str:
    """The colour as #rrggbb. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f'{key} is missing (a colour fits, like "#5fb3d9")')
    try:
        colour = Color.parse(value)
    except ColorParseError:
        colour = None
    if colour is None or colour.a != 1 or colour.ansi is not None or colour.auto:
        raise ValueError(f'{key}: "{value}" is not a colour (like "#5fb3d9")')
    return "#{:02x}{:02x}{:02x}".format(*colour.rgb)


def _make(name: str, title: str, dark: bool, colours: dict[str, str], roles: dict[str, str]) -> LoadedTheme:
    variables = {f"vmq-{role.replace('_', '-')}": colour for role, colour in roles.items()}
    variables |= {
        "scrollbar": roles["faint"],
        "scrollbar-hover": roles["dim"],
        "scrollbar-active": roles["accent"],
        "scrollbar-background": roles["track"],
        "scrollbar-background-hover": roles["track"],
        "scrollbar-background-active": roles["track"],
        "scrollbar-corner-color": roles["track"],
    }
    return LoadedTheme(
        name,
        title,
        # ``colours`` has only colour fields of ``Theme``.
        Theme(name=name, dark=dark, variables=variables, **colours),  # type: ignore[arg-type]
        roles,
    )


class Themed(Protocol):
    """An app with a palette."""

    palette: "Palette"


class Palette:
    """Maps roles to Rich styles, for widgets that draw their own lines."""

    def __init__(self, roles: dict[str, str]) -> None:
        self._roles = roles
        self.style: Callable[[str], Style] = lru_cache(maxsize=256)(self._style)

    def background(self, role: str) -> Style:
        """A style that sets only the background, to the role's colour."""
        return Style(bgcolor=self._roles[role])

    def _style(self, role: str) -> Style:
        """The style of a role. "a/b" is foreground a on background b; "!a" is a in reverse video."""
        if role.startswith("!"):
            return Style(color=self._roles["cursor"], bgcolor=self._roles[role[1:]], bold=True)
        front, _, back = role.partition("/")
        return Style(
            color=self._roles[front], bgcolor=self._roles[back] if back else None, bold=front in _BOLD or None
        )
