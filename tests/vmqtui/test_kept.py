"""The state file: what was chosen on the screen stays, whatever else is in its place is said and ignored."""

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vmqtui.conftest import Running
from tests.vmqtui.dialogs import notes
from vmqtui.columns import COLUMNS
from vmqtui.columns.arrange import LIMIT
from vmqtui.preferences import kept as rooms
from vmqtui.preferences.file import ENVIRONMENT_VARIABLE
from vmqtui.preferences.kept import (
    LIMIT_BYTES,
    SCHEMA,
    Kept,
    KeptColumns,
    KeptTable,
    KeptTheme,
    StateFile,
    kept_of,
    state_path,
)
from vmqtui.preferences.model import PLACES, Preferences, TableColumns
from vmqtui.state.choices import MOST_HOSTS, Choices, Setting
from vmqtui.widgets.table import LiveTable

SPAN = Setting("span", (60, 300))
PANE = Setting("pane", (True, False))


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "SETTINGS", (SPAN, PANE))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vmqtui" / "config.state.json"


def written(path: Path, document: Any) -> StateFile:
    """The state file after a program or person wrote ``document`` into it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return StateFile(path)


def chosen() -> Choices:
    choices = Choices()
    choices.change("queues-table", sort=("pps", True), filter="web", always=frozenset({"dpcs"}))
    choices.set(SPAN, 300)
    choices.set(PANE, False, "queues")
    return choices


def keep(file: StateFile, kept: Kept) -> None:
    assert file.offer(kept)
    file.write()


def test_what_is_chosen_holds_at_the_next_start(path: Path) -> None:
    keep(StateFile(path), kept_of(chosen(), "light", Preferences()))
    again = StateFile(path)
    choices = Choices()
    again.kept.put_into(choices, Preferences())
    assert again.problem == ""
    assert again.kept.theme_over(Preferences()) == "light"
    assert choices.of("queues-table") == dataclasses.replace(chosen().of("queues-table"), filter="")
    assert (choices.setting(SPAN), choices.setting(PANE, "queues"), choices.setting(PANE, "filters")) == (
        300,
        False,
        True,
    )


def test_what_is_as_the_configuration_says_is_not_kept() -> None:
    preferences = Preferences(theme="light", columns={"queues-table": TableColumns(show=("dpcs",))})
    choices = Choices()
    Kept().put_into(choices, preferences)
    choices.set(SPAN, 60)
    assert kept_of(choices, "light", preferences) == Kept()


def test_a_configuration_edited_since_holds_where_it_was_edited() -> None:
    before = Preferences(theme="dark", columns={"filters-table": TableColumns(hide=("vlan",))})
    choices = chosen()
    choices.change("filters-table", never=frozenset())
    kept = kept_of(choices, "light", before)
    same = Choices()
    kept.put_into(same, before)
    assert (kept.theme_over(before), same.of("filters-table").never) == ("light", frozenset())
    edited = Preferences(
        theme="mono",
        columns={
            "queues-table": TableColumns(hide=("share",)),
            "filters-table": TableColumns(hide=("vlan",)),
        },
    )
    again = Choices()
    kept.put_into(again, edited)
    assert kept.theme_over(edited) is None
    assert again.of("queues-table").always == frozenset()
    assert again.of("queues-table").never == {"share"}
    assert again.of("queues-table").sort == ("pps", True)
    assert again.of("filters-table").never == frozenset()


def test_no_file_is_no_problem_and_none_is_written_before_something_is_chosen(path: Path) -> None:
    file = StateFile(path)
    assert (file.problem, file.kept, file.offer(Kept())) == ("", Kept(), False)
    file.write()
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "theme = 'light'",
        "[1]",
        '{"schema": "vmq.stats/1"}',
        '{"schema": "vmq.state/1", "theme": 3}',
        '{"schema": "vmq.state/1", "theme": {"chosen": "\\u001b[2J"}}',
        '{"schema": "vmq.state/1", "tables": {"queues-table": {"sort": "pps"}}}',
        "[" * 20_000,
        '{"schema": "vmq.state/1", "theme": null' + " " * LIMIT_BYTES + "}",
    ],
    ids=["empty", "toml", "list", "foreign", "type", "control", "sort", "deep", "large"],
)
def test_what_can_not_be_read_is_said_and_put_aside_by_the_next_choice(path: Path, content: str) -> None:
    file = written(path, content)
    assert file.kept == Kept()
    assert file.problem.startswith(f"{path}: holds no choices that can be read")
    assert path.read_text(encoding="utf-8") == content
    keep(file, kept_of(chosen(), None, Preferences()))
    assert StateFile(path).kept.tables
    assert path.with_name("config.state.json.bad").read_text(encoding="utf-8") == content


def test_a_file_of_a_newer_program_is_left_as_it_is(path: Path) -> None:
    file = written(path, {"schema": "vmq.state/2", "theme": "light"})
    assert (file.kept, file.offer(Kept(theme=KeptTheme("light")))) == (Kept(), False)
    assert file.problem == (
        f"{path}: is of a newer vmqtui (vmq.state/2); it is left as it is, and what you choose is not kept"
    )
    file.write()
    assert json.loads(path.read_text(encoding="utf-8"))["schema"] == "vmq.state/2"


def test_a_directory_in_its_place_is_left_as_it_is(path: Path) -> None:
    path.mkdir(parents=True)
    file = StateFile(path)
    assert file.problem.startswith(f"{path}: is no file; it is left as it is")
    assert not file.offer(Kept(theme=KeptTheme("light")))


def test_names_that_this_program_does_not_know_are_left_out(path: Path) -> None:
    tables = {
        "queues-table": {"sort": ["pps", True], "new": 1},
        "filters-table": {"sort": ["gone", True]},
        "gone-table": {"sort": ["pps", True]},
        "buffers-table": {"columns": {"chosen": {"show": ["gone", "vm"]}}},
    }
    layout = {"span": 300, "span.queues": 7, "pane.gone": False, "pane.queues": False, "gone": 1}
    searched = {"queues-table": "web", "filters-table": "\u001b", "gone-table": "web"}
    document = {"schema": SCHEMA, "tables": tables, "layout": layout, "later": 1}
    file = written(path, document | {"searches": {"hv01": searched, "\u001b": searched, "hv02": {}}})
    assert file.problem == ""
    assert file.kept.tables == {
        "queues-table": KeptTable(("pps", True)),
        "buffers-table": KeptTable(columns=KeptColumns(TableColumns(show=("vm",)))),
    }
    assert file.kept.layout == {"span": 300, "pane.queues": False}
    assert file.kept.searches == {"hv01": {"queues-table": "web"}}
    assert not file.offer(file.kept)


def test_all_that_can_be_chosen_fits(path: Path) -> None:
    choices, columns = Choices(), {}
    for place, table in PLACES.items():
        keys = tuple(column.key for column in COLUMNS[table])
        columns[place] = TableColumns(show=keys)
        choices.change(place, sort=(keys[0], True), never=frozenset(keys))
    hosts = [f"{number}{'x' * 63}" for number in range(MOST_HOSTS + 1)]
    for host in hosts:
        choices.follow(host)
        for place in PLACES:
            choices.change(place, filter="€" * LIMIT)
    kept = kept_of(choices, "x" * 64, Preferences(columns=columns))
    assert [*kept.searches] == hosts[1:], "the oldest go"
    keep(StateFile(path), kept)
    assert path.stat().st_size < LIMIT_BYTES
    assert StateFile(path).kept == kept


def test_of_two_dashboards_the_last_one_wins_whole(path: Path) -> None:
    one, other = StateFile(path), StateFile(path)
    keep(one, Kept(theme=KeptTheme("light")))
    keep(other, Kept(layout={"span": 300}))
    assert StateFile(path).kept == Kept(layout={"span": 300})
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_of_two_dashboards_the_second_keeps_what_the_first_put_aside(path: Path) -> None:
    one, other = written(path, "mine"), StateFile(path)
    keep(one, Kept(theme=KeptTheme("light")))
    keep(other, Kept(layout={"span": 300}))
    assert StateFile(path).kept == Kept(layout={"span": 300})
    assert path.with_name("config.state.json.bad").read_text(encoding="utf-8") == "mine"


def test_what_another_program_put_there_since_is_not_lost(path: Path) -> None:
    file = StateFile(path)
    written(path, "mine")
    keep(file, Kept(theme=KeptTheme("light")))
    assert path.with_name("config.state.json.bad").read_text(encoding="utf-8") == "mine"
    newer = {"schema": "vmq.state/2", "theme": "light"}
    written(path, newer)
    with pytest.raises(OSError, match=r"is of a newer vmqtui \(vmq\.state/2\)"):
        keep(file, Kept(layout={"span": 300}))
    assert not file.offer(Kept(layout={"span": 60}))
    assert json.loads(path.read_text(encoding="utf-8")) == newer
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name, f"{path.name}.bad"]


def test_a_copy_of_an_earlier_time_is_not_replaced(path: Path) -> None:
    aside = path.with_name("config.state.json.bad")
    keep(written(path, "first"), Kept(theme=KeptTheme("light")))
    file = written(path, "second")
    assert file.problem == (
        f"{path}: holds no choices that can be read, and {aside.name} is there from an earlier time;"
        " it is left as it is, and what you choose is not kept"
    )
    assert not file.offer(Kept(layout={"span": 300}))
    assert (path.read_text(encoding="utf-8"), aside.read_text(encoding="utf-8")) == ("second", "first")


async def test_a_search_is_there_again_at_the_host_where_it_was_typed_and_hides_no_row_of_others(
    dashboard: Running, path: Path
) -> None:
    async with dashboard(state=StateFile(path)) as (app, pilot, _):
        await pilot.press("2", "slash", *"web", "enter")
        await pilot.pause()
        assert await app.keep_choices() == ""
    other = StateFile(path)
    assert other.kept.searches == {"hv01": {"queues-table": "web"}}
    elsewhere = {"elsewhere": {"queues-table": "nobody"}}
    keep(other, msgspec.structs.replace(other.kept, searches=elsewhere))
    async with dashboard(state=StateFile(path)) as (app, pilot, _):
        await pilot.press("2")
        await pilot.pause()
        assert choice_of(app, "queues-table").filter == ""
        assert not any("of last time" in note for note in notes(app))
        await pilot.press("slash", *"sql", "enter")
        await pilot.pause()
        await app.keep_choices()
        assert StateFile(path).kept.searches == elsewhere | {"hv01": {"queues-table": "sql"}}
    async with dashboard(state=StateFile(path)) as (app, pilot, _):
        assert "searches of last time: Queues /sql; Esc drops one" in notes(app)
        await pilot.press("2")
        await pilot.pause()
        assert choice_of(app, "queues-table").filter == "sql"
        await pilot.press("escape")
        await app.keep_choices()
    assert StateFile(path).kept.searches == elsewhere


def test_another_host_has_searches_of_its_own() -> None:
    choices = Choices()
    choices.change("queues-table", filter="typed before a host was known")
    choices.follow("one")
    assert choices.of("queues-table").filter
    choices.change("queues-table", filter="web")
    choices.follow("other")
    assert choices.of("queues-table").filter == ""
    choices.change("events-table", filter="drops")
    assert choices.searches == {"one": {"queues-table": "web"}, "other": {"events-table": "drops"}}
    choices.follow("one")
    assert choices.of("queues-table").filter == "web"
    assert choices.of("events-table").filter == ""
    assert choices.brought_back == {"queues-table": "web"}
    choices.change("queues-table", filter="")
    choices.follow("other")
    choices.follow("one")
    assert choices.of("queues-table").filter == ""
    assert choices.searches == {"other": {"events-table": "drops"}}


def test_a_reader_sees_a_whole_file_whenever_it_looks(path: Path) -> None:
    file, ended = StateFile(path), threading.Event()
    keep(file, Kept(theme=KeptTheme("theme-0")))

    def write() -> None:
        for number in range(40):
            file.offer(Kept(theme=KeptTheme(f"theme-{number}")))
            file.write()
        ended.set()

    writing = threading.Thread(target=write)
    writing.start()
    while not ended.is_set():
        assert StateFile(path).problem == ""
    writing.join()
    assert StateFile(path).kept.theme == KeptTheme("theme-39")


@pytest.mark.slow
@given(st.binary(max_size=200) | st.from_regex(rf'\{{"schema": "{SCHEMA}", .*\}}').map(str.encode))
def test_no_content_is_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.state.json"
    path.write_bytes(content)
    file = StateFile(path)
    assert file.problem == "" or file.kept == Kept()


def test_it_is_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "mine.toml"))
    assert state_path() == tmp_path / "mine.state.json"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    assert state_path() is None


def choice_of(app: Any, table: str) -> Any:
    return app.screen.query_one(f"#{table}", LiveTable).choice


@pytest.mark.slow
async def test_choices_on_the_screen_are_kept_and_hold_at_the_next_start(
    dashboard: Running, path: Path
) -> None:
    async with dashboard(state=StateFile(path)) as (app, pilot, _):
        await pilot.press("t", "2", "s", "r")
        await pilot.pause()
        name, choice = app.theme, choice_of(app, "queues-table")
        assert await app.keep_choices() == ""
    assert choice.sort is not None
    async with dashboard(state=StateFile(path)) as (app, pilot, _):
        assert app.theme == name
        await pilot.press("2")
        assert choice_of(app, "queues-table") == choice
        await pilot.press("escape")
        await app.keep_choices()
    assert StateFile(path).kept.tables == {}
    async with dashboard(state=StateFile(path), theme="mono") as (app, _, _link):
        assert app.theme == "mono"
        await app.keep_choices()
    assert StateFile(path).kept.theme == KeptTheme(name)


@pytest.mark.slow
async def test_a_file_that_can_not_be_written_is_said_once(dashboard: Running, tmp_path: Path) -> None:
    state = StateFile(tmp_path / "file" / "x.state.json")
    (tmp_path / "file").write_text("", encoding="utf-8")
    async with dashboard(state=state) as (app, pilot, _):
        await pilot.press("t")
        why = await app.keep_choices()
    assert why.startswith(f"{tmp_path / 'file' / 'x.state.json'}: ")
    assert why.endswith("; what you choose is not kept")


@pytest.mark.slow
async def test_a_theme_that_is_gone_is_said_and_the_configuration_holds(
    dashboard: Running, path: Path
) -> None:
    state = written(path, {"schema": SCHEMA, "theme": {"chosen": "gone", "instead_of": "light"}})
    async with dashboard(state=state, preferences=Preferences(theme="light"), size=(160, 40)) as (app, _, _l):
        assert app.theme == "light"
        assert "no theme 'gone'" in notes(app)
