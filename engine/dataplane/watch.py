"""A watch over the reply that is awaited: whoever keeps the conductor waiting too long is killed.

Its pipe ends then, like a dead one's. A thread of its own, so that waiting for a reply is one blocking read.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

_LOOKS: Final = 10  # within a deadline
_KILLED_AT: Final = 0.95  # of a deadline: by its end that is noticed and told


class Watch:
    """Kills whoever lets nearly all of ``deadline_s`` pass, by ``kill``, called in the watch's thread.

    Time in which this process did not run (it was stopped, its machine slept) is nobody's fault.
    """

    def __init__(self, deadline_s: float, kill: Callable[[int], None]) -> None:
        self._deadline_s = deadline_s
        self._kill = kill
        self._awaited: int | None = None
        self._until_s = 0.0
        self._hung = False
        self._deciding = threading.Lock()  # who has replied, or was replaced, is not killed any more
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmq-watch", daemon=True)
        self._thread.start()

    def begin(self, cpu: int) -> None:
        """A reply of this worker is awaited from now on."""
        with self._deciding:
            self._hung = False
            self._awaited = cpu
            self._until_s = time.monotonic() + _KILLED_AT * self._deadline_s

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
        look_s = self._deadline_s / _LOOKS
        wait_s, slept_s = look_s, time.monotonic()
        while not self._closing.wait(wait_s):
            now_s = time.monotonic()
            late_s = now_s - slept_s - wait_s
            wait_s, slept_s = look_s, now_s
            with self._deciding:
                if self._awaited is None:
                    continue
                if late_s > look_s:
                    self._until_s += late_s
                if now_s >= self._until_s:
                    self._hung = True
                    self._kill(self._awaited)
                else:
                    wait_s = min(look_s, self._until_s - now_s)
