"""Readers that stop reading, and readers that are behind: what they cost others, and what they see."""

import asyncio
import contextlib
import os
import socket
import threading
import time

import psutil
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from engine.bus import codec, topics
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.mqtt.outbox import UNREAD_LIMIT_BYTES
from tests.bus.conftest import EngineStandIn, make_stats, running_bus
from tests.faults.lab import Lab
from tests.mqtt.test_packets import connect_packet, text

STALLED = 2
READINGS = 32
MEGABYTE = 1 << 20


def stalled_reader(url: BrokerUrl, topic: str, number: int) -> socket.socket:
    """A client that subscribes and then reads nothing."""
    connection = socket.create_connection((url.host, url.port), 5)
    connection.sendall(connect_packet(b"stalled-%d-%d" % (os.getpid(), number), url=url))
    body = b"\x00\x01" + text(topic.encode()) + b"\x00"
    connection.sendall(bytes((0x82, len(body))) + body)
    assert connection.recv(4)[3] == 0
    return connection


async def test_readers_that_do_not_read_cost_the_engine_and_other_readers_nothing(
    shared_lab: Lab,
) -> None:
    broker_url, host = shared_lab.broker.url, "large"
    process = psutil.Process(shared_lab.broker.pid)
    topic, payload = topics.stats(host), os.urandom(MEGABYTE)
    with contextlib.ExitStack() as stack:
        async with (
            running_bus(broker_url, host, EngineStandIn()) as bus,
            Watcher(broker_url, host) as watcher,
        ):
            assert await watcher.wait_for(lambda: host in watcher.hosts and watcher.hosts[host].online, 60)
            view = watcher.hosts[host]
            for number in range(STALLED):
                stack.enter_context(
                    contextlib.closing(await asyncio.to_thread(stalled_reader, broker_url, topic, number))
                )
            before, replaced = process.memory_info().rss, bus.counters.readings_replaced
            for number in range(READINGS):
                bus._connection.offer(topic, payload)
                # Mypy infers no lambda with defaults.
                assert await watcher.wait_for(lambda number=number: view.stats_received > number, 60)  # type: ignore[misc]
            assert (await watcher.request(host, "ping")).status == "ok"
            assert bus.counters.readings_replaced == replaced
            assert bus.counters.connections == 1
            grown = process.memory_info().rss - before
            assert grown < STALLED * UNREAD_LIMIT_BYTES + 32 * MEGABYTE


async def test_a_reader_that_is_behind_sees_the_newest_reading_and_counts_what_it_skipped(
    shared_lab: Lab,
) -> None:
    broker_url, host, readings = shared_lab.broker.url, "fast", 200
    publisher = Client(CallbackAPIVersion.VERSION2, client_id=f"publisher-{os.getpid()}")
    if broker_url.user is not None:
        publisher.username_pw_set(broker_url.user, broker_url.password)
    publisher.will_set(topics.status(host))  # that of an engine of this host
    subscribed = threading.Event()

    def publish() -> None:
        subscribed.wait(60)
        for seq in range(1, readings + 1):
            publisher.publish(topics.stats(host), codec.encode(make_stats(seq)))

    def handle_slowly(name: str, kind: str, payload: bytes) -> None:
        if kind == "stats":
            time.sleep(0.01)  # what keeps it behind

    publisher.connect(broker_url.host, broker_url.port)
    publisher.loop_start()
    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        async with Watcher(broker_url, host, on_message=handle_slowly) as watcher:
            assert await watcher.wait_for(lambda: watcher.state == "connected", 60)
            subscribed.set()
            assert await watcher.wait_for(lambda: host in watcher.hosts, 60)
            view = watcher.hosts[host]
            assert view.stats is not None
            first = view.stats.seq

            def up_to_date() -> bool:
                return view.stats is not None and view.stats.seq == readings

            assert await watcher.wait_for(up_to_date, 60)
            assert watcher.replaced > 0
            assert view.stats_received + watcher.replaced == readings
            assert view.stats_missed == readings - view.stats_received - (first - 1)
            assert watcher.no_room == 0
    finally:
        publishing.join()
        publisher.disconnect()
        publisher.loop_stop()
