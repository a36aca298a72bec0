"""What was seen of one thing while somebody looked at it: a point a second, by simulated time."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence

POINTS = 4200
"""Seconds kept: seventy minutes."""
SECOND_NS = 1_000_000_000


class Trail:
    """Values by name at each second of simulated time at which they were noted."""

    def __init__(self) -> None:
        self._of: Hashable = None
        self._seen: OrderedDict[int, dict[str, float | None]] = OrderedDict()

    def note(self, of: Hashable, sim_time_ns: int, values: dict[str, float | None]) -> None:
        """Note what is shown of something now; of another thing, or of a new run, it begins anew."""
        if of != self._of:
            self._of = of
            self._seen.clear()
        self._seen[sim_time_ns // SECOND_NS] = values
        while len(self._seen) > POINTS:
            self._seen.popitem(last=False)

    def last(self, name: str, count: int, sim_time_ns: int) -> Sequence[float | None]:
        """The ``count`` seconds up to a moment, oldest first; None where nobody looked."""
        end = sim_time_ns // SECOND_NS
        return [self._seen.get(at, {}).get(name) for at in range(end - count + 1, end + 1)]
