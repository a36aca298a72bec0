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
"""TCP_NOTSENT_LOWAT, if the system has it: else megabytes of readings delay a slow client's answers."""
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
        self._departure = asyncio.Event()  # replaced each time a client leaves
        self._outside: dict[asyncio.Task[None], None] = {}  # connections without a session, oldest first
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listen, over TLS with a ``context``; return the port. Raises ``OSError``."""
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
        """Wait until clients have received everything sent to them, for up to ``_FLUSH_S``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                # Nothing signals that an outbox is idle.
                while not all(session.outbox.idle for session in self.router.sessions.values()):  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE_S)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept connections one by one, so that each is served before many others are accepted."""
        event_loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    connection, _ = await event_loop.sock_accept(listening)
                except OSError:  # no descriptor left
                    await asyncio.sleep(_PAUSE_S)
                    continue
                if len(self._outside) >= WAITING_LIMIT:  # the oldest had its time
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
        peer = task.get_name()
        try:
            channel = await _opened(connection, context)
        except OSError as error:  # a timeout is one
            why = str(error) or "no TLS handshake in time"
            note(_log, logging.WARNING, "connection_refused", peer=peer, why=why)
            self._outside.pop(task, None)
            return
        try:
            await self._serve(task, channel)
            self._outside[task] = None  # for a short time; closing connections count against the bound too
            await channel.close(_CLOSE_TIMEOUT_S)
        finally:
            channel.abort()
            self._outside.pop(task, None)

    async def _serve(self, task: asyncio.Task[None], channel: Channel) -> None:
        """Admit the client of a connection and serve its session to the end."""
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
        """The session of a client. Raises ``Refused``, ``BadPacket``."""
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
        """Wait a moment for a client that is about to leave. Raises ``Refused``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IN_USE_GRACE_SECONDS):
                while self._in_the_way(grant) is not None:
                    await self._departure.wait()
        if (refusal := self._in_the_way(grant)) is not None:
            raise refusal

    def _in_the_way(self, grant: Grant) -> packets.Refused | None:
        """Why a client can't be admitted now; None: it can."""
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
    """Sockets at every address of a host, of one port. Raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    missing = None
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


async def _opened(connection: socket.socket, context: ssl.SSLContext | None) -> Channel:
    """Open a channel on a connection, after the TLS handshake if there is one. Raises ``OSError``."""
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
    except OSError:  # it is gone already
        return "unknown"
    return f"{name[0]}:{name[1]}"
