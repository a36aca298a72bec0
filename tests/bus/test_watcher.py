"""The reader's side, and both sides when the broker goes and comes."""

import asyncio
import re
import time
from itertools import islice

import msgspec
import pytest

from engine.bus import client, codec, host_view
from engine.bus import watcher as watcher_module
from engine.bus.broker import EmbeddedBroker
from engine.bus.connection import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Connection, backoff
from engine.bus.engine_bus import EngineBus
from engine.bus.errors import BadName, NotConnected, RequestTimeout
from engine.bus.messages import Request, Response
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.telemetry.bounds import MAX_VALUES
from engine.telemetry.events import Event
from tests.bus.conftest import (
    EngineStandIn,
    Mosquitto,
    free_port,
    make_config,
    make_stats,
    running_bus,
)
from vmqtui import WaitTimeoutError
from vmqtui.testing import until


def event(seq: int) -> Event:
    return Event(seq=seq, sim_time_ns=0, time_ns=0, event="queue_state")


def test_attempts_come_less_and_less_often_and_not_at_the_same_time() -> None:
    runs = [list(islice(backoff(), 9)) for _ in range(50)]
    for number, of_all in enumerate(zip(*runs, strict=True)):
        longest = min(FIRST_DELAY_SECONDS * 2**number, LONGEST_DELAY_SECONDS)
        assert longest / 2 <= min(of_all) < max(of_all) <= longest
    assert longest == LONGEST_DELAY_SECONDS


async def test_a_watcher_sees_a_host_from_its_config_to_its_end(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    async with Watcher(broker_url, host) as watcher:
        async with running_bus(broker_url, host, stand_in) as bus:
            assert await watcher.wait_for(lambda: host in watcher.hosts and watcher.hosts[host].online, 60)
            view = watcher.hosts[host]
            assert await watcher.wait_for(lambda: view.config is not None, 60)
            bus.publish_stats(make_stats(5))
            bus.publish_event(event(1))
            assert await watcher.wait_for(lambda: view.stats is not None and len(view.events) == 1, 60)
            assert view.stats is not None
            assert view.stats.adapters["nic0"].queues["steered_frames"] == [0, 5, 10, 15]
            assert view.received_monotonic is not None
        assert await watcher.wait_for(lambda: not view.online, 60)
        assert view.status is not None
        assert view.status.state == "offline"


async def test_a_watcher_without_a_host_sees_all_of_them(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    names = {f"{host[:60]}-{number}" for number in range(3)}
    async with Watcher(broker_url) as watcher, asyncio.TaskGroup() as group:
        done = asyncio.Event()

        async def run(name: str) -> None:
            async with running_bus(broker_url, name, stand_in):
                await done.wait()

        for name in names:
            group.create_task(run(name))
        seen = await watcher.wait_for(
            lambda: names <= {view.name for view in watcher.hosts.values() if view.online}, 5
        )
        done.set()
        assert seen


async def test_a_wait_that_times_out_raises_and_names_what_was_last_seen(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in), Watcher(broker_url, host) as watcher:
        view = await watcher.wait_for(lambda: watcher.hosts.get(host), 60)
        assert view is watcher.hosts[host]
        await watcher.wait_for(lambda: view.online, 60)
        with pytest.raises(WaitTimeoutError) as caught:
            await watcher.wait_for(lambda: view.stats_received > 99, 0.01)
        assert str(caught.value).startswith("not within 0.01 s: view.stats_received > 99; last seen: view = ")
        assert f"host {host}: online, no reading, newest message " in str(caught.value)
        assert not await watcher.holds_within(lambda: view.stats_received > 99, 0.01)

        async def never() -> bool:
            return False

        with pytest.raises(TypeError, match="never is a coroutine function"):
            await watcher.wait_for(never, 0.01)  # type: ignore[unused-coroutine]


async def test_a_wait_without_a_broker_says_so() -> None:
    async with Watcher(BrokerUrl.parse("mqtt://127.0.0.1:9")) as watcher:
        with pytest.raises(WaitTimeoutError, match=r"last seen: .*no connection: no .*127\.0\.0\.1:9"):
            await watcher.wait_for(lambda: watcher.state == "connected", 0.2)


async def test_a_request_comes_back_with_its_answer(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in), Watcher(broker_url, host) as watcher:
        first, second = await asyncio.gather(
            watcher.request(host, "ping"), watcher.request(host, "set_filter", {"queue_id": 1})
        )
        assert (first.status, second.status) == ("ok", "ok")
        assert {first.result["number"], second.result["number"]} == {1, 2}
        assert {client for client, _ in stand_in.requests} == {watcher.client}


async def test_an_answer_does_not_wait_for_a_delayed_acknowledgement(
    embedded: EmbeddedBroker, host: str, stand_in: EngineStandIn
) -> None:
    async with running_bus(embedded.url, host, stand_in), Watcher(embedded.url, host) as watcher:
        await watcher.request(host, "ping")
        took = [1.0]
        while min(took) >= 0.035 and len(took) < 200:  # a busy machine has a quick one among many
            began = time.monotonic()
            await watcher.request(host, "ping")
            took.append(time.monotonic() - began)
        assert min(took) < 0.035  # TCP delays an acknowledgement by 40 ms or more


async def test_a_request_nobody_answers_times_out_with_a_sentence(broker_url: BrokerUrl, host: str) -> None:
    async with Watcher(broker_url, host) as watcher:
        with pytest.raises(RequestTimeout, match=f"{host} did not answer 'ping' within 0.3 s"):
            await watcher.request(host, "ping", timeout=0.3)


async def test_an_answer_that_cannot_be_read_is_counted_and_the_time_out_says_so(
    broker_url: BrokerUrl, host: str
) -> None:
    async def large(client: str, request: Request) -> Response:
        return Response(id=request.id, status="ok", ndis_status="", result={"all": [{}] * MAX_VALUES})

    bus = EngineBus(broker_url, host, large)
    await bus.start(make_config(host), probe_seconds=0)
    async with Watcher(broker_url, host) as watcher:
        for timeout_s in (0.5, 2, 8, 32):  # a busy machine takes its time to answer
            with pytest.raises(RequestTimeout) as caught:
                await watcher.request(host, "ping", timeout=timeout_s)
            if "an answer can't be read: " in str(caught.value):
                break
        assert re.search(f"an answer can't be read: .*more than {MAX_VALUES} values", str(caught.value))
        assert watcher.undecodable > 0
    await bus.stop()


async def test_a_request_without_a_broker_says_why_and_is_not_sent_later(
    host: str, mosquitto: Mosquitto, stand_in: EngineStandIn
) -> None:
    async with Watcher(BrokerUrl("127.0.0.1", free_port()), host) as watcher:
        await until(lambda: watcher.state == "lost")
        with pytest.raises(NotConnected, match="refused"):
            await watcher.request(host, "ping", timeout=0.3)
        assert watcher._connection._next_batch() == []
        with pytest.raises(BadName):
            await watcher.request("a/b", "ping")


async def test_many_large_answers_at_once_all_have_room(
    broker_url: BrokerUrl, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "INCOMING_LIMIT_BYTES", 200_000)
    monkeypatch.setattr(watcher_module, "FIRST_REPEAT_SECONDS", 60.0)

    async def large(client: str, request: Request) -> Response:
        return Response(id=request.id, status="ok", ndis_status="", result={"large": bytes(10_000)})

    bus = EngineBus(broker_url, host, large)
    await bus.start(make_config(host), probe_seconds=0)
    async with Watcher(broker_url, host) as watcher:
        answers = await asyncio.gather(*(watcher.request(host, "ping", timeout=30) for _ in range(200)))
        assert {one.status for one in answers} == {"ok"}
        assert watcher.no_room == 0
    await bus.stop()


async def test_events_are_bounded_and_the_dropped_ones_counted(
    monkeypatch: pytest.MonkeyPatch, broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    monkeypatch.setattr(host_view, "EVENT_LIMIT", 10)
    async with running_bus(broker_url, host, stand_in) as bus, Watcher(broker_url, host) as watcher:
        assert await watcher.wait_for(lambda: host in watcher.hosts, 60)
        view = watcher.hosts[host]
        for seq in range(25):
            bus.publish_event(event(seq))
        assert await watcher.wait_for(lambda: bool(view.events) and view.events[-1].seq == 24, 60)
        assert [event.seq for event in view.events] == list(range(15, 25))
        assert view.events_dropped == 15


async def test_events_kept_of_all_hosts_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_view, "EVENT_LIMIT", 4)
    monkeypatch.setattr(watcher_module, "KEPT_LIMIT_BYTES", 5000)
    watcher = Watcher(BrokerUrl("127.0.0.1", 9))
    for seq in range(6):
        for name in ("a", "b", "c"):
            large = msgspec.structs.replace(event(seq), cause="x" * 500)
            watcher._on_message(f"vmq/v1/{name}/event", codec.encode(large), False)
    views = [watcher.hosts[name] for name in ("a", "b", "c")]
    assert 7 <= sum(len(view.events) for view in views) <= 9
    assert [view.events[-1].seq for view in views] == [5, 5, 5]
    assert sum(len(view.events) + view.events_dropped for view in views) == 18


async def test_what_does_not_decode_is_counted_and_changes_nothing(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in) as bus, Watcher(broker_url, host) as watcher:
        assert await watcher.wait_for(lambda: watcher.state == "connected" and host in watcher.hosts, 60)
        view = watcher.hosts[host]
        bus.publish_stats(make_stats(1))
        assert await watcher.wait_for(lambda: view.stats is not None and view.config is not None, 60)
        before = view.config
        bus._connection.offer(f"vmq/v1/{host}/config", b"\x81\xa1x\x01")
        bus._connection.offer(f"vmq/v1/{host}/stats", b"\xc1")
        assert await watcher.wait_for(lambda: view.stats is not None and watcher.undecodable == 2, 60)
        assert view.config is not None
        assert before is not None
        assert view.config.revision == before.revision
        assert view.stats is not None
        assert view.stats.seq == 1


async def test_both_sides_find_each_other_again_when_the_broker_restarts(
    tmp_path_factory: pytest.TempPathFactory, mosquitto: Mosquitto, host: str, stand_in: EngineStandIn
) -> None:
    broker = Mosquitto(tmp_path_factory.mktemp("restarted"))
    broker.start()
    try:
        async with running_bus(broker.url, host, stand_in) as bus, Watcher(broker.url, host) as watcher:
            assert await watcher.wait_for(lambda: host in watcher.hosts and watcher.hosts[host].online, 60)
            view = watcher.hosts[host]
            await watcher.request(host, "ping", id="before")
            broker.kill()
            assert await watcher.wait_for(lambda: watcher.state == "lost", 60)
            assert not view.online
            assert "no connection to" in watcher.why
            for seq in range(1, 6):
                bus.publish_stats(make_stats(seq))
            bus.publish_event(event(1))
            asking = asyncio.create_task(watcher.request(host, "ping", id="during", timeout=10))
            await until(lambda: bus.state == "lost")
            broker.start()
            answer = await asking
            assert answer.result == {"number": 2}
            assert bus.counters.readings_replaced >= 4
            bus.publish_stats(make_stats(6))
            assert await watcher.wait_for(lambda: view.online and view.stats is not None, 60)
            assert await watcher.wait_for(lambda: view.stats is not None and view.stats.seq == 6, 60)
            again = await watcher.request(host, "ping", id="before")
            assert again.result == {"number": 1}
            assert len(stand_in.requests) == 2
    finally:
        broker.kill()


async def test_a_request_whose_answer_was_lost_with_the_connection_is_asked_again_and_done_once(
    tmp_path_factory: pytest.TempPathFactory, mosquitto: Mosquitto, host: str, stand_in: EngineStandIn
) -> None:
    broker = Mosquitto(tmp_path_factory.mktemp("lost-answer"))
    broker.start()
    stand_in.hold.clear()
    try:
        async with running_bus(broker.url, host, stand_in) as bus, Watcher(broker.url, host) as watcher:
            asking = asyncio.create_task(watcher.request(host, "free_queue", timeout=10))
            await until(lambda: len(stand_in.requests) == 1)
            broker.kill()
            await until(lambda: bus.state == watcher.state == "lost")
            broker.start()
            await until(lambda: bus.state == watcher.state == "connected")
            stand_in.hold.set()
            assert (await asking).result == {"number": 1}
            assert len(stand_in.requests) == 1
    finally:
        broker.kill()


async def test_a_broker_that_no_longer_reads_is_left_and_costs_bounded_memory() -> None:
    """A server that completes the MQTT handshake and then reads nothing more."""

    async def half_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read(1024)
        writer.write(b"\x20\x02\x00\x00")
        subscribe = await reader.read(1024)
        writer.write(b"\x90\x03" + subscribe[2:4] + b"\x00")

    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(half_broker, "127.0.0.1", 0, limit=4096)
    url = BrokerUrl("127.0.0.1", server.sockets[0].getsockname()[1])
    connection = Connection(
        url, "me", [("x", 0)], lambda *_: None, lambda *_: None, publish_timeout_seconds=0.3
    )
    connection.start()
    await until(lambda: connection.state == "connected")
    while connection.state == "connected":
        connection.offer("stats", bytes(4 << 20))
        await asyncio.sleep(0.01)
    assert len(connection._newest) <= 1
    assert connection.overwritten > 0
    await until(lambda: connection.connections > 1)
    await connection.stop(0.1)
    for writer in connections:
        writer.close()
    server.close()


async def test_a_full_queue_refuses_and_counts() -> None:
    url = BrokerUrl("127.0.0.1", free_port())
    connection = Connection(url, "me", [], lambda *_: None, lambda *_: None)
    sent = [connection.publish("x", b"") for _ in range(1030)]
    assert sent[:1024].count(None) == 0
    assert sent[1024:] == [None] * 6
    assert connection.dropped == 6


async def test_a_refused_subscription_is_told(host: str) -> None:
    async def refusing_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"\x20\x02\x00\x00")
        subscribe = await reader.read(1024)
        writer.write(b"\x90\x07" + subscribe[3:5] + b"\x01\x80\x01\x00\x01")
        await reader.read(1024)
        writer.close()

    server = await asyncio.start_server(refusing_broker, "127.0.0.1", 0)
    async with Watcher(BrokerUrl("127.0.0.1", server.sockets[0].getsockname()[1]), host) as watcher:
        assert await watcher.wait_for(lambda: watcher.state == "lost", 60)
        assert f"refuses the subscription to vmq/v1/{host}/config" in watcher.why
    server.close()


async def test_a_broker_that_refuses_the_credentials_is_quoted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def refusing_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"\x20\x02\x00\x05")
        writer.close()

    server = await asyncio.start_server(refusing_broker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Watcher(BrokerUrl("127.0.0.1", port, user="ann", password="sesame")) as watcher:
        assert await watcher.wait_for(lambda: watcher.state == "lost", 60)
        assert watcher.why == f"no connection to mqtt://ann@127.0.0.1:{port}: Not authorized"
    server.close()
