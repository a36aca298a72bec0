"""The engine's side, seen by an independent client: paho-mqtt and msgpack."""

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from engine.bus import engine_bus
from engine.bus.broker import EmbeddedBroker
from engine.bus.connection import Connection
from engine.bus.engine_bus import AT_WORK_LIMIT, TAKEN_IN_LIMIT, EngineBus
from engine.bus.errors import HostTaken, NotConnected
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.telemetry.events import Event
from tests.bus.conftest import (
    EngineStandIn,
    Mosquitto,
    free_port,
    make_config,
    make_stats,
    running_bus,
)
from vmqtui.testing import until


class Reader:
    """An MQTT client that knows nothing of the engine's code."""

    def __init__(self, url: BrokerUrl, host: str) -> None:
        self.host = host
        self.client_id = f"reader-{host}"[:64]
        self._received: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.client_id)
        self._client.on_message = lambda _client, _data, message: self._received.put(message)
        self._client.on_subscribe = lambda *_: self._subscribed.put(True)
        self._subscribed: queue.Queue[bool] = queue.Queue()
        self._client.username_pw_set(url.user, url.password)
        self._client.connect(url.host, url.port)
        self._client.loop_start()
        topics = ["status", "config", "stats", "event", f"response/{self.client_id}"]
        self._client.subscribe([(f"vmq/v1/{host}/{topic}", 1) for topic in topics])
        self._subscribed.get(timeout=60)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    async def next(self, kind: str) -> tuple[mqtt.MQTTMessage, dict[str, Any]]:
        """The next message on a topic of that ``kind``; what came before is passed over."""
        topic = f"vmq/v1/{self.host}/{kind}"
        while True:
            message = await self.next_of_all()
            if message.topic == topic:
                return message, msgpack.unpackb(message.payload)

    async def next_of_all(self) -> mqtt.MQTTMessage:
        """The next message on any topic."""
        return await asyncio.to_thread(self._received.get, timeout=60)

    async def answer(self) -> dict[str, Any]:
        return (await self.next(f"response/{self.client_id}"))[1]

    def unread(self, kind: str) -> int:
        return sum(message.topic.split("/")[3] == kind for message in list(self._received.queue))

    def ask_raw(self, payload: bytes, *, retain: bool = False) -> None:
        topic = f"vmq/v1/{self.host}/request/{self.client_id}"
        self._client.publish(topic, payload, 1, retain).wait_for_publish(60)

    def ask(self, id: str, op: str, params: dict[str, Any] | None = None) -> None:
        self.ask_raw(msgpack.packb({"id": id, "op": op, "params": params or {}}))


@pytest.fixture
def reader(broker_url: BrokerUrl, host: str) -> Iterator[Reader]:
    reader = Reader(broker_url, host)
    yield reader
    reader.stop()


async def test_status_config_stats_and_events_are_read_by_another_client(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in) as bus:
        _, status = await reader.next("status")
        assert (status["state"], status["version"], status["schema"]) == ("online", "1.2.3", "vmq.status/1")
        assert status["interval_ns"] == 250_000_000
        _, config = await reader.next("config")
        assert (config["host"], config["revision"], config["adapters"][0]["name"]) == (host, 1, "nic0")
        bus.publish_stats(make_stats(7))
        _, stats = await reader.next("stats")
        assert stats["schema"] == "vmq.stats/1"
        assert stats["adapters"]["nic0"]["queues"] == {"id": [0, 1, 2, 3], "steered_frames": [0, 7, 14, 21]}
        bus.publish_event(Event(seq=1, sim_time_ns=2, time_ns=3, event="queue_freed", queue_id=4))
        message, event = await reader.next("event")
        assert (message.qos, event["event"], event["queue_id"]) == (1, "queue_freed", 4)


async def test_once_started_both_are_retained_by_however_slow_a_broker(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Connection._send_one

    async def slowly(*arguments: Any) -> None:
        await asyncio.sleep(0.3)
        await send(*arguments)

    monkeypatch.setattr(Connection, "_send_one", slowly)
    async with running_bus(broker_url, host, stand_in):
        reader = await asyncio.to_thread(Reader, broker_url, host)
        found = {message.topic: message.retain for message in [await reader.next_of_all() for _ in range(2)]}
        reader.stop()
    assert found == {f"vmq/v1/{host}/status": True, f"vmq/v1/{host}/config": True}


async def test_status_and_config_are_retained_and_stats_are_not(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in) as bus:
        first = await asyncio.to_thread(Reader, broker_url, host)
        bus.publish_config(make_config(host, revision=2))
        while (await first.next("config"))[1]["revision"] != 2:
            pass
        bus.publish_stats(make_stats(1))
        await first.next("stats")
        first.stop()
        late = await asyncio.to_thread(Reader, broker_url, host)
        message, _ = await late.next("status")
        assert message.retain
        message, config = await late.next("config")
        assert (message.retain, config["revision"]) == (True, 2)
        late.ask("1", "ping")
        await late.answer()
        assert late.unread("stats") == 0
        late.stop()


async def configurations(reader: Reader, bus: EngineBus, *revisions: int) -> list[int]:
    """Publish configurations, with a request after each; return the revisions that were read before a last
    reading."""
    read = []
    for revision in revisions:
        bus.publish_config(make_config(bus.host, revision=revision))
        reader.ask(f"after {revision}", "ping")
        while True:
            message = await reader.next_of_all()
            if message.topic.endswith("/config"):
                read.append(msgpack.unpackb(message.payload)["revision"])
            if "/response/" in message.topic:
                break
    bus.publish_stats(make_stats(revisions[-1]))
    while not (message := await reader.next_of_all()).topic.endswith("/stats"):
        if message.topic.endswith("/config"):
            read.append(msgpack.unpackb(message.payload)["revision"])
    return read


async def test_configurations_in_a_row_are_few_and_the_newest_precedes_the_next_reading(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_bus, "CONFIG_PAUSE_S", 3600)
    async with running_bus(broker_url, host, stand_in) as bus:
        assert (await reader.next("config"))[1]["revision"] == 1
        assert await configurations(reader, bus, 2, 3, 4) == [4]
        bus.publish_config(make_config(host, revision=5))
        bus.publish_event(Event(seq=1, sim_time_ns=2, time_ns=3, event="queue_freed", queue_id=4))
        assert (await reader.next("config"))[1]["revision"] == 5
        bus.publish_config(make_config(host, revision=6))
    while (await reader.next("config"))[1]["revision"] != 6:  # it is not lost when the engine stops
        pass


async def test_configuration_that_waits_is_published_after_the_pause(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in) as bus:
        for revision in (2, 3, 4):
            bus.publish_config(make_config(host, revision=revision))
        while (await reader.next("config"))[1]["revision"] != 4:
            pass


async def test_a_clean_stop_sends_the_last_stats_and_then_offline(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    bus = EngineBus(broker_url, host, stand_in)
    await bus.start(make_config(host), probe_seconds=0)
    assert (await reader.next("status"))[1]["state"] == "online"
    await bus.stop(make_stats(99))
    _, stats = await reader.next("stats")
    assert stats["seq"] == 99
    _, status = await reader.next("status")
    assert status["state"] == "offline"


async def test_what_is_not_begun_when_an_engine_stops_is_refused_and_never_begun(
    embedded: EmbeddedBroker, host: str, stand_in: EngineStandIn
) -> None:
    bus = EngineBus(embedded.url, host, stand_in)
    await bus.start(make_config(host), probe_seconds=0)
    stand_in.hold.clear()
    async with Watcher(embedded.url, host) as watcher:
        assert await watcher.wait_for(lambda: host in watcher.hosts, 60)
        asked = [
            asyncio.create_task(watcher.request(host, "ping", timeout=30)) for _ in range(AT_WORK_LIMIT + 5)
        ]
        await until(lambda: len(bus._waiting) == 5)
        await bus.stop(timeout=1.0)
        await until(lambda: sum(one.done() for one in asked) == 5)
        refused = [one.result() for one in asked if one.done()]
        assert {one.ndis_status for one in refused} == {"NDIS_STATUS_NOT_ACCEPTED"}
        assert len(stand_in.requests) == AT_WORK_LIMIT
        assert bus.counters.requests_refused == 5
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def test_an_engine_that_vanishes_is_offline_by_its_will(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    bus = EngineBus(broker_url, host, stand_in)
    await bus.start(make_config(host), probe_seconds=0)
    assert (await reader.next("status"))[1]["state"] == "online"
    await bus._connection.stop(0)  # cut, as by kill -9
    _, status = await reader.next("status")
    assert (status["state"], status["schema"]) == ("offline", "vmq.status/1")


async def test_a_late_will_of_its_own_past_does_not_leave_an_engine_offline(
    mosquitto: Mosquitto, host: str, stand_in: EngineStandIn
) -> None:
    async with running_bus(mosquitto.url, host, stand_in):
        reader = Reader(mosquitto.url, host)
        assert (await reader.next("status"))[1]["state"] == "online"
        late = msgpack.packb({"schema": "vmq.status/1", "state": "offline"})
        reader._client.publish(f"vmq/v1/{host}/status", late, 1, retain=True)
        assert (await reader.next("status"))[1]["state"] == "offline"
        assert (await reader.next("status"))[1]["state"] == "online"
        reader.stop()


async def test_a_request_is_answered_once_on_the_topic_of_its_client(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in):
        reader.ask("id-1", "allocate_queue", {"name": "web"})
        answer = await reader.answer()
        assert answer["schema"] == "vmq.response/1"
        assert (answer["id"], answer["status"], answer["ndis_status"]) == (
            "id-1",
            "ok",
            "NDIS_STATUS_SUCCESS",
        )
        client, request = stand_in.requests[0]
        assert client == reader.client_id
        assert (request.op, request.params) == ("allocate_queue", {"name": "web"})


async def test_a_repeated_id_gets_the_first_answer_and_is_not_carried_out_again(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in):
        reader.ask("1", "set_filter", {"a": 1, "b": 2})
        first = await reader.answer()
        reader.ask("1", "set_filter", {"b": 2, "a": 1})
        assert await reader.answer() == first
        reader.ask("1", "set_filter", {"a": 1, "b": 3})
        other = await reader.answer()
        assert (other["id"], other["ndis_status"]) == ("1", "NDIS_STATUS_INVALID_PARAMETER")
        assert "id" in other["message"]
        reader.ask("1", "set_filter", {"a": 1, "b": 2})
        assert await reader.answer() == first
        assert len(stand_in.requests) == 1


async def test_a_duplicate_of_a_request_in_progress_shares_its_one_answer(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    stand_in.hold.clear()
    async with running_bus(broker_url, host, stand_in):
        reader.ask("1", "free_queue")
        reader.ask("1", "free_queue")
        reader.ask("2", "free_queue")
        await until(lambda: len(stand_in.requests) == 2)
        stand_in.hold.set()
        answers = [await reader.answer(), await reader.answer()]
        assert [(answer["id"], answer["result"]["number"]) for answer in answers] == [("1", 1), ("2", 2)]
        reader.ask("3", "ping")
        assert (await reader.answer())["id"] == "3"


async def test_more_requests_than_an_engine_takes_in_wait_at_the_broker_and_are_all_answered(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    count = TAKEN_IN_LIMIT + 200
    async with running_bus(broker_url, host, stand_in) as bus:
        stand_in.hold.clear()

        def ask() -> None:
            for number in range(count):
                reader._client.publish(
                    f"vmq/v1/{host}/request/{reader.client_id}",
                    msgpack.packb({"id": str(number), "op": "ping", "params": {}}),
                    1,
                )

        await asyncio.to_thread(ask)
        await until(lambda: len(bus._waiting) >= TAKEN_IN_LIMIT)
        async with Watcher(broker_url, host) as other:
            asked = asyncio.create_task(other.request(host, "ping", timeout=30))
            stand_in.hold.set()
            assert (await asked).status == "ok"
        numbers = [int((await reader.answer())["id"]) for _ in range(count)]
        assert numbers == list(range(count))
        assert (bus.counters.requests_refused, bus.counters.messages_dropped) == (0, 0)


async def test_what_waited_to_be_looked_at_is_acknowledged_and_a_request_behind_it_answered(
    broker_url: BrokerUrl,
    host: str,
    reader: Reader,
    stand_in: EngineStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_bus, "TAKEN_IN_LIMIT", 1)
    async with running_bus(broker_url, host, stand_in) as bus:
        for _ in range(100):  # more than a broker sends without acknowledgements
            reader._client.publish(f"vmq/v1/{host}/request/{reader.client_id}", b"\xc1", 1)
        await asyncio.to_thread(reader.ask, "after", "ping")
        assert (await reader.answer())["id"] == "after"
        assert bus.counters.bad_requests == 100


async def test_what_cannot_be_decoded_is_counted_and_told_but_not_answered(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in) as bus:
        reader.ask_raw(b"\xc1")
        reader.ask_raw(msgpack.packb({"id": 1, "op": "ping"}))
        reader.ask_raw(msgpack.packb({"id": "x" * 65, "op": "ping"}))
        reader.ask_raw(bytes((1 << 20) + 1))
        reader.ask("good", "ping")
        assert (await reader.answer())["id"] == "good"
        assert bus.bad_requests == 4
        assert [client for client, _ in stand_in.bad] == [reader.client_id] * 4
        assert "65 bytes" in stand_in.bad[2][1]


async def test_params_that_are_no_map_are_an_invalid_parameter(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in):
        reader.ask_raw(msgpack.packb({"id": "1", "op": "ping", "params": 5}))
        answer = await reader.answer()
        assert (answer["status"], answer["ndis_status"]) == ("error", "NDIS_STATUS_INVALID_PARAMETER")
        assert answer["message"].startswith("params")
        reader.ask("1", "ping")
        assert "another request" in (await reader.answer())["message"]
        assert stand_in.requests == []


async def test_a_handler_that_fails_is_answered_as_a_failure(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in):
        reader.ask("1", "fail")
        assert (await reader.answer())["ndis_status"] == "NDIS_STATUS_FAILURE"
        reader.ask("2", "ping")
        assert (await reader.answer())["status"] == "ok"


async def test_a_retained_request_is_not_carried_out_at_the_next_start(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    reader.ask_raw(msgpack.packb({"id": "1", "op": "free_queue"}), retain=True)
    async with running_bus(broker_url, host, stand_in):
        reader.ask("2", "ping")
        assert (await reader.answer())["id"] == "2"
        assert [request.id for _, request in stand_in.requests] == ["2"]


async def test_a_second_engine_of_the_same_host_refuses_to_start(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    async with running_bus(broker_url, host, stand_in):
        second = EngineBus(broker_url, host, stand_in)
        with pytest.raises(HostTaken, match=host):
            await second.start(make_config(host))
    await second.start(make_config(host))
    await second.stop()


async def test_a_host_that_says_online_but_does_not_answer_is_not_taken(
    broker_url: BrokerUrl, host: str, reader: Reader, stand_in: EngineStandIn
) -> None:
    left_over = msgpack.packb({"schema": "vmq.status/1", "state": "online"})
    reader._client.publish(f"vmq/v1/{host}/status", left_over, 1, retain=True).wait_for_publish(60)
    bus = EngineBus(broker_url, host, stand_in)
    await bus.start(make_config(host), probe_seconds=0.3)
    await bus.stop()


async def test_an_engine_without_a_broker_says_so(host: str, stand_in: EngineStandIn) -> None:
    bus = EngineBus(BrokerUrl("127.0.0.1", free_port()), host, stand_in)
    with pytest.raises(NotConnected, match=r"no connection to mqtt://127\.0\.0\.1.*refused"):
        await bus.start(make_config(host), timeout=0.3)
    with pytest.raises(NotConnected, match="refused"):
        await bus.start(make_config(host), timeout=0.3, probe_seconds=0)


@contextlib.asynccontextmanager
async def measured_bus(url: BrokerUrl, host: str) -> AsyncIterator[EngineBus]:
    """The bus of a measured host that is online."""
    bus = EngineBus(url, host, interval_ns=1_000_000_000)
    await bus.start(make_config(host, revision=7), probe_seconds=0)
    try:
        yield bus
    finally:
        await bus.stop()


async def test_a_measured_host_says_that_it_is_one_and_takes_no_requests(
    broker_url: BrokerUrl, host: str, reader: Reader
) -> None:
    async with measured_bus(broker_url, host):
        status = (await reader.next("status"))[1]
        assert (status["state"], status["kind"], status["controls"]) == ("online", "measured", False)
        reader.ask("a", "free_queue", {"queue_id": 1})
        refused = await reader.answer()
        assert (refused["status"], refused["ndis_status"]) == ("error", "NDIS_STATUS_NOT_SUPPORTED")
        assert "nothing is changed on it" in refused["message"]
        assert host in refused["message"]
        assert refused["revision"] == 7
        reader.ask("b", "pnig")
        assert (await reader.answer())["message"] == 'op: "pnig" is not an operation; the nearest is "ping"'
        reader.ask("c", "ping")
        assert (await reader.answer())["status"] == "ok"
        reader.ask("d", "query_events", {"limit": 0})
        assert (await reader.answer())["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"
    status = (await reader.next("status"))[1]
    assert (status["state"], status["kind"], status["controls"]) == ("offline", "measured", False)


async def test_a_measured_host_answers_with_its_past_events(broker_url: BrokerUrl, host: str) -> None:
    events = [
        Event(seq=seq, sim_time_ns=seq, time_ns=seq, event="link_down", cause=f"eth{seq}")
        for seq in (1, 2, 3)
    ]
    async with measured_bus(broker_url, host) as bus, Watcher(broker_url, host) as watcher:
        for event in events:
            bus.publish_event(event)
        answer = await watcher.request(host, "query_events", {"since_seq": 1}, check=True)
        assert [one["cause"] for one in answer.result["events"]] == ["eth2", "eth3"]


async def test_a_measured_host_takes_no_name_that_is_taken(broker_url: BrokerUrl, host: str) -> None:
    async with measured_bus(broker_url, host):
        with pytest.raises(HostTaken):
            await EngineBus(broker_url, host).start(make_config(host))
