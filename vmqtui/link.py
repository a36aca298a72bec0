"""The link to a broker: the hosts seen on it, and requests to them."""

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
"""Of a request's parameters, in a log."""

_log = logging.getLogger(__name__)


class Link(Protocol):
    """What the screen needs of a broker. ``BusLink`` is one over MQTT, a recording is another."""

    @property
    def connection(self) -> State:
        """Whether the broker is connected: not yet, yes, or no longer."""

    @property
    def progress(self) -> str:
        """The progress while connecting, or why the connection was lost: a sentence."""

    @property
    def read_only(self) -> bool:
        """Whether it refuses every request."""

    @property
    def hosts(self) -> Sequence[str]:
        """Names of the hosts seen, in order."""

    def view(self, host: str) -> HostView | None:
        """The latest of one host, or None when it was never seen."""

    def clock(self) -> float:
        """Seconds on the clock that the times of a ``HostView`` are read from."""

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call ``notify``, on the event loop, whenever anything above may have changed."""

    async def request(
        self, host: str, op: str, params: dict[str, Any], request_id: str | None = None
    ) -> Response:
        """Send a request and return its one response. Raises TimeoutError or ConnectionError.

        Sent again with the same ``request_id``, it is carried out once (contract 5).
        """

    async def catch_up(self, host: str) -> None:
        """Add earlier events to the host's, where it can be asked for them."""


class BusLink:
    """A ``Watcher`` as the screen needs it; an async context manager.

    It starts without a broker, so that the screen can show how one is being started: ``report`` shows the
    progress, ``connect`` names the broker once there is one.
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

    async def first_reading(self) -> str:
        """Wait for a host that has reported; its name. There must be a broker."""
        watcher = self._watcher
        assert watcher is not None
        await watcher.wait_for(lambda: any(view.stats_received for view in watcher.hosts.values()), inf)
        return next(name for name, view in watcher.hosts.items() if view.stats_received)

    def report(self, progress: str, *, failed: bool = False) -> None:
        """Show a sentence of progress ("compiling kernels, 3 of 7"); ``failed``: it ended there."""
        self._reported, self._failed = progress, failed
        self._notify()

    @property
    def connection(self) -> State:
        if self._failed:
            return "lost"
        return "connecting" if self._watcher is None else self._watcher.state

    @property
    def progress(self) -> str:
        if self._watcher is None or self._failed:
            return self._reported
        return self._watcher.why if self._watcher.state != "connected" else self._reported

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
        """As ``Link`` has it; a request that was not answered may still take effect."""
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
        """As ``Link`` has it; of a host that does not answer, only new events are shown."""
        if self._watcher is not None:
            with contextlib.suppress(BusError):
                await self._watcher.catch_up(host)


class ReadOnlyLink:
    """A link that sends no request, whichever part of the dashboard asks."""

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
        """Refuse, as a connection that can't carry requests."""
        raise ConnectionError("this dashboard is read-only and asks for nothing")

    async def catch_up(self, host: str) -> None:
        """Ask for nothing: only new events are shown."""


def _note(
    level: int, event: str, host: str, op: str, params: dict[str, Any], asked: float, **fate: Any
) -> None:
    """Log a request and its outcome; not a query or a "what if"."""
    if not params.get("what_if") and not op.startswith(("query_", "enum_")):
        took_ms = round((monotonic() - asked) * 1000)
        wanted = as_json(params)[:_PARAMS_CHARACTERS]
        note(_log, level, event, host=host, op=op, params=wanted, took_ms=took_ms, **fate)
