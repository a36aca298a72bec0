"""Over a real engine: what a change would do is the engine's own answer, and an undo really takes it back."""

import msgspec
import pytest

from engine.scenario.model import HostSpec
from engine.view.rows import QueueView
from tests.vmqtui.conftest import screen_text
from tests.vmqtui.dialogs import closed, opened, shown, told, type_into
from tests.vmqtui.test_whole import MAC, SCENARIO, queue, seen
from vmqtui.app import VmqApp
from vmqtui.link import BusLink
from vmqtui.pytest_plugin import StartEngine
from vmqtui.widgets.table import LiveTable

pytestmark = pytest.mark.slow


async def test_effects_are_foreseen_and_taken_back(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO)
    async with BusLink() as link:
        app = VmqApp(link)
        async with app.run_test(size=(120, 50)) as pilot:
            await link.connect(engine.url)
            await seen(pilot, lambda: "● live" in screen_text(app))

            # A VM: foreseen, paused, seen to be paused, resumed by undo.
            await pilot.press("2", "down", "v", "enter")
            await shown(pilot, app, "Pause web-01 (queue 1)", '≈ VM "web-01" is paused (queue 1)')
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: paused(app))
            await pilot.press("u")
            await shown(pilot, app, "To take it back: resume VM web-01", '≈ VM "web-01" is resumed')
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: not paused(app))

            # A filter: where its frames would go; set again by undo.
            await pilot.press("3", "home", "x")
            await shown(pilot, app, f"frames to {MAC}", "would go to the default queue instead of queue 1")
            await pilot.press("y")
            await closed(pilot, app)
            await seen(pilot, lambda: not app.model.snapshot.filters)
            await pilot.press("u")
            await shown(pilot, app, "would go to queue 1 instead of the default queue")
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: len(app.model.snapshot.filters) == 1)

            # Settings the engine would refuse are said before they are asked for.
            await pilot.press("A")
            await opened(pilot, app)
            await type_into(pilot, app, "vlan_filtering", "off")
            await shown(pilot, app, "△ would be refused: vlan_filtering: false", "NDIS_STATUS_INVALID")
            await type_into(pilot, app, "vlan_filtering", "on")
            await type_into(pilot, app, "link_gbps", "25")
            await shown(pilot, app, '≈ adapter "nic0" has a link of 25 Gbit/s')
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: link_gbps(app) == 25)
            await pilot.press("u")
            await shown(pilot, app, "set link_gbps = 10 of nic0")
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: link_gbps(app) == 10)

            # Traffic: twice as much, and back.
            await pilot.press("R")
            await shown(pilot, app, "Mix 1 of 1", "20,000 pkt/s")
            await type_into(pilot, app, "rate", "40000")
            await shown(pilot, app, "≈ the traffic is 1 mix of 2 flows")
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: pps(app) > 30_000)
            await pilot.press("u")
            await shown(pilot, app, "set traffic: as it was")
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: 0 < pps(app) < 30_000)

            # A VM that is migrated is gone for good.
            await pilot.press("2", "home", "down", "v", "down", "down", "enter")
            await shown(pilot, app, "Migrate web-01", "would go to the default queue instead of queue 1")
            await pilot.press("y")
            await closed(pilot, app)
            await seen(pilot, lambda: queue(app, "web-01") is None)
            await pilot.press("u")
            await told(pilot, app, "a VM that is migrated is gone from this switch")


async def test_a_move_is_in_the_events_and_in_the_history_of_its_queue(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO)
    async with BusLink() as link:
        app = VmqApp(link)
        async with app.run_test(size=(120, 50)) as pilot:
            await link.connect(engine.url)
            await seen(pilot, lambda: "● live" in screen_text(app))
            await pilot.press("2", "down", "enter")
            await shown(pilot, app, "History 0", "no event yet")
            await pilot.press("m")
            await opened(pilot, app)
            await pilot.press("down", "enter")
            await closed(pilot, app)
            await shown(pilot, app, "History 1", "moved by vsp from 0:")
            assert "no event" not in screen_text(app)
            await pilot.press("escape", "7")
            await shown(pilot, app, "moved by vsp from 0:")
            await pilot.press("home", "o")
            await pilot.pause()
            row = app.query_one("#queues-table", LiveTable).row
            assert isinstance(row, QueueView)
            assert row.label == "web-01"


async def test_several_hosts_of_one_broker_are_seen_and_asked_apart(vmq_engine: StartEngine) -> None:
    first = await vmq_engine(SCENARIO)
    other = msgspec.structs.replace(SCENARIO, host=HostSpec(name="hv-other", cpus=1))
    await vmq_engine(other, broker=first.url.with_password())
    async with BusLink() as link:
        app = VmqApp(link, host="hv-whole")
        async with app.run_test(size=(120, 40)) as pilot:
            await link.connect(first.url)
            await seen(pilot, lambda: "● live" in screen_text(app) and len(link.hosts) == 2)
            await pilot.press("h")
            await shown(pilot, app, "Hosts of this broker", "hv-other ● live", "hv-whole ● live", "20.0k")
            await pilot.press("home", "enter")
            await closed(pilot, app)
            await seen(pilot, lambda: app.model.host == "hv-other" and queue(app, "web-01") is not None)
            await pilot.press("2", "down", "e")
            await opened(pilot, app)
            await type_into(pilot, app, "name", "here")
            await pilot.press("enter")
            await closed(pilot, app)
            await seen(pilot, lambda: bool((row := queue(app, "web-01")) and row.name == "here"))
            app.model.choose_host("hv-whole")
            await seen(pilot, lambda: bool((row := queue(app, "web-01")) and row.name == "web-01"))
            await pilot.press("u")
            await told(pilot, app, "the last change was on hv-other; h goes there")


def paused(app: VmqApp) -> bool:
    """Whether the VM of the only queue is paused, as the configuration has it."""
    row = queue(app, "web-01")
    return row is not None and row.config is not None and row.config.vm_paused


def link_gbps(app: VmqApp) -> float | None:
    """The link of the only adapter, as the configuration has it."""
    config = app.model.snapshot.config
    return config.adapters[0].link_gbps if config is not None else 0


def pps(app: VmqApp) -> float:
    """Frames a second that arrive."""
    return app.model.snapshot.host_row.pps or 0
