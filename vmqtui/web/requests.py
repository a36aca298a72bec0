"""Requests that aiohttp receives: which host they are for, and how malformed ones are logged."""

import logging
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine.logs import note


def host_of(request: web.Request) -> str | None:
    """The host and port that a request is for: those of its target where it is a whole URL, else of its Host
    header (RFC 9112, 3.2.2)."""
    target = request.raw_path
    if target.startswith("/") or "://" not in target:
        return request.headers.get("Host")
    try:
        return urlsplit(target).netloc
    except ValueError:
        return None


class RequestLog(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp logs of requests: a malformed one is an event, without a trace and without what was sent,
    which may hold a token."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **options: Any) -> None:
        if isinstance(exc_info, HttpProcessingError):
            peer = args[0] if args else None
            note(self.logger, logging.WARNING, "request_malformed", peer=peer, why=type(exc_info).__name__)
        else:
            super().exception(msg, *args, exc_info=exc_info, **options)
