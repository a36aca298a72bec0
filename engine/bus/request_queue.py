"""An engine's requests: rate limits by client, the fair queue of waiting ones, and the cache of answers."""

import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.bus.messages import Request
from engine.mqtt.limits import TokenBucket

IDS_PER_CLIENT = 1024
CLIENT_LIMIT = 1024
TOTAL_LIMIT_BYTES = 64 << 20

_ENTRY_BYTES = 256


@dataclass(slots=True)
class _Entry:
    fingerprint: bytes
    answer: bytes | None = None  # compressed; None while the request is being carried out

    def size_bytes(self) -> int:
        return _ENTRY_BYTES + len(self.answer or b"")


class AnswerCache:
    """The last 1,024 request ids of each client with their answers, so that a repeated request is answered
    and not carried out again.

    Above the bounds on clients and bytes, the answers of the client silent for longest are removed first. A
    request that is being carried out is never removed.
    """

    def __init__(self, total_limit_bytes: int = TOTAL_LIMIT_BYTES) -> None:
        self._clients: OrderedDict[str, OrderedDict[str, _Entry]] = OrderedDict()
        self._total_limit_bytes = total_limit_bytes
        self._total_bytes = 0

    def begin(
        self,
        client: str,
        id: str,
        fingerprint: bytes,
    ) -> Literal["new", "in progress", "mismatch"] | bytes:
        """Record a request; return the recorded answer if it was answered before.

        "mismatch": the id was used for a request with another op or params.
        """
        entries = self._clients.setdefault(client, OrderedDict())
        self._clients.move_to_end(client)
        entry = entries.get(id)
        if entry is None:
            entries[id] = _Entry(fingerprint)
            self._total_bytes += _ENTRY_BYTES
            self._keep_bounds()
            return "new"
        if entry.fingerprint != fingerprint:
            return "mismatch"
        return "in progress" if entry.answer is None else zlib.decompress(entry.answer)

    def finish(self, client: str, id: str, answer: bytes) -> None:
        """Record the answer to a request that has begun."""
        entry = self._clients.get(client, OrderedDict()).get(id)
        if entry is not None:
            entry.answer = zlib.compress(answer, 1)
            self._total_bytes += len(entry.answer)
            self._keep_bounds()

    def _keep_bounds(self) -> None:
        newest = next(reversed(self._clients.values()))
        if len(newest) > IDS_PER_CLIENT:
            self._forget_oldest(newest)
        while len(self._clients) > CLIENT_LIMIT or self._total_bytes > self._total_limit_bytes:
            answered = (client for client, entries in self._clients.items() if self._forget_oldest(entries))
            client = next(answered, None)
            if client is None:
                return
            if not self._clients[client]:
                del self._clients[client]

    def _forget_oldest(self, entries: OrderedDict[str, _Entry]) -> bool:
        """Remove the oldest answer; return whether there was one."""
        for id, entry in entries.items():
            if entry.answer is not None:
                del entries[id]
                self._total_bytes -= entry.size_bytes()
                return True
        return False


REQUESTS_A_SECOND = 1024
REQUESTS_AT_ONCE = 4096


class RequestRateLimit:
    """Limits the requests of each client: ``at_once`` in a burst, ``a_second`` in the long run.

    The 1,024 clients that sent requests last are tracked; any other has its full burst.
    """

    def __init__(
        self,
        a_second: float = REQUESTS_A_SECOND,
        at_once: float = REQUESTS_AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._a_second = a_second
        self._at_once = at_once
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, client: str) -> bool:
        """Whether a client may send a request now; counts it if so."""
        bucket = self._buckets.pop(client, None) or TokenBucket(self._at_once, self._a_second, self._clock)
        self._buckets[client] = bucket
        if len(self._buckets) > CLIENT_LIMIT:
            self._buckets.popitem(last=False)
        return bucket.take()


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A request that waits, with its size as received."""

    client: str
    request: Request
    size_bytes: int


class RequestQueue:
    """Requests not begun yet: each client's in order, the clients in turn, so that a busy client delays no
    other."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[PendingRequest]] = OrderedDict()  # the next turn first
        self._bytes: dict[str, int] = {}
        self._count = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, waiting: PendingRequest) -> None:
        """Queue a request after those of its client; a client without requests gets the last turn."""
        self._queues.setdefault(waiting.client, deque()).append(waiting)
        self._note(waiting, 1)

    def take(self) -> PendingRequest:
        """Remove and return the oldest request of the client whose turn it is. Raises ``StopIteration``."""
        client, queue = next(iter(self._queues.items()))
        waiting = queue.popleft()
        self._queues.move_to_end(client)
        self._removed(waiting)
        return waiting

    def displace(self, client: str, size_bytes: int, *, by_bytes: bool) -> PendingRequest | None:
        """Remove the newest request of the client with most of them, to make room for one of ``client``.

        None if ``client`` itself would have most then.
        """

        def amount(name: str) -> int:
            return self._bytes.get(name, 0) if by_bytes else len(self._queues.get(name, ()))

        most = max(self._queues, key=amount, default=client)
        if amount(most) <= amount(client) + (size_bytes if by_bytes else 1):
            return None
        waiting = self._queues[most].pop()
        self._removed(waiting)
        return waiting

    def _removed(self, waiting: PendingRequest) -> None:
        self._note(waiting, -1)
        if not self._queues[waiting.client]:
            del self._queues[waiting.client], self._bytes[waiting.client]

    def _note(self, waiting: PendingRequest, sign: int) -> None:
        self._count += sign
        self.size_bytes += sign * waiting.size_bytes
        self._bytes[waiting.client] = self._bytes.get(waiting.client, 0) + sign * waiting.size_bytes
