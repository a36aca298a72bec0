"""Keys that a person chooses: how they are read, what clashes, and that they work."""

import io

import pytest
from rich.console import Console
from textual.binding import Binding

from tests.slow import slow_but
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import shown
from vmqtui.actions import ACTIONS, Action, first_key, key_names
from vmqtui.actions.action import KEY_CHARACTERS, TITLES
from vmqtui.actions.keymap import Keymap, KeymapError, first_clash, read_keys, unchanging
from vmqtui.dialogs.texts import help_text
from vmqtui.preferences.model import Preferences
from vmqtui.theme import _FALLBACK_ROLES, Palette


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        ("m", ("m",)),
        ("M", ("M",)),
        ("?", ("question_mark",)),
        ("question_mark", ("question_mark",)),
        ("+", ("plus",)),
        ("ctrl++", ("ctrl+plus",)),
        ("f12", ("f12",)),
        ("ctrl+x", ("ctrl+x",)),
        ("shift+ctrl+right", ("ctrl+shift+right",)),
        (" ", ("space",)),
        (["m", "f2", "m"], ("m", "f2")),
        ("", ()),
        ([], ()),
    ],
)
def test_key_is_read_as_people_write_it(written: object, keys: tuple[str, ...]) -> None:
    assert read_keys(written) == keys


def test_characters_are_called_as_textual_calls_them() -> None:
    for key, character in KEY_CHARACTERS.items():
        if character != ",":  # separates keys there
            assert [one.key for one in Binding.make_bindings([(character, "act")])] == [key]


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("mm", '"mm" is not a key (like "m", "?", "ctrl+x", "f2" or "enter")'),
        ("entr", '"entr" is not a key (did you mean "enter"?)'),
        ("super+x", '"super+x" is not a key'),
        ("ctrl+", '"ctrl+" is not a key'),
        ("ctrl+i", '"ctrl+i" is Tab to a terminal (another key fits)'),
        ("ctrl+c", '"ctrl+c" always leaves (another key fits)'),
        ("tab", '"tab" goes to the next panel (another key fits)'),
        (7, "7 is not a key (nor an array of keys)"),
        (["m", 7], "an array is not a key (nor an array of keys)"),
        (list("abcdefghi"), "9 keys, where 0..8 fit"),
    ],
)
def test_what_is_no_key_is_refused_in_words(written: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_keys(written)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("chosen", "action", "sentence"),
    [
        ({"move_queue": ("f",)}, "move_queue", '"f" is the key of "Set a filter" in Overview, Queues'),
        ({"undo": ("k",)}, "undo", '"k" is the key of "Up" everywhere (another key fits)'),
        (
            {"undo": ("f2",), "move_queue": ("f2",)},
            "undo",
            '"f2" is the key of "Move queue to a CPU" in Overview',
        ),
        ({"move_queues": ("f",)}, "move_queues", 'there is no such action (did you mean "move_queue"?)'),
        ({"command_palette": ()}, "command_palette", "needs a key (any that is free fits)"),
    ],
)
def test_keymap_that_can_not_be_is_refused_in_words(
    chosen: dict[str, tuple[str, ...]], action: str, sentence: str
) -> None:
    with pytest.raises(KeymapError) as refused:
        Keymap(chosen)
    assert refused.value.action == action
    assert str(refused.value).startswith(sentence)


def test_keys_can_be_exchanged() -> None:
    swapped = Keymap({"move_queue": ("f",), "set_filter": ("m",)})
    assert first_clash(swapped.actions) is None


def test_key_that_an_action_gave_up_is_free() -> None:
    Keymap({"move_queue": (), "undo": ("m",)})


SWAPPED = Preferences(
    keymap={"move_queue": ("f",), "set_filter": ("m",), "view_queues": ("f2",), "help": (), "quit": ("Q",)}
)


@pytest.mark.slow
async def test_chosen_keys_work_and_are_shown(dashboard: Running) -> None:
    async with dashboard(preferences=SWAPPED) as (app, pilot, link):
        await pilot.press("2")
        assert "Queues 13 · at most" not in screen_text(app)
        await pilot.press("f2", "down", "f")
        await shown(pilot, app, "Move queue 1 (web-01)")
        await pilot.press("escape", "question_mark", "q")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        text = screen_text(app)
        assert " f2 Queues " in text
        assert " f move  m set filter " in text
        assert "Q quit" in text
        assert link.asked == []


@pytest.mark.slow
async def test_palette_has_the_key_that_was_chosen(dashboard: Running) -> None:
    wanted = Preferences(keymap={"command_palette": ("semicolon",)})
    async with dashboard(preferences=wanted) as (app, pilot, _):
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await pilot.press("semicolon")
        await pilot.pause()
        assert len(app.screen_stack) == 2


def help_of(offered: tuple[Action, ...], view: str) -> str:
    """The words of the help screen of a view."""
    console = Console(width=400, file=io.StringIO(), color_system=None)
    console.print(help_text(offered, view, "queues", Palette(_FALLBACK_ROLES)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_the_line_of_keys_has_the_one_that_pauses_where_there_is_room(dashboard: Running) -> None:
    async with dashboard(size=(120, 40)) as (app, pilot, _):
        for view in "12345678":
            await pilot.press(view)
            await pilot.pause()
            assert "Space pause" in screen_text(app).splitlines()[-1]


@pytest.mark.parametrize(("width", "views"), [(80, ""), (120, "3678"), (160, "12345678")])
async def test_the_line_of_keys_has_the_one_that_writes_a_table_where_there_is_room(
    dashboard: Running, width: int, views: str
) -> None:
    async with dashboard(size=(width, 40)) as (app, pilot, _):
        seen = ""
        for view in "12345678":
            await pilot.press(view)
            await pilot.pause()
            line = screen_text(app).splitlines()[-1]
            seen += view * ("w CSV" in line)
            assert line.endswith("? help  q quit")
        assert seen == views


def test_help_has_first_what_a_newcomer_needs_first() -> None:
    lines = [line.rstrip() for line in help_of(Keymap({}).offered(), "queues").splitlines()]
    first = ["Moving", "Views", "Table", "Time", "Program", "Files", "Charts", "Queues"]
    assert sorted(first, key=lines.index) == first
    assert max(map(lines.index, first)) < min(map(lines.index, ("Marks", "VMs", "Host", "Traffic")))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_page_of_help_is_what_is_seen_of_it(dashboard: Running, size: tuple[int, int]) -> None:
    async with dashboard(size=size) as (app, pilot, _):
        await pilot.press("question_mark")
        await pilot.pause()
        box = app.screen.query_one("#dialog")
        await pilot.press("pagedown", "pagedown", "pageup")
        await pilot.pause()
        assert box.scroll_offset.y == box.scrollable_content_region.height > 10


@pytest.mark.parametrize(
    "preferences", slow_but([Preferences()], [Preferences(), SWAPPED]), ids=["default", "chosen"]
)
@pytest.mark.parametrize("read_only", slow_but([False], [False, True]))
async def test_every_action_has_a_key_or_a_place_in_the_palette_and_help(
    dashboard: Running, preferences: Preferences, read_only: bool
) -> None:
    offered = Keymap(preferences.keymap).offered()
    offered = unchanging(offered) if read_only else offered
    assert first_clash(offered) is None
    palette_key = next(first_key(one) for one in offered if one.id == "command_palette")
    found: set[str] = set()
    async with dashboard(preferences=preferences, read_only=read_only, size=(80, 24)) as (app, pilot, _):
        for view in TITLES:
            # An attribute of the class that is there.
            app.screen.action_view(view)  # type: ignore[attr-defined]
            await pilot.pause()
            titles = {command.title for command in app.get_system_commands(app.screen)}
            here = {action for action in offered if action.applies(view)}
            assert titles == {action.title for action in here if action.id != "command_palette"}
            found |= {action.id for action in here}
            lines = help_of(offered, view).splitlines()
            for action in offered:
                about = next(line for line in lines if f" {action.title} " in f"{line} ")
                of_matrix = {"←", "→"} if view == "processors" else set()
                keys = [key for key in key_names(action).split() if key not in of_matrix]
                first = [*(keys or [palette_key, "palette"]), action.title.split()[0]]
                assert about.split()[: len(first)] == first
                assert (action in here) == (action.help in about)
    assert found == {action.id for action in offered}
    assert read_only == (len(offered) < len([action for action in ACTIONS if not action.teaches]))


@pytest.mark.slow
async def test_read_only_has_neither_key_nor_palette_nor_request(dashboard: Running) -> None:
    changing = [action for action in ACTIONS if action.changes]
    async with dashboard(read_only=True) as (app, pilot, link):
        for view in ("2", "3", "6"):
            await pilot.press(view, "down", *(key for action in changing for key in action.keys))
            for action in changing:
                await app.screen.run_action(action.does)
            await pilot.pause()
            assert len(app.screen_stack) == 1
            assert not {action.title for action in changing} & {
                command.title for command in app.get_system_commands(app.screen)
            }
        assert link.asked == []
        assert link.wondered == []


async def test_read_only_link_lets_nothing_out_whoever_asks(dashboard: Running) -> None:
    async with dashboard(read_only=True) as (app, _, link):
        with pytest.raises(ConnectionError, match="read-only"):
            await app.model.link.request("hv01", "ping", {})
        assert link.asked == []


@pytest.mark.slow
async def test_action_without_a_key_is_done_from_the_palette(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "ctrl+p")
        await pilot.pause()
        await pilot.press(*"pause a vm")
        await shown(pilot, app, "Pause a VM")
        await pilot.press("enter")
        await shown(pilot, app, "Pause web-01 (queue 1) of nic0")
        assert link.asked == []
