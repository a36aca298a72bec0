"""Connections and requests of a web server: their limits, the host a request addresses, and their log
records.

The limit is enforced when a connection is accepted, so that connections never use up all file descriptors. At
the limit, a new connection replaces an idle one: the oldest without a complete request, else the one with the
oldest last response. Idle connections therefore can't keep the server from answering.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from engine.logs import note

_log = logging.getLogger(__name__)


class RequestLog(logging.LoggerAdapter[logging.Logger]):
    """aiohttp's logger: logs a malformed request as an event, without a trace and without the request's
    content, which may contain a token."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **options: Any) -> None:
        if isinstance(exc_info, HttpProcessingError):
            peer = args[0] if args else None
            note(self.logger, logging.WARNING, "request_malformed", peer=peer, why=type(exc_info).__name__)
        else:
            super().exception(msg, *args, exc_info=exc_info, **options)


CONNECTION_LIMIT: Final = 256
KEEPALIVE_SECONDS: Final = 30
"""A connection without a complete request is closed after this time."""
RUNNER: Final[dict[str, Any]] = {
    "access_log": None,
    "keepalive_timeout": KEEPALIVE_SECONDS,
    "logger": RequestLog(_log),
    "lingering_time": 0,  # requests have no body here, so don't wait for one
}
"""Options for the ``AppRunner`` of a server behind a limiter."""

_OUT_OF_RESOURCES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_S: Final = 0.1
_REPORT_S: Final = 60.0
_BACKLOG: Final = 128


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    protocol: RequestHandler
    since_s: float = field(default_factory=monotonic)
    """Monotonic time of its accept or its last response."""
    asked: bool = False
    served: int = 0
    """Number of requests in progress."""


class ConnectionLimiter:
    """Accepts at most ``limit`` connections for an aiohttp server, and at most half the process's
    descriptors.

    A context manager; its exit closes the listening sockets. ``closed`` counts the idle connections that were
    closed in favour of new ones.
    """

    def __init__(
        self, server: web.Server | None, listening: Iterable[socket.socket], limit: int = CONNECTION_LIMIT
    ) -> None:
        assert server is not None, "its runner is set up"
        self.closed: int = 0
        self._server = server
        self._answer = server.request_handler
        server.request_handler = self._serve
        self._listening = list(listening)
        self._limit = min(limit, _descriptors() // 2)
        self._connections: dict[RequestHandler, _Connection] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._reported_s = -_REPORT_S

    async def __aenter__(self) -> "ConnectionLimiter":
        for listener in self._listening:
            listener.setblocking(False)
            self._tasks.append(asyncio.create_task(self._accept(listener)))
        return self

    async def __aexit__(self, *why: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listening:
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        event_loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await event_loop.sock_accept(listener)
            except OSError as error:  # also if the client has already disconnected
                if error.errno in _OUT_OF_RESOURCES:
                    self._report(error.strerror)
                    await asyncio.sleep(_PAUSE_S)
                continue
            try:
                await self._make_room()
                # The lambda runs before ``accepted`` changes: the call is awaited here.
                await event_loop.connect_accepted_socket(lambda: self._protocol(accepted), accepted)  # noqa: B023
            except OSError:
                accepted.close()
            except asyncio.CancelledError:
                accepted.close()
                raise

    def _protocol(self, accepted: socket.socket) -> RequestHandler:
        protocol = self._server()
        self._connections[protocol] = _Connection(accepted, protocol)
        return protocol

    async def _make_room(self) -> None:
        """Wait until one more connection is allowed; close idle connections if necessary."""
        while len(self._open()) >= self._limit:
            self._report(None)
            waiting = [one for one in self._open() if not one.served and one.protocol.transport is not None]
            if not waiting:
                await asyncio.sleep(_PAUSE_S)
                continue
            oldest = min(waiting, key=lambda one: (one.asked, one.since_s))
            del self._connections[oldest.protocol]
            self.closed += 1
            assert oldest.protocol.transport is not None
            oldest.protocol.transport.abort()
            await asyncio.sleep(0)  # let the transport close

    def _open(self) -> list[_Connection]:
        self._connections = {
            protocol: one for protocol, one in self._connections.items() if one.socket.fileno() != -1
        }
        return [*self._connections.values()]

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = self._connections.get(request.protocol)
        if connection is None:  # the limiter has just closed it
            return await self._answer(request)
        connection.asked = True
        connection.served += 1
        try:
            return await self._answer(request)
        finally:
            connection.served -= 1
            connection.since_s = monotonic()

    def _report(self, why: str | None) -> None:
        """Log that the limit is reached, at most once a minute."""
        if monotonic() - self._reported_s >= _REPORT_S:
            self._reported_s = monotonic()
            note(_log, logging.WARNING, "connections_full", limit=self._limit, closed=self.closed, why=why)


def listen_on(host: str, port: int) -> list[socket.socket]:
    """Open listening sockets on every address of a host, on one port (0: a free one). Raises OSError."""
    bound: list[socket.socket] = []
    error: OSError | None = None
    for family, kind, number, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        one = socket.socket(family, kind, number)
        try:
            if sys.platform != "win32":
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                with contextlib.suppress(AttributeError, OSError):
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], bound[0].getsockname()[1] if bound else port, *address[2:]))
            one.listen(_BACKLOG)
            bound.append(one)
        except OSError as failure:
            one.close()
            if failure.errno != errno.EADDRNOTAVAIL:  # ::1 is not available without IPv6
                for other in bound:
                    other.close()
                raise
            error = failure
    if not bound:
        raise error or OSError(errno.EADDRNOTAVAIL, "no such address")
    return bound


def _descriptors() -> int:
    """The limit of open file descriptors of this process."""
    if sys.platform == "win32":
        return 2 * CONNECTION_LIMIT
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * CONNECTION_LIMIT if soft == resource.RLIM_INFINITY else soft


def host_of(request: web.Request) -> str | None:
    """The host and port that a request addresses, None if invalid or missing.

    They are those of the request target if it is an absolute URL, else of the Host header (RFC 9112, 3.2.2).
    """
    target = request.raw_path
    if target.startswith("/") or "://" not in target:
        return request.headers.get("Host")
    try:
        return urlsplit(target).netloc
    except ValueError:
        return None
