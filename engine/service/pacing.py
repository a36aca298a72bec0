"""Clocks: how fast a live engine's simulated time passes, and when readings are due."""

from collections import deque
from typing import Final, Literal, get_args

ClockName = Literal["real", "fast", "manual"]
"""The clock of an engine: "real" follows the wall clock, "fast" passes as quickly as the machine computes,
"manual" stands still but while it is advanced."""
CLOCKS: Final[tuple[ClockName, ...]] = get_args(ClockName)

MOST_BEHIND_NS: Final = 1_000_000_000
"""Largest delay that simulated time catches up with; any further delay is given up."""

FIRST_STEP_NS: Final = 100_000
LONGEST_STEP_NS: Final = 20_000_000
_LONG_NS: Final = 50_000_000
_RATIO_OVER_NS: Final = 1_000_000_000
_MARKS: Final = 1024


LONGEST_FREE_STEP_NS: Final = 250_000_000
FAST_READINGS_A_SECOND: Final = 20
"""Readings of a fast clock that are published, for each second of wall time."""


class Pacer:
    """A clock that no wall clock drives: every simulated time is due at once. All times are in ns.

    Its steps have a fixed length, so that everything happens at the same simulated times on every run.
    """

    paced = False
    """Whether the wall clock drives simulated time."""

    def __init__(self) -> None:
        self.given_up_ns = 0
        self.step_ns = LONGEST_FREE_STEP_NS

    def due_ns(self, sim_ns: int) -> int:
        """The wall time at which a simulated time is due."""
        return 0

    def behind_ns(self, sim_ns: int, wall_ns: int) -> int:
        """Delay of simulated time behind the wall clock, 0 if it is on time."""
        return 0

    def stepped(self, sim_ns: int, wall_ns: int, took_ns: int, rounds: int) -> None:
        """Record a step to ``sim_ns`` that took ``rounds`` rounds."""

    def start_over(self) -> None:
        """Reset the step length because the traffic has changed."""

    def may_publish(self, wall_ns: int) -> bool:
        """Return whether a reading that is due may be published."""
        return True

    def real_time_ratio(self, sim_ns: int, wall_ns: int) -> float | None:
        """Simulated time / wall time over about the last second; None if unknown."""
        return None

    def _adapt_step(self, took_ns: int, rounds: int, longest_ns: int) -> None:
        """Adapt ``step_ns``, so that a step takes at most 50 ms, but is at least a whole round."""
        if took_ns > _LONG_NS and rounds > 1:
            self.step_ns = max(self.step_ns * _LONG_NS // took_ns, self.step_ns // rounds, 1)
        elif took_ns < _LONG_NS // 2 or rounds <= 1:  # even a slow round may not have been full
            self.step_ns = min(2 * self.step_ns, longest_ns)


class FastPacer(Pacer):
    """A clock that passes as quickly as the machine computes, in steps that don't delay requests.

    It publishes a bounded number of readings; all others are taken too, so that events don't depend on the
    machine's speed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.step_ns = FIRST_STEP_NS
        self._published_ns = 0

    def stepped(self, sim_ns: int, wall_ns: int, took_ns: int, rounds: int) -> None:
        """Record a step to ``sim_ns`` that took ``rounds`` rounds; adapt ``step_ns``."""
        self._adapt_step(took_ns, rounds, LONGEST_FREE_STEP_NS)

    def start_over(self) -> None:
        """Reset the step length because the traffic has changed."""
        self.step_ns = FIRST_STEP_NS

    def may_publish(self, wall_ns: int) -> bool:
        """Return whether enough wall time has passed since a reading was published."""
        if wall_ns - self._published_ns < 1_000_000_000 // FAST_READINGS_A_SECOND:
            return False
        self._published_ns = wall_ns
        return True


class RealTimePacer(Pacer):
    """Maps simulated time to the wall clock. All times are in ns; ``wall_ns`` is monotonic time.

    If the machine is too slow for its traffic, simulated time runs as fast as it can. It catches up with up
    to a second of delay and gives up the rest, so that the elapsed wall time always equals simulated time +
    ``behind_ns`` + ``given_up_ns``.

    ``step_ns`` is how far to advance simulated time in one step: at most 50 ms of wall time, so that requests
    and readings are not delayed, but at least a whole round, because a shorter one costs nearly as much.
    """

    paced = True

    def __init__(self, wall_ns: int) -> None:
        super().__init__()
        self.step_ns = FIRST_STEP_NS
        self._zero_ns = wall_ns  # due time of simulated time 0, plus given_up_ns
        self._marks: deque[tuple[int, int]] = deque(maxlen=_MARKS)

    def due_ns(self, sim_ns: int) -> int:
        """The wall time at which a simulated time is due."""
        return self._zero_ns + sim_ns

    def behind_ns(self, sim_ns: int, wall_ns: int) -> int:
        """Delay of simulated time behind the wall clock, 0 if it is on time."""
        return max(0, wall_ns - self.due_ns(sim_ns))

    def stepped(self, sim_ns: int, wall_ns: int, took_ns: int, rounds: int) -> None:
        """Record a step to ``sim_ns`` that took ``rounds`` rounds; adapt ``step_ns`` and ``given_up_ns``."""
        self._adapt_step(took_ns, rounds, LONGEST_STEP_NS)
        late_ns = wall_ns - self.due_ns(sim_ns) - MOST_BEHIND_NS
        if late_ns > 0:
            self.given_up_ns += late_ns
            self._zero_ns += late_ns

    def start_over(self) -> None:
        """Reset the step length because the traffic has changed."""
        self.step_ns = FIRST_STEP_NS

    def real_time_ratio(self, sim_ns: int, wall_ns: int) -> float | None:
        """Simulated time / wall time over about the last second; None at the first call."""
        while len(self._marks) > 1 and wall_ns - self._marks[1][0] >= _RATIO_OVER_NS:
            self._marks.popleft()
        self._marks.append((wall_ns, sim_ns))
        since_wall_ns, since_sim_ns = self._marks[0]
        elapsed_ns = wall_ns - since_wall_ns
        return (sim_ns - since_sim_ns) / elapsed_ns if elapsed_ns else None


class Ticks:
    """Due times of one kind of reading: each interval of simulated time, and if the wall clock drives that
    (``paced``), at the latest one and a half intervals of wall time after the previous reading."""

    def __init__(self, interval_ns: int, wall_ns: int, paced: bool) -> None:
        self._interval_ns = interval_ns
        self._paced = paced
        self._taken_wall_ns = wall_ns
        self.at_ns = interval_ns

    def take(self, sim_ns: int, wall_ns: int) -> bool:
        """Return whether a reading is due now; if so, schedule the next one."""
        on_time = sim_ns >= self.at_ns
        due = on_time or (self._paced and 2 * (wall_ns - self._taken_wall_ns) >= 3 * self._interval_ns)
        if due:
            self._taken_wall_ns = wall_ns
        if on_time:
            self.at_ns += self._interval_ns
        return due


def pacer(clock: ClockName, wall_ns: int) -> Pacer:
    """Make the pacer of a clock that starts now, at the monotonic time ``wall_ns``."""
    if clock == "real":
        return RealTimePacer(wall_ns)
    return FastPacer() if clock == "fast" else Pacer()
