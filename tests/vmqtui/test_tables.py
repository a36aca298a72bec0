"""Live tables by their keys: filter, order, columns, deltas; each view keeps its own."""

import msgspec
import pytest
from textual.events import Key
from textual.pilot import Pilot

from engine.telemetry.config import Config, FilterConfig
from engine.telemetry.stats import known
from engine.view.rows import QueueView
from tests.slow import slow_but
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.scripted import EVENTS, live_link, mac, make_config, make_stats, play, with_queue
from vmqtui.app import VmqApp
from vmqtui.widgets.bars import FilterBar
from vmqtui.widgets.table import LiveTable


def table(app: VmqApp, widget_id: str = "queues-table") -> LiveTable:
    return app.screen.query_one(f"#{widget_id}", LiveTable)


def labels(app: VmqApp, widget_id: str = "queues-table") -> list[str]:
    return [getattr(row, "label", "") for row in table(app, widget_id).rows]


async def typed(pilot: Pilot[None], text: str) -> None:
    for character in text:
        await pilot.press({":": "colon", ">": "greater_than_sign", " ": "space"}.get(character, character))
    await pilot.pause()


async def test_filter_works_while_it_is_typed_and_is_kept_by_enter(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "slash")
        await typed(pilot, "vm:sq")
        assert labels(app) == ["sql-01", "sql-02"]
        assert "2 of 13" in screen_text(app)
        await pilot.press("down")
        assert getattr(table(app).row, "label", "") == "sql-02"
        await pilot.press("enter")
        assert app.screen.focused is table(app)
        assert not app.screen.query_one(FilterBar).open
        assert "Queues 2 of 13 · /vm:sq" in screen_text(app)
        play(link, 21, 24)
        app.draw_now()
        assert labels(app) == ["sql-01", "sql-02"]


async def test_a_filter_typed_ahead_is_a_filter_and_no_commands(dashboard: Running) -> None:
    """On a slow line, or pasted, all its keys come in one read."""
    async with dashboard() as (app, pilot, _):
        await pilot.press("2")
        for character in "/drops>0\r":
            key = {"/": "slash", ">": "greater_than_sign", "\r": "enter"}.get(character, character)
            app.post_message(Key(key, character))
        await pilot.pause()
        assert app.model.choices.of("queues-table").filter == "drops>0"
        assert labels(app) == ["file-01"]
        assert app.model.past is None
        assert len(app.screen_stack) == 1
        await pilot.press("escape")
        assert len(labels(app)) == 13


@pytest.mark.slow
async def test_escape_drops_the_filter(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "slash")
        await typed(pilot, "drops>0")
        assert labels(app) == ["file-01"]
        await pilot.press("enter", "escape")
        await pilot.pause()
        assert len(labels(app)) == 13
        await pilot.press("slash", "w", "escape")
        await pilot.pause()
        assert len(labels(app)) == 13


@pytest.mark.slow
async def test_escape_drops_the_order_when_there_is_no_filter_to_drop(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2")
        as_they_come = labels(app)
        await pilot.press("s", "s", "slash")
        await typed(pilot, "-01")
        await pilot.press("enter")
        assert labels(app) != as_they_come
        await pilot.press("escape")
        assert len(labels(app)) == 13
        assert labels(app) != as_they_come
        await pilot.press("escape")
        assert labels(app) == as_they_come


@pytest.mark.slow
async def test_wrong_filter_is_said_in_words_and_hides_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "slash")
        await typed(pilot, "colour:red")
        assert "no column colour" in screen_text(app)
        assert len(labels(app)) == 13
        await pilot.press("enter")
        assert "/colour:red · not used: no column colour" in screen_text(app)


@pytest.mark.slow
async def test_filter_that_nothing_matches_says_so(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "slash")
        await typed(pilot, "nobody")
        await pilot.press("enter")
        assert "nothing matches nobody: 13 rows are hidden; Esc drops the search" in screen_text(app)
        assert table(app).row is None


@pytest.mark.slow
async def test_every_view_keeps_its_own_filter_and_order(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "slash", *"web", "enter", "r")
        await pilot.press("4")
        assert len(labels(app, "buffers-table")) == 13
        await pilot.press("2")
        assert labels(app) == ["web-02", "web-01"]


@pytest.mark.slow
async def test_columns_can_be_chosen_and_are_remembered_per_view(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2")
        assert "generation" not in [column.key for column in table(app).shown_columns]
        await pilot.press("C", "end", "space")  # the last column: generation
        await pilot.press("home", "down", "down", "space", "enter")  # the third: MAC
        await pilot.pause()
        keys = [column.key for column in table(app).shown_columns]
        assert "generation" in keys
        assert "mac" not in keys
        await pilot.press("1")
        await pilot.pause()
        assert "mac" in [column.key for column in table(app, "overview-queues").shown_columns]
        await pilot.press("2")
        await pilot.pause()
        assert " gen " in screen_text(app).splitlines()[4]
        await pilot.press("C", "r", "escape")
        await pilot.pause()
        assert "mac" in [column.key for column in table(app).shown_columns]


@pytest.mark.slow
async def test_a_column_is_sorted_by_from_the_chooser(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "C", "end", "s", "s", "enter")
        await pilot.pause()
        rows = [row for row in table(app).rows if isinstance(row, QueueView)]
        assert [row.generation for row in rows] == sorted((row.generation for row in rows), reverse=True)


async def test_deltas_are_counted_from_the_reset(dashboard: Running) -> None:
    async with dashboard(size=(200, 60)) as (app, pilot, link):
        await pilot.press("3", "Z")
        assert "Δ since 5.0s" in screen_text(app)
        column = next(one for one in table(app, "filters-table").columns if one.key == "matched_frames")
        assert [column.value(row) for row in table(app, "filters-table").rows] == [0] * 13
        play(link, 21, 24)
        app.draw_now()
        before, after = (
            known(make_stats(seq).adapters["nic0"].filters["matched_frames"])[0] for seq in (20, 24)
        )
        grown = after - before
        assert column.value(table(app, "filters-table").rows[0]) == grown
        assert "Δmatched" in screen_text(app)
        await pilot.press("z")
        assert "Δmatched" not in screen_text(app)
        assert "6.0s" in screen_text(app)


async def test_deltas_of_a_new_run_are_its_totals(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "Z")
        play(link, 1, 2)
        assert app.model.mark is None
        assert (
            app.model.snapshot.queues[1].since("steered_frames")
            == (make_stats(2).adapters["nic0"].queues["steered_frames"][1])
        )


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_columns_that_were_chosen_leave_last(dashboard: Running, size: tuple[int, int]) -> None:
    async with dashboard(live_link(), size=size) as (app, pilot, _):
        await pilot.press("2", "C", "end", "space", "enter")
        await pilot.pause()
        assert "generation" in [column.key for column in table(app).shown_columns]


def with_a_shadowed_filter() -> Config:
    """Filter 14 on queue 1 has no VLAN test, so filter 15 on queue 5 gets nothing; queue 9 is paused."""
    config = with_queue(make_config(), 9, state="paused")
    adapter = config.adapters[0]
    wide = FilterConfig(filter_id=14, queue_id=1, mac=mac(1), vlan=None, driver="vsp")
    lost = FilterConfig(filter_id=15, queue_id=5, mac=mac(1), vlan=30, driver="vsp")
    adapter = msgspec.structs.replace(adapter, filters=[*adapter.filters, wide, lost])
    return msgspec.structs.replace(config, adapters=[adapter])


async def test_filters_that_take_nothing_have_a_glyph_a_colour_and_a_reason(dashboard: Running) -> None:
    link = live_link()
    link.publish("hv01", stats=make_stats(8), config=with_a_shadowed_filter())
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("3")
        await pilot.pause()
        text = screen_text(app)
        assert "1 never matched · 1 shadowed · 1 on queues that don't run" in text
        lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("│ ")}
        assert "▲" in lines["15"]
        assert "shadowed" in lines["15"]
        assert "△" in lines["13"]
        assert "‖" in lines["10"]
        columns = {column.key: column for column in table(app, "filters-table").columns}
        rows = {getattr(row, "filter_id", 0): row for row in table(app, "filters-table").rows}
        for column in (columns["mark"], columns["note"]):
            assert column.level is not None
            assert [column.level(rows[number]) for number in (15, 13, 10, 1)] == [
                "bad",
                "warn",
                "warn",
                "dim",
            ]


async def test_cursor_stays_on_its_row_when_the_order_changes(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "down", "down", "down")
        table = app.screen.query_one("#queues-table", LiveTable)
        pinned = table.row.identity  # type: ignore[union-attr]  # None fails the test
        app.model.choices.change("queues-table", sort=("pps", True))
        app.draw_now()
        await pilot.pause()
        assert table.row is not None
        assert table.row.identity == pinned
        assert table.rows.index(table.row) == 3 or table.rows[3] is not table.row
        steady = {row.identity: row.pps for row in app.model.snapshot.steady.queues}
        rates = [steady[row.identity] for row in table.rows]
        assert rates == sorted(rates, key=lambda rate: -(rate or 0))


async def test_cursor_keeps_its_line_of_the_screen_in_a_long_table(dashboard: Running) -> None:
    vms = [("default", None, 0, 9), *((f"vm-{n}", f"vm-{n}", n, n * 100) for n in range(1, 300))]
    link = live_link(vms=vms)
    link.publish("hv01", stats=make_stats(3, vms=vms))
    link.publish("hv01", stats=make_stats(7, vms=vms))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("2", "pagedown", "pagedown")
        table = app.screen.query_one("#queues-table", LiveTable)
        line = table._cursor - table.scroll_offset.y
        row = table.row
        await pilot.press("r")
        await pilot.pause()
        assert row is not None
        assert table.row is not None
        assert table.row.identity == row.identity
        assert isinstance(row, QueueView)
        assert table._cursor == 299 - row.queue_id
        assert table._cursor - table.scroll_offset.y == line


async def test_row_that_returns_at_the_top_is_in_sight(dashboard: Running) -> None:
    vms = [("default", None, 0, 9), *((f"vm-{n}", f"vm-{n}", n, n * 100) for n in range(1, 300))]
    link = live_link(vms=vms)
    link.publish("hv01", stats=make_stats(3, vms=vms))
    link.publish("hv01", stats=make_stats(7, vms=vms))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("2")
        table = app.screen.query_one("#queues-table", LiveTable)
        every = table.rows
        table.show(every[1:])
        await pilot.press("home", "down")
        third = table.row
        table.show(every)
        await pilot.pause()
        assert third is every[2] is table.row
        assert table.scroll_offset.y == 0
        table.show([*every[3:30], *every[:3]])
        await pilot.pause()
        assert third is table.row
        assert table.scroll_offset.y == 0
        table.show([*every[3:], *every[:3]])
        await pilot.pause()
        assert third is table.row
        assert 0 < table._cursor - table.scroll_offset.y < table.size.height - 1


async def test_click_on_a_heading_sorts_then_reverses_then_leaves_rows_as_they_come(
    dashboard: Running,
) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2")
        table = app.screen.query_one("#queues-table", LiveTable)
        x = next(i for i in range(200) if (c := table._column_at(i)) is not None and c.key == "pps")
        await pilot.click(table, offset=(x + 1, 1))
        assert app.model.choices.of("queues-table").sort == ("pps", True)
        assert " ↓pkt/s " in screen_text(app)
        await pilot.click(table, offset=(x + 1, 1))
        await pilot.pause()
        assert app.model.choices.of("queues-table").sort == ("pps", False)
        assert " ↑pkt/s " in screen_text(app)
        await pilot.click(table, offset=(x + 1, 1))
        await pilot.pause()
        assert app.model.choices.of("queues-table").sort is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", slow_but([(120, 40)], [(80, 24), (120, 40), (200, 60)]), ids=lambda size: f"{size[0]}x{size[1]}"
)
async def test_headings_keep_their_names_and_places_whichever_is_sorted_by(
    dashboard: Running, size: tuple[int, int]
) -> None:
    async with dashboard(size=size) as (app, pilot, _):
        await pilot.press("2")
        await pilot.pause()
        table = app.screen.query_one("#queues-table", LiveTable)
        columns = table.shown_columns
        heading = screen_text(app).splitlines()[4]
        for column in columns:
            app.model.choices.change("queues-table", sort=(column.key, True))
            app.draw_now()
            await pilot.pause()
            assert table.shown_columns == columns
            under = screen_text(app).splitlines()[4]
            assert under.count("↓") == 1
            assert under.replace("↓", " ").rstrip() == heading.rstrip()


@pytest.mark.slow
async def test_measures_are_sorted_largest_first_and_names_from_a(dashboard: Running) -> None:
    async with dashboard(size=(200, 60)) as (app, pilot, _):
        await pilot.press("2", "p")
        await pilot.pause()
        table = app.screen.query_one("#queues-table", LiveTable)
        orders = {}
        for _ in table.shown_columns:
            await pilot.press("s")
            sort = app.model.choices.of("queues-table").sort
            assert sort is not None
            orders[sort[0]] = sort[1]
        names = {"queue_id", "mac", "vlan", "processor", "vm", "state", "name"}
        assert {key for key, largest_first in orders.items() if not largest_first} == names
        assert {"pps", "drops_per_second", "use_bar", "share", "pending"} <= orders.keys() - names


async def test_sort_keys_step_through_the_columns(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "s")
        assert app.model.choices.of("queues-table").sort == ("mac", False)
        await pilot.press("S", "S")
        shown = app.screen.query_one("#queues-table", LiveTable).shown_columns
        sort = app.model.choices.of("queues-table").sort
        assert sort is not None
        assert sort[0] == [c.key for c in shown if c.title][-1]


async def test_events_are_listed_newest_first(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("7")
        await pilot.pause()
        text = screen_text(app)
        assert text.index("bad request") < text.index("drops begin") < text.index("queue state")
        assert EVENTS[1].cause in text
