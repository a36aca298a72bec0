"""A reader of engines: what dashboards, ``get``, recorders and scripts see and ask through."""

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any

from engine.bus import codec, topics
from engine.bus.connection import Connection, Outgoing, State
from engine.bus.errors import BadMessage, NotConnected, RequestTimeout
from engine.bus.messages import Request, Response, Status
from engine.bus.urls import BrokerUrl
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats

HOST_LIMIT = 1024
EVENT_LIMIT = 1000
KEPT_LIMIT_BYTES = 256 << 20
FIRST_REPEAT_SECONDS = 1.0
LONGEST_REPEAT_SECONDS = 5.0

_IN_FLIGHT = 32  # messages that a lost connection may bring twice


class HostView:
    """What is known of one host. ``events`` holds the last 1,000; ``events_dropped`` counts older ones.

    ``received_monotonic`` is when stats last came (``time.monotonic``), None before the first.
    ``stats_missed`` and ``events_missed`` count those that the engine numbered and this reader has not seen:
    replaced by newer ones, here or at the engine, or not delivered.
    """

    def __init__(self, name: str, watcher: "Watcher") -> None:
        self.name = name
        self.status: Status | None = None
        self.config: Config | None = None
        self.received_monotonic: float | None = None
        self.stats_received = 0
        self.stats_missed = 0
        self.events: deque[Event] = deque(maxlen=EVENT_LIMIT)
        self._event_bytes: deque[int] = deque(maxlen=EVENT_LIMIT)
        self.events_dropped = 0
        self.events_missed = 0
        self.kept_bytes: dict[str, int] = {}
        self._watcher = watcher
        self._stats: Stats | None = None
        self._stats_payload: bytes | None = None

    @property
    def online(self) -> bool:
        """Whether the engine says so, over a connection that stands."""
        return (
            self._watcher.state == "connected" and self.status is not None and self.status.state == "online"
        )

    @property
    def stats(self) -> Stats | None:
        """The latest stats. They are decoded when asked for: what nobody looks at costs nothing."""
        payload, self._stats_payload = self._stats_payload, None
        if payload is not None:
            try:
                stats = codec.decode(Stats, payload)
            except BadMessage:
                self._watcher.undecodable += 1
            else:
                if self._stats is not None:
                    self.stats_missed += max(0, stats.seq - self._stats.seq - 1)
                self._stats = stats
        return self._stats

    def take(self, kind: str, payload: bytes) -> None:
        """Take in a message of this host. Raises ``BadMessage``."""
        if kind == "stats":
            self._stats_payload = payload
            self.received_monotonic = time.monotonic()
            self.stats_received += 1
        elif kind == "event":
            self._take_event(codec.decode(Event, payload), len(payload))
        elif kind == "config":
            self.config = codec.decode(Config, payload) if payload else None
        else:
            self.status = codec.decode(Status, payload) if payload else None

    def bytes_with(self, kind: str, payload: bytes) -> int:
        """How much is kept of a kind once this is: it takes the last one's place, an event the oldest's."""
        if kind != "event":
            return len(payload)
        oldest = self._event_bytes[0] if len(self._event_bytes) == EVENT_LIMIT else 0
        return sum(self._event_bytes) - oldest + len(payload)

    def forget_event(self) -> bool:
        """Drop the oldest event; whether there was one."""
        if not self.events:
            return False
        self.events.popleft()
        self._event_bytes.popleft()
        self.events_dropped += 1
        return True

    def _take_event(self, event: Event, size_bytes: int) -> None:
        """Keep an event, unless it is one of the last again: QoS 1 may deliver what was delivered."""
        if self.events:
            last = self.events[-1].seq
            if event.seq <= last and event in islice(reversed(self.events), _IN_FLIGHT):
                return
            self.events_missed += max(0, event.seq - last - 1)
        self.events_dropped += len(self.events) == EVENT_LIMIT
        self.events.append(event)
        self._event_bytes.append(size_bytes)


@dataclass(eq=False, slots=True)
class _Asked:
    host: str
    topic: str
    payload: bytes
    answer: asyncio.Future[Response]
    outgoing: Outgoing | None
    sent_before: bool = False

    @property
    def begun(self) -> bool:
        """Whether the engine may have it."""
        return self.sent_before or (self.outgoing is not None and self.outgoing.begun)


class Watcher:
    """Follows one host, or all of a broker, and asks on its own response topic.

    An async context manager; entering returns at once, ``state`` tells how far it is: "connecting",
    "connected", or "lost" with ``why`` a sentence. After a change ``changed`` is set (whoever waits on it
    clears it) and ``on_change`` called, which must return at once; ``on_message`` is called with the host,
    the kind and the payload of every telemetry message that is taken in.

    A reader that is behind is given the newest status, configuration and stats of each host. What it was not
    given is counted: ``replaced`` by newer ones, ``undecodable``, ``left_out`` for want of room (more hosts,
    more waiting, or more kept than the bounds of this module and of the inbox allow).
    """

    def __init__(
        self,
        url: BrokerUrl,
        host: str | None = None,
        *,
        client: str | None = None,
        on_change: Callable[[], None] | None = None,
        on_message: Callable[[str, str, bytes], None] | None = None,
    ) -> None:
        name = "+" if host is None else topics.checked_name(host, "host name")
        self.client = topics.random_client() if client is None else topics.checked_name(client, "client id")
        self.hosts: dict[str, HostView] = {}
        self.undecodable = 0
        self._answered = False
        self.left_out = 0
        self._kept_bytes = 0
        self.changed = asyncio.Event()
        self._on_change = on_change
        self._on_telemetry = on_message
        self._waiting: set[asyncio.Event] = set()
        self._asked: dict[str, _Asked] = {}
        subscriptions = [
            (topics.status(name), 1),
            (topics.config(name), 1),
            (topics.event(name), 1),
            (topics.stats(name), 0),
            (topics.response(name, self.client), 1),
        ]
        self._connection = Connection(
            url,
            self.client,
            subscriptions,
            self._on_message,
            self._on_state,
            newest_only=lambda topic: (topics.split_telemetry(topic) or ("", "event"))[1] != "event",
        )

    @property
    def state(self) -> State:
        """How the connection stands."""
        return self._connection.state

    @property
    def why(self) -> str:
        """Why it does not, in a sentence."""
        return self._connection.why

    @property
    def replaced(self) -> int:
        """Messages that a newer one took the place of before they were looked at."""
        return self._connection.inbox.replaced

    @property
    def no_room(self) -> int:
        """Messages left out because they, or what waited, were too large or too many."""
        return self.left_out + self._connection.inbox.dropped

    async def __aenter__(self) -> "Watcher":
        self._connection.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.stop()

    async def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:  # noqa: ASYNC109
        """Wait up to ``timeout`` s until ``predicate()`` holds, tried after every change; whether it does."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(timeout):
                while not predicate():
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return predicate()
        finally:
            self._waiting.discard(changed)
        return True

    async def request(
        self,
        host: str,
        op: str,
        params: dict[str, Any] | None = None,
        *,
        timeout: float = 5.0,  # noqa: ASYNC109
        id: str | None = None,  # noqa: A002
    ) -> Response:
        """Ask an engine and wait for its answer; it is carried out once at most.

        While there is none the request is repeated, with the same id, so that it comes over lost connections
        and lost messages. Raises ``NotConnected`` when there is no connection to ask over within ``timeout``
        s and it was not sent, ``RequestTimeout`` when there is no answer, ``BadMessage`` for a request above
        1 MiB.
        """
        id = secrets.token_hex(16) if id is None else id  # noqa: A001
        payload = codec.encode(Request(id=id, op=op, params=params or {}))
        if len(payload) > codec.REQUEST_LIMIT_BYTES:
            raise BadMessage(f"a request of {len(payload)} bytes (at most {codec.REQUEST_LIMIT_BYTES})")
        topic = topics.request(topics.checked_name(host, "host name"), self.client)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        asked = _Asked(host, topic, payload, answer, self._connection.publish(topic, payload))
        if asked.outgoing is None:
            raise NotConnected(f"too many messages wait for {self._connection.url}: {self.why}")
        self._asked[id] = asked
        try:
            async with asyncio.timeout(timeout):
                return await self._answer_to(asked)
        except TimeoutError:
            if not asked.begun:
                raise NotConnected(self.why or f"{self._connection.url} took no request in time") from None
            why = f"{host} did not answer {op!r} within {timeout:g} s"
            if not self._answered:
                why += " (a broker that lets you only watch keeps requests from it)"
            raise RequestTimeout(why) from None
        finally:
            del self._asked[id]
            if asked.outgoing is not None:
                asked.outgoing.withdrawn = True

    async def _answer_to(self, asked: _Asked) -> Response:
        seconds = FIRST_REPEAT_SECONDS
        while not asked.answer.done():
            await asyncio.wait({asked.answer}, timeout=seconds * random.uniform(1.0, 1.5))
            self._repeat(asked)
            seconds = min(2 * seconds, LONGEST_REPEAT_SECONDS)
        return asked.answer.result()

    def _repeat(self, asked: _Asked) -> None:
        """Ask again, unless it is answered or waits to be sent."""
        if not asked.answer.done() and (asked.outgoing is None or asked.outgoing.sent):
            asked.sent_before = True
            asked.outgoing = self._connection.publish(asked.topic, asked.payload)

    def _on_state(self, state: State, why: str) -> None:
        if state == "connected":
            for view in self.hosts.values():
                view.status = None  # the retained one comes again
        self._notify()

    def _ask_again(self, host: str) -> None:
        """Repeat what is unanswered: the broker may have taken it while the engine was not there."""
        for asked in self._asked.values():
            if asked.host == host:
                self._repeat(asked)

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            if (host_and_kind := topics.split_telemetry(topic)) is not None:
                host, kind = host_and_kind
                if kind == "advice":  # readers work it out for themselves
                    return
                view = self.hosts.get(host)
                if view is None:
                    if not payload:
                        return
                    if len(self.hosts) >= HOST_LIMIT:
                        self.left_out += 1
                        return
                    view = self.hosts[host] = HostView(host, self)
                if not self._make_room(view, kind, payload):
                    self.left_out += 1
                    return
                view.take(kind, payload)
                if self._on_telemetry is not None:
                    self._on_telemetry(host, kind, payload)
                if kind == "status" and view.online:
                    self._ask_again(host)
            elif topics.host_of_response(topic, self.client) is not None:
                response = codec.decode(Response, payload)
                self._answered = True
                asked = self._asked.get(response.id)
                if asked is not None and not asked.answer.done():
                    asked.answer.set_result(response)
        except BadMessage:
            self.undecodable += 1
        self._notify()

    def _make_room(self, view: HostView, kind: str, payload: bytes) -> bool:
        """Whether there is room for a message; a host's oldest events make room for its newest."""
        while not self._has_room(view, kind, view.bytes_with(kind, payload)):
            if kind != "event" or not view.forget_event():
                return False
        return True

    def _has_room(self, view: HostView, kind: str, size_bytes: int) -> bool:
        """Whether so much of a kind may be kept of a host; if so it is reckoned with."""
        kept_bytes = self._kept_bytes + size_bytes - view.kept_bytes.get(kind, 0)
        if kept_bytes > KEPT_LIMIT_BYTES:
            return False
        self._kept_bytes = kept_bytes
        view.kept_bytes[kind] = size_bytes
        return True

    def _notify(self) -> None:
        self.changed.set()
        for waiting in self._waiting:
            waiting.set()
        if self._on_change is not None:
            self._on_change()
