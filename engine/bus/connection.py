"""One client's connection to a broker, for as long as the client lives.

It never waits to read: what comes goes to a bounded inbox, from which a reader task hands each message to a
callback that returns at once; a publisher task sends from a bounded queue and from slots that keep only what
is newest. A lost connection is made again, with a new aiomqtt client each time, after a delay that doubles up
to ``LONGEST_DELAY_SECONDS``; half of each delay is random, so that many clients don't come back at once. On
Windows aiomqtt needs a selector event loop; the program that runs the loop chooses it.
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

from engine.bus.client import Client
from engine.bus.errors import BadTls
from engine.bus.inbox import INCOMING_LIMIT, Inbox
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
_QUIET_TURNS = 3  # of the event loop, without a message; each polls the socket
_SLOW_BYTES = 1 << 20  # a message has PUBLISH_TIMEOUT_SECONDS, and as much again for each so many bytes
_NO_DELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # else an answer takes 90 ms, not 2

State = Literal["connecting", "connected", "lost"]

_log = logging.getLogger(__name__)
_mqtt_log = logging.getLogger("engine.bus.mqtt")
_mqtt_log.setLevel(logging.ERROR)


@dataclass(eq=False, slots=True)
class Outgoing:
    """A message on its way. Once ``withdrawn`` it is not sent any more; ``sent`` means the broker has it,
    ``begun`` that it may have it. ``first``: it has precedence."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    first: bool = False
    begun: bool = False
    sent: bool = False
    withdrawn: bool = False


class _Queue:
    """Messages that wait, in order, with their bytes; ``size_bytes`` includes those being sent."""

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
        """The next ones that are not withdrawn."""
        taken: list[Outgoing] = []
        while self.items and len(taken) < most:
            item = self.items.popleft()
            if item.withdrawn:
                self.size_bytes -= len(item.payload)
            else:
                taken.append(item)
        return taken

    def put_back(self, taken: list[Outgoing]) -> None:
        """Keep those that were not sent."""
        self.items.extendleft(item for item in reversed(taken) if not item.sent)
        self.size_bytes -= sum(len(item.payload) for item in taken if item.sent)


def backoff() -> Iterator[float]:
    """Seconds to wait before each attempt, one after another."""
    delay_seconds = FIRST_DELAY_SECONDS
    while True:
        yield delay_seconds * random.uniform(0.5, 1.0)
        delay_seconds = min(2 * delay_seconds, LONGEST_DELAY_SECONDS)


class Connection:
    """Connects as ``client``, subscribes to ``subscriptions`` (filter, QoS), and stays so.

    ``on_message(topic, payload, retained)`` and ``on_state(state, why)`` run in the loop and return at
    once. ``connected`` is reported when the subscriptions stand, before anything is sent. Of topics of which
    ``newest_only(topic)`` holds, what was not handled before the next one came is not handled at all.
    ``inbox`` counts those, and what had no room; ``overwritten`` and ``dropped`` count what was not sent.

    While ``may_come()`` does not hold, messages of QoS 1 are not acknowledged, so that the broker holds back
    further ones; ``acknowledge`` tries again. ``on_sent`` is called when the broker has taken messages.
    ``receive_buffer_bytes`` is what the system keeps of what came.
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
        may_come: Callable[[], bool] | None = None,
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
        self._may_come = may_come
        self._socket_options = list(_NO_DELAY)
        if receive_buffer_bytes is not None:
            self._socket_options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes))
        self._mqtt: Client | None = None
        self._publish_timeout_seconds = publish_timeout_seconds
        self._first = _Queue()
        self._queue = _Queue()
        self._newest: dict[str, Outgoing] = {}
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._connected_at = math.inf
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._task = asyncio.create_task(self._run(), name=f"mqtt {self.client}")

    async def stop(self, timeout_seconds: float = 2.0) -> None:
        """Send what is waiting and disconnect; after ``timeout_seconds`` just cut the connection.

        A cut connection makes the broker publish the will.
        """
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout_seconds)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def unsent_first(self) -> tuple[int, int]:
        """How many messages with precedence the broker does not have yet, and their bytes."""
        return len(self._first.items), self._first.size_bytes

    @property
    def crowded(self) -> bool:
        """Whether the queue of messages without precedence is half full."""
        queue = self._queue
        return 2 * len(queue.items) >= QUEUE_LIMIT or 2 * queue.size_bytes >= QUEUE_LIMIT_BYTES

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, first: bool = False
    ) -> Outgoing | None:
        """Queue a message that must not be lost; None, and ``dropped`` counts, when the queue is full.

        With ``first`` it goes before all without, and is queued in any case: its sender checks
        ``unsent_first`` before.
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
        self._wake.set()
        return item

    def _has_room(self, size_bytes: int) -> bool:
        queue = self._queue
        return len(queue.items) < QUEUE_LIMIT and queue.size_bytes + size_bytes <= QUEUE_LIMIT_BYTES

    def acknowledge(self) -> None:
        """Acknowledge what came, if more may come."""
        if self._mqtt is not None:
            self._mqtt.acknowledge()

    def offer(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Let the newest payload of a topic be sent; ``overwritten`` counts those it replaces unsent."""
        if self._newest.pop(topic, None) is not None:
            self.overwritten += 1
        self._newest[topic] = Outgoing(topic, payload, qos, retain)
        self._wake.set()

    async def _run(self) -> None:
        delays = backoff()
        clock = asyncio.get_running_loop().time
        while not self._closing.is_set():
            self._connected_at = math.inf
            try:
                await self._attempt()
            except Exception as error:
                if not isinstance(error, aiomqtt.MqttError | OSError | BadTls):
                    _log.exception("the connection to %s failed in an unforeseen way", self.url)
                self._set("lost", f"no connection to {self.url}: {_reason(error)}")
            if clock() - self._connected_at > LONGEST_DELAY_SECONDS:
                delays = backoff()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(delays)):
                    await self._closing.wait()

    async def _attempt(self) -> None:
        """One connection, from its beginning to its end."""
        client = self._mqtt = Client(
            self.url.host,
            self.url.port,
            may_come=self._may_come,
            username=self.url.user,
            password=self.url.password,
            identifier=self.client,
            will=self._will,
            keepalive=KEEPALIVE_SECONDS,
            timeout=CONNECT_TIMEOUT_SECONDS,
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", lambda maxsize: self.inbox),
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

    async def _session(self, client: aiomqtt.Client) -> None:
        codes = await self._subscribe(client)
        for (topic, _), code in zip(self._subscriptions, codes, strict=False):
            if code.is_failure:
                raise aiomqtt.MqttError(f"the broker refuses the subscription to {topic}")
        self.connections += 1
        self._connected_at = asyncio.get_running_loop().time()
        self._set("connected", "")
        tasks = {asyncio.create_task(self._read()), asyncio.create_task(self._write(client))}
        try:
            done, _ = await asyncio.wait({*tasks, client._disconnected}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while not self.inbox.empty():  # acknowledged: the broker does not send it again
                self._handle(self.inbox.get_nowait())
        for ended in done:
            ended.result()

    async def _subscribe(self, client: aiomqtt.Client) -> Sequence[ReasonCode]:
        """Subscribe; a connection that ends meanwhile is not waited for."""
        subscribing: asyncio.Future[Any] = asyncio.ensure_future(client.subscribe(self._subscriptions))
        ended: asyncio.Future[Any] = client._disconnected
        try:
            await asyncio.wait({subscribing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not subscribing.done():
                ended.result()
            return cast("Sequence[ReasonCode]", await subscribing)
        finally:
            subscribing.cancel()

    async def _read(self) -> None:
        """Handle what comes, but first let everything come that is there already and has room.

        The event loop takes one message from the socket at a time. One that is handled before the next is
        read would be the oldest of a client that is behind, and never the newest.
        """
        while True:
            await self.inbox.filled.wait()
            await self._let_come()
            for _ in range(min(self.inbox.qsize(), _READ_AT_ONCE)):
                self._handle(self.inbox.get_nowait())
            self.acknowledge()

    async def _let_come(self) -> None:
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

    async def _write(self, client: aiomqtt.Client) -> None:
        """Send until the connection ends, or until all is sent after ``stop``.

        What is newest has its turn after each batch of the queue, which could go on for ever; at the end,
        after all of it.
        """
        while True:
            if batch := self._next_batch():
                await self._send(client, batch)
            queued = self._first.items or self._queue.items
            if self._newest and not (queued and self._closing.is_set()):
                for topic in list(self._newest):
                    await self._send_newest(client, topic)
            elif not queued:
                if self._closing.is_set():
                    return
                self._wake.clear()
                await self._wake.wait()

    async def _send_newest(self, client: aiomqtt.Client, topic: str) -> None:
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

    async def _send(self, client: aiomqtt.Client, batch: list[Outgoing]) -> None:
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

    async def _send_one(self, client: aiomqtt.Client, item: Outgoing) -> None:
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


def _reason(error: BaseException) -> str:
    cause = error.__cause__
    text = str(error if cause is None or not str(cause) else cause) or type(error).__name__
    return re.sub(r"^\[(Errno -?\d+|code:\d+)\] ", "", text)
