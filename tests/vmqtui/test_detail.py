"""The detail pane beside the tables of a wide screen: it follows the cursor and the moment shown."""

import re

import msgspec
import pytest
from textual.containers import Container

from tests.vmqtui import measured_hosts
from tests.vmqtui.conftest import Running, same_as_snapshot, screen_text
from tests.vmqtui.scripted import EVENTS, SECOND, live_link, make_stats, play
from tests.vmqtui.test_measured import feed, link_to
from vmqtui.actions import VIEWS
from vmqtui.actions.action import DETAILED_VIEWS
from vmqtui.app import VmqApp
from vmqtui.dashboard import Dashboard
from vmqtui.state.model import Model
from vmqtui.views.detail import DetailPane, RowFacts

NUMBER = {view: str(number) for number, view in enumerate(VIEWS, 1)}


def pane(app: VmqApp) -> str:
    """What the pane of the view on the screen says, a line each; "" if there is none."""
    panes = [one for one in app.screen.query(DetailPane) if one.is_on_screen and one.size]
    if not panes:
        return ""
    (one,) = panes
    x, y, width, height = one.region
    return "\n".join(line[x : x + width] for line in screen_text(app).splitlines()[y : y + height])


def test_values_of_a_row_stand_side_by_side_where_they_fit() -> None:
    model = Model(live_link(), "hv01")
    model.take()
    play(model.link, 1, 8)  # type: ignore[arg-type]  # it is a scripted link
    model.take()
    facts = RowFacts(model, "facts")
    facts.row, facts.table = model.snapshot.filters[0], "filters"
    for width, lines in ((60, 5), (30, 8)):
        painted = facts.paint(width, 0)
        assert len(painted) == lines
        assert max(sum(len(text) for text, _ in line) for line in painted) <= width
    near = next(one for one in model.snapshot.top if one.near)
    facts.row, facts.table = near, "top"
    assert "the VLAN is not the one" in "".join(text for line in facts.paint(80, 0) for text, _ in line)


@pytest.mark.slow
@pytest.mark.parametrize("view", sorted(DETAILED_VIEWS))
@pytest.mark.parametrize("size", [(160, 40), (240, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_pane_of_every_view(dashboard: Running, view: str, size: tuple[int, int]) -> None:
    async with dashboard(size=size, readings=60) as (app, pilot, _):
        await pilot.press(NUMBER[view], "down")
        await pilot.pause()
        same_as_snapshot(f"pane-{view}-{size[0]}x{size[1]}", screen_text(app))


@pytest.mark.slow
async def test_pane_follows_the_cursor_and_the_held_moment(dashboard: Running) -> None:
    async with dashboard(size=(200, 60)) as (app, pilot, link):
        await pilot.press("2")
        await pilot.pause()
        assert "Queue 0 of nic0 · default" in pane(app)
        await pilot.press(*["down"] * 7)
        await pilot.pause()
        text = pane(app)
        assert "Queue 7 of nic0 · file-01" in text
        assert "00:15:5d:00:00:07" in text  # its filter
        assert "every buffer of file-01 is outstanding" in text  # its last event
        await pilot.press("space")
        await pilot.pause()
        held = pane(app)
        link.publish("hv01", stats=make_stats(40))
        app.draw_now()
        await pilot.pause()
        assert pane(app) == held
        await pilot.press("space")
        await pilot.pause()
        assert pane(app) != held


@pytest.mark.slow
async def test_pane_of_a_pair_names_its_near_misses_and_their_queue(dashboard: Running) -> None:
    async with dashboard(size=(200, 60)) as (app, pilot, _):
        await pilot.press("6")
        await pilot.pause()
        assert "A switch port has this MAC and VLAN" in pane(app)
        assert "Near misses" not in pane(app)
        await pilot.press("down")
        await pilot.pause()
        text = pane(app)
        assert "filter 4 of sql-02" in text
        assert "Queue 4 of nic0 · sql-02" in text
        await pilot.press("tab")
        await pilot.press("tab")
        await pilot.pause()
        assert "Port of app-01" in pane(app)


@pytest.mark.slow
async def test_pane_of_an_event_of_a_freed_queue_shows_no_other_queue_of_its_id(dashboard: Running) -> None:
    async with dashboard(size=(200, 60)) as (app, pilot, link):
        await pilot.press("7", "down")
        await pilot.pause()
        assert "Event · drops begin" in pane(app)
        assert "Queue 7 of nic0" in screen_text(app)
        freed = msgspec.structs.replace(
            EVENTS[1], seq=9, time_ns=EVENTS[1].time_ns + SECOND, event="queue_freed"
        )
        link.publish("hv01", events=(*EVENTS, freed))  # the configuration has another queue 7
        app.draw_now()
        await pilot.pause()
        assert "Event · drops begin" in pane(app)
        assert "Queue 7" not in pane(app)
        assert "pkt/s" not in pane(app)


@pytest.mark.slow
async def test_pane_is_put_away_and_stays_away_in_every_view(dashboard: Running) -> None:
    async with dashboard(size=(160, 40)) as (app, pilot, _):
        await pilot.press("2")
        await pilot.pause()
        assert pane(app)
        await pilot.press("p")
        await pilot.pause()
        assert not pane(app)
        await pilot.press("3")
        await pilot.pause()
        assert not pane(app)
        await pilot.press("p")
        await pilot.pause()
        assert "Filter 1 of nic0" in pane(app)


@pytest.mark.slow
async def test_below_160_columns_there_is_no_pane_and_its_key_says_so(dashboard: Running) -> None:
    async with dashboard(size=(159, 40)) as (app, pilot, _):
        await pilot.press("2")
        await pilot.pause()
        assert not pane(app)
        assert not any(one.children for one in app.screen.query(DetailPane))  # nothing is made for it
        assert " pane" not in screen_text(app).splitlines()[-1]
        await pilot.press("p")
        await pilot.pause()
        assert any("needs 160 columns; this terminal has 159" in one.message for one in app._notifications)
        await pilot.resize_terminal(160, 40)
        await pilot.pause()
        assert "Queue 0 of nic0" in pane(app)
        assert "p pane" in screen_text(app).splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("host", ["rings", "vm_queues"])
async def test_pane_of_a_measured_host_shows_what_is_unknown_as_unknown(
    dashboard: Running, host: str
) -> None:
    measured = getattr(measured_hosts, host)()
    async with dashboard(link_to(measured), size=(200, 60)) as (app, pilot, link):
        feed(app, link, measured)
        for view in sorted(DETAILED_VIEWS):
            await pilot.press(NUMBER[view], "end")
            await pilot.pause()
        await pilot.press("2", "end", *(["up"] * 2 if host == "rings" else []))
        await pilot.pause()
        text = pane(app)
        assert "eth0 vf 1" in text or "backup-01" in text
        assert "CPU –" in text
        assert "not known: steered, received, dropped" in text
        assert re.search(r"pkt/s≈? +– ", text)
        assert not re.search(
            r"(?<![\w.:-])0(?![\w:])", text.partition("not known")[2].partition("Filters")[0]
        )


@pytest.mark.slow
async def test_pane_follows_the_focus_between_tables(dashboard: Running) -> None:
    async with dashboard(size=(200, 60)) as (app, pilot, _):
        await pilot.press("5")
        await pilot.pause()
        assert "web-01" in pane(app).splitlines()[0]
        await pilot.press("down", "tab")  # the queues of processor 0:3
        await pilot.pause()
        assert "mail-01" in pane(app).splitlines()[0]
        assert isinstance(app.screen.query_one("#processors-side"), Container)


async def test_a_reading_that_comes_while_the_screen_closes_is_not_drawn(
    dashboard: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its widgets go one by one: half a view can't be drawn."""
    drawn = []

    def draw(screen: Dashboard) -> None:
        app = screen.app
        assert isinstance(app, VmqApp)
        app.draw_now()
        drawn.append(screen)

    monkeypatch.setattr(Dashboard, "on_unmount", draw)
    async with dashboard(size=(200, 60)) as (_, pilot, _link):
        await pilot.press("2")
    assert drawn
