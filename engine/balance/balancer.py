"""The balancer of a host: its state between decisions, and the time of the next decision.

All times are simulated, so the same frames give the same moves on every run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.balance.decide import Move, ProcessorLoad, QueueKey, QueueLoad, decide
from engine.scenario.model import BalancerSpec, CpuSpec, HostSpec

NEVER_NS: Final = 2**62
LONGEST_REST: Final = 32
"""Longest rest of a queue that keeps moving back and forth, in cool-downs."""


@dataclass(frozen=True)
class QueueCounters:
    """A queue at one moment: its processor and counters. ``is_held``: its VM returns no buffers, so the queue
    drops frames even on an idle processor. ``barred``: processors that it must not move to, except home."""

    key: QueueKey
    cpu: int
    home_cpu: int
    numa_node: int
    movable: bool
    is_held: bool
    copied_bytes_limit: int
    steered_frames: int
    steered_bytes: int
    dropped_no_buffer: int
    interrupts: int
    dpcs: int
    barred: frozenset[int] = frozenset()


@dataclass(frozen=True)
class BalancerReading:
    """A host at one moment. Cycle counts are indexed by processor number; queues are sorted by key."""

    now_ns: int
    busy_cycles: Sequence[int]
    budget_cycles: Sequence[int]
    queues: Sequence[QueueCounters]


@dataclass(frozen=True)
class _LastMove:
    """The last move of a queue: its target and source, its time, and the rest of the queue after it."""

    cpu: int
    came_from: int | None
    since_ns: int
    rest_ns: int


def usable_cpus(host: HostSpec) -> list[bool]:
    """Return whether VMQ may use each processor; with hyper-threading, it uses the even ones only."""
    return [host.processors.is_usable(cpu) for cpu in range(host.cpus)]


class Balancer:
    """Decides at multiples of ``spec.interval_ms``, from the counts since the last decision.

    A queue rests for ``spec.cooldown_ms`` after a move, including one by request. If it moves back to the
    processor that it just left, it rests twice as long as the last time, up to LONGEST_REST cool-downs, so
    a queue that follows a swinging load moves less and less often. If four rests pass before it moves back,
    it rests for one cool-down again.
    """

    def __init__(self, host: HostSpec, cpu: CpuSpec) -> None:
        self._host = host
        self._cpu = cpu
        self._usable = usable_cpus(host)
        self._spec = BalancerSpec()
        self._before: BalancerReading | None = None
        self._last_moves: dict[QueueKey, _LastMove] = {}
        self._at_rest = False
        self.due_ns = NEVER_NS

    def begin(self, spec: BalancerSpec, counters: BalancerReading) -> None:
        """Start with the settings ``spec``; the first window starts now."""
        self._spec = spec
        self._before = counters
        self._last_moves = {one.key: _LastMove(one.cpu, None, -NEVER_NS, 0) for one in counters.queues}
        self._at_rest = False
        self.due_ns = NEVER_NS
        if spec.mode == "dynamic":
            self.due_ns = self._next(counters.now_ns)

    def skip_to(self, event_ns: int) -> None:
        """Skip the idle decisions before ``event_ns``, the time of the next event."""
        if self._at_rest and event_ns < NEVER_NS:
            interval_ns = self._spec.interval_ms * 1_000_000
            self.due_ns = max(self.due_ns, event_ns // interval_ns * interval_ns)

    def poll(self, counters: BalancerReading) -> list[Move]:
        """Return the moves to make; call at ``due_ns`` or later, and then ``moved`` for each move applied."""
        before, self._before = self._before, counters
        self.due_ns = self._next(counters.now_ns)
        assert before is not None
        self._update_last_moves(counters)
        processors = self._processors(before, counters)
        queues = self._queues(before, counters, processors)
        moves = decide(self._spec, processors, queues, self._cpu.remote_copy_factor)
        away = any(one.movable and one.cpu != one.home_cpu and self._usable[one.home_cpu] for one in queues)
        self._at_rest = not (moves or away or any(one.load for one in processors))
        return moves

    def moved(self, move: Move, now_ns: int) -> None:
        """Record a move that was applied."""
        self._last_moves[move.key] = self._after(self._last_moves[move.key], move.target, now_ns)

    def _next(self, now_ns: int) -> int:
        interval_ns = self._spec.interval_ms * 1_000_000
        return (now_ns // interval_ns + 1) * interval_ns

    def _after(self, last: _LastMove, cpu: int, now_ns: int) -> _LastMove:
        cooldown_ns = self._spec.cooldown_ms * 1_000_000
        rest_ns = cooldown_ns
        if cpu == last.came_from and now_ns - last.since_ns < 4 * last.rest_ns:
            rest_ns = min(2 * last.rest_ns, LONGEST_REST * cooldown_ns)
        return _LastMove(cpu, last.cpu, now_ns, rest_ns)

    def _update_last_moves(self, counters: BalancerReading) -> None:
        """Update the last moves, because requests also allocate, free and move queues."""
        last_moves: dict[QueueKey, _LastMove] = {}
        for one in counters.queues:
            last = self._last_moves.get(one.key) or _LastMove(one.cpu, None, -NEVER_NS, 0)
            last_moves[one.key] = last if last.cpu == one.cpu else self._after(last, one.cpu, counters.now_ns)
        self._last_moves = last_moves

    def _processors(self, before: BalancerReading, now: BalancerReading) -> list[ProcessorLoad]:
        host = self._host
        found = []
        for cpu in range(host.cpus):
            busy = now.busy_cycles[cpu] - before.busy_cycles[cpu]
            budget = now.budget_cycles[cpu] - before.budget_cycles[cpu]
            load = busy / budget if budget > 0 else 0.0
            node = cpu * host.numa_nodes // host.cpus
            found.append(ProcessorLoad(cpu, node, self._usable[cpu], load, max(0, budget)))
        return found

    def _queues(
        self, before: BalancerReading, now: BalancerReading, processors: Sequence[ProcessorLoad]
    ) -> list[QueueLoad]:
        """Return the load of each queue.

        Frames dropped without a free buffer count only if an overloaded processor is the cause.
        """
        model = self._cpu
        known = {one.key: one for one in before.queues}
        found = []
        for one in now.queues:
            old = known.get(one.key)
            steered = one.steered_frames - (old.steered_frames if old else 0)
            octets = one.steered_bytes - (old.steered_bytes if old else 0)
            frames = steered
            if one.is_held or processors[one.cpu].load < self._spec.scale_out:
                frames -= one.dropped_no_buffer - (old.dropped_no_buffer if old else 0)
            copied = min(octets * frames / steered, frames * one.copied_bytes_limit) if steered else 0.0
            last = self._last_moves[one.key]
            found.append(
                QueueLoad(
                    key=one.key,
                    cpu=one.cpu,
                    home_cpu=one.home_cpu,
                    numa_node=one.numa_node,
                    cycles=(one.interrupts - (old.interrupts if old else 0)) * model.cycles_per_interrupt
                    + (one.dpcs - (old.dpcs if old else 0)) * model.cycles_per_dpc
                    + frames * model.cycles_per_frame,
                    copy_cycles=copied * model.cycles_per_byte,
                    movable=one.movable,
                    rested=now.now_ns - last.since_ns >= last.rest_ns,
                    barred=one.barred,
                )
            )
        return found
