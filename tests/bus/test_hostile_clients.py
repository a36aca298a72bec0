"""Clients that were let in, or want to be, and do what no client of ours does."""

import asyncio
import contextlib
import struct
import threading
from collections.abc import AsyncIterator

import aiomqtt
import pytest

from engine.bus import broker_process as gate
from engine.bus import topics
from engine.bus.accounts import ENGINE, USERS, AccessSettings, Account, hashed
from engine.bus.broker import EmbeddedBroker
from engine.bus.broker_process import OPERATOR_PACKET_LIMIT_BYTES, VIEWER_PACKET_LIMIT_BYTES, BrokerAccess
from engine.bus.urls import BrokerUrl
from engine.mqtt import outbox, packets, session
from engine.mqtt.limits import ByteBudget
from engine.mqtt.listener import WAITING_LIMIT, Listener
from engine.mqtt.packets import Publish, Refused, parse_connect
from engine.mqtt.session import PACKETS_AT_ONCE
from tests.bus.test_embedded_broker import client_of, connecting, next_message, subscribe_packet
from tests.mqtt.test_packets import connect_packet, split, text
from vmqtui.testing import until

ACCEPTED = b"\x20\x02\x00\x00"


class Raw:
    """A connection that sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ended(self) -> bool:
        """Whether the broker ends the connection, whatever it still sends."""
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(1 << 16):
                    pass
        return True


@contextlib.asynccontextmanager
async def raw(url: BrokerUrl, name: str = "", keepalive: int = 60) -> AsyncIterator[Raw]:
    """One that has come in, where it has a name."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        if name:
            writer.write(connect_packet(name.encode(), keepalive=keepalive, url=url))
            async with asyncio.timeout(60):
                assert await reader.readexactly(4) == ACCEPTED
        yield Raw(reader, writer)
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def listening(
    guests: AccessSettings, budget: ByteBudget | None = None
) -> AsyncIterator[tuple[Listener, BrokerUrl]]:
    """The broker, in this process."""
    listener = Listener(BrokerAccess(guests), budget)
    port = await listener.serve("127.0.0.1", 0)
    try:
        yield listener, BrokerUrl("127.0.0.1", port, user="owner", password="owner")
    finally:
        await listener.close()


def guests(*accounts: Account) -> AccessSettings:
    passwords = {user: user for user in (*USERS, ENGINE)}
    return AccessSettings(
        host="own", engine_client="own-engine", passwords=passwords, accounts=list(accounts)
    )


@pytest.mark.parametrize(
    "hidden",
    [connect_packet(b"other"), b"\x34\x05" + text(b"x") + struct.pack("!H", 1), b"\xe0\x00"],
    ids=["CONNECT", "QoS 2", "DISCONNECT"],
)
async def test_a_packet_hidden_in_another_is_not_read(embedded: EmbeddedBroker, hidden: bytes) -> None:
    async with raw(embedded.url_of("viewer"), "smuggler") as client:
        await client.say(bytes((0xC0, len(hidden))) + hidden)
        async with asyncio.timeout(60):
            assert await client.reader.read(1) == b""  # not even a PINGRESP


async def test_a_flood_of_pings_keeps_nobody_else_waiting(embedded: EmbeddedBroker) -> None:
    flood = 3 * PACKETS_AT_ONCE
    async with raw(embedded.url_of("viewer"), "pinger") as client:
        client.writer.write(b"\xc0\x00" * flood)
        answers = bytearray()
        async with client_of(embedded, "patient", engine_of="patient") as other:
            await other.subscribe(topics.event("patient"), 1)
            await other.publish(topics.event("patient"), b"here", 1)
            assert (await next_message(other)).payload == b"here"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                while data := await client.reader.read(1 << 16):
                    answers += data
        assert len(answers) < 2 * flood  # it gets so many a second and no more


async def test_filters_that_overlap_bring_a_message_once(embedded: EmbeddedBroker) -> None:
    async with (
        client_of(embedded, "overlapping", user="viewer") as reader,
        client_of(embedded, "speaker", engine_of="overlap") as speaker,
    ):
        filters = ["#", "+/#", "vmq/v1/+/event", "vmq/v1/overlap/event", "+/+/+/+", "vmq/v1/overlap/#"]
        await reader.subscribe([(one, 0) for one in filters])
        for payload in (b"one", b"two"):
            await speaker.publish(topics.event("overlap"), payload, 1)
        mine = [message.payload async for message in _of(reader, "overlap", 2)]
        assert mine == [b"one", b"two"]


async def _of(client: aiomqtt.Client, host: str, count: int) -> AsyncIterator[aiomqtt.Message]:
    """Messages of a host, among whatever else the broker retains."""
    while count:
        message = await next_message(client)
        if message.topic.value.startswith(f"vmq/v1/{host}/"):
            count -= 1
            yield message


async def test_no_more_than_qos_1_is_granted(embedded: EmbeddedBroker) -> None:
    async with raw(embedded.url_of("viewer"), "greedy") as client:
        await client.say(subscribe_packet([b"vmq/v1/+/stats"], qos=2))
        async with asyncio.timeout(60):
            assert await client.reader.readexactly(5) == b"\x90\x03\x00\x01\x01"


def head(length: int) -> bytes:
    """The beginning of a PUBLISH of a length."""
    return bytes(
        (0x30, length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F | 0x80, length >> 21)
    )


@pytest.mark.parametrize(
    ("user", "most"), [("viewer", VIEWER_PACKET_LIMIT_BYTES), ("operator", OPERATOR_PACKET_LIMIT_BYTES)]
)
async def test_a_role_has_so_much_to_say(embedded: EmbeddedBroker, user: str, most: int) -> None:
    async with raw(embedded.url_of(user), "talker") as client:
        await client.say(head(most) + bytes((0, 1)) + b"x" + bytes(most - 3) + b"\xc0\0")
        async with asyncio.timeout(60):
            assert await client.reader.readexactly(2) == b"\xd0\0"
        await client.say(head(most + 1))
        assert await client.ended()


def publish_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    return packets.publish(topic.encode(), payload, retain=False, packet_id=packet_id)


async def test_an_operator_waits_for_an_engine_that_is_behind_with_its_requests_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "IN_FLIGHT_LIMIT", 1)
    monkeypatch.setattr(session, "AHEAD_LIMIT_BYTES", 1000)
    will = {"flags": 0b00001110, "tail": text(b"vmq/v1/slow/status") + text(b"gone")}
    async with listening(guests()) as (_, url):
        operator = BrokerUrl(url.host, url.port, user="operator", password="operator")
        async with raw(url) as engine, raw(operator, "many") as many, raw(operator, "one") as one:
            # Options of any of its types.
            await engine.say(connect_packet(b"slow", url=url, **will))  # type: ignore[arg-type]
            await engine.say(subscribe_packet([b"vmq/v1/slow/request/+"], qos=1))
            async with asyncio.timeout(60):
                await engine.reader.readexactly(4 + 5)
                for number in range(1, 5):
                    await many.say(publish_packet("vmq/v1/slow/request/many", bytes(600), number))
                for number in range(1, 4):  # one is sent to the engine, two wait: no more is read
                    assert await many.reader.readexactly(4) == packets.puback(number)
                await many.say(b"\xc0\0")
                await one.say(publish_packet("vmq/v1/slow/request/one", b"", 1) + b"\xc0\0")
                assert await one.reader.readexactly(6) == packets.puback(1) + b"\xd0\0"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await many.reader.readexactly(1)
            came = []
            async with asyncio.timeout(60):
                for packet_id in range(1, 6):
                    came.append((await next_publish(engine)).topic.rpartition("/")[2])
                    await engine.say(packets.puback(packet_id))
                assert await many.reader.readexactly(6) == packets.puback(4) + b"\xd0\0"
            assert came == ["many", "many", "one", "many", "many"]  # the senders in turn


async def next_publish(client: Raw) -> Publish:
    head = await client.reader.readexactly(2)
    while packets.header(head) is None:
        head += await client.reader.readexactly(1)
    found = packets.header(head)
    assert found is not None
    published = packets.parse(head[0], await client.reader.readexactly(found[1]))
    assert isinstance(published, Publish)
    return published


async def test_what_is_not_acknowledged_piles_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "UNREAD_LIMIT_BYTES", 4000)
    keeper = {"flags": 0b00001110, "tail": text(b"vmq/v1/kept/status") + text(b"gone")}
    async with listening(guests()) as (listener, url), raw(url) as engine:
        # Options of any of its types.
        await engine.say(connect_packet(b"keeper", url=url, **keeper))  # type: ignore[arg-type]
        kept = packets.publish(b"vmq/v1/kept/config", b"kept", retain=True, packet_id=1)
        await engine.say(kept)
        async with asyncio.timeout(60):
            await engine.reader.readexactly(8)
        viewer = BrokerUrl(url.host, url.port, user="viewer", password="viewer")
        session_of = listener.router.sessions.__getitem__
        async with raw(viewer, "piler") as client:
            packet = subscribe_packet([b"vmq/v1/kept/config"], qos=1)
            await client.say(packet * (outbox.IN_FLIGHT_LIMIT + 100))  # what is retained waits once
            await until(lambda: len(session_of("piler").outbox._in_flight) == outbox.IN_FLIGHT_LIMIT)
            assert session_of("piler").outbox.unread_bytes == 0
            await engine.say(kept * 100)
            assert await client.ended()
            await until(lambda: list(listener.router.sessions) == ["keeper"])


async def test_what_is_held_for_all_clients_is_bounded() -> None:
    budget = ByteBudget(12 << 20)
    async with listening(guests(), budget) as (listener, url), contextlib.AsyncExitStack() as all_of_them:
        slow = [await all_of_them.enter_async_context(raw(url, f"slow-{number}")) for number in range(3)]
        for client in slow:
            await client.say(head(4 << 20))
        await until(lambda: budget.seen_bytes == 12 << 20)
        await slow[0].say(b"\0")
        last = await all_of_them.enter_async_context(raw(url, "one-too-many"))
        await last.say(head((4 << 20) + 1))
        assert await last.ended()
        assert listener.router.sessions.keys() == {"slow-0", "slow-1", "slow-2"}
        await slow[0].say(bytes(100))  # the others go on
        assert not slow[0].reader.at_eof()


async def test_a_name_that_there_is_not_costs_as_much_as_one_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashes: list[str] = []
    monkeypatch.setattr(gate, "fits", lambda password, stored: hashes.append(stored))
    door = BrokerAccess(guests(Account("ann", "operator", hashed("right"))))
    for user in (b"ann", b"bob", b""):
        packet = connect_packet(b"who", flags=0xC2, tail=text(user) + text(b"wrong"))
        with pytest.raises(Refused, match="a wrong user or password"):
            await door.admit(parse_connect(*split(packet)))
    assert len(hashes) == 3


async def test_who_guesses_passwords_and_leaves_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    tried: list[bytes] = []

    def slow(password: bytes, stored: str) -> bool:
        tried.append(password)
        hold.wait(20)
        return password == b"right"

    monkeypatch.setattr(gate, "fits", slow)
    account = Account("ann", "operator", hashed("right"))
    async with listening(guests(account)) as (listener, url):
        async with contextlib.AsyncExitStack() as all_of_them:
            for number in range(2 * WAITING_LIMIT):
                guess = BrokerUrl(url.host, url.port, user="ann", password=f"wrong-{number}")
                client = await all_of_them.enter_async_context(raw(guess))
                await client.say(connect_packet(b"guesser-%d" % number, url=guess))
            await until(lambda: len(listener._outside) == len(listener._tasks) - 1 == WAITING_LIMIT)
            right = BrokerUrl(url.host, url.port, user="ann", password="right")
            coming = asyncio.create_task(_come_in(right))
            await until(lambda: len(listener._outside) == WAITING_LIMIT)
            hold.set()
            await coming
        assert len(tried) <= WAITING_LIMIT + 2


async def _come_in(url: BrokerUrl) -> None:
    async with connecting(url, "ann-1"):
        pass
