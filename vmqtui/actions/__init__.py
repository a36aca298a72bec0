"""Every action once: bindings, key bar, palette, help screen and reference pages read this.

An action is carried out by the dashboard's method ``action_<id>``, or by its ``call``. Nothing here needs
Textual.
"""

from vmqtui.actions.action import VIEWS, Action, first_key, key_name, key_names
from vmqtui.actions.registry import ACTIONS, CURSOR, MATRIX, by_id

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
