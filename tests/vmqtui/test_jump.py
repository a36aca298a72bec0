"""Jumping from a row to the queue it is about, and back."""

from collections import deque

import msgspec
import pytest
from textual.widgets import Input

from engine.advice.finding import Finding
from engine.telemetry.config import FilterConfig
from engine.telemetry.events import Event
from engine.view.rows import FilterView, QueueView
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import notes
from tests.vmqtui.scripted import EVENTS, SECOND, START_NS, live_link, mac, make_config, make_stats, play
from vmqtui.app import VmqApp
from vmqtui.dashboard import Dashboard
from vmqtui.state.jump import PLACES_KEPT, target_of
from vmqtui.state.rows import EventRow, FindingRow, Row
from vmqtui.state.snapshot import Snapshot
from vmqtui.widgets.table import LiveTable

FREED = Event(
    seq=4,
    sim_time_ns=12 * SECOND,
    time_ns=START_NS + 12 * SECOND,
    event="queue_freed",
    adapter="nic0",
    queue_id=7,
)


def moment(events: tuple[Event, ...] = EVENTS) -> Snapshot:
    """A moment of the scripted host."""
    return Snapshot("hv01", None, make_config(), make_stats(8), make_stats(4), events)


def found(row: Row | None, snapshot: Snapshot | None = None) -> str:
    """What a jump from a row goes to, or says: the name of a queue and why, or a sentence."""
    target = target_of(row, snapshot or moment())
    return target if isinstance(target, str) else f"{target.queue.label}: {target.why}".rstrip(": ")


def table(app: VmqApp, name: str) -> LiveTable:
    """A table on the screen."""
    return app.screen.query_one(f"#{name}", LiveTable)


def screen(app: VmqApp) -> Dashboard:
    """The dashboard."""
    assert isinstance(app.screen, Dashboard)
    return app.screen


def on(table: LiveTable) -> object:
    """What the cursor of a table is on: the kind of an event, a filter's id, a queue's adapter and name."""
    row = table.row
    if isinstance(row, EventRow):
        return row.event.event
    if isinstance(row, FilterView):
        return row.filter_id
    return (row.adapter, row.label) if isinstance(row, QueueView) else None


def finding(**about: object) -> FindingRow:
    """A finding about something."""
    told = Finding(
        rule="drops",
        severity="bad",
        adapter="nic0",
        key="k",
        where="w",
        says="s",
        numbers={},
        cause="c",
        fix="f",
        measure="m",
    )
    return FindingRow(msgspec.structs.replace(told, **about))


def test_an_event_goes_to_its_queue_unless_that_was_freed_since() -> None:
    state, drops, bad = (EventRow(event, None) for event in EVENTS)
    assert (found(state), found(drops)) == ("idle-01", "file-01")
    assert found(bad) == "this event is about the host, not about a queue"
    later = moment((*EVENTS, FREED))
    freed = "queue 7 of nic0, which this event is about, was freed"
    assert (found(drops, later), found(EventRow(FREED, None), later)) == (freed, freed)
    again = msgspec.structs.replace(EVENTS[1], seq=5, time_ns=FREED.time_ns + SECOND)
    assert (
        found(EventRow(again, None), moment((*EVENTS, FREED, again))) == "file-01"
    )  # the next one of its id


def test_a_finding_goes_to_what_it_is_about() -> None:
    assert found(finding(queue_id=7, generation=8)) == "file-01"
    assert found(finding(queue_id=7, generation=1)) == (
        "that queue was freed; queue 7 of nic0 is another one now (file-01)"
    )
    assert found(finding(queue_id=99)) == "queue 99 of nic0 is not there at this moment"
    assert found(finding(filter_id=4)) == "sql-02"
    assert found(finding(vm="mail-01")) == "mail-01"
    assert found(finding(cpu=2)) == "web-01: busiest of 3 queues of processor 0:2"
    assert found(finding()) == "this finding is about no single queue"


def test_a_pair_goes_to_the_queue_that_takes_it_now_or_nearly_took_it() -> None:
    snapshot = moment()
    by_mac = {(row.mac, row.vlan): row for row in snapshot.top}
    near = by_mac[mac(4), 10]
    assert found(near) == "sql-02: its filter wants VLAN 20, the frames have 10"
    assert found(snapshot.near_misses[1]) == "web-01: its filter wants VLAN 10, the frames have 30"
    assert (
        found(by_mac[mac(0x1001), 10]) == f"no filter has {mac(0x1001)}: the default queue takes its frames"
    )
    assert "is a broadcast address" in found(by_mac["ff:ff:ff:ff:ff:ff", "untagged"])
    config = make_config()
    taker = FilterConfig(filter_id=14, queue_id=6, mac=mac(4), vlan=10, driver="vsp")
    adapter = msgspec.structs.replace(config.adapters[0], filters=[*config.adapters[0].filters, taker])
    config = msgspec.structs.replace(config, adapters=[adapter])
    later = Snapshot("hv01", None, config, make_stats(8), make_stats(4))
    assert found(next(row for row in later.top if (row.mac, row.vlan) == (mac(4), 10)), later) == (
        "mail-01: takes its frames now"
    )


def test_filters_ports_and_processors_have_queues_or_say_why_not() -> None:
    snapshot = moment()
    assert found(snapshot.filters[3]) == "sql-02"
    ports = {row.config.vm: row for row in snapshot.ports}
    assert found(ports["web-02"]) == "web-02"
    assert found(ports["app-01"]) == "no queue takes the frames of app-01's port: the default queue does"
    cpus = {row.cpu: row for row in snapshot.cpus}
    assert found(cpus[7]) == "no queue is known of processor 0:7"
    assert found(cpus[6]) == "idle-01"
    assert found(None) == "the cursor is on no row with a queue; Tab goes to the next panel"


@pytest.mark.slow
async def test_a_jump_goes_there_and_back_to_row_view_and_filter(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        queues = table(app, "queues-table")
        await pilot.press("2", "slash", *"web", "enter", "7", "down", "slash", *"nic", "enter")
        assert on(table(app, "events-table")) == "drops_begin"
        await pilot.press("o")
        await pilot.pause()
        assert "the search web hid it, and is dropped until you go back" in notes(app)
        assert on(queues) == ("nic0", "file-01")
        assert app.focused is queues
        await pilot.press("7", "o", "ctrl+o")  # a second jump that drops nothing, and back
        assert app.model.choices.of("queues-table").filter == ""
        await pilot.press("2", "up", "ctrl+o")
        events = table(app, "events-table")
        assert app.focused is events
        assert on(events) == "drops_begin"
        assert app.model.choices.of("events-table").filter == "nic"
        assert app.model.choices.of("queues-table").filter == "web"
        await pilot.press("ctrl+o")
        assert "there is no jump to go back from" in notes(app)


@pytest.mark.slow
async def test_a_jump_from_the_end_of_a_long_table_shows_its_row(dashboard: Running) -> None:
    vms = [("default", None, 0, 100), *((f"vm-{n:03}", f"vm-{n:03}", n % 8, 50) for n in range(1, 200))]
    link = live_link(vms=vms)
    play(link, 1, 8, vms=vms)
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("3", "end", "o")
        await pilot.pause()
        await pilot.pause()
        assert "vm-199" in screen_text(app)
        await pilot.press("backspace")
        await pilot.pause()
        assert on(table(app, "filters-table")) == 199
        assert "vm-199" in screen_text(app)


@pytest.mark.slow
async def test_a_jump_shows_all_adapters_where_one_hides_its_queue_and_works_in_the_past(
    dashboard: Running,
) -> None:
    link = live_link(adapters=("nic0", "nic1"))
    async with dashboard(link) as (app, pilot, _):
        play(link, 1, 8, adapters=("nic0", "nic1"))
        app.draw_now()
        await pilot.press("2", "end", "enter", "space")  # the page of a queue of nic1
        app.model.choices.adapter = "nic0"
        await pilot.press("o")
        assert "all adapters are shown, as it is not of nic0" in notes(app)
        assert app.model.past is not None
        assert on(table(app, "queues-table")) == ("nic1", "idle-01")
        await pilot.press("backspace")
        assert app.model.choices.adapter == "nic0"
        assert screen(app).view.view_id == "queue"
        assert "idle-01" in screen_text(app)


@pytest.mark.slow
async def test_places_to_go_back_to_are_bounded(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        assert isinstance(screen(app)._places, deque)
        for _ in range(PLACES_KEPT + 5):
            screen(app).action_view("overview")
            screen(app).action_jump()
        assert len(screen(app)._places) == PLACES_KEPT
        await pilot.press("ctrl+o")
        assert len(screen(app)._places) == PLACES_KEPT - 1
        assert screen(app).view.view_id == "overview"


@pytest.mark.slow
async def test_backspace_in_a_field_deletes_a_character(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("slash", *"webx", "backspace")
        assert app.screen.query_one("#filter-input", Input).value == "web"
