"""What a client was sent and has not handled yet, in bounded memory."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import aiomqtt

from engine.bus.codec import MESSAGE_LIMIT_BYTES

INCOMING_LIMIT = 4096
INCOMING_LIMIT_BYTES = 64 << 20

_MESSAGE_BYTES = 512  # an object, its topic and its place, roughly


class Inbox(asyncio.Queue[aiomqtt.Message]):
    """Messages in the order in which they came, as aiomqtt's queue of incoming messages.

    Of a topic of which ``newest_only(topic)`` holds there is one message at most, the latest, at the place
    of the first that was not handled: ``replaced`` counts those it took the place of. What has no room, or is
    larger than any message may be, is left out: ``dropped`` counts it. ``filled`` is set while any waits.
    """

    def __init__(self, newest_only: Callable[[str], bool]) -> None:
        self.replaced = 0
        self.dropped = 0
        self.waiting_bytes = 0
        self.received = 0
        self.filled = asyncio.Event()
        self._newest_only = newest_only
        self._number = 0
        super().__init__()

    @property
    def half_full(self) -> bool:
        """Whether it is time to handle messages before more come."""
        return 2 * len(self._messages) > INCOMING_LIMIT or 2 * self.waiting_bytes > INCOMING_LIMIT_BYTES

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Take a message in, or count it; never raises ``QueueFull``."""
        self.received += 1
        earlier = self._messages.get(item.topic.value)
        size = _size(item)
        waiting_bytes = self.waiting_bytes + size - (_size(earlier) if earlier is not None else 0)
        if (
            size > MESSAGE_LIMIT_BYTES + _MESSAGE_BYTES
            or waiting_bytes > INCOMING_LIMIT_BYTES
            or (earlier is None and len(self._messages) >= INCOMING_LIMIT)
        ):
            self.dropped += 1
            return
        self.waiting_bytes = waiting_bytes
        if earlier is not None:
            self.replaced += 1
            self._messages[item.topic.value] = item
        else:
            super().put_nowait(item)

    def _init(self, maxsize: int) -> None:
        # Keys are topics where only the newest counts, else numbers.
        self._messages: OrderedDict[str | int, aiomqtt.Message] = OrderedDict()
        self._queue = self._messages  # asyncio.Queue asks it for its length

    def _put(self, item: aiomqtt.Message) -> None:
        topic = item.topic.value
        self._number += 1
        self._messages[topic if self._newest_only(topic) else self._number] = item
        self.filled.set()

    def _get(self) -> aiomqtt.Message:
        _, item = self._messages.popitem(last=False)
        self.waiting_bytes -= _size(item)
        if not self._messages:
            self.filled.clear()
        return item


def _size(message: aiomqtt.Message) -> int:
    payload = message.payload
    return _MESSAGE_BYTES + (len(payload) if isinstance(payload, bytes | bytearray) else 0)
