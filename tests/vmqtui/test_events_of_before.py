"""A dashboard asks for the events of before when its host is there, and again when either comes back."""

import asyncio
from typing import Any

import msgspec
import pytest

from engine.bus.messages import Status
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, settled, shown
from tests.vmqtui.scripted import live_link, make_config, make_stats
from tests.vmqtui.test_whole import SCENARIO, seen
from vmqtui.app import VmqApp
from vmqtui.link import BusLink
from vmqtui.pytest_plugin import StartEngine


def announced(started_at: float = 1.0, state: str = "online") -> Status:
    """A status as it comes at a connection: another object each time."""
    return msgspec.convert({"state": state, "started_at": started_at, "interval_ns": 250_000_000}, Status)


@pytest.mark.slow
async def test_they_are_asked_for_at_each_connection_and_no_more_often(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await settled(pilot, app)
        assert link.caught_up == ["hv01"]
        link.publish("hv01", stats=make_stats(30))
        link.publish("hv01", config=make_config(revision=9))
        await settled(pilot, app)
        assert link.caught_up == ["hv01"]
        began = link.views["hv01"].status
        assert began is not None
        for _ in range(20):
            link.publish("hv01", status=announced(began.started_at))
        await settled(pilot, app)
        assert link.caught_up == ["hv01"]
        link.publish("hv01", status=announced(state="offline"))
        await settled(pilot, app)
        assert link.caught_up == ["hv01"]
        link.publish("hv01", status=announced())
        await settled(pilot, app)
        assert link.caught_up == ["hv01", "hv01"]


@pytest.mark.slow
async def test_a_host_whose_engine_comes_and_goes_is_asked_one_thing_at_a_time(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await settled(pilot, app)
        asked: set[asyncio.Task[Any] | None] = set()

        async def catch_up(host: str) -> None:
            task = asyncio.current_task()
            asked.add(task)
            try:
                await asyncio.Event().wait()
            finally:
                asked.discard(task)

        link.catch_up = catch_up  # type: ignore[method-assign]  # a stand-in
        for number in range(20):
            link.publish("hv01", status=announced(number + 2.0))
            await settled(pilot, app)
        assert len(asked) == 1


async def test_they_are_asked_for_of_another_host_that_is_chosen(dashboard: Running) -> None:
    link = live_link()
    link.publish("hv01", stats=make_stats(2))
    link.publish("hv02", status=announced(), config=make_config(host="hv02"), stats=make_stats(2))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("h", "down", "enter")
        await closed(pilot, app)
        link.publish("hv02", stats=make_stats(3))
        await settled(pilot, app)
        assert link.caught_up == ["hv01", "hv02"]


async def test_a_read_only_dashboard_asks_for_nothing_and_says_so(dashboard: Running) -> None:
    async with dashboard(read_only=True, size=(80, 24)) as (app, pilot, link):
        await pilot.press("7")
        await shown(pilot, app, "read-only: earlier events are not asked for")
        assert (link.caught_up, link.asked) == ([], [])


async def test_a_dashboard_that_attaches_shows_what_happened_before(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO)
    assert (await engine.request("pause_vm", vm="web-01")).status == "ok"
    assert (await engine.request("resume_vm", vm="web-01")).status == "ok"
    async with BusLink() as link:
        app = VmqApp(link)
        async with app.run_test(size=(120, 40)) as pilot:
            await link.connect(engine.url)
            await pilot.press("7")
            await shown(pilot, app, "vm paused", "vm resumed")
            assert "not asked for" not in screen_text(app)
            assert (await engine.request("pause_vm", vm="web-01")).status == "ok"
            await seen(pilot, lambda: screen_text(app).count("vm paused") == 2)
            assert screen_text(app).count("vm resumed") == 1
