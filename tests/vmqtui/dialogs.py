"""What tests of dialogs have in common: waiting for words, typing into fields, reading notifications."""

from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tests.vmqtui.conftest import screen_text
from vmqtui.app import VmqApp
from vmqtui.dialogs.fields import Choice
from vmqtui.testing import until


def flowing(app: VmqApp) -> str:
    """The words of the dialog, or of the screen without one, as one line: what is wrapped is whole again."""
    lines = screen_text(app).splitlines()
    for dialog in app.screen.query("#dialog"):
        place = dialog.region
        lines = [line[place.x : place.right] for line in lines[place.y : place.bottom]]
    return " ".join(" ".join(lines).replace("│", " ").split())


async def shown(pilot: Pilot[None], app: VmqApp, *words: str) -> str:
    """The screen's words, once all of these are among them."""
    await until(
        lambda: all(word in flowing(app) for word in words),
        what=f"{words} on the screen",
        seen=lambda: flowing(app),
        between=lambda: pilot.pause(0.02),
    )
    return flowing(app)


def notes(app: VmqApp) -> str:
    """What was said in notifications."""
    return " | ".join(note.message for note in app._notifications)


async def told(pilot: Pilot[None], app: VmqApp, *words: str) -> None:
    """Wait until all of these words were said in notifications."""
    await until(
        lambda: all(word in notes(app) for word in words),
        what=f"{words} in notifications",
        seen=lambda: notes(app),
        between=lambda: pilot.pause(0.02),
    )


async def opened(pilot: Pilot[None], app: VmqApp) -> None:
    """Wait until a dialog is there to press keys in."""
    await until(
        lambda: len(app.screen_stack) > 1 and app.screen.query("#dialog") and app.focused is not None,
        what="an open dialog",
        between=lambda: pilot.pause(0.02),
    )


async def closed(pilot: Pilot[None], app: VmqApp) -> None:
    """Wait until no dialog is open."""
    await until(lambda: len(app.screen_stack) == 1, what="no open dialog", between=lambda: pilot.pause(0.02))


async def leave(pilot: Pilot[None], app: VmqApp, *words: str) -> None:
    """Leave a dialog once it shows these words."""
    await shown(pilot, app, *words)
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
