"""How often a client may ask or send: a bucket of tokens for each, one token a message."""

import time
from collections import OrderedDict
from collections.abc import Callable

from engine.bus.answers import CLIENT_LIMIT

REQUESTS_A_SECOND = 1024
REQUESTS_AT_ONCE = 4096


class Bucket:
    """``at_once`` tokens, and ``a_second`` more a second."""

    def __init__(self, at_once: float, a_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._a_second = a_second
        self._clock = clock
        self._left = at_once
        self._then = clock()

    def take(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock()
        self._left = min(self._at_once, self._left + (now - self._then) * self._a_second)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def owe(self, tokens: float) -> None:
        """Take tokens that there need not be yet."""
        self._left -= tokens


class RequestRates:
    """``take`` says whether a client may ask now: ``at_once`` times, and ``a_second`` more a second.

    Of 1,024 clients, those that asked last, it is known how much they have left; others have all of it.
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
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, client: str) -> bool:
        """Take a token of a client's, if there is one."""
        bucket = self._buckets.pop(client, None) or Bucket(self._at_once, self._a_second, self._clock)
        self._buckets[client] = bucket
        if len(self._buckets) > CLIENT_LIMIT:
            self._buckets.popitem(last=False)
        return bucket.take()
