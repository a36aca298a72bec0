"""Brokers that die, hang, refuse and crawl, and what engines, readers and dashboards make of it."""

import asyncio
import signal
import socket
import sys
from typing import Any

import pytest

from engine.bus import connection
from engine.bus.urls import BrokerUrl
from tests.faults.lab import PATIENCE_S, Lab
from tests.slow import slow_but
from vmqtui import Engine
from vmqtui.link import BusLink
from vmqtui.state.hosts import Liveness
from vmqtui.state.model import Model
from vmqtui.testing import until

REQUESTS = 12

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


async def ask_many(lab: Lab) -> None:
    await asyncio.gather(*(lab.ask() for _ in range(REQUESTS)))


async def test_requests_during_a_broker_crash_are_carried_out_once(lab: Lab) -> None:
    """Whether the broker keeps what is retained over its crash, or not."""
    for lab.broker.persistent, pause in ((False, 0), (True, 0.01), (True, 0), (False, 0.01)):
        asking = asyncio.create_task(ask_many(lab))
        await asyncio.sleep(pause)
        await lab.broker.kill()
        await until(lambda: lab.watcher.state == "lost")
        await lab.broker.start()
        await asking
        await lab.live()


@needs_signals
async def test_requests_to_a_broker_that_pauses_are_carried_out_once(lab: Lab) -> None:
    lab.broker.signal(signal.SIGSTOP)
    try:
        asking = [asyncio.create_task(lab.ask()) for _ in range(REQUESTS)]
        await asyncio.sleep(0.3)  # for so long
        assert not any(asked.done() for asked in asking)
    finally:
        lab.broker.signal(signal.SIGCONT)
    await asyncio.gather(*asking)


async def test_a_broker_that_has_not_answered_yet_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with BusLink() as link:
            link.report("starting")
            await link.connect(BrokerUrl("127.0.0.1", silent.getsockname()[1]))
            model = Model(link, None)
            assert model.live() == Liveness("connecting", "starting")
            await until(lambda: model.live().state != "connecting")
            assert (model.live().state, model.live().words[:17]) == ("offline", "no connection to ")


@needs_signals
@pytest.mark.slow
async def test_a_dashboard_is_stale_then_offline_then_live_when_its_broker_hangs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 3)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 0.5)
    async with BusLink() as link:
        await link.connect(lab.of_reader.url, "lab")
        model = Model(link, "lab")
        seen: list[str] = []

        def shows(state: str) -> bool:
            model.take()
            now = model.live().state
            if seen[-1:] != [now]:
                seen.append(now)
            return now == state

        await until(lambda: shows("live"))
        seen.clear()
        lab.broker.signal(signal.SIGSTOP)
        try:
            await until(lambda: shows("offline"), 60)
            assert "no connection to" in model.live().words
        finally:
            lab.broker.signal(signal.SIGCONT)
        await until(lambda: shows("live"), 60)
        assert seen[:3] == ["live", "stale", "offline"]


@pytest.mark.parametrize("direction", slow_but(["down"], ["up", "down"]))
async def test_what_a_stalled_connection_held_up_is_carried_out_once(
    lab: Lab, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stalled towards the broker, the sender gives up; stalled from it, an answer is late."""
    of_engine = bus_of(lab.engine)
    monkeypatch.setattr(of_engine, "_publish_timeout_seconds", 0.2)
    for proxy in (lab.of_engine, lab.of_reader):
        # Each parameter is one of the directions.
        proxy.stall(direction)  # type: ignore[arg-type]
        asking = asyncio.create_task(ask_many(lab))
        await asyncio.sleep(0.3)
        proxy.flow()
        await asking


async def test_an_engine_whose_broker_refuses_keeps_what_is_newest_and_counts_the_rest(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "QUEUE_LIMIT", 64)
    before = lab.engine._host_bus.bus.counters
    await lab.of_engine.refuse()
    await until(lambda: bus_of(lab.engine).state == "lost")
    ask = lab.engine.request
    queue: dict[str, Any] = {"name": "x", "vm": "x", "cpu": 0, "buffers": 1}
    made = await asyncio.gather(*(ask("allocate_queue", **queue) for _ in range(connection.QUEUE_LIMIT // 2)))
    await asyncio.gather(*(ask("free_queue", queue_id=one.result["queue_id"]) for one in made))
    assert len(bus_of(lab.engine)._queue.items) <= connection.QUEUE_LIMIT
    asking = asyncio.create_task(ask_many(lab))
    await lab.of_engine.accept()
    await asking
    await lab.watcher.wait_for(
        lambda: any(event.event == "messages_dropped" for event in lab.view.events), PATIENCE_S
    )
    await lab.live()
    stats = lab.view.stats
    assert stats is not None
    assert stats.bus is not None
    assert stats.bus.connections > before.connections
    assert stats.bus.messages_dropped > before.messages_dropped
    assert stats.bus.readings_replaced > before.readings_replaced
    assert lab.view.events_missed > 0  # what was dropped shows as a gap


async def test_a_slow_link_is_slow_and_nothing_else(lab: Lab) -> None:
    for proxy in (lab.of_engine, lab.of_reader):
        proxy.latency_s, proxy.bytes_per_second = 0.005, 100_000
    # The engine runs, so it has a bus.
    before = lab.engine._host_bus.bus.counters.connections
    try:
        await ask_many(lab)
        await lab.live()
    finally:
        for proxy in (lab.of_engine, lab.of_reader):
            proxy.latency_s, proxy.bytes_per_second = 0.0, None
    # The engine runs, so it has a bus.
    assert lab.engine._host_bus.bus.counters.connections == before


def bus_of(engine: Engine) -> connection.Connection:
    """The engine's connection."""
    return engine._host_bus.bus._connection
