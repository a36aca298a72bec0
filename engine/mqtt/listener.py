"""Accepts connections, checks each CONNECT, and serves the sessions of admitted clients."""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from typing import Final

from engine.logs import note
from engine.mqtt import packets
from engine.mqtt.access import AccessControl, Grant
from engine.mqtt.channel import Channel
from engine.mqtt.limits import ByteBudget
from engine.mqtt.router import Router
from engine.mqtt.session import Session

CONNECTION_LIMIT = 256
WAITING_LIMIT = 64
CONNECT_TIMEOUT_SECONDS = 5.0
IN_USE_GRACE_SECONDS = 0.5

_TOO_MANY = f"more than {CONNECTION_LIMIT} clients"
_TOO_MANY_WAIT = f"more than {WAITING_LIMIT} connections that have not sent their CONNECT"
_BACKLOG: Final = 128
_UNSENT_IN_KERNEL_BYTES: Final = 128 << 10
"""TCP_NOTSENT_LOWAT, if supported; without it, megabytes of stats delay the replies to a slow client."""
_CLOSE_TIMEOUT_S: Final = 2.0
_FLUSH_S: Final = 1.0
_PAUSE_S: Final = 0.01

_log = logging.getLogger(__name__)


class Listener:
    """Accepts connections and serves the clients that ``access`` admits."""

    def __init__(self, access: AccessControl, budget: ByteBudget | None = None) -> None:
        self.router = Router(access)
        self._access = access
        self._budget = budget or ByteBudget()
        self._departure = asyncio.Event()  # set, then replaced, when a client leaves
        self._outside: dict[asyncio.Task[None], None] = {}  # connections without a session, oldest first
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listen, with TLS if ``context`` is given; return the port. Raises ``OSError``."""
        sockets = _listening(host, port)
        for listening in sockets:
            self._keep(asyncio.create_task(self._accept(listening, context)))
        return int(sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end all connections at once."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def flush(self) -> None:
        """Wait up to ``_FLUSH_S`` until all messages are sent and, for QoS 1, acknowledged."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                # No event signals that an outbox is idle.
                while not all(session.outbox.idle for session in self.router.sessions.values()):  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE_S)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept one connection per event loop iteration, so that a burst does not delay existing clients."""
        event_loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    connection, _ = await event_loop.sock_accept(listening)
                except OSError:  # out of file descriptors
                    await asyncio.sleep(_PAUSE_S)
                    continue
                if len(self._outside) >= WAITING_LIMIT:  # evict the oldest, which had the most time
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
        """Handle one connection from its first byte to its end."""
        task = asyncio.current_task()
        assert task is not None
        peer = task.get_name()
        try:
            channel = await _opened(connection, context)
        except OSError as error:  # includes TimeoutError
            why = str(error) or "no TLS handshake in time"
            note(_log, logging.WARNING, "connection_refused", peer=peer, why=why)
            self._outside.pop(task, None)
            return
        try:
            await self._serve(task, channel)
            self._outside[task] = None  # a closing connection counts against the limit too
            await channel.close(_CLOSE_TIMEOUT_S)
        finally:
            channel.abort()
            self._outside.pop(task, None)

    async def _serve(self, task: asyncio.Task[None], channel: Channel) -> None:
        """Admit the client of a connection and serve its session until it ends."""
        peer = task.get_name()
        try:
            session = await self._let_in(task, channel)
        except packets.Refused as refusal:
            note(_log, logging.WARNING, "client_refused", peer=peer, why=refusal)
            channel.write(packets.connack(refusal.code))
            return
        except (packets.BadPacket, TimeoutError) as error:
            why = str(error) or "no CONNECT in time"
            note(_log, logging.WARNING, "connection_refused", peer=peer, why=why)
            return
        note(
            _log,
            logging.INFO,
            "client_connected",
            client=session.client,
            role=session.grant.role,
            peer=peer,
        )
        try:
            session.open()
            end = await channel.ended
        finally:
            self.router.leave(session)
            self._departure.set()
            self._departure = asyncio.Event()
        if end.why:
            note(_log, end.level, "client_cut_off", client=session.client, why=end.why)
        skipped = session.outbox.skipped or None
        note(_log, logging.INFO, "client_gone", client=session.client, peer=peer, skipped=skipped)

    async def _let_in(self, task: asyncio.Task[None], channel: Channel) -> Session:
        """Admit a client and return its session. Raises ``Refused``, ``BadPacket``, ``TimeoutError``."""
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            first, body = await channel.first_packet()
        connect = packets.parse_connect(first, body)
        grant = await self._access.admit(connect)
        await self._wait_for_place(grant)
        self._outside.pop(task, None)
        session = Session(channel, connect, grant, self.router, self._budget)
        self.router.join(session)
        return session

    async def _wait_for_place(self, grant: Grant) -> None:
        """Wait up to ``IN_USE_GRACE_SECONDS`` for a conflicting client to leave. Raises ``Refused``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IN_USE_GRACE_SECONDS):
                while self._in_the_way(grant) is not None:
                    await self._departure.wait()
        if (refusal := self._in_the_way(grant)) is not None:
            raise refusal

    def _in_the_way(self, grant: Grant) -> packets.Refused | None:
        """Return why a client can't be admitted now, or None if it can."""
        sessions = self.router.sessions
        if grant.client in sessions:
            return packets.Refused(packets.IDENTIFIER_REJECTED, "a client id that is connected already")
        held = {session.grant.exclusive for session in sessions.values()} - {None}
        if grant.exclusive in held:
            return packets.Refused(packets.NOT_AUTHORIZED, f"{grant.exclusive} is connected already")
        if len(sessions) >= CONNECTION_LIMIT and not grant.reserved:
            return packets.Refused(packets.UNAVAILABLE, _TOO_MANY)
        return None


def _listening(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of a host, all on the same port. Raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    missing = None
    for family, *_, address in dict.fromkeys(found):
        try:
            listening = socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            missing = error  # localhost may resolve to ::1 on a machine without IPv6
            continue
        listening.setblocking(False)
        port = int(listening.getsockname()[1])
        sockets.append(listening)
    if missing is not None and not sockets:
        raise missing
    return sockets


async def _opened(connection: socket.socket, context: ssl.SSLContext | None) -> Channel:
    """Open a channel on a connection, after a TLS handshake if ``context`` is given. Raises ``OSError``."""
    event_loop = asyncio.get_running_loop()
    timeout = None if context is None else CONNECT_TIMEOUT_SECONDS
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (option := getattr(socket, "TCP_NOTSENT_LOWAT", None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, _UNSENT_IN_KERNEL_BYTES)
        _, channel = await event_loop.connect_accepted_socket(
            Channel, connection, ssl=context, ssl_handshake_timeout=timeout
        )
    except BaseException:
        connection.close()
        raise
    return channel


def _peer(connection: socket.socket) -> str:
    try:
        name = connection.getpeername()
    except OSError:  # already disconnected
        return "unknown"
    return f"{name[0]}:{name[1]}"
