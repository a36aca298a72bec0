"""A watch over the reply that is awaited: whoever keeps the conductor waiting too long is killed.

Its pipe ends then, like a dead one's. A thread of its own, so that waiting for a reply is one blocking read.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

_LOOKS: Final = 10  # within a deadline
_KILLED_AT: Final = 0.95  # of a deadline: by its end that is noticed and told
_GRACE: Final = 0.1  # of a deadline, at least, once the reply is awaited: it may just be on its way


class Watch:
    """Kills whoever lets nearly all of ``deadline_s`` pass, by ``kill``, called in the watch's thread.

    Time in which this process did not run (it was stopped, its machine slept) is nobody's fault.
    """

    def __init__(self, deadline_s: float, kill: Callable[[int], None]) -> None:
        self._deadline_s = deadline_s
        self._look_s = deadline_s / _LOOKS
        self._kill = kill
        self._ran: tuple[float, float] = (0.0, time.monotonic())  # so long, when it was last looked
        self._awaited: int | None = None
        self._until_s = 0.0
        self._hung = False
        self._deciding = threading.Lock()  # who has replied, or was replaced, is not killed any more
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmq-watch", daemon=True)
        self._thread.start()

    def ran_s(self) -> float:
        """Seconds that this process has run: those in which it stood still are left out."""
        ran_s, looked_s = self._ran
        return ran_s + min(time.monotonic() - looked_s, 2 * self._look_s)

    def begin(self, cpu: int, since_s: float) -> None:
        """A reply is awaited that this worker has owed since a time of ``ran_s``, if it was not before."""
        with self._deciding:
            if self._awaited == cpu:
                return
            self._hung = False
            self._awaited = cpu
            until_s = since_s + _KILLED_AT * self._deadline_s
            self._until_s = max(until_s, self.ran_s() + _GRACE * self._deadline_s)

    def is_late(self, since_s: float) -> bool:
        """Whether nearly all of a deadline has passed since a time of ``ran_s``."""
        return self.ran_s() >= since_s + _KILLED_AT * self._deadline_s

    def end(self) -> bool:
        """Nothing is awaited any more; whether the worker was killed."""
        with self._deciding:
            self._awaited = None
            return self._hung

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        wait_s = self._look_s
        while not self._closing.wait(wait_s):
            wait_s = self._look_s
            with self._deciding:
                ran_s = self.ran_s()
                self._ran = (ran_s, time.monotonic())
                if self._awaited is None:
                    continue
                if ran_s >= self._until_s:
                    self._hung = True
                    self._kill(self._awaited)
                else:
                    wait_s = min(wait_s, self._until_s - ran_s)
