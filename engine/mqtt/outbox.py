"""Messages to one client: written at once while the client reads, otherwise queued in limited memory."""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from engine.mqtt import packets
from engine.mqtt.channel import Channel

UNREAD_LIMIT_BYTES = 17 << 20
IN_FLIGHT_LIMIT = 64

_ENTRY_BYTES: Final = 128
"""Approximate memory of a queue entry."""
_LAST_PACKET_ID: Final = 65_535
_UNREAD: Final = f"does not read or acknowledge: more than {UNREAD_LIMIT_BYTES} bytes for it meanwhile"


class Sender(Protocol):
    """A client that publishes; it is put on hold while too many of its bytes wait in outboxes."""

    client: str

    def waits(self, change_bytes: int) -> None:
        """Add ``change_bytes`` (may be negative) to the bytes of this client's messages in outboxes."""
        ...


class Message:
    """A published message; its QoS 0 packet is encoded once for all receivers."""

    __slots__ = ("_plain", "payload", "qos", "sender", "size_bytes", "topic", "topic_bytes")

    def __init__(self, topic: str, payload: bytes, qos: int, sender: Sender | None) -> None:
        self.topic = topic
        self.topic_bytes = topic.encode()
        self.payload = payload
        self.qos = qos
        self.sender = sender
        self.size_bytes = len(payload) + len(self.topic_bytes) + _ENTRY_BYTES
        self._plain: bytes | None = None

    def plain(self, *, retain: bool = False) -> bytes:
        """Return the PUBLISH packet for QoS 0."""
        if retain:
            return packets.publish(self.topic_bytes, self.payload, retain=True)
        if self._plain is None:
            self._plain = packets.publish(self.topic_bytes, self.payload, retain=False)
        return self._plain


class Outbox:
    """Queues of messages to one client, one for each QoS.

    QoS 1 is sent first and never dropped: up to ``IN_FLIGHT_LIMIT`` messages await acknowledgement, the rest
    are queued, and senders are served round-robin. For QoS 0 only the newest message of each topic is queued;
    ``skipped`` counts the others. A client that reads and acknowledges nothing while ``UNREAD_LIMIT_BYTES``
    arrive for it is disconnected. Retained messages don't count, because only their topics are queued:
    ``retained`` returns the message of a topic, or None, when it can be sent.
    """

    def __init__(self, channel: Channel, retained: Callable[[str], Message | None]) -> None:
        self._channel = channel
        self._retained = retained
        self._retained_due: dict[str, int] = {}  # QoS by topic
        self._clock = asyncio.get_running_loop().time
        self._in_flight: set[int] = set()
        self._last_id = 0
        self._waiting: OrderedDict[str, deque[Message]] = OrderedDict()  # by sender
        self._newest: dict[str, tuple[bytes, int]] = {}  # by topic
        self._waiting_bytes = 0
        self._newest_bytes = 0
        self._unsent_bytes = 0
        self._unread_since_progress_bytes = 0
        self._ended = False
        self.read_at = self._clock()
        self.skipped = 0

    @property
    def unread_bytes(self) -> int:
        """Bytes in the queues and the write buffer."""
        return self._channel.unsent_bytes + self._waiting_bytes + self._newest_bytes

    @property
    def awaits_acknowledgement(self) -> bool:
        """Whether only the limit on unacknowledged messages, not the write buffer, blocks QoS 1."""
        return len(self._in_flight) >= IN_FLIGHT_LIMIT and self._channel.can_write

    @property
    def idle(self) -> bool:
        """Whether every message is sent, and every QoS 1 message acknowledged."""
        return self._ended or not (self.unread_bytes or self._in_flight or self._retained_due)

    def answer(self, packet: bytes) -> None:
        """Send the reply to a packet of the client."""
        self._channel.write(packet)
        if not self._channel.can_write:
            self._count_unread(len(packet))

    def send_retained(self, wanted: Mapping[str, int]) -> None:
        """Send the retained messages of ``wanted`` (QoS by topic) as fast as the client reads."""
        if not self._ended:
            for topic, qos in wanted.items():
                self._retained_due[topic] = max(qos, self._retained_due.get(topic, 0))
            self.pump()

    def send(self, message: Message, qos: int) -> bool:
        """Send or queue a message; return True if it was not sent at once (False after ``close``)."""
        if self._ended:
            return False
        if qos:
            if self._channel.can_write and not self._waiting and len(self._in_flight) < IN_FLIGHT_LIMIT:
                self._send_acknowledged(message)
                return False
            self._wait(message)
        elif self._channel.can_write and not self._newest:
            self._channel.write(message.plain())
            return False
        else:
            self._replace(message)
        self._count_unread(message.size_bytes)
        return True

    def acknowledged(self, packet_id: int) -> None:
        """Handle the PUBACK of a QoS 1 message; an unknown id is ignored."""
        if packet_id in self._in_flight:
            self._in_flight.discard(packet_id)
            self._note_progress()
            self.pump()

    def pump(self) -> None:
        """Send queued messages while the client reads."""
        channel = self._channel
        while self._waiting and channel.can_write and len(self._in_flight) < IN_FLIGHT_LIMIT:
            name, queue = next(iter(self._waiting.items()))
            message = queue.popleft()
            self._waiting.move_to_end(name)
            if not queue:
                del self._waiting[name]
            self._release(message)
            self._send_acknowledged(message)
        # After the queued messages, so that no older message of a topic follows its retained one.
        while self._retained_due and channel.can_write and len(self._in_flight) < IN_FLIGHT_LIMIT:
            topic = next(iter(self._retained_due))
            qos = self._retained_due.pop(topic)
            found = self._retained(topic)
            if found is None:
                continue
            if min(qos, found.qos):
                self._send_acknowledged(found, retain=True)
            else:
                channel.write(found.plain(retain=True))
        while self._newest and channel.can_write:
            topic = next(iter(self._newest))
            packet, size_bytes = self._newest.pop(topic)
            self._newest_bytes -= size_bytes
            channel.write(packet)

    def writable(self) -> None:
        """The write buffer has room again, because the client has read."""
        self._note_progress()
        self.pump()

    def measure(self) -> None:
        """Record progress if the write buffer has shrunk since the last call."""
        unsent_bytes = self._channel.unsent_bytes
        if unsent_bytes < self._unsent_bytes:
            self._note_progress()
        self._unsent_bytes = unsent_bytes

    def close(self) -> None:
        """Drop all queued messages when the connection ends."""
        self._ended = True
        for queue in self._waiting.values():
            for message in queue:
                self._release(message)
        self._waiting.clear()
        self._retained_due.clear()
        self._newest.clear()
        self._newest_bytes = 0
        self._in_flight.clear()

    def _send_acknowledged(self, message: Message, *, retain: bool = False) -> None:
        packet_id = self._last_id
        while True:
            packet_id = packet_id % _LAST_PACKET_ID + 1
            if packet_id not in self._in_flight:
                break
        self._last_id = packet_id
        self._in_flight.add(packet_id)
        packet = packets.publish(message.topic_bytes, message.payload, retain=retain, packet_id=packet_id)
        self._channel.write(packet)

    def _wait(self, message: Message) -> None:
        name = "" if message.sender is None else message.sender.client
        self._waiting.setdefault(name, deque()).append(message)
        self._waiting_bytes += message.size_bytes
        if message.sender is not None:
            message.sender.waits(message.size_bytes)

    def _release(self, message: Message) -> None:
        self._waiting_bytes -= message.size_bytes
        if message.sender is not None:
            message.sender.waits(-message.size_bytes)

    def _replace(self, message: Message) -> None:
        """Queue a QoS 0 message in place of an older one of its topic; drop it if the queue is full."""
        earlier = self._newest.pop(message.topic, None)
        if earlier is not None:
            self._newest_bytes -= earlier[1]
            self.skipped += 1
        if self._newest_bytes + message.size_bytes > UNREAD_LIMIT_BYTES:
            self.skipped += 1
            return
        self._newest[message.topic] = (message.plain(), message.size_bytes)
        self._newest_bytes += message.size_bytes

    def _count_unread(self, size_bytes: int) -> None:
        """Count bytes that the client does not read now; above the limit, end its connection.

        Bytes don't count while the client is on hold with too many unacknowledged messages: the broker then
        does not read its acknowledgements.
        """
        self.measure()
        if self._channel.on_hold and self.awaits_acknowledgement:
            return
        self._unread_since_progress_bytes += size_bytes
        if self._unread_since_progress_bytes > UNREAD_LIMIT_BYTES and not self._ended:
            self._channel.end(_UNREAD, logging.WARNING)
            self.close()

    def _note_progress(self) -> None:
        self._unread_since_progress_bytes = 0
        self.read_at = self._clock()
