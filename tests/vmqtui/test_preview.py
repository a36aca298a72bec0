"""What a change would do is asked of the engine, and shown before it is made."""

import asyncio
import re
from typing import Any

import msgspec
import pytest

from engine.bus.messages import Response
from engine.telemetry.config import FilterConfig, Vlan
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import flowing, opened, shown, type_into
from tests.vmqtui.scripted import foreseen, live_link, mac, make_config, make_stats, with_queue
from vmqtui.dialogs.request import RequestDialog
from vmqtui.numbers import compact
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.filters import clear_filter, set_filter
from vmqtui.tasks.foresight import buffers_of_new, stands_alone, taken_by_new
from vmqtui.tasks.queues import free_queue
from vmqtui.tasks.task import Foreseen, Step, Task

MOVED = foreseen(
    "queue 1 is served by processor 0:7",
    steering={"sentence": "queue 1 would be served by processor 0:7 instead of 0:2"},
    next_state="running",
)


async def test_effect_of_a_move_is_shown_and_nothing_is_changed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: MOVED
        await pilot.press("2", "down", "m", "end")
        await shown(pilot, app, "≈ queue 1 would be served by processor 0:7 instead of 0:2")
        words = " ".join(screen_text(app).replace("│", " ").split())
        assert re.search(r"0:2, now at [\d.]+% → about [\d.]+%; 0:7, now at 0% with 0 queues → about", words)
        assert "with 1 queue" in words
        assert link.wondered == [("set_queue_parameters", {"adapter": "nic0", "queue_id": 1, "cpu": 7})]
        assert link.asked == []


async def test_effect_is_asked_when_the_cursor_moves_not_at_every_drawing(dashboard: Running) -> None:
    def unanswered(op: str, params: dict[str, Any]) -> Response:
        raise TimeoutError

    async with dashboard() as (app, pilot, link):
        link.foresee = unanswered
        await pilot.press("2", "down", "m", "end")
        await shown(pilot, app, "no preview: no answer")
        for _ in range(3):
            app.draw_now()
            await pilot.pause()
        assert len(link.wondered) == 1
        link.foresee = lambda op, params: MOVED
        await pilot.press("up")
        await shown(pilot, app, "≈ queue 1 would be served by processor 0:7")
        assert len(link.wondered) == 2


async def test_what_would_be_refused_is_said_before_it_is_asked_for(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: foreseen(
            "buffers: 60000 is more than nic0 has left", "NDIS_STATUS_RESOURCES"
        )
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "60000")
        await shown(pilot, app, "△ would be refused: buffers: 60000", "has left (NDIS_STATUS_RESOURCES)")
        assert link.asked == []


async def test_what_is_typed_is_asked_about_once_it_rests(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        for buffers in ("7", "77", "777"):
            # An attribute of the class that is there.
            app.screen.query_one("#field-buffers").value = buffers  # type: ignore[attr-defined]
        await shown(pilot, app, "set_queue_parameters is done")
        assert [params["buffers"] for _, params in link.wondered] == [777]


async def test_no_effect_is_asked_of_what_does_not_fit_or_changes_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "0")
        await shown(pilot, app, "is not a whole number in 1..65536")
        await type_into(pilot, app, "buffers", "512")
        await pilot.press("enter")
        await shown(pilot, app, "nothing is changed yet")
        assert link.wondered == []
        assert link.asked == []


async def test_name_the_engine_would_not_take_is_refused_in_its_words(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "name", "x" * 257)
        await shown(pilot, app, "is not a name (1..256 printable characters)")
        assert link.wondered == []


async def test_free_shows_where_the_frames_of_each_filter_would_go(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: foreseen(
            f"filter {params['filter_id']} is cleared",
            steering={"sentence": "frames to it would go to the default queue instead of queue 5"},
        )
        await pilot.press("2", *["down"] * 5, "d")
        await shown(pilot, app, "filter 5 is cleared", "filter 6 is cleared", "instead of queue 5")
        assert [op for op, _ in link.wondered] == ["clear_filter", "clear_filter"]


async def test_preview_that_does_not_come_is_said(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):

        def late(op: str, params: object) -> object:
            raise TimeoutError

        link.foresee = late  # type: ignore[assignment]  # a stand-in
        await pilot.press("2", "down", "m", "end")
        await shown(pilot, app, "no preview: no answer from hv01")


async def test_preview_stops_when_the_change_is_made(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m", "end", "enter")
        await shown(pilot, app, "waiting for hv01")
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
        await shown(pilot, app, "queue 1 would have 300 buffers", "every frame would go where it goes now")


async def test_nothing_is_asked_while_the_engine_is_offline(dashboard: Running) -> None:
    link = live_link()
    link.publish("hv01", stats=make_stats(2))
    async with dashboard(link) as (app, pilot, _):
        link.connection, link.progress = "lost", "connection refused"
        link.notify()
        await pilot.press("2", "down", "m")
        async with asyncio.timeout(60):
            while not any("nothing can be changed now" in note.message for note in app._notifications):
                await pilot.pause(0.02)
        assert len(app.screen_stack) == 1
        assert link.asked == []


@pytest.mark.slow
async def test_new_queue_is_foreseen_with_what_it_takes_from_the_default_queue(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        unmoved = {"sentence": "every frame would go where it goes now"}  # said of the stand-in, queue 0
        link.foresee = lambda op, params: foreseen("queue 13 is allocated", steering=unmoved)
        await pilot.press("6", "n")
        text = await shown(
            pilot,
            app,
            "≈ queue 13 is allocated ≈ it would take frames to 00:15:5d:00:10:01, VLAN 10 from the default "
            "queue: 40.4k frames/s now, 57.9% of what lands there",
            "≈ it would have 512 of the 9,216 buffers that no queue has",
        )
        assert "goes now" not in text
        assert [op for op, _ in link.wondered] == ["allocate_queue", "set_filter"]
        link.foresee = lambda op, params: foreseen("it is in filter 1", "NDIS_STATUS_INVALID_PARAMETER")
        await type_into(pilot, app, "mac", "00:15:5d:00:00:01")
        await shown(pilot, app, "△ would be refused: it is in filter 1 (NDIS_STATUS_INVALID_PARAMETER)")


def known(*changed: FilterConfig, **stats: object) -> Snapshot:
    """A host whose queue 6, and queue 20 above the lowest free id, have filters of their own."""
    config = make_config()
    adapter = config.adapters[0]
    late = msgspec.structs.replace(adapter.queues[12], queue_id=20, generation=99, name="late", vm="late-01")
    adapter = msgspec.structs.replace(
        adapter, queues=[*adapter.queues, late], filters=[*adapter.filters, *changed]
    )
    config = msgspec.structs.replace(config, adapters=[adapter])
    return Snapshot("hv01", None, config, make_stats(8), make_stats(4))


def set_on(queue_id: int, vlan: Vlan) -> FilterConfig:
    return FilterConfig(filter_id=90 + queue_id, queue_id=queue_id, mac=mac(0x1001), vlan=vlan, driver="vsp")


def test_a_new_queue_takes_nothing_from_a_lower_queue_that_runs() -> None:
    told = taken_by_new(known(set_on(6, None)), "nic0", mac(0x1001), 10)
    assert not told.fits
    assert told.words == (
        "it would take no frame: queue 6 (mail-01) takes those to 00:15:5d:00:10:01, VLAN 10, and comes first"
    )


def test_a_new_queue_takes_frames_from_a_higher_queue() -> None:
    told = taken_by_new(known(set_on(20, None)), "nic0", mac(0x1001), 10)
    assert told.words == ("it would take frames to 00:15:5d:00:10:01, VLAN 10 from queue 20 (late-01)")


def test_a_filter_for_any_vlan_takes_all_pairs_of_its_mac() -> None:
    landing = known()
    rates = {row.vlan: row.pps or 0.0 for row in landing.top if row.mac == mac(4)}
    assert rates.keys() == {10}
    one, other = (taken_by_new(landing, "nic0", mac(4), vlan).words for vlan in (None, 30))
    assert f"{compact(rates[10])} frames/s now" in one
    assert other.endswith("VLAN 30 from the default queue")


@pytest.mark.parametrize(
    ("asked", "words", "fits"),
    [
        (9216, "it would have 9,216 of the 9,216 buffers that no queue has", True),
        (10_000, "it would have 9,216 buffers: no more are left", False),
        (
            65_536,
            "its allocation could not be completed: 9,216 buffers left, less than half of what it asks for",
            False,
        ),
    ],
)
def test_buffers_of_a_new_queue_are_those_that_are_left(asked: int, words: str, fits: bool) -> None:
    snapshot = Snapshot("hv01", None, make_config(), make_stats(8), make_stats(4))
    assert buffers_of_new(snapshot, "nic0", asked) == Foreseen(words, fits)


def test_only_the_last_filter_of_a_queue_is_called_its_last() -> None:
    snapshot = Snapshot("hv01", None, make_config(), make_stats(8), make_stats(4))
    said = {
        row.filter_id: "the queue's last" in clear_filter(row, snapshot.queues[row.queue_id or 0]).explanation
        for row in snapshot.filters
    }
    assert [filter_id for filter_id, last in said.items() if not last] == [5, 6]  # the two of fw-01


def test_a_queue_that_does_not_run_has_no_frames_to_lose() -> None:
    for state, loses in (("running", True), ("allocated", False), ("paused", False)):
        config = with_queue(make_config(), 1, state=state)
        row = Snapshot("hv01", None, config, make_stats(8), make_stats(4)).queues[1]
        assert ("go to the default queue" in free_queue(row).explanation) == loses
        assert ("once its allocation is completed" in set_filter(row).explanation) == (state == "allocated")


def asking(op: str, **params: object) -> Step:
    return Step(op, op, op, lambda answers: dict(params), foresee=dict(params))


@pytest.mark.parametrize(
    ("before", "step", "alone"),
    [
        ([asking("clear_filter", queue_id=1)], asking("free_queue", queue_id=1), False),
        ([asking("clear_filter", queue_id=1)], asking("set_filter", queue_id=2), False),
        ([asking("set_queue_parameters", buffers=64)], asking("set_queue_parameters", buffers=512), False),
        ([asking("set_queue_parameters", buffers=64)], asking("set_queue_parameters", cpu=2), True),
        ([asking("set_queue_parameters", cpu=1)], asking("free_queue", queue_id=1), True),
        ([asking("allocate_queue")], asking("set_filter", queue_id=0), True),
        ([], asking("free_queue", queue_id=1), True),
    ],
)
def test_a_request_that_needs_what_an_earlier_one_frees_is_not_judged_alone(
    before: list[Step], step: Step, alone: bool
) -> None:
    assert stands_alone(step, before) is alone


async def test_a_queue_whose_filter_is_cleared_first_is_not_said_to_be_refused(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.foresee = lambda op, params: (
            foreseen("queue 1 has filters set", "NDIS_STATUS_INVALID_PARAMETER")
            if op == "free_queue"
            else foreseen(f"{op} is done")
        )
        await pilot.press("2", "down")
        dialog = RequestDialog(
            link,
            "hv01",
            Task(
                "Undo",
                "",
                "Undo",
                lambda values: [
                    asking("clear_filter", adapter="nic0", queue_id=1, filter_id=1),
                    asking("free_queue", adapter="nic0", queue_id=1),
                ],
            ),
        )
        app.push_screen(dialog)
        await shown(pilot, app, "clear_filter is done")
        assert "would be refused" not in flowing(app)
        assert [op for op, _ in link.wondered] == ["clear_filter"]
