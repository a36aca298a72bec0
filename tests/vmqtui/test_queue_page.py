"""The page of one queue, and where its memory lives."""

from pathlib import Path

import msgspec
import pytest

from engine.telemetry.events import Event
from engine.view.rows import QueueView
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import notes, opened, shown
from tests.vmqtui.scripted import SECOND, VMS, live_link, make_config, make_stats, with_queue
from vmqtui.draw import bands, width_of
from vmqtui.preferences.kept import StateFile
from vmqtui.state.buffer_memory import pool, regions
from vmqtui.state.history import Curve
from vmqtui.state.series import DETAIL_POINTS, POINTS, ShortHistory
from vmqtui.state.snapshot import Snapshot, series_of

SNAPSHOT = Snapshot("hv01", None, make_config(), make_stats(8), make_stats(4))


def queue(snapshot: Snapshot, queue_id: int) -> QueueView:
    return next(row for row in snapshot.queues if row.queue_id == queue_id)


def test_whole_frames_are_in_host_memory_and_copies_of_the_indicated_in_the_guests() -> None:
    row = queue(SNAPSHOT, 1)
    host, guest = regions(row)
    assert (host.space, host.what, host.bytes_each, host.size) == ("host", "whole frames", 1518, 512 * 1518)
    assert (host.outstanding, host.pending) == (row.count("outstanding"), row.count("pending"))
    assert (guest.space, guest.outstanding, guest.pending) == ("guest", row.count("outstanding"), 0)


def test_split_keeps_the_lookahead_in_the_host_and_the_rest_in_the_guest() -> None:
    config = with_queue(make_config(ndis_version="6.20"), 1, lookahead_bytes=128, guest_memory=True)
    row = queue(Snapshot("hv01", None, config, make_stats(8)), 1)
    host, guest = regions(row)
    assert (host.what, host.bytes_each) == ("lookahead", 128)
    assert (guest.what, guest.bytes_each) == ("post-lookahead", 1390)
    assert guest.pending == row.count("pending")


def test_split_that_was_asked_for_but_not_made_is_whole_frames() -> None:
    config = with_queue(make_config(), 1, lookahead_bytes=128, guest_memory=False)
    assert regions(queue(Snapshot("hv01", None, config, make_stats(8)), 1))[0].what == "whole frames"


def test_default_queue_has_no_guest_memory_of_its_own() -> None:
    assert [one.space for one in regions(queue(SNAPSHOT, 0))] == ["host"]


def test_buffers_of_an_adapter_add_up() -> None:
    found = pool(SNAPSHOT.adapters[0])
    assert found.total == 16384
    assert found.in_no_queue == 16384 - 1024 - 12 * 512
    assert pool(Snapshot("hv01", None, make_config()).adapters[0]).in_no_queue is None


def test_low_water_mark_that_an_engine_does_not_tell_is_unknown() -> None:
    stats = make_stats(8)
    del stats.adapters["nic0"].queues["low_free_buffers"]
    row = queue(Snapshot("hv01", None, make_config(), stats), 1)
    assert row.high_water is None
    assert queue(SNAPSHOT, 1).high_water == pytest.approx(1 - 27 / 512)


def test_bands_are_as_wide_as_asked_and_differ_in_glyph() -> None:
    for width in (8, 20, 61):
        line = bands([(0.2, "█", "a"), (0.001, "▓", "b"), (0.3, "▒", "c")], width, 0.5)
        text = "".join(part for part, _ in line)
        assert width_of(line) == width
        assert set(text) == {"█", "▓", "▒", "╌", "┃"}
    assert bands([(1.0, "█", "a")], 4, 1.0) == [("███", "a"), ("┃", "bad")]
    assert bands([], 3) == [("╌╌╌", "track")]


def test_mark_never_stands_before_what_is_filled_now() -> None:
    assert bands([(0.5, "█", "a"), (0.5, "▒", "b")], 6, 0.1) == [("███", "a"), ("┃", "dim"), ("▒▒", "b")]


def test_trail_knows_the_seconds_that_were_looked_at_and_no_others() -> None:
    trail = ShortHistory()
    for second, value in ((3, 1.0), (4, 2.0), (6, 4.0)):
        trail.note("web", second * SECOND, {"pps": value})
    assert trail.peaks("pps", 5, 5, 6 * SECOND) == [None, 1.0, 2.0, None, 4.0]
    assert trail.peaks("pps", 2, 2, 4 * SECOND) == [1.0, 2.0]
    assert trail.peaks("pps", 6, 2, 5 * SECOND) == [None, 2.0]
    trail.note("web", 1 * SECOND, {"pps": 5.0})  # after a step back
    assert trail.peaks("pps", 6, 6, 6 * SECOND) == [5.0, None, 1.0, 2.0, None, 4.0]
    trail.note("web", 9 * SECOND, {"pps": 7.0}, covers=5)
    assert trail.peaks("pps", 5, 5, 9 * SECOND) == [7.0, 4.0, 7.0, 7.0, 7.0]
    trail.note("sql", 7 * SECOND, {"pps": 9.0})
    assert trail.peaks("pps", 3, 3, 7 * SECOND) == [None, None, 9.0]


def test_trail_of_an_object_not_viewed_before_begins_with_what_is_known_of_it() -> None:
    trail, known = ShortHistory(), {"pps": [1.0, None, 3.0]}
    trail.note("web", 9 * SECOND, {"pps": 4.0}, known=known.__getitem__)
    assert trail.peaks("pps", 4, 4, 9 * SECOND) == [None, 1.0, None, 4.0]
    trail.note("web", 10 * SECOND, {"pps": 5.0}, known=known.__getitem__)  # it was viewed just before
    assert trail.peaks("pps", 4, 4, 10 * SECOND) == [1.0, None, 4.0, 5.0]
    trail.note("web", 20 * SECOND, {"pps": 6.0}, known=known.__getitem__)
    assert trail.peaks("pps", 4, 4, 20 * SECOND) == [None, 1.0, None, 6.0]


def test_details_of_queues_are_kept_for_five_minutes() -> None:
    curve, config, before = Curve(), make_config(VMS[:2]), None
    for second in range(1, DETAIL_POINTS + 400):
        stats = make_stats(second, VMS[:2], step_ns=SECOND)
        now = Snapshot("hv01", None, config, stats, before)
        curve.add(now, second)
        before = stats
    known = curve.details.last(series_of(queue(now, 1), "mbits"), 10_000)
    assert len(known) == DETAIL_POINTS
    assert known[-1] == pytest.approx(queue(now, 1).mbits, rel=1e-6)


@pytest.mark.slow
async def test_page_shows_what_was_before_it_was_opened(dashboard: Running) -> None:
    async with dashboard(size=(120, 40), readings=120) as (app, pilot, _):
        await pilot.press("2", "down", "enter")
        await pilot.pause()
        (line,) = [one for one in screen_text(app).splitlines() if " Mbit/s " in one and "││" in one]
        assert len(line.rsplit(maxsplit=2)[1]) >= 14


def test_trail_is_bounded() -> None:
    trail = ShortHistory()
    for second in range(0, 3 * POINTS, 7):
        trail.note("web", second * SECOND, {"pps": 1.0}, covers=7)
    assert len(trail._rows["pps"]) <= POINTS + 300
    assert trail.peaks("pps", 3600, 60, second * SECOND) == [1.0] * 60


def test_state_history_is_not_that_of_an_earlier_queue_with_the_id() -> None:
    def event(seq: int, kind: str) -> Event:
        return Event(seq=seq, sim_time_ns=seq, time_ns=seq, event=kind, adapter="nic0", queue_id=1)

    kinds = ("queue_state", "queue_freed", "queue_state", "drops_begin")
    events = tuple(event(seq, kind) for seq, kind in enumerate(kinds, 1))
    now = Snapshot("hv01", None, make_config(), None, events=events)
    assert [row.event.seq for row in now.events_of_queue("nic0", 1, gone=False)] == [4, 3]
    freed = Snapshot("hv01", None, make_config(), None, events=(*events, event(5, "queue_freed")))
    assert [row.event.seq for row in freed.events_of_queue("nic0", 1, gone=True)] == [5, 4, 3]


@pytest.mark.slow
@pytest.mark.parametrize("view", ["1", "2", "4"])
async def test_enter_opens_the_page_and_escape_leaves_it(dashboard: Running, view: str) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press(view, "down", "enter")
        await pilot.pause()
        text = screen_text(app)
        assert "Queue 1 of nic0 · web-01" in text
        assert "Rates over time" in text
        assert "fewest free" in text
        assert "00:15:5d:00:00:01" in text
        # An attribute of the class that is there.
        before = app.screen.view.view_id  # type: ignore[attr-defined]
        assert before == "queue"
        await pilot.press("escape")
        await pilot.pause()
        assert "Rates over time" not in screen_text(app)


@pytest.mark.slow
async def test_page_from_the_matrix_is_of_the_column(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("5", "right", "enter")
        await pilot.pause()
        assert "Queue 2 of nic0 · web-02" in screen_text(app)


async def test_controls_of_the_page_act_on_its_queue(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", *["down"] * 5, "enter", "e")
        await shown(pilot, app, "Resize or rename queue 5")
        await pilot.press("escape", "down", "x")
        await shown(pilot, app, "Clear filter 6")


@pytest.mark.slow
async def test_page_of_a_queue_without_filters_still_has_its_controls(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "enter", "m")
        await opened(pilot, app)
        await shown(pilot, app, "Move queue 0 (default)")


@pytest.mark.slow
async def test_page_of_a_freed_queue_says_so_and_keeps_the_last(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "enter")
        config = make_config()
        adapter = config.adapters[0]
        adapter = msgspec.structs.replace(adapter, queues=[q for q in adapter.queues if q.queue_id != 1])
        stats = make_stats(21)
        for column in stats.adapters["nic0"].queues.values():
            del column[1]
        config = msgspec.structs.replace(config, adapters=[adapter], revision=8)
        link.publish("hv01", config=config, stats=stats)
        app.draw_now()
        await pilot.pause()
        assert "✗ freed" in screen_text(app)
        assert "web-01" in screen_text(app)


@pytest.mark.slow
async def test_split_is_drawn_in_the_buffers_view(dashboard: Running) -> None:
    link = live_link()
    config = with_queue(make_config(ndis_version="6.20"), 1, lookahead_bytes=128, guest_memory=True)
    link.publish("hv01", stats=make_stats(8), config=config)
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("4", "down")
        await pilot.pause()
        text = screen_text(app)
        assert "host  lookahead" in text
        assert "guest post-lookahead" in text
        assert "of web-01" in text


@pytest.mark.slow
async def test_plus_and_minus_choose_the_span_of_charts(dashboard: Running) -> None:
    async with dashboard(size=(160, 50)) as (app, pilot, _):
        assert "1 min ago" in screen_text(app)
        await pilot.press("minus")
        assert "1 minute is the shortest span of a chart" in notes(app)
        await pilot.press("plus")
        await shown(pilot, app, "5 min ago")
        await pilot.press("6", "plus")  # there it gives a queue
        assert app.screen is not app.screen_stack[0]
        await pilot.press("escape", "equals_sign")
        await shown(pilot, app, "15 min ago")
        await pilot.press("2", "enter")
        await shown(pilot, app, "15 min ago")
        await pilot.press("plus")
        await shown(pilot, app, "60 min ago")
        assert "60 minutes is the longest span of a chart" not in notes(app)
        await pilot.press("plus")
        assert "60 minutes is the longest span of a chart" in notes(app)


@pytest.mark.slow
async def test_the_span_of_charts_holds_at_the_next_start(dashboard: Running, tmp_path: Path) -> None:
    path = tmp_path / "config.state.json"
    async with dashboard(state=StateFile(path)) as (app, pilot, _):
        await pilot.press("plus", "plus")
        assert "charts show 15 minutes; there is none in this view" in notes(app)
        assert await app.keep_choices() == ""
    async with dashboard(state=StateFile(path)) as (app, _, _):
        assert app.model.span_s == 900
