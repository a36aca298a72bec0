"""MQTT 3.1.1 packets: framing, parsing of client packets, and building of broker packets.

Source: OASIS MQTT 3.1.1, sections 2.2 (fixed header), 3.1 (CONNECT), 3.2 (CONNACK), 3.3 (PUBLISH),
3.4 (PUBACK), 3.8 (SUBSCRIBE), 3.9 (SUBACK), 3.10 (UNSUBSCRIBE), 3.11 (UNSUBACK), 3.12 (PINGREQ),
3.13 (PINGRESP), 3.14 (DISCONNECT).
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import Final

CONNECT_LIMIT_BYTES = 64 << 10
KEEPALIVE_LIMIT_SECONDS = 60

TOPIC_LIMIT_BYTES = 256

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 10, 12, 14
BAD_PROTOCOL, IDENTIFIER_REJECTED, UNAVAILABLE, BAD_CREDENTIAL, NOT_AUTHORIZED = 1, 2, 3, 4, 5

ACCEPTED: Final = 0
SUBSCRIPTION_REFUSED: Final = 0x80
PINGRESP: Final = b"\xd0\x00"

_CLIENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PROTOCOL = b"MQTT"
_LEVEL = 4
_LENGTHS = {PUBACK: 2, PINGREQ: 0, DISCONNECT: 0}


class BadPacket(Exception):  # noqa: N818 - names the malformed input
    """Input that violates the protocol or a limit; the connection is closed without a reply."""


class Refused(Exception):  # noqa: N818 - names the outcome of the CONNECT
    """A rejected CONNECT: the broker replies with a CONNACK of return code ``code`` and disconnects."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Will:
    """The message that the broker publishes when a connection ends without a DISCONNECT."""

    topic: str
    payload: bytes = field(repr=False)
    qos: int
    retain: bool


@dataclass(frozen=True)
class Connect:
    """A validated CONNECT; ``client`` is a random id if the client sent none."""

    client: str
    keepalive_seconds: int
    will: Will | None = None
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Publish:
    """A validated PUBLISH; ``packet_id`` is 0 for QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int


@dataclass(frozen=True, slots=True)
class Filters:
    """A validated SUBSCRIBE or UNSUBSCRIBE; ``filters`` pairs each topic filter with its QoS.

    Wildcard positions are not checked here: ``router.is_filter`` does that.
    """

    packet_id: int
    filters: list[tuple[str, int]]


def header(buffer: bytes | bytearray, at: int = 0) -> tuple[int, int] | None:
    """Return (fixed header length, remaining length) of the packet at ``at``; None if more bytes are needed.

    Raises ``BadPacket``.
    """
    length = 0
    for number in range(4):
        place = at + 1 + number
        if place >= len(buffer):
            return None
        byte = buffer[place]
        length |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            return number + 2, length
    raise BadPacket("a remaining length of more than four bytes")


def parse_connect(first: int, body: bytes) -> Connect:
    """Validate the first packet of a connection: its first byte, and the body after the fixed header.

    Raises ``Refused`` if a CONNACK return code can give the reason, otherwise ``BadPacket``.
    """
    if first >> 4 != CONNECT:
        raise BadPacket(f"a packet of type {first >> 4} in place of a CONNECT")
    if first & 0x0F:
        raise BadPacket("CONNECT with reserved bits in its first byte")
    fields = _Fields(body)
    protocol = fields.take_string()
    level = fields.take(1)[0]
    if protocol != _PROTOCOL or level != _LEVEL:
        # Reply with a 3.1.1 CONNACK, which MQTT 5 clients understand too.
        raise Refused(BAD_PROTOCOL, f"protocol level {level}; only MQTT 3.1.1 (level {_LEVEL}) is supported")
    flags = fields.take(1)[0]
    user, password, will_retain = flags & 0x80, flags & 0x40, flags & 0x20
    will_qos, with_will, clean_session = (flags >> 3) & 3, flags & 4, flags & 2
    if flags & 1 or will_qos == 3 or (not with_will and (will_qos or will_retain)) or (password and not user):
        raise BadPacket("CONNECT with flags that contradict each other")
    keepalive_seconds = fields.take_number()
    client_bytes = fields.take_string()
    will = None
    if with_will:
        topic, payload = _will_topic(fields.take_string()), fields.take_string()
        will = Will(topic, payload, min(will_qos, 1), bool(will_retain))
    user_name = _text(fields.take_string()) if user else None
    secret = fields.take_string() if password else None
    if not fields.at_end():
        raise BadPacket("CONNECT with bytes left over")
    if not clean_session:
        raise Refused(NOT_AUTHORIZED, "a persistent session; only clean sessions are supported")
    if not 1 <= keepalive_seconds <= KEEPALIVE_LIMIT_SECONDS:
        why = f"a keep-alive of {keepalive_seconds} s (1 to {KEEPALIVE_LIMIT_SECONDS} s fits)"
        raise Refused(NOT_AUTHORIZED, why)
    client = _text(client_bytes) or f"auto-{secrets.token_hex(16)}"
    if not _CLIENT.fullmatch(client):
        raise Refused(IDENTIFIER_REJECTED, "a client id that is not 1 to 64 of A-Z a-z 0-9 _ . -")
    return Connect(client, keepalive_seconds, will, user_name, secret)


def parse(first: int, body: bytes) -> Publish | Filters | int:
    """Validate a packet that follows the CONNECT; an int result is the packet id of a PUBACK, or else 0.

    ``first`` is its first byte, ``body`` the bytes after the fixed header. Raises ``BadPacket``.
    """
    kind, flags = first >> 4, first & 0x0F
    if kind == PUBLISH:
        return _parse_publish(flags, body)
    if kind in (SUBSCRIBE, UNSUBSCRIBE):
        if flags != 2:
            raise BadPacket(f"topic filters with flags {flags}")
        return _parse_filters(body, with_qos=kind == SUBSCRIBE)
    if kind not in _LENGTHS:
        raise BadPacket(f"a packet of type {kind} within a session")
    if flags or len(body) != _LENGTHS[kind]:
        raise BadPacket(f"a packet of type {kind} with flags {flags} and {len(body)} bytes")
    return _packet_id(int.from_bytes(body, "big")) if kind == PUBACK else 0


def _parse_publish(flags: int, body: bytes) -> Publish:
    qos = flags >> 1 & 3
    if qos > 1:
        raise BadPacket("a PUBLISH of QoS 2, which is not supported")
    if flags & 8 and not qos:
        raise BadPacket("a PUBLISH of QoS 0 that is marked as a duplicate")  # MQTT-3.3.1-2
    fields = _Fields(body)
    topic = _topic(fields.take_string())
    if "+" in topic or "#" in topic or topic[0] == "$":
        raise BadPacket("a PUBLISH to a topic with a wildcard, or of the broker's own")
    packet_id = _packet_id(fields.take_number()) if qos else 0
    return Publish(topic, fields.rest(), qos, bool(flags & 1), packet_id)


def _parse_filters(body: bytes, *, with_qos: bool) -> Filters:
    fields = _Fields(body)
    packet_id = _packet_id(fields.take_number())
    found: list[tuple[str, int]] = []
    while not fields.at_end():
        topic_filter = _topic(fields.take_string())
        qos = fields.take(1)[0] if with_qos else 0
        if qos > 2:
            raise BadPacket("a topic filter with a QoS above 2")
        found.append((topic_filter, qos))
    if not found:
        raise BadPacket("a SUBSCRIBE or UNSUBSCRIBE without a topic filter")
    return Filters(packet_id, found)


def connack(code: int) -> bytes:
    """A CONNACK with "session present" 0."""
    return bytes((0x20, 2, 0, code))


def puback(packet_id: int) -> bytes:
    """A PUBACK."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def suback(packet_id: int, codes: list[int]) -> bytes:
    """A SUBACK; each code is the granted QoS or ``SUBSCRIPTION_REFUSED``."""
    return b"\x90" + _length(2 + len(codes)) + packet_id.to_bytes(2, "big") + bytes(codes)


def unsuback(packet_id: int) -> bytes:
    """An UNSUBACK."""
    return b"\xb0\x02" + packet_id.to_bytes(2, "big")


def publish(topic: bytes, payload: bytes, *, retain: bool, packet_id: int = 0) -> bytes:
    """A PUBLISH: QoS 1 if ``packet_id`` is given, otherwise QoS 0."""
    tail = packet_id.to_bytes(2, "big") if packet_id else b""
    first = 0x30 | (2 if packet_id else 0) | retain
    length = _length(2 + len(topic) + len(tail) + len(payload))
    return b"".join((bytes((first,)), length, len(topic).to_bytes(2, "big"), topic, tail, payload))


def _packet_id(packet_id: int) -> int:
    if not packet_id:
        raise BadPacket("a packet id of 0")
    return packet_id


def _topic(topic_bytes: bytes) -> str:
    """Decode a topic or topic filter after checking its length."""
    if not 1 <= len(topic_bytes) <= TOPIC_LIMIT_BYTES:
        raise BadPacket(f"a topic of {len(topic_bytes)} bytes (1 to {TOPIC_LIMIT_BYTES} fit)")
    return _text(topic_bytes)


def _will_topic(topic_bytes: bytes) -> str:
    topic = _text(topic_bytes)
    if not topic or topic[0] == "$" or "+" in topic or "#" in topic or len(topic_bytes) > TOPIC_LIMIT_BYTES:
        raise Refused(NOT_AUTHORIZED, "a will on a topic that no client may publish to")
    return topic


def _text(data: bytes) -> str:
    """Decode a UTF-8 string without NUL (MQTT 1.5.3)."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadPacket("a string that is not UTF-8") from None
    if "\0" in text:
        raise BadPacket("a string with a NUL")
    return text


def _length(length: int) -> bytes:
    out = bytearray()
    while True:
        length, low = divmod(length, 0x80)
        out.append(low | (0x80 if length else 0))
        if not length:
            return bytes(out)


class _Fields:
    """Reads the fields of a packet body from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise BadPacket("a packet that is too short for its fields")
        self._at += count
        return taken

    def take_number(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def take_string(self) -> bytes:
        return self.take(self.take_number())

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def at_end(self) -> bool:
        return self._at == len(self._data)
