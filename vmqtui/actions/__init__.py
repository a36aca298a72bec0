"""The registry of actions, read by bindings, key bar, palette, help screen and reference pages.

The dashboard's method ``action_<id>`` runs an action, or the Textual action in its ``call``. Nothing here
imports Textual.
"""

from vmqtui.actions.action import VIEWS, Action, first_key, key_name, key_names
from vmqtui.actions.registry import ACTIONS, CURSOR, MATRIX, by_id, in_groups

__all__ = [
    "ACTIONS",
    "CURSOR",
    "MATRIX",
    "VIEWS",
    "Action",
    "by_id",
    "first_key",
    "in_groups",
    "key_name",
    "key_names",
]
