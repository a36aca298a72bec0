"""How often a client may ask: a bucket of tokens for each, one token a message."""

import time
from collections import OrderedDict
from collections.abc import Callable

from engine.bus.answers import CLIENT_LIMIT

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
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, as of a time

    def take(self, client: str) -> bool:
        """Take a token of a client's, if there is one."""
        now = self._clock()
        left, then = self._left.pop(client, (self._at_once, now))
        left = min(self._at_once, left + (now - then) * self._a_second)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > CLIENT_LIMIT:
            self._left.popitem(last=False)
        return allowed
