"""Requests that an engine has taken in and not yet begun: of each client in order, the clients in turn."""

from collections import OrderedDict, deque
from dataclasses import dataclass

from engine.bus.messages import Request


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request, and how many bytes it came in."""

    client: str
    request: Request
    size_bytes: int


class RequestQueue:
    """Takes the clients in turn, so that one that asks much keeps no other waiting."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Waiting]] = OrderedDict()  # whose turn is next comes first
        self._bytes: dict[str, int] = {}
        self._count = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, waiting: Waiting) -> None:
        """Put a request behind those of its client; a client that had none has its turn last."""
        self._queues.setdefault(waiting.client, deque()).append(waiting)
        self._note(waiting, 1)

    def take(self) -> Waiting:
        """The next client's oldest request. Raises ``StopIteration`` when there is none."""
        client, queue = next(iter(self._queues.items()))
        waiting = queue.popleft()
        self._queues.move_to_end(client)
        self._removed(waiting)
        return waiting

    def displace(self, client: str, size_bytes: int, *, by_bytes: bool) -> Waiting | None:
        """Remove the newest request of the client with most of them, to make room for one of ``client``.

        None: ``client`` itself would have most then.
        """

        def amount(name: str) -> int:
            return self._bytes.get(name, 0) if by_bytes else len(self._queues.get(name, ()))

        most = max(self._queues, key=amount, default=client)
        if amount(most) <= amount(client) + (size_bytes if by_bytes else 1):
            return None
        waiting = self._queues[most].pop()
        self._removed(waiting)
        return waiting

    def _removed(self, waiting: Waiting) -> None:
        self._note(waiting, -1)
        if not self._queues[waiting.client]:
            del self._queues[waiting.client], self._bytes[waiting.client]

    def _note(self, waiting: Waiting, sign: int) -> None:
        self._count += sign
        self.size_bytes += sign * waiting.size_bytes
        self._bytes[waiting.client] = self._bytes.get(waiting.client, 0) + sign * waiting.size_bytes
