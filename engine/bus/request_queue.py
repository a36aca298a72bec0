"""An engine's requests: rate limits by client, a fair queue, a cache of answers; those to a measured host."""

import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from engine.bus.messages import Request, Response
from engine.counted import counted
from engine.mqtt.limits import TokenBucket
from engine.ndis.outcome import NdisError, NdisStatus, Outcome, answer
from engine.telemetry.events import Event

IDS_PER_CLIENT = 1024
CLIENT_LIMIT = 1024
TOTAL_LIMIT_BYTES = 64 << 20

_ENTRY_BYTES = 256

ANSWERED: Final = ("ping", "query_events")
"""Operations that a measured host answers."""

_encoder = msgspec.msgpack.Encoder()


@dataclass(slots=True)
class _Entry:
    fingerprint: bytes
    answer: bytes | None = None  # compressed; None while the request is being carried out

    def size_bytes(self) -> int:
        return _ENTRY_BYTES + len(self.answer or b"")


class AnswerCache:
    """The last 1,024 requests of each client with their answers, so that a repeated request is answered
    and not carried out again.

    Above the limits on clients and bytes, answers of the least recently active client are evicted first. A
    request in progress is never evicted.
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
        """Record a request; if it was answered before, return the cached answer.

        "mismatch": the client has used the id for a request with another op or params.
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
        """Cache the answer to a request that ``begin`` recorded."""
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
        """Remove the oldest answered request; return whether there was one."""
        for id, entry in entries.items():
            if entry.answer is not None:
                del entries[id]
                self._total_bytes -= entry.size_bytes()
                return True
        return False


REQUESTS_A_SECOND = 1024
REQUESTS_AT_ONCE = 4096


class RequestRateLimit:
    """Limits the requests of each client: bursts of up to ``at_once``, and on average ``a_second``.

    The 1,024 most recently active clients are tracked; any other client starts with a full token bucket.
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
        """Count a request of a client; return False if it exceeds the client's limit."""
        bucket = self._buckets.pop(client, None) or TokenBucket(self._at_once, self._a_second, self._clock)
        self._buckets[client] = bucket
        if len(self._buckets) > CLIENT_LIMIT:
            self._buckets.popitem(last=False)
        return bucket.take()


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A queued request with its encoded size."""

    client: str
    request: Request
    size_bytes: int


class RequestQueue:
    """Requests that have not started: FIFO for each client, round-robin across clients, so that a busy client
    delays no other."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[PendingRequest]] = OrderedDict()  # next client first
        self._bytes: dict[str, int] = {}
        self._count = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, waiting: PendingRequest) -> None:
        """Append a request to its client's queue; a client without one joins the round-robin at its end."""
        self._queues.setdefault(waiting.client, deque()).append(waiting)
        self._note(waiting, 1)

    def take(self) -> PendingRequest:
        """Remove and return the oldest request of the next client. Raises ``StopIteration`` if empty."""
        client, queue = next(iter(self._queues.items()))
        waiting = queue.popleft()
        self._queues.move_to_end(client)
        self._removed(waiting)
        return waiting

    def displace(self, client: str, size_bytes: int, *, by_bytes: bool) -> PendingRequest | None:
        """Remove and return the newest request of the client with the most, to make room for ``client``.

        "Most" is by bytes or by number. None if no client has more than ``client`` with its new request.
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


class NoRequests:
    """Answers for a measured host, on which nothing is changed: of ``ping`` and ``query_events``; refuses all
    other operations.

    The registry of operations needs NumPy, which brokers and readers do without, so it is imported here.
    """

    def __init__(self, host: str) -> None:
        from engine.ndis.queries import EventHistory

        self._host = host
        self._history = EventHistory()
        self._revision = 0

    def configured(self, revision: int) -> None:
        """Use the revision of a new configuration in the answers that follow."""
        self._revision = revision

    def happened(self, event: Event) -> None:
        """Keep an event for ``query_events``."""
        self._history.add(msgspec.to_builtins(event), len(_encoder.encode(event)))

    async def __call__(self, client: str, request: Request) -> Response:
        """Answer a request; the same signature as an engine's handler of requests."""
        try:
            outcome = self._outcome(request)
        except NdisError as error:
            outcome = Outcome(error.status, error.message)
        return Response(
            id=request.id,
            status=outcome.status,
            ndis_status=str(outcome.ndis_status),
            message=outcome.message,
            result=outcome.result,
            revision=self._revision,
        )

    def _outcome(self, request: Request) -> Outcome:
        """Return the outcome of a request. Raises ``NdisError``."""
        from engine.ndis import operations

        if request.op in operations.OPERATIONS and request.op not in ANSWERED:
            raise NdisError(
                NdisStatus.NOT_SUPPORTED,
                f"op: {request.op} is not for {self._host}, a real host that is measured: nothing is changed"
                f" on it ({' and '.join(ANSWERED)} are answered)",
            )
        asked = operations.decode(request.op, request.params)
        if request.op == "ping":
            return answer("the agent is there", {})
        events = self._history.since(asked.values.get("since_seq", 0), asked.values.get("limit", 256))
        return answer(counted(len(events), "event"), {"events": events})
