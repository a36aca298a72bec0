"""What an action is, and how its keys are called."""

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
"""Every view and its title, in the order of their tabs."""

QUEUE = "queue"
"""The page of one queue: a view without a tab."""
TITLES: dict[str, str] = {**VIEWS, QUEUE: "A queue's page"}
"""Every view, with a tab or without, and its title."""
ALL_VIEWS = frozenset(TITLES)
QUEUE_VIEWS = frozenset({"overview", "queues", "buffers", "processors", QUEUE})
"""Views with a table of queues."""


@dataclass(frozen=True)
class Action:
    """One action of the user. ``key`` is a Textual key name; several are separated by commas; empty: the
    palette alone offers it.

    ``views`` is where it applies; empty means everywhere. ``changes``: it asks the engine to change
    something, so a read-only dashboard has no such action. ``bar`` is its short title in the key bar,
    empty when it is not shown there. ``call`` is the Textual action that carries it out, where
    that is not ``id``.
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
    """It writes a file on the machine the dashboard runs on."""

    @property
    def does(self) -> str:
        """The action that carries it out."""
        return self.call or self.id

    @property
    def keys(self) -> tuple[str, ...]:
        """Its keys."""
        return tuple(self.key.split(",")) if self.key else ()

    def applies(self, view: str) -> bool:
        """Whether it can be done in a view."""
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
    """Textual's name of a character that is neither a letter nor a digit: Unicode's, but for six."""
    name = unicodedata.name(character).lower().replace("-", "_").replace(" ", "_")
    return _RENAMED.get(name, name)


KEY_CHARACTERS: Final = {_key_of(character): character for character in string.punctuation}
"""Characters that are neither letters nor digits, by Textual's names."""


def key_name(key: str) -> str:
    """A key as people read it."""
    if key.startswith("ctrl+") and len(key) == 6:
        return f"^{key[-1]}"
    return _KEY_NAMES.get(key) or KEY_CHARACTERS.get(key) or key


def first_key(action: Action) -> str:
    """The first of its keys, for places with room for one; "" without any."""
    return key_name(action.keys[0]) if action.keys else ""


def key_names(action: Action) -> str:
    """An action's keys as people read them."""
    return " ".join(key_name(key) for key in action.keys)
