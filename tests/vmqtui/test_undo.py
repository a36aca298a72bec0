"""Taking back the last change: the request that does it, or the sentence why none can."""

from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from engine.bus.messages import Status
from engine.telemetry.config import Config, FilterConfig
from tests.slow import slow_but
from tests.vmqtui.conftest import Running
from tests.vmqtui.dialogs import closed, leave, notes, opened, shown, told, type_into
from tests.vmqtui.scripted import VMS, ScriptedLink, make_config, with_queue
from tests.vmqtui.test_vms_traffic_adapters import TRAFFIC
from vmqtui.app import VmqApp
from vmqtui.tasks.undo import MAX_CHANGES, Change, Changes


def with_filter(config: Config, one: FilterConfig) -> Config:
    """The configuration with one more filter."""
    adapter = msgspec.structs.replace(config.adapters[0], filters=[*config.adapters[0].filters, one])
    return msgspec.structs.replace(config, adapters=[adapter], revision=config.revision + 1)


def without_filter(config: Config, filter_id: int) -> Config:
    """The configuration without one of its filters."""
    filters = [one for one in config.adapters[0].filters if one.filter_id != filter_id]
    adapter = msgspec.structs.replace(config.adapters[0], filters=filters)
    return msgspec.structs.replace(config, adapters=[adapter], revision=config.revision + 1)


def with_new_queue(cpu: int) -> Config:
    """The configuration with a queue 13 for app-01, as the dialog of a new queue makes it."""
    config = make_config((*VMS, ("app-01", "app-01", cpu, 0)), revision=8)
    config = without_filter(config, 14)
    one = FilterConfig(filter_id=14, queue_id=13, mac="00:15:5d:00:10:01", vlan=10, driver="vsp")
    return with_filter(config, one)


def publish(app: VmqApp, link: ScriptedLink, queue_id: int, **changes: Any) -> None:
    """Have the engine publish a configuration with one queue changed."""
    config = link.views["hv01"].config
    assert config is not None
    link.publish("hv01", config=with_queue(config, queue_id, **changes))
    app.draw_now()


async def move(pilot: Pilot[None], app: VmqApp, link: ScriptedLink, queue_id: int = 1) -> None:
    """Move a queue to the last processor."""
    await pilot.press("2", "home", *["down"] * queue_id, "m")
    await opened(pilot, app)
    link.answer()
    await pilot.press("end", "enter")
    await closed(pilot, app)
    publish(app, link, queue_id, cpu=7)


async def take_back(pilot: Pilot[None], app: VmqApp, link: ScriptedLink, *words: str, key: str = "u") -> None:
    """Undo, or with another key make again, and see these words before."""
    await pilot.press(key)
    await shown(pilot, app, "Undo the last change" if key == "u" else "Make the last change again", *words)
    link.answer(filter_id=30)
    await pilot.press("enter")
    await closed(pilot, app)


async def test_moved_queue_goes_back(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link)
        await take_back(pilot, app, link, "move queue 1 (web-01) from 0:7 to 0:2")
        assert link.asked[-1] == (
            "hv01",
            "set_queue_parameters",
            {"adapter": "nic0", "queue_id": 1, "cpu": 2},
        )
        publish(app, link, 1, cpu=2)
        await take_back(pilot, app, link, "move queue 1 (web-01) from 0:2 to 0:7", key="ctrl+y")
        assert link.asked[-1][2]["cpu"] == 7


@pytest.mark.slow
async def test_renamed_and_resized_queue_is_as_before(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "name", "shop")
        await type_into(pilot, app, "buffers", "2048")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        publish(app, link, 1, name="shop", buffers=2048)
        await take_back(pilot, app, link, "name it web-01", "give it 512 buffers")
        wanted = {"adapter": "nic0", "queue_id": 1, "buffers": 512, "name": "web-01"}
        assert link.asked[-1] == ("hv01", "set_queue_parameters", wanted)


@pytest.mark.slow
async def test_cleared_filter_is_set_again(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("3", "down", "x")
        await opened(pilot, app)
        link.answer()
        await pilot.press("y")
        await closed(pilot, app)
        before = make_config()
        link.publish("hv01", config=without_filter(before, 2))
        app.draw_now()
        await take_back(pilot, app, link, "set filter 00:15:5d:00:00:02, VLAN 20")
        wanted = {"adapter": "nic0", "queue_id": 2, "mac": "00:15:5d:00:00:02", "vlan": 20}
        assert link.asked[-1] == ("hv01", "set_filter", wanted)
        link.publish("hv01", config=before)
        app.draw_now()
        await take_back(pilot, app, link, "clear filter 30", key="ctrl+y")
        assert link.asked[-1][2] == {"adapter": "nic0", "queue_id": 2, "filter_id": 30}


@pytest.mark.slow
async def test_paused_vm_is_resumed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "v", "enter")
        await shown(pilot, app, "Pause web-01")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        await take_back(pilot, app, link, "resume VM web-01")
        assert link.asked[-1] == ("hv01", "resume_vm", {"adapter": "nic0", "vm": "web-01"})


@pytest.mark.slow
async def test_new_queue_loses_its_filter_and_is_freed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("6", "n")
        await opened(pilot, app)
        link.answer(queue_id=13, revision=8)
        link.answer(filter_id=14, revision=8)
        link.answer(
            queues=[{"queue_id": 13, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 512}], revision=8
        )
        await pilot.press("enter")
        await closed(pilot, app)
        await pilot.press("u")
        await told(pilot, app, "the engine's new configuration has not arrived yet")
        link.publish("hv01", config=with_new_queue(link.asked[0][2]["cpu"]))
        publish(app, link, 13, name="theirs")
        await pilot.press("u")
        await told(pilot, app, "queue 13 is called theirs now, not app-01")
        publish(app, link, 13, name="app-01")
        link.answer()
        await pilot.press("u")
        await shown(pilot, app, "clear filter 14", "free queue 13 (app-01)")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert [(op, params.get("queue_id")) for _, op, params in link.asked[3:]] == [
            ("clear_filter", 13),
            ("free_queue", 13),
        ]
        await pilot.press("ctrl+y")
        await told(pilot, app, "nothing to make again", "a freed queue is gone")


@pytest.mark.slow
async def test_traffic_and_adapter_settings_go_back(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(source="synthetic", traffic=TRAFFIC)
        await pilot.press("R")
        await opened(pilot, app)
        await type_into(pilot, app, "rate", "5")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        await take_back(pilot, app, link, "set traffic: as it was")
        assert link.asked[-1] == ("hv01", "set_traffic", {"mix": TRAFFIC["mix"]})
        await pilot.press("A")
        await opened(pilot, app)
        await type_into(pilot, app, "link_gbps", "25")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        config = link.views["hv01"].config
        assert config is not None
        adapter = msgspec.structs.replace(config.adapters[0], link_gbps=25.0)
        link.publish("hv01", config=msgspec.structs.replace(config, adapters=[adapter]))
        app.draw_now()
        await take_back(pilot, app, link, "set link_gbps = 10 of nic0")
        assert link.asked[-1] == ("hv01", "set_adapter", {"adapter": "nic0", "link_gbps": 10.0})


@pytest.mark.slow
async def test_what_was_freed_or_removed_can_not_be_taken_back(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("u")
        assert "nothing was changed from here yet" in notes(app)
        await pilot.press("2", "end", "d")
        await opened(pilot, app)
        link.answer()
        link.answer()
        await pilot.press("y")
        await closed(pilot, app)
        await pilot.press("u")
        await told(pilot, app, "nothing to undo", "a freed queue is gone")
        await pilot.press("v", "down", "down", "down", "enter")
        await shown(pilot, app, "Remove idle-01")
        link.answer()
        await pilot.press("y")
        await closed(pilot, app)
        await pilot.press("u")
        await told(pilot, app, "a VM that is removed is gone from this switch")


@pytest.mark.slow
async def test_queue_that_is_another_one_now_is_left_alone(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link)
        link.publish("hv01", config=with_queue(make_config(), 1, generation=99, name="other", vm="other"))
        link.publish("hv01", stats=None)
        await pilot.press("u")
        await told(pilot, app, "that queue is gone")
        assert len(link.asked) == 1


async def test_change_of_an_engine_that_was_started_anew_is_not_taken_back(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link)
        link.publish("hv01", status=Status(state="online", started_at=9e9, interval_ns=250_000_000))
        await pilot.press("u")
        await told(pilot, app, "the engine was restarted since")


@pytest.mark.slow
async def test_change_without_an_answer_is_not_taken_back(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        link.leave_unanswered()
        await pilot.press("end", "enter")
        await leave(pilot, app, "no answer from hv01")
        await told(pilot, app, "from 0:2 to 0:7: no answer; it may still take effect")
        await pilot.press("u")
        await told(pilot, app, "was not answered, so it is not known what there is to take back")


@pytest.mark.slow
async def test_half_done_free_sets_nothing_back_but_its_filters(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "d")
        await opened(pilot, app)
        link.answer()
        link.answer("NDIS_STATUS_INVALID_PARAMETER", "queue 1 belongs to another driver")
        await pilot.press("y")
        await leave(pilot, app, "✗ free queue 1")
        link.publish("hv01", config=without_filter(make_config(), 1))
        app.draw_now()
        await take_back(pilot, app, link, "set filter 00:15:5d:00:00:01, VLAN 10")
        assert link.asked[-1][1] == "set_filter"


@pytest.mark.slow
async def test_undo_reaches_back_change_by_change_and_says_which_is_next(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link, 1)
        await move(pilot, app, link, 4)
        first, second = "move queue 1 (web-01) from 0:2 to 0:7", "move queue 4 (sql-02) from 0:1 to 0:7"
        await take_back(pilot, app, link, f"ago: {second}", f"After it, the next is: {first}")
        publish(app, link, 4, cpu=1)
        await take_back(pilot, app, link, f"ago: {first}")
        publish(app, link, 1, cpu=2)
        assert [(params["queue_id"], params["cpu"]) for _, _, params in link.asked[2:]] == [(4, 1), (1, 2)]
        await pilot.press("u")
        await told(pilot, app, "nothing was changed from here yet")
        await take_back(pilot, app, link, "Undone", "from 0:2 to 0:7", key="ctrl+y")
        assert link.asked[-1][2] == {"adapter": "nic0", "queue_id": 1, "cpu": 7}


@pytest.mark.slow
async def test_what_can_not_be_undone_is_said_once_and_the_one_before_follows(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link)
        await pilot.press("2", "end", "d")
        await opened(pilot, app)
        link.answer()
        link.answer()
        await pilot.press("y")
        await closed(pilot, app)
        await pilot.press("u")
        await told(pilot, app, "a freed queue is gone", "The next to undo: move queue 1 (web-01)")
        await take_back(pilot, app, link, "move queue 1 (web-01) from 0:7 to 0:2")


@pytest.mark.slow
async def test_a_new_change_leaves_nothing_to_make_again(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link, 1)
        await take_back(pilot, app, link)
        await move(pilot, app, link, 4)
        await pilot.press("ctrl+y")
        await told(pilot, app, "nothing to make again: nothing was undone from here")


CHANGED_BY_OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "processor": ({"cpu": 3}, "queue 1: processor 0:7 → 0:3"),
    "buffers": ({"cpu": 7, "buffers": 300}, "queue 1: buffers 512 → 300"),
    "name": ({"cpu": 7, "name": "shop"}, "queue 1: name web-01 → shop"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    slow_but([*CHANGED_BY_OTHERS.values()][:1], CHANGED_BY_OTHERS.values(), unpack=True),
    ids=CHANGED_BY_OTHERS,
)
async def test_undo_says_what_others_changed_since_and_asks_first(
    dashboard: Running, changes: dict[str, Any], words: str
) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link)
        publish(app, link, 1, **changes)
        await pilot.press("u")
        await shown(pilot, app, "Changed by others since", words)
        await pilot.press("enter")  # Cancel has the focus
        await closed(pilot, app)
        assert len(link.asked) == 1
        link.answer()
        await pilot.press("u")
        await opened(pilot, app)
        await pilot.press("y")
        await closed(pilot, app)
        assert link.asked[-1][2]["cpu"] == 2


@pytest.mark.slow
async def test_undo_says_which_filters_others_set_and_cleared(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link)
        config = link.views["hv01"].config
        assert config is not None
        one = FilterConfig(filter_id=99, queue_id=1, mac="00:15:5d:00:00:99", vlan=None, driver="vsp")
        link.publish("hv01", config=with_filter(without_filter(config, 1), one))
        app.draw_now()
        await pilot.press("u")
        await shown(
            pilot,
            app,
            "filter 00:15:5d:00:00:99, VLAN any set",
            "filter 00:15:5d:00:00:01, VLAN 10 cleared",
        )


@pytest.mark.slow
async def test_what_others_change_while_undo_asks_is_not_overwritten_unseen(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await move(pilot, app, link)
        await pilot.press("u")
        await opened(pilot, app)
        publish(app, link, 1, cpu=3)
        await pilot.press("enter")
        await shown(pilot, app, "changed while this is open: queue 1: processor 0:7 → 0:3")
        assert len(link.asked) == 1


def test_changes_kept_for_undo_are_bounded() -> None:
    changes = Changes()
    for number in range(MAX_CHANGES + 1):
        changes.made(Change("hv01", 0.0, 0.0, str(number)))
    found = []
    while (last := changes.last("hv01")) is not None:
        found.append(last.words)
        changes.forget(last)
    assert found == [str(number) for number in range(MAX_CHANGES, 0, -1)]


def test_undo_of_a_host_leaves_changes_of_others() -> None:
    changes = Changes()
    here, there = Change("hv01", 0.0, 0.0, "here"), Change("hv02", 0.0, 0.0, "there")
    changes.made(here)
    changes.made(there)
    assert changes.last("hv01") is here
    assert changes.last("hv03") is None
    assert changes.elsewhere() == "hv02"
