"""A scenario planned from traffic: a queue for every unicast destination seen (contract 4, ``plan``)."""

from dataclasses import dataclass, field

import msgspec

from engine.counted import counted
from engine.scenario.load import machine_name
from engine.scenario.model import AdapterSpec, CpuSpec, FilterSpec, HostSpec, QueueSpec, Scenario
from engine.scenario.relations import check_relations
from engine.scenario.values import Vlan
from engine.traffic.batch import Source
from engine.traffic.plan_count import VLAN_BITS, Load, count, total
from engine.traffic.plan_placement import MAX_BUFFER_BYTES, eligible, home, size, spread

MAX_QUEUES = 4096
MAX_FILTERS = 65_536

_UNUSABLE_VID = 4095  # tagged with it: no filter can ask for it (802.1Q reserves it)

_Pairs = dict[int, list[tuple[int, Load]]]
"""VLANs (0: untagged) and loads, by MAC."""


@dataclass(frozen=True)
class Hardware:
    """The host and adapter that a plan has to fit. ``host_name`` None: this machine's, left out of the file.

    ``max_queues``, ``max_filters`` and ``max_buffers`` None: what the traffic takes, within what an adapter
    can have. ``base_cpu`` and ``max_cpus`` say which processors VMs' queues may use.
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
        """Most queues besides the default queue; each needs a buffer."""
        most = MAX_QUEUES if self.max_queues is None else self.max_queues
        return most if self.max_buffers is None else min(most, self.max_buffers - 1)

    @property
    def filter_limit(self) -> int:
        """Most filters."""
        return MAX_FILTERS if self.max_filters is None else self.max_filters


@dataclass(frozen=True)
class QueueReason:
    """Why a queue is as it is: what it would take, ``share`` of all work, which place it had when queues were
    given processors (from 1), and how many of its frames would have waited at once (None: not followed)."""

    load: Load
    filters: list[Load]
    share: float
    place: int
    peak: int | None


@dataclass(frozen=True, eq=False)
class Plan:
    """A scenario and why it is so. ``reasons`` are those of the adapter's queues, in order;
    ``default_queue`` is what is left for queue 0. ``processors`` has the share of all work of each that
    serves a queue or may; VMs' queues were spread over the ``eligible``. ``notes`` are sentences on what was
    left out."""

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
        """What each queue would take."""
        return [reason.load for reason in self.reasons]


def plan(source: Source, hardware: Hardware = Hardware()) -> Plan:
    """Read ``source`` to its end and plan a queue for every unicast MAC that passes the port checks, a
    filter for each VLAN it was seen with ("untagged" for none, VID 0 or an outer tag other than 0x8100).

    Queues come with most frames first, by MAC where equal. Processors and buffers: ``plan_placement``.
    What ``source`` raises passes. Raises NoProcessorError, and MisfitError for a host that can't be.
    """
    host = HostSpec(
        name=machine_name() if hardware.host_name is None else hardware.host_name,
        cpus=hardware.cpus,
        hyperthreading=hardware.hyperthreading,
        numa_nodes=hardware.numa_nodes,
    )
    check_relations(Scenario(host=host, adapter=[AdapterSpec(numa_node=hardware.numa_node)]))
    processors = eligible(host, hardware.numa_node, hardware.base_cpu, hardware.max_cpus)
    default_cpu = home(host, hardware.numa_node)[0]
    cost = CpuSpec()
    seen = count(source, cost)
    left = _LeftOut()
    per_mac: _Pairs = {}
    for key, frames, wire_bytes in zip(
        seen.keys.tolist(), seen.frames.tolist(), seen.wire_bytes.tolist(), strict=True
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
    ranked = sorted(per_mac, key=lambda mac: (-total([load for _, load in per_mac[mac]]).frames, mac))
    for mac in ranked[hardware.queue_limit :]:
        left.queues.add(mac, total([load for _, load in per_mac[mac]]))
    ranked = ranked[: hardware.queue_limit]
    filters = [sorted(per_mac[mac], key=lambda item: (-item[1].frames, item[0])) for mac in ranked]
    loads = [total([load for _, load in one]) for one in filters]
    default = total([seen.others, *left.loads()])

    cycles = [load.cycles(cost) for load in loads]
    busy = dict.fromkeys(processors, 0.0) | {default_cpu: default.cycles(cost)}
    chosen = spread(cycles, processors, busy)
    work = sum(busy.values()) or 1.0
    places = {
        q: place for place, q in enumerate(sorted(range(len(cycles)), key=lambda q: (-cycles[q], q)), 1)
    }

    peaks = [seen.peaks.get(mac) for mac in ranked]
    default_peak = seen.others_peak + sum(seen.peaks.get(mac, 0) for mac in left.macs())
    buffers, default_buffers, bounded = size(
        # Half of what it has where nobody counted: no more than all of it can wait at once.
        [-(-load.frames // 2) if peak is None else peak for peak, load in zip(peaks, loads, strict=True)],
        default_peak,
        seen.max_frame_bytes,
        hardware.max_buffers,
    )
    queues = [
        QueueSpec(
            name=f"vm-{_mac(mac, '-')}",
            vm=f"vm-{_mac(mac, '-')}",
            cpu=chosen[q],
            buffers=buffers[q],
            filter=[FilterSpec(mac=_mac(mac, ":"), vlan=_vlan(vlan)) for vlan, _ in filters[q]],
        )
        for q, mac in enumerate(ranked)
    ]
    defaults = AdapterSpec()
    needed_filters = sum(len(one) for one in filters)
    adapter = AdapterSpec(
        link_gbps=hardware.link_gbps,
        max_queues=hardware.max_queues
        if hardware.max_queues is not None
        else max(defaults.max_queues, len(queues)),
        max_filters=(
            hardware.max_filters
            if hardware.max_filters is not None
            else max(defaults.max_filters, needed_filters)
        ),
        max_frame_bytes=seen.max_frame_bytes,
        buffers=hardware.max_buffers,
        default_queue_buffers=default_buffers,
        default_queue_cpu=default_cpu,
        numa_node=hardware.numa_node,
        queue=queues,
    )
    if adapter.total_buffers * adapter.max_frame_bytes > MAX_BUFFER_BYTES and adapter.buffers is None:
        # Fewer than the default for queues that come later.
        within = max(adapter.asked_buffers, MAX_BUFFER_BYTES // adapter.max_frame_bytes)
        adapter = msgspec.structs.replace(adapter, buffers=within)
    notes = left.notes(hardware)
    if seen.forgotten:
        notes.append(
            f"Too many destinations to count at a time: {counted(seen.forgotten, 'frame')} of the least"
            " seen ones left to the default queue."
        )
    return Plan(
        scenario=Scenario(host=host, adapter=[adapter]),
        hardware=hardware,
        reasons=[
            QueueReason(loads[q], [load for _, load in filters[q]], cycles[q] / work, places[q], peaks[q])
            for q in range(len(queues))
        ],
        default_queue=default,
        default_peak=default_peak,
        processors={cpu: share / work for cpu, share in sorted(busy.items())},
        eligible=processors,
        buffers_bounded=bounded,
        notes=notes,
    )


@dataclass
class _Some:
    """Destinations that have no queue or filter, for one reason."""

    macs: set[int] = field(default_factory=set)
    loads: list[Load] = field(default_factory=list)

    def add(self, mac: int, load: Load) -> None:
        self.macs.add(mac)
        self.loads.append(load)


@dataclass
class _LeftOut:
    """What can't have a queue or filter, by reason."""

    zero_mac: _Some = field(default_factory=_Some)
    unusable_vid: _Some = field(default_factory=_Some)
    filters: _Some = field(default_factory=_Some)
    queues: _Some = field(default_factory=_Some)

    def loads(self) -> list[Load]:
        return [load for one in self._all() for load in one.loads]

    def macs(self) -> set[int]:
        return set().union(*(one.macs for one in self._all()))

    def _all(self) -> tuple[_Some, ...]:
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
    """Keep the ``most`` pairs with most frames; a MAC without any goes."""
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
