"""amqtt as our listener uses it: topics held to the rules, packets whole and bounded, slow readers cut off.

Where it waits for amqtt's queues it polls: they signal nothing.
"""

import asyncio
import logging
import ssl
from typing import Any

from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.session import Session

from engine.bus import packets, rules, topics
from engine.bus.rules import Party
from engine.logs import note

PACKET_LIMIT_BYTES = 17 << 20
UNSENT_LIMIT_BYTES = 17 << 20
QUEUED_MESSAGES_LIMIT = 1024
FILTERS_LIMIT = 64

_SETTLE_TIMEOUT_SECONDS = 2.0

_log = logging.getLogger("engine.bus.broker")


class CheckedBroker(Broker):  # type: ignore[misc]
    """amqtt, believing our listener about who may connect, and ``rules`` about topics."""

    def __init__(self, config: BrokerConfig) -> None:
        super().__init__(config)
        self.parties: dict[str, Party] = {}
        """The connected clients, by id."""

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        party = self.parties.get(session.client_id or "")
        if party is None:
            return False
        if action == Action.RECEIVE:
            return rules.may_read(party, topic)
        asks = rules.may_publish if action == Action.PUBLISH else rules.may_subscribe
        if not asks(party, topic):
            fields = {"client": party.client, "role": party.role, "topic": topic}
            note(_log, logging.WARNING, f"{action.value}_refused", **fields)
            return False
        return True

    async def retain_message(
        self, source_session: Session | None, topic_name: str | None, data: Any, qos: int | None = None
    ) -> None:
        host_and_kind = topics.split_telemetry(topic_name or "")
        if host_and_kind is not None and host_and_kind[1] in rules.RETAINED:
            await super().retain_message(source_session, topic_name, data, qos)

    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        return True

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt 0.12 sends a new client what is retained for the subscriptions of all others.
        if any(subscriber is session for subscriber, _ in self._subscriptions.get(subscription[0], ())):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    def queued(self, client: str) -> int:
        """Messages of ``client`` that are not yet on their way to the subscribers."""
        session, _ = self._sessions.get(client, (None, None))
        return 0 if session is None else int(session.delivered_message_queue.qsize())

    def give_up_acknowledgements(self, client: str) -> None:
        """Have nothing wait for a client that is gone: amqtt would for 5 s a message, and hold its id."""
        _, handler = self._sessions.get(client, (None, None))
        if handler is not None:
            handler._stop_waiters()

    def queued_in_all(self) -> int:
        """Messages that every subscription still has to be tried for."""
        return int(self._broadcast_queue.qsize())


class CheckedReader(ReaderAdapter):  # type: ignore[misc]
    """Hands amqtt whole, bounded packets, and the end of the stream when a rule is broken."""

    def __init__(self, reader: asyncio.StreamReader, connect: packets.Connect, broker: CheckedBroker) -> None:
        self._reader = reader
        self._client = connect.client
        self._silence_seconds = connect.keepalive_seconds * 1.5 or None  # MQTT 3.1.2.10
        self._broker = broker
        self._packet = connect.packet
        self._at = 0
        self._ended = False
        self._filters: set[bytes] = set()
        self.gone = asyncio.Event()

    async def read(self, n: int = -1) -> bytes:
        if n == 0:
            return b""
        if self._at == len(self._packet) and not self._ended:
            self._packet, self._at = await self._next_packet(), 0
        data = self._packet[self._at : self._at + n]
        self._at += len(data)
        if len(data) < n:  # the end, or a packet whose fields reach beyond it
            self._ended = True
            self._at = len(self._packet)
            return b""
        return data

    def feed_eof(self) -> None:
        self._reader.feed_eof()

    async def _next_packet(self) -> bytes:
        while self._broker.queued(self._client) + self._broker.queued_in_all() > QUEUED_MESSAGES_LIMIT:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        try:
            async with asyncio.timeout(self._silence_seconds):
                packet = await packets.read_packet(self._reader, PACKET_LIMIT_BYTES)
            kind = packet[0] >> 4 if packet else packets.DISCONNECT
            if kind in (0, packets.CONNECT, 15):
                raise packets.BadPacket(f"a packet of type {kind} within a session")
            self._check(kind, packet)
        except TimeoutError:
            self._gives_up(f"silent for {self._silence_seconds} s")
        except packets.BadPacket as why:
            self._gives_up(str(why), logging.WARNING)
        except OSError as error:
            self._gives_up(f"connection lost: {error}")
        else:
            if kind == packets.DISCONNECT:
                self.gone.set()
                await self._settle()
            self._ended = not packet
            return packet
        self.gone.set()
        await self._settle()
        self._ended = True
        return b""

    def _check(self, kind: int, packet: bytes) -> None:
        """Raise ``BadPacket`` for what amqtt would take without a bound, or not take well."""
        if kind == packets.PUBLISH:
            if not packets.publish_topic_fits(packet):
                raise packets.BadPacket("a PUBLISH to a topic nobody may publish to")
            if packets.publish_qos(packet) > 1:  # it keeps such a message until its sender lets go of it
                raise packets.BadPacket("a PUBLISH of QoS 2, which nothing here needs")
        elif kind == packets.SUBSCRIBE:
            self._filters |= packets.filters_of(packet, FILTERS_LIMIT)
            if len(self._filters) > FILTERS_LIMIT:  # each is tried for each message
                raise packets.BadPacket(f"more than {FILTERS_LIMIT} topic filters")
        elif kind == packets.UNSUBSCRIBE:
            self._filters -= packets.filters_of(packet, FILTERS_LIMIT)

    def _gives_up(self, why: str, level: int = logging.INFO) -> None:
        note(_log, level, "client_cut_off", client=self._client, why=why)

    async def _settle(self) -> None:
        """amqtt drops what a session has not yet handed on when it ends, so wait for that."""
        deadline = asyncio.get_running_loop().time() + _SETTLE_TIMEOUT_SECONDS
        await asyncio.sleep(0)  # the task of the packet before this one queues its message
        while self._broker.queued(self._client) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class BoundedWriter(WriterAdapter):  # type: ignore[misc]
    """Never makes amqtt wait for a slow reader, and ends the connection of one that has too much to read."""

    def __init__(self, writer: asyncio.StreamWriter, client: str) -> None:
        self._writer = writer
        self._client = client

    def write(self, data: bytes) -> None:
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > UNSENT_LIMIT_BYTES:
            why = f"does not read: more than {UNSENT_LIMIT_BYTES} bytes unsent"
            note(_log, logging.WARNING, "client_cut_off", client=self._client, why=why)
            transport.abort()
            return
        self._writer.write(data)

    async def drain(self) -> None:
        """Nothing to wait for: ``write`` keeps the bound."""

    def get_peer_info(self) -> tuple[str, int] | None:
        peer = self._writer.get_extra_info("peername")
        return (peer[0], peer[1]) if peer else None

    def get_ssl_info(self) -> ssl.SSLObject | None:
        return None

    async def close(self) -> None:
        """Left to the listener, which frees the client id first: whoever sees the end may come back."""
