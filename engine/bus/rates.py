"""How often a client may ask."""

import time
from collections import OrderedDict
from collections.abc import Callable

from engine.bus.answers import CLIENT_LIMIT
from engine.mqtt.limits import TokenBucket

REQUESTS_A_SECOND = 1024
REQUESTS_AT_ONCE = 4096


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
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, client: str) -> bool:
        """Take a token of a client's, if there is one."""
        bucket = self._buckets.pop(client, None) or TokenBucket(self._at_once, self._a_second, self._clock)
        self._buckets[client] = bucket
        if len(self._buckets) > CLIENT_LIMIT:
            self._buckets.popitem(last=False)
        return bucket.take()
