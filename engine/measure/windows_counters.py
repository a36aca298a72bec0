"""A Windows host's readings, from samples of its counters.

Windows has no counter of a queue. What a queue received is the growth of what its adapter received on its
processor, if no other queue of the adapter is there: exact. Else it is what the virtual adapters received
that have the queue's MACs, frames between VMs of the host included: derived. Else it is unknown. What virtual
adapters without a queue received is of the default queue, as far as that received so much (derived); of that
of a team's first member, as which one has it is not told (guessed).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from engine.counted import counted
from engine.measure.windows import WindowsHost
from engine.measure.windows_parts import PROCESSOR_COUNTERS, affinity, processor_names
from engine.measure.windows_tables import Remarks, Row, Sample, WindowsTables
from engine.ndis import counters
from engine.scenario.processor_set import Place
from engine.telemetry.bounds import MAX_TOP_PAIRS
from engine.telemetry.config import AdapterConfig, Vlan, ports_without_queue
from engine.telemetry.stats import AdapterStats, Cell, Columns, Source, Stats, TopPairs

ADAPTER_COUNTERS: Final = "Win32_PerfRawData_Counters_PerProcessorNetworkInterfaceCardActivity"
VNIC_COUNTERS: Final = "Win32_PerfRawData_NvspNicStats_HyperVVirtualNetworkAdapter"
PORT_COUNTERS: Final = "Get-NetAdapterStatistics"
QUEUES: Final = "Get-NetAdapterVmqQueue"
_QUEUE_NAMES: Final = counters.names(counters.QUEUE + counters.QUEUE_GAUGES + counters.QUEUE_LATENCY)
_CPU_NAMES: Final = counters.names(counters.CPU + counters.CPU_GAUGES)
_TICK_NS: Final = 100
_MOST_GROWTH: Final = 1 << 48
"""What grew by more was reset, or is no counter: bytes of ten hours at 64 Gbit/s, 325 days in ticks."""
_AS_IN_COUNTERS: Final = str.maketrans("()#/\\", "[]___")
"""Names of instances have other characters for these in some releases."""

_TOP_BYTES: Final = 1 << 60
_LARGEST_FRAME: Final = 1 << 18
"""Bytes of a frame that a virtual adapter may count as one: segments are merged."""
_LEAST_CERTAIN_FIRST: Final[tuple[Source, ...]] = ("guessed", "derived", "exact")

_PORT_KINDS: Final = ("ReceivedUnicastPackets", "ReceivedMulticastPackets", "ReceivedBroadcastPackets")

QueueKey = tuple[str, int]


@dataclass(frozen=True)
class Growth:
    """What a queue received since the sample before, and how it is known.

    ``frame_bytes`` is the mean size of what its virtual adapters received; None: nothing, or not known.
    """

    frames: int | None = None
    interrupts: int | None = None
    source: Source = "exact"
    frame_bytes: float | None = None


@dataclass(frozen=True)
class QueueCounts:
    """What a queue received so far, and how it is known."""

    frames: int | None
    interrupts: int | None
    source: Source
    bytes: int | None = None
    """``frames`` at the mean size of what the queue's virtual adapters received (derived)."""


@dataclass(frozen=True)
class CounterReading:
    """The counters of a sample, by what they belong to."""

    sample: Sample
    cpus: Mapping[int, Row]
    adapters: Mapping[tuple[str, int], Row]
    """What each adapter did on each processor."""
    vnics: Mapping[str, Row | None]
    """Each virtual adapter by its MAC; None: more than one."""
    ports: Mapping[str, Row]
    places: Mapping[QueueKey, Place | None]

    @cached_property
    def _crowds(self) -> Mapping[tuple[str, Place | None], int]:
        """The number of queues of each adapter at each place."""
        return Counter((adapter, place) for (adapter, _), place in self.places.items())

    def is_alone(self, key: QueueKey) -> bool:
        """Whether a queue has its processor to itself, of its adapter's queues; not if one's is not known."""
        place = self.places.get(key)
        return place is not None and self._crowds[key[0], place] == 1 and not self._crowds.get((key[0], None))


def read_stats(host: WindowsHost, tables: WindowsTables) -> list[Stats]:
    """Make a reading of each sample of ``tables``."""
    reader = CounterReader(host)
    readings = [reader.read(sample) for sample in tables.samples]
    growths = [reader.growth(before, now) for before, now in pairwise(readings)]
    keys = [(adapter.name, queue.queue_id) for adapter in host.config.adapters for queue in adapter.queues]
    unknown = {key for key in keys if not growths or any(one[key].frames is None for one in growths)}
    uncounted = {key for key in keys if not growths or any(one[key].interrupts is None for one in growths)}
    frames, interrupts = Counter[QueueKey](), Counter[QueueKey]()
    sizes = {key: FrameSizes(growth[key] for growth in growths) for key in keys}
    sources = {key: _worst({growth[key].source for growth in growths}) for key in keys}
    stats, tallies = [], Tallies()
    for number, reading in enumerate(readings):
        for key, growth in growths[number - 1].items() if number else ():
            frames[key] += growth.frames or 0
            sizes[key].add(growth)
            interrupts[key] += growth.interrupts or 0
        if growths:
            tallies.add(readings[max(0, number - 1)], reading)
        counts = {
            key: QueueCounts(
                None if key in unknown else frames[key],
                None if key in uncounted else interrupts[key],
                sources[key],
                None if key in unknown else sizes[key].bytes,
            )
            for key in keys
        }
        sim_time_ns = reading.sample.time_ns - readings[0].sample.time_ns
        stats.append(make_stats(host, reading, number + 1, sim_time_ns, counts, tallies, tables.averaged))
    _say_unknown(host, keys, unknown, bool(growths), tables.remarks)
    return stats


class FrameSizes:
    """The bytes of a queue's frames, by the mean size that was known last; ``growths`` have the first one."""

    def __init__(self, growths: Iterable[Growth] = ()) -> None:
        self._mean = next((one.frame_bytes for one in growths if one.frame_bytes is not None), None)
        self._total: float | None = 0.0

    @property
    def bytes(self) -> int | None:
        """Bytes so far; None if there were frames of a size that is not known."""
        return None if self._total is None else round(self._total)

    def add(self, growth: Growth) -> None:
        """Add the frames of an interval."""
        self._mean = self._mean if growth.frame_bytes is None else growth.frame_bytes
        if growth.frames and self._total is not None:
            self._total = None if self._mean is None else self._total + growth.frames * self._mean
            if self._total is not None and self._total > _TOP_BYTES:
                self._total = None


def _say_unknown(
    host: WindowsHost, keys: Iterable[QueueKey], unknown: set[QueueKey], sampled: bool, remarks: Remarks
) -> None:
    if not sampled:
        remarks.add("there are no two samples of counters: no rates are known")
        return
    for adapter in host.config.adapters:
        own = [key for key in keys if key[0] == adapter.name]
        count = sum(key in unknown for key in own)
        if count:
            remarks.add(
                f"{adapter.name}: what {count} of its {counted(len(own), 'queue')} received is not known:"
                " nothing counts frames on a processor of theirs alone, or of a virtual adapter of theirs"
                " alone"
            )


class CounterReader:
    """Reads samples of a host, and what its queues received between two of them."""

    def __init__(self, host: WindowsHost) -> None:
        self._host = host
        self._config = host.config
        self._groups = len({cpu.name.partition(":")[0] for cpu in host.config.cpus})
        self._cpu_ids = {cpu.id for cpu in host.config.cpus}
        names = Counter(_normal(described) for described in host.descriptions.values() if described)
        self._by_description = {
            _normal(described): name
            for name, described in host.descriptions.items()
            if described and names[_normal(described)] == 1
        }
        self._macs_of = {
            (adapter.name, queue.queue_id): {
                one.mac for one in adapter.filters if one.queue_id == queue.queue_id
            }
            for adapter in host.config.adapters
            for queue in adapter.queues
        }
        self._queues_of = Counter(mac for macs in self._macs_of.values() for mac in macs)
        """The number of queues, on all adapters, that have each MAC."""

    def read(self, sample: Sample) -> CounterReading:
        names = processor_names(sample.rows(PROCESSOR_COUNTERS))
        return CounterReading(
            sample,
            {
                names[name]: row
                for row in sample.rows(PROCESSOR_COUNTERS)
                if (name := row.text("Name")) in names
            },
            self._adapters(sample),
            self._vnics(sample),
            self._ports(sample),
            self._places(sample),
        )

    def _ports(self, sample: Sample) -> dict[str, Row]:
        """Rows by adapter: named by the cmdlet, and by their description in a file of counters."""
        found = {}
        for row in sample.rows(PORT_COUNTERS):
            name = row.text("Name") or self._by_description.get(_normal(row.text("InterfaceDescription")), "")
            found[name] = row
        return found

    def _adapters(self, sample: Sample) -> dict[tuple[str, int], Row]:
        """Rows by adapter and processor. An instance is "PROCESSOR, DESCRIPTION"."""
        found: dict[tuple[str, int], Row] = {}
        for row in sample.rows(ADAPTER_COUNTERS):
            number, _, described = row.text("Name").partition(",")
            adapter = self._by_description.get(_normal(described))
            cpu = int(number) if number.strip().isdecimal() and len(number) < 6 else None
            if adapter is not None and cpu in self._cpu_ids:
                found[adapter, cpu] = row
        return found

    def _vnics(self, sample: Sample) -> dict[str, Row | None]:
        """Virtual adapters by MAC: the row of the one whose identifiers are all in the instance's name."""
        by_guid: dict[str, list[Row]] = defaultdict(list)
        for row in sample.rows(VNIC_COUNTERS):
            for part in row.text("Name").lower().split("_")[-1].split("--"):
                by_guid[part.strip("{}")].append(row)
        found: dict[str, Row | None] = {}
        for vnic in self._host.vnics:
            rows = by_guid.get(vnic.guids[-1], []) if vnic.guids else []
            own = [row for row in rows if all(guid in row.text("Name").lower() for guid in vnic.guids)]
            found[vnic.mac] = own[0] if len(own) == 1 and vnic.mac not in found else None
        return found

    def _places(self, sample: Sample) -> dict[QueueKey, Place | None]:
        rows = sample.rows(QUEUES)
        if rows:
            return {
                (row.text("Name"), queue_id): affinity(row)
                for row in rows
                if (queue_id := row.number("QueueID")) is not None
            }
        names = {cpu.id: Place(*map(int, cpu.name.split(":"))) for cpu in self._config.cpus}
        return {
            (adapter.name, queue.queue_id): None if queue.cpu is None else names[queue.cpu]
            for adapter in self._config.adapters
            for queue in adapter.queues
        }

    # --- growth ---------------------------------------------------------------------------------

    def growth(self, before: CounterReading, now: CounterReading) -> dict[QueueKey, Growth]:
        """What each queue of the configuration received between two samples."""
        ids = {Place(*map(int, cpu.name.split(":"))): cpu.id for cpu in self._config.cpus}
        found: dict[QueueKey, Growth] = {}
        for key in self._macs_of:
            place = now.places.get(key)
            cpu = ids.get(place) if place is not None and before.places.get(key) == place else None
            rows = (
                (before.adapters.get((key[0], cpu)), now.adapters.get((key[0], cpu)))
                if cpu is not None
                else ()
            )
            may_be = cpu is not None and key[0] not in self._host.spread
            alone = may_be and before.is_alone(key) and now.is_alone(key)
            frames = _grown(rows, "ReceivedPacketsPersec") if alone else None
            interrupts = _grown(rows, "InterruptsPersec") if alone else None
            source: Source = "exact" if self._groups < 2 else "guessed"
            was_there = key in before.places and key in now.places
            received = self._of_vnics(self._macs_of[key], before, now, "PacketsReceivedPersec")
            size = self._of_vnics(self._macs_of[key], before, now, "BytesReceivedPersec")
            if frames is None and was_there:
                frames, source = received, "derived"
            mean = size / received if size and received else None
            fits = mean is not None and mean <= _LARGEST_FRAME
            found[key] = Growth(frames, interrupts, source, mean if fits else None)
        return found

    def _of_vnics(self, macs: set[str], before: CounterReading, now: CounterReading, key: str) -> int | None:
        """The growth of a counter of all virtual adapters of a queue; None if another queue has one, too."""
        if any(self._queues_of[mac] > 1 for mac in macs):
            return None
        return _sum(_grown((before.vnics.get(mac), now.vnics.get(mac)), key) for mac in macs)


def _grown(rows: Sequence[Row | None], key: str) -> int | None:
    numbers = [None if row is None else row.number(key) for row in rows]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    grown = numbers[1] - numbers[0]
    return grown if 0 <= grown <= _MOST_GROWTH else None


def _normal(description: str) -> str:
    return description.translate(_AS_IN_COUNTERS).strip().lower()


# --- stats ----------------------------------------------------------------------------------------------


class Tallies:
    """What counters grew by since the first sample, by the group, the thing and the property counted.

    One that went back is not known from then on: it was reset, and what it counted before is lost.
    """

    def __init__(self, *, restart: bool = False) -> None:
        """``restart``: count from 0 again after what went back; the counter itself has gone back then."""
        self._totals: dict[tuple[object, ...], int | None] = {}
        self._restart = restart

    def add(self, before: CounterReading, now: CounterReading) -> None:
        """Add the growth between two samples; of a sample and itself for the first one."""
        for group in _TALLIED:
            older: Mapping[object, Row | None] = getattr(before, group)
            newer: Mapping[object, Row | None] = getattr(now, group)
            for thing in {*older, *newer}:
                for key in _TALLIED[group]:
                    grown = _grown((older.get(thing), newer.get(thing)), key)
                    total = self._totals.get((group, thing, key), 0)
                    total = 0 if total is None and self._restart else total
                    lost = grown is None or total is None or total > _MOST_GROWTH
                    self._totals[group, thing, key] = None if lost else (total or 0) + (grown or 0)

    def begin(self, group: str, things: Iterable[object]) -> None:
        """Count what these things do from now on."""
        self._totals |= {(group, thing, key): 0 for thing in things for key in _TALLIED[group]}

    def sum(self, group: str, thing: object, *keys: str) -> int | None:
        """The sum of a thing's properties; None if one is not known."""
        return _sum(self._totals.get((group, thing, key)) for key in keys)


_TALLIED: Final = {
    "cpus": ("PercentDPCTime", "PercentInterruptTime", "Timestamp_Sys100NS"),
    "adapters": ("InterruptsPersec", "DPCsQueuedPersec", "ReceivedPacketsPersec"),
    "ports": (*_PORT_KINDS, "ReceivedBytes", "ReceivedDiscardedPackets"),
    "vnics": ("PacketsReceivedPersec",),
}


def make_stats(
    host: WindowsHost,
    reading: CounterReading,
    seq: int,
    sim_time_ns: int,
    counts: Mapping[QueueKey, QueueCounts],
    tallies: Tallies,
    averaged: bool = False,
) -> Stats:
    """Make the stats of a reading, of what was counted until then."""
    cpus = _cpus(host, reading, tallies)
    without_queue = ports_without_queue(host.config)
    return Stats(
        seq=seq,
        sim_time_ns=sim_time_ns,
        time_ns=reading.sample.time_ns,
        revision=host.config.revision,
        cpus=cpus,
        adapters={
            adapter.name: _adapter(adapter, counts, tallies, averaged, without_queue[adapter.name])
            for adapter in host.config.adapters
        },
        sources=_told({name: "exact" for name, cells in cpus.items() if {*cells} != {None}}, averaged),
    )


def _pairs(
    ports: Mapping[str, Sequence[Vlan]],
    adapter: AdapterConfig,
    default: QueueCounts | None,
    tallies: Tallies,
) -> TopPairs | None:
    """Return what ports without a queue received, most frames first; None if it is known of none of them.

    It is no more than the default queue received, unless other members of a team may have received it. A port
    of several VLANs is left out: what it received is not counted by VLAN.
    """
    may_be_less = default is not None and default.source != "derived" and adapter.team is None
    most = default.frames if default is not None and may_be_less else None
    received = [
        (mac, vlans[0], tallies.sum("vnics", mac, *_TALLIED["vnics"]))
        for mac, vlans in ports.items()
        if len(vlans) == 1
    ]
    rows = [
        (mac, vlan, frames if most is None else min(frames, most))
        for mac, vlan, frames in received
        if vlan is not None and frames is not None
    ]
    if ports and not rows:
        return None
    rows = sorted(rows, key=lambda row: -row[2])[:MAX_TOP_PAIRS]
    return TopPairs(
        mac=[mac for mac, _, _ in rows],
        vlan=[vlan for _, vlan, _ in rows],
        reason=["no_queue"] * len(rows),
        frames=[frames for _, _, frames in rows],
        error=[0] * len(rows),
    )


def _cpus(host: WindowsHost, reading: CounterReading, tallies: Tallies) -> Columns:
    """Columns of processors. Busy time is that in DPCs and interrupts, of all devices, in nanoseconds."""
    ids = [cpu.id for cpu in host.config.cpus]
    columns: Columns = {"id": [*ids], **{name: [None] * len(ids) for name in _CPU_NAMES}}
    served = Counter(queue.cpu for adapter in host.config.adapters for queue in adapter.queues)
    columns["queues"] = [None if served[None] else served[cpu] for cpu in ids]
    of_cpu: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for thing in reading.adapters:
        of_cpu[thing[1]].append(thing)
    for index, cpu in enumerate(ids):
        busy = tallies.sum("cpus", cpu, "PercentDPCTime", "PercentInterruptTime")
        budget = tallies.sum("cpus", cpu, "Timestamp_Sys100NS")
        if busy is not None and budget is not None:
            columns["busy_cycles"][index], columns["budget_cycles"][index] = (
                busy * _TICK_NS,
                budget * _TICK_NS,
            )
        own = of_cpu[cpu]
        for name, key in zip(("interrupts", "dpcs", "indicated_frames"), _TALLIED["adapters"], strict=True):
            columns[name][index] = _sum(tallies.sum("adapters", thing, key) for thing in own)
    return columns


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if not known or None in known else sum(number or 0 for number in known)


def _adapter(
    adapter: AdapterConfig,
    counts: Mapping[QueueKey, QueueCounts],
    tallies: Tallies,
    averaged: bool,
    without_queue: Mapping[str, Sequence[Vlan]],
) -> AdapterStats:
    own = [counts[adapter.name, queue.queue_id] for queue in adapter.queues]
    queues: Columns = {name: [None] * len(own) for name in _QUEUE_NAMES}
    queues["received_frames"] = [one.frames for one in own]
    queues["interrupts"] = [one.interrupts for one in own]
    queues["received_bytes"] = [one.bytes for one in own]
    port: dict[str, Cell] = dict.fromkeys(counters.names(counters.PORT))
    port["offered_frames"] = tallies.sum("ports", adapter.name, *_PORT_KINDS)
    port["offered_bytes"] = tallies.sum("ports", adapter.name, "ReceivedBytes")
    interface: dict[str, Cell] = dict.fromkeys(counters.names(counters.INTERFACE))
    discarded = tallies.sum("ports", adapter.name, "ReceivedDiscardedPackets")
    interface["interface_dropped_frames"] = discarded
    known: dict[str, Source] = {
        name: "exact" for name, cell in [*port.items(), *interface.items()] if cell is not None
    }
    if found := {one.source for one in own if one.frames is not None}:
        known["received_frames"] = _worst(found)
    for name in ("interrupts", "received_bytes"):
        if any(cell is not None for cell in queues[name]):
            known[name] = "derived"
    pairs = _pairs(without_queue, adapter, counts.get((adapter.name, 0)), tallies)
    if pairs is not None and pairs.mac:
        known["default_queue_top"] = "derived" if adapter.team is None else "guessed"
    filters = [one.filter_id for one in adapter.filters]
    return AdapterStats(
        port=port,
        queues={
            "id": [queue.queue_id for queue in adapter.queues],
            "generation": [queue.generation for queue in adapter.queues],
            **queues,
        },
        filters={"id": [*filters], "matched_frames": [None] * len(filters)},
        freed=dict.fromkeys(counters.names(counters.QUEUE)),
        default_queue=dict.fromkeys(counters.names(counters.DEFAULT_QUEUE_REASONS)),
        default_queue_top=pairs,
        interface=None if discarded is None else interface,
        sources=_told(known, averaged),
    )


def _worst(sources: Set[Source]) -> Source:
    return next((one for one in _LEAST_CERTAIN_FIRST if one in sources), "exact")


def _told(sources: Mapping[str, Source], averaged: bool) -> dict[str, Source]:
    return {name: "derived" if averaged and source == "exact" else source for name, source in sources.items()}
