"""When the worker of a processor that died is replaced: at once, later, or no more. No processes here."""

from collections import defaultdict, deque
from typing import Final

DELAYS_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0)
"""What the first, second, … replacement within a window waits; the death after the last one is final."""
WINDOW_S: Final = 60.0


class Replacements:
    """Remembers when workers died. ``now_s`` is on a monotonic clock."""

    def __init__(self) -> None:
        self._deaths: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=len(DELAYS_S) + 1))

    def died(self, cpu: int, now_s: float) -> float | None:
        """A worker died just now: in how many seconds the next one starts, None: it is given up."""
        deaths = self._deaths[cpu]
        deaths.append(now_s)
        while now_s - deaths[0] > WINDOW_S:
            deaths.popleft()
        return DELAYS_S[len(deaths) - 1] if len(deaths) <= len(DELAYS_S) else None

    def forgive(self, cpu: int | None = None) -> None:
        """Forget the deaths of a processor's workers, or of all."""
        if cpu is None:
            self._deaths.clear()
        else:
            self._deaths.pop(cpu, None)
