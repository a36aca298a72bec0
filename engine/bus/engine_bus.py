"""The engine's side of the bus: publishes telemetry, receives requests, and answers each once."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase

import aiomqtt
import msgspec

from engine.advice.finding import Advice
from engine.bus import codec, topics
from engine.bus.codec import BadRequest
from engine.bus.connection import Connection, State
from engine.bus.errors import BadMessage, HostTaken, NotConnected
from engine.bus.messages import Request, Response, Status
from engine.bus.request_queue import (
    REQUESTS_A_SECOND,
    REQUESTS_AT_ONCE,
    AnswerCache,
    NoRequests,
    PendingRequest,
    RequestQueue,
    RequestRateLimit,
)
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.logs import note
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import BusStats, Stats
from engine.telemetry.summary import Summary

IN_PROGRESS_LIMIT = 1024
IN_PROGRESS_LIMIT_BYTES = 16 << 20
TAKEN_IN_LIMIT = 512
AT_WORK_LIMIT = 16
UNSENT_ANSWERS_LIMIT = 32
UNSENT_ANSWERS_LIMIT_BYTES = 16 << 20
CONFIG_PAUSE_S = 0.25
"""Pause between configurations in a row, in seconds: each is whole, and its readers decode all of it."""

_QUIET_SECONDS = 0.25
_RECEIVE_BUFFER_BYTES = 64 << 10  # small, because requests of one client in it delay those of others
_TOO_OFTEN = (
    f"more requests than a client may send ({REQUESTS_AT_ONCE} at once, then {REQUESTS_A_SECOND} a second);"
    " ask again later, with a new id"
)
_TOO_MANY = f"{IN_PROGRESS_LIMIT} requests are in progress; ask again later, with a new id"
_STOPPING = "the engine is stopping and takes no more requests"
_TOO_LARGE = (
    "the requests in progress have as many bytes as there is room for; ask again later, with a new id"
)

Handler = Callable[[str, Request], Awaitable[Response]]

_log = logging.getLogger(__name__)


class EngineBus:
    """Publishes the messages of ``host`` and passes its requests to ``handler(client, request)``.

    ``client`` is its client id, random unless the broker requires a specific one. A request that is too
    large or has no valid ``id`` gets no answer; ``on_bad_request(client, reason)`` is called for it, unless
    its client exceeds ``rates`` or the send queue is half full. ``viewers`` are patterns (``view-*``) of
    client ids whose requests are refused.

    Several handlers run concurrently. Requests start in FIFO order for each client, round-robin across
    clients, and only while their answers fit into the queue to the broker: the answer to a request that was
    carried out is never dropped.

    Without a handler the host is a measured one, and its status says so: it takes no requests, but ``ping``
    and ``query_events`` are answered.
    """

    def __init__(
        self,
        url: BrokerUrl,
        host: str,
        handler: Handler | None = None,
        *,
        client: str | None = None,
        version: str = "",
        interval_ns: int = 0,
        on_bad_request: Callable[[str, str], None] | None = None,
        rates: RequestRateLimit | None = None,
        viewers: Sequence[str] = (),
    ) -> None:
        self.url = url
        self.host = topics.checked_name(host, "host name")
        self.bad_requests = 0
        self.refused_requests = 0
        self._no_requests: NoRequests | None = None
        if handler is None:
            handler = self._no_requests = NoRequests(host)
        self._handler: Handler = handler
        self._on_bad_request = on_bad_request
        self._online = Status(
            state="online",
            version=version,
            started_at=time.time(),
            interval_ns=interval_ns,
            kind="model" if self._no_requests is None else "measured",
            controls=self._no_requests is None,
        )
        self._offline = codec.encode(msgspec.structs.replace(self._online, state="offline"))
        self._config: bytes | None = None
        self._unsent_config: Config | None = None
        self._config_pause: asyncio.TimerHandle | None = None
        """Runs while another configuration waits."""
        self._advice: bytes | None = None
        self._answers = AnswerCache()
        self._rates = rates or RequestRateLimit()
        self._viewers = tuple(viewers)
        self._waiting = RequestQueue()
        self._at_work: set[asyncio.Task[None]] = set()
        self._at_work_bytes = 0  # of the encoded requests; decoded ones take several times as much
        self._idle = asyncio.Event()
        self._stopping = False
        self._connected = asyncio.Event()
        self._connection = Connection(
            url,
            client or topics.random_client("engine"),
            [(topics.request(host, "+"), 1), (topics.status(host), 1)],
            self._on_message,
            self._on_state,
            will=aiomqtt.Will(topics.status(host), self._offline, qos=1, retain=True),
            newest_only=lambda topic: topic == topics.status(host),
            on_sent=self._begin_some,
            may_receive=self._may_receive,
            receive_buffer_bytes=_RECEIVE_BUFFER_BYTES,
        )

    @property
    def state(self) -> State:
        """State of the connection."""
        return self._connection.state

    @property
    def why(self) -> str:
        """Why there is no connection, as a sentence."""
        return self._connection.why

    @property
    def counters(self) -> BusStats:
        """Counters of sent, received and dropped messages."""
        connection = self._connection
        return BusStats(
            connections=connection.connections,
            readings_replaced=connection.overwritten,
            messages_dropped=connection.dropped,
            requests_dropped=connection.inbox.dropped,
            bad_requests=self.bad_requests,
            requests_refused=self.refused_requests,
        )

    async def start(self, config: Config, *, timeout: float = 10.0, probe_seconds: float = 1.0) -> None:
        """Connect, publish the status and ``config`` until the broker has both, and accept requests.

        Raises ``HostTaken`` if an engine of this name answers ``ping`` within ``probe_seconds`` (0: no probe,
        as on the engine's own broker), ``NotConnected`` if the broker can't be reached within ``timeout`` s.
        """
        if probe_seconds > 0:
            await self._refuse_taken_host(timeout, probe_seconds)
        self.publish_config(config)
        self._connection.start()
        try:
            async with asyncio.timeout(timeout):
                await self._connected.wait()
                await self._connection.all_sent()  # who connects from now on finds both retained
        except BaseException as error:
            await self._connection.stop(0)
            if isinstance(error, TimeoutError):
                raise NotConnected(self.why) from None
            raise

    async def stop(self, last_stats: Stats | None = None, *, timeout: float = 2.0) -> None:
        """Answer requests in progress, publish the last stats and "offline", and disconnect.

        This takes up to ``timeout`` s. Requests that have not started after half of it, and later ones, are
        refused.
        """
        deadline = time.monotonic() + timeout
        if self._waiting or self._at_work:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout / 2):
                    await self._idle.wait()
        self._stopping = True
        while self._waiting:
            waiting = self._waiting.take()
            self._refuse(waiting.client, waiting.request.id, _STOPPING, "NDIS_STATUS_NOT_ACCEPTED")
        self._send_config()
        if last_stats is not None:
            self.publish_stats(last_stats)
        self._connection.offer(topics.status(self.host), self._offline, qos=1, retain=True)
        await self._connection.stop(max(deadline - time.monotonic(), 0.1))
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    def close(self) -> None:
        """Close the connection without an event loop; the broker publishes the will, "offline"."""
        self._stopping = True
        self._connection.close()

    def start_over(self, config: Config) -> None:
        """Publish the status and configuration of an engine that starts again, and forget what was before."""
        self._online = msgspec.structs.replace(self._online, started_at=time.time())
        self._offline = codec.encode(msgspec.structs.replace(self._online, state="offline"))
        self._answers = AnswerCache()
        if self._advice is not None:
            self._advice = None
            self._connection.offer(topics.advice(self.host), b"", qos=1, retain=True)
        self._offer_status()
        self.publish_config(config)
        self._send_config()

    def publish_config(self, config: Config) -> None:
        """Publish the configuration, retained, and again after each reconnection.

        One that follows another within ``CONFIG_PAUSE_S`` waits until then, or until the next reading, which
        it precedes, or event; a newer one replaces it. So a batch of changes costs few configurations.
        """
        if self._no_requests is not None:
            self._no_requests.configured(config.revision)
        self._unsent_config = config
        if self._config_pause is None:
            self._send_config()

    def _send_config(self) -> None:
        """Publish the configuration that waits, if any, and begin a pause."""
        config, self._unsent_config = self._unsent_config, None
        if config is None:
            return
        self._config = codec.encode(config)
        self._connection.offer(topics.config(self.host), self._config, qos=1, retain=True)
        if self._config_pause is not None:
            self._config_pause.cancel()
        self._config_pause = asyncio.get_running_loop().call_later(CONFIG_PAUSE_S, self._end_config_pause)

    def _end_config_pause(self) -> None:
        self._config_pause = None
        self._send_config()

    def publish_advice(self, advice: Advice) -> None:
        """Publish the advisor's findings, retained, and again after each reconnection."""
        self._advice = codec.encode(advice)
        self._connection.offer(topics.advice(self.host), self._advice, qos=1, retain=True)

    def publish_stats(self, stats: Stats) -> None:
        """Publish stats with ``counters``; they replace unsent stats, which are counted."""
        self._send_config()
        stats = msgspec.structs.replace(stats, bus=self.counters)
        self._connection.offer(topics.stats(self.host), codec.encode(stats))

    def publish_summary(self, summary: Summary) -> None:
        """Publish a summary, retained; it replaces an unsent one."""
        self._connection.offer(topics.summary(self.host), codec.encode(summary), retain=True)

    def publish_event(self, event: Event) -> None:
        """Publish an event; without a connection it waits in a bounded queue."""
        self._send_config()
        if self._no_requests is not None:
            self._no_requests.happened(event)
        self._connection.publish(topics.event(self.host), codec.encode(event))

    async def _refuse_taken_host(self, timeout_seconds: float, probe_seconds: float) -> None:
        async with Watcher(self.url, self.host) as watcher:
            if not await watcher.holds_within(lambda: watcher.state == "connected", timeout_seconds):
                raise NotConnected(watcher.why)
            asked = asyncio.create_task(watcher.request(self.host, "ping", timeout=probe_seconds))
            await asyncio.wait({asked}, timeout=min(_QUIET_SECONDS, probe_seconds))
            view = watcher.hosts.get(self.host)
            if not asked.done() and (view is None or not view.online):
                asked.cancel()
            await asyncio.wait({asked})
            if asked.cancelled() or asked.exception() is not None:
                return
        raise HostTaken(f"host {self.host!r} is taken: an engine of that name answers on {self.url}")

    def _on_state(self, state: State, why: str) -> None:
        if state == "connected":
            self._offer_status()
            if self._config is not None:
                self._connection.offer(topics.config(self.host), self._config, qos=1, retain=True)
            if self._advice is not None:
                self._connection.offer(topics.advice(self.host), self._advice, qos=1, retain=True)
            self._connected.set()

    def _offer_status(self) -> None:
        self._connection.offer(topics.status(self.host), codec.encode(self._online), qos=1, retain=True)

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic == topics.status(self.host):
            self._correct_status(payload)
            return
        client = topics.client_of(topic, self.host, "request")
        if client is None or retained:  # a retained request would run again at every start
            return
        in_time = self._rates.take(client)
        try:
            request = codec.decode_request(payload)
        except BadRequest as error:
            if self._is_new(client, error.id, error.fingerprint):
                invalid = _error(error.id, "NDIS_STATUS_INVALID_PARAMETER", str(error))
                self._answer(client, invalid, first=False)
            return
        except BadMessage as error:
            self.bad_requests += 1
            if in_time and not self._connection.crowded and self._on_bad_request is not None:
                self._on_bad_request(client, str(error))
            return
        if not self._is_new(client, request.id, codec.fingerprint(request)):
            return
        if any(fnmatchcase(client, pattern) for pattern in self._viewers):
            why = f"{client} is a viewer to this engine, and viewers ask for nothing"
            self._refuse(client, request.id, why, "NDIS_STATUS_NOT_ACCEPTED")
            return
        if not in_time:
            self._refuse(client, request.id, _TOO_OFTEN, "NDIS_STATUS_RESOURCES")
            return
        if self._stopping:
            self._refuse(client, request.id, _STOPPING, "NDIS_STATUS_NOT_ACCEPTED")
            return
        waiting = PendingRequest(client, request, len(payload))
        if self._make_room(waiting):
            self._waiting.add(waiting)
            self._begin_some()

    def _make_room(self, new: PendingRequest) -> bool:
        """Make room for a request by refusing one of the client with the most; return whether it fits."""
        waiting, at_work = self._waiting, self._at_work
        while True:
            if len(waiting) + len(at_work) >= IN_PROGRESS_LIMIT:
                why, by_bytes = _TOO_MANY, False
            elif waiting.size_bytes + self._at_work_bytes + new.size_bytes > IN_PROGRESS_LIMIT_BYTES:
                why, by_bytes = _TOO_LARGE, True
            else:
                return True
            displaced = waiting.displace(new.client, new.size_bytes, by_bytes=by_bytes)
            refused = displaced or new
            self._refuse(refused.client, refused.request.id, why, "NDIS_STATUS_RESOURCES")
            if displaced is None:
                return False

    def _answers_fit(self) -> bool:
        """Return whether the queue to the broker has room for more answers."""
        unsent, unsent_bytes = self._connection.unsent_first
        return unsent < UNSENT_ANSWERS_LIMIT and unsent_bytes < UNSENT_ANSWERS_LIMIT_BYTES

    def _may_receive(self) -> bool:
        """Return whether to receive more requests; if not, the broker holds them back."""
        taken_in = len(self._waiting) + len(self._connection.inbox)
        few_bytes = 2 * (self._waiting.size_bytes + self._at_work_bytes) <= IN_PROGRESS_LIMIT_BYTES
        return (
            taken_in < TAKEN_IN_LIMIT and few_bytes and self._answers_fit() and not self._connection.crowded
        )

    def _begin_some(self) -> None:
        """Start queued requests while there is room for them and for their answers."""
        while self._waiting and len(self._at_work) < AT_WORK_LIMIT and self._answers_fit():
            self._begin(self._waiting.take())
        if not self._waiting and not self._at_work:
            self._idle.set()
        self._connection.acknowledge()

    def _begin(self, waiting: PendingRequest) -> None:
        task = asyncio.create_task(self._carry_out(waiting.client, waiting.request))
        self._at_work.add(task)
        self._at_work_bytes += waiting.size_bytes

        def done(_: asyncio.Task[None]) -> None:
            self._at_work.discard(task)
            self._at_work_bytes -= waiting.size_bytes
            self._begin_some()

        task.add_done_callback(done)

    def _refuse(self, client: str, id: str, why: str, ndis_status: str) -> None:
        """Refuse a request; the refusal is cached, so that a repeated request gets the same answer."""
        self.refused_requests += 1
        note(_log, logging.WARNING, "request_not_taken", client=client, why=why)
        self._answer(client, _error(id, ndis_status, why), first=False)

    def _correct_status(self, payload: bytes) -> None:
        """Publish the status again after an "offline" one: the will of a lost connection may arrive late."""
        try:
            status = codec.decode(Status, payload)
        except BadMessage:
            status = None
        if not self._stopping and (status is None or status.state == "offline"):
            self._offer_status()

    def _is_new(self, client: str, id: str, fingerprint: bytes) -> bool:
        """Return whether a request is new; otherwise answer it from the cache, unless it is in progress."""
        known = self._answers.begin(client, id, fingerprint)
        if isinstance(known, bytes):
            self._connection.publish(topics.response(self.host, client), known)
        elif known == "mismatch":
            message = f"id: {id!r} was used for another request; a new request needs a new id"
            refused = codec.encode(_error(id, "NDIS_STATUS_INVALID_PARAMETER", message))
            self._connection.publish(topics.response(self.host, client), refused)
        return known == "new"

    async def _carry_out(self, client: str, request: Request) -> None:
        try:
            response = await self._handler(client, request)
            self._answer(client, msgspec.structs.replace(response, id=request.id))
        except Exception as error:
            _log.exception("request %r of %s failed", request.op, client)
            message = f"the engine failed on {request.op!r}: {type(error).__name__}"
            self._answer(client, _error(request.id, "NDIS_STATUS_FAILURE", message))

    def _answer(self, client: str, response: Response, *, first: bool = True) -> None:
        """Send the answer to a request, and cache it for repeated requests."""
        payload = codec.encode(response)
        self._answers.finish(client, response.id, payload)
        self._connection.publish(topics.response(self.host, client), payload, first=first)


def _error(id: str, ndis_status: str, message: str) -> Response:
    return Response(id=id, status="error", ndis_status=ndis_status, message=message)
