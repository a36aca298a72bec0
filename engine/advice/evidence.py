"""What the rules look at: a configuration joined with a reading and the one before it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from engine.advice.trail import Trace
from engine.scenario.values import check_number
from engine.telemetry.config import AdapterConfig, Config, CpuConfig, FilterConfig, QueueConfig, Vlan
from engine.telemetry.stats import AdapterStats, Columns, Stats

_FULL = 0.95
"""From this load on a processor has more to do than it shows."""


@dataclass(frozen=True, eq=False)
class Grown:
    """A table of columns, and how much each grew; ``before`` None: since everything was 0."""

    now: Columns
    before: Columns | None
    seconds: float
    identity: tuple[str, ...] = ("id",)

    @cached_property
    def rows(self) -> dict[tuple[int, ...], int]:
        return _rows(self.now, self.identity)

    @cached_property
    def _old_rows(self) -> dict[tuple[int, ...], int]:
        return _rows(self.before or {}, self.identity)

    def count(self, key: tuple[int, ...], name: str) -> int | None:
        """A counter of a row; None when it is not told."""
        row, column = self.rows.get(key), self.now.get(name)
        return column[row] if row is not None and column is not None and row < len(column) else None

    def delta(self, key: tuple[int, ...], name: str) -> int | None:
        """How much it grew; None for a row that was not there before."""
        now = self.count(key, name)
        if now is None or self.before is None:
            return now
        before = self.earlier(key, name)
        return None if before is None or now < before else now - before

    def earlier(self, key: tuple[int, ...], name: str) -> int | None:
        """What it was at the reading before; None for a row that was not there."""
        row, column = self._old_rows.get(key), (self.before or {}).get(name)
        return column[row] if row is not None and column is not None and row < len(column) else None

    def rate(self, key: tuple[int, ...], name: str) -> float | None:
        """Its growth per second of simulated time."""
        grown = self.delta(key, name)
        return None if grown is None or self.seconds <= 0 else grown / self.seconds


def _rows(columns: Columns, identity: tuple[str, ...]) -> dict[tuple[int, ...], int]:
    keys = zip(*(columns.get(name, []) for name in identity), strict=False)
    return {key: row for row, key in enumerate(keys)}


@dataclass(frozen=True, eq=False)
class QueueSeen:
    """A queue with its counters."""

    adapter: AdapterConfig
    config: QueueConfig
    filters: Sequence[FilterConfig]
    grown: Grown
    model: dict[str, Any]

    @property
    def _key(self) -> tuple[int, ...]:
        return (self.config.queue_id, self.config.generation)

    @property
    def queue_id(self) -> int:
        return self.config.queue_id

    @property
    def key(self) -> str:
        """Tells it from others of its adapter, also from those that had or will have its id."""
        return f"queue {self.queue_id} generation {self.config.generation}"

    @property
    def called(self) -> str:
        return f"queue {self.queue_id} ({self.config.vm or self.config.name})"

    def count(self, name: str) -> int | None:
        return self.grown.count(self._key, name)

    def rate(self, name: str) -> float | None:
        return self.grown.rate(self._key, name)

    def fell(self, name: str) -> bool:
        """Whether a gauge is lower than it was at the reading before; without one, yes."""
        before = self.grown.earlier(self._key, name)
        now = self.count(name)
        return now is not None and (self.grown.before is None or (before is not None and now < before))

    @property
    def pps(self) -> float:
        """Frames a second; 0 where that is not known."""
        return self.rate("steered_frames") or 0.0

    @property
    def home_cpu(self) -> int:
        """The processor that who plans gave it; where it is, if that is not told."""
        return self.config.cpu if self.config.home_cpu is None else self.config.home_cpu

    @cached_property
    def cycles(self) -> float:
        """What its frames cost by the host's CPU model, in cycles a second; without interrupts and DPCs."""
        return self.pps * self._cost("cycles_per_frame") + self.copy_cycles

    @cached_property
    def copy_cycles(self) -> float:
        """Those of them that copy bytes."""
        return (self.rate("steered_bytes") or 0.0) * self._cost("cycles_per_byte")

    def _cost(self, key: str) -> float:
        """A number of the CPU model, which another writer may not tell."""
        try:
            return check_number(self.model.get(key), 0, 1e12)
        except ValueError:
            return 0.0


@dataclass(frozen=True, eq=False)
class CpuSeen:
    """A processor, the queues it serves, and its load."""

    config: CpuConfig
    queues: Sequence[QueueSeen]
    grown: Grown

    @property
    def id(self) -> int:
        return self.config.id

    @cached_property
    def _cycles(self) -> float:
        """What its queues take in all."""
        return sum(one.cycles for one in self.queues)

    @cached_property
    def load(self) -> float | None:
        """Busy cycles of those it had; None: unknown."""
        busy, budget = (self.grown.delta((self.id,), name) for name in ("busy_cycles", "budget_cycles"))
        return busy / budget if busy is not None and budget else None

    @property
    def up(self) -> bool:
        return not self.grown.count((self.id,), "down")

    @property
    def drops(self) -> float | None:
        """Frames a second that its queues dropped; None when none tells."""
        rates = [queue.rate("dropped_no_buffer") for queue in self.queues]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None

    def part(self, queue: QueueSeen) -> float | None:
        """What part of its cycles a queue takes, of those it spent."""
        load, total = self.load, self._cycles
        return None if load is None else load * queue.cycles / total if total else 0.0

    def wanted(self, queue: QueueSeen) -> float:
        """What part of its cycles a queue would take: of a full processor more than it gets."""
        part, budget = self.part(queue) or 0.0, self.grown.rate((self.id,), "budget_cycles")
        full = self.load is not None and self.load >= _FULL
        return max(part, queue.cycles / budget) if full and budget else part


@dataclass(frozen=True)
class PairSeen:
    """A MAC and VLAN whose frames the default queue took.

    ``pps`` is a lower bound, so that nothing is said of a pair for frames that were another's.
    """

    mac: str
    vlan: Vlan
    reason: str
    pps: float
    vm: str | None


@dataclass(frozen=True, eq=False)
class AdapterSeen:
    """An adapter: its queues, filters and counters."""

    config: AdapterConfig
    queues: Sequence[QueueSeen]
    filters: Grown
    port: Grown
    reasons: Grown
    pairs: Sequence[PairSeen]
    pairs_told: bool

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def default(self) -> QueueSeen | None:
        return next((one for one in self.queues if one.queue_id == 0), None)

    @cached_property
    def by_id(self) -> dict[int, QueueSeen]:
        return {one.queue_id: one for one in self.queues}

    @property
    def of_vms(self) -> list[QueueSeen]:
        """Every queue but the default one."""
        return [one for one in self.queues if one.queue_id != 0]

    def queue_of(self, vm: str | None) -> QueueSeen | None:
        """The first running queue of a VM."""
        of_vm = (one for one in self.of_vms if one.config.vm == vm and vm is not None)
        return next((one for one in of_vm if one.config.state == "running"), None)

    @property
    def free_queues(self) -> int:
        return self.config.max_queues - len(self.of_vms)

    @cached_property
    def buffers_left(self) -> int | None:
        """Buffers that no queue has; None where one does not tell."""
        counts = [one.count("total_buffers") for one in self.queues]
        return None if None in counts else self.config.buffers - sum(one or 0 for one in counts)

    @cached_property
    def unused_buffers(self) -> Sequence[tuple[QueueSeen, int]]:
        """The running queues that never used all of their buffers, and how many not; most first."""
        unused = [
            (one, one.count("low_free_buffers") or 0) for one in self.queues if one.config.state == "running"
        ]
        return sorted(unused, key=lambda pair: (-pair[1], pair[0].queue_id))

    @property
    def next_queue_id(self) -> int:
        """What id the next queue gets: the lowest that is not in use."""
        return next(number for number in range(1, len(self.by_id) + 2) if number not in self.by_id)

    def pair(self, mac: str | None, vlan: int | str | None) -> PairSeen | None:
        return next((one for one in self.pairs if (one.mac, one.vlan) == (mac, vlan)), None)

    def pair_pps(self, mac: str | None, vlan: int | str | None) -> float | None:
        """Frames of a pair that fell to the default queue, a second; 0 when it is not among the first 64."""
        if not self.pairs_told:
            return None
        pair = self.pair(mac, vlan)
        return pair.pps if pair else 0.0


@dataclass(frozen=True, eq=False)
class TeamSeen:
    """Adapters that receive as one. ``mode`` is "sum" or "min", or what another writer says."""

    name: str
    mode: str
    members: Sequence[AdapterSeen]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A host at one moment. Rates are since ``before``, or, without it, since the start.

    ``worst`` has, by processor, what was seen in the short stretch of that time in which its queues dropped
    most; where nobody looked at stretches, or nothing was dropped, it has none.
    """

    config: Config
    stats: Stats
    before: Stats | None = None
    trace: Trace = field(default_factory=Trace)
    worst: "Mapping[int, Evidence]" = field(default_factory=lambda: MappingProxyType({}))

    @property
    def seconds(self) -> float:
        """Simulated time that rates are taken over."""
        return (self.stats.sim_time_ns - (self.before.sim_time_ns if self.before else 0)) / 1e9

    @property
    def usable(self) -> bool:
        """Whether configuration and reading are of one another, and time passed."""
        return self.seconds > 0 and self.config.revision == self.stats.revision

    @cached_property
    def adapters(self) -> tuple[AdapterSeen, ...]:
        return tuple(
            self._adapter(one, self.stats.adapters[one.name])
            for one in self.config.adapters
            if one.name in self.stats.adapters
        )

    @cached_property
    def by_name(self) -> dict[str, AdapterSeen]:
        return {one.name: one for one in self.adapters}

    @cached_property
    def teams(self) -> tuple[TeamSeen, ...]:
        """The teams, by their members' place."""
        members: defaultdict[tuple[str, str], list[AdapterSeen]] = defaultdict(list)
        for one in self.adapters:
            if one.config.team is not None:
                members[one.config.team, one.config.team_mode or ""].append(one)
        return tuple(TeamSeen(name, mode, seen) for (name, mode), seen in members.items())

    @property
    def is_balanced(self) -> bool:
        """Whether the host's balancer is on."""
        return bool(self.config.balancer.get("mode", "off") == "dynamic")

    def _adapter(self, config: AdapterConfig, now: AdapterStats) -> AdapterSeen:
        old = self.before.adapters.get(config.name) if self.before else None
        missing: Columns | None = None if self.before is None else {}
        seconds = self.seconds
        filters: defaultdict[int, list[FilterConfig]] = defaultdict(list)
        for one in config.filters:
            filters[one.queue_id].append(one)
        queues = Grown(now.queues, old.queues if old else missing, seconds, ("id", "generation"))
        return AdapterSeen(
            config,
            [
                QueueSeen(config, one, filters[one.queue_id], queues, self.config.cpu_model)
                for one in config.queues
            ],
            Grown(now.filters, old.filters if old else missing, seconds),
            Grown(_one_row(now.port), _one_row(old.port) if old else missing, seconds),
            Grown(_one_row(now.default_queue), _one_row(old.default_queue) if old else missing, seconds),
            list(self._pairs(config, now, old)),
            now.default_queue_top is not None,
        )

    def _pairs(
        self, config: AdapterConfig, now: AdapterStats, old: AdapterStats | None
    ) -> Iterable[PairSeen]:
        top, was = now.default_queue_top, old.default_queue_top if old else None
        if top is None or self.seconds <= 0:
            return
        before = {
            (mac, vlan): (frames, error)
            for mac, vlan, frames, error in (
                zip(was.mac, was.vlan, was.frames, was.error, strict=False) if was else ()
            )
        }
        ports = defaultdict(list)
        for port in config.ports:
            ports[port.mac].append(port)
        for mac, vlan, reason, frames, error in zip(
            top.mac, top.vlan, top.reason, top.frames, top.error, strict=False
        ):
            fitting = [port.vm for port in ports.get(mac, ()) if port.vlan in (vlan, None)]
            frames_before, error_before = before.get((mac, vlan), (error, error))
            # With another error it has taken another pair's row since; what it inherited is not its own.
            grown = max(0, frames - (frames_before if error == error_before else error))
            yield PairSeen(mac, vlan, reason, grown / self.seconds, fitting[0] if fitting else None)

    @cached_property
    def cpus(self) -> tuple[CpuSeen, ...]:
        grown = Grown(self.stats.cpus, self.before.cpus if self.before else None, self.seconds)
        served: defaultdict[int, list[QueueSeen]] = defaultdict(list)
        for adapter in self.adapters:
            for queue in adapter.queues:
                served[queue.config.cpu].append(queue)
        return tuple(CpuSeen(one, served[one.id], grown) for one in self.config.cpus)

    @cached_property
    def cpu(self) -> dict[int, CpuSeen]:
        return {one.id: one for one in self.cpus}

    @cached_property
    def wanted(self) -> dict[int, float]:
        """By processor: what part of its cycles its queues would take; may be above 1."""
        return {cpu.id: max(cpu.load or 0.0, sum(cpu.wanted(one) for one in cpu.queues)) for cpu in self.cpus}

    def rate(self, name: str) -> float | None:
        """Of all queues together; None when no queue tells."""
        rates = [queue.rate(name) for adapter in self.adapters for queue in adapter.queues]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None

    @property
    def busiest(self) -> float | None:
        """The load of the processor that has most to do."""
        return max((one.load for one in self.cpus if one.load is not None), default=None)


def _one_row(counters: dict[str, int]) -> Columns:
    return {"id": [0], **{name: [value] for name, value in counters.items()}}
