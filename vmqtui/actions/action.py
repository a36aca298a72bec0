"""What an action is, and how its keys are called."""

from dataclasses import dataclass

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
    """One thing a person can do. ``key`` is a Textual key name; several are separated by commas; empty: the
    palette alone offers it.

    ``views`` is where it applies; empty means everywhere. ``changes``: it asks the engine to change
    something, so a read-only dashboard has no such action. ``bar`` is its short title in the key bar,
    empty when it is not shown there. ``call`` is what carries it out where that is not ``id``: an action as
    Textual writes it.
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
    """Works before whatever has the focus sees the key."""
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
    "question_mark": "?",
    "right_square_bracket": "]",
    "left_square_bracket": "[",
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
KEY_CHARACTERS = {
    "exclamation_mark": "!",
    "quotation_mark": '"',
    "number_sign": "#",
    "dollar_sign": "$",
    "percent_sign": "%",
    "ampersand": "&",
    "apostrophe": "'",
    "left_parenthesis": "(",
    "right_parenthesis": ")",
    "asterisk": "*",
    "plus": "+",
    "comma": ",",
    "minus": "-",
    "full_stop": ".",
    "slash": "/",
    "colon": ":",
    "semicolon": ";",
    "less_than_sign": "<",
    "equals_sign": "=",
    "greater_than_sign": ">",
    "question_mark": "?",
    "at": "@",
    "left_square_bracket": "[",
    "backslash": "\\",
    "right_square_bracket": "]",
    "circumflex_accent": "^",
    "underscore": "_",
    "grave_accent": "`",
    "left_curly_bracket": "{",
    "vertical_line": "|",
    "right_curly_bracket": "}",
    "tilde": "~",
}
"""Names that Textual has for characters that are neither letters nor digits."""


def key_name(key: str) -> str:
    """A key as people read it."""
    if key.startswith("ctrl+") and len(key) == 6:
        return f"^{key[-1]}"
    return _KEY_NAMES.get(key) or KEY_CHARACTERS.get(key) or key


def first_key(action: Action) -> str:
    """The one of its keys that is shown where there is room for one; "" without any."""
    return key_name(action.keys[0]) if action.keys else ""


def key_names(action: Action) -> str:
    """An action's keys as people read them."""
    return " ".join(key_name(key) for key in action.keys)
