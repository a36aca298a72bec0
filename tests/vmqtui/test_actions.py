"""The action registry: bindings, palette, help and docs agree."""

from collections import defaultdict

import pytest

from vmqtui.actions import ACTIONS, CURSOR
from vmqtui.actions.action import ALL_VIEWS
from vmqtui.actions.keymap import Keymap, unchanging
from vmqtui.dashboard import Dashboard


@pytest.mark.parametrize("view", sorted(ALL_VIEWS))
def test_no_key_means_two_things_in_a_view(view: str) -> None:
    meanings: defaultdict[str, list[str]] = defaultdict(list)
    for action in ACTIONS:
        if action.applies(view):
            for key in action.keys:
                meanings[key].append(action.id)
    for action in CURSOR:
        for key in action.keys:
            meanings[key].append(action.id)
    assert {key: ids for key, ids in meanings.items() if len(ids) > 1} == {}


def test_every_action_has_a_name_title_help_and_group() -> None:
    for action in ACTIONS:
        assert action.title, action.id
        assert action.id.isidentifier(), action.id  # it is a key of the configuration file
        assert action.help.endswith("."), action.id
        assert action.group, action.id
        assert action.views <= ALL_VIEWS, action.id


def test_every_action_is_carried_out_by_the_dashboard() -> None:
    for action in ACTIONS:
        name = action.does.partition("(")[0]
        if name != "app.command_palette":  # Textual's own
            assert callable(getattr(Dashboard, f"action_{name}", None)), action.id


def test_read_only_offers_nothing_that_changes() -> None:
    every = Keymap().offered()
    safe = unchanging(every)
    assert not any(action.changes for action in safe)
    assert {action.id for action in every} - {action.id for action in safe} == {
        "mark_row",
        "mark_up",
        "mark_all",
        "move_queue",
        "set_filter",
        "clear_filter",
        "new_queue",
        "give_queue",
        "complete_queue",
        "edit_queue",
        "free_queue",
        "change_vm",
        "pause_vm",
        "resume_vm",
        "migrate_vm",
        "remove_vm",
        "set_rate",
        "edit_traffic",
        "set_adapter",
        "apply_fix",
        "restart_worker",
        "set_balancer",
        "undo",
        "redo",
    }


def test_only_filters_of_queues_are_called_filters() -> None:
    """Rows are searched: two things of one name would be confused in the line of keys and the palette."""
    named = {one.id for one in ACTIONS if "filter" in f"{one.title} {one.bar} {' '.join(one.says)}".lower()}
    assert named == {"set_filter", "clear_filter", "view_filters"}
