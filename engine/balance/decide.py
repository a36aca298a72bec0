"""Decide which queues move, and where: a pure function of the loads since the last decision.

The scheme is Dynamic VMQ's (Windows Server 2012 R2): a queue has a home processor, moves away while that is
overloaded, and back when its load is low. A processor's load is busy cycles by budget cycles; the cost of a
queue is estimated from its frames and bytes with the host's CPU model.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from engine.ndis.processors import processor_name
from engine.scenario.model import BalancerSpec

LEAST_GAIN: Final = 0.05
"""The least by which a move must lower the higher of the two loads; less is noise."""

Reason = Literal["scale_out", "scale_in"]
REASONS: Final[tuple[Reason, ...]] = ("scale_out", "scale_in")


class QueueKey(NamedTuple):
    """A queue, told apart from later ones with its id: adapter's index, id, generation."""

    adapter: int
    queue_id: int
    generation: int


@dataclass(frozen=True)
class ProcessorLoad:
    """The load of a processor in a window: busy by budget cycles. ``usable``: VMQ may use it."""

    cpu: int
    numa_node: int
    usable: bool
    load: float
    budget_cycles: int


@dataclass(frozen=True)
class QueueLoad:
    """The load of a queue in a window: the cycles that its frames take, and those for copying bytes, on its
    adapter's own NUMA node. ``rested``: it may move again; ``movable``: it may move at all; ``barred``: the
    processors that it may not move to, except home."""

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
    """A queue's move and the loads it was decided on: shares of a processor's cycles in the window, and
    those expected after the move."""

    key: QueueKey
    source: int
    target: int
    reason: Reason
    queue_load: float
    source_load: float
    source_after: float
    target_load: float
    target_after: float

    @property
    def words(self) -> str:
        """The reason, in a sentence."""
        source, target = processor_name(self.source), processor_name(self.target)
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
        """The share of a processor's cycles that a queue would take there."""
        processor = self.processors[cpu]
        if not processor.budget_cycles:
            return 0.0
        dearer = self._remote if processor.numa_node != queue.numa_node else 1.0
        return (queue.cycles + queue.copy_cycles * dearer) / processor.budget_cycles

    def may_move(self, queue: QueueLoad) -> bool:
        """Whether a queue can be moved now."""
        return queue.movable and queue.rested and queue.key not in self._moved

    def foreseen(self, queue: QueueLoad, target: int, reason: Reason) -> Move:
        """The move of a queue, with the loads expected after it."""
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
    """The moves to make now, at most ``spec.max_moves``, each queue once; the urgent ones first.

    Scale-out: while a processor's load is ``spec.scale_out`` or more, the queue moves whose move leaves the
    higher of the two loads lowest: to a processor below that, on the adapter's NUMA node where one helps. Not
    the only busy queue of a processor: it would have no more anywhere else. Scale-in: a queue moves home,
    where its home comes to ``spec.scale_in`` at most with it. Where moves are equal, a processor of fewer
    queues counts, and then the lowest number.
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
    """Candidate processors of a queue: the least loaded one of its NUMA node, and of the other nodes."""
    serving = Counter(queue.cpu for queue in plan.queues)
    by_load = sorted(free, key=lambda one: (plan.loads[one.cpu], serving[one.cpu], one.cpu))

    def worth(queue: QueueLoad) -> list[int]:
        fitting = [one for one in by_load if one.cpu not in queue.barred] if queue.barred else by_load
        here = next((one.cpu for one in fitting if one.numa_node == queue.numa_node), None)
        there = next((one.cpu for one in fitting if one.numa_node != queue.numa_node), None)
        return [cpu for cpu in (here, there) if cpu is not None]

    return worth


def barred(homes: Sequence[AbstractSet[int]], teams: Sequence[Sequence[int]]) -> list[frozenset[int]]:
    """By adapter: the processors that its queues may not move away to.

    ``homes`` are those of each adapter's VMs' queues, ``teams`` the members of each team in mode "sum".
    """
    found: list[frozenset[int]] = [frozenset()] * len(homes)
    for members in teams:
        for one in members:
            found[one] = frozenset().union(*(homes[other] for other in members if other != one))
    return found
