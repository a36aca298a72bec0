"""A limit of messages a second: a bucket of tokens, one token a message."""

import time
from collections.abc import Callable


class TokenBucket:
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

    def wait_s(self) -> float:
        """Seconds until there is a token."""
        return max(0.0, (1 - self._left) / self._a_second - (self._clock() - self._then))

    def owe(self, tokens: float) -> None:
        """Take tokens that there need not be yet."""
        self._left -= tokens
