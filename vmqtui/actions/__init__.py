"""Every action once: bindings, key bar, palette, help screen and reference pages read this.

An action is carried out by the dashboard's method ``action_<id>``, or by its ``call``. Nothing here needs
Textual. What has a subject of its own stands in a file of its own; this is where they come together.
"""

from vmqtui.actions.action import VIEWS, Action, first_key, key_name, key_names
from vmqtui.actions.changing import CHANGING
from vmqtui.actions.moving import CURSOR, MATRIX, MOVING, TABLES
from vmqtui.actions.program import PROGRAM
from vmqtui.actions.time import TIME

ACTIONS: tuple[Action, ...] = (*MOVING, *CHANGING, *TABLES, *TIME, *PROGRAM)

__all__ = [
    "ACTIONS",
    "CURSOR",
    "MATRIX",
    "VIEWS",
    "Action",
    "by_id",
    "first_key",
    "key_name",
    "key_names",
]


def by_id(action_id: str) -> Action:
    """The action of that id."""
    return next(action for action in ACTIONS if action.id == action_id)
