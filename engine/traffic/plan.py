"""Plan a scenario from traffic: a queue for every unicast destination (contract 4, ``plan``)."""

from dataclasses import dataclass, field

import msgspec

from engine.counted import counted
from engine.scenario.load import machine_name
from engine.scenario.model import AdapterSpec, CpuSpec, FilterSpec, HostSpec, QueueSpec, Scenario
from engine.scenario.relations import check_relations
from engine.scenario.values import Vlan
from engine.traffic.batch import Source
from engine.traffic.plan_count import VLAN_BITS, Load, TrafficCount, count, total
from engine.traffic.plan_placement import MAX_BUFFER_BYTES, eligible, home, size, spread

MAX_QUEUES = 4096
MAX_FILTERS = 65_536

_UNUSABLE_VID = 4095  # reserved by 802.1Q, so that no filter can have it

_Pairs = dict[int, list[tuple[int, Load]]]
"""VLANs (0: untagged) and loads, by MAC."""


@dataclass(frozen=True)
class Hardware:
    """The host and adapter to plan for. ``host_name`` None: this machine's name, not written to the file.

    ``max_queues``, ``max_filters`` and ``max_buffers`` None: as many as the traffic needs, up to an adapter's
    limits. ``base_cpu`` and ``max_cpus`` limit the processors of VMs' queues.
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

    @property
    def queue_limit(self) -> int:
        """Limit of queues without the default queue; each queue, including that one, needs a buffer."""
        most = MAX_QUEUES if self.max_queues is None else self.max_queues
        return most if self.max_buffers is None else min(most, self.max_buffers - 1)

    @property
    def filter_limit(self) -> int:
        """Limit of filters."""
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

    ``reasons`` has one entry for each of the adapter's queues, in order; ``default_queue`` is the load of
    queue 0. ``processors`` has the share of all work of each processor that serves or may serve a queue; VMs'
    queues were spread over the ``eligible`` ones. ``notes`` are sentences about destinations left out.
    """

    scenario: Scenario
    hardware: Hardware
    reasons: list[QueueReason]
    default_queue: Load
    default_peak: int
    processors: dict[int, float]
    eligible: list[int]
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
    processors = eligible(host, hardware.numa_node, hardware.base_cpu, hardware.max_cpus)
    default_cpu = home(host, hardware.numa_node)[0]
    cost = CpuSpec()
    counts = count(source, cost)
    left = _LeftOut()
    chosen = _choose(counts, hardware, left)
    loads = [total([load for _, load in filters]) for filters in chosen.values()]
    default = total([counts.others, *left.loads()])

    cycles = [load.cycles(cost) for load in loads]
    busy = dict.fromkeys(processors, 0.0) | {default_cpu: default.cycles(cost)}
    cpus = spread(cycles, processors, busy)
    work = sum(busy.values()) or 1.0
    ranks = sorted(range(len(cycles)), key=lambda q: (-cycles[q], q))
    places = {q: place for place, q in enumerate(ranks, 1)}

    peaks = [counts.peaks.get(mac) for mac in chosen]
    default_peak = counts.others_peak + sum(counts.peaks.get(mac, 0) for mac in left.macs())
    buffers, default_buffers, bounded = size(
        # Without a tracked peak, use half of the frames: ``MARGIN`` doubles it to all of them, the maximum.
        [-(-load.frames // 2) if peak is None else peak for peak, load in zip(peaks, loads, strict=True)],
        default_peak,
        counts.max_frame_bytes,
        hardware.max_buffers,
    )
    queues = [
        _queue(mac, filters, cpu, of_queue)
        for (mac, filters), cpu, of_queue in zip(chosen.items(), cpus, buffers, strict=True)
    ]
    adapter = _adapter(hardware, queues, counts.max_frame_bytes, default_cpu, default_buffers)
    return Plan(
        scenario=Scenario(host=host, adapter=[adapter]),
        hardware=hardware,
        reasons=[
            QueueReason(load, [one for _, one in filters], cycles[q] / work, places[q], peaks[q])
            for q, (load, filters) in enumerate(zip(loads, chosen.values(), strict=True))
        ],
        default_queue=default,
        default_peak=default_peak,
        processors={cpu: share / work for cpu, share in sorted(busy.items())},
        eligible=processors,
        buffers_bounded=bounded,
        notes=[*left.notes(hardware), *_forgotten(counts)],
    )


def _host(hardware: Hardware) -> HostSpec:
    """Return the planned host. Raises MisfitError if it is impossible."""
    host = HostSpec(
        name=machine_name() if hardware.host_name is None else hardware.host_name,
        cpus=hardware.cpus,
        hyperthreading=hardware.hyperthreading,
        numa_nodes=hardware.numa_nodes,
    )
    check_relations(Scenario(host=host, adapter=[AdapterSpec(numa_node=hardware.numa_node)]))
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
    _leave_out_least(per_mac, hardware.filter_limit, left)
    loads = {mac: total([load for _, load in pairs]) for mac, pairs in per_mac.items()}
    ranked = sorted(per_mac, key=lambda mac: (-loads[mac].frames, mac))
    for mac in ranked[hardware.queue_limit :]:
        left.queues.add(mac, loads[mac])
    return {
        mac: sorted(per_mac[mac], key=lambda pair: (-pair[1].frames, pair[0]))
        for mac in ranked[: hardware.queue_limit]
    }


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
    if adapter.total_buffers * max_frame_bytes > MAX_BUFFER_BYTES and adapter.buffers is None:
        # Plan fewer spare buffers for later queues than the default.
        within = max(adapter.asked_buffers, MAX_BUFFER_BYTES // max_frame_bytes)
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
        left_out = (
            (self.zero_mac, "No filter can have the MAC 00:00:00:00:00:00"),
            (self.unusable_vid, "No filter can have the reserved VLAN id 4095"),
            (
                self.filters,
                f"Beyond the adapter's {counted(hardware.filter_limit, 'filter')}, least seen first left out",
            ),
            (
                self.queues,
                f"Beyond the adapter's {counted(hardware.queue_limit, 'queue')}, least seen first left out",
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
