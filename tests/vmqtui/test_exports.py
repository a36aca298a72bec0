"""Files that the dashboard writes: what is in them, where they are, and what is said."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, flowing, notes, shown
from tests.vmqtui.scripted import live_link, make_config, make_stats, play
from vmqtui.app import VmqApp
from vmqtui.columns import COLUMNS
from vmqtui.columns.export import as_csv, cell
from vmqtui.command_actions import MOST_PATHS, file_called, paths_from
from vmqtui.preferences.model import Preferences, TableColumns
from vmqtui.state.snapshot import Snapshot
from vmqtui.view_actions import at_home, exports_directory, write_new


def written(directory: Path) -> list[Path]:
    """The files of a directory, by name."""
    return sorted(directory.iterdir())


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (67.26873599999999, "67.268736"),
        (0.1 + 0.2, "0.3"),
        (2 / 3, "0.666666667"),
        (0.00012345678912, "0.000123456789"),
        (123456.78901234, "123456.789"),
        (9999999999.4, "9999999999"),
        (-14.999999999999998, "-15"),
        (0.0, "0"),
        (2**63 + 1, str(2**63 + 1)),
        (float("inf"), "inf"),
    ],
)
def test_a_cell_has_nine_digits_of_what_is_computed_and_all_of_a_counter(value: float, written: str) -> None:
    assert str(cell(value)) == written


@pytest.mark.slow
async def test_csv_has_the_rows_order_and_columns_of_the_screen(dashboard: Running, tmp_path: Path) -> None:
    wanted = Preferences(exports=str(tmp_path), columns={"queues-table": TableColumns(hide=("mac", "share"))})
    async with dashboard(preferences=wanted) as (app, pilot, _):
        app.model.choices.change("queues-table", sort=("pps", True), filter="vm:web")
        # An attribute of the class that is there.
        app.screen.action_view("queues")  # type: ignore[attr-defined]
        await pilot.press("w")
        (path,) = written(tmp_path)
        assert path.name == "hv01-queues-20260101T000005Z.csv"
        assert f"2 rows, {len(COLUMNS['queues'])} columns" not in notes(app)
        assert f"columns of queues → {at_home(path)}" in notes(app)
        rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
        assert [row["vm"] for row in rows] == ["web-01", "web-02"]
        assert set(rows[0]) == {
            column.key
            for column in COLUMNS["queues"]
            if column.exported and column.key not in ("mac", "share")
        }
        assert float(rows[0]["pps"]) > float(rows[1]["pps"])


@pytest.mark.parametrize(
    ("keys", "table"), [("2", "queues"), ("3", "filters"), ("4", "buffers"), ("5", "cpus"), ("8", "advice")]
)
async def test_file_has_every_column_that_get_has(
    dashboard: Running, tmp_path: Path, keys: str, table: str
) -> None:
    """Whether or not a column is the same in every row, has room, or is drawn otherwise."""
    async with dashboard(size=(80, 24), preferences=Preferences(exports=str(tmp_path))) as (app, pilot, _):
        await pilot.press(keys, "w", "W")
        got = csv.reader(io.StringIO(as_csv(COLUMNS[table], app.model.snapshot.rows(table, None))))
        as_table, as_document = written(tmp_path)
        with as_table.open(newline="", encoding="utf-8") as file:
            assert next(csv.reader(file)) == next(got)
        (*_, rows) = json.loads(as_document.read_text(encoding="utf-8")).values()
        assert all(list(row) == [one.key for one in COLUMNS[table] if one.exported] for row in rows)


async def test_choice_of_columns_says_why_one_is_not_shown(dashboard: Running) -> None:
    async with dashboard(size=(200, 60)) as (app, pilot, _):
        await pilot.press("2", "C")
        (adapter,) = [line for line in screen_text(app).splitlines() if " Adapter " in line and "·" in line]
        assert "· only one" in adapter
        await pilot.press("escape", "5", "C")
        assert "· elsewhere" in screen_text(app)


async def read_to_the_end(pilot: Pilot[None], app: VmqApp) -> str:
    """All that a text in a dialog shows, a page after the other."""
    pages = [""]
    while (page := screen_text(app)) != pages[-1]:
        pages.append(page)
        await pilot.press("pagedown")
    return "\n".join(pages)


@pytest.mark.parametrize(
    ("view", "name"), [("2", "queues"), ("5", "processors"), ("6", "default queue"), ("8", "advice")]
)
async def test_tables_go_by_the_name_of_their_view_in_messages_titles_and_files(
    dashboard: Running, tmp_path: Path, view: str, name: str
) -> None:
    async with dashboard(preferences=Preferences(exports=str(tmp_path))) as (app, pilot, _):
        await pilot.press(view, "w", "P")
        as_table, as_picture = written(tmp_path)
        assert as_table.name.startswith(f"hv01-{name.replace(' ', '-')}-2026")
        assert as_picture.stem == as_table.stem
        assert f"of {name} → {at_home(as_table)}" in notes(app)
        await pilot.press("C")
        assert f"Columns of {name}" in screen_text(app)
        await pilot.press("escape", "question_mark")
        assert f"Columns of {name}" in await read_to_the_end(pilot, app)


async def test_json_is_what_get_prints(dashboard: Running, tmp_path: Path) -> None:
    async with dashboard(preferences=Preferences(exports=str(tmp_path))) as (_, pilot, _link):
        await pilot.press("3", "W")
        (path,) = written(tmp_path)
        made = json.loads(path.read_text(encoding="utf-8"))
        assert made["schema"] == "vmq.get.filters/1"
        assert (made["host"], made["sim_time_ns"]) == ("hv01", 5_000_000_000)
        assert made["filters"][1]["mac"] == "00:15:5d:00:00:02"
        assert made["filters"][1]["vlan"] == 20


async def test_picture_is_whole_and_asks_for_nothing_from_outside(dashboard: Running, tmp_path: Path) -> None:
    async with dashboard(preferences=Preferences(exports=str(tmp_path))) as (app, pilot, _):
        await pilot.press("P")
        (path,) = written(tmp_path)
        text = path.read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert "@font-face" not in text
        assert "web-01" in text
        assert f"a picture of the screen → {at_home(path)}" in notes(app)


async def test_nothing_is_written_over(dashboard: Running, tmp_path: Path) -> None:
    async with dashboard(preferences=Preferences(exports=str(tmp_path))) as (_, pilot, _link):
        await pilot.press("2", "w", "w")
        assert [path.name for path in written(tmp_path)] == [
            "hv01-queues-20260101T000005Z-2.csv",
            "hv01-queues-20260101T000005Z.csv",
        ]


async def give(pilot: Pilot[None], app: VmqApp, text: str) -> None:
    """Enter a command."""
    await pilot.press("colon")
    app.screen.query_one("#command-input", Input).value = text
    await pilot.press("enter")
    await pilot.pause()


async def test_file_of_a_command_is_written_and_replaced_only_if_that_is_chosen(
    dashboard: Running, tmp_path: Path
) -> None:
    file = tmp_path / "my [b]files.csv"
    async with dashboard() as (app, pilot, _):
        await pilot.press("3")
        await give(pilot, app, f'export csv "{file}"')
        assert f"of filters → {at_home(file)}" in notes(app)
        filters = file.read_text(encoding="utf-8")
        assert "matched_frames" in filters.splitlines()[0]
        await pilot.press("2")
        await give(pilot, app, f'export csv "{file}"')
        await shown(pilot, app, "my [b]files.csv is there already")
        await pilot.press("enter")
        await closed(pilot, app)
        assert file.read_text(encoding="utf-8") == filters
        await give(pilot, app, f'export csv "{file}"')
        await shown(pilot, app, "is there already")
        await pilot.press("down", "enter")
        await closed(pilot, app)
        assert "queue_id" in file.read_text(encoding="utf-8").splitlines()[0]
        assert file.read_text(encoding="utf-8") != filters
        await give(pilot, app, f"screenshot {tmp_path}/a.svg")
        ElementTree.fromstring((tmp_path / "a.svg").read_text(encoding="utf-8"))
        await give(pilot, app, f"export json {tmp_path}")
        assert "that is a directory; name a file in it" in flowing(app)
        await pilot.press("escape")
        await give(pilot, app, f"export json {tmp_path}/none/a.json")
        assert f"nothing was written: {tmp_path}/none/a.json: No such file or directory" in notes(app)
        assert written(tmp_path) == [tmp_path / "a.svg", file]


def test_paths_are_completed_from_what_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("out/a.csv", "out/b.csv", ".hidden", "other"):
        (tmp_path / name).write_text("")
    assert paths_from("") == ["other", "out/"]
    assert paths_from("OUT") == ["out/"]
    assert paths_from("out/") == ["out/a.csv", "out/b.csv"]
    assert paths_from("~/out/b") == ["~/out/b.csv"]
    assert paths_from(".h") == [".hidden"]
    assert paths_from("nowhere/") == paths_from("a\0b/") == []
    assert file_called("~/new.csv") == tmp_path / "new.csv"
    for wrong in ("~/out", "x" * 300):
        with pytest.raises(ValueError, match=r"."):
            file_called(wrong)


def test_paths_of_a_large_directory_are_completed_in_part(tmp_path: Path) -> None:
    for number in range(MOST_PATHS + 10):
        (tmp_path / f"{number}").touch()
    assert len(paths_from(f"{tmp_path}/")) == MOST_PATHS


async def test_directory_that_can_not_be_written_is_said(dashboard: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    async with dashboard(preferences=Preferences(exports=str(file / "exports"))) as (app, pilot, _):
        await pilot.press("w")
        assert f"nothing was written: {file / 'exports'}" in notes(app)


def test_unknown_is_empty_and_formulas_are_not_obeyed() -> None:
    vms = (("default", None, 0, 5), ("=cmd()", "-2+3", 1, 5))
    snapshot = Snapshot("hv01", config=make_config(vms), stats=make_stats(1, vms))
    columns = COLUMNS["queues"]
    (_, row) = list(csv.DictReader(as_csv(columns, snapshot.queues).splitlines()))
    assert row["vm"] == "'-2+3"
    assert row["pps"] == ""


def test_names_of_files_hold_nothing_of_other_directories(tmp_path: Path) -> None:
    path = write_new(tmp_path / "new", "../../etc/pass wd", "csv", "x")
    assert path.parent == tmp_path / "new"
    assert path.read_text() == "x"


def test_home_is_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert exports_directory("~/vmq") == tmp_path / "vmq"
    assert exports_directory(None).name == "exports"


async def test_export_before_the_first_reading_is_an_empty_table(dashboard: Running, tmp_path: Path) -> None:
    link = live_link()
    async with dashboard(link, preferences=Preferences(exports=str(tmp_path))) as (_, pilot, _link):
        await pilot.press("7", "w")
        (path,) = written(tmp_path)
        assert "event" in path.read_text(encoding="utf-8").splitlines()[0]


async def test_dashboard_in_a_browser_writes_no_file(dashboard: Running, tmp_path: Path) -> None:
    preferences = Preferences(exports=str(tmp_path))
    async with dashboard(preferences=preferences, writes_files=False) as (app, pilot, _):
        await pilot.press("w", "W", "P")
        await pilot.pause()
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert not {"Write table, CSV", "Write table, JSON", "Write a picture"} & titles
        assert written(tmp_path) == []


@pytest.mark.slow
async def test_the_message_of_a_file_has_its_path_on_one_line_also_on_a_small_screen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    exports = tmp_path / ".local/share/vmqtui/exports"
    link = live_link()
    app = VmqApp(link, preferences=Preferences(exports=str(exports)))
    app.animation_level = "none"
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        play(link, 1, 8)
        app.draw_now()
        await pilot.press("2", "W")
        (path,) = written(exports)
        path_at_home = at_home(path)
        assert path_at_home.startswith(str(Path("~") / ".local"))
        await shown(pilot, app, path_at_home)
        assert any(path_at_home in line for line in screen_text(app).splitlines())
