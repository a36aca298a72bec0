"""Our listener before amqtt: takes connections, reads and checks CONNECT, and passes on what may pass."""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl

from engine.bus import packets
from engine.bus.checked_broker import CheckedBroker
from engine.bus.checked_streams import BoundedWriter, CheckedReader, Streams, cut_off
from engine.bus.gate import Gate
from engine.bus.held import HELD_LIMIT_BYTES, Held, Share
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
_TOO_MUCH = f"more than {HELD_LIMIT_BYTES} bytes are held for all clients, and most of them for this one"
_STREAM_BUFFER_BYTES = 64 << 10
_BACKLOG = 128
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
        self._streams = Streams(broker, Held())
        self._ended: dict[str, asyncio.Event] = {}  # of each connected client id
        self._writers: set[asyncio.StreamWriter] = set()
        self._outside: dict[asyncio.Task[None], None] = {}  # connections without a session, oldest first
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, place: Place) -> int:
        """Listen; return the port. Raises ``OSError``, ``BadTls``."""
        context = None if place.tls is None else server_context(place.tls)
        sockets = _listening(place)
        for listening in sockets:
            self._keep(asyncio.create_task(self._accept(listening, context)))
        return int(sockets[0].getsockname()[1])

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Take connections one by one, so that each is heard before many others are taken."""
        event_loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    connection, _ = await event_loop.sock_accept(listening)
                except OSError:  # no descriptor left
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                if len(self._outside) >= WAITING_LIMIT:  # the newest may be somebody; the oldest had its time
                    self._turn_away(next(iter(self._outside)))
                task = asyncio.create_task(self._connected(connection, context), name=_peer(connection))
                self._outside[task] = None
                self._keep(task)
                await asyncio.sleep(0)

    def _turn_away(self, oldest: asyncio.Task[None]) -> None:
        note(_log, logging.WARNING, "connection_refused", peer=oldest.get_name(), why=_TOO_MANY_WAIT)
        del self._outside[oldest]
        oldest.cancel()

    async def _connected(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        """One connection, from its first byte to its end."""
        task = asyncio.current_task()
        assert task is not None
        try:
            reader, writer = await _opened(connection, context)
        except OSError as error:  # a timeout is one
            why = str(error) or "no TLS handshake in time"
            note(_log, logging.WARNING, "connection_refused", peer=task.get_name(), why=why)
            self._outside.pop(task, None)
            return
        self._writers.add(writer)
        try:
            with contextlib.ExitStack() as leaving:
                try:
                    await self._heard(task, reader, writer, leaving)
                    self._outside[task] = None  # not for long, but those that end shall not become many
                except asyncio.CancelledError:
                    writer.transport.abort()
                    raise
                finally:
                    await _close(writer)
        finally:
            self._writers.discard(writer)
            self._outside.pop(task, None)

    async def _heard(
        self,
        task: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        leaving: contextlib.ExitStack,
    ) -> None:
        peer = task.get_name()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                first = await packets.read_packet(reader, packets.CONNECT_LIMIT_BYTES, only=packets.CONNECT)
            connect = packets.check_connect(first)
            party = await self._gate.admit(connect)
            if not self._gate.is_own_engine(party):
                await self._wait_for_place()
            await self._wait_until_free(party)
            if len(self._ended) >= CONNECTION_LIMIT and not self._gate.is_own_engine(party):
                raise packets.Refused(packets.UNAVAILABLE, _TOO_MANY)
            self._outside.pop(task, None)
            fields = {"client": connect.client, "role": party.role, "peer": peer}
            note(_log, logging.INFO, "client_connected", **fields)
            await self._session(party, connect, reader, writer, leaving)
            note(_log, logging.INFO, "client_gone", client=connect.client, peer=peer)
        except packets.Refused as refusal:
            note(_log, logging.WARNING, "client_refused", peer=peer, why=refusal)
            writer.write(packets.connack(refusal.code))
        except (packets.BadPacket, TimeoutError, OSError) as error:
            why = str(error) or "no CONNECT in time"
            note(_log, logging.WARNING, "connection_refused", peer=peer, why=why)

    async def _session(
        self,
        party: Party,
        connect: packets.Connect,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        leaving: contextlib.ExitStack,
    ) -> None:
        ended = self._ended[connect.client] = asyncio.Event()
        self._broker.parties[connect.client] = party
        unread = writer.transport.get_write_buffer_size
        share = Share(unread, lambda: cut_off(writer, connect.client, _TOO_MUCH))
        if self._gate.is_own_engine(party):
            self._streams.engine_unread = unread
        else:
            self._streams.held.add(share)
            leaving.callback(self._streams.held.remove, share)
        checked = CheckedReader(reader, connect, party.role, self._streams, share)
        bounded = BoundedWriter(writer, connect.client, self._streams, share)
        releasing = asyncio.create_task(self._release(checked, connect.client))
        try:
            await self._broker.external_connected(checked, bounded, LISTENER)
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

    async def _wait_for_place(self) -> None:
        """Where there are as many clients as may be: let one come in place of another that just leaves.

        That is looked at, as others are: whoever ends has nobody to tell.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IN_USE_GRACE_SECONDS):
                while len(self._ended) >= CONNECTION_LIMIT:  # noqa: ASYNC110
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


def _listening(place: Place) -> list[socket.socket]:
    """Sockets at every address of a place, of one port. Raises ``OSError``."""
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    missing = None
    port = place.port
    for family, *_, address in dict.fromkeys(found):
        try:
            listening = socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            missing = error  # localhost has an IPv6 address on machines without IPv6, too
            continue
        listening.setblocking(False)
        port = int(listening.getsockname()[1])
        sockets.append(listening)
    if missing is not None and not sockets:
        raise missing
    return sockets


async def _opened(
    connection: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over a connection, once hands are shaken. Raises ``OSError``."""
    event_loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_STREAM_BUFFER_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    timeout = None if context is None else CONNECT_TIMEOUT_SECONDS
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport, _ = await event_loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=context, ssl_handshake_timeout=timeout
        )
    except BaseException:
        connection.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, event_loop)


def _peer(connection: socket.socket) -> str:
    try:
        name = connection.getpeername()
    except OSError:  # it is gone already
        return "somebody"
    return f"{name[0]}:{name[1]}"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_SECONDS):
            await writer.wait_closed()
    except (TimeoutError, OSError):
        pass
    finally:
        writer.transport.abort()
