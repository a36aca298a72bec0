"""Floods on the topics that engines and readers listen to."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable

from engine.bus import codec, topics
from engine.bus import watcher as watcher_module
from engine.bus.messages import Status
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from tests.bus.conftest import make_stats
from tests.faults.lab import Lab
from tests.mqtt.test_packets import connect_packet, text

FLOOD = 3000


def publish_packet(topic: str, payload: bytes) -> bytes:
    """A PUBLISH at QoS 0."""
    body = text(topic.encode()) + payload
    length, rest = b"", len(body)
    while rest > 127:
        length += bytes((rest % 128 | 128,))
        rest //= 128
    return b"\x30" + length + bytes((rest,)) + body


class Flooder:
    """A client that knows no mercy."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self.reader = reader
        self.writer = writer

    async def flood(self, messages: Iterable[tuple[str, bytes]]) -> None:
        for topic, payload in messages:
            self.writer.write(publish_packet(topic, payload))
            await self.writer.drain()


@contextlib.asynccontextmanager
async def flooder(url: BrokerUrl) -> AsyncIterator[Flooder]:
    """One that is connected."""
    name = "flood-" + secrets.token_hex(4)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(connect_packet(name.encode(), url=url))
    assert (await reader.readexactly(4))[3] == 0
    try:
        yield Flooder(name, reader, writer)
    finally:
        writer.close()


async def test_an_engine_in_a_flood_of_garbage_still_answers_and_reports(lab: Lab) -> None:
    before = lab.engine._host_bus.bus.counters
    events_before = sum(event.event == "bad_request" for event in lab.view.events)
    async with flooder(lab.broker.url) as client:
        topic = topics.request("lab", client.name)
        async with asyncio.TaskGroup() as group:
            group.create_task(client.flood((topic, bytes(100)) for _ in range(FLOOD)))
            await lab.ask()
            await lab.live()
        await lab.ask()
    now = lab.engine._host_bus.bus.counters
    counted = now.bad_requests + now.requests_dropped - before.bad_requests - before.requests_dropped
    assert 0 < counted <= FLOOD
    told = sum(event.event == "bad_request" for event in lab.view.events) - events_before
    assert told < counted  # one for many, how many depends on who is faster
    assert now.messages_dropped == before.messages_dropped


async def test_a_reader_in_a_flood_of_hosts_and_readings_still_sees_and_asks(lab: Lab) -> None:
    online = codec.encode(Status(state="online"))
    reading = codec.encode(make_stats(1, queues=200))
    async with Watcher(lab.of_reader.url) as reader, flooder(lab.broker.url) as client:
        assert await reader.wait_for(lambda: "lab" in reader.hosts and reader.hosts["lab"].online, 60)
        own = reader.hosts["lab"]
        names = [f"flood-{number}" for number in range(2 * watcher_module.HOST_LIMIT)]
        await client.flood((topics.status(name), online) for name in names)
        await client.flood((topics.stats("flood-0"), reading) for _ in range(FLOOD))
        await lab.ledger.ask(reader)
        seen = own.stats_received
        assert await reader.wait_for(lambda: own.online and own.stats_received > seen, 60)
        if lab.broker.name == "Mosquitto":  # everybody may say anything there
            assert len(reader.hosts) == watcher_module.HOST_LIMIT
            assert reader.no_room > 0
        else:
            assert not reader.hosts.keys() & set(names)
