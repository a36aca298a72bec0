"""An MQTT client: aiomqtt's, with what ``connection`` needs beyond it."""

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import aiomqtt


class Client(aiomqtt.Client):
    """aiomqtt's client, without its faults when a connection ends while it is being made or written to.

    It waits out its time for a CONNACK that can't come any more. It watches a socket for writing a moment
    after it was asked to: the socket may be closed by then, and its number another connection's. With
    ``may_come`` it acknowledges nothing while that does not hold.
    """

    def __init__(self, *arguments: Any, may_come: Callable[[], bool] | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._may_come = may_come
        self._unacknowledged: deque[int] = deque()
        self._client.manual_ack_set(may_come is not None)

    def acknowledge(self) -> None:
        """Acknowledge what came, if more may come."""
        while self._unacknowledged and self._may_come is not None and self._may_come():
            self._client.ack(self._unacknowledged.popleft(), 1)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        super()._on_message(client, userdata, message)
        if message.qos and self._may_come is not None:
            self._unacknowledged.append(message.mid)
            self.acknowledge()

    def _on_disconnect(self, *arguments: Any) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the broker ended the connection at once"))
            self._connected.exception()  # nothing may wait for it any more
        super()._on_disconnect(*arguments)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        def write() -> None:
            try:
                client.loop_write()
            except Exception as error:
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        def watch() -> None:
            if client.socket() is sock:
                self._loop.add_writer(sock, write)

        self._loop.call_soon_threadsafe(watch)

    def cut(self) -> None:
        """End the connection without a word, so that nothing waits for a peer that no longer answers.

        aiomqtt offers no such thing, and leaves the socket of a failed attempt open and watched.
        """
        peer = self._client.socket()
        if isinstance(peer, socket.socket):
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        ended = self._disconnected
        if ended.done() and not ended.cancelled():
            ended.exception()  # else asyncio reports it as never retrieved
