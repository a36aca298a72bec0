"""The type of a rule, and its input: one host at one moment, with history that its counters lack."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from engine.advice.finding import Finding
from engine.advice.thresholds import AdviceThresholds
from engine.telemetry.config import Config, Vlan, ports_without_queue
from engine.telemetry.stats import Stats
from engine.view.adapter import AdapterView
from engine.view.host_tables import HostTables
from engine.view.rows import CpuView, QueueView, rate_of_all

MOST_MOVES: Final = 256
COSTLIEST_FRAME_S: Final = 100e-6
"""The most that a frame takes of a processor; what is beyond that of a measured load is other work."""
_BEFORE_MULTI_QUEUE: Final = ("2008 R2", "2012", "2012 R2")
"""Releases of Windows Server in which a VM's adapter has one queue at most."""
MOST_GONE: Final = 256

QueueKey = tuple[str, int, int]
"""Adapter, queue id, generation."""
Pair = tuple[str, str, Vlan]
"""Adapter, MAC, VLAN."""


class Moved(NamedTuple):
    """An observed move of a queue: its time, the processor before it, and whether the balancer made it. Moves
    by the balancer leave the queue's home unchanged; moves by request change it."""

    at_ns: int
    cpu: int
    by_balancer: bool = False


@dataclass(frozen=True)
class Trace:
    """The history of a ``Trail`` at one moment. Times are simulated ns."""

    moves: Mapping[QueueKey, tuple[Moved, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The moves of each queue, oldest first."""
    freeing_since: Mapping[QueueKey, int] = field(default_factory=lambda: MappingProxyType({}))
    uncompleted_since: Mapping[QueueKey, int] = field(default_factory=lambda: MappingProxyType({}))
    gone: Mapping[Pair, str] = field(default_factory=lambda: MappingProxyType({}))
    """The MAC and VLAN of each removed switch port, with its VM."""


class Trail:
    """Records the history of one host's configurations; keeps up to ``MOST_MOVES`` moves per queue and up to
    ``MOST_GONE`` removed ports."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._config: Config | None = None
        self._now_ns = 0
        self._places: dict[QueueKey, tuple[int | None, int | None]] = {}
        self._moves: dict[QueueKey, deque[Moved]] = {}
        self._freeing: dict[QueueKey, int] = {}
        self._uncompleted: dict[QueueKey, int] = {}
        self._ports: dict[Pair, str] = {}
        self._gone: dict[Pair, str] = {}
        self._trace = Trace()

    def add(self, config: Config, sim_time_ns: int) -> Trace:
        """Add a configuration and a time at which it was valid; return the history so far.

        A time or revision that goes back starts a new history.
        """
        if sim_time_ns < self._now_ns or (
            self._config is not None and config.revision < self._config.revision
        ):
            self._start()
        self._now_ns = sim_time_ns
        if config is self._config:
            return self._trace
        self._config = config
        self._take_queues(config, sim_time_ns)
        self._take_ports(config)
        self._trace = Trace(
            {key: tuple(moves) for key, moves in self._moves.items()},
            dict(self._freeing),
            dict(self._uncompleted),
            dict(self._gone),
        )
        return self._trace

    def _take_queues(self, config: Config, now_ns: int) -> None:
        places: dict[QueueKey, tuple[int | None, int | None]] = {}
        freeing: dict[QueueKey, int] = {}
        uncompleted: dict[QueueKey, int] = {}
        balanced = config.balancer.get("mode", "off") != "off"
        for adapter in config.adapters:
            for queue in adapter.queues:
                key = (adapter.name, queue.queue_id, queue.generation)
                place = places[key] = (queue.cpu, queue.home_cpu)
                cpu, home = self._places.get(key, place)
                if cpu is not None and queue.cpu is not None and cpu != queue.cpu:
                    moved = Moved(now_ns, cpu, balanced and home is not None and home == queue.home_cpu)
                    self._moves.setdefault(key, deque(maxlen=MOST_MOVES)).append(moved)
                if queue.state in ("dma_stopped", "freeing"):
                    freeing[key] = self._freeing.get(key, now_ns)
                elif queue.state in ("allocated", "set"):
                    uncompleted[key] = self._uncompleted.get(key, now_ns)
        self._places, self._freeing, self._uncompleted = places, freeing, uncompleted
        self._moves = {key: moves for key, moves in self._moves.items() if key in places}

    def _take_ports(self, config: Config) -> None:
        ports: dict[Pair, str] = {
            (adapter.name, port.mac, port.vlan): port.vm
            for adapter in config.adapters
            for port in adapter.ports
        }
        for pair, vm in self._ports.items():
            if pair not in ports:
                self._gone[pair] = vm
        for pair in list(self._gone):
            if pair in ports:
                del self._gone[pair]
        while len(self._gone) > MOST_GONE:
            del self._gone[next(iter(self._gone))]
        self._ports = ports


@dataclass(frozen=True, eq=False)
class Team:
    """A NIC team. ``mode`` is "sum" or "min" of queues; other writers may send other values."""

    name: str
    mode: str
    members: Sequence[AdapterView]


@dataclass(frozen=True, eq=False)
class Evidence(HostTables):
    """A host at one moment. Rates cover the time since ``before``, or since the start without it.

    ``worst`` maps a processor to the short stretch of that time in which its queues dropped most frames. It
    lacks processors without drops, and is empty if stretches were not recorded.
    """

    known_only = True

    config: Config
    stats: Stats
    before: Stats | None = None
    trace: Trace = field(default_factory=Trace)
    worst: "Mapping[int, Evidence]" = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def span_s(self) -> float:
        """Simulated seconds that rates cover."""
        return (self.stats.sim_time_ns - (self.before.sim_time_ns if self.before else 0)) / 1e9

    @property
    def usable(self) -> bool:
        """Whether configuration and reading have the same revision, and time passed."""
        return self.span_s > 0 and self.config.revision == self.stats.revision

    @property
    def is_measured(self) -> bool:
        """Whether it is a real host, which takes no requests; the model has no operating system."""
        return bool(self.config.system)

    @cached_property
    def without_queue(self) -> Mapping[str, Mapping[str, Sequence[Vlan]]]:
        """The MACs of ports without a filter, with their VLANs, by adapter."""
        return ports_without_queue(self.config)

    @cached_property
    def by_name(self) -> dict[str, AdapterView]:
        return {one.adapter: one for one in self.adapters}

    def queue(self, adapter: object, queue_id: object) -> QueueView | None:
        """Return a queue, which a finding or request names; None if there is none."""
        seen = self.by_name.get(adapter) if isinstance(adapter, str) else None
        return seen.by_id.get(queue_id) if seen is not None and isinstance(queue_id, int) else None

    @cached_property
    def teams(self) -> tuple[Team, ...]:
        """The teams, sorted by their first members."""
        members: defaultdict[tuple[str, str], list[AdapterView]] = defaultdict(list)
        for one in self.adapters:
            if one.known.team is not None:
                members[one.known.team, one.known.team_mode or ""].append(one)
        return tuple(Team(name, mode, adapters) for (name, mode), adapters in members.items())

    def has_multi_queue(self, adapter: AdapterView) -> bool:
        """Return whether a VM's adapter may have several queues there (VMMQ).

        It needs Windows Server 2016, a driver of NDIS 6.60, and no LBFO team ("Synthetic accelerations in a
        nutshell", Microsoft). Teams in a mode other than "sum" are LBFO.
        """
        known = adapter.known
        release = self.config.windows
        is_lbfo = known.team is not None and known.team_mode != "sum"
        major, _, minor = (known.ndis_version or "").partition(".")
        driver = (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)
        return not is_lbfo and driver >= (6, 60) and release not in _BEFORE_MULTI_QUEUE

    @property
    def is_balanced(self) -> bool:
        """Whether the host's balancer is on."""
        return bool(self.config.balancer.get("mode", "off") == "dynamic")

    def is_plain(self, queue: QueueView) -> bool:
        """Return whether a queue is not the default one, which takes what no other does. On Linux the first
        queue is a ring like others."""
        return queue.queue_id != 0 or self.is_linux

    def work(self, queue: QueueView) -> float:
        """Return what compares queues of a processor: cycles per second by the CPU model; of a measured host,
        whose costs are not known, frames per second."""
        return queue.known_pps if self.is_measured else queue.cycles

    def share(self, cpu: CpuView, queue: QueueView) -> float | None:
        """Return the part of a processor's load that a queue causes; None if unknown.

        Of a measured host it is by frames; other work of the processor counts as its queues', up to
        ``COSTLIEST_FRAME_S`` a frame.
        """
        if not self.is_measured:
            return cpu.share(queue)
        frames = [one.pps for one in cpu.queues]
        known = [pps for pps in frames if pps is not None]
        if cpu.load is None or queue.pps is None or len(known) < len(frames):
            return None
        return min(cpu.load * queue.pps / sum(known), queue.pps * COSTLIEST_FRAME_S) if any(known) else 0.0

    def load(self, cpu: CpuView) -> float | None:
        """Return a processor's load; of a measured host, up to what the frames of its queues can take: its
        time in interrupts is that of all devices. None if unknown."""
        if cpu.load is None or not self.is_measured:
            return cpu.load
        frames = [one.pps for one in cpu.queues]
        known = [pps for pps in frames if pps is not None]
        return cpu.load if len(known) < len(frames) else min(cpu.load, sum(known) * COSTLIEST_FRAME_S)

    def need(self, cpu: CpuView, queue: QueueView) -> float:
        """Return the part of a processor that a queue needs, which may exceed ``share`` on a full one."""
        return (self.share(cpu, queue) or 0.0) if self.is_measured else cpu.demand(queue)

    @cached_property
    def demand(self) -> dict[int, float]:
        """The part of each processor that its queues need; may be above 1. A processor of unknown load counts
        as full where loads of others are known."""
        unknown = 0.0 if self.busiest is None else 1.0
        return {
            cpu.id: max(
                unknown if cpu.load is None else cpu.load, sum(self.need(cpu, one) for one in cpu.queues)
            )
            for cpu in self.cpus
        }

    def sibling(self, cpu: CpuView) -> CpuView | None:
        """Return another processor of the same core; None if there is none. Linux tells the core of each."""
        if not self.is_linux:
            return self.cpu.get(cpu.cpu ^ 1) if self.config.hyperthreading else None
        core = cpu.known.core
        same = (one for one in self.cpus if one.known.core == core and one is not cpu)
        return None if core is None else next(same, None)

    def rate(self, name: str) -> float | None:
        """Return the sum of a counter's rates over all queues; None if the counter of one is unknown."""
        return rate_of_all(name, self.queues)

    @property
    def busiest(self) -> float | None:
        """The load of the busiest processor; None if no load is known."""
        return max((one.load for one in self.cpus if one.load is not None), default=None)


Look = Callable[[Evidence, AdviceThresholds], Iterator[Finding]]
Measure = Callable[[Evidence, Finding], float | None]
Unit = Literal["load", "frames/s", "queues", "buffers", "moves", "processors", "share"]


@dataclass(frozen=True)
class Need:
    """Something that a rule must know: any one of ``places``, each ``table.column``.

    Tables of counters are ``cpus``, ``queues``, ``port`` and ``pairs`` (of the default queue); ``host``,
    ``processor``, ``adapter`` and ``queue`` are objects of the configuration. ``unknown`` is the sentence for
    a host that does not tell.
    """

    unknown: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """A rule. ``symptom`` is the usual complaint; ``rows`` are its rows in "What goes wrong in practice".

    ``look`` yields findings. ``measure`` reads the metric that the fix improves, in ``unit``; ``better`` is
    the direction of improvement. ``needs`` are what must be known of a host (``engine.advice.needs``), and
    ``on_linux`` tells whether it is true of a Linux host, whose queues are rings and SR-IOV functions.
    ``thresholds`` are the names of those that the rule reads. ``moots`` are the rules whose findings of the
    same adapter this rule's fix makes pointless: it is listed before them.
    """

    id: str
    title: str
    symptom: str
    rows: tuple[int, ...]
    look: Look
    measure: Measure
    unit: Unit
    better: Literal["lower", "higher"] = "lower"
    thresholds: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    on_linux: bool = False
    moots: tuple[str, ...] = ()
