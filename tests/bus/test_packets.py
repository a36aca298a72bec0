import asyncio
import contextlib
import struct

import pytest
from amqtt.mqtt import packet_class
from amqtt.mqtt.packet import MQTTFixedHeader
from hypothesis import given
from hypothesis import strategies as st

from engine.bus import packets
from engine.bus.urls import BrokerUrl


def text(value: bytes) -> bytes:
    return struct.pack("!H", len(value)) + value


def connect_packet(
    client: bytes = b"me",
    *,
    url: BrokerUrl | None = None,
    flags: int = 2,
    level: int = 4,
    protocol: bytes = b"MQTT",
    keepalive: int = 60,
    tail: bytes = b"",
) -> bytes:
    """A CONNECT; with the user and password of ``url``."""
    if url is not None and url.user is not None and url.password is not None:
        flags |= 0xC0
        tail += text(url.user.encode()) + text(url.password.encode())
    body = text(protocol) + bytes((level, flags)) + struct.pack("!H", keepalive) + text(client) + tail
    assert len(body) < 128
    return bytes((0x10, len(body))) + body


def test_a_plain_connect_passes_with_its_keepalive_taken_over() -> None:
    connect = packets.check_connect(connect_packet())
    assert (connect.client, connect.keepalive_seconds) == ("me", 60)
    assert connect.packet == connect_packet(keepalive=0)


def test_the_will_is_passed_on_and_user_and_password_are_not() -> None:
    will = text(b"a/b") + text(b"gone")
    tail = will + text(b"ann") + text(b"\xff\x00")
    connect = packets.check_connect(connect_packet(flags=0b11101110, tail=tail))
    assert (connect.will_topic, connect.user, connect.password) == ("a/b", "ann", b"\xff\x00")
    assert connect.packet == connect_packet(flags=0b00101110, tail=will, keepalive=0)
    assert "xff" not in repr(connect).partition("packet=")[2].partition("will_topic")[2]


def test_a_client_without_an_id_gets_one_nobody_can_guess() -> None:
    clients = {packets.check_connect(connect_packet(b"")).client for _ in range(50)}
    assert len(clients) == 50
    connect = packets.check_connect(connect_packet(b"", flags=6, tail=text(b"a") + text(b"b")))
    assert connect.packet.endswith(text(connect.client.encode()) + text(b"a") + text(b"b"))


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (connect_packet(level=5), 1),
        (connect_packet(level=3, protocol=b"MQIsdp"), 1),
        (connect_packet(b"a/b"), 2),
        (connect_packet(b"a" * 65), 2),
        (connect_packet(b"+"), 2),
        (connect_packet(flags=0), 5),
        (connect_packet(keepalive=0), 5),
        (connect_packet(keepalive=61), 5),
        (connect_packet(flags=6, tail=text(b"a/#") + text(b"x")), 5),
        (connect_packet(flags=6, tail=text(b"$SYS") + text(b"x")), 5),
    ],
)
def test_a_connect_that_breaks_a_rule_of_ours_is_refused_with_a_code(packet: bytes, code: int) -> None:
    with pytest.raises(packets.Refused) as caught:
        packets.check_connect(packet)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x30\x00",
        b"\x11" + connect_packet()[1:],
        b"\x10\x00",
        connect_packet(flags=3),
        connect_packet(flags=0x1A, tail=text(b"a") + text(b"b")),
        connect_packet(flags=0x22),
        connect_packet(flags=0x42, tail=text(b"p")),
        connect_packet(flags=6, tail=text(b"a")),
        connect_packet(tail=b"x"),
        connect_packet(b"\xff"),
        b"\x10\x05\x00\x04MQT",
    ],
)
def test_what_is_no_connect_ends_the_connection(packet: bytes) -> None:
    with pytest.raises(packets.BadPacket):
        packets.check_connect(packet)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_connect_or_an_error(body: bytes) -> None:
    with contextlib.suppress(packets.BadPacket, packets.Refused):
        packets.check_connect(bytes((0x10, len(body))) + body)


async def read(data: bytes, limit: int) -> bytes:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await packets.read_packet(reader, limit)


async def test_packets_are_read_whole_and_bounded() -> None:
    assert await read(b"", 10) == b""
    assert await read(b"\x30\x03abcd", 10) == b"\x30\x03abc"
    long = b"\x30\x80\x01" + bytes(128)
    assert await read(long, 128) == long
    assert bytes(packets.body_of(long)) == bytes(128)
    for bad in (long, b"\x30\xff\xff\xff\xff\x01", b"\x30", b"\x30\x05abc"):
        with pytest.raises(packets.BadPacket):
            await read(bad, 127)


def packet(first: int, body: bytes) -> bytes:
    """A packet of less than 128 bytes."""
    return bytes((first, len(body))) + body


ONE = struct.pack("!H", 1)
TOPIC = text(b"vmq/v1/h/event")
GOOD = [
    packet(0x30, TOPIC + b"payload"),
    packet(0x31, TOPIC),
    packet(0x3B, TOPIC + ONE + b"payload"),
    packet(0x40, ONE),
    packet(0x82, ONE + TOPIC + b"\1" + text(b"#") + b"\0"),
    packet(0xA2, ONE + TOPIC + text(b"+/a")),
    b"\xc0\x00",
    b"\xe0\x00",
]
BAD = [
    *(
        packet(0x30, text(topic))
        for topic in (b"", b"a/+", b"#", b"$SYS/x", b"\xff", b"a\0b", b"\xed\xa0\x80")
    ),
    packet(0x30, b"\0\5a"),
    b"\x30\x83\x02" + text(b"a" * 257),
    packet(0x32, TOPIC),
    packet(0x32, TOPIC + b"\0\0"),
    packet(0x34, TOPIC + ONE),
    packet(0x36, TOPIC + ONE),
    packet(0x40, b"\0"),
    packet(0x40, ONE + b"\xc0\0"),
    packet(0x42, ONE),
    packet(0x82, ONE),
    packet(0x80, ONE + TOPIC + b"\0"),
    packet(0x82, ONE + TOPIC),
    packet(0x82, ONE + TOPIC + b"\3"),
    packet(0x82, b"\0\0" + TOPIC + b"\0"),
    packet(0x82, ONE + text(b"\xff") + b"\0"),
    packet(0xA2, ONE + TOPIC + b"\0"),
    packet(0xC0, b"\x30\0"),
    packet(0xE0, b"\0"),
    *(packet(kind << 4, ONE) for kind in (0, 1, 2, 5, 6, 7, 9, 11, 13, 15)),
]


@pytest.mark.parametrize("good", GOOD, ids=bytes.hex)
def test_what_clients_send_within_a_session_passes(good: bytes) -> None:
    packets.check(good)


@pytest.mark.parametrize("bad", BAD, ids=bytes.hex)
def test_what_is_not_well_formed_to_its_last_byte_or_nobody_sends_is_bad(bad: bytes) -> None:
    with pytest.raises(packets.BadPacket):
        packets.check(bad)


class Exactly:
    """A reader of one packet."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    async def read(self, n: int = -1) -> bytes:
        data, self.left = self.left[:n], self.left[n:]
        return data


@given(
    st.one_of(
        st.sampled_from(GOOD),
        st.builds(packet, st.sampled_from([one[0] for one in GOOD]), st.binary(max_size=60)),
        st.builds(
            lambda good, at, byte: good[: at % len(good)] + bytes((byte,)) + good[at % len(good) + 1 :],
            st.sampled_from(GOOD),
            st.integers(2, 60),
            st.integers(0, 255),
        ),
    )
)
def test_amqtt_takes_a_packet_that_passes_to_its_last_byte(some: bytes) -> None:
    if some[1] != len(some) - 2:
        return
    try:
        packets.check(some)
    except packets.BadPacket:
        return
    reader = Exactly(some)

    async def take() -> None:
        header = await MQTTFixedHeader.from_stream(reader)
        await packet_class(header).from_stream(reader, fixed_header=header)

    asyncio.run(take())
    assert reader.left == b""
