"""Events that a reader asks for go among those that came: each once, in order, and no longer missed."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from engine.bus import codec
from engine.bus import watcher as watcher_module
from engine.bus.engine_bus import EngineBus, Handler
from engine.bus.host_view import EVENT_LIMIT, HostView
from engine.bus.messages import Request, Response
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.telemetry.events import Event
from tests.bus.conftest import make_config


class Connected:
    undecodable = 0
    state = "connected"


@asynccontextmanager
async def engine_bus(url: BrokerUrl, host: str, answer: Handler) -> AsyncIterator[EngineBus]:
    """An engine's bus that is online and answers so."""
    bus = EngineBus(url, host, answer)
    await bus.start(make_config(host), probe_seconds=0)
    yield bus
    await bus.stop()


def event(seq: int, run: int = 1) -> Event:
    return Event(seq=seq, sim_time_ns=0, time_ns=run * 10**9 + seq, event="queue_state")


def view_of(*events: Event) -> HostView:
    view = HostView("hv01", Connected())
    for one in events:
        view.take("event", codec.encode(one))
    return view


def asked(view: HostView, *events: Event, most_bytes: float = math.inf) -> None:
    view.take_past([(one, 100) for one in events], lambda size: size <= most_bytes)


def seqs(view: HostView) -> list[int]:
    return [one.seq for one in view.events]


def test_events_of_before_come_first_and_none_of_them_was_missed() -> None:
    view = view_of(event(9), event(10))
    asked(view, *map(event, range(3, 11)))
    assert seqs(view) == list(range(3, 11))
    assert view.events_missed == 0


def test_what_came_live_meanwhile_stays_last() -> None:
    view = view_of(event(12), event(13))
    asked(view, *map(event, range(3, 12)))
    assert seqs(view) == list(range(3, 14))


def test_what_was_asked_for_and_comes_live_after_it_is_there_once() -> None:
    view = view_of()
    asked(view, *map(event, range(1, 101)))
    for seq in range(1, 103):
        view.take("event", codec.encode(event(seq)))
    assert seqs(view) == list(range(1, 103))
    assert view.events_missed == 0


def test_events_missed_are_counted_until_they_are_there() -> None:
    view = view_of(event(1), event(2), event(20))
    assert view.events_missed == 17
    asked(view, *map(event, range(5, 21)))
    assert seqs(view) == [1, 2, *range(5, 21)]
    assert view.events_missed == 2  # 3 and 4, which the engine no longer has


@pytest.mark.parametrize("live", [(), (event(4, run=2),)])
def test_events_of_a_run_before_stay_before_those_of_this_one(live: Sequence[Event]) -> None:
    view = view_of(event(1), event(2), event(3), *live)
    asked(view, *(event(seq, run=2) for seq in range(1, 5)))
    assert [(one.seq, one.time_ns // 10**9) for one in view.events] == [
        *((seq, 1) for seq in range(1, 4)),
        *((seq, 2) for seq in range(1, 5)),
    ]
    assert view.events_missed == 0


def test_the_oldest_go_where_there_is_no_room() -> None:
    view = view_of()
    asked(view, *map(event, range(1, 11)), most_bytes=450)
    assert seqs(view) == [7, 8, 9, 10]
    view = view_of(*map(event, range(500, 1400)))
    asked(view, *map(event, range(400, 1400)))
    assert len(view.events) == EVENT_LIMIT
    assert seqs(view)[0] == 400


async def test_an_engine_is_asked_and_what_fits_no_event_is_counted(broker_url: BrokerUrl, host: str) -> None:
    found: list[Any] = [*(msgspec.to_builtins(event(seq)) for seq in (1, 2)), {"seq": -1}, 7]

    async def answer(client: str, request: Request) -> Response:
        assert (request.op, request.params) == ("query_events", {"limit": 1000})
        return Response(id=request.id, status="ok", ndis_status="", result={"events": found})

    async with engine_bus(broker_url, host, answer) as bus, Watcher(broker_url, host) as watcher:
        assert await watcher.wait_for(lambda: host in watcher.hosts and watcher.hosts[host].online, 60)
        view = watcher.hosts[host]
        await watcher.catch_up(host)
        bus.publish_event(event(3))
        assert await watcher.wait_for(lambda: len(view.events) == 3, 60)
        assert (seqs(view), watcher.undecodable) == ([1, 2, 3], 2)


async def test_an_engine_that_keeps_no_events_changes_nothing(broker_url: BrokerUrl, host: str) -> None:
    async def refuse(client: str, request: Request) -> Response:
        return Response(id=request.id, status="error", ndis_status="NDIS_STATUS_NOT_SUPPORTED")

    async with engine_bus(broker_url, host, refuse) as bus, Watcher(broker_url, host) as watcher:
        assert await watcher.wait_for(lambda: host in watcher.hosts and watcher.hosts[host].online, 60)
        bus.publish_event(event(3))
        assert await watcher.wait_for(lambda: bool(watcher.hosts[host].events), 60)
        await watcher.catch_up(host)
        assert seqs(watcher.hosts[host]) == [3]


def test_events_asked_for_count_as_bytes_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "KEPT_LIMIT_BYTES", 450)
    watcher = Watcher(BrokerUrl("127.0.0.1", 9))
    view = watcher.hosts["hv01"] = HostView("hv01", watcher)
    view.take_past(
        [(event(seq), 100) for seq in range(10)], lambda size: watcher._has_room(view, "event", size)
    )
    assert seqs(view) == [6, 7, 8, 9]
    assert view.kept_bytes["event"] == 400
