"""The screen as text: views, states and sizes, over fixed numbers and a fixed clock."""

import asyncio
import contextvars
import html
import os
import re

import msgspec
import pytest
from textual.app import ComposeResult
from textual.pilot import Pilot

from engine.bus.messages import Status
from tests.slow import slow_but
from tests.vmqtui.conftest import SNAPSHOTS, Running, same_as_snapshot, screen_text
from tests.vmqtui.dialogs import told
from tests.vmqtui.scripted import (
    ScriptedHost,
    ScriptedLink,
    live_link,
    make_config,
    make_stats,
    play,
)
from vmqtui.actions import VIEWS
from vmqtui.app import DRAW_PERIOD, VmqApp
from vmqtui.dashboard import Dashboard
from vmqtui.draw import Line, width_of
from vmqtui.widgets.header import Tabs
from vmqtui.widgets.panels import CpuPanel
from vmqtui.widgets.table import LiveTable

SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.mark.parametrize("size", slow_but([(120, 40)], SIZES), ids=lambda size: f"{size[0]}x{size[1]}")
async def test_views_of_a_live_host(dashboard: Running, size: tuple[int, int]) -> None:
    async with dashboard(size=size, readings=60) as (app, pilot, _):
        for number, view in enumerate(VIEWS, 1):
            await pilot.press(str(number))
            await pilot.pause()
            same_as_snapshot(f"{view}-live-{size[0]}x{size[1]}", screen_text(app))


@pytest.mark.parametrize("size", slow_but([(120, 40)], SIZES), ids=lambda size: f"{size[0]}x{size[1]}")
async def test_page_of_a_queue(dashboard: Running, size: tuple[int, int]) -> None:
    async with dashboard(size=size, readings=30) as (app, pilot, link):
        await pilot.press("2", *["down"] * 7, "enter")
        for seq in range(31, 61):
            link.publish("hv01", stats=make_stats(seq))
            app.draw_now()
        await pilot.pause()
        same_as_snapshot(f"queue-live-{size[0]}x{size[1]}", screen_text(app))


def _connecting() -> ScriptedLink:
    return ScriptedLink(progress="compiling kernels, once: 3 of 7")


def _empty() -> ScriptedLink:
    return ScriptedLink(connection="connected")


def _stale() -> ScriptedLink:
    link = live_link()
    link.publish("hv01", stats=make_stats(8))
    link.now += 7
    return link


def _offline() -> ScriptedLink:
    link = live_link()
    link.publish("hv01", stats=make_stats(8))
    link.views["hv01"].status = Status(state="offline")
    return link


STATES = {"connecting": _connecting, "empty": _empty, "stale": _stale, "offline": _offline}


@pytest.mark.parametrize("size", slow_but([(120, 40)], SIZES[:2]), ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", STATES)
async def test_overview_when_not_live(dashboard: Running, state: str, size: tuple[int, int]) -> None:
    async with dashboard(STATES[state](), size=size) as (app, _, _):
        text = screen_text(app)
        assert state in text
        same_as_snapshot(f"overview-{state}-{size[0]}x{size[1]}", text)


@pytest.mark.parametrize("size", slow_but([(120, 40)], SIZES), ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", slow_but(["stale"], STATES))
async def test_every_view_when_not_live(dashboard: Running, state: str, size: tuple[int, int]) -> None:
    """All views of a state stand in one file, one below the other."""
    async with dashboard(STATES[state](), size=size) as (app, pilot, _):
        screens = []
        for number, view in enumerate(VIEWS, 1):
            await pilot.press(str(number))
            await pilot.pause()
            screens.append(f"=== {view}\n{screen_text(app)}")
        await pilot.press("2", "enter")
        await pilot.pause()
        screens.append(f"=== one queue\n{screen_text(app)}")
        same_as_snapshot(f"views-{state}-{size[0]}x{size[1]}", "".join(screens))


@pytest.mark.parametrize("view", slow_but(["overview", "queue", "advice"], [*VIEWS, "queue"]))
async def test_picture_of_a_view(dashboard: Running, view: str) -> None:
    """Text, place and style of everything in the SVG; how it is written may change with Textual."""
    async with dashboard(size=(80, 24), readings=60) as (app, pilot, _):
        keys = ["2", "down", "enter"] if view == "queue" else [str(list(VIEWS).index(view) + 1)]
        await pilot.press(*keys)
        await pilot.pause()
        picture = app.export_screenshot(title="vmqtui")
    path = SNAPSHOTS / f"{view}.svg"
    if os.environ.get("VMQTUI_UPDATE_SNAPSHOTS"):
        path.write_text(without_fonts(picture), encoding="utf-8", newline="\n")
    assert drawn(picture) == drawn(path.read_text(encoding="utf-8"))


def without_fonts(picture: str) -> str:
    """A picture that asks for nothing from outside."""
    return re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)


def drawn(picture: str) -> list[tuple[str, ...]]:
    """What an SVG shows: style, place and text of each piece."""
    styles = dict(re.findall(r"\.[\w-]+-(r\d+) \{ ([^}]*) \}", picture))
    pieces = re.findall(r'<text class="[\w-]+-(r\d+)" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)<', picture)
    assert pieces
    return [(styles[kind], x, y, html.unescape(text)) for kind, x, y, text in pieces]


async def test_reading_that_comes_before_the_screen_is_there_waits_for_it() -> None:
    link = live_link()
    app = VmqApp(link)
    drawn: list[bool] = []
    compose = Dashboard.compose

    def early(screen: Dashboard) -> ComposeResult:
        app.draw_now()
        drawn.append(True)
        return compose(screen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dashboard, "compose", early)
        async with app.run_test(size=(80, 24)):
            assert drawn
            assert "hv01" in screen_text(app)


async def test_broker_that_is_lost_is_said_with_its_reason(dashboard: Running) -> None:
    async with dashboard() as (app, _, link):
        link.connection, link.progress = "lost", "mqtt://broker: connection refused"
        link.notify()
        app.draw_now()
        assert "■ offline" in screen_text(app)
        assert "connection refused" in screen_text(app)


async def test_numbers_move_when_a_reading_arrives(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        before = screen_text(app)
        assert "sim 5.0s" in before
        play(link, 21, 24)
        async with asyncio.timeout(60):
            while "sim 6.0s" not in screen_text(app):
                await pilot.pause(0.02)


@pytest.mark.slow
async def test_hostile_names_are_shown_not_obeyed(dashboard: Running) -> None:
    vms = (("default", None, 0, 5), ("evil[red]\x1b[2J", "vm\u202e[bold]\nx", 1, 5))
    link = live_link(vms=vms)
    link.publish("hv01", stats=make_stats(3, vms=vms))
    async with dashboard(link, size=(200, 60)) as (app, pilot, _):
        for key in "2345":
            await pilot.press(key)
            await pilot.pause()
            text = screen_text(app)
            assert not {"\x1b", "\u202e"} & set(text)
        await pilot.press("2", "down", "m")
        await pilot.pause()
        assert "vm�[bold]␊x" in str(app.screen.query_one("#dialog").border_title).replace("\\", "")


@pytest.mark.parametrize("size", slow_but([(120, 40)], SIZES[:2]), ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("cpus", [8, 64, 256])
async def test_every_processor_is_on_the_overview(
    dashboard: Running, size: tuple[int, int], cpus: int
) -> None:
    link = live_link(cpus=cpus)
    async with dashboard(link, size=size) as (app, _, _):
        for seq in (4, 8):
            link.publish("hv01", stats=make_stats(seq, cpus=cpus))
        panel = app.screen.query_one("#overview-cpus", CpuPanel)
        lines = panel.paint(*panel.size)
        assert len(lines) <= panel.size.height
        assert all(width_of(line) <= panel.size.width for line in lines)
        named = sum(load_marks(line) for line in lines)
        crowded = (size, cpus) == ((80, 24), 256)  # a cell is the hottest of two
        assert named == (128 if crowded else cpus)


def load_marks(line: Line) -> int:
    """Processors that a line of the panel shows: by their percentage, their bar's gap, or their cell."""
    percentages = sum("%" in text for text, _ in line)
    if percentages:
        return percentages
    cells = "".join(text for text, _ in line[1:])
    return cells.count(" ") or len(cells)


async def test_a_team_is_named_in_the_header_and_the_chooser(dashboard: Running) -> None:
    link = live_link(adapters=("nic0", "nic1", "nic2"))
    config = make_config(adapters=("nic0", "nic1", "nic2"))
    first, second, alone = config.adapters
    teamed = [msgspec.structs.replace(one, team="team0", team_mode="sum") for one in (first, second)]
    link.publish("hv01", config=msgspec.structs.replace(config, adapters=[*teamed, alone]))
    link.publish("hv01", stats=make_stats(4, adapters=("nic0", "nic1", "nic2")))
    async with dashboard(link) as (app, pilot, _):
        assert "team0, sum of queues: 2 adapters · 1 other adapter" in screen_text(app)
        await pilot.press("a")
        assert "nic1  team0, sum of queues" in screen_text(app)
        await pilot.press("down", "enter")
        assert "nic0 in team0, sum of queues" in screen_text(app)


async def test_several_adapters_have_a_column_and_a_chooser(dashboard: Running) -> None:
    link = live_link(adapters=("nic0", "nic1"))
    link.publish("hv01", stats=make_stats(4, adapters=("nic0", "nic1")))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("2")
        assert "Adapter" in screen_text(app)
        assert "2 adapters" in screen_text(app)
        await pilot.press("a", "down", "down", "enter")
        await pilot.pause()
        assert app.model.choices.adapter == "nic1"
        assert "Adapter" not in screen_text(app)
        assert "Queues 13" in screen_text(app)


@pytest.mark.slow
async def test_another_host_can_be_chosen_and_is_asked_from_then_on(dashboard: Running) -> None:
    link = live_link()
    link.publish("hv01", stats=make_stats(3))
    link.views["hv02"] = ScriptedHost(
        Status(state="online", interval_ns=250_000_000), make_config(host="hv02"), make_stats(400), link.now
    )
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("h")
        await pilot.pause()
        text = screen_text(app)
        assert "Hosts of this broker" in text
        assert text.count("● live") == 3  # the screen's own, and two hosts
        link.publish("hv02", stats=make_stats(404))
        app.draw_now()
        await pilot.pause()
        assert "1.0" in screen_text(app)  # its rate is known by now
        await pilot.press("down", "enter")
        await pilot.pause()
        assert app.model.host == "hv02"
        assert "hv02" in screen_text(app).splitlines()[0]
        await pilot.press("2", "down", "c")
        await pilot.pause()
        link.answer()
        await pilot.press("enter")
        await pilot.pause()
        assert [host for host, _, _ in link.asked] == ["hv02"]


async def test_no_host_yet_is_said(dashboard: Running) -> None:
    async with dashboard(ScriptedLink()) as (app, pilot, _):
        await pilot.press("h")
        await pilot.pause()
        assert any("no host has reported yet" in note.message for note in app._notifications)


@pytest.mark.parametrize("size", slow_but([(59, 24)], [(59, 24), (80, 15), (20, 4), (1, 1)]))
async def test_a_terminal_that_is_too_small_says_what_it_needs_and_comes_back(
    dashboard: Running, size: tuple[int, int]
) -> None:
    async with dashboard(size=(60, 16)) as (app, pilot, _):
        await pilot.press("2", "down")
        await pilot.pause()
        before = screen_text(app)
        assert "needs" not in before
        await pilot.resize_terminal(*size)
        await pilot.pause()
        words = " ".join(screen_text(app).split())
        if size > (1, 1):
            assert words.startswith(
                f"The dashboard needs 60×16 cells; this terminal has {size[0]}×{size[1]}."
            )
        await pilot.press("m", "d", "enter")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await pilot.resize_terminal(60, 16)
        await pilot.pause()
        assert screen_text(app) == before
        assert app.screen.focused is app.screen.query_one("#queues-table")
        await pilot.press("q")
        await pilot.pause()
        assert app.return_code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys", [["2", "down", "e"], ["question_mark"], ["ctrl+p"]], ids=["edit", "help", "palette"]
)
async def test_a_dialog_waits_unseen_on_a_terminal_that_is_too_small(
    dashboard: Running, keys: list[str]
) -> None:
    async with dashboard(size=(80, 24)) as (app, pilot, _):
        await pilot.press(*keys)
        await until_still(pilot, app)
        before, focused = screen_text(app), app.focused
        await pilot.resize_terminal(50, 14)
        await pilot.pause()
        assert " ".join(screen_text(app).split()) == (
            "The dashboard needs 60×16 cells; this terminal has 50×14. Enlarge it, or leave with q."
        )
        await pilot.press("x", "escape", "tab", "down")
        await pilot.resize_terminal(80, 24)
        await until_still(pilot, app)
        assert (screen_text(app), app.focused) == (before, focused)
        await pilot.resize_terminal(50, 14)
        await pilot.press("q")
        await pilot.pause()
        assert app.return_code == 0


async def until_still(pilot: Pilot[None], app: VmqApp) -> None:
    """Wait until nothing on the screen changes from one pause to the next."""
    before = ""
    while (now := screen_text(app)) != before:
        before = now
        await pilot.pause()


async def test_click_on_a_tab_shows_its_view(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.click(Tabs, offset=(20, 0))
        await pilot.pause()
        assert app.screen.query_one(Tabs).view == "queues"


async def test_hidden_views_do_not_draw(dashboard: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str | None] = []
    real = LiveTable.show

    def spy(self: LiveTable, *args: object, **options: object) -> object:
        shown.append(self.id)
        return real(self, *args, **options)  # type: ignore[arg-type]  # options of any of its types

    monkeypatch.setattr(LiveTable, "show", spy)
    async with dashboard() as (app, pilot, _):
        await pilot.press("3")
        await pilot.pause()
        shown.clear()
        app.draw_now()
        assert shown == ["filters-table"]


async def test_theme_key_changes_the_colours(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        names = {app.theme}
        await pilot.press("t")
        names.add(app.theme)
        assert len(names) == 2


async def test_unknown_theme_is_said_and_the_default_used(dashboard: Running) -> None:
    async with dashboard(theme="pink") as (app, pilot, _):
        await pilot.pause()
        assert app.theme == "dark"
        assert any("no theme 'pink'" in note.message for note in app._notifications)


async def test_help_lists_every_action(dashboard: Running) -> None:
    async with dashboard(size=(120, 160)) as (app, pilot, _):
        await pilot.press("question_mark")
        await pilot.pause()
        text = screen_text(app)
        assert "Move queue to a CPU" in text
        assert "Columns of queues" in text
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


@pytest.mark.slow
async def test_home_and_end_scroll_help(dashboard: Running) -> None:
    async with dashboard(size=(80, 24)) as (app, pilot, _):
        await pilot.press("question_mark", "end")
        await pilot.pause()
        assert "Rates are of the last second" in screen_text(app)
        await pilot.press("home")
        await pilot.pause()
        assert "Show the next view." in screen_text(app)
        await pilot.press("escape")


@pytest.mark.slow
async def test_a_key_of_other_views_says_which(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("8", "m")
        await told(pilot, app, "Move queue to a CPU is for: Overview, Queues, Buffers, Processors")
        assert link.asked == []


async def test_details_of_a_row_follow_its_counters(dashboard: Running) -> None:
    async with dashboard(size=(120, 60)) as (app, pilot, link):
        await pilot.press("3", "down", "enter")
        await pilot.pause()
        before = screen_text(app)
        assert "matched_frames" in before
        play(link, 21, 30)
        app.draw_now()
        await pilot.pause()
        assert screen_text(app) != before


async def test_palette_offers_what_can_be_done_here(dashboard: Running) -> None:
    async with dashboard(read_only=True) as (app, _, _):
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "Help" in titles
        assert "Free queue" not in titles


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_leaves_cleanly(dashboard: Running, key: str) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press(key)
        await pilot.pause()
        assert app.return_code == 0
        assert not app.is_running or app._exit


async def test_ctrl_c_leaves_from_a_dialog_too(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "down", "f", "ctrl+c")
        await pilot.pause()
        assert app._exit


async def test_a_reading_that_comes_in_another_task_is_drawn_at_once(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.pause(3 * DRAW_PERIOD)  # what is due is drawn
        contextvars.Context().run(play, link, 21, 21)
        app._drawn_at = float("inf")  # now only that reading makes it draw
        async with asyncio.timeout(60):
            while app._drawn_at == float("inf"):
                await pilot.pause(0.01)
