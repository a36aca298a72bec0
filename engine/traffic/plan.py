"""A scenario planned from traffic: a queue for every unicast destination seen (contract 4, ``plan``)."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.scenario.load import machine_name
from engine.scenario.model import AdapterSpec, CpuSpec, FilterSpec, HostSpec, QueueSpec, Scenario, Vlan
from engine.scenario.values import one_line
from engine.traffic.batch import MAX_CAPTURED_BYTES, FrameBatch, Source

MAX_DESTINATIONS = 1 << 20
"""Most pairs of MAC and VLAN counted at a time; beyond that the least seen are forgotten, with a note."""

MAX_QUEUES = 4096
MAX_FILTERS = 65_536
MIN_FRAME_BYTES_LIMIT = 1518
MAX_FRAME_BYTES_LIMIT = 65_535
MAX_BUFFERS = 65_536
MAX_BUFFER_BYTES = 64 * 1024 * 1024
"""What all receive buffers of a plan should take at most, so that it runs where shared memory is small."""

_NO_LIMIT_NS = 2**62
_BATCH_FRAMES = 1 << 18
_BATCH_BYTES = 32 * 1024 * 1024
_VLAN_BITS = 12
_UNUSABLE_VID = 4095  # tagged with it: no filter can ask for it (802.1Q reserves it)
_GROUP = np.uint64(2**64 - 1)  # the key of all group addresses together: they have no queue
_PENDING_ROWS = 1 << 18

_Columns = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Keys, captured lengths, frames, wire bytes."""


@dataclass(frozen=True)
class Load:
    """What a queue or a filter would have taken."""

    frames: int
    wire_bytes: int


@dataclass(frozen=True, eq=False)
class Plan:
    """A scenario and why it is so. ``queues[q]`` and ``filters[q][f]`` are what that queue and filter of
    the one adapter would take, ``default_queue`` what is left; ``notes`` are sentences on what was left
    out. ``host_named`` is false where the host's name is only this machine's."""

    scenario: Scenario
    queues: list[Load]
    filters: list[list[Load]]
    default_queue: Load
    notes: list[str]
    host_named: bool


def plan(source: Source, *, cpus: int = 8, host_name: str | None = None, link_gbps: float = 10.0) -> Plan:
    """Read ``source`` to its end and plan a queue for every unicast MAC that passes the port checks, a
    filter for each VLAN it was seen with ("untagged" for none, VID 0 or an outer tag other than 0x8100).

    Queues come with most frames first, by MAC where equal, and are spread over the processors by what
    their frames would cost, the costliest first, each to the least loaded. What ``source`` raises passes.
    """
    seen = _count(source)
    per_mac: dict[int, list[tuple[int, Load]]] = {}
    lost = _Lost()
    for key, frames, wire_bytes in zip(
        seen.keys.tolist(), seen.frames.tolist(), seen.wire_bytes.tolist(), strict=True
    ):
        mac, vlan = key >> _VLAN_BITS, key & (1 << _VLAN_BITS) - 1
        load = Load(frames, wire_bytes)
        if mac == 0:
            lost.zero_mac.append(load)
        elif vlan == _UNUSABLE_VID:
            lost.unusable_vid.append(load)
        else:
            per_mac.setdefault(mac, []).append((vlan, load))
    _leave_out_least(per_mac, lost)
    ranked = sorted(per_mac, key=lambda mac: (-sum(load.frames for _, load in per_mac[mac]), mac))
    for mac in ranked[MAX_QUEUES:]:
        lost.queues.append(_sum([load for _, load in per_mac[mac]]))
    ranked = ranked[:MAX_QUEUES]
    filters = [sorted(per_mac[mac], key=lambda item: (-item[1].frames, item[0])) for mac in ranked]
    loads = [_sum([load for _, load in one]) for one in filters]
    default = _sum([seen.others, *lost.all()])
    buffers, default_buffers = _buffers(loads, default, seen.max_frame_bytes)
    processors = _spread(loads, default, cpus)
    queues = [
        QueueSpec(
            name=f"vm-{_mac(mac, '-')}",
            vm=f"vm-{_mac(mac, '-')}",
            cpu=processors[q],
            buffers=buffers[q],
            filter=[FilterSpec(mac=_mac(mac, ":"), vlan=_vlan(vlan)) for vlan, _ in filters[q]],
        )
        for q, mac in enumerate(ranked)
    ]
    adapter = AdapterSpec(
        link_gbps=link_gbps,
        max_queues=max(AdapterSpec().max_queues, len(queues)),
        max_filters=max(AdapterSpec().max_filters, sum(len(one) for one in filters)),
        max_frame_bytes=seen.max_frame_bytes,
        default_queue_buffers=default_buffers,
        queue=queues,
    )
    host = HostSpec(name=machine_name() if host_name is None else host_name, cpus=cpus)
    notes = lost.notes()
    if seen.forgotten:
        notes.append(
            f"More than {MAX_DESTINATIONS:,} destinations: {seen.forgotten:,} frames of the least seen ones"
            " were not counted."
        )
    return Plan(
        scenario=Scenario(host=host, adapter=[adapter]),
        queues=loads,
        filters=[[load for _, load in one] for one in filters],
        default_queue=default,
        notes=notes,
        host_named=host_name is not None,
    )


def to_toml(planned: Plan, title: str = "") -> str:
    """The plan as a scenario file, with what each queue and filter is for in comments; ``title`` is the
    first of them."""
    host, adapter = planned.scenario.host, planned.scenario.adapter[0]
    lines = [f"# {one_line(title)}"] if title else []
    lines += [
        f"# Queues: {len(adapter.queue):,}, most frames first. Filters:"
        f" {sum(len(queue.filter) for queue in adapter.queue):,}.",
        "# Processors: the costliest queue first, each to the least loaded one; the default queue is on 0.",
        f"# The default queue takes {_words(planned.default_queue)}.",
        *(f"# {note}" for note in planned.notes),
        "",
        "[host]",
        *([f'name = "{host.name}"'] if planned.host_named else []),
        f"cpus = {host.cpus}",
        "",
        "[[adapter]]",
        f'name = "{adapter.name}"',
        f'ndis_version = "{adapter.ndis_version}"',
        f"link_gbps = {float(adapter.link_gbps)!r}",
        f"max_queues = {adapter.max_queues}",
        f"max_filters = {adapter.max_filters}",
        f"max_frame_bytes = {adapter.max_frame_bytes}",
        f"default_queue_buffers = {adapter.default_queue_buffers}",
        f"default_queue_cpu = {adapter.default_queue_cpu}",
    ]
    for queue, load, filter_loads in zip(adapter.queue, planned.queues, planned.filters, strict=True):
        lines += [
            "",
            f"  [[adapter.queue]]  # {_words(load)}",
            f'  name = "{queue.name}"',
            f'  vm = "{queue.vm}"',
            f"  cpu = {queue.cpu}",
            f"  buffers = {queue.buffers}",
        ]
        for spec, filter_load in zip(queue.filter, filter_loads, strict=True):
            vlan = f'"{spec.vlan}"' if isinstance(spec.vlan, str) else spec.vlan
            lines += [
                f"    [[adapter.queue.filter]]  # {_words(filter_load)}",
                f'    mac = "{spec.mac}"',
                f"    vlan = {vlan}",
            ]
    return "\n".join(lines) + "\n"


class _Lost:
    """What can't have a queue or filter, by reason."""

    def __init__(self) -> None:
        self.zero_mac: list[Load] = []
        self.unusable_vid: list[Load] = []
        self.filters: list[Load] = []
        self.queues: list[Load] = []

    def all(self) -> list[Load]:
        return [*self.zero_mac, *self.unusable_vid, *self.filters, *self.queues]

    def notes(self) -> list[str]:
        left_out = (
            (self.zero_mac, "No filter can have the MAC 00:00:00:00:00:00"),
            (self.unusable_vid, "No filter can have the reserved VLAN id 4095"),
            (
                self.filters,
                f"Beyond the {MAX_FILTERS:,} filters an adapter can have, least seen first left out",
            ),
            (self.queues, f"Beyond the {MAX_QUEUES:,} queues an adapter can have, least seen first left out"),
        )
        return [
            f"{what}; left to the default queue: {len(loads):,} of the destinations, {_words(_sum(loads))}."
            for loads, what in left_out
            if loads
        ]


@dataclass(frozen=True, eq=False)
class _Seen:
    """The count of a whole source. ``keys`` (n,) uint64 are MAC << 12 | VLAN (0: untagged); ``others``
    passed the port checks but have no unicast destination; ``forgotten`` frames are among them."""

    keys: NDArray[np.uint64]
    frames: NDArray[np.int64]
    wire_bytes: NDArray[np.int64]
    others: Load
    forgotten: int
    max_frame_bytes: int


class _Tally:
    """Frames and bytes by destination, and by captured length where that decides whether they count.

    Columns are sorted by (key, captured) after ``merge``; ``captured`` is 0 for frames that count for sure.
    """

    def __init__(self) -> None:
        self.keys = np.empty(0, np.uint64)
        self.captured = np.empty(0, np.int64)
        self.frames = np.empty(0, np.int64)
        self.wire_bytes = np.empty(0, np.int64)
        self.forgotten = Load(0, 0)
        self._pending: list[_Columns] = []
        self._pending_rows = 0

    def add(self, keys: NDArray[np.uint64], captured: NDArray[np.int64], wire: NDArray[np.int64]) -> None:
        """One row a frame."""
        reduced = _reduced(keys, captured, np.ones(len(keys), np.int64), wire)
        self._pending.append(reduced)
        self._pending_rows += len(reduced[0])
        if self._pending_rows > max(_PENDING_ROWS, len(self.keys)):
            self.merge()

    def merge(self) -> None:
        """Bring what was added into the columns, and those under their bound."""
        columns = zip((self.keys, self.captured, self.frames, self.wire_bytes), *self._pending, strict=True)
        keys, captured, frames, wire_bytes = _reduced(*(np.concatenate(column) for column in columns))
        self._pending = []
        self._pending_rows = 0
        if len(keys) > MAX_DESTINATIONS:
            by_frames = np.lexsort((keys, -frames))
            least, most = by_frames[MAX_DESTINATIONS:], np.sort(by_frames[:MAX_DESTINATIONS])
            gone = Load(int(frames[least].sum()), int(wire_bytes[least].sum()))
            self.forgotten = _sum([self.forgotten, gone])
            keys, captured, frames, wire_bytes = keys[most], captured[most], frames[most], wire_bytes[most]
        self.keys, self.captured, self.frames, self.wire_bytes = keys, captured, frames, wire_bytes


def _reduced(
    keys: NDArray[np.uint64],
    captured: NDArray[np.int64],
    frames: NDArray[np.int64],
    wire_bytes: NDArray[np.int64],
) -> _Columns:
    """The same columns, one row for each (key, captured), sorted."""
    if not len(keys):
        return keys, captured, frames, wire_bytes
    order = np.lexsort((captured, keys)) if captured.any() else np.argsort(keys)
    keys, captured = keys[order], captured[order]
    new = np.concatenate(([True], (keys[1:] != keys[:-1]) | (captured[1:] != captured[:-1])))
    starts = np.flatnonzero(new)
    return (
        keys[starts],
        captured[starts],
        np.add.reduceat(frames[order], starts),
        np.add.reduceat(wire_bytes[order], starts),
    )


def _count(source: Source) -> _Seen:
    # 16 bytes more than the batch may use: destination and tag are gathered in words that may overhang.
    data = np.zeros(_BATCH_BYTES + 16, np.uint8)
    batch = FrameBatch(
        data=data[:_BATCH_BYTES],
        offset=np.zeros(_BATCH_FRAMES, np.int64),
        captured=np.zeros(_BATCH_FRAMES, np.uint32),
        wire=np.zeros(_BATCH_FRAMES, np.uint32),
        arrival_ns=np.zeros(_BATCH_FRAMES, np.int64),
        adapter=np.zeros(_BATCH_FRAMES, np.uint16),
    )
    words8: NDArray[np.uint64] = np.ndarray((_BATCH_BYTES + 1,), ">u8", data, strides=(1,))
    words4: NDArray[np.uint32] = np.ndarray((_BATCH_BYTES + 1,), ">u4", data, offset=12, strides=(1,))
    tally = _Tally()
    longest = MIN_FRAME_BYTES_LIMIT
    next_ns: int | None = 0
    while next_ns is not None:
        filled = source.fill(batch, _NO_LIMIT_NS)
        next_ns = filled.next_ns
        count = filled.frames
        captured, wire = batch.captured[:count].astype(np.int64), batch.wire[:count].astype(np.int64)
        longest = max(longest, min(int(wire.max(initial=0)), MAX_FRAME_BYTES_LIMIT))
        tag = words4[batch.offset[:count]].astype(np.int64)
        tagged = tag >> 16 == 0x8100
        fits = (captured >= np.where(tagged, 16, 14)) & (captured <= MAX_CAPTURED_BYTES)
        fits &= wire <= MAX_FRAME_BYTES_LIMIT
        captured, wire, tag, tagged = captured[fits], wire[fits], tag[fits], tagged[fits]
        mac = words8[batch.offset[:count][fits]].astype(np.uint64) >> np.uint64(16)
        vlan = np.where(tagged, tag & 0xFFF, 0).astype(np.uint64)
        group = (mac >> np.uint64(40)) & np.uint64(1) != 0
        # Longer than any frame on the wire so far: whether it is oversize shows at the end.
        captured[captured <= longest] = 0
        keys = np.where(group, _GROUP, mac << np.uint64(_VLAN_BITS) | vlan)
        tally.add(keys, captured, wire)
    tally.merge()
    fitting = tally.captured <= longest
    unicast = fitting & (tally.keys != _GROUP)
    group_rows = fitting & ~unicast
    of_groups = Load(int(tally.frames[group_rows].sum()), int(tally.wire_bytes[group_rows].sum()))
    return _Seen(
        *_by_key(tally, unicast),
        others=_sum([of_groups, tally.forgotten]),
        forgotten=tally.forgotten.frames,
        max_frame_bytes=longest,
    )


def _by_key(
    tally: _Tally, rows: NDArray[np.bool_]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    keys = tally.keys[rows]
    merged = _reduced(keys, np.zeros(len(keys), np.int64), tally.frames[rows], tally.wire_bytes[rows])
    return merged[0], merged[2], merged[3]


def _leave_out_least(per_mac: dict[int, list[tuple[int, Load]]], lost: _Lost) -> None:
    """Keep the MAX_FILTERS pairs with most frames; a MAC without any goes."""
    pairs = [(mac, vlan, load) for mac, vlans in per_mac.items() for vlan, load in vlans]
    if len(pairs) <= MAX_FILTERS:
        return
    pairs.sort(key=lambda pair: (-pair[2].frames, pair[0], pair[1]))
    lost.filters += [load for _, _, load in pairs[MAX_FILTERS:]]
    per_mac.clear()
    for mac, vlan, load in pairs[:MAX_FILTERS]:
        per_mac.setdefault(mac, []).append((vlan, load))


def _buffers(loads: list[Load], default: Load, max_frame_bytes: int) -> tuple[list[int], int]:
    """Receive buffers of each queue and of the default queue: as many as it has frames, rounded up to a
    power of two, within 16..512 (64..1,024); all halve their upper bound until they fit together."""
    most = 512
    while True:
        least = min(most, 16)
        each = [min(max(_power_of_two(load.frames), least), most) for load in loads]
        of_default = min(max(_power_of_two(default.frames), min(64, 2 * most)), 2 * most)
        total = sum(each) + of_default
        if total <= MAX_BUFFERS and (total * max_frame_bytes <= MAX_BUFFER_BYTES or most <= 16):
            return each, of_default
        most //= 2


def _power_of_two(frames: int) -> int:
    return 1 << max(frames - 1, 0).bit_length()


def _spread(loads: list[Load], default: Load, cpus: int) -> list[int]:
    """A processor for each queue: longest processing time first; the default queue is on processor 0."""
    cost = CpuSpec()

    def cycles(load: Load) -> float:
        return load.frames * cost.cycles_per_frame + load.wire_bytes * cost.cycles_per_byte

    heap = [(cycles(default) if cpu == 0 else 0.0, cpu) for cpu in range(cpus)]
    heapq.heapify(heap)
    processors = [0] * len(loads)
    for q in sorted(range(len(loads)), key=lambda q: (-cycles(loads[q]), q)):
        busy, cpu = heap[0]
        processors[q] = cpu
        heapq.heapreplace(heap, (busy + cycles(loads[q]), cpu))
    return processors


def _sum(loads: list[Load]) -> Load:
    return Load(sum(load.frames for load in loads), sum(load.wire_bytes for load in loads))


def _words(load: Load) -> str:
    return f"{load.frames:,} frame{'s' * (load.frames != 1)}, {load.wire_bytes:,} bytes"


def _mac(mac: int, separator: str) -> str:
    return mac.to_bytes(6, "big").hex(separator)


def _vlan(code: int) -> Vlan:
    return code or "untagged"
