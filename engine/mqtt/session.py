"""The session of an admitted client: handles its packets within its rights and limits."""

import asyncio
import logging
from typing import Final

from engine.logs import note
from engine.mqtt import packets
from engine.mqtt.access import Grant
from engine.mqtt.channel import BEHIND, Channel
from engine.mqtt.limits import ByteBudget, Share, TokenBucket
from engine.mqtt.outbox import Message, Outbox
from engine.mqtt.packets import BadPacket, Connect, Filters, Publish
from engine.mqtt.router import Router

PACKETS_AT_ONCE = 8192
PACKETS_A_SECOND = 2048
FILTERS_LIMIT = 64
BEHIND_LIMIT_BYTES = 4 << 20
AHEAD_LIMIT_BYTES = 256 << 10

_TOO_MUCH: Final = "the broker holds more than it may for all clients, and most of it for this one"
_MATCHES_A_TOKEN: Final = 100
"""Number of comparisons of a filter with a topic that cost one token of the rate limit."""
_AHEAD: Final = "its messages wait for others"
_RATE: Final = "it sends too often"

_log = logging.getLogger(__name__)


class Session:
    """One client, from CONNACK to the end of its connection. A DISCONNECT sets ``will`` to None."""

    def __init__(
        self, channel: Channel, connect: Connect, grant: Grant, router: Router, budget: ByteBudget
    ) -> None:
        self.client = grant.client
        self.grant = grant
        self.will = connect.will
        self.channel = channel
        self.outbox = Outbox(channel, router.kept)
        self._router = router
        self._bucket = TokenBucket(PACKETS_AT_ONCE, PACKETS_A_SECOND)
        self._loop = asyncio.get_running_loop()
        self._ahead_bytes = 0
        self._incoming_bytes = 0
        self._budget = budget
        self._share = Share(self._held_bytes, self._disconnect)
        if not grant.reserved:
            budget.add(self._share)
        self._silence_s = connect.keepalive_seconds * 1.5  # MQTT 3.1.2.10

    def open(self) -> None:
        """Send CONNACK and start receiving packets."""
        self.channel.write(packets.connack(packets.ACCEPTED))
        self.channel.open(self, self.grant.packet_limit_bytes, self._silence_s)

    def close(self) -> None:
        """Drop the client's queued messages and stop counting its memory."""
        self.outbox.close()
        self._budget.remove(self._share)

    def send(self, message: Message, qos: int) -> None:
        """Send or queue a message; log the first time that the client is too slow for QoS 0."""
        skipped = self.outbox.skipped
        if self.outbox.send(message, qos):
            self._budget.update(self._share)
            if not skipped and self.outbox.skipped:
                why = "it reads slower than messages of QoS 0 come: it gets the newest of each topic"
                note(_log, logging.WARNING, "client_behind", client=self.client, why=why)

    def waits(self, change_bytes: int) -> None:
        """Add ``change_bytes`` (may be negative) to this client's bytes in the outboxes of others."""
        self._ahead_bytes += change_bytes
        if change_bytes > 0:
            self._budget.update(self._share)
        elif 2 * self._ahead_bytes <= AHEAD_LIMIT_BYTES:
            self.channel.release(_AHEAD)

    def ready_for(self, kind: int) -> bool:
        """Return whether to receive a packet of this type now; if not, hold the channel until it may."""
        if self.grant.trusted:
            return True
        if kind in (packets.PUBLISH, packets.SUBSCRIBE):
            if self._ahead_bytes > AHEAD_LIMIT_BYTES:
                self.channel.hold(_AHEAD)
                return False
            if self.outbox.unread_bytes > BEHIND_LIMIT_BYTES and not self.outbox.awaits_acknowledgement:
                self.channel.hold(BEHIND)
                return False
        if not self._bucket.take():
            self.channel.hold(_RATE)
            self._loop.call_later(self._bucket.wait_s(), self.channel.release, _RATE)
            return False
        return True

    def incoming(self, length: int) -> None:
        """A packet with a body of ``length`` bytes has started to arrive."""
        self._incoming_bytes = length
        self._budget.update(self._share)

    def receive(self, first: int, body: bytes) -> None:
        """Handle a packet. Raises ``BadPacket``."""
        self._incoming_bytes = 0
        kind = first >> 4
        match packets.parse(first, body):
            case Publish() as publish:
                self._publish(publish)
            case Filters() as filters if kind == packets.SUBSCRIBE:
                self._subscribe(filters)
            case Filters() as filters:
                for topic_filter, _ in filters.filters:
                    self._router.unsubscribe(self, topic_filter)
                self.outbox.answer(packets.unsuback(filters.packet_id))
            case int() as packet_id if kind == packets.PUBACK:
                self.outbox.acknowledged(packet_id)
                self._catch_up()
            case _ if kind == packets.PINGREQ:
                self.outbox.answer(packets.PINGRESP)
            case _:
                self.will = None
                self.channel.end("")

    def writable(self) -> None:
        """The write buffer has room again, because the client has read."""
        self.outbox.writable()
        self._catch_up()

    def read_at(self) -> float:
        """Return the event loop time at which the client last read some of the data sent to it."""
        self.outbox.measure()
        return self.outbox.read_at

    def _catch_up(self) -> None:
        """Release a client that has read enough, or whose acknowledgements follow the packet on hold."""
        if 2 * self.outbox.unread_bytes <= BEHIND_LIMIT_BYTES or self.outbox.awaits_acknowledgement:
            self.channel.release(BEHIND)

    def _publish(self, publish: Publish) -> None:
        clears = publish.retain and not publish.payload
        tried = self._router.tried
        if self.grant.may_publish(publish.topic) or (clears and self._may_clear(publish.topic)):
            sender = None if self.grant.trusted else self
            message = Message(publish.topic, publish.payload, publish.qos, sender)
            self._router.publish(message, retain=publish.retain, unbounded=self.grant.reserved)
        else:
            self._refuse("publish", publish.topic)
        self._bucket.owe((self._router.tried - tried) / _MATCHES_A_TOKEN)
        if publish.qos:
            self.outbox.answer(packets.puback(publish.packet_id))

    def _may_clear(self, topic: str) -> bool:
        """Return whether the client has the right to clear a topic whose owner is not connected."""
        return self.grant.may_clear(topic) and not self._router.is_owned(topic)

    def _subscribe(self, wanted: Filters) -> None:
        asked = {topic_filter for topic_filter, _ in wanted.filters}
        if len(self._router.filters_of(self) | asked) > FILTERS_LIMIT:  # each is compared with each new topic
            raise BadPacket(f"more than {FILTERS_LIMIT} topic filters")
        codes = []
        for topic_filter, qos in wanted.filters:
            code = self._router.subscribe(self, topic_filter, min(qos, 1))
            if code == packets.SUBSCRIPTION_REFUSED:
                self._refuse("subscribe", topic_filter)
            codes.append(code)
        self.outbox.answer(packets.suback(wanted.packet_id, codes))
        granted = {one: code for (one, _), code in zip(wanted.filters, codes, strict=True) if code < 2}
        tried = self._router.tried
        retained = self._router.retained(granted)
        self.outbox.send_retained({topic: qos for topic, qos in retained if self.grant.may_read(topic)})
        self._budget.update(self._share)
        self._bucket.owe(len(codes) + (self._router.tried - tried) / _MATCHES_A_TOKEN)

    def _refuse(self, action: str, topic: str) -> None:
        fields = {"client": self.client, "role": self.grant.role, "topic": topic}
        note(_log, logging.WARNING, f"{action}_refused", **fields)

    def _held_bytes(self) -> int:
        return self.outbox.unread_bytes + self._incoming_bytes + self._ahead_bytes

    def _disconnect(self) -> None:
        self.channel.end(_TOO_MUCH, logging.WARNING)
        self.channel.abort()
        self.outbox.close()
