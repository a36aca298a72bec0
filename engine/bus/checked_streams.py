"""What amqtt reads from and writes to in place of a socket: whole packets that fit, and readers that read.

Where it waits for amqtt's queues it polls: they signal nothing.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from amqtt.adapters import ReaderAdapter, WriterAdapter

from engine.bus import packets
from engine.bus.checked_broker import CheckedBroker
from engine.bus.held import Held, Share
from engine.bus.rates import Bucket
from engine.bus.rules import Role
from engine.logs import note

VIEWER_PACKET_LIMIT_BYTES = 64 << 10
OPERATOR_PACKET_LIMIT_BYTES = 2 << 20
PACKET_LIMIT_BYTES = 17 << 20
UNSENT_LIMIT_BYTES = 17 << 20
ENGINE_BEHIND_LIMIT_BYTES = 4 << 20
QUEUED_MESSAGES_LIMIT = 1024
FILTERS_LIMIT = 64
UNANSWERED_LIMIT = 64
PACKETS_AT_ONCE = 8192
PACKETS_A_SECOND = 2048

_PACKET_BYTES: Final[dict[Role, int]] = {
    "viewer": VIEWER_PACKET_LIMIT_BYTES,
    "operator": OPERATOR_PACKET_LIMIT_BYTES,
    "engine": PACKET_LIMIT_BYTES,
}
_SETTLE_TIMEOUT_SECONDS = 2.0
_BREATHER_SECONDS = 0.05

_log = logging.getLogger("engine.bus.broker")


@dataclass
class Streams:
    """What the sessions of a broker share: ``held`` is what is held for all, ``engine_unread`` what its own
    engine has not read."""

    broker: CheckedBroker
    held: Held
    engine_unread: Callable[[], int] = lambda: 0


class CheckedReader(ReaderAdapter):  # type: ignore[misc]
    """Hands amqtt whole, bounded packets, and the end of the stream when a rule is broken."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        connect: packets.Connect,
        role: Role,
        streams: Streams,
        share: Share,
    ) -> None:
        self._reader = reader
        self._client = connect.client
        self._role: Role = role
        self._silence_seconds = connect.keepalive_seconds * 1.5 or None  # MQTT 3.1.2.10
        self._streams = streams
        self._broker = streams.broker
        self._share = share
        self._bucket = Bucket(PACKETS_AT_ONCE, PACKETS_A_SECOND)
        self._packet = connect.packet
        self._at = 0
        self._ended = False
        self._filters: set[str] = set()
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
        await self._wait_for_turn()
        try:
            async with asyncio.timeout(self._silence_seconds):
                packet = await packets.read_packet(self._reader, _PACKET_BYTES[self._role], self._comes)
            kind = packet[0] >> 4 if packet else packets.DISCONNECT
            if packet:
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

    async def _wait_for_turn(self) -> None:
        """Packets that are there already would be read one after the other, and nobody else's meanwhile.

        Nothing signals that there is room again, in amqtt's queues or a socket's, so it is looked at.
        """
        await asyncio.sleep(0)
        self._share.coming_bytes = 0
        while self._broker.queued(self._client) + self._broker.queued_in_all() > QUEUED_MESSAGES_LIMIT:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        if self._role == "engine":
            return
        while not self._bucket.take():  # noqa: ASYNC110
            await asyncio.sleep(_BREATHER_SECONDS)
        while self._streams.engine_unread() > ENGINE_BEHIND_LIMIT_BYTES:  # noqa: ASYNC110
            await asyncio.sleep(_BREATHER_SECONDS)

    def _comes(self, length: int) -> None:
        """A packet of a length begins."""
        self._share.coming_bytes = length
        self._streams.held.grew(self._share)

    def _check(self, kind: int, packet: bytes) -> None:
        """Raise ``BadPacket`` for what amqtt would take without a bound, or not take well."""
        packets.check(packet)
        if kind == packets.UNSUBSCRIBE:
            self._filters.difference_update(packets.filters_of(packet))
        elif kind == packets.SUBSCRIBE:
            filters = packets.filters_of(packet)
            self._bucket.owe(len(filters))  # for each it is looked for what is retained
            self._filters.update(filters)
            if len(self._filters) > FILTERS_LIMIT:  # each is tried for each message
                raise packets.BadPacket(f"more than {FILTERS_LIMIT} topic filters")
        waits_for_answer = kind in (packets.SUBSCRIBE, packets.UNSUBSCRIBE)
        if waits_for_answer and self._broker.unanswered(self._client) >= UNANSWERED_LIMIT:
            raise packets.BadPacket(f"more than {UNANSWERED_LIMIT} subscriptions that wait for an answer")

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

    def __init__(self, writer: asyncio.StreamWriter, client: str, streams: Streams, share: Share) -> None:
        self._writer = writer
        self._client = client
        self._streams = streams
        self._share = share

    def write(self, data: bytes) -> None:
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > UNSENT_LIMIT_BYTES:
            cut_off(self._writer, self._client, f"does not read: more than {UNSENT_LIMIT_BYTES} bytes unsent")
            return
        self._writer.write(data)
        if transport.get_write_buffer_size():
            self._streams.held.grew(self._share)

    async def drain(self) -> None:
        """Nothing to wait for: ``write`` keeps the bound."""

    def get_peer_info(self) -> tuple[str, int] | None:
        peer = self._writer.get_extra_info("peername")
        return (peer[0], peer[1]) if peer else None

    def get_ssl_info(self) -> ssl.SSLObject | None:
        return None

    async def close(self) -> None:
        """Left to the listener, which frees the client id first: whoever sees the end may come back."""


def cut_off(writer: asyncio.StreamWriter, client: str, why: str) -> None:
    """End a client's connection at once."""
    note(_log, logging.WARNING, "client_cut_off", client=client, why=why)
    writer.transport.abort()
