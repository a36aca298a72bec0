"""Running the dashboard over a scripted link, and reading its screen."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from engine.telemetry.config import Config
from engine.telemetry.stats import Stats
from tests.vmqtui.scripted import START_NS, ScriptedLink, live_link, play
from vmqtui.app import VmqApp
from vmqtui.preferences.model import Preferences

SNAPSHOTS = Path(__file__).parent / "snapshots"


def screen_text(app: VmqApp) -> str:
    """The characters on the screen, a line each, without trailing blanks."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


def same_as_snapshot(name: str, text: str) -> None:
    """Compare with snapshots/NAME.txt; with VMQTUI_UPDATE_SNAPSHOTS set, write it."""
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("VMQTUI_UPDATE_SNAPSHOTS"):
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    assert path.exists(), f"no snapshot {path.name}: look at it with VMQTUI_UPDATE_SNAPSHOTS=1"
    assert text == path.read_text(encoding="utf-8")


@asynccontextmanager
async def running(
    link: ScriptedLink | None = None,
    *,
    size: tuple[int, int] = (120, 40),
    readings: int = 20,
    **options: Any,
) -> AsyncIterator[tuple[VmqApp, Pilot[None], ScriptedLink]]:
    """The dashboard over a link; without one, over a live host with some readings."""
    if link is None:
        link = live_link()
    else:
        readings = 0
    options.setdefault("preferences", Preferences(trends="braille"))
    app = VmqApp(link, **options)
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        if readings:
            play(link, 1, readings)
        app.draw_now()
        await pilot.pause()
        yield app, pilot, link


Running = Callable[..., AbstractAsyncContextManager[tuple[VmqApp, Pilot[None], ScriptedLink]]]


@pytest.fixture
def dashboard() -> Running:
    """How a test starts a dashboard."""
    return running


LAB_INTERVAL_S = 0.25
Seen = tuple[Config, Sequence[Stats]]


@pytest.fixture(scope="session")
def seen() -> Seen:
    """The default lab's configuration, and what it reports of its first 24 s."""
    from engine.scenario.load import default_scenario
    from tests.service.lab import lab

    with lab(default_scenario()) as running:
        return running.machine.config(), [
            msgspec.structs.replace(one, time_ns=START_NS + one.sim_time_ns)
            for one in running.readings(24, LAB_INTERVAL_S)
        ]
