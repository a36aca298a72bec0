"""Dialogs as text, at the smallest screen and a common one, over fixed numbers; and dialogs by mouse."""

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from engine.bus.messages import Status
from tests.slow import slow_but
from tests.vmqtui.conftest import Running, same_as_snapshot, screen_text
from tests.vmqtui.dialogs import closed, notes, opened, shown, told, type_into
from tests.vmqtui.scripted import ScriptedHost, ScriptedLink, foreseen, make_config, make_stats
from tests.vmqtui.test_vms_traffic_adapters import TRAFFIC
from vmqtui.app import VmqApp
from vmqtui.dialogs.fields import Choice
from vmqtui.widgets.header import KeyBar
from vmqtui.widgets.table import LiveTable

SIZES = [(80, 24), (120, 40)]
GONE = "frames to 00:15:5d:00:00:05, VLAN 10 would go to the default queue instead of queue 5"


async def _move(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    await pilot.press("2", "down", "m", "end")
    await shown(pilot, app, "≈")


async def _new_queue(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    await pilot.press("n")
    await opened(pilot, app)
    await type_into(pilot, app, "vm", "app-01")
    await type_into(pilot, app, "vlan", "4095")
    await shown(pilot, app, "is not a VLAN id")


async def _edit(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    link.foresee = lambda op, params: foreseen("too many", "NDIS_STATUS_RESOURCES")
    await pilot.press("2", "down", "e")
    await opened(pilot, app)
    await type_into(pilot, app, "buffers", "60000")
    await shown(pilot, app, "△ would be refused")


async def _free(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    link.foresee = lambda op, params: foreseen("filter 5 is cleared", steering={"sentence": GONE})
    await pilot.press("2", *["down"] * 5, "d")
    await shown(pilot, app, "instead of queue 5")


async def _move_marked(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    await pilot.press("2", "i", "i", "i", "down", "i", "m", "end")
    await shown(pilot, app, "sends 4 requests for 4 rows", "≈ queue 0")


async def _free_marked(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    link.foresee = lambda op, params: foreseen("filter 5 is cleared", steering={"sentence": GONE})
    await pilot.press("2", "i", "down", "down", "i", "i", "i", "d")
    await shown(pilot, app, "sends 7 requests for 3 of 4 rows", "≈ queue 5")


async def _vm(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    await pilot.press("2", "down", "v")
    await opened(pilot, app)


async def _rate(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    link.answer(source="synthetic", traffic=TRAFFIC)
    await pilot.press("R")
    await opened(pilot, app)
    await type_into(pilot, app, "rate", "20000")
    await shown(pilot, app, "≈")


async def _mix(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    link.answer(source="synthetic", traffic=TRAFFIC)
    await pilot.press("T")
    await shown(pilot, app, "seed = 1")


async def _adapter(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    await pilot.press("A")
    await opened(pilot, app)
    link.answer("NDIS_STATUS_INVALID_PARAMETER", "max_queues: 3 is less than the 12 in use (12..64 fits)")
    await type_into(pilot, app, "base_processor", "0:2")
    await type_into(pilot, app, "max_queues", "3")
    await pilot.press("enter")
    await shown(pilot, app, "✗")


async def _hosts(pilot: Pilot[None], app: VmqApp, link: ScriptedLink) -> None:
    link.views["hv02"] = ScriptedHost(
        Status(state="online", interval_ns=250_000_000), make_config(host="hv02"), make_stats(400), link.now
    )
    link.views["hv03"] = ScriptedHost(Status(state="offline"))
    await pilot.press("h")
    await shown(pilot, app, "Hosts of this broker")


DIALOGS = {
    "move": _move,
    "new-queue": _new_queue,
    "edit": _edit,
    "free": _free,
    "move-marked": _move_marked,
    "free-marked": _free_marked,
    "vm": _vm,
    "rate": _rate,
    "mix": _mix,
    "adapter": _adapter,
    "hosts": _hosts,
}


@pytest.mark.parametrize("size", slow_but([(120, 40)], SIZES), ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", slow_but([*DIALOGS][:2], DIALOGS))
async def test_dialog(dashboard: Running, name: str, size: tuple[int, int]) -> None:
    async with dashboard(size=size) as (app, pilot, link):
        await DIALOGS[name](pilot, app, link)
        await pilot.pause()
        dialog = app.screen.query_one("#dialog").region
        lines = screen_text(app).splitlines()[dialog.y : dialog.bottom]
        text = "".join(f"{line[dialog.x : dialog.right].rstrip()}\n" for line in lines)
        assert dialog.bottom <= size[1]
        same_as_snapshot(f"dialog-{name}-{size[0]}x{size[1]}", text)


@pytest.mark.slow
async def test_controls_are_reached_by_mouse(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down")
        await pilot.click(KeyBar, offset=(2, 0))
        await shown(pilot, app, "Move queue 1 (web-01)")
        table = app.screen.query_one("#field-cpu", LiveTable)
        await pilot.click(table, offset=(5, 4))
        await shown(pilot, app, "0:3, now at")
        link.answer()
        await pilot.click("#do")
        await closed(pilot, app)
        assert link.asked[0][2]["cpu"] == 3


@pytest.mark.slow
async def test_choice_turns_by_mouse_and_cancel_sends_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("A")
        await shown(pilot, app, "‹ on ›")
        await pilot.click(Choice)
        await shown(pilot, app, "‹ off ›")
        await pilot.click(app.screen.query_one("#cancel", Button))
        await closed(pilot, app)
        assert link.asked == []


@pytest.mark.slow
async def test_host_is_chosen_by_double_click(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await _hosts(pilot, app, link)
        await pilot.click("#choose-host", offset=(5, 2), times=2)
        await closed(pilot, app)
        assert app.model.host == "hv02"


@pytest.mark.slow
async def test_failure_to_write_does_not_end_the_dashboard(
    dashboard: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vmqtui.view_actions.write_new", refuse)
    async with dashboard() as (app, pilot, _):
        await pilot.press("w")
        await told(pilot, app, "nothing was written: ", "Permission denied")
        assert "Permission denied" in notes(app)
