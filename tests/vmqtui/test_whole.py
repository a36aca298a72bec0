"""The dashboard over a real engine and broker: every control is carried out, and its effect seen."""

import asyncio
from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.scenario.model import (
    AdapterSpec,
    FilterSpec,
    FlowSpec,
    HostSpec,
    MixSpec,
    PortSpec,
    QueueSpec,
    Scenario,
    TrafficSpec,
)
from engine.view.rows import QueueView
from tests.vmqtui.conftest import screen_text
from tests.vmqtui.dialogs import opened, shown
from vmqtui.app import VmqApp
from vmqtui.link import BusLink
from vmqtui.pytest_plugin import StartEngine

pytestmark = pytest.mark.slow

MAC = "00:15:5d:00:00:01"
SCENARIO = Scenario(
    host=HostSpec(name="hv-whole", cpus=2),
    adapter=[
        AdapterSpec(
            buffers=4096,
            queue=[QueueSpec(name="web-01", vm="web-01", cpu=0, filter=[FilterSpec(mac=MAC, vlan=10)])],
            port=[PortSpec(vm="app-01", mac="00:15:5d:00:00:02", vlan=10)],
        )
    ],
    traffic=TrafficSpec(
        mix=[
            MixSpec(
                rate_pps=20_000,
                flow=[
                    FlowSpec(mac=MAC, vlan=10, weight=3),
                    FlowSpec(mac="00:15:5d:00:00:02", vlan=10, weight=1),
                ],
            )
        ]
    ),
)


async def seen(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(60):
        while not holds():
            await pilot.pause(0.02)


def queue(app: VmqApp, label: str) -> QueueView | None:
    return next((row for row in app.model.snapshot.queues if row.label == label), None)


async def closed(pilot: Pilot[None], app: VmqApp) -> None:
    async with asyncio.timeout(60):
        while len(app.screen_stack) > 1:
            assert "✗" not in screen_text(app), screen_text(app)
            await pilot.pause(0.02)


async def test_every_control_over_a_real_engine(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO)
    async with BusLink() as link:
        app = VmqApp(link)
        async with app.run_test(size=(120, 40)) as pilot:
            assert "connecting" in screen_text(app)
            await link.connect(engine.url)
            await seen(pilot, lambda: "● live" in screen_text(app))
            await seen(pilot, lambda: bool((row := queue(app, "web-01")) and row.pps))
            moved = app.model.snapshot.cpus[1]
            assert not moved.rate("indicated_frames")

            await pilot.press("2", "down", "m")
            await opened(pilot, app)
            await pilot.press("down", "enter")
            await closed(pilot, app)
            await seen(pilot, lambda: bool((row := queue(app, "web-01")) and row.cpu == 1))
            await seen(pilot, lambda: bool(app.model.snapshot.cpus[1].rate("indicated_frames")))

            await pilot.press("6")
            await seen(pilot, lambda: bool(app.model.snapshot.top and app.model.snapshot.top[0].pps))
            landing = app.model.snapshot.top[0].pps or 0.0
            await pilot.press("n")
            taken = "it would take frames to 00:15:5d:00:00:02, VLAN 10 from the default queue: "
            await shown(pilot, app, taken, " frames/s now, 100% of what lands there", "it would have 512 of")
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: bool((row := queue(app, "app-01")) and row.pps))
            got = queue(app, "app-01")
            assert got is not None
            await seen(pilot, lambda: bool((row := queue(app, "app-01")) and landing / 2 < (row.pps or 0)))
            assert [row.queue_id for row in app.model.snapshot.top] == [got.queue_id]

            await pilot.press("2", "end", "e")
            await opened(pilot, app)
            app.screen.query_one("#field-name", Input).value = "shop"
            app.screen.query_one("#field-buffers", Input).value = "300"
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: bool((row := queue(app, "app-01")) and row.name == "shop"))
            # What is waited for may be None until it is there.
            await seen(pilot, lambda: (row := queue(app, "app-01")) and row.count("total_buffers") == 300)  # type: ignore[arg-type,return-value]

            await pilot.press("f")
            await opened(pilot, app)
            app.screen.query_one("#field-mac", Input).value = MAC
            app.screen.query_one("#field-vlan", Input).value = "10"
            await pilot.press("enter")
            await seen(pilot, lambda: "NDIS_STATUS_INVALID_PARAMETER" in screen_text(app))
            app.screen.query_one("#field-vlan", Input).value = "untagged"
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: len(app.model.snapshot.filters) == 3)

            await pilot.press("3", "end", "x")
            await opened(pilot, app)
            await pilot.press("y")
            await closed(pilot, app)
            await seen(pilot, lambda: len(app.model.snapshot.filters) == 2)

            await pilot.press("2", "end", "d")
            await opened(pilot, app)
            await pilot.press("y")
            await closed(pilot, app)
            await seen(pilot, lambda: queue(app, "app-01") is None)
            await pilot.press("7")
            await seen(pilot, lambda: "queue freed" in screen_text(app))
