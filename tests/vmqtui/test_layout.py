"""How columns share the room of a table: names before numbers, numbers before pictures."""

from collections import Counter
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, ConsoleOptions, RenderResult
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

from engine.view.rows import QueueView
from tests.slow import slow_but
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.hosts import SHAPES, link_to, snapshot_of
from tests.vmqtui.scripted import live_link, make_stats
from vmqtui.actions import VIEWS
from vmqtui.app import VmqApp
from vmqtui.columns import COLUMNS, Column
from vmqtui.columns.layout import Layout, lay_out
from vmqtui.dialogs.texts import Once, TextDialog
from vmqtui.draw import cells_of, width_of
from vmqtui.widgets.queue_panels import queue_memory
from vmqtui.widgets.table import LiveTable

rooms = st.integers(56, 220)
hosts = st.sampled_from(list(SHAPES))
tables = st.sampled_from([table for table in COLUMNS if table != "hosts"])


@cache
def needs_of(host: str, table: str) -> dict[str, int]:
    """The cells of the widest text of every column, over all rows."""
    rows = snapshot_of(host).rows(table)
    return {
        column.key: max(column.need(row) for row in rows)
        for column in COLUMNS[table]
        if rows and not column.is_drawn
    }


def names_things(column: Column[Any]) -> bool:
    return not (column.is_drawn or column.is_measure or column.prose)


def is_cut(column: Column[Any], width: int, needs: dict[str, int]) -> bool:
    return not column.is_drawn and needs.get(column.key, 0) > width


def taken(layout: Layout) -> int:
    return sum(width + layout.gap for _, width in layout.columns) - layout.gap


@given(host=hosts, table=tables, room=rooms)
def test_no_name_is_cut_while_a_picture_or_a_lesser_number_takes_room(
    host: str, table: str, room: int
) -> None:
    needs = needs_of(host, table)
    shown = lay_out(COLUMNS[table], room, needs).columns
    if any(names_things(column) and is_cut(column, width, needs) for column, width in shown):
        assert not [
            column.key
            for column, _ in shown
            if column.priority > 0 and (column.is_drawn or column.is_measure)
        ]


@given(host=hosts, table=tables, room=rooms)
def test_nothing_is_cut_beside_empty_space(host: str, table: str, room: int) -> None:
    needs = needs_of(host, table)
    layout = lay_out(COLUMNS[table], room, needs)
    if any(is_cut(column, width, needs) for column, width in layout.columns):
        assert taken(layout) == room
        assert layout.gap == 1
    assert taken(layout) <= room


@given(host=hosts, table=tables, room=rooms)
def test_no_sentence_is_cut_for_pictures_and_minor_numbers_without_which_it_is_whole(
    host: str, table: str, room: int
) -> None:
    needs = needs_of(host, table)
    layout = lay_out(COLUMNS[table], room, needs)
    lesser = sum(
        width + layout.gap
        for column, width in layout.columns
        if (column.is_drawn and column.priority > 0) or (column.is_measure and column.priority > 2)
    )
    cut = sum(needs[column.key] - width for column, width in layout.columns if is_cut(column, width, needs))
    assert cut == 0 or cut > lesser


@given(host=hosts, table=tables, room=rooms)
def test_headings_and_numbers_are_always_whole(host: str, table: str, room: int) -> None:
    needs = needs_of(host, table)
    for column, width in lay_out(COLUMNS[table], room, needs).columns:
        assert len(column.title) <= width
        assert not (column.is_measure and is_cut(column, width, needs))


@given(host=hosts, room=st.integers(116, 220))
def test_a_wide_terminal_shows_who_a_queue_is_in_full(host: str, room: int) -> None:
    needs = needs_of(host, "queues")
    shown = {column.key: width for column, width in lay_out(COLUMNS["queues"], room, needs).columns}
    for key in ("queue_id", "mac", "vlan", "processor"):
        assert shown[key] >= needs[key]
    assert {"vm", "state_glyph", "pps", "drops_per_second"} <= shown.keys()


@pytest.mark.parametrize(
    "size", slow_but([(120, 40)], [(80, 24), (120, 40), (200, 60)]), ids=lambda size: f"{size[0]}x{size[1]}"
)
@pytest.mark.parametrize(
    "host", slow_but(["ten queues with long names"], [host for host in SHAPES if host != "1,024 queues"])
)
async def test_tables_on_the_screen_keep_to_it(dashboard: Running, host: str, size: tuple[int, int]) -> None:
    async with dashboard(link_to(host), size=size) as (app, pilot, _):
        seen = set()
        for number in range(1, len(VIEWS) + 1):
            await pilot.press(str(number))
            await pilot.pause()
            for table in app.screen.query(LiveTable):
                if table in app.screen._compositor.visible_widgets:
                    keep_to_it(table)
                    seen.add(table.id)
        assert len(seen) >= 9


WANTED_AT_80 = {
    "default-top": {"mac", "vlan", "vm", "reason", "queue_id", "pps"},
    "default-near": {"mac", "vlan", "wanted_vlan", "place", "queue_id"},
    "filters-table": {"filter_id", "queue_id", "vm", "mac", "vlan", "matches_per_second"},
    "advice-table": {"severity", "lost_frames", "unseen_s", "says", "value", "after"},
}
"""The columns for which each of these tables is opened: who a row is, and what is wrong with it."""


@pytest.mark.parametrize("host", ["a lab", "two adapters"])
async def test_80_columns_show_who_a_row_is_and_what_is_wrong_with_it(dashboard: Running, host: str) -> None:
    async with dashboard(link_to(host), size=(80, 24)) as (app, pilot, _):
        for view in ("3", "6", "8"):
            await pilot.press(view)
            await pilot.pause()
            for table in app.screen.query(LiveTable):
                if table in app.screen._compositor.visible_widgets:
                    wanted = WANTED_AT_80.get(table.id or "", set())
                    if host == "two adapters":  # whose names are long
                        wanted = wanted - {"unseen_s"} | {"adapter"}
                    shown = {column.key for column, _ in table._fit_columns().columns}
                    assert table.id not in WANTED_AT_80 or wanted <= shown, table.id


@pytest.mark.slow
async def test_events_on_the_overview_name_their_queue_in_full(dashboard: Running) -> None:
    vms = SHAPES["ten queues with long names"].vms
    link = live_link(vms=vms)
    link.publish("hv01", stats=make_stats(4, vms=vms))
    async with dashboard(link, size=(120, 40)) as (app, _, _):
        assert f" drops begin {vms[7][0]} every" in " ".join(screen_text(app).split())


def keep_to_it(table: LiveTable) -> None:
    """In what is drawn: no name is cut beside a picture, nothing beside empty space."""
    layout = table._fit_columns()
    drawn = any(column.is_drawn and column.priority > 0 for column, _ in layout.columns)
    for y, row in enumerate(table.rows[table.scroll_offset.y :][: table.size.height - 1], 1):
        for column, width in layout.columns:
            if column.is_drawn or column.need(row) <= width:
                continue
            assert not (drawn and names_things(column)), (table.id, column.key)
            assert taken(layout) == table._room, (table.id, column.key)
        assert width_of(table._line(y)[1]) <= table.size.width
    for column, width in layout.columns:
        assert cells_of(column.title) <= width, (table.id, column.key)


@given(host=hosts, room=rooms, always=st.booleans())
def test_a_trend_is_shown_only_beside_its_number(host: str, room: int, always: bool) -> None:
    for table, number in (("queues", "pps"), ("cpus", "load")):
        columns, needs = COLUMNS[table], needs_of(host, table)
        chosen = frozenset({"trend"}) if always else frozenset()
        shown = [column.key for column, _ in lay_out(columns, room, needs, always=chosen).columns]
        assert "trend" not in shown or number in shown
        shown = [
            column.key for column, _ in lay_out(columns, room, needs, frozenset({number}), chosen).columns
        ]
        assert "trend" not in shown


@given(hosts, st.integers(76, 120))
def test_the_sign_of_fewest_free_buffers_loses_its_words_before_they_are_cut(host: str, width: int) -> None:
    for row in snapshot_of(host).rows("queues"):
        assert isinstance(row, QueueView)
        heading = queue_memory(row, width, False, "now")[0]
        text = "".join(text for text, _ in heading)
        assert "┃" not in text or text.endswith((" ┃", " ┃ low-water mark")) or len(row.label) > 20


@given(hosts, tables, rooms)
def test_no_number_or_name_is_left_out_beside_room_for_it(host: str, table: str, room: int) -> None:
    needs = needs_of(host, table)
    layout = lay_out(COLUMNS[table], room, needs)
    shown = {column.key for column, _ in layout.columns}
    for column in COLUMNS[table]:
        if column.key in shown or column.is_drawn or column.prose or column.priority >= 10:
            continue
        need = max(needs.get(column.key, column.width), len(column.title))
        assert not layout.whole or need + layout.gap > room - taken(layout), column.key


async def test_a_start_styles_no_widget_again_for_what_was_known_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    styled = Counter[DOMNode]()
    apply = Stylesheet.apply

    def counted(sheet: Stylesheet, node: DOMNode, **options: Any) -> None:
        styled[node] += 1
        apply(sheet, node, **options)

    monkeypatch.setattr(Stylesheet, "apply", counted)
    app = VmqApp(live_link())
    async with app.run_test(size=(120, 40)):
        assert max(styled.values()) <= 3, styled.most_common(5)


class _Counted:
    """A hundred lines that count how often they are rendered."""

    renderings = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.renderings += 1
        yield "line\n" * 100


async def test_a_long_text_is_rendered_once_for_a_width_so_that_no_reading_waits() -> None:
    counted = _Counted()
    text = Once(counted)
    app = VmqApp(live_link())
    async with app.run_test(size=(120, 40)) as pilot:
        dialog = TextDialog("A long text", lambda: text)
        app.push_screen(dialog)
        await pilot.press("pagedown", "up")
        dialog.draw()
        await pilot.pause()
        assert counted.renderings <= 2  # with and without room for a scroll bar
