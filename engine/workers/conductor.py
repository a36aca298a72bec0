"""The conductor: reads frames from a source and distributes them to the shards, round by round."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engine.kernels.layout import BATCHES, NEVER_NS
from engine.traffic.batch import Source
from engine.traffic.injected import Injected
from engine.workers.rounds import MOST_AHEAD, MOST_UNDER_WAY, Part, Rounds


@dataclass(frozen=True)
class _Batch:
    """Frames of a source; no other frame arrives before ``until_ns``."""

    part: Part
    until_ns: int
    last: bool


class Conductor:
    """Moves a data plane through simulated time, in one thread; the caller closes the source.

    Frames of ``injected`` arrive among those of the source.

    After any exception, it and its rounds must not be used any more.
    """

    def __init__(
        self, rounds: Rounds, source: Source | None = None, injected: Injected | None = None
    ) -> None:
        self._rounds = rounds
        self._plane = rounds.plane
        self._next_batch = 0
        self.source = source
        self._injected = injected
        self.next_arrival_ns = 0
        """A lower bound of the arrival of the first frame not received yet."""

    @property
    def is_fed(self) -> bool:
        """Whether any frame may still come: there is a source, or frames from memory wait."""
        return self.source is not None or bool(self._injected)

    def run_to(
        self, horizon_ns: int, after_round: Callable[[], None] = lambda: None, *, or_to_end: bool = False
    ) -> None:
        """Receive every frame that arrives before ``horizon_ns``, and process all events before it.

        ``or_to_end``: if the source ends before that time, continue until nothing is pending or outstanding;
        ``next_arrival_ns`` is then NEVER_NS.

        In a round the shards serve batch n and steer batch n + 2; batch n + 1 has been steered already. So
        orders for two rounds can be out, no shard waits for another, and the source fills one more batch.
        ``after_round`` runs after each round; no shard runs then if ``Rounds.held_apart`` is set.
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
        """Receive all frames, and continue until none is pending and no buffer is outstanding."""
        self.run_to(NEVER_NS, after_round)
        while self._plane.next_event_ns < NEVER_NS:  # a worker was replaced in the last round
            self.run_to(NEVER_NS, after_round)

    def _fill(self, horizon_ns: int, or_to_end: bool) -> _Batch:
        number = self._next_batch
        end_ns = NEVER_NS if or_to_end else horizon_ns
        injected = self._injected
        if self.source is None and not injected:
            self.next_arrival_ns = NEVER_NS
            return _Batch(Part(number, 0), end_ns, True)
        room = self._plane.batches[number]
        if injected:
            filled = injected.fill(self.source, room, horizon_ns)
            has_ended = injected.source_ended
        else:
            assert self.source is not None
            filled = self.source.fill(room, horizon_ns)
            has_ended = filled.next_ns is None and filled.frames == 0
        self.next_arrival_ns = NEVER_NS if filled.next_ns is None else filled.next_ns
        if has_ended:
            self.source = None
        self._next_batch = (number + 1) % BATCHES
        last = filled.next_ns is None or filled.next_ns >= horizon_ns
        until_ns = end_ns if filled.next_ns is None else horizon_ns
        if not last:
            until_ns = int(room.arrival_ns[filled.frames - 1]) if filled.frames else self._plane.now_ns
        return _Batch(Part(number, filled.frames), until_ns, last)
