"""Plan a scenario from traffic: a queue for every unicast destination (contract 4, ``plan``)."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

import msgspec

from engine.counted import counted
from engine.scenario.load import machine_name
from engine.scenario.model import AdapterSpec, CpuSpec, FilterSpec, HostSpec, QueueSpec, Scenario, TeamSpec
from engine.scenario.processor_set import SetLine
from engine.scenario.relations import MisfitError, check_relations
from engine.scenario.values import Vlan, check_adapter_name, show
from engine.traffic.batch import Source
from engine.traffic.plan_count import VLAN_BITS, Load, TrafficCount, count, total
from engine.traffic.plan_placement import MAX_BUFFER_BYTES, NoProcessorError, eligible, home, size, spread

MAX_QUEUES = 4096
MAX_FILTERS = 65_536

_UNUSABLE_VID = 4095  # reserved by 802.1Q, so that no filter can have it

TeamMode = Literal["sum", "min", "primary"]

_Pairs = dict[int, list[tuple[int, Load]]]
"""VLANs (0: untagged) and loads, by MAC."""


@dataclass(frozen=True)
class Hardware:
    """The host and adapter to plan for. ``host_name`` None: this machine's name, not written to the file.

    ``max_queues``, ``max_filters`` and ``max_buffers`` None: as many as the traffic needs, up to an adapter's
    limits. ``base_cpu`` and ``max_cpus`` limit the processors of VMs' queues, the latter for each adapter.
    ``adapters`` are the names of the ports, all alike; () are "nic0", and in a ``team`` "nic1", too.
    """

    host_name: str | None = None
    cpus: int = 8
    hyperthreading: bool = False
    numa_nodes: int = 1
    numa_node: int = 0
    base_cpu: int = 0
    max_cpus: int | None = None
    link_gbps: float = 10.0
    max_queues: int | None = None
    max_filters: int | None = None
    max_buffers: int | None = None
    adapters: tuple[str, ...] = ()
    team: TeamMode | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the ports."""
        return self.adapters or (("nic0", "nic1") if self.team else ("nic0",))

    @property
    def parts(self) -> int:
        """The number of ports whose queues add up."""
        return len(self.names) if self.team == "sum" else 1

    @property
    def queue_limit(self) -> int:
        """Limit of queues of a port without the default queue; each queue, that one too, needs a buffer."""
        most = MAX_QUEUES if self.max_queues is None else self.max_queues
        return most if self.max_buffers is None else min(most, self.max_buffers - 1)

    @property
    def filter_limit(self) -> int:
        """Limit of filters of a port."""
        return MAX_FILTERS if self.max_filters is None else self.max_filters


@dataclass(frozen=True)
class QueueReason:
    """The reasons for a queue's settings.

    Its load and those of its filters; its ``share`` of all work; its ``place``, from 1, in the order in which
    queues were assigned to processors; its ``peak``, the maximum of its frames waiting at one time (None: not
    tracked).
    """

    load: Load
    filters: list[Load]
    share: float
    place: int
    peak: int | None


@dataclass(frozen=True, eq=False)
class Plan:
    """A scenario and its reasons.

    ``reasons`` has one entry for each queue of the first adapter, then of the next, in order;
    ``default_queue`` is the load of queue 0, of all ports together. ``processors`` has the share of all work
    of each processor that serves or may serve a queue; VMs' queues were spread over the ``eligible`` ones.
    ``sets`` has the line that gives each adapter its processors. ``notes`` are sentences about destinations
    left out.
    """

    scenario: Scenario
    hardware: Hardware
    reasons: list[QueueReason]
    default_queue: Load
    default_peak: int
    processors: dict[int, float]
    eligible: list[int]
    sets: list[SetLine]
    buffers_bounded: bool
    notes: list[str]

    @property
    def queues(self) -> list[Load]:
        """The load of each queue."""
        return [reason.load for reason in self.reasons]


def plan(source: Source, hardware: Hardware = Hardware()) -> Plan:
    """Read ``source`` to its end and plan a queue for every unicast MAC in frames that pass the port checks.

    A queue gets a filter for each VLAN of its MAC ("untagged": no tag, VID 0, or an outer tag other than
    0x8100). Queues are sorted by descending frames, ties by MAC. ``plan_placement`` chooses processors and
    buffers. Raises exceptions of ``source``, NoProcessorError, and MisfitError for an impossible host.
    """
    host = _host(hardware)
    of_ports, default_cpus = _processors(host, hardware)
    cost = CpuSpec()
    counts = count(source, cost)
    left = _LeftOut()
    chosen = _choose(counts, hardware, left)
    cycles = {mac: total([load for _, load in pairs]).cycles(cost) for mac, pairs in chosen.items()}
    eligible_cpus = sorted({cpu for cpus in of_ports for cpu in cpus})
    default = total([counts.others, *left.loads()])
    busy = dict.fromkeys(eligible_cpus, 0.0)
    for cpu in default_cpus[: hardware.parts]:
        busy[cpu] = busy.get(cpu, 0.0) + default.cycles(cost) / hardware.parts
    sizes = [len(pairs) for pairs in chosen.values()]
    limits = hardware.queue_limit, hardware.filter_limit
    places = spread(list(cycles.values()), sizes, of_ports[: hardware.parts], busy, limits)
    for mac, place in zip(list(chosen), places, strict=True):
        if place is None:
            for _, load in chosen.pop(mac):
                left.filters.add(mac, load)
    placed = dict(zip(chosen, (place for place in places if place is not None), strict=True))
    default = total([counts.others, *left.loads()])
    default_peak = counts.others_peak + sum(counts.peaks.get(mac, 0) for mac in left.macs())

    loads = {mac: total([load for _, load in pairs]) for mac, pairs in chosen.items()}
    # Without a tracked peak, use half of the frames: ``MARGIN`` doubles it to all of them, the maximum.
    waits = {mac: counts.peaks.get(mac, -(-load.frames // 2)) for mac, load in loads.items()}
    work = sum(busy.values()) or 1.0
    ranks = {mac: n for n, mac in enumerate(sorted(chosen, key=lambda mac: -cycles[mac]), 1)}
    adapters, reasons, bounded = [], [], False
    for port, name in enumerate(hardware.names):
        macs = [mac for mac in chosen if hardware.parts == 1 or placed[mac].port == port]
        buffers, default_buffers, cut = size(
            [waits[mac] for mac in macs],
            default_peak,
            counts.max_frame_bytes,
            hardware.max_buffers,
            MAX_BUFFER_BYTES // len(hardware.names),
        )
        bounded |= cut
        queues = [
            _queue(mac, chosen[mac], placed[mac].cpu, of_queue)
            for mac, of_queue in zip(macs, buffers, strict=True)
        ]
        line = host.processors.line_for(of_ports[port])
        adapters.append(
            _adapter(
                hardware, name, line, queues, counts.max_frame_bytes, default_cpus[port], default_buffers
            )
        )
        reasons += [
            QueueReason(
                loads[mac],
                [one for _, one in chosen[mac]],
                cycles[mac] / work,
                ranks[mac],
                counts.peaks.get(mac),
            )
            for mac in macs
        ]
    return Plan(
        scenario=Scenario(host=host, adapter=adapters, team=_team(hardware)),
        hardware=hardware,
        reasons=reasons,
        default_queue=default,
        default_peak=default_peak,
        processors={cpu: share / work for cpu, share in sorted(busy.items())},
        eligible=eligible_cpus,
        sets=[line for cpus in of_ports if (line := host.processors.line_for(cpus)) is not None],
        buffers_bounded=bounded,
        notes=[*left.notes(hardware), *_forgotten(counts)],
    )


def _processors(host: HostSpec, hardware: Hardware) -> tuple[list[list[int]], list[int]]:
    """Return the processors of each port, which a line can give it, and that of its default queue.

    Ports whose queues add up have processors of their own, an equal number each; others have the same.
    Raises NoProcessorError.
    """
    ports, parts = len(hardware.names), hardware.parts
    most = None if hardware.max_cpus is None else hardware.max_cpus * parts
    usable = eligible(host, hardware.numa_node, hardware.base_cpu, most)
    if len(usable) < parts:
        raise NoProcessorError(
            f"{counted(parts, 'port')} of a team in mode sum need processors of their own, and there"
            f" {'is' if len(usable) == 1 else 'are'} {counted(len(usable), 'processor')} for queues"
        )
    ends = [len(usable) * part // parts for part in range(parts + 1)]
    chunks = [usable[start:end] for start, end in pairwise(ends)]
    group = {cpu: host.processors.place(cpu).group for cpu in usable}
    chunks = [[cpu for cpu in chunk if group[cpu] == group[chunk[0]]] for chunk in chunks]
    first = home(host, hardware.numa_node)[0]
    defaults = [chunk[0] if first in usable else first for chunk in chunks]
    return (chunks, defaults) if parts == ports else (chunks * ports, defaults * ports)


def _team(hardware: Hardware) -> list[TeamSpec]:
    if hardware.team is None:
        return []
    return [TeamSpec(name="team0", members=list(hardware.names), mode=hardware.team)]


def _host(hardware: Hardware) -> HostSpec:
    """Return the planned host. Raises MisfitError if it is impossible."""
    host = HostSpec(
        name=machine_name() if hardware.host_name is None else hardware.host_name,
        cpus=hardware.cpus,
        hyperthreading=hardware.hyperthreading,
        numa_nodes=hardware.numa_nodes,
    )
    names = hardware.names
    if hardware.team not in (None, *get_args(TeamMode)):
        raise MisfitError(
            ("team",), f"{show(hardware.team)} is not a mode ({', '.join(get_args(TeamMode))} fit)"
        )
    if hardware.team is None and len(names) > 1:
        raise MisfitError(
            ("adapter",), f"{counted(len(names), 'adapter')} without a team (one fits, or --team)"
        )
    if hardware.team is not None and len(names) < 2:
        raise MisfitError(("adapter",), "a team of one adapter (the names of two or more fit)")
    if len(set(names)) < len(names) or "team0" in names:
        raise MisfitError(("adapter",), "the same name twice, or the team's (names of their own fit)")
    for name in names:
        try:
            check_adapter_name(name)
        except ValueError as error:
            raise MisfitError(("adapter",), str(error)) from None
    adapters = [AdapterSpec(name=name, numa_node=hardware.numa_node) for name in names]
    check_relations(Scenario(host=host, adapter=adapters, team=_team(hardware)))
    return host


def _choose(counts: TrafficCount, hardware: Hardware, left: "_LeftOut") -> _Pairs:
    """Return the MACs that get a queue, in order, each with its filters; add the others to ``left``."""
    per_mac: _Pairs = {}
    for key, frames, wire_bytes in zip(
        counts.keys.tolist(), counts.frames.tolist(), counts.wire_bytes.tolist(), strict=True
    ):
        mac, vlan = key >> VLAN_BITS, key & (1 << VLAN_BITS) - 1
        load = Load(frames, wire_bytes)
        if mac == 0:
            left.zero_mac.add(mac, load)
        elif vlan == _UNUSABLE_VID:
            left.unusable_vid.add(mac, load)
        else:
            per_mac.setdefault(mac, []).append((vlan, load))
    _leave_out_least(per_mac, hardware.filter_limit * hardware.parts, left)
    loads = {mac: total([load for _, load in pairs]) for mac, pairs in per_mac.items()}
    ranked = sorted(per_mac, key=lambda mac: (-loads[mac].frames, mac))
    most = hardware.queue_limit * hardware.parts
    for mac in ranked[most:]:
        left.queues.add(mac, loads[mac])
    return {mac: sorted(per_mac[mac], key=lambda pair: (-pair[1].frames, pair[0])) for mac in ranked[:most]}


def _queue(mac: int, filters: list[tuple[int, Load]], cpu: int, buffers: int) -> QueueSpec:
    name = f"vm-{_mac(mac, '-')}"
    return QueueSpec(
        name=name,
        vm=name,
        cpu=cpu,
        buffers=buffers,
        filter=[FilterSpec(mac=_mac(mac, ":"), vlan=_vlan(vlan)) for vlan, _ in filters],
    )


def _adapter(
    hardware: Hardware,
    name: str,
    line: SetLine | None,
    queues: list[QueueSpec],
    max_frame_bytes: int,
    default_cpu: int,
    default_buffers: int,
) -> AdapterSpec:
    """Return the planned adapter, with limits that fit its queues, and buffers that fit in memory."""
    defaults = AdapterSpec()
    max_queues, max_filters = hardware.max_queues, hardware.max_filters
    if max_queues is None:
        max_queues = max(defaults.max_queues, len(queues))
    if max_filters is None:
        max_filters = max(defaults.max_filters, sum(len(queue.filter) for queue in queues))
    adapter = AdapterSpec(
        name=name,
        base_processor=None if line is None else f"{line.group}:{line.base_number}",
        max_processor=None if line is None else f"{line.group}:{line.max_number}",
        max_processors=None if line is None else line.max_processors,
        link_gbps=hardware.link_gbps,
        max_queues=max_queues,
        max_filters=max_filters,
        max_frame_bytes=max_frame_bytes,
        buffers=hardware.max_buffers,
        default_queue_buffers=default_buffers,
        default_queue_cpu=default_cpu,
        numa_node=hardware.numa_node,
        queue=queues,
    )
    most_bytes = MAX_BUFFER_BYTES // len(hardware.names)
    if adapter.total_buffers * max_frame_bytes > most_bytes and adapter.buffers is None:
        # Plan fewer spare buffers for later queues than the default.
        within = max(adapter.asked_buffers, most_bytes // max_frame_bytes)
        return msgspec.structs.replace(adapter, buffers=within)
    return adapter


def _forgotten(counts: TrafficCount) -> list[str]:
    if not counts.forgotten:
        return []
    return [
        f"Too many destinations to count at a time: {counted(counts.forgotten, 'frame')} of the least"
        " seen ones left to the default queue."
    ]


@dataclass
class _Destinations:
    """Destinations without a queue or filter for one reason."""

    macs: set[int] = field(default_factory=set)
    loads: list[Load] = field(default_factory=list)

    def add(self, mac: int, load: Load) -> None:
        self.macs.add(mac)
        self.loads.append(load)


@dataclass
class _LeftOut:
    """Destinations without a queue or filter, by reason."""

    zero_mac: _Destinations = field(default_factory=_Destinations)
    unusable_vid: _Destinations = field(default_factory=_Destinations)
    filters: _Destinations = field(default_factory=_Destinations)
    queues: _Destinations = field(default_factory=_Destinations)

    def loads(self) -> list[Load]:
        return [load for one in self._all() for load in one.loads]

    def macs(self) -> set[int]:
        return set().union(*(one.macs for one in self._all()))

    def _all(self) -> tuple[_Destinations, ...]:
        return (self.zero_mac, self.unusable_vid, self.filters, self.queues)

    def notes(self, hardware: Hardware) -> list[str]:
        whose = "each port's" if hardware.team else "the adapter's"
        left_out = (
            (self.zero_mac, "No filter can have the MAC 00:00:00:00:00:00"),
            (self.unusable_vid, "No filter can have the reserved VLAN id 4095"),
            (
                self.filters,
                f"Beyond {whose} {counted(hardware.filter_limit, 'filter')}, least seen first left out",
            ),
            (
                self.queues,
                f"Beyond {whose} {counted(hardware.queue_limit, 'queue')}, least seen first left out",
            ),
        )
        return [
            f"{what}; left to the default queue: {len(one.loads):,} of the destinations, {total(one.loads)}."
            for one, what in left_out
            for _ in one.loads[:1]
        ]


def _leave_out_least(per_mac: _Pairs, most: int, left: _LeftOut) -> None:
    """Keep the ``most`` pairs with the most frames, in place; add the others to ``left``."""
    pairs = [(mac, vlan, load) for mac, vlans in per_mac.items() for vlan, load in vlans]
    if len(pairs) <= most:
        return
    pairs.sort(key=lambda pair: (-pair[2].frames, pair[0], pair[1]))
    for mac, _, load in pairs[most:]:
        left.filters.add(mac, load)
    per_mac.clear()
    for mac, vlan, load in pairs[:most]:
        per_mac.setdefault(mac, []).append((vlan, load))


def _mac(mac: int, separator: str) -> str:
    return mac.to_bytes(6, "big").hex(separator)


def _vlan(code: int) -> Vlan:
    return code or "untagged"
