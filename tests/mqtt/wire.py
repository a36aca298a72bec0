"""A broker without sockets: connections whose other end the test holds, and rules of access for all."""

import asyncio
from collections.abc import Iterator
from typing import Any

from engine.mqtt import packets
from engine.mqtt.access import Grant
from engine.mqtt.channel import Channel
from engine.mqtt.limits import ByteBudget
from engine.mqtt.packets import Connect, Will
from engine.mqtt.router import Router
from engine.mqtt.session import Session


class Wire(asyncio.Transport):
    """A connection; while ``blocked`` the client reads nothing."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.received = bytearray()
        self.unsent = bytearray()
        self.blocked = False
        self.reading = True
        self.closed = False
        self._high = 0
        self._paused = False
        self._channel = channel
        channel.connection_made(self)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.unsent += data
        if not self.blocked:
            self.read()
        elif len(self.unsent) > self._high and not self._paused:
            self._paused = True
            self._channel.pause_writing()

    def read(self, count: int | None = None) -> None:
        """The client reads so many bytes, or all."""
        count = len(self.unsent) if count is None else count
        self.received += self.unsent[:count]
        del self.unsent[:count]
        if self._paused and len(self.unsent) <= self._high // 4:
            self._paused = False
            self._channel.resume_writing()

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def take_one(self) -> tuple[int, bytes]:
        """The first packet that the client has read and not taken."""
        found = packets.header(self.received)
        assert found is not None
        first, body = self.received[0], bytes(self.received[found[0] : sum(found)])
        del self.received[: sum(found)]
        return first, body

    def take(self) -> list[tuple[int, bytes]]:
        """First byte and body of each packet that the client has read since the last time."""
        taken = list(split_all(bytes(self.received)))
        self.received.clear()
        return taken


def split_all(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """First byte and body of each packet of a stream of whole ones."""
    at = 0
    while at < len(stream):
        found = packets.header(stream, at)
        assert found is not None
        begin, end = at + found[0], at + sum(found)
        assert end <= len(stream)
        yield stream[at], stream[begin:end]
        at = end


class OpenAccess:
    """Everyone may do everything, but for topics that begin with ``forbidden``, ``secret`` or ``passing``."""

    async def admit(self, connect: Connect) -> Grant:
        return grant(connect.client)

    def may_retain(self, topic: str) -> bool:
        return not topic.startswith("passing")


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def grant(client: str, **changes: Any) -> Grant:
    values: dict[str, Any] = {
        "role": "anyone",
        "may_publish": lambda topic: not topic.startswith("forbidden"),
        "may_clear": lambda topic: topic.startswith("forbidden/left"),
        "may_subscribe": lambda topic_filter: not topic_filter.startswith("forbidden"),
        "may_read": lambda topic: not topic.startswith("secret"),
        "packet_limit_bytes": 1 << 20,
    }
    return Grant(client, **(values | changes))


class Client:
    """A client that was let in by a router."""

    def __init__(
        self,
        router: Router,
        name: str,
        *,
        will: Will | None = None,
        keepalive: int = 60,
        budget: ByteBudget | None = None,
        **changes: Any,
    ) -> None:
        self.channel = Channel()
        self.wire = Wire(self.channel)
        connect = Connect(name, keepalive, will)
        self.session = Session(self.channel, connect, grant(name, **changes), router, budget or ByteBudget())
        self._router = router
        router.join(self.session)
        self.session.open()
        assert self.wire.take() == [(0x20, b"\0\0")]
        self._number = 0

    def publish(self, topic: str, payload: bytes = b"", *, qos: int = 0, retain: bool = False) -> None:
        self._number += qos
        number = self._number if qos else 0
        self.session.receive(
            *next(split_all(packets.publish(topic.encode(), payload, retain=retain, packet_id=number)))
        )

    def subscribe(self, *filters: str, qos: int = 0) -> list[int]:
        """The codes that answer it."""
        self.session.receive(0x82, b"\0\1" + b"".join(text(one) + bytes((qos,)) for one in filters))
        first, body = self.wire.take_one()
        assert (first, body[:2]) == (0x90, b"\0\1")
        return list(body[2:])

    def unsubscribe(self, *filters: str) -> None:
        self.session.receive(0xA2, b"\0\2" + b"".join(map(text, filters)))
        assert self.wire.take_one() == (0xB0, b"\0\2")

    def acknowledge(self, packet_id: int) -> None:
        self.session.receive(0x40, packet_id.to_bytes(2, "big"))

    def messages(self) -> list[packets.Publish]:
        """What it was sent and has read since the last time."""
        found = [
            packets.parse(first, body) for first, body in self.wire.take() if first >> 4 == packets.PUBLISH
        ]
        assert all(isinstance(one, packets.Publish) for one in found)
        return found  # type: ignore[return-value]  # all() above says so

    def leave(self) -> None:
        self._router.leave(self.session)
