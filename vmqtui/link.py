"""The link to a broker: the hosts discovered on it, and requests to them."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any, Final, Protocol

from engine.bus.connection import State
from engine.bus.errors import BusError, RequestTimeout
from engine.bus.host_view import HostView
from engine.bus.messages import Response
from engine.bus.topics import random_client
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.logs import note
from vmqtui.printable import as_json

_PARAMS_CHARACTERS: Final = 512
"""Maximum length of a request's parameters in a log line."""

_log = logging.getLogger(__name__)


class Link(Protocol):
    """The interface between the screen and a broker. ``BusLink`` uses MQTT; ``RecordedLink`` a recording."""

    @property
    def connection(self) -> State:
        """The state of the connection: "connecting", "connected" or "lost"."""

    @property
    def progress(self) -> str:
        """A sentence: the progress while connecting, or why the connection was lost."""

    @property
    def read_only(self) -> bool:
        """Whether the link refuses every request."""

    @property
    def hosts(self) -> Sequence[str]:
        """Names of the discovered hosts, sorted."""

    def view(self, host: str) -> HostView | None:
        """The latest messages of a host; None if it was never seen."""

    def clock(self) -> float:
        """Seconds on the clock that a ``HostView`` takes its times from."""

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call ``notify``, on the event loop, after any possible change of the hosts or the connection."""

    async def request(
        self, host: str, op: str, params: dict[str, Any], request_id: str | None = None
    ) -> Response:
        """Send a request and return its response. Raises TimeoutError or ConnectionError.

        A request repeated with the same ``request_id`` is executed once (contract 5).
        """

    async def catch_up(self, host: str) -> None:
        """Query the host's earlier events, if possible, and add them to its view."""


class BusLink:
    """A ``Link`` over a ``Watcher``; an async context manager.

    It begins without a broker, so that the screen can show the startup of one: ``report`` shows the progress,
    and ``connect`` sets the broker once it runs.
    """

    read_only = False

    def __init__(self) -> None:
        self._watcher: Watcher | None = None
        self._reported = ""
        self._failed = False
        self._notify: Callable[[], None] = lambda: None

    async def __aenter__(self) -> "BusLink":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            await self._watcher.__aexit__(kind, error, trace)
            self._watcher = None

    async def connect(self, url: BrokerUrl, host: str | None = None, *, read_only: bool = False) -> None:
        """Follow one host of a broker, or all. Raises ``BadName``; call it once."""
        client = random_client("viewer" if read_only else "vmq")
        watcher = Watcher(url, host, client=client, on_change=lambda: self._notify())
        self._watcher = await watcher.__aenter__()
        self._notify()

    @property
    def has_read(self) -> bool:
        """Whether any host has sent a reading."""
        return self._watcher is not None and any(view.stats_received for view in self._watcher.hosts.values())

    async def first_reading(self) -> str:
        """Wait until a host has sent a reading; return its name. Call ``connect`` first."""
        watcher = self._watcher
        assert watcher is not None
        await watcher.wait_for(lambda: self.has_read, inf)
        return next(name for name, view in watcher.hosts.items() if view.stats_received)

    def report(self, progress: str, *, failed: bool = False) -> None:
        """Show a sentence of progress ("compiling kernels, 3 of 7"); ``failed``: startup ended with it."""
        self._reported, self._failed = progress, failed
        self._notify()

    @property
    def connection(self) -> State:
        if self._failed:
            return "lost"
        return "connecting" if self._watcher is None else self._watcher.state

    @property
    def progress(self) -> str:
        if self._watcher is None or self._failed or self._watcher.state != "lost":
            return (
                self._reported
            )  # a broker that has not answered yet is no failure: a time-out makes it lost
        return self._watcher.why

    @property
    def hosts(self) -> Sequence[str]:
        return sorted(self._watcher.hosts) if self._watcher is not None else ()

    def view(self, host: str) -> HostView | None:
        return self._watcher.hosts.get(host) if self._watcher is not None else None

    def clock(self) -> float:
        return monotonic()

    def on_change(self, notify: Callable[[], None]) -> None:
        self._notify = notify

    async def request(
        self, host: str, op: str, params: dict[str, Any], request_id: str | None = None
    ) -> Response:
        """See ``Link``; an unanswered request may still take effect."""
        if self._watcher is None:
            raise ConnectionError("there is no broker yet")
        asked = monotonic()
        try:
            response = await self._watcher.request(host, op, params, id=request_id)
        except (RequestTimeout, BusError) as error:
            _note(logging.WARNING, "request_unanswered", host, op, params, asked, why=error)
            kind = TimeoutError if isinstance(error, RequestTimeout) else ConnectionError
            raise kind(str(error)) from error
        done = response.status == "ok"
        level, event = (logging.INFO, "request_done") if done else (logging.WARNING, "request_refused")
        _note(
            level, event, host, op, params, asked, ndis_status=response.ndis_status, message=response.message
        )
        return response

    async def catch_up(self, host: str) -> None:
        """See ``Link``; if a host does not answer, only its new events are shown."""
        if self._watcher is not None:
            with contextlib.suppress(BusError):
                await self._watcher.catch_up(host)


class ReadOnlyLink:
    """A link that refuses every request, from any part of the dashboard."""

    read_only = True

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def connection(self) -> State:
        return self._link.connection

    @property
    def progress(self) -> str:
        return self._link.progress

    @property
    def hosts(self) -> Sequence[str]:
        return self._link.hosts

    def view(self, host: str) -> HostView | None:
        return self._link.view(host)

    def clock(self) -> float:
        return self._link.clock()

    def on_change(self, notify: Callable[[], None]) -> None:
        self._link.on_change(notify)

    async def request(
        self, host: str, op: str, params: dict[str, Any], request_id: str | None = None
    ) -> Response:
        """Raise ConnectionError."""
        raise ConnectionError("this dashboard is read-only and asks for nothing")

    async def catch_up(self, host: str) -> None:
        """Do nothing: only new events are shown."""


def _note(
    level: int, event: str, host: str, op: str, params: dict[str, Any], asked: float, **fate: Any
) -> None:
    """Log a request and its outcome, unless it is a query or a "what if"."""
    if not params.get("what_if") and not op.startswith(("query_", "enum_")):
        took_ms = round((monotonic() - asked) * 1000)
        wanted = as_json(params)[:_PARAMS_CHARACTERS]
        note(_log, level, event, host=host, op=op, params=wanted, took_ms=took_ms, **fate)
