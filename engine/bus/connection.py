"""One client's connection to a broker, for as long as the client lives.

It never waits to read: a reader task hands each message to a callback that returns at once, a publisher
task sends from a bounded queue and from slots that keep only what is newest. A lost connection is made
again, with a new aiomqtt client each time. On Windows aiomqtt needs a selector event loop; choosing it is
the matter of whoever runs the loop.
"""

import asyncio
import contextlib
import logging
import random
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from engine.bus.urls import BrokerUrl
from engine.logs import note

KEEPALIVE_SECONDS = 10
CONNECT_TIMEOUT_SECONDS = 5.0
PUBLISH_TIMEOUT_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
QUEUE_LIMIT = 1024

_BATCH = 8
_NO_DELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # else an answer takes 90 ms, not 2
_INCOMING_LIMIT = 4096

State = Literal["connecting", "connected", "lost"]

_log = logging.getLogger(__name__)
_mqtt_log = logging.getLogger("engine.bus.mqtt")
_mqtt_log.setLevel(logging.ERROR)


@dataclass(eq=False, slots=True)
class Outgoing:
    """A message on its way. Once ``withdrawn`` it is not sent any more; ``sent`` means the broker has it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    sent: bool = False
    withdrawn: bool = False


class Connection:
    """Connects as ``client``, subscribes to ``subscriptions`` (filter, QoS), and stays so.

    ``on_message(topic, payload, retained)`` and ``on_state(state, why)`` run in the loop and return at
    once. ``connected`` is told when the subscriptions stand and before anything is sent.
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
        publish_timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS,
    ) -> None:
        self.url = url
        self.client = client
        self.state: State = "connecting"
        self.why = f"connecting to {url}"
        self.overwritten = 0
        self.dropped = 0
        self.connections = 0
        self._subscriptions = list(subscriptions)
        self._on_message = on_message
        self._on_state = on_state
        self._will = will
        self._publish_timeout_seconds = publish_timeout_seconds
        self._queue: deque[Outgoing] = deque()
        self._newest: dict[str, Outgoing] = {}
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
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

    def publish(self, topic: str, payload: bytes, *, qos: int = 1) -> Outgoing | None:
        """Queue a message that must not be lost; None, and ``dropped`` counts, when the queue is full."""
        if len(self._queue) >= QUEUE_LIMIT:
            self.dropped += 1
            return None
        item = Outgoing(topic, payload, qos, False)
        self._queue.append(item)
        self._wake.set()
        return item

    def offer(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Let the newest payload of a topic be sent; ``overwritten`` counts those it replaces unsent."""
        if self._newest.pop(topic, None) is not None:
            self.overwritten += 1
        self._newest[topic] = Outgoing(topic, payload, qos, retain)
        self._wake.set()

    async def _run(self) -> None:
        delay_seconds = FIRST_DELAY_SECONDS
        clock = asyncio.get_running_loop().time
        while not self._closing.is_set():
            began = clock()
            try:
                await self._attempt()
            except Exception as error:
                if not isinstance(error, aiomqtt.MqttError | OSError):
                    _log.exception("the connection to %s failed in an unforeseen way", self.url)
                self._set("lost", f"no connection to {self.url}: {_reason(error)}")
            if clock() - began > LONGEST_DELAY_SECONDS:
                delay_seconds = FIRST_DELAY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds * random.uniform(0.5, 1.0)):
                    await self._closing.wait()
            delay_seconds = min(2 * delay_seconds, LONGEST_DELAY_SECONDS)

    async def _attempt(self) -> None:
        """One connection, from its beginning to its end."""
        client = aiomqtt.Client(
            self.url.host,
            self.url.port,
            username=self.url.user,
            password=self.url.password,
            identifier=self.client,
            will=self._will,
            keepalive=KEEPALIVE_SECONDS,
            timeout=CONNECT_TIMEOUT_SECONDS,
            max_queued_incoming_messages=_INCOMING_LIMIT,
            tls_context=ssl.create_default_context() if self.url.tls else None,
            logger=_mqtt_log,
            socket_options=_NO_DELAY,
        )
        try:
            async with client:
                try:
                    await self._session(client)
                except BaseException:
                    _cut(client)
                    raise
        except BaseException:
            _cut(client)
            raise

    async def _session(self, client: aiomqtt.Client) -> None:
        codes = cast("Sequence[ReasonCode]", await client.subscribe(self._subscriptions))
        for (topic, _), code in zip(self._subscriptions, codes, strict=False):
            if code.is_failure:
                raise aiomqtt.MqttError(f"the broker refuses the subscription to {topic}")
        self.connections += 1
        self._set("connected", "")
        tasks = {asyncio.create_task(self._read(client)), asyncio.create_task(self._write(client))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            if isinstance(payload, bytes | bytearray):
                try:
                    self._on_message(str(message.topic), bytes(payload), message.retain)
                except Exception:
                    _log.exception("a message on %s was not handled", message.topic)

    async def _write(self, client: aiomqtt.Client) -> None:
        """Send until the connection ends, or until all is sent after ``stop``."""
        while True:
            if batch := self._next_batch():
                await self._send(client, batch)
            elif self._newest:
                item = self._newest.pop(next(iter(self._newest)))
                await self._send_one(client, item)
            elif self._closing.is_set():
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _next_batch(self) -> list[Outgoing]:
        batch: list[Outgoing] = []
        while self._queue and len(batch) < _BATCH:
            item = self._queue.popleft()
            if not item.withdrawn:
                batch.append(item)
        return batch

    async def _send(self, client: aiomqtt.Client, batch: list[Outgoing]) -> None:
        try:
            outcomes = await asyncio.gather(
                *(self._send_one(client, item) for item in batch), return_exceptions=True
            )
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
        finally:
            self._queue.extendleft(item for item in reversed(batch) if not item.sent)

    async def _send_one(self, client: aiomqtt.Client, item: Outgoing) -> None:
        await client.publish(
            item.topic, item.payload, item.qos, item.retain, timeout=self._publish_timeout_seconds
        )
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


def _cut(client: aiomqtt.Client) -> None:
    """End a connection without a word, so that nothing waits for a peer that no longer answers.

    aiomqtt offers no such thing, and leaves the socket of a failed attempt open and watched.
    """
    peer = client._client.socket()
    if isinstance(peer, socket.socket):
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
    ended = client._disconnected
    if ended.done() and not ended.cancelled():
        ended.exception()  # else asyncio reports it as never retrieved


def _reason(error: BaseException) -> str:
    cause = error.__cause__
    text = str(error if cause is None or not str(cause) else cause) or type(error).__name__
    return re.sub(r"^\[(Errno -?\d+|code:\d+)\] ", "", text)
