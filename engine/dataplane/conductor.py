"""The conductor: takes frames from a source and hands them to the shards, round after round."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.dataplane.layout import BATCHES, NEVER_NS
from engine.dataplane.rounds import Part, Rounds
from engine.traffic.batch import Source


@dataclass(frozen=True)
class _Batch:
    """What a source wrote, and up to when that is all there is."""

    part: Part
    until_ns: int
    last: bool


class Conductor:
    """Moves a data plane through simulated time. One thread's; the source is closed by who made it."""

    def __init__(self, rounds: Rounds, source: Source | None = None) -> None:
        self._rounds = rounds
        self._plane = rounds.plane
        self._next_batch = 0
        self.source = source

    def run_to(self, horizon_ns: int, after_round: Callable[[], None] = lambda: None) -> None:
        """Receive every frame that arrives before a time, and do all that happens before it.

        The shards serve one batch and steer the following one while the source fills a third.
        ``after_round`` runs between rounds.
        """
        batch: _Batch | None = self._fill(horizon_ns)
        following = self._fill_behind(batch, horizon_ns)
        while batch is not None:
            self._rounds.begin(batch.part, batch.until_ns, following.part if following else None)
            try:
                third = self._fill_behind(following, horizon_ns)
            finally:
                self._rounds.end()
            after_round()
            batch, following = following, third

    def run_to_end(self, after_round: Callable[[], None] = lambda: None) -> None:
        """Receive every frame there is, and go on until nothing is pending or outstanding."""
        self.run_to(NEVER_NS, after_round)
        while self._plane.next_event_ns < NEVER_NS:  # a worker was replaced in the last round
            self.run_to(NEVER_NS, after_round)

    def _fill_behind(self, batch: _Batch | None, horizon_ns: int) -> _Batch | None:
        """The batch that comes after another, if one does."""
        return None if batch is None or batch.last else self._fill(horizon_ns)

    def _fill(self, horizon_ns: int) -> _Batch:
        number = self._next_batch
        if self.source is None:
            return _Batch(Part(number, 0), horizon_ns, True)
        room = self._plane.batches[number]
        filled = self.source.fill(room, horizon_ns)
        if filled.next_ns is None and filled.frames == 0:
            self.source = None
        self._next_batch = (number + 1) % BATCHES
        last = filled.next_ns is None or filled.next_ns >= horizon_ns
        until_ns = horizon_ns
        if not last:
            until_ns = int(room.arrival_ns[filled.frames - 1]) if filled.frames else self._plane.now_ns
        return _Batch(Part(number, filled.frames), until_ns, last)
