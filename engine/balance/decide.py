"""Decide which queues move, and where: a pure function of the loads since the last decision.

The scheme is that of Dynamic VMQ (Windows Server 2012 R2): a queue has a home processor, moves away while
home is overloaded, and moves back when the load at home is low. The load of a processor is its busy cycles
divided by its budget cycles. The cost of a queue is an estimate from its frames and bytes by the host's CPU
model.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from engine.scenario.model import BalancerSpec

LEAST_GAIN: Final = 0.05
"""Smallest reduction of the higher of the two loads that justifies a move; less is noise."""

Reason = Literal["scale_out", "scale_in"]
REASONS: Final[tuple[Reason, ...]] = ("scale_out", "scale_in")


class QueueKey(NamedTuple):
    """Identity of a queue: adapter index, queue id and generation, because ids are reused."""

    adapter: int
    queue_id: int
    generation: int


@dataclass(frozen=True)
class ProcessorLoad:
    """A processor in a window. ``load`` is busy cycles / budget cycles; ``usable``: VMQ may use it."""

    cpu: int
    numa_node: int
    usable: bool
    load: float
    budget_cycles: int


@dataclass(frozen=True)
class QueueLoad:
    """The cost of a queue in a window: ``cycles`` for interrupts, DPCs and frames, and ``copy_cycles`` for
    copying bytes on the adapter's NUMA node. ``movable``: it may move at all; ``rested``: its rest after the
    last move is over; ``barred``: processors that it must not move to, except home."""

    key: QueueKey
    cpu: int
    home_cpu: int
    numa_node: int
    cycles: float
    copy_cycles: float
    movable: bool
    rested: bool
    barred: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Move:
    """A move of a queue, with the loads before it and those expected after it, as shares of a processor's
    cycles in the window."""

    key: QueueKey
    source: int
    target: int
    reason: Reason
    queue_load: float
    source_load: float
    source_after: float
    target_load: float
    target_after: float

    def words(self, named: Callable[[int], str]) -> str:
        """Return the reason and the loads, in one phrase; ``named`` returns the name of a processor."""
        source, target = named(self.source), named(self.target)
        moved = (
            f"from {source} ({self.source_load:.0%} → {self.source_after:.0%})"
            f" to {target} ({self.target_load:.0%} → {self.target_after:.0%})"
        )
        if self.reason == "scale_out":
            return f"balancer, scale-out: {self.queue_load:.0%} of load {moved}"
        return f"balancer, scale-in: {self.queue_load:.0%} of load home {moved}"


class _PlannedLoads:
    """The loads expected after the moves planned so far."""

    def __init__(
        self, processors: Sequence[ProcessorLoad], queues: Sequence[QueueLoad], remote_copy_factor: float
    ) -> None:
        self.processors = {one.cpu: one for one in processors}
        self.queues = queues
        self.moves: list[Move] = []
        self._remote = remote_copy_factor
        self._moved: set[QueueKey] = set()
        asked = dict.fromkeys(self.processors, 0.0)
        for queue in queues:
            asked[queue.cpu] += self.share(queue, queue.cpu)
        # The measured load of an overloaded processor stops at 1; the sum of its queues does not.
        self.loads = {one.cpu: max(one.load, asked[one.cpu]) for one in processors}

    def share(self, queue: QueueLoad, cpu: int) -> float:
        """Return the share of processor ``cpu``'s cycles that ``queue`` would take."""
        processor = self.processors[cpu]
        if not processor.budget_cycles:
            return 0.0
        dearer = self._remote if processor.numa_node != queue.numa_node else 1.0
        return (queue.cycles + queue.copy_cycles * dearer) / processor.budget_cycles

    def may_move(self, queue: QueueLoad) -> bool:
        """Return whether a queue can move now."""
        return queue.movable and queue.rested and queue.key not in self._moved

    def foreseen(self, queue: QueueLoad, target: int, reason: Reason) -> Move:
        """Return the move of ``queue`` to ``target``, with the loads expected after it."""
        here, there = self.share(queue, queue.cpu), self.share(queue, target)
        source_load, target_load = self.loads[queue.cpu], self.loads[target]
        source_after = max(0.0, source_load - here)
        return Move(
            queue.key, queue.cpu, target, reason,
            here, source_load, source_after, target_load, target_load + there,
        )  # fmt: skip

    def make(self, move: Move) -> None:
        """Add a move to the plan."""
        self._moved.add(move.key)
        self.loads[move.source], self.loads[move.target] = move.source_after, move.target_after
        self.moves.append(move)


def decide(
    spec: BalancerSpec,
    processors: Sequence[ProcessorLoad],
    queues: Sequence[QueueLoad],
    remote_copy_factor: float = 1.0,
) -> list[Move]:
    """Return up to ``spec.max_moves`` moves to make now, at most one per queue, scale-out first.

    Scale-out: while the load of a processor is at least ``spec.scale_out``, move the queue that leaves the
    higher of the two loads lowest. The target is below ``spec.scale_out``, and on the adapter's NUMA node if
    a move there helps. The only busy queue of a processor stays, because no other processor has more cycles
    for it. Scale-in: move a queue home if the load there stays within ``spec.scale_in``. Ties go to the
    processor with fewer queues, then to the lower number.
    """
    plan = _PlannedLoads(processors, queues, remote_copy_factor)
    for source in sorted(processors, key=lambda one: (-plan.loads[one.cpu], one.cpu)):
        if source.load < spec.scale_out:
            continue
        while plan.loads[source.cpu] >= spec.scale_out and len(plan.moves) < spec.max_moves:
            best = _best_out(spec, plan, source)
            if best is None:
                break
            plan.make(best)
    away = [
        queue for queue in queues if queue.cpu != queue.home_cpu and plan.processors[queue.home_cpu].usable
    ]
    for queue in sorted(away, key=lambda one: (plan.share(one, one.home_cpu), one.key)):
        if len(plan.moves) == spec.max_moves:
            break
        if not plan.may_move(queue):
            continue
        home = plan.foreseen(queue, queue.home_cpu, "scale_in")
        if home.target_after <= spec.scale_in:
            plan.make(home)
    return plan.moves


def _best_out(spec: BalancerSpec, plan: _PlannedLoads, source: ProcessorLoad) -> Move | None:
    gone = {move.key for move in plan.moves}
    busy = [one for one in plan.queues if one.cpu == source.cpu and one.cycles > 0 and one.key not in gone]
    if len(busy) < 2:
        return None
    free = [
        one
        for one in plan.processors.values()
        if one.usable and one.cpu != source.cpu and plan.loads[one.cpu] < spec.scale_out
    ]
    near = _coolest(plan, free)
    best: tuple[tuple[bool, float, int, QueueKey], Move] | None = None
    for queue in busy:
        if not plan.may_move(queue):
            continue
        for cpu in near(queue):
            move = plan.foreseen(queue, cpu, "scale_out")
            higher = max(move.source_after, move.target_after)
            if move.source_load - higher < LEAST_GAIN:
                continue
            is_remote = plan.processors[cpu].numa_node != queue.numa_node
            rank = (is_remote, higher, cpu, queue.key)
            if best is None or rank < best[0]:
                best = rank, move
    return best[1] if best else None


def _coolest(plan: _PlannedLoads, free: Sequence[ProcessorLoad]) -> Callable[[QueueLoad], list[int]]:
    """Return a function from a queue to its candidates: the least loaded processor near and far.

    Near is on the NUMA node of the queue, far on any other node.
    """
    serving = Counter(queue.cpu for queue in plan.queues)
    by_load = sorted(free, key=lambda one: (plan.loads[one.cpu], serving[one.cpu], one.cpu))

    def worth(queue: QueueLoad) -> list[int]:
        fitting = [one for one in by_load if one.cpu not in queue.barred] if queue.barred else by_load
        here = next((one.cpu for one in fitting if one.numa_node == queue.numa_node), None)
        there = next((one.cpu for one in fitting if one.numa_node != queue.numa_node), None)
        return [cpu for cpu in (here, there) if cpu is not None]

    return worth


def barred(
    homes: Sequence[AbstractSet[int]],
    teams: Sequence[Sequence[int]],
    sets: Sequence[Collection[int] | None],
    cpus: AbstractSet[int],
) -> list[frozenset[int]]:
    """Return, for each adapter, the processors to which its queues must not move.

    These are the homes of its team mates and the processors outside its set. ``homes`` has, for each adapter,
    the home processors of its VM queues; ``teams`` has the adapter indexes of each team in mode "sum";
    ``sets`` has the processor set of each adapter, None if unknown, among the host's ``cpus``.
    """
    found = [frozenset() if known is None else frozenset(cpus) - frozenset(known) for known in sets]
    for members in teams:
        for one in members:
            found[one] = found[one].union(*(homes[other] for other in members if other != one))
    return found
