"""The pace of a live engine: when simulated time is due on the wall clock, and what if it is late."""

from collections import deque
from typing import Final

MOST_BEHIND_NS: Final = 1_000_000_000
"""Simulated time makes up for so much; what it is behind beyond that is given up."""

FIRST_STEP_NS: Final = 100_000
LONGEST_STEP_NS: Final = 20_000_000
_LONG_NS: Final = 50_000_000
_RATIO_OVER_NS: Final = 1_000_000_000
_MARKS: Final = 1024


class Pace:
    """Keeps the deadlines of simulated time. All times are ns, ``wall_ns`` on a monotonic clock.

    A machine too slow for its traffic must neither hide it nor drown in it: simulated time runs as fast as
    it can, up to a second of delay is made up for later, and the rest is given up, counted. The time that
    passed is always simulated time + ``behind_ns`` + ``given_up_ns``.

    ``step_ns`` is how far simulated time should go at once. It is what takes some 50 ms of wall time at most,
    so that requests and readings have their turn, but never less than a whole round has frames for: a shorter
    one would cost nearly as much and do less.
    """

    def __init__(self, wall_ns: int) -> None:
        self.given_up_ns = 0
        self.step_ns = FIRST_STEP_NS
        self._zero_ns = wall_ns  # when simulated time 0 was due, later by what was given up
        self._marks: deque[tuple[int, int]] = deque(maxlen=_MARKS)

    def due_ns(self, sim_ns: int) -> int:
        """The wall time at which a simulated time is due."""
        return self._zero_ns + sim_ns

    def behind_ns(self, sim_ns: int, wall_ns: int) -> int:
        """How late simulated time is."""
        return max(0, wall_ns - self.due_ns(sim_ns))

    def stepped(self, sim_ns: int, wall_ns: int, took_ns: int, rounds: int) -> None:
        """Simulated time has come to ``sim_ns``, in a step of so many rounds."""
        if took_ns > _LONG_NS and rounds > 1:
            self.step_ns = max(self.step_ns * _LONG_NS // took_ns, self.step_ns // rounds, 1)
        elif took_ns < _LONG_NS // 2 or rounds <= 1:  # one round, however slow, may well have room for more
            self.step_ns = min(2 * self.step_ns, LONGEST_STEP_NS)
        late_ns = wall_ns - self.due_ns(sim_ns) - MOST_BEHIND_NS
        if late_ns > 0:
            self.given_up_ns += late_ns
            self._zero_ns += late_ns

    def start_over(self) -> None:
        """Other traffic: nothing is known of how long a step takes."""
        self.step_ns = FIRST_STEP_NS

    def real_time_ratio(self, sim_ns: int, wall_ns: int) -> float | None:
        """Simulated time by wall time since the readings of a second ago; None at the first one."""
        while len(self._marks) > 1 and wall_ns - self._marks[1][0] >= _RATIO_OVER_NS:
            self._marks.popleft()
        self._marks.append((wall_ns, sim_ns))
        since_wall_ns, since_sim_ns = self._marks[0]
        elapsed_ns = wall_ns - since_wall_ns
        return (sim_ns - since_sim_ns) / elapsed_ns if elapsed_ns else None
