"""What the dashboard needs of the bus, and nothing more; the Watcher is adapted to it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from engine.bus.messages import Response, Status
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats

Connection = Literal["connecting", "connected", "lost"]


class HostView(Protocol):
    """The latest of one host. On the link's clock ``received`` is when its stats arrived, ``heard`` when its
    newest message was sent. ``missed`` counts stats that the engine numbered and this reader never saw,
    ``unreadable`` those that could not be decoded since the last that could."""

    @property
    def status(self) -> Status | None: ...
    @property
    def config(self) -> Config | None: ...
    @property
    def stats(self) -> Stats | None: ...
    @property
    def received(self) -> float | None: ...
    @property
    def heard(self) -> float | None: ...
    @property
    def missed(self) -> int: ...
    @property
    def unreadable(self) -> int: ...
    @property
    def events(self) -> Sequence[Event]: ...


class Link(Protocol):
    """A connection to a broker, and the hosts seen on it."""

    @property
    def connection(self) -> Connection:
        """Whether the broker is there: not yet, yes, or no longer."""

    @property
    def progress(self) -> str:
        """What is going on while connecting, or why the broker was lost: a sentence."""

    @property
    def hosts(self) -> Sequence[str]:
        """Names of the hosts seen, in order."""

    def view(self, host: str) -> HostView | None:
        """The latest of one host, or None when it was never seen."""

    def clock(self) -> float:
        """Seconds on the clock that ``received`` is read from."""

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call ``notify``, on the event loop, whenever anything above may have changed."""

    async def request(
        self, host: str, op: str, params: dict[str, Any], request_id: str | None = None
    ) -> Response:
        """Ask for an operation; its one answer. Raises TimeoutError or ConnectionError.

        Asked again with the same ``request_id``, it is carried out once (contract 5).
        """

    async def catch_up(self, host: str) -> None:
        """Have the events that came before among the host's, where it can be asked for them."""


class ReadOnlyLink:
    """A link that lets nothing be asked, whoever asks."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def connection(self) -> Connection:
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
        """Refuses, as a connection that can't carry requests."""
        raise ConnectionError("this dashboard is read-only and asks for nothing")

    async def catch_up(self, host: str) -> None:
        """Asks for nothing: events are those that come."""
