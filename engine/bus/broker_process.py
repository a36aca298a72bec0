"""The embedded broker's process: our listener in front, amqtt behind it.

Started by ``engine.bus.broker`` as ``python -m engine.bus.broker_process``. It reads its ``Settings``, one
line of JSON, from stdin, and writes one to stdout, ``{"ports": [n, …]}`` or ``{"error": "…"}``, then what it
logs, a line of JSON each. It ends when its stdin does, which the end of the parent brings about, however it
ends.

Alone, amqtt is no wall: a refused CONNECT with someone's client id ends that client's session, sizes and
stalled readers are unbounded, the keep-alive is not enforced, and messages still queued when their sender
disconnects are dropped, wills pass its topic filter. The listener sees to these before a byte reaches amqtt.
Where it waits for amqtt's queues it polls: they signal nothing.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from typing import Any

import msgspec
from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType
from amqtt.session import Session

from engine.bus import packets, rules, topics
from engine.bus.errors import BadTls
from engine.bus.gate import Gate
from engine.bus.rules import Party
from engine.bus.settings import Place, Settings
from engine.bus.tls import server_context
from engine.logs import Flood, Relay, note

PACKET_LIMIT_BYTES = 17 << 20
UNSENT_LIMIT_BYTES = 17 << 20
CONNECTION_LIMIT = 256
CONNECT_TIMEOUT_SECONDS = 5.0
IN_USE_GRACE_SECONDS = 0.5
QUEUED_MESSAGES_LIMIT = 1024

_LISTENER = "default"
_TOO_MANY = f"more than {CONNECTION_LIMIT} connections"
_STREAM_BUFFER_BYTES = 1 << 20
_CLOSE_TIMEOUT_SECONDS = 2.0
_SETTLE_TIMEOUT_SECONDS = 2.0
_HAND_OUT_SECONDS = 1.0
_LOOK_SECONDS = 0.01
_CALM_LOOKS = 5

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
            if kind == packets.PUBLISH and not packets.publish_topic_fits(packet):
                raise packets.BadPacket("a PUBLISH to a topic nobody may publish to")
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


class Listener:
    """Takes connections, reads and checks CONNECT, and passes on what may pass."""

    def __init__(self, broker: CheckedBroker, gate: Gate) -> None:
        self._broker = broker
        self._gate = gate
        self._ended: dict[str, asyncio.Event] = {}  # of each connected client id
        self._writers: set[asyncio.StreamWriter] = set()
        self._accepting: set[asyncio.Task[None]] = set()
        self._shaking: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, place: Place) -> int:
        """Listen; return the port. Raises ``OSError``, ``BadTls``."""
        if place.tls is not None:
            return self._serve_tls(place, server_context(place.tls))
        server = await asyncio.start_server(
            self._connected, place.host, place.port, limit=_STREAM_BUFFER_BYTES
        )
        return int(server.sockets[0].getsockname()[1])

    def _serve_tls(self, place: Place, context: ssl.SSLContext) -> int:
        family, *_, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=CONNECTION_LIMIT)
        listening.setblocking(False)
        self._accepting.add(asyncio.create_task(self._accept(listening, context)))
        return int(listening.getsockname()[1])

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        """Take connections one by one: asyncio's own server has no bound for those that shake hands."""
        event_loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await event_loop.sock_accept(listening)
            except OSError:  # no descriptor left
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            if len(self._writers) + len(self._shaking) >= CONNECTION_LIMIT:
                note(_log, logging.WARNING, "connection_refused", why=_TOO_MANY)
                connection.close()
                continue
            task = asyncio.create_task(self._shake_hands(connection, context))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake_hands(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        event_loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_STREAM_BUFFER_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await event_loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=context, ssl_handshake_timeout=CONNECT_TIMEOUT_SECONDS
            )
        except (OSError, TimeoutError) as error:
            note(_log, logging.WARNING, "connection_refused", why=f"TLS: {error or 'no handshake in time'}")
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, event_loop)
        connected = asyncio.create_task(self._connected(reader, writer))
        self._serving.add(connected)
        connected.add_done_callback(self._serving.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        peer = _peer(writer)
        try:
            if len(self._writers) > CONNECTION_LIMIT:
                raise packets.BadPacket(_TOO_MANY)
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                first = await packets.read_packet(reader, packets.CONNECT_LIMIT_BYTES, only=packets.CONNECT)
            connect = packets.check_connect(first)
            party = await self._gate.admit(connect)
            await self._wait_until_free(party)
            fields = {"client": connect.client, "role": party.role, "peer": peer}
            note(_log, logging.INFO, "client_connected", **fields)
            await self._session(party, connect, reader, writer)
            note(_log, logging.INFO, "client_gone", client=connect.client, peer=peer)
        except packets.Refused as refusal:
            note(_log, logging.WARNING, "client_refused", peer=peer, why=refusal)
            writer.write(packets.connack(refusal.code))
        except (packets.BadPacket, TimeoutError, OSError) as error:
            why = str(error) or "no CONNECT in time"
            note(_log, logging.WARNING, "connection_refused", peer=peer, why=why)
        finally:
            self._writers.discard(writer)
            await _close(writer)

    async def _session(
        self,
        party: Party,
        connect: packets.Connect,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        ended = self._ended[connect.client] = asyncio.Event()
        self._broker.parties[connect.client] = party
        checked = CheckedReader(reader, connect, self._broker)
        releasing = asyncio.create_task(self._release(checked, connect.client))
        try:
            await self._broker.external_connected(checked, BoundedWriter(writer, connect.client), _LISTENER)
        except Exception:
            _log.exception("session_failed")
        finally:
            releasing.cancel()
            del self._ended[connect.client], self._broker.parties[connect.client]
            ended.set()

    async def _release(self, reader: CheckedReader, client: str) -> None:
        """Let a session end once its client is gone, whatever is still on its way to it."""
        await reader.gone.wait()
        while True:
            self._broker.give_up_acknowledgements(client)
            await asyncio.sleep(_LOOK_SECONDS)

    async def hand_out(self) -> None:
        """Wait until everything published has left for its readers, but not for long."""
        calm = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HAND_OUT_SECONDS):
                while calm < _CALM_LOOKS:
                    waiting = self._broker.queued_in_all() + sum(map(self._broker.queued, self._ended))
                    unsent = sum(writer.transport.get_write_buffer_size() for writer in self._writers)
                    calm = 0 if waiting or unsent else calm + 1
                    await asyncio.sleep(_LOOK_SECONDS)

    async def _wait_until_free(self, party: Party) -> None:
        """Let a client that has just disconnected come back; refuse one whose id or host is in use."""
        try:
            async with asyncio.timeout(IN_USE_GRACE_SECONDS):
                while (other := self._in_the_way(party)) is not None:
                    await self._ended[other].wait()
        except TimeoutError:
            if party.client in self._ended:
                why = "a client id that is connected already"
                raise packets.Refused(packets.IDENTIFIER_REJECTED, why) from None
            why = f"an engine of {party.host} is connected already"
            raise packets.Refused(packets.NOT_AUTHORIZED, why) from None

    def _in_the_way(self, party: Party) -> str | None:
        """A connected client that has the id or the host of ``party``."""
        if party.client in self._ended:
            return party.client
        hosts = {other.host: other.client for other in self._broker.parties.values()}
        return None if party.host is None else hosts.get(party.host)


def _peer(writer: asyncio.StreamWriter) -> str | None:
    name = writer.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if name else None


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_SECONDS):
            await writer.wait_closed()
    except (TimeoutError, OSError):
        writer.transport.abort()


def _report(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def _serve(settings: Settings) -> None:
    config = BrokerConfig(listeners={_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)}, plugins={})
    broker = CheckedBroker(config)
    await broker.start()
    listener = Listener(broker, Gate(settings.guests))
    ports = []
    for place in settings.places:
        try:
            ports.append(await listener.serve(place))
        except (OSError, BadTls) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number and number > 0 else str(error)
            _report({"error": f"cannot listen on {place.host}:{place.port}: {reason}"})
            os._exit(1)
    _report({"ports": ports})
    ended = asyncio.Event()
    threading.Thread(target=_await_end, args=(asyncio.get_running_loop(), ended), daemon=True).start()
    await ended.wait()
    await listener.hand_out()
    os._exit(0)


def _await_end(event_loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """The parent lets go of our stdin, or is gone."""
    while sys.stdin.buffer.read(4096):
        pass
    event_loop.call_soon_threadsafe(ended.set)


def tells_more_than_a_lost_reader(record: logging.LogRecord) -> bool:
    """False of what amqtt says, as an error with a traceback, of each message whose reader went away."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, TimeoutError) and "PUBACK" in str(error))


def main() -> None:
    """Run until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    relay = Relay(sys.stdout.fileno())
    relay.addFilter(tells_more_than_a_lost_reader)
    relay.addFilter(Flood())
    logging.basicConfig(level=logging.INFO, handlers=[relay])
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
