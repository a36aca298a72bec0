"""``vmqtui config``: where the file is, what holds, and what is wrong with one."""

import re
from pathlib import Path

import msgspec
import pytest

from tests.end_to_end.conftest import Here
from vmqtui.cli.config import own_preferences
from vmqtui.preferences.file import loads
from vmqtui.preferences.kept import Kept, KeptColumns, KeptTable, KeptTheme
from vmqtui.preferences.model import TableColumns


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_path_is_printed_whether_or_not_there_is_a_file(here: Here, file: Path) -> None:
    printed = here("config", "path", VMQTUI_CONFIG=str(file))
    assert (printed.status, printed.out, printed.err) == (0, f"{file}\n", "")


def test_path_is_the_platforms_own(here: Here) -> None:
    path = Path(here("config", "path", VMQTUI_CONFIG="").out.strip())
    assert path.is_absolute()
    assert path.parts[-2:] == ("vmqtui", "config.toml")


def test_what_holds_is_printed_as_a_file_would_say_it(here: Here, file: Path) -> None:
    file.write_text('theme = "light"\n[keymap]\nundo = "U"\n', encoding="utf-8")
    shown = here("config", "show", VMQTUI_CONFIG=str(file))
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith(f"# configuration: {file}\n")
    again = loads(shown.out, "shown")
    assert (again.theme, again.keymap["undo"], again.keymap["move_queue"]) == ("light", ("U",), ("m",))
    document = here("config", "show", "--json", VMQTUI_CONFIG=str(file)).document
    assert document["schema"] == "vmq.preferences/1"
    assert (document["theme"], document["keymap"]["undo"]) == ("light", ["U"])
    assert 'undo = "u"' in here("config", "show", "--defaults", VMQTUI_CONFIG=str(file)).out


def test_each_value_says_where_it_comes_from(here: Here, file: Path) -> None:
    file.write_text('theme = "light"\n[keymap]\nundo = "U"\n', encoding="utf-8")
    kept = Kept(
        theme=KeptTheme("mono", "light"),
        tables={
            "queues-table": KeptTable(("pps", True)),
            "events-table": KeptTable(columns=KeptColumns(TableColumns(hide=("cause",)))),
        },
        searches={"hv01": {"queues-table": "web"}},
    )
    beside = file.with_name("config.state.json")
    beside.write_bytes(msgspec.json.encode(kept))
    shown = here("config", "show", VMQTUI_CONFIG=str(file), VMQTUI_NO_STATE="0")
    assert shown.err == ""
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    for line in (
        f"# state: {beside}",
        'theme = "mono" # state',
        "interval_s = 0.25 # default",
        'undo = "U" # Undo the last change (configuration)',
        'redo = "ctrl+y" # Make a change again (default)',
        'hide = ["cause"] # state',
        "# queues-table: sort = pps, largest first",
        "# queues-table: search = web (at hv01)",
    ):
        assert line in lines
    typed = here("config", "show", "--theme", "dark", VMQTUI_CONFIG=str(file), VMQTUI_NO_STATE="0").out
    assert "(command line)" not in typed
    assert re.search('^theme = "dark" +# command line$', typed, re.M)
    without = here("config", "show", "--json", "--no-state", VMQTUI_CONFIG=str(file)).document
    assert (without["theme"], without["sources"]["theme"]) == ("light", "configuration")
    assert (without["state_file"], without["chosen"]) == (None, {"tables": {}, "layout": {}, "searches": {}})
    document = here("config", "show", "--json", VMQTUI_CONFIG=str(file), VMQTUI_NO_STATE="0").document
    assert document["chosen"]["tables"] == {"queues-table": {"sort": ["pps", True]}}
    assert document["chosen"]["searches"] == {"hv01": {"queues-table": "web"}}
    assert document["sources"]["columns.events-table.hide"] == "state"
    assert document["sources"]["keymap.redo"] == "default"


def test_a_state_file_that_can_not_be_used_is_a_warning(here: Here, file: Path) -> None:
    file.write_text('theme = "light"\n', encoding="utf-8")
    beside = file.with_name("config.state.json")
    beside.write_text('{"schema": "vmq.state/9"}', encoding="utf-8")
    shown = here("config", "show", VMQTUI_CONFIG=str(file), VMQTUI_NO_STATE="0")
    assert (shown.status, shown.err) == (
        0,
        f"warning: {beside}: is of a newer vmqtui (vmq.state/9); it is left as it is,"
        " and what you choose is not kept\n",
    )


def test_a_theme_or_a_switch_that_does_not_fit_is_refused(here: Here) -> None:
    refused = here("config", "show", "--theme", "blue")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err == "error: --theme: 'blue' is not a theme (did you mean blue-yellow?)\n"
    refused = here("config", "show", VMQTUI_NO_STATE="perhaps")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("error: --no-state: 'perhaps' is not yes or no (1 or 0 fits)")


@pytest.mark.parametrize("command", [("config", "show"), ()], ids=["config show", "dashboard"])
def test_file_that_does_not_fit_ends_the_program_with_one_line(
    here: Here, file: Path, command: tuple[str, ...]
) -> None:
    file.write_text('[keymap]\nundo = "m"\n', encoding="utf-8")
    ended = here(*command, VMQTUI_CONFIG=str(file))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f'error: {file}: keymap.undo: "m" is the key of "Move queue to a CPU"')
    assert len(ended.err.splitlines()) == 1


def test_named_file_that_is_missing_is_an_error(here: Here, file: Path) -> None:
    ended = here("config", "show", VMQTUI_CONFIG=str(file))
    assert (ended.status, ended.err) == (2, f"error: {file}: no such file\n")


def test_theme_that_is_not_there_is_refused_with_those_that_are(here: Here, file: Path) -> None:
    file.write_text('theme = "pink"\n', encoding="utf-8")
    ended = here("config", "show", VMQTUI_CONFIG=str(file))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f'error: {file}: theme: "pink" is not a theme (')
    assert "dark" in ended.err


def test_theme_whose_file_is_broken_is_no_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = file.parent / "config" / "vmqtui" / "themes"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text("colours = 1", encoding="utf-8")
    monkeypatch.setattr("vmqtui.theme.own_themes_directory", lambda: own)
    monkeypatch.setenv("VMQTUI_CONFIG", str(file))
    file.write_text('theme = "mine"\n', encoding="utf-8")
    assert own_preferences().theme == "mine"


def test_a_file_with_several_mistakes_has_a_line_for_each(here: Here, file: Path) -> None:
    file.write_text("theme = 5\ninterval_s = 900\n", encoding="utf-8")
    printed = here("config", "show", VMQTUI_CONFIG=str(file))
    assert (printed.status, printed.out) == (2, "")
    assert [line.split(": ")[:3] for line in printed.err.splitlines()] == [
        ["error", str(file), "theme"],
        ["error", str(file), "interval_s"],
    ]
