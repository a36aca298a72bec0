"""The broker as clients that others wrote find it: paho, aiomqtt, Mosquitto's."""

import asyncio
import queue
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import aiomqtt
import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv31, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.mqtt.test_packets import connect_packet

mosquitto_clients = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto's clients are not installed"
)


class Paho:
    """A client of paho's in a thread of its own; its methods block."""

    def __init__(self, port: int, name: str, protocol: MQTTProtocolVersion = MQTTv311) -> None:
        self.connected: queue.Queue[str] = queue.Queue()
        self.granted: queue.Queue[list[int]] = queue.Queue()
        self.came: queue.Queue[MQTTMessage] = queue.Queue()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
        self.client.on_connect = lambda c, u, f, reason, p: self.connected.put(str(reason))
        self.client.on_subscribe = lambda c, u, m, codes, p: self.granted.put([code.value for code in codes])
        self.client.on_message = lambda c, u, message: self.came.put(message)
        self._port = port

    def connect(self) -> str:
        """Why it was let in, or not."""
        self.client.connect("127.0.0.1", self._port, keepalive=10)
        self.client.loop_start()
        return self.connected.get(timeout=10)

    def subscribe(self, *filters: tuple[str, int]) -> list[int]:
        self.client.subscribe(list(filters))
        return self.granted.get(timeout=10)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(10)

    def next(self) -> MQTTMessage:
        return self.came.get(timeout=10)

    def vanish(self) -> None:
        """Lose the connection without a word."""
        peer = self.client.socket()
        assert isinstance(peer, socket.socket)
        peer.shutdown(socket.SHUT_RDWR)
        self.leave()

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def paho(port: int, name: str) -> Iterator[Paho]:
    one = Paho(port, name)
    assert one.connect() == "Success"
    try:
        yield one
    finally:
        one.leave()


async def test_paho_publishes_retains_and_reads(port: int) -> None:
    def run() -> None:
        with paho(port, "writer") as writer, paho(port, "reader") as reader:
            writer.publish("a/1", b"kept", 1, retain=True)
            assert reader.subscribe(("a/+", 1), ("b", 0), ("c", 2), ("forbidden/x", 0)) == [1, 0, 1, 0x80]
            first = reader.next()
            assert (first.topic, first.payload, first.qos, first.retain) == ("a/1", b"kept", 1, True)
            for number in range(500):  # more than may be in flight
                writer.publish("a/2", b"%d" % number, 1)
            got = [reader.next() for _ in range(500)]
            assert [int(one.payload) for one in got] == list(range(500))
            assert {(one.qos, one.retain, one.dup) for one in got} == {(1, False, False)}
            reader.client.unsubscribe("a/+")
            writer.publish("b", bytes(900_000), 0)
            assert len(reader.next().payload) == 900_000

    await asyncio.to_thread(run)


async def test_paho_gets_a_will_of_a_client_that_vanishes_and_none_of_one_that_leaves(port: int) -> None:
    def run() -> None:
        with paho(port, "mourner") as mourner:
            assert mourner.subscribe(("status/+", 1)) == [1]
            for name in ("leaves", "vanishes"):
                dying = Paho(port, name)
                dying.client.will_set(f"status/{name}", b"gone", 1, retain=True)
                assert dying.connect() == "Success"
                (dying.leave if name == "leaves" else dying.vanish)()
            message = mourner.next()
            assert (message.topic, message.payload, message.retain) == ("status/vanishes", b"gone", False)
        with paho(port, "late") as late:
            late.subscribe(("#", 0))
            assert late.next().topic == "status/vanishes"

    await asyncio.to_thread(run)


@pytest.mark.parametrize("protocol", [MQTTv5, MQTTv31])
async def test_paho_is_told_that_another_version_is_not_supported(
    port: int, protocol: MQTTProtocolVersion
) -> None:
    refused = Paho(port, "another-version", protocol)
    reason = await asyncio.to_thread(refused.connect)
    refused.leave()
    assert reason == "Unsupported protocol version"


@mosquitto_clients
async def test_mosquitto_is_told_that_version_5_is_not_supported(port: int) -> None:
    command = ["mosquitto_sub", "-V", "mqttv5", "-p", str(port), "-t", "a", "-W", "5"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "protocol version" in done.stderr.lower() + done.stdout.lower()


@mosquitto_clients
async def test_mosquitto_publishes_and_reads(port: int) -> None:
    def run() -> None:
        lines = "".join(f"{number}\n" for number in range(200))
        reading = ["mosquitto_sub", "-p", str(port), "-t", "+/news", "-q", "1", "-C", "201", "-W", "20"]
        with subprocess.Popen(reading, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            publish = ["mosquitto_pub", "-p", str(port), "-t", "the/news"]
            kept = ["-m", "kept", "-q", "1", "-r"]
            subprocess.run([*publish, *kept], check=True, timeout=20)  # sooner or later than it subscribes
            assert reader.stdout.readline() == "kept\n"
            subprocess.run([*publish, "-q", "1", "-l"], input=lines, text=True, check=True, timeout=20)
            assert reader.stdout.read() == lines
            assert reader.wait(20) == 0

    await asyncio.to_thread(run)


async def test_aiomqtt_asks_and_is_answered(port: int) -> None:
    async with (
        aiomqtt.Client("127.0.0.1", port, identifier="asks") as asks,
        aiomqtt.Client("127.0.0.1", port, identifier="answers") as answers,
    ):
        await answers.subscribe("request/+", 1)
        await asks.subscribe("response/asks", 1)

        async def answer() -> None:
            async for message in answers.messages:
                client = message.topic.value.rpartition("/")[2]
                await answers.publish(f"response/{client}", message.payload, 1)

        answering = asyncio.create_task(answer())
        async with asyncio.timeout(60):
            for number in range(10):
                await asks.publish("request/asks", str(number), 1)
                assert (await anext(aiter(asks.messages))).payload == b"%d" % number
        answering.cancel()


async def test_a_client_may_send_before_it_is_let_in(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(connect_packet(b"eager") + b"\x82\x06\0\1\0\1a\0" + b"\x30\x04\0\1ax" + b"\xc0\0")
    async with asyncio.timeout(60):
        assert await reader.readexactly(4) == b"\x20\2\0\0"
        assert await reader.readexactly(5) == b"\x90\3\0\1\0"
        assert await reader.readexactly(6) == b"\x30\4\0\1ax"
        assert await reader.readexactly(2) == b"\xd0\0"
    writer.close()


async def test_a_client_that_half_closes_is_heard_to_the_end(port: int) -> None:
    async with aiomqtt.Client("127.0.0.1", port, identifier="hears") as hears:
        await hears.subscribe("a")
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(connect_packet(b"brief") + b"\x30\x04\0\1ax" * 300 + b"\xe0\0")
        writer.write_eof()
        async with asyncio.timeout(60):
            for _ in range(300):
                assert (await anext(aiter(hears.messages))).payload == b"x"
        writer.close()


@pytest.mark.skipif(
    not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system can't bound what it has unsent"
)
async def test_an_answer_to_a_client_that_is_behind_comes_before_most_readings(port: int) -> None:
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        slow.connect(("127.0.0.1", port))
        slow.setblocking(False)
        event_loop = asyncio.get_running_loop()
        subscribe = b"\x82\x15\0\1\0\7reading\0\0\6answer\1"
        await event_loop.sock_sendall(slow, connect_packet(b"slow") + subscribe)

        async def read_until(end: bytes) -> bytes:
            came = b""
            while end not in came:
                data = await event_loop.sock_recv(slow, 1 << 20)
                assert data
                came += data
            return came

        async with asyncio.timeout(60), aiomqtt.Client("127.0.0.1", port, identifier="writer") as writer:
            await read_until(b"\x90\4\0\1\0\1")  # SUBACK
            for _ in range(100):
                await writer.publish("reading", bytes(100_000), 1)
            await writer.publish("answer", b"the answer", 1)
            came = await read_until(b"the answer")
        assert len(came) < 1_500_000
