"""When the worker of a processor that died is replaced: at once, or after growing pauses; pure."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

DELAYS_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0)
"""What the first, second, … replacement within a window waits."""
WINDOW_S: Final = 60.0
PAUSES_S: Final = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""What the first, second, … replacement waits after more deaths in a window; the last one recurs."""


@dataclass
class _Record:
    """When workers of a processor died; how many replacements were put off since it has kept dying, and when
    the last of them was due."""

    deaths: "deque[float]" = field(default_factory=lambda: deque(maxlen=len(DELAYS_S)))
    pauses: int = 0
    due_s: float = 0.0


class Replacements:
    """Remembers when workers died. ``now_s`` is on a monotonic clock."""

    def __init__(self) -> None:
        self._records: defaultdict[int, _Record] = defaultdict(_Record)

    def died(self, cpu: int, now_s: float) -> float:
        """A worker died just now: in how many seconds the next one starts."""
        record = self._records[cpu]
        if record.pauses and now_s - record.due_s > WINDOW_S:  # the last one stayed for so long
            record.pauses = 0
            record.deaths.clear()
        while record.deaths and now_s - record.deaths[0] > WINDOW_S:
            record.deaths.popleft()
        if not record.pauses and len(record.deaths) < len(DELAYS_S):
            record.deaths.append(now_s)
            return DELAYS_S[len(record.deaths) - 1]
        delay_s = PAUSES_S[min(record.pauses, len(PAUSES_S) - 1)]
        record.pauses += 1
        record.due_s = now_s + delay_s
        return delay_s

    def keeps_dying(self, cpu: int) -> bool:
        """Whether the replacement of a processor's worker has been put off by a pause."""
        return self._records[cpu].pauses > 0

    def forgive(self, cpu: int | None = None) -> None:
        """Forget the deaths of a processor's workers, or of all."""
        if cpu is None:
            self._records.clear()
        else:
            self._records.pop(cpu, None)
