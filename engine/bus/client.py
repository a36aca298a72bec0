"""The MQTT client of ``connection``: aiomqtt with fixes, manual acknowledgement and a bounded inbox."""

import asyncio
import contextlib
import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, cast

import aiomqtt

from engine.bus.codec import MESSAGE_LIMIT_BYTES

INCOMING_LIMIT = 4096
INCOMING_LIMIT_BYTES = 64 << 20

_MESSAGE_BYTES = 512  # approximate memory of a message object, its topic and its inbox entry


class Inbox:
    """A bounded FIFO of received messages.

    If ``newest_only(topic)`` is true, only the latest message of the topic is queued, at the position of the
    first one not handled yet; ``replaced`` counts the others. A message that is too large or exceeds the
    inbox limits is dropped and counted in ``dropped``. ``filled`` is set while messages are queued.
    """

    def __init__(self, newest_only: Callable[[str], bool]) -> None:
        self.replaced = 0
        self.dropped = 0
        self.waiting_bytes = 0
        self.received = 0
        self.filled = asyncio.Event()
        self._newest_only = newest_only
        self._number = 0
        self._messages: OrderedDict[str | int, aiomqtt.Message] = OrderedDict()
        """Keyed by topic if only its newest message counts, otherwise by a sequence number."""

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def half_full(self) -> bool:
        """Whether more than half of the inbox is used, so that messages should be handled first."""
        return 2 * len(self._messages) > INCOMING_LIMIT or 2 * self.waiting_bytes > INCOMING_LIMIT_BYTES

    def put_nowait(self, message: aiomqtt.Message) -> None:
        """Add a message, or drop and count it; called by aiomqtt."""
        self.received += 1
        topic = message.topic.value
        earlier = self._messages.get(topic)
        size = _size(message)
        waiting_bytes = self.waiting_bytes + size - (_size(earlier) if earlier is not None else 0)
        if (
            size > MESSAGE_LIMIT_BYTES + _MESSAGE_BYTES
            or waiting_bytes > INCOMING_LIMIT_BYTES
            or (earlier is None and len(self._messages) >= INCOMING_LIMIT)
        ):
            self.dropped += 1
            return
        self.waiting_bytes = waiting_bytes
        self.replaced += earlier is not None
        self._number += 1
        self._messages[topic if self._newest_only(topic) else self._number] = message
        self.filled.set()

    def take(self) -> aiomqtt.Message:
        """Remove and return the first message. Raises ``KeyError`` if the inbox is empty."""
        _, message = self._messages.popitem(last=False)
        self.waiting_bytes -= _size(message)
        if not self._messages:
            self.filled.clear()
        return message


class Client(aiomqtt.Client):
    """An aiomqtt client that puts received messages into ``inbox`` and avoids two faults of aiomqtt.

    If a connection ends before its CONNACK, aiomqtt waits until its timeout. And it registers a socket for
    writing some time after paho requests it, when the socket may be closed and its descriptor reused. With
    ``may_receive``, QoS 1 messages are acknowledged only while it returns True.

    No method of aiomqtt is overridden: the callbacks below, set in paho, wrap or replace those of aiomqtt.
    Private attributes that this uses: ``_client`` (paho's client), ``_connected``, ``_disconnected``.
    """

    def __init__(
        self, *arguments: Any, inbox: Inbox, may_receive: Callable[[], bool] | None, **options: Any
    ) -> None:
        queue = cast("type[asyncio.Queue[aiomqtt.Message]]", lambda maxsize: inbox)
        super().__init__(*arguments, queue_type=queue, **options)
        self._may_receive = may_receive
        self._unacknowledged: deque[int] = deque()
        self._event_loop = asyncio.get_running_loop()
        paho = self._client
        self._receive, self._end = paho.on_message, paho.on_disconnect
        paho.on_message = self._received
        paho.on_disconnect = self._ended
        paho.on_socket_register_write = self._watch_for_writing
        paho.manual_ack_set(may_receive is not None)

    @property
    def ended(self) -> "asyncio.Future[None]":
        """Completes when the connection has ended."""
        return self._disconnected

    def acknowledge(self) -> None:
        """Acknowledge received messages, in order, while ``may_receive()`` is true."""
        while self._unacknowledged and self._may_receive is not None and self._may_receive():
            self._client.ack(self._unacknowledged.popleft(), 1)

    def cut(self) -> None:
        """Shut the socket down without DISCONNECT, so that no task waits for a peer that no longer answers.

        aiomqtt has no such method, and leaves the socket of a failed attempt open and registered.
        """
        peer = self._client.socket()
        if isinstance(peer, socket.socket):
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        if self.ended.done() and not self.ended.cancelled():
            self.ended.exception()  # else asyncio reports it as never retrieved

    def close(self) -> None:
        """Close the socket without an event loop."""
        self.cut()
        peer = self._client.socket()
        if isinstance(peer, socket.socket):
            peer.close()

    def _received(self, client: Any, userdata: Any, message: Any) -> None:
        cast("Callable[..., None]", self._receive)(client, userdata, message)
        if message.qos and self._may_receive is not None:
            self._unacknowledged.append(message.mid)
            self.acknowledge()

    def _ended(self, *arguments: Any) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the broker ended the connection at once"))
            self._connected.exception()  # else asyncio may report it as never retrieved
        cast("Callable[..., None]", self._end)(*arguments)

    def _watch_for_writing(self, client: Any, userdata: Any, sock: Any) -> None:
        def write() -> None:
            try:
                client.loop_write()
            except Exception as error:
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        def watch() -> None:
            if client.socket() is sock:
                self._event_loop.add_writer(sock, write)

        self._event_loop.call_soon_threadsafe(watch)


def _size(message: aiomqtt.Message) -> int:
    payload = message.payload
    return _MESSAGE_BYTES + (len(payload) if isinstance(payload, bytes | bytearray) else 0)
