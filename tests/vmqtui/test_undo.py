"""Taking back the last change: the request that does it, or the sentence why none can."""

from textual.pilot import Pilot

from engine.bus.messages import Status
from tests.vmqtui.conftest import Running
from tests.vmqtui.dialogs import closed, notes, opened, told, type_into, until
from tests.vmqtui.scripted import VMS, ScriptedLink, make_config, with_queue
from tests.vmqtui.test_vms_traffic_adapters import TRAFFIC
from vmqtui.app import VmqApp


async def move(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    """Move queue 1 to the last processor."""
    await pilot.press("2", "down", "m")
    await opened(pilot, app)
    link.answer()
    await pilot.press("end", "enter")
    await closed(pilot, app)


async def take_back(pilot: Pilot[None], app: VmqApp, link: ScriptedLink, *words: str) -> None:
    """Undo, and see these words before."""
    await pilot.press("u")
    await until(pilot, app, "Undo the last change", *words)
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
        await take_back(pilot, app, link, "move queue 1 (web-01) from 0:2 to 0:7")
        assert link.asked[-1][2]["cpu"] == 7


async def test_renamed_and_resized_queue_is_as_before(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "name", "shop")
        await type_into(pilot, app, "buffers", "2048")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        await take_back(pilot, app, link, "name it web-01", "give it 512 buffers")
        wanted = {"adapter": "nic0", "queue_id": 1, "buffers": 512, "name": "web-01"}
        assert link.asked[-1] == ("hv01", "set_queue_parameters", wanted)


async def test_cleared_filter_is_set_again(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("3", "down", "x")
        await opened(pilot, app)
        link.answer()
        await pilot.press("y")
        await closed(pilot, app)
        await take_back(pilot, app, link, "set filter 00:15:5d:00:00:02, VLAN 20")
        wanted = {"adapter": "nic0", "queue_id": 2, "mac": "00:15:5d:00:00:02", "vlan": 20}
        assert link.asked[-1] == ("hv01", "set_filter", wanted)
        await take_back(pilot, app, link, "clear filter 30")
        assert link.asked[-1][2] == {"adapter": "nic0", "queue_id": 2, "filter_id": 30}


async def test_paused_vm_is_resumed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "v", "enter")
        await until(pilot, app, "Pause web-01")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        await take_back(pilot, app, link, "resume VM web-01")
        assert link.asked[-1] == ("hv01", "resume_vm", {"adapter": "nic0", "vm": "web-01"})


async def test_new_queue_loses_its_filter_and_is_freed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("6", "n")
        await opened(pilot, app)
        link.answer(queue_id=13)
        link.answer(filter_id=14)
        link.answer(queues=[{"queue_id": 13, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 512}])
        await pilot.press("enter")
        await closed(pilot, app)
        await pilot.press("u")
        await told(pilot, app, "that queue is gone")  # no configuration has it yet
        link.publish("hv01", config=make_config((*VMS, ("app-01", "app-01", 0, 0)), revision=8))
        app.draw_now()
        link.answer()
        await pilot.press("u")
        await until(pilot, app, "clear filter 14", "free queue 13 (app-01)")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert [(op, params.get("queue_id")) for _, op, params in link.asked[3:]] == [
            ("clear_filter", 13),
            ("free_queue", 13),
        ]
        await pilot.press("u")
        await told(pilot, app, "nothing to undo", "a freed queue is gone")


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
        await take_back(pilot, app, link, "set link_gbps = 10 of nic0")
        assert link.asked[-1] == ("hv01", "set_adapter", {"adapter": "nic0", "link_gbps": 10.0})


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
        await until(pilot, app, "Remove idle-01")
        link.answer()
        await pilot.press("y")
        await closed(pilot, app)
        await pilot.press("u")
        await told(pilot, app, "a VM that is removed is gone from this switch")


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
        await told(pilot, app, "the engine was started anew since")


async def test_change_without_an_answer_is_not_taken_back(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        link.answers.put_nowait(TimeoutError())
        await pilot.press("end", "enter")
        await until(pilot, app, "no answer from hv01")
        await pilot.press("escape")
        await closed(pilot, app)
        await pilot.press("u")
        await told(pilot, app, "was not answered, so it is not known what there is to take back")


async def test_half_done_free_sets_nothing_back_but_its_filters(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "d")
        await opened(pilot, app)
        link.answer()
        link.answer("NDIS_STATUS_INVALID_PARAMETER", "queue 1 belongs to another driver")
        await pilot.press("y")
        await until(pilot, app, "✗ free queue 1")
        await pilot.press("escape")
        await closed(pilot, app)
        await take_back(pilot, app, link, "set filter 00:15:5d:00:00:01, VLAN 10")
        assert link.asked[-1][1] == "set_filter"
