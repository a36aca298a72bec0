"""Whole packets in, in turns and in order; nothing while the connection is on hold."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.mqtt import packets
from engine.mqtt.channel import BEHIND, Channel
from engine.mqtt.packets import BadPacket
from tests.mqtt.test_packets import connect_packet, packet
from tests.mqtt.wire import Wire

PING = b"\xc0\0"


class Heard:
    """Takes down what it receives."""

    def __init__(self) -> None:
        self.received: list[tuple[int, bytes]] = []
        self.lengths: list[int] = []
        self.ready = True
        self.bad = b""
        self.read_s = 0.0

    def ready_for(self, kind: int) -> bool:
        return self.ready

    def receive(self, first: int, body: bytes) -> None:
        if first == 0xF0:
            raise BadPacket("a packet that is not known")
        self.received.append((first, body))

    def incoming(self, length: int) -> None:
        self.lengths.append(length)

    def writable(self) -> None: ...

    def read_at(self) -> float:
        return self.read_s


def opened(limit_bytes: int = 1000, silence_s: float = 60.0) -> tuple[Channel, Wire, Heard]:
    channel, heard = Channel(), Heard()
    wire = Wire(channel)
    channel.open(heard, limit_bytes, silence_s)
    return channel, wire, heard


async def turns(channel: Channel) -> None:
    """Until it has nothing more to do."""
    while channel._turn is not None:  # noqa: ASYNC110 - nothing signals it
        await asyncio.sleep(0)


@given(
    st.lists(st.tuples(st.sampled_from([0x30, 0x82, 0xC0]), st.binary(max_size=300)), max_size=40),
    st.lists(st.integers(1, 400), min_size=1),
)
def test_packets_are_the_same_wherever_the_stream_is_cut(
    sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(bytes((first,)) + packets._length(len(body)) + body for first, body in sent)

    async def run() -> list[tuple[int, bytes]]:
        channel, _, heard = opened()
        at, number = 0, 0
        while at < len(stream):
            size = cuts[number % len(cuts)]
            channel.data_received(stream[at : at + size])
            at, number = at + size, number + 1
        await turns(channel)
        assert not channel._buffer
        channel.end("")
        return heard.received

    assert asyncio.run(run()) == sent


async def test_a_packet_above_the_bound_ends_the_connection_before_it_is_there() -> None:
    for too_much in (b"\x30\xe9\x07", b"\x30\xff\xff\xff\xff\x01"):
        channel, _, heard = opened(limit_bytes=1000)
        channel.data_received(b"\x30\xe8\x07" + bytes(1000))
        await turns(channel)
        assert [len(body) for _, body in heard.received] == [1000]
        channel.data_received(too_much)
        assert channel.ended.done()
        channel.data_received(PING)
        assert len(heard.received) == 1


async def test_what_breaks_the_protocol_ends_the_connection_and_nothing_behind_it_is_received() -> None:
    channel, wire, heard = opened()
    channel.data_received(PING + b"\xf0\0" + PING)
    assert (await channel.ended).why == "a packet that is not known"
    assert heard.received == [(0xC0, b"")]
    assert not wire.reading


async def test_how_long_a_packet_will_be_is_known_from_its_beginning() -> None:
    channel, _, heard = opened()
    channel.data_received(b"\x30\x64" + bytes(10))
    await turns(channel)
    assert heard.lengths == [100]


async def test_connections_with_much_to_say_take_turns() -> None:
    order: list[str] = []

    class Named(Heard):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def receive(self, first: int, body: bytes) -> None:
            order.append(self.name)

    one, other = Channel(), Channel()
    for channel, name in ((one, "one"), (other, "other")):
        Wire(channel)
        channel.open(Named(name), 1000, 60)
    one.data_received(PING * 1000)
    other.data_received(PING)
    await turns(one)
    assert order.index("other") < 100
    assert order.count("one") == 1000


async def test_a_connection_with_too_much_to_say_is_read_no_further_until_it_was_heard() -> None:
    channel, wire, heard = opened()
    channel.data_received(PING * 40_000)
    while_waiting = wire.reading
    await turns(channel)
    assert (while_waiting, wire.reading) == (False, True)
    assert len(heard.received) == 40_000


async def test_on_hold_nothing_is_received_and_then_everything_in_order() -> None:
    channel, wire, heard = opened()
    channel.hold("one")
    channel.hold("two")
    sent = [packet(0x30, bytes((number,))) for number in range(50)]
    channel.data_received(b"".join(sent))
    channel.release("one")
    await turns(channel)
    assert (heard.received, wire.reading) == ([], False)
    channel.release("two")
    await turns(channel)
    assert heard.received == [(0x30, bytes((number,))) for number in range(50)]
    assert wire.reading


async def test_what_was_sent_before_the_end_is_received_held_or_not() -> None:
    channel, _, heard = opened()
    channel.hold("one")
    channel.data_received(PING * 100)
    channel.connection_lost(ConnectionResetError("gone"))
    assert (await channel.ended).why == "connection lost: gone"
    assert len(heard.received) == 100


async def test_an_end_within_a_packet_is_reported() -> None:
    channel, _, _ = opened()
    channel.data_received(b"\x30\x05a")
    assert channel.eof_received()
    assert (await channel.ended).why == "the connection ended within a packet"


async def test_the_first_packet_is_read_alone() -> None:
    channel = Channel()
    wire, heard = Wire(channel), Heard()
    whole = connect_packet()
    channel.data_received(whole[:5])
    channel.data_received(whole[5:] + PING)
    assert await channel.first_packet() == (0x10, whole[2:])
    assert not wire.reading
    channel.open(heard, 1000, 60)
    await turns(channel)
    assert heard.received == [(0xC0, b"")]
    assert wire.reading


@pytest.mark.parametrize("first", [b"G", b"\x30", b"\x10\xff\xff\xff\x7f"])
async def test_what_is_no_connect_ends_the_connection_at_once(first: bytes) -> None:
    channel = Channel()
    Wire(channel)
    channel.data_received(first)
    with pytest.raises(BadPacket):
        await channel.first_packet()


async def test_an_end_before_the_first_packet_is_reported() -> None:
    channel = Channel()
    Wire(channel)
    channel.eof_received()
    with pytest.raises(BadPacket, match="connection closed"):
        await channel.first_packet()


async def test_silence_ends_a_connection_but_not_while_the_broker_makes_it_wait() -> None:
    channel, _, _ = opened(silence_s=10)
    now = asyncio.get_running_loop().time()
    channel._packet_at = now - 11
    channel.hold("its turn")
    channel._check_silence(10, now)
    assert not channel.ended.done()
    channel.release("its turn")
    await turns(channel)
    channel._packet_at = now - 11
    channel._check_silence(10, now)
    assert (await channel.ended).why == "silent for 10 s"


async def test_a_broker_that_was_stopped_does_not_take_its_own_silence_for_the_clients() -> None:
    channel, _, _ = opened(silence_s=10)
    now = asyncio.get_running_loop().time()
    channel._packet_at = now - 60
    channel._check_silence(10, now - 50)
    assert not channel.ended.done()
    channel.end("")


async def test_a_client_held_because_it_does_not_read_ends_unless_it_reads_some() -> None:
    channel, _, heard = opened(silence_s=10)
    now = asyncio.get_running_loop().time()
    channel._packet_at = now - 30
    channel.hold(BEHIND)
    heard.read_s = now - 5
    channel._check_silence(10, now)
    assert not channel.ended.done()
    heard.read_s = channel._packet_at = now - 11
    channel._check_silence(10, now)
    assert channel.ended.done()
