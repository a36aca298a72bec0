"""A client that reads engines' messages and sends requests: for dashboards, ``get``, recorders, scripts."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeVar

import msgspec

from engine.bus import codec, topics
from engine.bus.access_rules import RETAINED
from engine.bus.connection import Connection, Outgoing, State
from engine.bus.errors import BadMessage, NotConnected, RequestTimeout
from engine.bus.host_view import EVENT_LIMIT, SILENT_S, HostView
from engine.bus.messages import Request, Response
from engine.bus.urls import BrokerUrl
from engine.telemetry.events import Event
from engine.waiting import last_seen, source_of, wait_timeout

HOST_LIMIT = 1024
KEPT_LIMIT_BYTES = 256 << 20
FIRST_REPEAT_SECONDS = 1.0
LONGEST_REPEAT_SECONDS = 5.0
KINDS: Final = ("status", "config", "event", "stats", "summary")
"""Kinds that a reader subscribes to by default, without advice: most readers compute that themselves."""

_QOS: Final = {"status": 1, "config": 1, "event": 1}
_FORGET_EVERY_S: Final = 1.0
_SHOWN_HOSTS: Final = 4

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _SentRequest:
    host: str
    topic: str
    payload: bytes
    answer: asyncio.Future[Response]
    outgoing: Outgoing | None
    sent_before: bool = False
    unreadable: str = ""
    """Why a response from the host, possibly to this request, could not be decoded."""

    @property
    def begun(self) -> bool:
        """Whether the engine may have received the request."""
        return self.sent_before or (self.outgoing is not None and self.outgoing.begun)


class Watcher:
    """Subscribes to messages of ``kinds`` from one host, or all hosts of a broker, and sends requests.

    An async context manager; entering returns at once. ``state`` is "connecting", "connected", or "lost" with
    a sentence in ``why``. After a change, ``changed`` is set (its waiter clears it) and ``on_change`` is
    called, which must return at once. ``on_message`` is called with host, kind and payload of every
    telemetry message that is stored or that removes a host.

    A slow reader gets only the newest message of each host and kind, except events. Other messages are
    counted: ``replaced`` by newer ones, ``undecodable``, or ``no_room`` (above the limits of this module or
    of the inbox). To make room, hosts that are offline or silent are removed, the longest silent first.
    """

    def __init__(
        self,
        url: BrokerUrl,
        host: str | None = None,
        *,
        client: str | None = None,
        kinds: Sequence[str] = KINDS,
        on_change: Callable[[], None] | None = None,
        on_message: Callable[[str, str, bytes], None] | None = None,
    ) -> None:
        name = "+" if host is None else topics.checked_name(host, "host name")
        self.client: str = (
            topics.random_client() if client is None else topics.checked_name(client, "client id")
        )
        self.hosts: dict[str, HostView] = {}
        self.undecodable: int = 0
        self._answered = False
        self.left_out: int = 0
        self._left_out_hosts: dict[str, float] = {}
        """Time (``time.monotonic``) of the last message of each host that there was no room for."""
        self._no_host_gone_until = 0.0
        self._kept_bytes = 0
        self.changed: asyncio.Event = asyncio.Event()
        self._on_change = on_change
        self._on_telemetry = on_message
        self._waiting: set[asyncio.Event] = set()
        self._sent_requests: dict[str, _SentRequest] = {}
        self._kinds = frozenset(kinds)
        subscriptions = [(topics.telemetry(name, kind), _QOS.get(kind, 0)) for kind in kinds]
        subscriptions.append((topics.response(name, self.client), 1))
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
        """State of the connection."""
        return self._connection.state

    @property
    def why(self) -> str:
        """Why there is no connection, as a sentence."""
        return self._connection.why

    @property
    def replaced(self) -> int:
        """Messages that were replaced by newer ones before they were handled."""
        return self._connection.inbox.replaced

    @property
    def no_room(self) -> int:
        """Messages discarded because of the limits of this module or of the inbox."""
        return self.left_out + self._connection.inbox.dropped

    @property
    def left_out_hosts(self) -> int:
        """Number of recently active hosts that there was no room for, counted up to ``HOST_LIMIT``."""
        now = time.monotonic()
        return sum(now - heard <= SILENT_S for heard in self._left_out_hosts.values())

    async def __aenter__(self) -> "Watcher":
        self._connection.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.stop()

    async def wait_for(self, predicate: Callable[[], T], timeout: float) -> T:
        """Wait until ``predicate()`` is true, checking after every change; return its value.

        Raises WaitTimeoutError after ``timeout`` s, which names the predicate and what was last seen.
        """
        if value := await self._first_true(predicate, timeout):
            return value
        seen = ", ".join(filter(None, [last_seen(predicate, value), self._last_seen()]))
        raise wait_timeout(source_of(predicate), f"{timeout:g} s", seen)

    async def holds_within(self, predicate: Callable[[], object], seconds: float) -> bool:
        """Return whether ``predicate()`` becomes true within so many seconds; where both are expected."""
        return bool(await self._first_true(predicate, seconds))

    async def _first_true(self, predicate: Callable[[], T], timeout_seconds: float) -> T:
        """Return the first true value of ``predicate()``; at the time-out, its last value."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(timeout_seconds) as limit:
                while not (value := predicate()):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            if not limit.expired():
                raise  # the predicate's own
            return predicate()
        finally:
            self._waiting.discard(changed)
        if isinstance(value, Coroutine):  # true before it has run
            value.close()
            raise TypeError(
                f"{source_of(predicate)} is a coroutine function (vmqtui.testing.until awaits one)"
            )
        return value

    def _last_seen(self) -> str:
        """Describe the connection, and each known host's newest messages."""
        if self.state != "connected":
            return f"no connection: {self.why}"
        if not self.hosts:
            return f"connected to {self._connection.url}, which has no host"
        now = time.monotonic()
        seen = []
        for name, view in sorted(self.hosts.items())[:_SHOWN_HOSTS]:
            state = "no status" if view.status is None else view.status.state
            stats = view.stats
            reading = "no reading" if stats is None else f"reading {stats.seq} of revision {stats.revision}"
            events = f", last event {view.events[-1].event}" if view.events else ""
            age = f"newest message {view.quiet_s(now):.1f} s old"
            seen.append(f"host {name}: {state}, {reading}{events}, {age}")
        if len(self.hosts) > _SHOWN_HOSTS:
            seen.append(f"{len(self.hosts) - _SHOWN_HOSTS} more hosts")
        return "; ".join(seen)

    async def request(
        self,
        host: str,
        op: str,
        params: dict[str, Any] | None = None,
        *,
        timeout: float = 5.0,
        id: str | None = None,
        check: bool = False,
    ) -> Response:
        """Send a request to an engine and return its answer; it is carried out at most once.

        Until it is answered, it is repeated with the same id, so that it survives lost connections and
        messages. With ``check``, raises ``RequestError`` if the engine refused it. Raises ``NotConnected`` if
        it was not sent within ``timeout`` s, ``RequestTimeout`` if it was not answered, ``BadMessage`` for a
        request above 1 MiB.
        """
        id = secrets.token_hex(16) if id is None else id
        payload = codec.encode(Request(id=id, op=op, params=params or {}))
        if len(payload) > codec.REQUEST_LIMIT_BYTES:
            raise BadMessage(f"a request of {len(payload)} bytes (at most {codec.REQUEST_LIMIT_BYTES})")
        topic = topics.request(topics.checked_name(host, "host name"), self.client)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        sent_request = _SentRequest(host, topic, payload, answer, self._connection.publish(topic, payload))
        if sent_request.outgoing is None:
            raise NotConnected(f"too many messages wait for {self._connection.url}: {self.why}")
        self._sent_requests[id] = sent_request
        try:
            async with asyncio.timeout(timeout):
                response = await self._answer_to(sent_request)
        except TimeoutError:
            if not sent_request.begun:
                raise NotConnected(self.why or f"{self._connection.url} took no request in time") from None
            unreadable = sent_request.unreadable and f"an answer can't be read: {sent_request.unreadable}; "
            raise RequestTimeout(
                f"{host} did not answer {op!r} within {timeout:g} s: {unreadable}{self._known_of(host)}"
            ) from None
        finally:
            del self._sent_requests[id]
            if sent_request.outgoing is not None:
                sent_request.outgoing.withdrawn = True
        return response.checked(op) if check else response

    def clear(self, host: str) -> None:
        """Clear the retained messages of a host, if the broker allows it; sent before the watcher closes."""
        for kind in RETAINED:
            self._connection.publish(topics.telemetry(host, kind), b"", retain=True)

    async def catch_up(self, host: str) -> None:
        """Request the last events of a host and add the missing ones to ``events``.

        An engine that stores no events refuses, and nothing changes. Raises the errors of ``request``.
        """
        response = await self.request(host, "query_events", {"limit": EVENT_LIMIT})
        view, found = self.hosts.get(host), response.result.get("events")
        if view is None or response.status != "ok" or not isinstance(found, list):
            return
        past: dict[int, tuple[Event, int]] = {}
        for one in found[:EVENT_LIMIT]:
            try:
                event = msgspec.convert(one, Event)
            except msgspec.ValidationError:
                self.undecodable += 1
            else:
                past[event.seq] = event, len(codec.encode(event))
        view.take_past(
            [one for _, one in sorted(past.items())], lambda size: self._has_room(view, "event", size)
        )
        self._notify()

    async def _answer_to(self, sent_request: _SentRequest) -> Response:
        seconds = FIRST_REPEAT_SECONDS
        while not sent_request.answer.done():
            await asyncio.wait({sent_request.answer}, timeout=seconds * random.uniform(1.0, 1.5))
            self._repeat(sent_request)
            seconds = min(2 * seconds, LONGEST_REPEAT_SECONDS)
        return sent_request.answer.result()

    def _known_of(self, host: str) -> str:
        """Describe the last known state of a host that does not answer."""
        view = self.hosts.get(host)
        if self.state != "connected":
            return self.why
        if view is None:
            return "the broker has no message of it"
        if view.status is None:
            return "it has no status"
        if view.status.state == "offline":
            return "it is offline"
        if not view.status.controls:
            return "it is online and takes no requests"
        quiet = f"{view.quiet_s(time.monotonic()):.0f} s"
        if not view.heard_live:
            return f"its status is online, and it has sent nothing for {quiet}"
        answered = "has answered" if self._answered else "has not answered"
        return f"it is online, its newest message is {quiet} old, and it {answered} this client before"

    def _repeat(self, sent_request: _SentRequest) -> None:
        """Send a request again, unless it is answered or still queued."""
        if not sent_request.answer.done() and (sent_request.outgoing is None or sent_request.outgoing.sent):
            sent_request.sent_before = True
            sent_request.outgoing = self._connection.publish(sent_request.topic, sent_request.payload)

    def _on_state(self, state: State, why: str) -> None:
        if state == "connected":
            for view in self.hosts.values():
                view.status = None  # the broker sends the retained status again
        self._notify()

    def _ask_again(self, host: str) -> None:
        """Repeat unanswered requests: the broker may have received them while the engine was offline."""
        for sent_request in self._sent_requests.values():
            if sent_request.host == host:
                self._repeat(sent_request)

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            if (host_and_kind := topics.split_telemetry(topic)) is not None:
                self._take(*host_and_kind, payload, retained)
            elif topics.host_of_response(topic, self.client) is not None:
                response = codec.decode(Response, payload)
                self._answered = True
                sent_request = self._sent_requests.get(response.id)
                if sent_request is not None and not sent_request.answer.done():
                    sent_request.answer.set_result(response)
        except BadMessage as error:
            self.undecodable += 1
            host = topics.host_of_response(topic, self.client)
            for sent_request in self._sent_requests.values():
                if sent_request.host == host:
                    sent_request.unreadable = str(error)
        self._notify()

    def _take(self, host: str, kind: str, payload: bytes, retained: bool) -> None:
        """Store a message of a host, if there is room. Raises ``BadMessage``."""
        if kind not in self._kinds:
            return
        view = self.hosts.get(host)
        if view is None:
            if not payload:
                return
            if len(self.hosts) >= HOST_LIMIT and not self._forget_a_host():
                self.left_out += 1
                if host in self._left_out_hosts or len(self._left_out_hosts) < HOST_LIMIT:
                    self._left_out_hosts[host] = time.monotonic()
                return
            self._left_out_hosts.pop(host, None)
            view = self.hosts[host] = HostView(host, self)
        if kind == "status" and not payload and view.is_gone(time.monotonic()):
            self._forget(view)  # its retained messages were cleared
        elif not self._make_room(view, kind, payload):
            self.left_out += 1
            return
        else:
            view.take(kind, payload, retained=retained)
        if self._on_telemetry is not None:
            self._on_telemetry(host, kind, payload)
        if kind == "status" and view.online:
            self._ask_again(host)

    def _forget(self, view: HostView) -> None:
        del self.hosts[view.name]
        self._kept_bytes -= sum(view.kept_bytes.values())

    def _forget_a_host(self, but: HostView | None = None) -> bool:
        """Remove the longest silent of the hosts that are offline or silent; return whether there was one."""
        now = time.monotonic()
        if now < self._no_host_gone_until:
            return False
        gone = [view for view in self.hosts.values() if view is not but and view.is_gone(now)]
        if not gone:
            self._no_host_gone_until = now + _FORGET_EVERY_S
            return False
        self._forget(max(gone, key=lambda view: view.quiet_s(now)))
        return True

    def _make_room(self, view: HostView, kind: str, payload: bytes) -> bool:
        """Make room for a message: remove offline or silent hosts, then the oldest events of its host. Return
        whether it fits."""
        while not self._has_room(view, kind, view.bytes_with(kind, payload)):
            if self._forget_a_host(but=view):
                continue
            if kind != "event" or not view.forget_event():
                return False
        return True

    def _has_room(self, view: HostView, kind: str, size_bytes: int) -> bool:
        """Return whether ``size_bytes`` of a kind fit for a host; if so, they replace the old size."""
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
