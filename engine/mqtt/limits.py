"""Limits on clients: memory across all of them, and packets per second for each."""

import time
from collections.abc import Callable
from dataclasses import dataclass

HELD_LIMIT_BYTES = 256 << 20
"""Memory limit across all clients; above it, the client that uses the most is disconnected."""


@dataclass(eq=False)
class Share:
    """Memory used for one client: ``held`` returns its bytes, ``disconnect`` ends its connection."""

    held: Callable[[], int]
    disconnect: Callable[[], None]
    bytes_seen: int = 0


class ByteBudget:
    """Limits the bytes held for all clients. A share is measured when it grows; if the sum of the last
    measurements exceeds the limit, all shares are measured again."""

    def __init__(self, limit_bytes: int = HELD_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._shares: set[Share] = set()
        self.seen_bytes = 0
        """An upper bound of the bytes held, because a share that shrinks is measured later."""

    def add(self, share: Share) -> None:
        """Start counting a client's bytes."""
        self._shares.add(share)

    def remove(self, share: Share) -> None:
        """Stop counting a client's bytes."""
        self._shares.discard(share)
        self.seen_bytes -= share.bytes_seen
        share.bytes_seen = 0

    def update(self, share: Share) -> None:
        """Measure a share that grew; above the limit, disconnect the largest clients until the sum fits."""
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


class TokenBucket:
    """A token bucket: holds up to ``at_once`` tokens, and gains ``a_second`` tokens per second."""

    def __init__(self, at_once: float, a_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._a_second = a_second
        self._clock = clock
        self._left = at_once
        self._then = clock()

    def take(self) -> bool:
        """Take a token; return False if none is available."""
        now = self._clock()
        self._left = min(self._at_once, self._left + (now - self._then) * self._a_second)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait_s(self) -> float:
        """Seconds until a token is available."""
        return max(0.0, (1 - self._left) / self._a_second - (self._clock() - self._then))

    def owe(self, tokens: float) -> None:
        """Charge tokens for work already done; the balance may become negative."""
        self._left -= tokens
