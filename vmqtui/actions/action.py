"""The definition of an action, and the display names of keys."""

import string
import unicodedata
from dataclasses import dataclass
from typing import Final

VIEWS: dict[str, str] = {
    "overview": "Overview",
    "queues": "Queues",
    "filters": "Filters",
    "buffers": "Buffers",
    "processors": "Processors",
    "default": "Default queue",
    "events": "Events",
    "advice": "Advice",
}
"""The title of every view with a tab, in tab order."""

QUEUE = "queue"
"""The view id of a queue's page, which has no tab."""
TITLES: dict[str, str] = {**VIEWS, QUEUE: "A queue's page"}
"""The title of every view, with or without a tab."""
ALL_VIEWS = frozenset(TITLES)
DETAILED_VIEWS = frozenset(VIEWS) - {"overview"}
"""Views with a detail pane."""
PANE_COLUMNS = 160
"""Fewest columns of a screen with a detail pane."""
QUEUE_VIEWS = frozenset({"overview", "queues", "buffers", "processors", QUEUE})
"""Views with a table of queues."""


@dataclass(frozen=True)
class Action:
    """An action of the user. ``key`` is a Textual key name, or several separated by commas; if it is empty,
    only the palette offers the action.

    ``views`` are the views where it applies; empty means all. ``changes``: it sends a request that changes
    the engine, or chooses what one is about, so it is not offered of a host that takes no requests. ``bar``
    is its short title in the key bar; empty if it is not shown there. ``call`` is the Textual action that
    runs it, if that is not ``id``.
    """

    id: str
    key: str
    title: str
    help: str
    group: str
    views: frozenset[str] = frozenset()
    changes: bool = False
    bar: str = ""
    priority: bool = False
    """Handled before the focused widget sees the key."""
    call: str = ""
    writes: bool = False
    """It writes a file on the dashboard's machine."""
    says: tuple[str, ...] = ()
    """Names of its command beside its id: a short one first, and that of ``vmqtui``'s own command."""
    takes: tuple[str, ...] = ()
    """What its command may be given, one after the other: kinds of things."""
    teaches: bool = False
    """It is about a lesson: only the dashboard of ``vmqtui scenario run`` offers it."""
    columns: int = 0
    """Fewest columns of a screen on which it does something."""

    @property
    def does(self) -> str:
        """The Textual action that runs it."""
        return self.call or self.id

    @property
    def keys(self) -> tuple[str, ...]:
        """Its keys, by Textual's names."""
        return tuple(self.key.split(",")) if self.key else ()

    def applies(self, view: str) -> bool:
        """Whether it is available in a view."""
        return not self.views or view in self.views


_KEY_NAMES = {
    "right": "→",
    "left": "←",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "insert": "Ins",
    "enter": "⏎",
    "escape": "Esc",
    "space": "Space",
    "tab": "Tab",
}
_RENAMED = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}


def _key_of(character: str) -> str:
    """Textual's name of a punctuation character: its Unicode name, with six exceptions."""
    name = unicodedata.name(character).lower().replace("-", "_").replace(" ", "_")
    return _RENAMED.get(name, name)


KEY_CHARACTERS: Final = {_key_of(character): character for character in string.punctuation}
"""ASCII punctuation characters, by Textual's names."""


def key_name(key: str) -> str:
    """The display name of a key: ^p for ctrl+p, / for slash."""
    if key.startswith("ctrl+") and len(key) == 6:
        return f"^{key[-1]}"
    if key.startswith("shift+"):
        return f"Shift+{key_name(key.removeprefix('shift+'))}"
    return _KEY_NAMES.get(key) or KEY_CHARACTERS.get(key) or key


def where_of(action: Action) -> str:
    """The titles of the views where an action is available."""
    return ", ".join(title for view, title in TITLES.items() if action.applies(view))


def first_key(action: Action) -> str:
    """The display name of an action's first key; "" if it has none."""
    return key_name(action.keys[0]) if action.keys else ""


def key_names(action: Action) -> str:
    """The display names of an action's keys, separated by blanks."""
    return " ".join(key_name(key) for key in action.keys)
