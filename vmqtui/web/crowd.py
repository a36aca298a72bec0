"""A bound on the connections of a web server: who has asked for nothing longest makes room."""

from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

CONNECTION_LIMIT: Final = 256
KEEPALIVE_SECONDS: Final = 30
"""A connection without a request is closed after this time."""


class Crowd:
    """Makes the protocols of an aiohttp server, as ``asyncio`` asks for them."""

    def __init__(self, server: web.Server | None, limit: int = CONNECTION_LIMIT) -> None:
        assert server is not None, "its runner is set up"
        self._server = server
        self._limit = limit

    def __call__(self) -> RequestHandler:
        connections = self._server.connections
        if len(connections) >= self._limit:
            idle = (one for one in connections if one._current_request is None)
            if (oldest := next(idle, None)) is not None:
                oldest.force_close()
        return self._server()
