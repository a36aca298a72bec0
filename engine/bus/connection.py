"""One client's connection to a broker, with automatic reconnection.

Receiving never blocks: messages go to a bounded inbox, from which a reader task passes each to a callback
that must return at once. A publisher task sends from a bounded queue, and from slots that hold only the
newest message of a topic. After a connection is lost, a new aiomqtt client connects, after a delay that
doubles up to ``LONGEST_DELAY_SECONDS``; half of each delay is random, so that many clients don't reconnect
at once. On Windows aiomqtt needs a selector event loop, which the calling program must choose.
"""

import asyncio
import contextlib
import logging
import math
import random
import re
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from engine.bus.client import INCOMING_LIMIT, Client, Inbox
from engine.bus.errors import BadTls
from engine.bus.tls import client_context
from engine.bus.urls import BrokerUrl
from engine.logs import note

KEEPALIVE_SECONDS = 10
CONNECT_TIMEOUT_SECONDS = 5.0
PUBLISH_TIMEOUT_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
QUEUE_LIMIT = 1024
QUEUE_LIMIT_BYTES = 64 << 20

_BATCH = 8
_READ_AT_ONCE = 64
_QUIET_TURNS = 3  # event loop iterations without a message; each polls the socket
_SLOW_BYTES = 1 << 20  # the timeout grows by PUBLISH_TIMEOUT_SECONDS for each such amount of payload
_NO_DELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # without it, an answer takes 90 ms instead of 2

State = Literal["connecting", "connected", "lost"]

_log = logging.getLogger(__name__)
_mqtt_log = logging.getLogger("engine.bus.mqtt")
_mqtt_log.setLevel(logging.ERROR)


@dataclass(eq=False, slots=True)
class Outgoing:
    """A message to send. A ``withdrawn`` one is not sent. ``begun``: the broker may have received it;
    ``sent``: it has. ``first``: it is sent before messages without this flag."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    first: bool = False
    begun: bool = False
    sent: bool = False
    withdrawn: bool = False


class _Queue:
    """A FIFO of messages; ``size_bytes`` includes those that are being sent."""

    def __init__(self) -> None:
        self.items: deque[Outgoing] = deque()
        self.size_bytes = 0

    def append(self, item: Outgoing) -> None:
        self.items.append(item)
        self.size_bytes += len(item.payload)

    def forget_withdrawn(self) -> None:
        self.size_bytes -= sum(len(item.payload) for item in self.items if item.withdrawn)
        self.items = deque(item for item in self.items if not item.withdrawn)

    def take(self, most: int) -> list[Outgoing]:
        """Remove and return up to ``most`` messages; drop withdrawn ones."""
        taken: list[Outgoing] = []
        while self.items and len(taken) < most:
            item = self.items.popleft()
            if item.withdrawn:
                self.size_bytes -= len(item.payload)
            else:
                taken.append(item)
        return taken

    def put_back(self, taken: list[Outgoing]) -> None:
        """Return unsent messages of ``taken`` to the front of the queue."""
        self.items.extendleft(item for item in reversed(taken) if not item.sent)
        self.size_bytes -= sum(len(item.payload) for item in taken if item.sent)


def backoff() -> Iterator[float]:
    """Yield the delay in seconds before each attempt to connect."""
    delay_seconds = FIRST_DELAY_SECONDS
    while True:
        yield delay_seconds * random.uniform(0.5, 1.0)
        delay_seconds = min(2 * delay_seconds, LONGEST_DELAY_SECONDS)


class Connection:
    """Connects as ``client``, subscribes to ``subscriptions`` (filter, QoS), and reconnects when needed.

    ``on_message(topic, payload, retained)`` and ``on_state(state, why)`` run in the event loop and must
    return at once. "connected" is reported after the subscriptions are granted, before any message is sent.
    If ``newest_only(topic)`` is true, a newer message of the topic replaces one that is not handled yet.
    ``inbox`` counts replaced and dropped messages; ``overwritten`` and ``dropped`` count messages not sent.

    While ``may_receive()`` is false, QoS 1 messages are not acknowledged, so that the broker holds back
    further ones; ``acknowledge`` checks again. ``on_sent`` is called after each attempt to send queued
    messages. ``receive_buffer_bytes`` sets the size of the socket's receive buffer.
    """

    def __init__(
        self,
        url: BrokerUrl,
        client: str,
        subscriptions: Sequence[tuple[str, int]],
        on_message: Callable[[str, bytes, bool], None],
        on_state: Callable[[State, str], None],
        *,
        will: aiomqtt.Will | None = None,
        newest_only: Callable[[str], bool] = lambda topic: False,
        on_sent: Callable[[], None] = lambda: None,
        may_receive: Callable[[], bool] | None = None,
        receive_buffer_bytes: int | None = None,
        publish_timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS,
    ) -> None:
        self.url = url
        self.client = client
        self.state: State = "connecting"
        self.why = f"no answer from {url} yet"
        self.overwritten = 0
        self.dropped = 0
        self.connections = 0
        self.inbox = Inbox(newest_only)
        self._subscriptions = list(subscriptions)
        self._on_message = on_message
        self._on_state = on_state
        self._will = will
        self._on_sent = on_sent
        self._may_receive = may_receive
        self._socket_options = list(_NO_DELAY)
        if receive_buffer_bytes is not None:
            self._socket_options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes))
        self._mqtt: Client | None = None
        self._publish_timeout_seconds = publish_timeout_seconds
        self._first = _Queue()
        self._queue = _Queue()
        self._newest: dict[str, Outgoing] = {}
        self._wake = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._closing = asyncio.Event()
        self._connected_at = math.inf
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start a task that connects; returns at once."""
        self._task = asyncio.create_task(self._run(), name=f"mqtt {self.client}")

    async def all_sent(self) -> None:
        """Wait until no message is queued or being sent; those of QoS 1 are at the broker then."""
        await self._all_sent.wait()

    async def stop(self, timeout_seconds: float = 2.0) -> None:
        """Send queued messages and disconnect; after ``timeout_seconds``, close without DISCONNECT.

        In that case the broker publishes the will.
        """
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout_seconds)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def close(self) -> None:
        """Close the socket without an event loop, which has ended: no task of this connection runs."""
        self._closing.set()
        if self._mqtt is not None:
            self._mqtt.close()

    @property
    def unsent_first(self) -> tuple[int, int]:
        """Number of queued ``first`` messages, and bytes of those queued or being sent."""
        return len(self._first.items), self._first.size_bytes

    @property
    def crowded(self) -> bool:
        """Whether the queue of messages without ``first`` is at least half full."""
        queue = self._queue
        return 2 * len(queue.items) >= QUEUE_LIMIT or 2 * queue.size_bytes >= QUEUE_LIMIT_BYTES

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, first: bool = False
    ) -> Outgoing | None:
        """Queue a message; if the queue is full, count it in ``dropped`` and return None.

        A ``first`` message is sent before the others and has no limit: its sender must check
        ``unsent_first``.
        """
        item = Outgoing(topic, payload, qos, retain, first)
        if first:
            self._first.append(item)
        else:
            if not self._has_room(len(payload)):
                self._queue.forget_withdrawn()
                if not self._has_room(len(payload)):
                    self.dropped += 1
                    return None
            self._queue.append(item)
        self._begin_sending()
        return item

    def _has_room(self, size_bytes: int) -> bool:
        queue = self._queue
        return len(queue.items) < QUEUE_LIMIT and queue.size_bytes + size_bytes <= QUEUE_LIMIT_BYTES

    def acknowledge(self) -> None:
        """Acknowledge received messages, in order, while ``may_receive()`` is true."""
        if self._mqtt is not None:
            self._mqtt.acknowledge()

    def offer(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Queue the newest payload of a topic; it replaces an unsent one, counted in ``overwritten``."""
        if self._newest.pop(topic, None) is not None:
            self.overwritten += 1
        self._newest[topic] = Outgoing(topic, payload, qos, retain)
        self._begin_sending()

    def _begin_sending(self) -> None:
        self._all_sent.clear()
        self._wake.set()

    async def _run(self) -> None:
        delays = backoff()
        clock = asyncio.get_running_loop().time
        while not self._closing.is_set():
            self._connected_at = math.inf
            try:
                await self._attempt()
            except Exception as error:
                _raise_if_cancelled()  # aiomqtt may raise its own error instead
                if not isinstance(error, aiomqtt.MqttError | OSError | BadTls):
                    _log.exception("the connection to %s failed in an unforeseen way", self.url)
                self._set("lost", f"no connection to {self.url}: {_reason(error)}")
            if clock() - self._connected_at > LONGEST_DELAY_SECONDS:
                delays = backoff()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(delays)):
                    await self._closing.wait()

    async def _attempt(self) -> None:
        """Connect once, and return or raise when the connection ends."""
        client = self._mqtt = Client(
            self.url.host,
            self.url.port,
            inbox=self.inbox,
            may_receive=self._may_receive,
            username=self.url.user,
            password=self.url.password,
            identifier=self.client,
            will=self._will,
            keepalive=KEEPALIVE_SECONDS,
            timeout=CONNECT_TIMEOUT_SECONDS,
            tls_context=client_context(self.url.files) if self.url.tls else None,
            logger=_mqtt_log,
            socket_options=self._socket_options,
        )
        try:
            async with client:
                try:
                    await self._session(client)
                except BaseException:
                    client.cut()
                    raise
        except BaseException:
            client.cut()
            raise

    async def _session(self, client: Client) -> None:
        codes = await self._subscribe(client)
        for (topic, _), code in zip(self._subscriptions, codes, strict=False):
            if code.is_failure:
                raise aiomqtt.MqttError(f"the broker refuses the subscription to {topic}")
        self.connections += 1
        self._connected_at = asyncio.get_running_loop().time()
        self._set("connected", "")
        tasks = {asyncio.create_task(self._read()), asyncio.create_task(self._write(client))}
        try:
            done, _ = await asyncio.wait({*tasks, client.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while self.inbox:  # the broker does not send received messages again
                self._handle(self.inbox.take())
        for ended in done:
            ended.result()

    async def _subscribe(self, client: Client) -> Sequence[ReasonCode]:
        """Subscribe; fail at once if the connection ends before the reply."""
        subscribing: asyncio.Future[Any] = asyncio.ensure_future(client.subscribe(self._subscriptions))
        ended: asyncio.Future[Any] = client.ended
        try:
            await asyncio.wait({subscribing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not subscribing.done():
                ended.result()
            return cast("Sequence[ReasonCode]", await subscribing)
        finally:
            subscribing.cancel()

    async def _read(self) -> None:
        """Handle messages, after first receiving all that have already arrived and fit into the inbox.

        The event loop reads one message from the socket at a time. Without this, a slow reader would handle
        the oldest message of a topic instead of its newest.
        """
        while True:
            await self.inbox.filled.wait()
            await self._receive_waiting()
            for _ in range(min(len(self.inbox), _READ_AT_ONCE)):
                self._handle(self.inbox.take())
            self.acknowledge()

    async def _receive_waiting(self) -> None:
        quiet, limit = 0, self.inbox.received + INCOMING_LIMIT
        while quiet < _QUIET_TURNS and self.inbox.received < limit and not self.inbox.half_full:
            seen = self.inbox.received
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.inbox.received == seen else 0

    def _handle(self, message: aiomqtt.Message) -> None:
        payload = message.payload
        if isinstance(payload, bytes | bytearray):
            try:
                self._on_message(str(message.topic), bytes(payload), message.retain)
            except Exception:
                _log.exception("a message on %s was not handled", message.topic)

    async def _write(self, client: Client) -> None:
        """Send until the connection ends or, after ``stop``, until everything is sent.

        The newest-only slots are sent after each batch of the queue, because the queue may never be empty;
        after ``stop`` they are sent last.
        """
        while True:
            _raise_if_cancelled()  # a message sent at the same time hides it before Python 3.12
            if batch := self._next_batch():
                await self._send(client, batch)
            queued = self._first.items or self._queue.items
            if self._newest and not (queued and self._closing.is_set()):
                for topic in list(self._newest):
                    await self._send_newest(client, topic)
            elif not queued:
                self._all_sent.set()
                if self._closing.is_set():
                    return
                self._wake.clear()
                await self._wake.wait()

    async def _send_newest(self, client: Client, topic: str) -> None:
        item = self._newest.pop(topic)
        try:
            await self._send_one(client, item)
        except BaseException:
            if item.retain and topic not in self._newest:
                self._newest[topic] = item
            else:
                self.overwritten += 1
            raise

    def _next_batch(self) -> list[Outgoing]:
        batch = self._first.take(_BATCH)
        return batch + self._queue.take(_BATCH - len(batch))

    async def _send(self, client: Client, batch: list[Outgoing]) -> None:
        try:
            outcomes = await asyncio.gather(
                *(self._send_one(client, item) for item in batch), return_exceptions=True
            )
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
        finally:
            self._first.put_back([item for item in batch if item.first])
            self._queue.put_back([item for item in batch if not item.first])
            self._on_sent()

    async def _send_one(self, client: Client, item: Outgoing) -> None:
        item.begun = True
        seconds = self._publish_timeout_seconds * (1 + len(item.payload) / _SLOW_BYTES)
        await client.publish(item.topic, item.payload, item.qos, item.retain, timeout=seconds)
        item.sent = True

    def _set(self, state: State, why: str) -> None:
        if (state, why) != (self.state, self.why):
            level = logging.WARNING if state == "lost" else logging.INFO
            note(_log, level, f"broker_{state}", url=self.url, why=why or None)
        self.state, self.why = state, why
        try:
            self._on_state(state, why)
        except Exception:
            _log.exception("a change of the connection was not handled")


def _raise_if_cancelled() -> None:
    """Raise CancelledError if this task was cancelled and the error was lost."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _reason(error: BaseException) -> str:
    cause = error.__cause__
    text = str(error if cause is None or not str(cause) else cause) or type(error).__name__
    return re.sub(r"^\[(Errno -?\d+|code:\d+)\] ", "", text)
