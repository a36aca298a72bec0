"""The embedded broker as any MQTT client meets it."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import aiomqtt
import psutil
import pytest

from engine.bus import topics
from engine.bus.broker import EmbeddedBroker
from engine.bus.discovery import process_lives
from engine.bus.errors import BrokerFailed
from engine.bus.urls import BrokerUrl
from engine.mqtt.listener import CONNECTION_LIMIT, WAITING_LIMIT
from engine.mqtt.session import FILTERS_LIMIT
from tests.mqtt.test_packets import connect_packet, text
from vmqtui.testing import until


def client_of(
    broker: EmbeddedBroker, identifier: str, *, user: str = "owner", engine_of: str | None = None
) -> aiomqtt.Client:
    """A client; as the engine of a host, for whose status it has a will, it may publish."""
    will = aiomqtt.Will(topics.status(engine_of), b"gone", 1, True) if engine_of is not None else None
    return connecting(broker.url_of(user), identifier, will)


def connecting(url: BrokerUrl, identifier: str, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
    return aiomqtt.Client(
        url.host,
        url.port,
        username=url.user,
        password=url.password,
        identifier=identifier,
        will=will,
        timeout=5,
    )


async def next_message(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(60):
        return await anext(aiter(client.messages))


@contextlib.contextmanager
def raw_connection(url: BrokerUrl, packet: bytes) -> Iterator[socket.socket]:
    with socket.create_connection((url.host, url.port), 5) as connection:
        connection.sendall(packet)
        yield connection


def answer_to(url: BrokerUrl, packet: bytes) -> bytes:
    """What the broker says to a first packet until it falls silent or closes."""
    with raw_connection(url, packet) as connection:
        return connection.recv(4)


async def test_it_costs_half_a_second_of_a_processor_to_start_and_ends_with_its_context() -> None:
    async with EmbeddedBroker() as broker:
        pid = broker.pid
        assert pid is not None
        times = psutil.Process(pid).cpu_times()
        assert times.user + times.system < 0.5
    assert not broker.running
    assert not process_lives(pid)


async def test_a_port_in_use_is_said_so(embedded: EmbeddedBroker) -> None:
    with pytest.raises(BrokerFailed, match=f"cannot listen on 127.0.0.1:{embedded.url.port}: .*use"):
        await EmbeddedBroker(port=embedded.url.port).start()


PARENT = """
import asyncio, sys, time
from engine.bus.broker import EmbeddedBroker
async def main():
    broker = EmbeddedBroker()
    await broker.start()
    print(broker.pid, flush=True)
    time.sleep(60)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
async def test_it_ends_when_its_parent_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert process_lives(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not process_lives(pid))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
async def test_it_ignores_sigint() -> None:
    async with EmbeddedBroker() as broker:
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGINT)
        async with client_of(broker, "after"):
            assert broker.running


def test_its_process_needs_neither_numba_nor_the_screen() -> None:
    code = (
        "import sys, engine.bus.broker_process, engine.bus.engine_bus, engine.bus.broker;"
        "import engine.bus.discovery;"
        "print(*{'numba', 'textual', 'typer', 'rich', 'numpy'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed")
def test_mosquitto_clients_publish_retain_and_read(embedded: EmbeddedBroker) -> None:
    url = embedded.url
    port = ["-h", url.host, "-p", str(url.port), "-u", str(url.user), "-P", str(url.password)]
    will = ["--will-topic", "vmq/v1/mosquitto/status", "--will-payload", "gone"]
    for qos, kind, payload in (("0", "status", "none"), ("1", "config", "one")):
        topic = f"vmq/v1/mosquitto/{kind}"
        command = ["mosquitto_pub", *port, *will, "-t", topic, "-m", payload, "-q", qos, "-r"]
        subprocess.run(command, check=True, timeout=10)
    command = ["mosquitto_sub", *port, "-t", "vmq/v1/mosquitto/#", "-q", "1", "-C", "2", "-W", "5"]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    assert sorted(read.split()) == ["none", "one"]


async def test_messages_sent_just_before_a_disconnect_all_arrive(embedded: EmbeddedBroker) -> None:
    async with client_of(embedded, "burst-reader") as reader:
        await reader.subscribe("vmq/v1/burst/event")
        async with client_of(embedded, "burst-writer", engine_of="burst") as writer:
            for number in range(500):
                writer._client.publish(topics.event("burst"), str(number), 0)
        payloads = [(await next_message(reader)).payload for _ in range(500)]
    assert payloads == [str(number).encode() for number in range(500)]


async def test_a_new_client_is_sent_nothing_it_has_not_subscribed_to(embedded: EmbeddedBroker) -> None:
    async with client_of(embedded, "other", engine_of="private") as other:
        await other.subscribe("vmq/v1/private/#", 1)
        await other.publish(topics.config("private"), b"retained", 1, retain=True)
        async with client_of(embedded, "newcomer", engine_of="public") as newcomer:
            await newcomer.subscribe("vmq/v1/public/#", 1)
            await newcomer.publish(topics.event("public"), b"hello", 1)
            assert (await next_message(newcomer)).payload == b"hello"


async def test_four_megabyte_messages_to_two_readers_cost_less_than_a_second_of_a_processor(
    embedded: EmbeddedBroker,
) -> None:
    payloads = [os.urandom(1 << 20) for _ in range(4)]
    async with (
        client_of(embedded, "big-1") as one,
        client_of(embedded, "big-2") as two,
        client_of(embedded, "big-writer", engine_of="big") as writer,
    ):
        for reader in (one, two):
            await reader.subscribe(topics.stats("big"))
        process = psutil.Process(embedded.pid)
        before = process.cpu_times()
        for payload in payloads:
            await writer.publish(topics.stats("big"), payload, 0)
            assert (await next_message(one)).payload == payload
            assert (await next_message(two)).payload == payload
        after = process.cpu_times()
        assert after.user + after.system - before.user - before.system < 1.0


async def test_the_will_is_published_and_retained_when_a_client_vanishes(embedded: EmbeddedBroker) -> None:
    async with client_of(embedded, "mourner") as reader:
        await reader.subscribe(topics.status("will"), 1)
        tail = text(b"vmq/v1/will/status") + text(b"gone")
        packet = connect_packet(b"dying", flags=0b00101110, tail=tail, url=embedded.url)
        with raw_connection(embedded.url, packet) as dying:
            assert dying.recv(4) == b"\x20\x02\x00\x00"
        assert (await next_message(reader)).payload == b"gone"
    async with client_of(embedded, "late-mourner") as reader:
        await reader.subscribe(topics.status("will"), 1)
        message = await next_message(reader)
        assert (message.payload, message.retain) == (b"gone", True)


@pytest.mark.slow
async def test_a_client_silent_beyond_its_keepalive_is_given_up(embedded: EmbeddedBroker) -> None:
    async with client_of(embedded, "silence-reader") as reader:
        await reader.subscribe(topics.status("silence"), 1)
        tail = text(b"vmq/v1/silence/status") + text(b"gone")
        packet = connect_packet(b"silent", flags=0b00001110, keepalive=1, tail=tail, url=embedded.url)
        with raw_connection(embedded.url, packet):
            assert (await next_message(reader)).payload == b"gone"


async def test_a_used_client_id_is_refused_and_its_session_goes_on(embedded: EmbeddedBroker) -> None:
    async with client_of(embedded, "engine-1", engine_of="mine") as client:
        await client.subscribe(topics.event("mine"), 1)
        packet = connect_packet(b"engine-1", url=embedded.url)
        assert await asyncio.to_thread(answer_to, embedded.url, packet) == b"\x20\x02\x00\x02"
        with pytest.raises(aiomqtt.MqttError):
            async with client_of(embedded, "engine-1"):
                pass
        await client.publish(topics.event("mine"), b"still here", 1)
        assert (await next_message(client)).payload == b"still here"
    async with client_of(embedded, "engine-1"):
        pass  # free again


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (connect_packet(b"a/b"), b"\x20\x02\x00\x02"),
        (connect_packet(level=5), b"\x20\x02\x00\x01"),
        (connect_packet(keepalive=0), b"\x20\x02\x00\x05"),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"\x10\xff\xff\xff\x7f", b""),
    ],
)
async def test_the_listener_answers_a_first_packet(
    embedded: EmbeddedBroker, packet: bytes, answer: bytes
) -> None:
    assert await asyncio.to_thread(answer_to, embedded.url, packet) == answer


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\xff\xff\xff\x7f" + b"\x00\x01a",
        b"\x30\x05" + text(b"a/+"),
        b"\x32\x02\x00\x05",
        b"\xf0\x00",
        connect_packet(b"twice"),
    ],
)
async def test_a_session_that_breaks_the_protocol_ends_and_frees_its_id(
    embedded: EmbeddedBroker, packet: bytes
) -> None:
    with raw_connection(embedded.url, connect_packet(b"breaker", url=embedded.url)) as connection:
        assert connection.recv(4) == b"\x20\x02\x00\x00"
        connection.sendall(packet)
        connection.settimeout(5)
        assert await asyncio.to_thread(connection.recv, 4) == b""
    async with client_of(embedded, "breaker"):
        pass  # free again


@pytest.mark.slow
async def test_clients_are_bounded_the_next_one_is_refused_and_the_engine_still_comes_in() -> None:
    async with EmbeddedBroker() as broker:

        def come_in(number: int) -> tuple[socket.socket, bytes]:
            connection = socket.create_connection((broker.url.host, broker.url.port), 5)
            connection.sendall(connect_packet(b"client-%d" % number, url=broker.url_of("viewer")))
            return connection, connection.recv(4)

        with contextlib.ExitStack() as all_of_them:
            for number in range(CONNECTION_LIMIT + 1):
                connection, answer = await asyncio.to_thread(come_in, number)
                all_of_them.enter_context(connection)
                assert answer == (b"\x20\x02\x00\x00" if number < CONNECTION_LIMIT else b"\x20\x02\x00\x03")
            async with connecting(broker.engine_url, broker.engine_client):
                pass

        async def is_let_in() -> bool:
            with contextlib.suppress(aiomqtt.MqttCodeError):
                async with client_of(broker, "after"):
                    return True
            return False

        async with asyncio.timeout(60):
            while not await is_let_in():  # the broker has yet to see that they are gone
                pass


async def test_connections_that_say_nothing_keep_nobody_out(embedded: EmbeddedBroker) -> None:
    address = (embedded.url.host, embedded.url.port)
    with contextlib.ExitStack() as all_of_them:
        silent = [
            all_of_them.enter_context(socket.create_connection(address, 5)) for _ in range(WAITING_LIMIT + 9)
        ]
        for first in silent[:9]:
            assert await asyncio.to_thread(first.recv, 1) in (b"", None)
        async with client_of(embedded, "somebody") as client:
            await client.publish("x", b"", 1)


def subscribe_packet(filters: list[bytes], qos: int = 0) -> bytes:
    body = struct.pack("!H", 1) + b"".join(text(one) + bytes((qos,)) for one in filters)
    length = len(body)
    return b"\x82" + bytes((length & 0x7F | 0x80, length >> 7)) + body


async def test_topic_filters_of_a_client_are_bounded(embedded: EmbeddedBroker) -> None:
    names = [b"vmq/v1/h%03d/stats" % number for number in range(FILTERS_LIMIT + 1)]
    packet = connect_packet(b"collector", url=embedded.url_of("viewer"))
    with raw_connection(embedded.url, packet) as connection:
        assert connection.recv(4) == b"\x20\x02\x00\x00"
        for part in (names[:40], names[:40], names[40:-1]):  # what is subscribed again is one
            connection.sendall(subscribe_packet(part))
            assert (await asyncio.to_thread(connection.recv, 4 + len(part)))[0] == 0x90
        connection.sendall(subscribe_packet(names[-1:]))
        assert await asyncio.to_thread(connection.recv, 4) == b""


async def test_a_publish_that_its_sender_would_have_to_let_go_of_ends_the_session(
    embedded: EmbeddedBroker,
) -> None:
    publish = b"\x34\x05" + text(b"x") + struct.pack("!H", 1)
    with raw_connection(embedded.url, connect_packet(b"qos-2", url=embedded.url)) as connection:
        assert connection.recv(4) == b"\x20\x02\x00\x00"
        connection.sendall(publish)
        assert await asyncio.to_thread(connection.recv, 4) == b""


async def test_a_reader_that_stops_reading_is_cut_off_and_others_go_on(embedded: EmbeddedBroker) -> None:
    subscribe = b"\x82" + bytes((2 + 21,)) + struct.pack("!H", 1) + text(b"vmq/v1/flood/stats") + b"\x00"
    stats = topics.stats("flood")
    stalling = connect_packet(b"stalled", url=embedded.url_of("viewer"))
    async with (
        client_of(embedded, "flood-reader") as reader,
        client_of(embedded, "flooder", engine_of="flood") as writer,
    ):
        await reader.subscribe(stats)
        with raw_connection(embedded.url, stalling + subscribe) as stalled:
            assert await asyncio.to_thread(stalled.recv, 9) != b""
            for _ in range(40):
                await writer.publish(stats, bytes(1 << 20), 0)
                assert len(bytes((await next_message(reader)).payload)) == 1 << 20
            answer = await asyncio.to_thread(answer_to, embedded.url, stalling)
            assert answer == b"\x20\x02\x00\x00"
