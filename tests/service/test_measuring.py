"""A real host on a bus: what dashboards and commands see of it, and what is said of its readings."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from engine.bus.accounts import Listen
from engine.bus.errors import BrokerFailed, HostTaken
from engine.bus.host_view import HostView
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.measure.facts import Machine
from engine.measure.host import Measured
from engine.measure.linux_host import LinuxHost
from engine.service.measuring import Agent, ReadingThread
from engine.telemetry.events import Event
from tests.measure.machines import igb, machine, ring
from vmqtui.testing import until, wait_until

SHORT_S = 0.02
"""An interval between readings that keeps tests short."""


class Scripted:
    """A source whose readings are those of a function of their number; it may block or raise.

    While it is ``held``, the first reading comes again and again.
    """

    def __init__(self, reading: Callable[[int], Machine], host: str = "lab", *, held: bool = False) -> None:
        self.count = 0
        self.held = held
        self.closed = threading.Event()
        self._reading = reading
        self._host = LinuxHost(host)

    def read(self) -> Measured:
        if not (self.held and self.count):
            self.count += 1
        return self._host.read(self._reading(self.count))

    def close(self) -> None:
        self.closed.set()


def growing(number: int) -> Machine:
    """A reading in which each ring has received so many frames more."""
    return machine(igb([ring(0, 100 * number), ring(1, 10 * number)]), at_ms=20 * number)


@asynccontextmanager
async def watching(url: BrokerUrl, host: str = "lab") -> AsyncIterator[Callable[[], HostView]]:
    """Watch a host; what is yielded returns its view."""
    async with Watcher(url, host) as watcher:
        await until(lambda: host in watcher.hosts)
        yield lambda: watcher.hosts[host]


def told(view: HostView) -> list[Event]:
    """The events of a host, but those of readings that this busy machine had no time for."""
    return [one for one in view.events if not one.cause.endswith("so far)")]


async def test_a_real_host_is_published_as_measured_and_without_controls() -> None:
    source = Scripted(growing)
    async with Agent(source, host="lab", interval_s=SHORT_S) as agent, watching(agent.url) as view:
        await until(lambda: view().stats_received >= 3 and view().summary is not None)
        status, config, stats, summary = view().status, view().config, view().stats, view().summary
        assert status is not None
        assert (status.kind, status.controls, status.state) == ("measured", False, "online")
        assert config is not None
        assert config.adapters[0].nic_driver == "igb 6.12.9, firmware 3.25"
        assert stats is not None
        frames = stats.adapters["eth0"].queues["received_frames"]
        assert frames == [100 * stats.seq, 10 * stats.seq]
        assert summary is not None
        assert (summary.kind, summary.queues, summary.default_queue_frames) == ("measured", 2, 100)
    assert source.closed.is_set()


async def test_a_dashboard_connects_while_the_host_is_first_read_and_sees_that_reading() -> None:
    waiting, goes_on = threading.Event(), threading.Event()

    def reading(number: int) -> Machine:
        waiting.set()
        assert goes_on.wait(60)
        return growing(number)

    agent = Agent(Scripted(reading), host="lab", interval_s=60)
    entering = asyncio.create_task(agent.__aenter__())
    await agent.reachable.wait()
    async with Watcher(agent.url) as watcher:
        await until(lambda: watcher.state == "connected" and waiting.is_set())
        assert not watcher.hosts
        goes_on.set()
        await entering
        await until(lambda: "lab" in watcher.hosts and watcher.hosts["lab"].stats is not None)
    await agent.__aexit__(None, None, None)


async def test_a_port_in_use_is_said_while_the_host_is_still_read() -> None:
    closed_before_its_end: list[bool] = []
    ended = threading.Event()

    def reading(number: int) -> Machine:
        closed_before_its_end.append(source.closed.wait(10))
        ended.set()
        return growing(number)

    source = Scripted(reading)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Listen("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(BrokerFailed):
            async with Agent(source, host="lab", listen=listen):
                pass
    assert await asyncio.to_thread(ended.wait, 60)
    assert closed_before_its_end == [True]


async def test_it_takes_no_requests_and_answers_ping_and_past_events() -> None:
    def reading(number: int) -> Machine:
        return machine(igb([ring(0)], link_up=number < 2), at_ms=20 * number)

    source = Scripted(reading, held=True)
    agent = Agent(source, host="lab", interval_s=SHORT_S)
    async with agent, Watcher(agent.url, "lab") as watcher:
        await until(lambda: "lab" in watcher.hosts)
        source.held = False
        await until(lambda: bool(told(watcher.hosts["lab"])))
        refused = await watcher.request("lab", "pause_vm", {"vm": "web"})
        assert refused.ndis_status == "NDIS_STATUS_NOT_SUPPORTED"
        assert (await watcher.request("lab", "ping")).status == "ok"
        past = await watcher.request("lab", "query_events")
        assert "link_down" in [one["event"] for one in past.result["events"]]


async def test_a_host_whose_name_answers_on_that_broker_is_not_published_again() -> None:
    async with Agent(Scripted(growing), host="lab", interval_s=SHORT_S) as first:
        second = Scripted(growing)
        with pytest.raises(HostTaken, match="host 'lab' is taken"):
            async with Agent(second, host="lab", broker=first.url):
                pass
        assert second.closed.is_set()


async def test_readings_that_fail_are_counted_and_said_and_the_next_go_on() -> None:
    def reading(number: int) -> Machine:
        if 2 <= number <= 4:
            raise OSError("the driver does not answer")
        return growing(number)

    source = Scripted(reading, held=True)
    async with Agent(source, host="lab", interval_s=SHORT_S) as agent, watching(agent.url) as view:
        source.held = False
        await until(lambda: any(one.event == "reading_resumed" for one in told(view())))
        assert [one.cause for one in told(view())] == [
            "the host can't be read: the driver does not answer",
            "the host is read again, after 3 readings failed",
        ]


async def test_a_first_reading_that_fails_ends_the_start() -> None:
    def reading(number: int) -> Machine:
        raise OSError("the driver does not answer")

    source = Scripted(reading)
    with pytest.raises(OSError, match="does not answer"):
        async with Agent(source, host="lab"):
            pass
    assert source.closed.is_set()


async def test_drops_begin_and_end_in_events() -> None:
    def reading(number: int) -> Machine:
        return machine(igb([ring(0, 100, 900 if number < 3 else 905)]), at_ms=1000 * number)

    source = Scripted(reading, held=True)
    async with Agent(source, host="lab", interval_s=SHORT_S) as agent, watching(agent.url) as view:
        source.held = False
        await until(lambda: len(told(view())) >= 2)
        assert [(one.event, one.queue_id, one.cause) for one in told(view())] == [
            ("drops_begin", 0, "5 frames found no buffer"),
            ("drops_end", 0, "5 frames were dropped"),
        ]


async def test_a_reading_that_hangs_is_said_and_does_not_stop_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.service.measuring.HANGS_AFTER_S", 0.1)
    monkeypatch.setattr("engine.service.measuring._FAREWELL_S", 0.1)
    answer = threading.Event()

    def reading(number: int) -> Machine:
        if number == 2:
            answer.wait(30)
        return growing(number)

    source = Scripted(reading, held=True)
    async with Agent(source, host="lab", interval_s=SHORT_S) as agent, watching(agent.url) as view:
        source.held = False
        said = "a reading has taken 0.1 s and is not done"
        await until(lambda: said in [one.cause for one in view().events if one.event == "reading_late"])
    assert not source.closed.is_set()
    answer.set()
    wait_until(source.closed.is_set)


def test_readings_are_due_at_a_steady_pace_and_those_left_out_are_counted() -> None:
    answer, seen = threading.Event(), list[Measured]()

    def reading(number: int) -> Machine:
        if number == 2:
            answer.wait(30)
        return growing(number)

    source = Scripted(reading)
    thread = ReadingThread(source, SHORT_S, seen.append, lambda error: None)
    thread.start()
    wait_until(lambda: source.count == 2)
    began_s = thread.began_s
    assert began_s is not None
    threading.Event().wait(5 * SHORT_S)
    answer.set()
    wait_until(lambda: len(seen) >= 3)
    thread.stop()
    assert thread.left_out >= 4
    assert source.closed.is_set()
