"""What to move, and where: a pure function of what processors and queues did since the last decision.

The scheme is Dynamic VMQ's (Windows Server 2012 R2): a queue has a home processor, moves away from it while
that has too much to do, and back when it has little. A processor's load is busy by budget cycles; what a
queue costs is reckoned from its frames and bytes by the host's CPU model.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from engine.ndis.processors import processor_name
from engine.scenario.model import BalancerSpec

LEAST_GAIN: Final = 0.05
"""A move must lower the higher of the two loads by so much of a processor: less is noise."""

Reason = Literal["scale_out", "scale_in"]
REASONS: Final[tuple[Reason, ...]] = ("scale_out", "scale_in")


class QueueKey(NamedTuple):
    """A queue for as long as it exists: adapter's index, id, generation."""

    adapter: int
    queue_id: int
    generation: int


@dataclass(frozen=True)
class Processor:
    """A processor over a window. ``load`` is busy by budget cycles; ``usable``: VMQ may use it."""

    cpu: int
    numa_node: int
    usable: bool
    load: float
    budget_cycles: int


@dataclass(frozen=True)
class Served:
    """A queue over a window: cycles that all that came for it takes, those that copy bytes apart, as on its
    adapter's own NUMA node. ``rested``: it may move again; ``movable``: it may move at all; ``barred``: it
    moves to none of these, but home."""

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
    """A queue's move and the numbers it was decided by: shares of a processor's cycles in the window, those
    after it foreseen."""

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
        """Why, in a sentence."""
        source, target = processor_name(self.source), processor_name(self.target)
        moved = (
            f"from {source} ({self.source_load:.0%} → {self.source_after:.0%})"
            f" to {target} ({self.target_load:.0%} → {self.target_after:.0%})"
        )
        if self.reason == "scale_out":
            return f"balancer, scale-out: {self.queue_load:.0%} of load {moved}"
        return f"balancer, scale-in: {self.queue_load:.0%} of load home {moved}"


class _Plan:
    """The loads as they would be after the moves so far."""

    def __init__(
        self, processors: Sequence[Processor], queues: Sequence[Served], remote_copy_factor: float
    ) -> None:
        self.processors = {one.cpu: one for one in processors}
        self.queues = queues
        self.moves: list[Move] = []
        self._remote = remote_copy_factor
        self._moved: set[QueueKey] = set()
        asked = dict.fromkeys(self.processors, 0.0)
        for queue in queues:
            asked[queue.cpu] += self.share(queue, queue.cpu)
        # Where more comes than a processor can do, its load stops at 1 and does not tell how much more.
        self.loads = {one.cpu: max(one.load, asked[one.cpu]) for one in processors}

    def share(self, queue: Served, cpu: int) -> float:
        """A queue's part of a processor's cycles, if that served it."""
        processor = self.processors[cpu]
        if not processor.budget_cycles:
            return 0.0
        dearer = self._remote if processor.numa_node != queue.numa_node else 1.0
        return (queue.cycles + queue.copy_cycles * dearer) / processor.budget_cycles

    def may_move(self, queue: Served) -> bool:
        """Whether a queue can be moved now."""
        return queue.movable and queue.rested and queue.key not in self._moved

    def foreseen(self, queue: Served, target: int, reason: Reason) -> Move:
        """What moving a queue would do."""
        here, there = self.share(queue, queue.cpu), self.share(queue, target)
        source_load, target_load = self.loads[queue.cpu], self.loads[target]
        source_after = max(0.0, source_load - here)
        return Move(
            queue.key, queue.cpu, target, reason,
            here, source_load, source_after, target_load, target_load + there,
        )  # fmt: skip

    def make(self, move: Move) -> None:
        """Count on a move from here on."""
        self._moved.add(move.key)
        self.loads[move.source], self.loads[move.target] = move.source_after, move.target_after
        self.moves.append(move)


def decide(
    spec: BalancerSpec,
    processors: Sequence[Processor],
    queues: Sequence[Served],
    remote_copy_factor: float = 1.0,
) -> list[Move]:
    """The moves to make now, at most ``spec.max_moves``, each queue once; the urgent ones first.

    Scale-out: while a processor's load is ``spec.scale_out`` or more, the queue moves whose move leaves the
    higher of the two loads lowest: to a processor below that, on the adapter's NUMA node where one helps. Not
    the only busy queue of a processor: it would have no more anywhere else. Scale-in: a queue moves home,
    where its home comes to ``spec.scale_in`` at most with it. Where moves are equal, a processor of fewer
    queues counts, and then the lowest number.
    """
    plan = _Plan(processors, queues, remote_copy_factor)
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


def _best_out(spec: BalancerSpec, plan: _Plan, source: Processor) -> Move | None:
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


def _coolest(plan: _Plan, free: Sequence[Processor]) -> Callable[[Served], list[int]]:
    """The processors worth a look for a queue: the least loaded of its NUMA node, and elsewhere."""
    serving = Counter(queue.cpu for queue in plan.queues)
    by_load = sorted(free, key=lambda one: (plan.loads[one.cpu], serving[one.cpu], one.cpu))

    def worth(queue: Served) -> list[int]:
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
