"""A dialog ends once, and what it asked for goes on without it: no answer is lost, none asked for twice."""

import msgspec
import pytest
from textual import events
from textual.pilot import Pilot

from tests.vmqtui.conftest import Running
from tests.vmqtui.dialogs import closed, leave, opened, settled, shown, told, type_into
from tests.vmqtui.scripted import VMS, ScriptedLink, make_config
from tests.vmqtui.test_vms_traffic_adapters import TRAFFIC
from vmqtui.app import VmqApp


def together(app: VmqApp, *keys: str) -> None:
    """Deliver keys in one read: none waits for what the one before it did."""
    for key in keys:
        event = events.Key(key, key if len(key) == 1 else None)
        event.set_sender(app)
        assert app._driver is not None
        app._driver.send_message(event)


async def make_a_queue(pilot: Pilot[None], app: VmqApp) -> None:
    """Ask for a queue with a filter, and wait until its first request is on its way."""
    await pilot.press("6", "n")
    await opened(pilot, app)
    await pilot.press("enter")
    await shown(pilot, app, "allocate app-01: waiting for hv01")


def answer_the_rest(link: ScriptedLink) -> None:
    link.answer(queue_id=13)
    link.answer(filter_id=14)
    link.answer(queues=[{"queue_id": 13, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 512}])


async def test_enter_twice_in_one_read_ends_a_dialog_once(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        together(app, "enter", "enter")
        await settled(pilot, app)
        assert app.is_running
        assert link.asked == []


async def test_enter_twice_in_one_read_sends_once(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        together(app, "end", "enter", "enter", "enter")
        await shown(pilot, app, "waiting for hv01")
        await settled(pilot, app)
        assert len(link.asked) == 1


async def test_y_twice_in_one_read_frees_once(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "d")
        await opened(pilot, app)
        together(app, "y", "y")
        await shown(pilot, app, "waiting for hv01")
        await settled(pilot, app)
        assert [op for _, op, _ in link.asked] == ["clear_filter"]


async def test_dialog_of_an_answer_takes_keys_that_came_before_it(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(source="synthetic", traffic=TRAFFIC)
        together(app, "R", "enter", "enter")
        await settled(pilot, app)
        assert app.is_running


async def test_answer_about_traffic_opens_nothing_over_another_dialog(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "R", "m")
        await opened(pilot, app)
        link.answer(source="synthetic", traffic=TRAFFIC)
        await told(pilot, app, "answered on its traffic while another dialog was open")
        assert len(app.screen_stack) == 2


async def test_escape_in_the_moment_of_the_answer(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        await pilot.press("end", "enter")
        await shown(pilot, app, "waiting for hv01")
        link.answer()
        together(app, "escape")
        await closed(pilot, app)
        await told(pilot, app, "move queue 1 (web-01) from 0:2 to 0:7")
        assert app.is_running


async def test_palette_ends_once_and_pages_through_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        together(app, "ctrl+p", "pagedown", "pageup", "escape", "escape")
        await settled(pilot, app)
        assert app.is_running
        assert len(app.screen_stack) == 1


@pytest.mark.slow
async def test_queue_is_made_to_its_end_without_its_dialog(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await make_a_queue(pilot, app)
        await pilot.press("escape")
        await closed(pilot, app)
        await told(pilot, app, "New queue on nic0: hv01 has not answered yet")
        await pilot.press("u")
        await told(pilot, app, "the last change waits for its answer")
        answer_the_rest(link)
        await told(pilot, app, "allocate app-01; set filter 00:15:5d:00:10:01; complete app-01")
        assert [op for _, op, _ in link.asked] == ["allocate_queue", "set_filter", "complete_allocation"]
        link.publish("hv01", config=make_config((*VMS, ("app-01", "app-01", 0, 0)), revision=8))
        app.draw_now()
        await pilot.press("u")
        await shown(pilot, app, "clear filter 14", "free queue 13 (app-01)")


@pytest.mark.slow
async def test_refusal_after_the_dialog_has_gone_is_said_and_the_rest_undone(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await make_a_queue(pilot, app)
        await pilot.press("escape")
        await closed(pilot, app)
        link.answer(queue_id=13)
        link.answer("NDIS_STATUS_RESOURCES", "128 filters are set")
        await told(pilot, app, "allocate app-01, then set filter", "128 filters are set")
        assert [note.severity for note in app._notifications][-1] == "warning"
        link.publish("hv01", config=make_config((*VMS, ("app-01", "app-01", 0, 0)), revision=8))
        app.draw_now()
        await pilot.press("u")
        await shown(pilot, app, "To take it back: free queue 13 (app-01)")


@pytest.mark.slow
async def test_a_late_answer_is_still_waited_for_and_the_dialog_says_so(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await make_a_queue(pilot, app)
        link.leave_unanswered(5.0)
        await leave(pilot, app, "allocate app-01: no answer from hv01 for 5 s; still asking")
        link.leave_unanswered(5.0)
        answer_the_rest(link)
        await told(pilot, app, "allocate app-01; set filter 00:15:5d:00:10:01; complete app-01")
        assert len(set(link.ids[:3])) == 1  # the engine carries it out once
        assert link.answers.empty()


@pytest.mark.slow
async def test_an_engine_that_was_started_since_is_not_asked_for_a_late_answer(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await make_a_queue(pilot, app)
        status = link.views["hv01"].status
        assert status is not None
        link.publish("hv01", status=msgspec.structs.replace(status, started_at=status.started_at + 1))
        link.leave_unanswered(5.0)
        await shown(pilot, app, "no answer from hv01; it may still take effect")
        assert len(link.asked) == 1


@pytest.mark.slow
async def test_a_step_without_an_answer_is_named_when_its_dialog_is_left(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await make_a_queue(pilot, app)
        link.answer(queue_id=13)
        link.leave_unanswered()
        await shown(pilot, app, "no answer from hv01")
        await pilot.press("escape")
        await told(
            pilot,
            app,
            "allocate app-01, then left; set filter 00:15:5d:00:10:01: no answer; it may still take effect",
        )


@pytest.mark.slow
async def test_request_without_an_answer_is_repeated_under_its_id(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        link.leave_unanswered()
        await pilot.press("end", "enter")
        await shown(pilot, app, "no answer from hv01")
        link.answer("NDIS_STATUS_FAILURE")
        await pilot.press("enter")
        await shown(pilot, app, "NDIS_STATUS_FAILURE")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        first, repeated, new = link.ids
        assert first == repeated  # the engine answers it once
        assert new != first  # it was refused, and is asked for again


@pytest.mark.slow
async def test_keys_before_a_dialog_is_there(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        for keys in (
            ("C", "space", "s", "j", "enter"),
            ("t", "1", "enter", "escape"),
            ("h", "down", "enter"),
        ):
            together(app, *keys)
            await settled(pilot, app)
        assert app.is_running
        assert link.asked == []


@pytest.mark.slow
async def test_typing_after_a_dialog_has_ended_asks_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "1024")
        await shown(pilot, app, "≈ set_queue_parameters is done")
        asked = len(link.wondered)
        together(app, "escape", "tab", "9", "9", "enter")
        await settled(pilot, app)
        assert len(link.wondered) == asked
        assert link.asked == []


async def test_fields_typed_and_submitted_in_one_read_are_sent_whole(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "n")
        await opened(pilot, app)
        together(app, *"a-very-long-name-of-an-application-01", "tab", *"b", "enter")
        await shown(pilot, app, "waiting for hv01")
        assert (link.asked[0][2]["vm"], link.asked[0][2]["name"]) == (
            "a-very-long-name-of-an-application-01",
            "b",
        )


async def test_keys_after_the_one_that_leaves_have_no_effect(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer()
        await pilot.press("2", "down", "v", "enter")
        await shown(pilot, app, "Pause web-01")
        together(app, "ctrl+q", "enter", "q", "q", "d", "y")
    assert app.failure is None
    assert link.asked == []
