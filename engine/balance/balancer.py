"""The balancer of a host: its memory between decisions, and the time of the next one.

All times are simulated, so the same frames give the same moves on every run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.balance.decide import Move, ProcessorLoad, QueueKey, QueueLoad, decide
from engine.scenario.model import BalancerSpec, CpuSpec, HostSpec

NEVER_NS: Final = 2**62
LONGEST_REST: Final = 32
"""Limit of the rest of a queue that keeps moving back and forth, in cool-downs."""


@dataclass(frozen=True)
class QueueCounters:
    """A queue at a moment: where it is, and its counters. ``is_held``: its VM returns no buffer, so that it
    drops however little its processor has to do. ``barred``: processors it may not move away to."""

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
    """A host at a moment: processors by number, and queues in order of key."""

    now_ns: int
    busy_cycles: Sequence[int]
    budget_cycles: Sequence[int]
    queues: Sequence[QueueCounters]


@dataclass(frozen=True)
class _LastMove:
    """The last move of a queue: from where, when, and how long the queue rests after it."""

    cpu: int
    came_from: int | None
    since_ns: int
    rest_ns: int


def usable_cpus(host: HostSpec) -> list[bool]:
    """Whether VMQ may use each processor: of two hyper-threads only the even one."""
    return [not (host.hyperthreading and cpu % 2) for cpu in range(host.cpus)]


class Balancer:
    """Decides at multiples of ``spec.interval_ms``, on the counts since the last decision.

    A queue rests for ``spec.cooldown_ms`` after a move, also after one by request. If it moves back to the
    processor that it just left, it rests twice as long as the last time, up to LONGEST_REST cool-downs, so
    that a queue that swings with the load moves less and less. After four rests without such a move, it rests
    for one cool-down again.
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
        """Skip decisions before ``event_ns``, up to which nothing happens, if they would move nothing."""
        if self._at_rest and event_ns < NEVER_NS:
            interval_ns = self._spec.interval_ms * 1_000_000
            self.due_ns = max(self.due_ns, event_ns // interval_ns * interval_ns)

    def poll(self, counters: BalancerReading) -> list[Move]:
        """Decide, at ``due_ns`` or later. Call ``moved`` for each move that was carried out."""
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
        """Note a move that was carried out."""
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
        """Update the last moves: queues are allocated and freed, and requests move them too."""
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
        """The load of each queue.

        Frames dropped for want of a buffer count where the processor is overloaded: it had no time for them.
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
