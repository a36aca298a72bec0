"""The configuration file: what it may say, what is wrong with it, and what it does."""

from pathlib import Path

import msgspec
import pytest

from engine.scenario.keys import Tables, keys_of, rows_of
from tests.vmqtui.conftest import Running, screen_text
from vmqtui.actions.keymap import Keymap
from vmqtui.columns import COLUMNS
from vmqtui.columns.column import drops_level, load_level, use_level, use_thresholds
from vmqtui.preferences.file import (
    ENVIRONMENT_VARIABLE,
    MOST_MISTAKES,
    PreferencesError,
    as_toml,
    config_path,
    load_preferences,
    loads,
)
from vmqtui.preferences.model import PLACES, Preferences, TableColumns, Thresholds
from vmqtui.widgets.table import LiveTable

WHOLE = """
theme = "light"
interval_s = 1
exports = "~/vmq"

[keymap]
move_queue = ["m", "f5"]
undo = "ctrl+z"
next_theme = []

[columns.queues-table]
show = ["dpcs"]
hide = ["share"]

[thresholds]
load_warn = 0.5
drops_bad = 100
"""


def test_whole_file_is_read() -> None:
    read = loads(WHOLE, "config.toml")
    assert (read.theme, read.interval_s, read.exports) == ("light", 1.0, "~/vmq")
    assert read.keymap == {"move_queue": ("m", "f5"), "undo": ("ctrl+z",), "next_theme": ()}
    assert read.columns == {"queues-table": TableColumns(show=("dpcs",), hide=("share",))}
    assert read.thresholds == Thresholds(load_warn=0.5, drops_bad=100)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("them = 1", 'them: unknown key (did you mean "theme"?)'),
        ("theme = 1", "theme: 1 is not a name (1..64 of A-Z a-z 0-9 _ . -)"),
        ("interval_s = 0", "interval_s: 0 is not a number in 0.02..60"),
        ('exports = ""', 'exports: "" is not a directory\'s path'),
        ("keymap = 1", "keymap: 1 is not a table"),
        (
            '[keymap]\nmov_queue = "m"',
            'keymap.mov_queue: there is no such action (did you mean "move_queue"?)',
        ),
        (
            '[keymap]\nundo = "mm"',
            'keymap.undo: "mm" is not a key (like "m", "?", "ctrl+x"',
        ),
        ('[keymap]\nundo = "m"', 'keymap.undo: "m" is the key of "Move queue to a CPU" in Overview'),
        ("[columns.queue-table]", 'columns.queue-table: unknown key (did you mean "queues-table"?)'),
        ("[columns]\nqueues-table = 3", "columns.queues-table: 3 is not a table"),
        (
            '[columns.queues-table]\nhide = ["shares"]',
            'columns.queues-table.hide[0]: "shares" is no column here (did you mean "share"?)',
        ),
        (
            '[columns.queues-table]\nshow = ["vm"]\nhide = ["vm"]',
            'columns.queues-table.hide[0]: "vm" is in show, too (one of them fits)',
        ),
        ('[columns.queues-table]\nhide = "vm"', 'columns.queues-table.hide: "vm" is not an array of columns'),
        ("[columns.queues-table]\nhid = []", 'columns.queues-table.hid: unknown key (did you mean "hide"?)'),
        ("[thresholds]\nload_warn = 2", "thresholds.load_warn: 2 is not a number in 0..1"),
        (
            "[thresholds]\nload_warn = 0.99",
            "thresholds.load_warn: 0.99 is above load_bad, 0.95 (0..0.95 fits)",
        ),
        ("theme = ", "not TOML: "),
    ],
)
def test_what_does_not_fit_is_said_with_file_key_value_and_what_would(text: str, sentence: str) -> None:
    with pytest.raises(PreferencesError) as refused:
        loads(text, "config.toml")
    assert str(refused.value).startswith(f"config.toml: {sentence}")
    assert "\n" not in str(refused.value)


SEVERAL = """
theme = 5
interval_s = 900
colour = "x"
[keymap]
undo = "mm"
quit = ["q", "f99"]
[columns.queues-table]
show = ["pps", "ppps", "vm", "vmm", "mac", "brd"]
[thresholds]
load_warn = 0.9
load_bad = 0.2
[broker]
tls_c = "x"
"""


def test_every_mistake_of_a_file_is_told_at_its_place() -> None:
    with pytest.raises(PreferencesError) as refused:
        loads(SEVERAL, "config.toml")
    places = [mistake.split(": ")[1] for mistake in refused.value.mistakes]
    assert sorted(places) == sorted(
        [
            "theme", "interval_s", "colour", "keymap.undo", "keymap.quit", "columns.queues-table.show[1]",
            "columns.queues-table.show[3]", "columns.queues-table.show[5]", "thresholds.load_warn",
            "broker.tls_c",
        ]
    )  # fmt: skip


def test_mistakes_that_are_told_at_once_are_bounded() -> None:
    with pytest.raises(PreferencesError) as refused:
        loads("\n".join(f"key{number} = 1" for number in range(1000)), "config.toml")
    assert len(refused.value.mistakes) == MOST_MISTAKES


def test_no_file_is_no_error_but_a_named_one_that_is_missing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert load_preferences(tmp_path / "config.toml") == Preferences()
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "mine.toml"))
    assert config_path() == tmp_path / "mine.toml"
    with pytest.raises(PreferencesError, match="no such file"):
        load_preferences()
    (tmp_path / "mine.toml").write_text('theme = "light"', encoding="utf-8")
    assert load_preferences().theme == "light"


@pytest.mark.parametrize("preferences", [Preferences(), loads(WHOLE, "x")], ids=["defaults", "whole"])
def test_what_is_shown_can_be_read_again_and_means_the_same(preferences: Preferences) -> None:
    again = loads(as_toml(preferences), "shown")
    assert msgspec.structs.replace(again, keymap={}) == msgspec.structs.replace(preferences, keymap={})
    keys = {action.id: set(action.keys) - {"ctrl+c"} for action in Keymap(preferences.keymap).actions}
    assert {action.id: set(action.keys) for action in Keymap(again.keymap).actions} == keys


def test_every_key_is_described_at_its_field_and_defaults_fit() -> None:
    rows: list[type[msgspec.Struct]] = [*rows_of(Preferences), TableColumns]
    for row in rows:
        for field in msgspec.structs.fields(row):
            key = keys_of(row)[field.name]
            if not isinstance(key, Tables) and isinstance(field.default, int | float):
                assert key.read(field.default) == field.default


async def test_places_are_the_tables_of_the_screen(dashboard: Running) -> None:
    async with dashboard() as (app, _, _link):
        tables = {table.id: table.table for table in app.screen.query(LiveTable)}
    assert tables == dict(PLACES)
    assert set(PLACES.values()) <= set(COLUMNS)


async def test_columns_theme_and_keys_of_the_file_hold_on_the_screen(dashboard: Running) -> None:
    preferences = loads(WHOLE, "config.toml")
    async with dashboard(preferences=preferences) as (app, pilot, _):
        await pilot.press("2")
        table = app.screen.query_one("#queues-table", LiveTable)
        shown = [column.key for column in table.shown_columns]
        assert "dpcs" in shown
        assert "share" not in shown
        assert app.theme == "light"
        await pilot.press("down", "f5")
        await pilot.pause()
        assert "Move queue 1" in screen_text(app)


async def test_option_comes_before_the_file(dashboard: Running) -> None:
    async with dashboard(preferences=Preferences(theme="light"), theme="dark") as (app, _, _link):
        assert app.theme == "dark"


async def test_thresholds_of_the_file_mark_values(dashboard: Running) -> None:
    try:
        async with dashboard(preferences=Preferences(thresholds=Thresholds(load_warn=0.1, drops_bad=1e6))):
            assert (load_level(0.2), use_level(0.8), drops_level(5.0)) == ("warn", "warn", "")
    finally:
        use_thresholds(Thresholds())
    assert (load_level(0.2), use_level(0.8), drops_level(5.0)) == ("", "warn", "bad")
