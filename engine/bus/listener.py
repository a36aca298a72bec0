"""Our listener before amqtt: takes connections, reads and checks CONNECT, and passes on what may pass."""

import asyncio
import contextlib
import logging
import socket
import ssl

from engine.bus import packets
from engine.bus.checked_broker import BoundedWriter, CheckedBroker, CheckedReader
from engine.bus.gate import Gate
from engine.bus.rules import Party
from engine.bus.settings import Place
from engine.bus.tls import server_context
from engine.logs import note

CONNECTION_LIMIT = 256
WAITING_LIMIT = 64
CONNECT_TIMEOUT_SECONDS = 5.0
IN_USE_GRACE_SECONDS = 0.5

LISTENER = "default"
"""What amqtt calls us."""

_TOO_MANY = f"more than {CONNECTION_LIMIT} clients"
_TOO_MANY_WAIT = f"more than {WAITING_LIMIT} connections that have not said who they are"
_STREAM_BUFFER_BYTES = 1 << 20
_CLOSE_TIMEOUT_SECONDS = 2.0
_HAND_OUT_SECONDS = 1.0
_LOOK_SECONDS = 0.01
_CALM_LOOKS = 5

_log = logging.getLogger("engine.bus.broker")


class Listener:
    """Takes connections, reads and checks CONNECT, and passes on what may pass."""

    def __init__(self, broker: CheckedBroker, gate: Gate) -> None:
        self._broker = broker
        self._gate = gate
        self._ended: dict[str, asyncio.Event] = {}  # of each connected client id
        self._writers: set[asyncio.StreamWriter] = set()
        self._waiting: dict[asyncio.StreamWriter, None] = {}  # who has not said who it is, oldest first
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
        listening = socket.create_server(address[:2], family=family, backlog=WAITING_LIMIT)
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
            if len(self._shaking) >= WAITING_LIMIT:
                note(_log, logging.WARNING, "connection_refused", why=_TOO_MANY_WAIT)
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
        self._waiting[writer] = None
        peer = _peer(writer)
        try:
            if len(self._waiting) > WAITING_LIMIT:  # the newest may be somebody; the oldest had its time
                oldest = next(iter(self._waiting))
                note(_log, logging.WARNING, "connection_refused", peer=_peer(oldest), why=_TOO_MANY_WAIT)
                del self._waiting[oldest]
                oldest.transport.abort()
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                first = await packets.read_packet(reader, packets.CONNECT_LIMIT_BYTES, only=packets.CONNECT)
            connect = packets.check_connect(first)
            party = await self._gate.admit(connect)
            await self._wait_until_free(party)
            self._waiting.pop(writer, None)
            if len(self._ended) >= CONNECTION_LIMIT and not self._gate.is_own_engine(party):
                raise packets.Refused(packets.UNAVAILABLE, _TOO_MANY)
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
            self._waiting.pop(writer, None)
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
            await self._broker.external_connected(checked, BoundedWriter(writer, connect.client), LISTENER)
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
