"""Packets of MQTT 3.1.1, well formed and not."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bus.urls import BrokerUrl
from engine.mqtt import packets
from engine.mqtt.packets import BadPacket, Connect, Filters, Publish, Refused, Will


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


def split(packet: bytes) -> tuple[int, bytes]:
    """First byte and body of a whole packet."""
    found = packets.header(packet)
    assert found is not None
    assert sum(found) == len(packet)
    return packet[0], packet[found[0] :]


def check_connect(packet: bytes) -> Connect:
    return packets.parse_connect(*split(packet))


def check(packet: bytes) -> Publish | Filters | int:
    return packets.parse(*split(packet))


def test_a_plain_connect_passes_with_its_keepalive() -> None:
    assert check_connect(connect_packet()) == Connect("me", 60)


def test_the_will_and_the_credential_are_taken_and_not_printed() -> None:
    will = text(b"a/b") + text(b"gone")
    tail = will + text(b"ann") + text(b"\xff\x00")
    connect = check_connect(connect_packet(flags=0b11101110, tail=tail))
    assert connect == Connect("me", 60, Will("a/b", b"gone", 1, True), "ann", b"\xff\x00")
    assert "xff" not in repr(connect)


def test_a_will_of_qos_2_is_sent_with_qos_1() -> None:
    connect = check_connect(connect_packet(flags=0b00010110, tail=text(b"a/b") + text(b"gone")))
    assert connect.will == Will("a/b", b"gone", 1, False)


def test_a_client_without_an_id_gets_one_nobody_can_guess() -> None:
    clients = {check_connect(connect_packet(b"")).client for _ in range(50)}
    assert len(clients) == 50
    assert min(map(len, clients)) >= 32


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
        (connect_packet(flags=6, tail=text(b"") + text(b"x")), 5),
    ],
)
def test_a_connect_that_breaks_a_rule_of_ours_is_refused_with_a_code(packet: bytes, code: int) -> None:
    with pytest.raises(Refused) as caught:
        check_connect(packet)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "packet",
    [
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
        connect_packet(b"a\0b"),
        connect_packet(flags=6, tail=text(b"a\0b") + text(b"x")),
        connect_packet(flags=0x82, tail=text(b"a\0b")),
        connect_packet(flags=0x82, tail=text(b"\xed\xa0\x80")),
        b"\x10\x05\x00\x04MQT",
    ],
)
def test_what_is_no_connect_ends_the_connection(packet: bytes) -> None:
    with pytest.raises(BadPacket):
        check_connect(packet)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_connect_or_an_error(body: bytes) -> None:
    with contextlib.suppress(BadPacket, Refused):
        packets.parse_connect(0x10, body)


def test_a_header_is_read_as_far_as_it_is_there() -> None:
    assert packets.header(b"") is None
    assert packets.header(b"\x30") is None
    assert packets.header(b"\x30\x80") is None
    assert packets.header(b"\x30\x03") == (2, 3)
    assert packets.header(b"..\x30\x80\x01", 2) == (3, 128)
    assert packets.header(b"\x30\xff\xff\xff\x7f") == (5, 268_435_455)
    with pytest.raises(BadPacket):
        packets.header(b"\x30\xff\xff\xff\xff\x01")


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
    packet(0x38, TOPIC),
    b"\x30\x83\x02" + text(b"a" * 257),
    packet(0x32, TOPIC),
    packet(0x32, TOPIC + b"\0\0"),
    packet(0x34, TOPIC + ONE),
    packet(0x36, TOPIC + ONE),
    packet(0x40, b"\0"),
    packet(0x40, b"\0\0"),
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
    check(good)


@pytest.mark.parametrize("bad", BAD, ids=bytes.hex)
def test_what_is_not_well_formed_to_its_last_byte_or_nobody_sends_is_bad(bad: bytes) -> None:
    with pytest.raises(BadPacket):
        check(bad)


def test_a_publish_is_taken_apart() -> None:
    topic = "vmq/v1/h/event"
    assert check(packet(0x30, TOPIC + b"payload")) == Publish(topic, b"payload", 0, False, 0)
    assert check(packet(0x3B, TOPIC + ONE + b"payload")) == Publish(topic, b"payload", 1, True, 1)
    assert check(packet(0x31, TOPIC)) == Publish(topic, b"", 0, True, 0)


def test_topic_filters_are_taken_apart() -> None:
    wanted = ONE + TOPIC + b"\1" + text(b"#") + b"\2"
    assert check(packet(0x82, wanted)) == Filters(1, [("vmq/v1/h/event", 1), ("#", 2)])
    assert check(packet(0xA2, ONE + text(b"+/a"))) == Filters(1, [("+/a", 0)])
    assert check(packet(0x40, ONE)) == 1


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
def test_what_passes_says_again_what_it_said(some: bytes) -> None:
    """Nothing of a packet that passes is left over: written from what was read it has the same bytes."""
    if some[1] != len(some) - 2:
        return
    with contextlib.suppress(BadPacket):
        assert written_again(some[0], check(some)) == some


def written_again(first: int, read: Publish | Filters | int) -> bytes:
    """A packet from what was read of it; flags that say nothing to the reader are those it had."""
    kind = first >> 4
    match read:
        case Publish():
            publish = packets.publish(
                read.topic.encode(), read.payload, retain=read.retain, packet_id=read.packet_id
            )
            return bytes((publish[0] | first & 8,)) + publish[1:]
        case Filters():
            qos = [bytes((one,)) if kind == packets.SUBSCRIBE else b"" for _, one in read.filters]
            pairs = zip(read.filters, qos, strict=True)
            body = struct.pack("!H", read.packet_id) + b"".join(
                text(one.encode()) + byte for (one, _), byte in pairs
            )
            return packet(first, body)
    return packets.puback(read) if kind == packets.PUBACK else packet(first, b"")


def test_a_length_takes_as_many_bytes_as_it_needs() -> None:
    for size in (0, 1, 124, 125, 16_000, 17_000, 3_000_000):
        whole = packets.publish(b"t", bytes(size), retain=True, packet_id=7)
        assert check(whole) == Publish("t", bytes(size), 1, True, 7)
