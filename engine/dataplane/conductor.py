"""The conductor: takes frames from a source and hands them to the shards, round after round."""

from collections.abc import Callable

from engine.dataplane.layout import HALVES, NEVER_NS
from engine.dataplane.plane import Plane
from engine.traffic.batch import Filled, Source


class Conductor:
    """Moves a data plane through simulated time. One thread's; the source is closed by who made it."""

    def __init__(self, plane: Plane, source: Source | None = None) -> None:
        self._plane = plane
        self._half = 0
        self.source = source

    def run_to(self, horizon_ns: int, after_round: Callable[[], None] = lambda: None) -> None:
        """Receive every frame that arrives before a time, and do all that happens before it.

        The shards serve one batch while the source fills the other. ``after_round`` runs between
        rounds.
        """
        filled = self._fill(horizon_ns)
        while True:
            half = self._half
            self._half = (half + 1) % HALVES
            last = filled.next_ns is None or filled.next_ns >= horizon_ns
            frames = filled.frames
            if last:
                until_ns = horizon_ns
            elif frames:
                until_ns = int(self._plane.batches[half].arrival_ns[frames - 1])
            else:
                until_ns = self._plane.now_ns
            self._plane.begin_round(half, frames, until_ns)
            try:
                if not last:
                    filled = self._fill(horizon_ns)
            finally:
                self._plane.end_round()
            after_round()
            if last:
                return

    def run_to_end(self, after_round: Callable[[], None] = lambda: None) -> None:
        """Receive every frame there is, and go on until nothing is pending or outstanding."""
        self.run_to(NEVER_NS, after_round)
        while self._plane.next_event_ns < NEVER_NS:  # a worker was replaced in the last round
            self.run_to(NEVER_NS, after_round)

    def _fill(self, until_ns: int) -> Filled:
        if self.source is None:
            return Filled(0, None)
        filled = self.source.fill(self._plane.batches[self._half], until_ns)
        if filled.next_ns is None and filled.frames == 0:
            self.source = None
        return filled
