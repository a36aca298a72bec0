"""How many bytes the broker holds for its clients: packets on their way in, and what they leave unread."""

from collections.abc import Callable
from dataclasses import dataclass

HELD_LIMIT_BYTES = 256 << 20
"""Of all clients together; the one with most of them is let go of."""


@dataclass(eq=False)
class Share:
    """What is held for a client: ``unread`` says how much it has not read, ``let_go`` ends its connection."""

    unread: Callable[[], int]
    let_go: Callable[[], None]
    coming_bytes: int = 0
    bytes_seen: int = 0


class Held:
    """The shares of all clients. Each is looked at when it grows, all of them when they may be too much."""

    def __init__(self, limit_bytes: int = HELD_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._shares: set[Share] = set()
        self._seen_bytes = 0  # what is held at most: shares shrink unseen

    def add(self, share: Share) -> None:
        """Count a client's bytes from now on."""
        self._shares.add(share)

    def remove(self, share: Share) -> None:
        """It is gone, and its bytes with it."""
        self._shares.discard(share)
        self._seen_bytes -= share.bytes_seen
        share.bytes_seen = 0

    def grew(self, share: Share) -> None:
        """See what a client has now; where all have too much, those with most of it go."""
        if share not in self._shares:
            return
        self._see(share)
        if self._seen_bytes <= self._limit_bytes:
            return
        for one in self._shares:
            self._see(one)
        while self._seen_bytes > self._limit_bytes:
            most = max(self._shares, key=lambda one: one.bytes_seen)
            self.remove(most)
            most.let_go()

    def _see(self, share: Share) -> None:
        now_bytes = share.unread() + share.coming_bytes
        self._seen_bytes += now_bytes - share.bytes_seen
        share.bytes_seen = now_bytes
