"""The HTTP endpoint that Prometheus scrapes: read-only, bounded, on loopback by default."""

import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from engine.bus.urls import is_loopback
from engine.bus.watcher import Watcher
from vmqtui.export.exposition import CONTENT_TYPE, exposition
from vmqtui.web.connections import RUNNER, ConnectionLimiter, host_of, listen_on

SHORTEST_S: Final = 0.1
"""Scrapes within this time get the same cached document, so frequent scrapes cost little."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Endpoint:
    """An HTTP server of a watcher's readings at ``/metrics``, on ``host`` and ``port`` (0: a free one).

    A context manager. On a loopback address it answers only requests that name a loopback host; this
    stops web pages that use DNS rebinding.
    """

    def __init__(self, watcher: Watcher, host: str, port: int, *, filters: bool) -> None:
        self._watcher = watcher
        self._host = host
        self._port = port
        self._filters = filters
        self._made = -SHORTEST_S
        self._document = b""
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.add_routes([web.get("/metrics", self._metrics), web.get("/", self._index)])
        self._runner = web.AppRunner(app, **RUNNER)
        self._limiter: ConnectionLimiter | None = None

    @property
    def url(self) -> str:
        """The URL to scrape."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/metrics"

    async def __aenter__(self) -> "Endpoint":
        listening = listen_on(self._host, self._port)
        self._port = listening[0].getsockname()[1]
        await self._runner.setup()
        self._limiter = await ConnectionLimiter(self._runner.server, listening).__aenter__()
        return self

    async def __aexit__(self, *why: object) -> None:
        if self._limiter is not None:
            await self._limiter.__aexit__(*why)
        await self._runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if is_loopback(self._host) and not is_loopback(_hostname(request)):
            return web.Response(status=421, text="this endpoint is for its own machine\n", headers=_HEADERS)
        return await handler(request)

    async def _metrics(self, request: web.Request) -> web.Response:
        now = time.monotonic()
        if now - self._made >= SHORTEST_S:
            closed = 0 if self._limiter is None else self._limiter.closed
            self._document = exposition(self._watcher, now, filters=self._filters, closed=closed).encode()
            self._made = time.monotonic()
        response = web.Response(body=self._document, headers={"Content-Type": CONTENT_TYPE, **_HEADERS})
        response.enable_compression()
        return response

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text="vmqtui: metrics are at /metrics\n", headers=_HEADERS)


def _hostname(request: web.Request) -> str:
    """Return the host name or address that a request is for; "" if it is missing or malformed."""
    try:
        return urlsplit(f"//{host_of(request) or ''}").hostname or ""
    except ValueError:
        return ""
