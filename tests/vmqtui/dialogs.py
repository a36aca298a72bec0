"""What tests of dialogs have in common: waiting for words, typing into fields, reading notifications."""

import asyncio

from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tests.vmqtui.conftest import screen_text
from vmqtui.app import VmqApp
from vmqtui.dialogs.fields import Choice

DEADLINE_S = 60
"""How long what is waited for may take, on a machine that is busy."""


def flowing(app: VmqApp) -> str:
    """The words of the dialog, or of the screen without one, as one line: what is wrapped is whole again."""
    lines = screen_text(app).splitlines()
    for dialog in app.screen.query("#dialog"):
        place = dialog.region
        lines = [line[place.x : place.right] for line in lines[place.y : place.bottom]]
    return " ".join(" ".join(lines).replace("│", " ").split())


async def until(pilot: Pilot[None], app: VmqApp, *words: str) -> str:
    """The screen's words, once all of these are among them."""
    text = ""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not all(word in (text := flowing(app)) for word in words):
                await pilot.pause(0.02)
    except TimeoutError:
        raise AssertionError(f"not all of {words} came: {text}") from None
    return text


def notes(app: VmqApp) -> str:
    """What was said in notifications."""
    return " | ".join(note.message for note in app._notifications)


async def told(pilot: Pilot[None], app: VmqApp, *words: str) -> None:
    """Wait until all of these words were said in notifications."""
    async with asyncio.timeout(DEADLINE_S):
        while not all(word in notes(app) for word in words):
            await pilot.pause(0.02)


async def opened(pilot: Pilot[None], app: VmqApp) -> None:
    """Wait until a dialog is there to press keys in."""
    async with asyncio.timeout(DEADLINE_S):
        while len(app.screen_stack) < 2 or not app.screen.query("#dialog") or app.focused is None:
            await pilot.pause(0.02)


async def closed(pilot: Pilot[None], app: VmqApp) -> None:
    """Wait until no dialog is open."""
    async with asyncio.timeout(DEADLINE_S):
        while len(app.screen_stack) > 1:
            await pilot.pause(0.02)


async def leave(pilot: Pilot[None], app: VmqApp, *words: str) -> None:
    """Leave a dialog once it shows these words."""
    await until(pilot, app, *words)
    await pilot.press("escape")
    await closed(pilot, app)


async def settled(pilot: Pilot[None], app: VmqApp) -> None:
    """Wait until every message on the screen is handled, those that handling brings forth included."""
    for _ in range(3):
        await pilot.pause()


async def type_into(pilot: Pilot[None], app: VmqApp, key: str, text: str) -> None:
    """Fill in a field."""
    editor = app.screen.query_one(f"#field-{key}")
    if isinstance(editor, TextArea):
        editor.text = text
    else:
        assert isinstance(editor, Input | Choice)
        editor.value = text
    await pilot.pause()
