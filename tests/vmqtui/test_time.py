"""The keys of time, on the screen: every view shows the moment held, and says that it is not now."""

import msgspec
import pytest

from engine.telemetry.packing import PackingError
from engine.telemetry.stats import Stats
from tests.slow import slow_but
from tests.vmqtui.conftest import Running, same_as_snapshot, screen_text
from tests.vmqtui.dialogs import flowing
from tests.vmqtui.scripted import live_link, make_stats, play
from vmqtui.actions import VIEWS
from vmqtui.state import archive
from vmqtui.views.tables import QueuesView
from vmqtui.widgets.bars import Timeline

SIZES = ((80, 24), (120, 40), (200, 60))


@pytest.mark.parametrize("size", slow_but([(120, 40)], SIZES), ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_held_moment(dashboard: Running, size: tuple[int, int]) -> None:
    async with dashboard(size=size, readings=400) as (app, pilot, _):
        await pilot.press("less_than_sign", "less_than_sign", "comma")
        same_as_snapshot(f"overview-paused-{size[0]}x{size[1]}", screen_text(app))


@pytest.mark.slow
async def test_space_holds_every_view_and_goes_back_to_now(dashboard: Running) -> None:
    async with dashboard(readings=40) as (app, pilot, link):
        await pilot.press("space")
        held = {}
        for number, view in enumerate(VIEWS, 1):
            await pilot.press(str(number))
            held[view] = screen_text(app).splitlines()[4:]
        play(link, 41, 80)
        app.draw_now()
        for number, view in enumerate(VIEWS, 1):
            await pilot.press(str(number))
            assert screen_text(app).splitlines()[4:] == held[view]
        assert "‖ PAST" in screen_text(app)
        await pilot.press("space")
        assert "‖ PAST" not in screen_text(app)
        assert app.model.snapshot.stats is link.views["hv01"].stats


async def test_the_line_says_which_moment_and_how_long_ago(dashboard: Running) -> None:
    async with dashboard(readings=121) as (app, pilot, _):
        await pilot.press("less_than_sign", "comma", "full_stop", "full_stop")
        line = screen_text(app).splitlines()[3]
        assert "00:00:20.5 UTC  9.7s ago" in line


async def test_a_distance_counts_from_the_moment_shown_when_it_was_asked_for(dashboard: Running) -> None:
    async with dashboard(readings=81) as (app, pilot, link):
        await pilot.press("at")
        assert "00:00:20 was shown when this opened" in flowing(app)
        play(link, 82, 101)
        app.draw_now()
        await pilot.press(*"-5s", "enter")
        await pilot.pause()
        assert "00:00:15.2 UTC" in screen_text(app).splitlines()[3]
        play(link, 102, 121)
        app.draw_now()
        for key in ("at", "colon"):
            await pilot.press(key, *("time " if key == "colon" else ""), *"+0:03", "enter")
            await pilot.pause()
        assert "00:00:21.2 UTC" in screen_text(app).splitlines()[3]


async def test_a_click_on_the_line_goes_there(dashboard: Running) -> None:
    async with dashboard(readings=121) as (app, pilot, _):
        await pilot.press("space")
        first, length = app.screen.query_one(Timeline)._bar
        await pilot.click(Timeline, offset=(first, 0))
        assert app.model.snapshot.stats is not None
        assert app.model.snapshot.stats.seq == 1
        await pilot.click(Timeline, offset=(first + length - 1, 0))
        assert app.model.snapshot.stats.seq == 121


async def test_before_the_first_reading_there_is_nothing_to_hold(dashboard: Running) -> None:
    async with dashboard(readings=0) as (app, pilot, _):
        await pilot.press("space")
        assert [note.message for note in app._notifications] == ["there is no reading yet"]


@pytest.mark.parametrize("key", slow_but(["m", "n"], ["m", "f", "e", "d", "n"]))
async def test_the_past_is_not_changed(dashboard: Running, key: str) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "space", key)
        assert len(app.screen_stack) == 1
        assert "can't be changed" in next(iter(app._notifications)).message
        assert link.asked == []


async def test_an_engine_that_went_is_seen_while_the_past_is_looked_at(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("space")
        link.now += 20
        app.draw_now()
        await pilot.pause()
        assert "now stale" in screen_text(app)


async def test_a_held_view_is_not_drawn_again_for_readings_behind_it(
    dashboard: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "space")
        monkeypatch.setattr(QueuesView, "draw", lambda view: drawn.append(view))
        play(link, 21, 40)
        app._draw_changed()
        assert drawn == []
        await pilot.press("space")
        assert 1 <= len(drawn) <= 2  # at once, and again where a drawing was due


@pytest.mark.slow
async def test_a_moment_that_cannot_be_unpacked_does_not_end_the_dashboard(
    dashboard: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> Stats:
        raise PackingError("damaged")

    async with dashboard(readings=40) as (app, pilot, _):
        monkeypatch.setattr(archive, "unpack_key", damaged)
        monkeypatch.setattr(archive, "unpack_delta", damaged)
        await pilot.press("space")
        for number, _ in enumerate(VIEWS, 1):
            await pilot.press("comma", str(number))
            await pilot.pause()
            assert " missed" in screen_text(app).splitlines()[0]
        assert app.model.snapshot.stats is None
        await pilot.press("space")
        assert app.model.snapshot.stats is not None


async def test_space_holds_a_host_of_two_adapters(dashboard: Running) -> None:
    names = ("nic0", "nic1")
    async with dashboard(live_link(adapters=names)) as (app, pilot, link):
        for seq in (1, 2, 3):
            stats, other = make_stats(seq, adapters=names), make_stats(seq * 5)
            adapters = stats.adapters | {"nic1": other.adapters["nic0"]}
            link.publish("hv01", stats=msgspec.structs.replace(stats, adapters=adapters))
            app.draw_now()
        await pilot.press("space", "comma", "full_stop")
        held = app.model.snapshot.stats
        assert held is not None
        assert msgspec.msgpack.encode(held) == msgspec.msgpack.encode(link.views["hv01"].stats)
        assert app.model.missed == 0


async def test_what_is_past_is_not_called_now(dashboard: Running) -> None:
    async with dashboard(readings=40, size=(120, 40)) as (app, pilot, _):
        await pilot.press("4", "down")
        assert "free now" in screen_text(app)
        await pilot.press("space")
        assert "free then" in screen_text(app)
        assert "free now" not in screen_text(app)
        await pilot.press("6")
        text = screen_text(app)
        assert "1 min before" in text
        assert "min ago" not in text
