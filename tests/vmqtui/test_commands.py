"""The command line: what is typed, completed and run."""

import re
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input
from textual.widgets._toast import ToastRack

from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, flowing, notes, opened, shown
from tests.vmqtui.scripted import live_link, play
from vmqtui.actions import ACTIONS
from vmqtui.actions.commands import (
    COMMAND_LIMIT,
    Named,
    arguments,
    completions,
    names_of,
    read_command,
    row_called,
)
from vmqtui.app import VmqApp
from vmqtui.columns import COLUMNS
from vmqtui.columns.arrange import parse
from vmqtui.testing import until
from vmqtui.theme import load_themes
from vmqtui.widgets.bars import COMMANDS_KEPT, CommandBar, FilterBar


def read(text: str) -> tuple[str, list[str]]:
    """The action that a command runs, and what it is about."""
    command = read_command(text, ACTIONS)
    return command.action.id, arguments(command)


@pytest.mark.parametrize(
    ("text", "action", "given"),
    [
        ("move", "move_queue", []),
        ("move web-01 3", "move_queue", ["web-01", "3"]),
        ("move_queue web-01", "move_queue", ["web-01"]),
        ("  Move   Queue  web-01  0:3 ", "move_queue", ["web-01", "0:3"]),
        ("view queues", "view_queues", []),
        ("view advice", "view_advice", []),
        ("queue free 3", "free_queue", ["3"]),
        ("filter set web-01 00:15:5d:00:00:01 10", "set_filter", ["web-01", "00:15:5d:00:00:01", "10"]),
        ("search drops>0 vm:web", "search_rows", ["drops>0 vm:web"]),
        ('search vm:"a b"', "search_rows", ['vm:"a b"']),
        ("vm pause web-01", "pause_vm", ["web-01"]),
        ("pause vm web-01", "pause_vm", ["web-01"]),
        ("pause", "pause", []),
        ('open "a b"', "details", ["a b"]),
        (r"open a\b", "details", [r"a\b"]),
        ("rever", "reverse", []),
        ("theme mono", "next_theme", ["mono"]),
        ("time -30", "go_to_time", ["-30"]),
        ('export json "my files/a.json"', "export_json", ["my files/a.json"]),
    ],
)
def test_a_command_is_an_action_and_what_it_is_about(text: str, action: str, given: list[str]) -> None:
    assert read(text) == (action, given)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("moev web-01", "no command moev; is it move?"),
        ("\x1b[31m", "no command ␛[31m; ^p lists them all"),
        ("view", "view could be view overview, view queues, view filters, view buffers"),
        ("help me", "help takes nothing after it: me is too much"),
        ("move a 1 2", "move takes QUEUE CPU: 2 is too much"),
        ('move "a', 'a " is not closed'),
    ],
)
def test_what_is_no_command_is_said_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        read(text)
    assert str(error.value) == words


def test_every_action_has_a_name_of_its_own() -> None:
    """No two actions share a name, and no name is cut short by a shorter one that takes what follows."""
    names = [name for action in ACTIONS for name in names_of(action)]
    assert len(names) == len(set(names))
    for action in ACTIONS:
        for name in names_of(action):
            assert read(name)[0] == action.id


def checked(example: str) -> None:
    """Read an example of a command; a search in it must fit some table."""
    action, given = read(example)
    if action == "search_rows":
        assert fits_a_table(given[0]), example
    if action == "next_theme":
        assert given[0] in load_themes()[0], example


def fits_a_table(search: str) -> bool:
    return any(not parse(search, columns).problem for columns in COLUMNS.values())


async def test_examples_in_empty_lines_are_what_the_lines_take(dashboard: Running) -> None:
    async with dashboard() as (app, _, _):
        commands, searches = (
            app.query_one(bar).query_one(Input).placeholder.split(", ") for bar in (CommandBar, FilterBar)
        )
    assert len(commands) > 2
    for example in commands:
        checked(example)
    assert all(map(fits_a_table, searches))


def test_examples_of_commands_in_help_and_docs_are_commands() -> None:
    docs = Path(__file__).parents[2] / "docs"
    pages = [*docs.glob("*.md"), docs.parent / "README.md"]
    examples = [one for page in pages for one in re.findall(r"`:([a-z][^`]*)`", page.read_text("utf-8"))]
    help_ = next(action.help for action in ACTIONS if action.id == "command_line")
    in_help = re.findall(r"\(([^)]+)\)", help_)
    assert in_help
    assert len(examples) > 5
    for example in (*examples, *in_help):
        checked(example)


def test_commands_of_the_command_line_are_the_same_words_here() -> None:
    from vmqtui.cli import controls

    groups = {
        "queue": controls.queue,
        "filter": controls.filter_,
        "vm": controls.vm,
        "adapter": controls.adapter_,
        "balancer": controls.balancer,
        "worker": controls.worker,
    }
    known = {name for action in ACTIONS for name in names_of(action)}
    for group, commands in groups.items():
        for command in commands.registered_commands:
            name = command.name or getattr(command.callback, "__name__", "")
            assert f"{group} {name}" in known


def known(kind: str, begun: str) -> list[str]:
    """What exists in these tests."""
    return {
        "queue": ["web-01", "web-02", "a b", "bad\x1b"],
        "cpu": ["0:0", "0:1"],
        "search": ["vm"],
        "file": ["out/a.csv", "out/sub/", "out/my files/"] if begun.startswith("out/") else ["out/"],
    }.get(kind, [])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("mov", ["move"]),
        ("move ", ["move web-01", "move web-02", 'move "a b"']),
        ("move WEB", ["move web-01", "move web-02"]),
        ('move "a', ['move "a b"']),
        ("move web-01 ", ["move web-01 0:0", "move web-01 0:1"]),
        ('move "a b" 0:1', []),
        ("move a b c ", []),
        ("search drops>0 v", ["search drops>0 vm"]),
        ("filter s", ["filter set"]),
        ("export csv ", ["export csv out/"]),
        ("export csv out/", ["export csv out/a.csv", "export csv out/sub/", 'export csv "out/my files/']),
        ("screenshot out/a", ["screenshot out/a.csv"]),
        ("zzz", []),
    ],
)
def test_a_command_is_completed(text: str, lines: list[str]) -> None:
    assert [one.line for one in completions(text, ACTIONS, known)] == lines


async def type_command(pilot: Pilot[None], app: VmqApp, text: str) -> None:
    """Open the command line, type and enter a command."""
    await pilot.press("colon")
    app.screen.query_one("#command-input", Input).value = text
    await pilot.press("enter")
    await pilot.pause()


@pytest.mark.slow
async def test_commands_run_the_actions_of_keys(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await type_command(pilot, app, "view filters")
        assert "Filters 13" in screen_text(app)
        await type_command(pilot, app, "search ~sql")
        assert app.model.choices.of("filters-table").filter == "~sql"
        await type_command(pilot, app, "sort match/s")
        assert app.model.choices.of("filters-table").sort == ("matches_per_second", True)
        await type_command(pilot, app, "theme mono")
        assert app.theme == "mono"
        await type_command(pilot, app, "view events")
        await type_command(
            pilot, app, "move fw-01 3"
        )  # a queue that the cursor is not on, in a view without queues
        await opened(pilot, app)
        assert "Move queue 5 (fw-01)" in await shown(pilot, app, "0:3, now at")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked == [("hv01", "set_queue_parameters", {"adapter": "nic0", "queue_id": 5, "cpu": 3})]
        await type_command(pilot, app, "vm pause web-01")
        await shown(pilot, app, "Pause VM web-01")
        await pilot.press("escape")
        await closed(pilot, app)
        await type_command(pilot, app, "filter set fw-01 00:15:5d:00:10:01 10")
        await opened(pilot, app)
        assert app.screen.query_one("#field-mac", Input).value == "00:15:5d:00:10:01"
        await pilot.press("escape")
        await closed(pilot, app)
        await type_command(pilot, app, "open mail-01")
        assert "Queue 6 of nic0 · mail-01" in screen_text(app)
        await type_command(pilot, app, "open file-01")  # on the page of another queue
        assert "Queue 7 of nic0 · file-01" in screen_text(app)
        await type_command(pilot, app, "go to mail-01")
        assert app.focused is not None
        assert app.focused.id == "queues-table"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("move nobody 3", "no queue nobody"),
        ("move web-01 9", "9 is not a whole number in 0..7"),
        ("move nail-01", "no queue nail-01; is it mail-01?"),
        ("theme pink", "no theme pink; there are"),
        ("apply fix", "apply fix is for: Advice"),
        ("sort colour", "no column colour"),
        ("time noon", "noon"),
    ],
)
async def test_a_mistake_is_said_in_the_bar_and_changes_nothing(
    dashboard: Running, text: str, words: str
) -> None:
    async with dashboard(size=(160, 40)) as (app, pilot, link):
        await type_command(pilot, app, text)
        assert words in flowing(app)
        bar = app.screen.query_one(CommandBar)
        assert bar.has_class("-open")
        assert link.asked == []
        await pilot.press("escape")
        assert not bar.has_class("-open")
        assert app.focused is not None
        assert app.focused.id == "overview-queues"


@pytest.mark.slow
async def test_what_does_not_fit_beside_a_command_ends_in_an_ellipsis(dashboard: Running) -> None:
    async with dashboard(size=(80, 24)) as (app, pilot, _):
        await pilot.press("colon", *"view ")
        await pilot.pause()
        (line,) = [line for line in screen_text(app).splitlines() if line.startswith("  :  view")]
        assert line.rstrip().endswith("…")


@pytest.mark.slow
def test_a_name_as_it_is_written_goes_before_one_in_another_case() -> None:
    rows = [Named(3, "", ("3", "app")), Named(4, "", ("4", "App")), Named(5, "", ("5", "web"))]
    rows += [Named(6, "", ("6", "web"))]
    assert (row_called("app", "queue", rows), row_called("App", "queue", rows)) == (3, 4)
    for name, said in (
        ("APP", "APP could be 3, 4"),
        ("web", "web could be 5, 6"),
        ("ap", "no queue ap; is it app?"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            row_called(name, "queue", rows)


async def test_names_that_adapters_share_need_the_adapter(dashboard: Running) -> None:
    link = live_link(adapters=("nic0", "nic1"))
    async with dashboard(link, size=(160, 40)) as (app, pilot, _):
        play(link, 1, 8, adapters=("nic0", "nic1"))
        app.draw_now()
        await type_command(pilot, app, "move web-01 3")
        assert "web-01 could be nic0/1, nic1/1" in flowing(app)
        await pilot.press("escape")
        await type_command(pilot, app, "move nic1/web-01 3")
        await opened(pilot, app)
        assert "Move queue 1 (web-01) of nic1" in flowing(app)
        await pilot.press("escape")
        await closed(pilot, app)
        await type_command(pilot, app, "adapter nic1")
        assert app.model.choices.adapter == "nic1"


@pytest.mark.slow
async def test_what_a_command_names_goes_before_marked_rows(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "down", "i", "i")
        for text, words in (
            ("edit mail-01", "Resize or rename queue 6"),
            ("vm pause mail-01", "Pause VM mail-01"),
        ):
            await type_command(pilot, app, text)
            await shown(pilot, app, words)
            await pilot.press("escape")
            await closed(pilot, app)
        await type_command(pilot, app, "edit")
        await shown(pilot, app, "Resize 2 marked queues")


@pytest.mark.slow
async def test_tab_completes_and_arrows_go_through_earlier_commands(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("colon", *"open mail", "tab")
        field = app.screen.query_one("#command-input", Input)
        assert field.value == "open mail-01"
        await pilot.press("enter")
        await type_command(pilot, app, "theme light")
        await pilot.press("colon", "up")
        assert field.value == "theme light"
        await pilot.press("up")
        assert field.value == "open mail-01"
        await pilot.press("up", "down", "down")
        assert field.value == ""
        await pilot.press(*"mov")
        await until(lambda: field._suggestion == "move", what="move", between=lambda: pilot.pause(0.02))
        await pilot.press("e", "space")
        await pilot.pause()
        assert "default  web-01  web-02" in screen_text(app)


@pytest.mark.slow
async def test_commands_to_go_back_to_are_bounded(dashboard: Running) -> None:
    async with dashboard() as (app, _, _):
        bar = app.screen.query_one(CommandBar)
        for number in range(COMMANDS_KEPT + 7):
            bar.keep(f"filter {number}")
        assert len(bar._kept) == COMMANDS_KEPT


@pytest.mark.slow
async def test_a_read_only_dashboard_says_why_a_command_does_nothing(dashboard: Running) -> None:
    async with dashboard(read_only=True, size=(160, 40)) as (app, pilot, link):
        await type_command(pilot, app, "move web-01 3")
        assert "this dashboard is read-only" in flowing(app)
        assert link.asked == []
        assert notes(app) == ""


@pytest.mark.slow
async def test_a_command_is_bounded(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("colon")
        field = app.screen.query_one("#command-input", Input)
        field.insert("x" * (COMMAND_LIMIT + 50), 0)
        assert len(field.value) <= COMMAND_LIMIT


async def test_a_message_leaves_the_command_that_is_typed_in_sight(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        app._disable_notifications = False  # as outside of tests
        await app.screen.mount(rack := ToastRack(id="textual-toastrack"))
        app.notify("15 rows")
        await pilot.press("colon", *"export csv")
        await pilot.pause()
        toasts = [holder.children[0] for holder in rack.children]
        bar = app.screen.query_one("#command-bar")
        assert bar.region.height == 1
        assert [toast.region.height > 0 and toast.region.overlaps(bar.region) for toast in toasts] == [False]
