"""Every action once: bindings, key bar, palette, help screen and reference pages read this.

An action ``id`` is carried out by the dashboard's method ``action_<id>``. Nothing here needs Textual.
"""

from dataclasses import dataclass

VIEWS: dict[str, str] = {
    "overview": "Overview",
    "queues": "Queues",
    "filters": "Filters",
    "buffers": "Buffers",
    "processors": "Processors",
    "default": "Default queue",
    "events": "Events",
}
"""Every view and its title, in the order of their tabs."""

_TABLES = frozenset({"overview", "queues", "filters", "buffers", "processors", "default", "events"})
_QUEUE_TABLES = frozenset({"overview", "queues", "buffers", "processors"})


@dataclass(frozen=True)
class Action:
    """One thing a person can do. ``key`` is a Textual key name; several are separated by commas.

    ``views`` is where it applies; empty means everywhere. ``changes``: it asks the engine to change
    something, so a read-only dashboard has no such action. ``bar`` is its short title in the key bar,
    empty when it is not shown there.
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

    def applies(self, view: str) -> bool:
        """Whether it can be done in a view."""
        return not self.views or view in self.views


ACTIONS: tuple[Action, ...] = (
    *(
        Action(f"view('{view}')", str(number), f"View: {title}", f"Show {title.lower()}.", "Views")
        for number, (view, title) in enumerate(VIEWS.items(), 1)
    ),
    Action("next_view", "right_square_bracket,right", "Next view", "Show the next view.", "Views"),
    Action("previous_view", "left_square_bracket,left", "Previous view", "Show the one before.", "Views"),
    Action(
        "move_queue",
        "m",
        "Move queue to a CPU",
        "Choose the processor that serves the queue under the cursor.",
        "Queues",
        _QUEUE_TABLES,
        changes=True,
        bar="move",
    ),
    Action(
        "set_filter",
        "f",
        "Set a filter",
        "Steer a MAC and VLAN to the queue under the cursor.",
        "Queues",
        _QUEUE_TABLES | {"filters"},
        changes=True,
        bar="filter",
    ),
    Action(
        "clear_filter",
        "x",
        "Clear a filter",
        "Clear the filter under the cursor, or one of the queue under it; asks first.",
        "Queues",
        _QUEUE_TABLES | {"filters"},
        changes=True,
        bar="clear",
    ),
    Action(
        "new_queue",
        "n",
        "New queue",
        "Allocate a queue, set its filter and complete it; each answer is shown.",
        "Queues",
        changes=True,
        bar="new",
    ),
    Action(
        "complete_queue",
        "c",
        "Complete allocation",
        "Give the allocated queue under the cursor its buffers.",
        "Queues",
        _QUEUE_TABLES,
        changes=True,
    ),
    Action(
        "edit_queue",
        "e",
        "Rename or resize",
        "Change the name and the number of receive buffers of the queue under the cursor.",
        "Queues",
        _QUEUE_TABLES,
        changes=True,
        bar="edit",
    ),
    Action(
        "free_queue",
        "d",
        "Free queue",
        "Free the queue under the cursor, clearing its filters first; asks first.",
        "Queues",
        _QUEUE_TABLES,
        changes=True,
        bar="free",
    ),
    Action("details", "enter", "Details", "Everything about the row under the cursor.", "Table", _TABLES),
    Action("sort_next", "s", "Sort by the next column", "Or click a heading.", "Table", _TABLES, bar="sort"),
    Action("sort_previous", "S", "Sort by the column before", "Or click a heading.", "Table", _TABLES),
    Action(
        "reverse", "r", "Reverse the order", "Or click the heading again.", "Table", _TABLES, bar="reverse"
    ),
    Action("choose_adapter", "a", "Choose an adapter", "Show one adapter, or all.", "Host", bar="adapter"),
    Action("choose_host", "h", "Choose a host", "Show another host of the broker.", "Host"),
    Action("next_theme", "t", "Next theme", "Change the colours.", "Program", bar="theme"),
    Action("help", "question_mark", "Help", "What the keys do.", "Program", bar="help"),
    Action(
        "command_palette",
        "ctrl+p",
        "Command palette",
        "Every action by name.",
        "Program",
        priority=True,
    ),
    Action("quit", "q,ctrl+c", "Quit", "Leave the dashboard.", "Program", bar="quit"),
)

_KEY_NAMES = {
    "question_mark": "?",
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "right": "→",
    "left": "←",
    "enter": "⏎",
    "ctrl+p": "^p",
    "ctrl+c": "^c",
}


def key_names(action: Action) -> str:
    """An action's keys as people read them."""
    return " ".join(_KEY_NAMES.get(key, key) for key in action.key.split(","))


def offered(read_only: bool) -> tuple[Action, ...]:
    """The actions of a dashboard: all, or those that change nothing."""
    return tuple(action for action in ACTIONS if not (read_only and action.changes))


def by_id(action_id: str) -> Action:
    """The action of that id."""
    return next(action for action in ACTIONS if action.id == action_id)
