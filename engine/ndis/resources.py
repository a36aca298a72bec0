"""Limited resources: an adapter's receive buffers and identifiers, and the number of queues of a host."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from engine.ndis.outcome import exhausted
from engine.scenario.keys import MAX_HOST_QUEUES

TotalOf = Callable[[int], int]
"""Returns the gauge ``total_buffers``, the buffers that a queue owns now, for a queue id."""


def share_out(suggested: Sequence[int], left: int) -> list[int]:
    """Share ``left`` buffers among a batch of queues; return 0 for a queue that fails.

    If enough buffers are left, each queue gets the number it suggests. Otherwise each gets
    floor(suggested × left / sum). From the end of the batch, a queue that would get less than half of its
    suggestion fails, and the buffers are shared among the others.
    """
    shares = list(suggested)
    asked = sum(suggested)
    # One pass from the end suffices: a failure increases the other shares, so it makes no other queue fail.
    for place in range(len(shares) - 1, -1, -1):
        if asked <= left:
            break
        if 2 * (shares[place] * left // asked) < shares[place]:
            asked -= shares[place]
            shares[place] = 0
    if asked <= left:
        return shares
    return [share * left // asked for share in shares]


class BufferBudget:
    """The receive buffers of an adapter, and the share of each queue.

    A queue that shrinks releases the buffers in use only when they are returned. Until then it owns more than
    its share, and fewer buffers are left; ``total_of`` returns the number that it still owns.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._shares: dict[int, int] = {}
        self._promised = 0
        self._shrinking: set[int] = set()

    def share(self, queue_id: int) -> int:
        """Return the number of buffers that the queue owns, or will own when it has shrunk."""
        return self._shares.get(queue_id, 0)

    def held(self, queue_id: int, total_of: TotalOf) -> int:
        """Return the number of buffers that the queue owns now."""
        share = self.share(queue_id)
        if queue_id not in self._shrinking:
            return share
        total = total_of(queue_id)
        if total <= share:
            self._shrinking.discard(queue_id)
        return max(share, total)

    def left(self, total_of: TotalOf) -> int:
        """Return the number of buffers that no queue owns."""
        waiting = sum(self.held(queue, total_of) - self.share(queue) for queue in tuple(self._shrinking))
        return self.total - self._promised - waiting

    def give(self, queue_id: int, count: int) -> None:
        """Set the queue's share to ``count`` buffers."""
        before = self.share(queue_id)
        if count < before:
            self._shrinking.add(queue_id)
        self._promised += count - before
        self._shares[queue_id] = count

    def release(self, queue_id: int) -> None:
        """Release all buffers of a removed queue."""
        self._promised -= self._shares.pop(queue_id, 0)
        self._shrinking.discard(queue_id)

    def copy(self) -> "BufferBudget":
        """An independent copy."""
        budget = BufferBudget(self.total)
        budget._shares = dict(self._shares)
        budget._promised = self._promised
        budget._shrinking = set(self._shrinking)
        return budget


class QueueQuota:
    """The number of queues on all adapters of a host; the limit is ``MAX_HOST_QUEUES``."""

    def __init__(self) -> None:
        self._in_use = 0

    def check(self) -> None:
        """Raise ``NdisError`` if the host has no queue left."""
        if self._in_use >= MAX_HOST_QUEUES:
            raise exhausted(
                f"no queue is left: all {MAX_HOST_QUEUES:,} of the host are in use, each adapter's default"
                " queue included"
            )

    def take(self) -> None:
        """Count one more queue."""
        self._in_use += 1

    def give_back(self) -> None:
        """Count one queue less."""
        self._in_use -= 1

    def copy(self) -> "QueueQuota":
        """An independent copy."""
        quota = QueueQuota()
        quota._in_use = self._in_use
        return quota


class IdPool:
    """A pool of identifiers from ``first`` on; the lowest unused one is allocated first."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._freed: list[int] = []

    def take(self) -> int:
        """Allocate the lowest unused identifier."""
        if self._freed:
            return heappop(self._freed)
        self._next += 1
        return self._next - 1

    def give_back(self, identifier: int) -> None:
        """Return an identifier to the pool."""
        heappush(self._freed, identifier)

    def copy(self) -> "IdPool":
        """An independent copy."""
        pool = IdPool()
        pool._next = self._next
        pool._freed = list(self._freed)
        return pool
