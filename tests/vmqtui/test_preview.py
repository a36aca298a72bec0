"""What a change would do is asked of the engine, and shown before it is made."""

import asyncio

from tests.vmqtui.conftest import Running
from tests.vmqtui.dialogs import flowing, opened, type_into, until
from tests.vmqtui.scripted import foreseen, live_link, make_stats

MOVED = foreseen(
    "queue 1 is served by processor 0:7",
    steering={"sentence": "queue 1 would be served by processor 0:7 instead of 0:2"},
    next_state="running",
)


async def test_effect_of_a_move_is_shown_and_nothing_is_changed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: MOVED
        await pilot.press("2", "down", "m", "end")
        await until(pilot, app, "≈ queue 1 would be served by processor 0:7 instead of 0:2")
        assert link.wondered == [("set_queue_parameters", {"adapter": "nic0", "queue_id": 1, "cpu": 7})]
        assert link.asked == []


async def test_what_would_be_refused_is_said_before_it_is_asked_for(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: foreseen(
            "buffers: 60000 is more than nic0 has left", "NDIS_STATUS_RESOURCES"
        )
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "60000")
        await until(pilot, app, "△ would be refused: buffers: 60000", "has left (NDIS_STATUS_RESOURCES)")
        assert link.asked == []


async def test_what_is_typed_is_asked_about_once_it_rests(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        for buffers in ("7", "77", "777"):
            app.screen.query_one("#field-buffers").value = buffers  # type: ignore[attr-defined]
        await until(pilot, app, "set_queue_parameters is done")
        assert [params["buffers"] for _, params in link.wondered] == [777]


async def test_no_effect_is_asked_of_what_does_not_fit_or_changes_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "0")
        await until(pilot, app, "is not a whole number in 1..65536")
        await type_into(pilot, app, "buffers", "512")
        await pilot.press("enter")
        await until(pilot, app, "nothing is changed yet")
        assert link.wondered == []
        assert link.asked == []


async def test_name_the_engine_would_not_take_is_refused_in_its_words(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "name", "x" * 257)
        await until(pilot, app, "is not a name (1..256 printable characters)")
        assert link.wondered == []


async def test_free_shows_where_the_frames_of_each_filter_would_go(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: foreseen(
            f"filter {params['filter_id']} is cleared",
            steering={"sentence": "frames to it would go to the default queue instead of queue 5"},
        )
        await pilot.press("2", *["down"] * 5, "d")
        await until(pilot, app, "filter 5 is cleared", "filter 6 is cleared", "instead of queue 5")
        assert [op for op, _ in link.wondered] == ["clear_filter", "clear_filter"]


async def test_preview_that_does_not_come_is_said(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):

        def late(op: str, params: object) -> object:
            raise TimeoutError

        link.foresee = late  # type: ignore[assignment]
        await pilot.press("2", "down", "m", "end")
        await until(pilot, app, "no preview: no answer from hv01")


async def test_preview_stops_when_the_change_is_made(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m", "end", "enter")
        await until(pilot, app, "waiting for hv01")
        assert "what would happen" not in flowing(app)
        assert len(link.asked) == 1


async def test_preview_of_a_completion_tells_its_buffers(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: foreseen(
            "1 of 1 queues are completed",
            queues=[{"queue_id": 1, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 300}],
            steering={"sentence": "every frame would go where it goes now"},
        )
        await pilot.press("2", "down", "c")
        await until(pilot, app, "queue 1 would have 300 buffers", "every frame would go where it goes now")


async def test_nothing_is_asked_while_the_engine_is_offline(dashboard: Running) -> None:
    link = live_link()
    link.publish("hv01", stats=make_stats(2))
    async with dashboard(link) as (app, pilot, _):
        link.connection, link.progress = "lost", "connection refused"
        link.notify()
        await pilot.press("2", "down", "m")
        async with asyncio.timeout(5):
            while not any("nothing can be changed now" in note.message for note in app._notifications):
                await pilot.pause(0.02)
        assert len(app.screen_stack) == 1
        assert link.asked == []


async def test_new_queue_is_foreseen_and_so_is_whether_its_filter_is_free(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: foreseen("queue 13 is allocated")
        await pilot.press("6", "n")
        await until(pilot, app, "≈ queue 13 is allocated", "≈ no other filter has 00:15:5d:00:10:01, VLAN 10")
        assert [op for op, _ in link.wondered] == ["allocate_queue", "set_filter"]
        link.foresee = lambda op, params: foreseen("it is in filter 1", "NDIS_STATUS_INVALID_PARAMETER")
        await type_into(pilot, app, "mac", "00:15:5d:00:00:01")
        await until(pilot, app, "△ would be refused: it is in filter 1 (NDIS_STATUS_INVALID_PARAMETER)")
