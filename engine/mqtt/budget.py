"""A bound on the bytes that the broker holds for all its clients together."""

from collections.abc import Callable
from dataclasses import dataclass

HELD_LIMIT_BYTES = 256 << 20
"""Of all clients together; the client with most of them is disconnected."""


@dataclass(eq=False)
class Share:
    """One client's part: ``held`` returns its bytes, ``disconnect`` ends its connection."""

    held: Callable[[], int]
    disconnect: Callable[[], None]
    bytes_seen: int = 0


class ByteBudget:
    """The shares of all clients. One is measured when it grows, all of them when they may be too much."""

    def __init__(self, limit_bytes: int = HELD_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._shares: set[Share] = set()
        self.seen_bytes = 0
        """An upper bound of what is held: a share that shrinks is measured later."""

    def add(self, share: Share) -> None:
        """Count a client's bytes from now on."""
        self._shares.add(share)

    def remove(self, share: Share) -> None:
        """Stop counting a client's bytes."""
        self._shares.discard(share)
        self.seen_bytes -= share.bytes_seen
        share.bytes_seen = 0

    def update(self, share: Share) -> None:
        """Measure a share that grew; above the limit, disconnect the clients with most bytes."""
        if share not in self._shares:
            return
        self._measure(share)
        if self.seen_bytes <= self._limit_bytes:
            return
        for one in self._shares:
            self._measure(one)
        while self.seen_bytes > self._limit_bytes:
            most = max(self._shares, key=lambda one: one.bytes_seen)
            self.remove(most)
            most.disconnect()

    def _measure(self, share: Share) -> None:
        now_bytes = share.held()
        self.seen_bytes += now_bytes - share.bytes_seen
        share.bytes_seen = now_bytes
