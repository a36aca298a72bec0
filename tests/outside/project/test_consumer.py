"""A consumer that is slower than the engine, against a clock that stands still."""

import threading
from typing import Any
from urllib.parse import urlsplit

import msgpack
from lab import SCENARIO
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from vmqtui import Engine
from vmqtui.testing import until


class SlowConsumer:
    """Takes in a reading only when the test lets it."""

    def __init__(self, url: str) -> None:
        self.go = threading.Event()
        self.seen: list[Any] = []
        self.subscribed = threading.Event()
        broker = urlsplit(url)
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.username_pw_set(broker.username, broker.password)
        self.client.on_message = self.take
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.connect(broker.hostname or "", broker.port or 1883)
        self.client.subscribe("vmq/v1/lab/stats", 1)
        self.client.loop_start()

    def take(self, client: Client, user: object, message: MQTTMessage) -> None:
        self.go.wait(60)
        self.seen.append(msgpack.unpackb(message.payload))

    def close(self) -> None:
        self.go.set()
        self.client.disconnect()
        self.client.loop_stop()


async def test_a_slow_consumer_ends_up_with_the_numbers_of_the_moment_at_which_the_clock_stands() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        consumer = SlowConsumer(engine.url.with_password())
        try:
            await until(consumer.subscribed.is_set)
            reading = await engine.advance(1.0)
            assert consumer.seen == []  # it has taken in nothing, and the clock does not move
            consumer.go.set()
            await until(lambda: consumer.seen and consumer.seen[-1]["seq"] == reading.seq, timeout_s=60)
        finally:
            consumer.close()
        last = consumer.seen[-1]
        assert last["sim_time_ns"] == 1_000_000_000
        assert (
            last["adapters"]["nic0"]["queues"]["received_frames"][1] == engine.queue("web-01").received_frames
        )
        assert [one["seq"] for one in consumer.seen] == sorted({one["seq"] for one in consumer.seen})
