"""The conductor: takes frames from a source and hands them to the shards, round after round."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engine.kernels.layout import BATCHES, NEVER_NS
from engine.traffic.batch import Source
from engine.workers.rounds import MOST_AHEAD, MOST_UNDER_WAY, Part, Rounds


@dataclass(frozen=True)
class _Batch:
    """Frames of a source, and the time up to which they are complete."""

    part: Part
    until_ns: int
    last: bool


class Conductor:
    """Moves a data plane through simulated time, in one thread; the caller closes the source.

    After an error, of the source or another, it and its rounds can't be used any more.
    """

    def __init__(self, rounds: Rounds, source: Source | None = None) -> None:
        self._rounds = rounds
        self._plane = rounds.plane
        self._next_batch = 0
        self.source = source
        self.next_arrival_ns = 0
        """No frame that has not been received arrives before."""

    def run_to(
        self, horizon_ns: int, after_round: Callable[[], None] = lambda: None, *, or_to_end: bool = False
    ) -> None:
        """Receive every frame that arrives before a time, and carry out all events before it.

        ``or_to_end``: where no frame comes at that time or later, go on until nothing is pending or
        outstanding instead; ``next_arrival_ns`` is then NEVER_NS.

        The shards serve one batch and steer the one after the next, which has been steered already; so orders
        for two rounds are out at a time, and no shard waits for another. Meanwhile the source fills one more.
        ``after_round`` runs after each round; the plane is at rest then if ``Rounds.held_apart`` is set.
        """
        rounds = self._rounds
        ahead: deque[_Batch] = deque()  # steered, or being steered

        def end_round() -> None:
            if rounds.end():
                after_round()

        more = True
        while more or ahead:
            while rounds.under_way == MOST_UNDER_WAY:
                end_round()
            filled = self._fill(horizon_ns, or_to_end) if more else None
            while rounds.under_way and rounds.apart:
                end_round()
            if len(ahead) == MOST_AHEAD or not more:
                batch = ahead.popleft()
                while rounds.under_way and not rounds.has_steered(batch.part):
                    end_round()
                rounds.begin(batch.part, batch.until_ns, filled.part if filled else None)
            elif filled:
                rounds.steer(filled.part)
            if filled:
                ahead.append(filled)
                more = not filled.last
        while rounds.under_way:
            end_round()

    def run_to_end(self, after_round: Callable[[], None] = lambda: None) -> None:
        """Receive all frames, and continue until none is pending or outstanding."""
        self.run_to(NEVER_NS, after_round)
        while self._plane.next_event_ns < NEVER_NS:  # a worker was replaced in the last round
            self.run_to(NEVER_NS, after_round)

    def _fill(self, horizon_ns: int, or_to_end: bool) -> _Batch:
        number = self._next_batch
        end_ns = NEVER_NS if or_to_end else horizon_ns
        if self.source is None:
            self.next_arrival_ns = NEVER_NS
            return _Batch(Part(number, 0), end_ns, True)
        room = self._plane.batches[number]
        filled = self.source.fill(room, horizon_ns)
        self.next_arrival_ns = NEVER_NS if filled.next_ns is None else filled.next_ns
        if filled.next_ns is None and filled.frames == 0:
            self.source = None
        self._next_batch = (number + 1) % BATCHES
        last = filled.next_ns is None or filled.next_ns >= horizon_ns
        until_ns = end_ns if filled.next_ns is None else horizon_ns
        if not last:
            until_ns = int(room.arrival_ns[filled.frames - 1]) if filled.frames else self._plane.now_ns
        return _Batch(Part(number, filled.frames), until_ns, last)
