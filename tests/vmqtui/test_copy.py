"""Copying rows and cells to the terminal's clipboard."""

import base64
import csv
import io

import pytest

from engine.telemetry.config import Config
from tests.vmqtui.conftest import Running
from tests.vmqtui.dialogs import closed, notes, opened
from tests.vmqtui.scripted import live_link, make_config, make_stats, play, with_queue
from vmqtui.columns import COLUMNS
from vmqtui.columns.export import as_csv, as_line, as_lines
from vmqtui.state.snapshot import Snapshot
from vmqtui.view_actions import COPY_LIMIT_BYTES
from vmqtui.widgets.table import LiveTable

HOSTILE = "=a\tb\x1b]52;c;eA==\x07\nc"


def moment(config: Config) -> Snapshot:
    return Snapshot("hv01", None, config, make_stats(8), make_stats(4))


def test_a_row_has_the_cells_that_csv_has() -> None:
    for row in moment(make_config()).queues:
        columns = COLUMNS["queues"]
        (_, cells) = csv.reader(io.StringIO(as_csv(columns, [row])))
        assert as_line(columns, row).split("\t") == cells


def test_rows_have_the_headings_and_the_cells_that_csv_has() -> None:
    columns, rows = COLUMNS["queues"], moment(make_config()).queues
    assert len(rows) > 1
    lines = [line.split("\t") for line in as_lines(columns, rows).split("\n")]
    assert lines == list(csv.reader(io.StringIO(as_csv(columns, rows))))


def test_a_name_with_control_characters_neither_separates_cells_nor_reaches_a_terminal() -> None:
    row = next(one for one in moment(with_queue(make_config(), 3, vm=HOSTILE)).queues if one.queue_id == 3)
    columns = [column for column in COLUMNS["queues"] if column.exported]
    line = as_line(columns, row)
    assert line.count("\t") == len(columns) - 1
    assert "'=a␉b␛]52;c;eA==␇␊c" in line
    assert line.replace("\t", "").isprintable()


@pytest.mark.slow
async def test_y_sends_the_row_and_says_so(dashboard: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard() as (app, pilot, _):
        written: list[str] = []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", written.append)
        await pilot.press("2", "down", "y")
        headings, cells = (line.split("\t") for line in app.clipboard.split("\n"))
        assert dict(zip(headings, cells, strict=True))["vm"] == "web-01"
        sent = next(one for one in written if one.startswith("\x1b]52;c;"))
        assert base64.b64decode(sent[7:-1]).decode() == app.clipboard
        assert (
            "of web-01, with headings, sent to the terminal's clipboard, which it may refuse (OSC 52)"
            in notes(app)
        )


@pytest.mark.slow
async def test_y_copies_the_marked_rows_also_those_that_the_filter_hides(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "down", "i", "i", "slash", *"id=1", "enter", "y")
        headings, *rows = (line.split("\t") for line in app.clipboard.split("\n"))
        assert [row[headings.index("queue_id")] for row in rows] == ["1", "2"]
        assert "of 2 marked rows, with headings, sent" in notes(app)
        await pilot.press("escape", "escape", "asterisk", "y")
        assert app.clipboard.count("\n") == len(app.screen.query_one("#queues-table", LiveTable).rows)


@pytest.mark.slow
async def test_a_cell_is_chosen_and_the_one_under_the_mouse_comes_first(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "down", "Y")
        await opened(pilot, app)
        await pilot.press("enter")
        await closed(pilot, app)
        assert app.clipboard == "1"  # its id
        await pilot.hover("#queues-table", offset=(9, 3))
        await pilot.press("Y")
        await opened(pilot, app)
        await pilot.press("enter")
        await closed(pilot, app)
        assert app.clipboard == "00:15:5d:00:00:01"
        assert "MAC of web-01 sent" in notes(app)


@pytest.mark.slow
async def test_more_than_fits_is_not_copied_and_said(dashboard: Running) -> None:
    link = live_link()
    config = make_config()
    link.views["hv01"].config = with_queue(config, 1, vm="x" * COPY_LIMIT_BYTES, name="long")
    play(link, 1, 4, revision=config.revision + 1)
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("2", "down", "y")
        assert app.clipboard == ""
        assert "nothing was copied" in notes(app)
        assert "where 65,536 fit" in notes(app)


@pytest.mark.slow
async def test_without_a_row_nothing_is_copied(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "slash", *"zzz", "enter", "y", "Y")
        assert app.clipboard == ""
        assert "the cursor is on no row" in notes(app)
