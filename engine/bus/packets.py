"""MQTT 3.1.1 packets as far as our listener reads them: whole packets, and the first one in full.

Source: OASIS MQTT 3.1.1, sections 2.2 (fixed header), 3.1 (CONNECT), 3.2 (CONNACK), 3.3 (PUBLISH),
3.4 (PUBACK), 3.8 (SUBSCRIBE), 3.10 (UNSUBSCRIBE), 3.12 (PINGREQ), 3.14 (DISCONNECT).
"""

import asyncio
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.bus.topics import NAME_PATTERN

CONNECT_LIMIT_BYTES = 64 << 10
KEEPALIVE_LIMIT_SECONDS = 60

TOPIC_LIMIT_BYTES = 256

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 10, 12, 14
BAD_PROTOCOL, IDENTIFIER_REJECTED, UNAVAILABLE, BAD_CREDENTIAL, NOT_AUTHORIZED = 1, 2, 3, 4, 5

_CLIENT = re.compile(NAME_PATTERN)
_PROTOCOL = b"\x00\x04MQTT"
_LENGTHS = {PUBACK: 2, PINGREQ: 0, DISCONNECT: 0}


class BadPacket(Exception):  # noqa: N818
    """Bytes that are no MQTT packet, or one above its bound: the connection ends without an answer."""


class Refused(Exception):  # noqa: N818
    """A CONNECT that is answered with a CONNACK of ``code`` and the end of the connection."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Connect:
    """A checked CONNECT. ``packet`` is what the broker gets: keep-alive 0, since our listener keeps the
    time, no user and no password, and a client id of ours where the client sent none."""

    client: str
    keepalive_seconds: int
    packet: bytes
    will_topic: str | None = None
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)


async def read_packet(
    reader: asyncio.StreamReader,
    limit_bytes: int,
    comes: Callable[[int], None] = lambda length: None,
    *,
    only: int | None = None,
) -> bytes:
    """The next whole packet; empty at a clean end of the stream. ``comes`` is told how long it will be.

    Raises ``BadPacket``, for a type other than ``only`` before it waits for more than the first byte.
    """
    head = await reader.read(1)
    if not head:
        return b""
    if only is not None and head[0] >> 4 != only:
        raise BadPacket(f"a packet of type {head[0] >> 4} where {only} should come")
    length = 0
    try:
        for shift in (0, 7, 14, 21):
            byte = await reader.readexactly(1)
            head += byte
            length |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                break
        else:
            raise BadPacket("a remaining length of more than four bytes")
        if length > limit_bytes:
            raise BadPacket(f"a packet of {length} bytes (at most {limit_bytes})")
        comes(length)
        return head + await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise BadPacket("the connection ended within a packet") from None


def body_of(packet: bytes) -> memoryview:
    """What follows the fixed header of a whole packet."""
    at = 1
    while packet[at] & 0x80:
        at += 1
    return memoryview(packet)[at + 1 :]


def connack(code: int) -> bytes:
    """A CONNACK without a session."""
    return bytes((0x20, 2, 0, code))


def check_connect(packet: bytes) -> Connect:
    """Check the first packet of a connection.

    Raises ``Refused`` for a client that can be told why not, ``BadPacket`` for anything else.
    """
    if not packet or packet[0] >> 4 != CONNECT:
        raise BadPacket("the first packet is not a CONNECT")
    if packet[0] & 0x0F:
        raise BadPacket("CONNECT with reserved bits in its first byte")
    body = _Fields(bytes(body_of(packet)))
    protocol = body.take_string()
    level = body.take(1)[0]
    if protocol != _PROTOCOL[2:] or level != 4:
        raise Refused(BAD_PROTOCOL, f"protocol level {level}; only MQTT 3.1.1 is spoken here")
    flags = body.take(1)[0]
    user, password, will_retain = flags & 0x80, flags & 0x40, flags & 0x20
    will_qos, will, clean_session = (flags >> 3) & 3, flags & 4, flags & 2
    if flags & 1 or will_qos == 3 or (not will and (will_qos or will_retain)) or (password and not user):
        raise BadPacket("CONNECT with flags that contradict each other")
    keepalive_seconds = int.from_bytes(body.take(2), "big")
    client_bytes = body.take_string()
    will_topic = will_message = None
    if will:
        will_topic = _will_topic(body.take_string())
        will_message = body.take_string()
    user_name = _text(body.take_string()) if user else None
    secret = body.take_string() if password else None
    if not body.at_end():
        raise BadPacket("CONNECT with bytes left over")
    if not clean_session:
        raise Refused(NOT_AUTHORIZED, "a persistent session; only clean sessions are kept here")
    if not 1 <= keepalive_seconds <= KEEPALIVE_LIMIT_SECONDS:
        why = f"a keep-alive of {keepalive_seconds} s (1 to {KEEPALIVE_LIMIT_SECONDS} s fits)"
        raise Refused(NOT_AUTHORIZED, why)
    client = _text(client_bytes) or f"auto-{secrets.token_hex(16)}"
    if not _CLIENT.fullmatch(client):
        raise Refused(IDENTIFIER_REJECTED, "a client id that is not 1 to 64 of A-Z a-z 0-9 _ . -")
    rest = [client.encode()]
    if will_topic is not None and will_message is not None:
        rest += [will_topic.encode(), will_message]
    head = _string(protocol) + bytes((level, flags & ~0xC0)) + b"\0\0"
    rewritten = head + b"".join(map(_string, rest))
    packet = b"\x10" + _length(len(rewritten)) + rewritten
    return Connect(client, keepalive_seconds, packet, will_topic, user_name, secret)


def check(packet: bytes) -> None:
    """Raise ``BadPacket`` for what nobody here sends within a session, or what is not well formed to its last
    byte: what a broker leaves of a packet it would take for the next one."""
    kind, flags, length = packet[0] >> 4, packet[0] & 0x0F, len(body_of(packet))
    if kind == PUBLISH:
        _check_publish(packet)
    elif kind in (SUBSCRIBE, UNSUBSCRIBE):
        if flags != 2 or not filters_of(packet):
            raise BadPacket("topic filters that are none")
    elif kind not in _LENGTHS:
        raise BadPacket(f"a packet of type {kind} within a session")
    elif flags or length != _LENGTHS[kind]:
        raise BadPacket(f"a packet of type {kind} with flags {flags} and {length} bytes")


def _check_publish(packet: bytes) -> None:
    flags = packet[0] & 0x0F
    qos = flags >> 1 & 3
    if qos > 1:  # it would be kept until its sender lets go of it
        raise BadPacket("a PUBLISH of QoS 2, which nothing here needs")
    fields = _Fields(bytes(body_of(packet)[: 2 + TOPIC_LIMIT_BYTES + 2]))
    topic = _topic(fields.take_string())
    if set("+#") & set(topic) or topic.startswith("$"):
        raise BadPacket("a PUBLISH to a topic nobody may publish to")
    if qos and fields.take(2) == b"\0\0":
        raise BadPacket("a PUBLISH without a packet id")


def filters_of(packet: bytes) -> list[str]:
    """The topic filters of a SUBSCRIBE or UNSUBSCRIBE. Raises ``BadPacket``."""
    fields = _Fields(bytes(body_of(packet)))
    if fields.take(2) == b"\0\0":
        raise BadPacket("topic filters without a packet id")
    found = []
    while not fields.at_end():
        found.append(_topic(fields.take_string()))
        if packet[0] >> 4 == SUBSCRIBE and fields.take(1)[0] > 2:
            raise BadPacket("a topic filter with a QoS that there is not")
    return found


def _topic(topic_bytes: bytes) -> str:
    """A topic or topic filter that is text of a length that ours can have."""
    topic = _text(topic_bytes)
    if not topic or "\0" in topic or len(topic_bytes) > TOPIC_LIMIT_BYTES:
        raise BadPacket(f"a topic that is empty, has a NUL, or is longer than {TOPIC_LIMIT_BYTES} bytes")
    return topic


def _will_topic(topic_bytes: bytes) -> str:
    topic = _text(topic_bytes)
    if not topic or topic.startswith("$") or set("+#\0") & set(topic):
        raise Refused(NOT_AUTHORIZED, "a will with a topic nobody may publish to")
    return topic


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadPacket("a string that is not UTF-8") from None


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _length(length: int) -> bytes:
    out = bytearray()
    while True:
        length, low = divmod(length, 0x80)
        out.append(low | (0x80 if length else 0))
        if not length:
            return bytes(out)


class _Fields:
    """Fields of a packet's body, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self.data[self._at : self._at + count]
        if len(taken) < count:
            raise BadPacket("a packet that is too short for its fields")
        self._at += count
        return taken

    def take_string(self) -> bytes:
        return self.take(int.from_bytes(self.take(2), "big"))

    def at_end(self) -> bool:
        return self._at == len(self.data)
