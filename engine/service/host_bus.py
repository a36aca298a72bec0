"""A host on the bus: its connection, and its own broker if it has no other, from the start to the end.

``Engine`` and ``Agent`` are there in the same way; they differ in what they publish.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from engine import __version__
from engine.bus import discovery
from engine.bus.accounts import USERS, Listen
from engine.bus.broker import EmbeddedBroker, supervise
from engine.bus.engine_bus import EngineBus, Handler
from engine.bus.errors import BrokerFailed
from engine.bus.urls import BrokerUrl
from engine.service.ending import Ending, in_thread
from engine.telemetry.config import Config
from engine.telemetry.stats import BusStats, Stats

Announce = Literal["no", "found", "named"]


class HostBus:
    """Connects ``host`` to the broker with the URL ``broker``; without one, to its own, at ``listen``.

    The own broker is supervised (``on_restart`` gets a sentence) and announced to this user's commands as
    ``announce`` says; ``unannounced`` gets the reason if that fails. ``handler`` carries out requests.
    """

    def __init__(
        self,
        host: str,
        *,
        broker: BrokerUrl | None,
        listen: Listen | None,
        announce: Announce,
        viewers: Sequence[str],
        interval_ns: int,
        on_bad_request: Callable[[str, str], None],
        on_restart: Callable[[str], None],
        unannounced: Callable[[OSError], None],
        handler: Handler | None = None,
    ) -> None:
        self.reachable = asyncio.Event()
        """Set once the own broker listens."""
        self.broker: EmbeddedBroker | None = None
        """The own broker, once it starts."""
        self._host = host
        self._url = broker
        self._listen = listen or Listen()
        self._announce = announce
        self._viewers = viewers
        self._interval_ns = interval_ns
        self._handler = handler
        self._on_bad_request = on_bad_request
        self._on_restart = on_restart
        self._unannounced = unannounced
        self._bus: EngineBus | None = None
        self._announced: Path | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._losses_taken = BusStats()

    @property
    def url(self) -> BrokerUrl:
        """The broker's URL; for the own one it includes the owner's credential. Raises BrokerFailed."""
        if self._url is not None:
            return self._url
        if self.broker is None:
            raise BrokerFailed("the broker is not started")
        return self.broker.url

    @property
    def public_url(self) -> BrokerUrl | None:
        """URL of the own broker for other machines, without credential; None if they can't connect."""
        return None if self.broker is None else self.broker.public_url

    @property
    def connected(self) -> bool:
        """Whether ``connect`` was called: there is a ``bus``."""
        return self._bus is not None

    @property
    def bus(self) -> EngineBus:
        """The connection, once ``connect`` was called."""
        assert self._bus is not None, "connect comes first"
        return self._bus

    async def start_broker(self) -> None:
        """Start the own broker, if there is to be one. Raises BrokerFailed."""
        if self._url is not None:
            return
        listen = self._listen
        self.broker = EmbeddedBroker(
            listen.host,
            listen.port,
            engine_of=self._host,
            insecure=listen.insecure,
            tls=listen.tls,
            accounts=listen.accounts,
        )
        await self.broker.start()
        self.reachable.set()

    async def connect(self, config: Config) -> None:
        """Publish the status and configuration, and accept requests. Raises BusError."""
        broker = self.broker
        bus = self._bus = EngineBus(
            self.url if broker is None else broker.engine_url,
            self._host,
            self._handler,
            client=None if broker is None else broker.engine_client,
            viewers=self._viewers,
            version=__version__,
            interval_ns=self._interval_ns,
            on_bad_request=self._on_bad_request,
        )
        await bus.start(config, probe_seconds=1.0 if broker is None else 0.0)
        if broker is None:
            return
        if self._announce != "no":
            urls = {user: broker.url_of(user) for user in USERS}
            try:
                self._announced = discovery.announce(urls, self._host, found=self._announce == "found")
            except OSError as error:
                self._unannounced(error)
        keeping = supervise(broker, lambda: bus.state == "connected", self._on_restart)
        self._keeping = asyncio.create_task(keeping)

    def take_losses(self) -> tuple[int, int]:
        """Messages and requests that were dropped since the last call; none while the broker is away."""
        now, before = self.bus.counters, self._losses_taken
        if self.bus.state != "connected":
            return 0, 0
        self._losses_taken = now
        return now.messages_dropped - before.messages_dropped, now.requests_dropped - before.requests_dropped

    async def stop_supervising(self, end: Ending) -> None:
        """Begin to end: from now on the own broker is not restarted."""
        if self._keeping is not None:
            with end.step("stopping the broker's supervision"):
                self._keeping.cancel()
                await asyncio.gather(self._keeping, return_exceptions=True)

    def withdraw(self, end: Ending) -> None:
        """Let commands no longer find the own broker."""
        if self._announced is not None:
            with end.step("withdrawing the announcement"):
                discovery.withdraw(self._announced)

    async def leave(self, last: Stats | None, end: Ending) -> None:
        """Publish the last reading and "offline", and end the own broker."""
        if self._bus is not None:
            with end.step("leaving the bus"):
                await self._bus.stop(last)
        if self.broker is not None:
            with end.step("ending the broker"):
                await in_thread(self.broker.close)
        self._close_connection(end)

    def close(self, end: Ending) -> None:
        """End the own broker and the connection without an event loop."""
        if self.broker is not None:
            with end.step("ending the broker"):
                self.broker.close()
        self._close_connection(end)

    def _close_connection(self, end: Ending) -> None:
        if self._bus is not None:
            with end.step("closing its connection"):
                self._bus.close()
