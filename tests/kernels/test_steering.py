"""The steering kernel against a plain ordered scan, on frames made up and frames captured."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dataplane.memory import lay_out, total_bytes
from engine.kernels import layout
from engine.kernels.jit import places_of
from engine.kernels.layout import ADAPTER, PORT, PORT_COUNTERS, AdapterSizes, Sizes, Views
from engine.kernels.steer import Rows, scratch_for_block, steer, write_table
from engine.ndis import counters
from engine.ndis.adapter import Adapter
from engine.ndis.effects import QueueGauges
from engine.ndis.host import Host
from engine.ndis.queue import State
from engine.scenario.model import AdapterSpec, HostSpec, Scenario
from engine.traffic.batch import MAX_CAPTURED_BYTES, FrameBatch
from engine.traffic.capture import CaptureSource
from tests.kernels import steering_reference as reference
from tests.slow import examples

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
REASONS = counters.names(counters.DEFAULT_QUEUE_REASONS)
MACS = [f"00:15:5d:00:00:{k:02x}" for k in (1, 2)]
LONGEST = (1518, 1000)  # by adapter
ADAPTERS = ("nic0", "nic1")
QUEUES, FILTERS, TABLE_ROWS = 65, 129, 1024  # of each adapter
QUEUE = {"name": "q", "vm": "a", "cpu": 0, "buffers": 8}
CPUS = 3


class _Idle:
    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        return QueueGauges(0, 0, 0)


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


Request = tuple[str, dict[str, Any]]
Frame = tuple[bytes, int, int]  # octets, bytes on the wire, adapter


def build(*requests: list[Request]) -> Host:
    """A host after some requests of each adapter, each valid or refused."""
    specs = [
        AdapterSpec(name=name, buffers=4096, max_frame_bytes=longest)
        for name, longest in zip(ADAPTERS, LONGEST, strict=True)
    ]
    host = Host(Scenario(host=HostSpec(cpus=CPUS), adapter=specs))
    host.start()
    for name, wanted in zip(ADAPTERS, requests, strict=False):
        for op, params in wanted:
            host.apply(op, {"adapter": name, **params}, _Idle())
    return host


def steer_all(host: Host, batch: FrameBatch, count: int) -> tuple[Views, np.ndarray[Any, Any]]:
    """Run the kernel over a batch: views with what it wrote, and the ports' counters."""
    each = [AdapterSizes(QUEUES, FILTERS, TABLE_ROWS, 1, longest, 3) for longest in LONGEST]
    sizes = Sizes(CPUS, tuple(each), max(1, len(batch.offset)), len(batch.data))
    views = lay_out(memoryview(bytearray(total_bytes(sizes))), sizes)
    places = places_of(views)
    for name in ("data", "offset", "captured", "wire", "adapter", "arrival_ns"):
        column = getattr(batch, name)
        getattr(views, name)[0, : len(column)] = column
    views.owner[:] = np.arange(sizes.slots) % CPUS
    for a, longest in enumerate(LONGEST):
        adapter = views.adapters[a]
        adapter[ADAPTER.slot_base] = a * QUEUES
        adapter[ADAPTER.filter_base] = a * FILTERS
        adapter[ADAPTER.table_base] = a * TABLE_ROWS
        adapter[ADAPTER.table_mask] = TABLE_ROWS - 1
        adapter[ADAPTER.max_frame_bytes] = longest
        rows = host.adapters[a].steering_rows()
        columns = Rows(rows.key, rows.queue, rows.filter, rows.default_filter, rows.port_vm)
        write_table(places, a, columns)
    port = np.zeros((len(LONGEST), PORT_COUNTERS), np.int64)
    views.next_block[0] = 0
    scratch = scratch_for_block(CPUS, port)
    steer(places, 0, count, places_of(scratch))
    return views, port


def found_by(views: Views, count: int) -> list[list[tuple[int, ...]]]:
    """What each shard finds: (offset, wire, slot, credit, port's VM, reason) of its frames, in order."""
    found: list[list[tuple[int, ...]]] = [[] for _ in range(CPUS)]
    for block in range(-(-count // layout.BLOCK_FRAMES)):
        for cpu in range(CPUS):
            first, last = views.bounds[0, block, cpu : cpu + 2]
            for row in views.steered[0, first:last].tolist():
                place, target, switch = row[1:]
                found[cpu].append(
                    (
                        place & layout.OFFSET_MASK,
                        place >> layout.WIRE_SHIFT & layout.LENGTH_MASK,
                        target >> layout.TARGET_SLOT_SHIFT,
                        (target & layout.TARGET_FILTER_MASK) - 1,
                        (switch & layout.SWITCH_VM_MASK) - 1,
                        (switch >> layout.SWITCH_REASON_SHIFT & layout.SWITCH_REASON_MASK) - 1,
                    )
                )
    return found


@dataclass
class Scan:
    """What the ordered scan of an adapter needs."""

    queues: list[reference.RefQueue]
    ports: list[tuple[bytes, int | str | None]]


def scan_of(adapter: Adapter) -> Scan:
    config = adapter.describe()
    queues = {
        number: reference.RefQueue(number, queue.state is State.RUNNING)
        for number, queue in adapter.queues.items()
    }
    for one in config["filters"]:
        queues[one["queue_id"]].filters.append((one["filter_id"], octets(one["mac"]), one["vlan"]))
    return Scan(list(queues.values()), [(octets(port["mac"]), port["vlan"]) for port in config["ports"]])


def check(host: Host, frames: list[Frame], batch: FrameBatch | None = None) -> None:
    batch = batch or batch_of(frames)
    scans = [scan_of(adapter) for adapter in host.adapters]
    views, port = steer_all(host, batch, len(frames))
    found = found_by(views, len(frames))
    counted: Counter[tuple[int, int]] = Counter()
    taken = [0] * CPUS
    for i, (frame, wire, a) in enumerate(frames):
        expected = reference.steer(frame, wire, scans[a].queues, scans[a].ports, LONGEST[a])
        counted.update({(a, PORT.offered_frames): 1, (a, PORT.offered_bytes): wire})
        if expected.error:
            counted[a, {"runt": PORT.runt, "oversize": PORT.oversize}[expected.error]] += 1
            continue
        place = a * QUEUES + expected.queue
        cpu = place % CPUS
        offset, wire_bytes, slot, credit, vm, reason = found[cpu][taken[cpu]]
        taken[cpu] += 1
        assert (offset, wire_bytes) == (batch.offset[i], wire)
        assert slot == place
        assert credit == (layout.NONE if expected.filter is None else a * FILTERS + expected.filter)
        assert (vm != layout.NONE) == expected.has_port
        wanted = expected.reason if expected.queue == 0 else None
        assert (REASONS[reason] if reason >= 0 else None) == wanted
    assert {place: port[place] for place in np.ndindex(port.shape) if port[place]} == +counted
    assert taken == [len(frames_of_cpu) for frames_of_cpu in found]


def batch_of(frames: list[Frame]) -> FrameBatch:
    """The frames as a source writes them: of those too long for every adapter only the beginning."""
    count = max(1, len(frames))
    kept = [frame if len(frame) <= MAX_CAPTURED_BYTES else frame[:64] for frame, _, _ in frames]
    data = np.frombuffer(b"".join(kept) + bytes(64), np.uint8).copy()
    offset = np.cumsum([0, *map(len, kept)], dtype=np.int64)[:count]
    captured = np.array([len(frame) for frame, _, _ in frames] or [0], np.uint32)
    wire = np.array([wire for _, wire, _ in frames] or [0], np.uint32)
    adapter = np.array([adapter for _, _, adapter in frames] or [0], np.uint16)
    return FrameBatch(data, offset, captured, wire, np.zeros(count, np.int64), adapter)


vlans = st.sampled_from([None, "untagged", 10, 1, 4094])
requests = st.lists(
    st.one_of(
        st.tuples(
            st.just("allocate_queue"),
            st.fixed_dictionaries(
                {
                    "name": st.just("q"),
                    "vm": st.sampled_from(["a", "b"]),
                    "cpu": st.just(0),
                    "buffers": st.just(8),
                }
            ),
        ),
        st.tuples(
            st.just("set_filter"),
            st.fixed_dictionaries(
                {"queue_id": st.integers(0, 3), "mac": st.sampled_from(MACS), "vlan": vlans}
            ),
        ),
        st.tuples(
            st.just("complete_allocation"),
            st.fixed_dictionaries({"queue_ids": st.lists(st.integers(1, 4), max_size=4, unique=True)}),
        ),
        st.tuples(
            st.just("clear_filter"),
            st.fixed_dictionaries({"queue_id": st.integers(0, 4), "filter_id": st.integers(1, 6)}),
        ),
    ),
    min_size=3,
    max_size=16,
)
ADDRESSES = [*map(octets, MACS), octets("00:15:5d:00:00:99"), b"\xff" * 6, b"\x01\0\x5e\0\0\1"]
TAGS = [
    b"",
    b"\x81\0\0\0",
    b"\x81\0\x20\0",
    b"\x81\0\xe0\x0a",
    b"\x81\0\0\x0a",
    b"\x81\0\x0f\xff",
    b"\x81\0\xbf\xfe",
    b"\x81\0\0\x01",
    b"\x88\xa8\0\x0a",
]


def frame_of(mac: bytes, tag: bytes) -> bytes:
    return mac + b"\2" * 6 + tag + b"\x08\0" + bytes(MAX_CAPTURED_BYTES)


EVERY_KIND = [(frame_of(mac, tag)[:60], 60, a) for mac in ADDRESSES for tag in TAGS for a in range(2)]
frame_lists = st.lists(
    st.tuples(
        st.builds(
            lambda mac, tag, size: frame_of(mac, tag)[:size],
            st.sampled_from(ADDRESSES),
            st.sampled_from(TAGS),
            st.sampled_from([0, 13, 14, 15, 16, 18, 60, 1000, 1001, 1518, 1519, MAX_CAPTURED_BYTES + 1]),
        ),
        st.sampled_from([60, 1000, 1518, 1519, 70_000]),
        st.integers(0, 1),
    ),
    max_size=20,
)
runts = st.sampled_from([0, layout.BLOCK_FRAMES - 100, layout.BLOCK_FRAMES - 5])
"""Frames for nobody in front of the others, which so are in two blocks."""


@settings(max_examples=examples(200))
@given(requests, requests, frame_lists, runts)
def test_frames_go_where_an_ordered_scan_sends_them(
    one: list[Request], other: list[Request], frames: list[Frame], runts: int
) -> None:
    begin: list[Request] = [("allocate_queue", QUEUE)] * 3
    end: Request = ("complete_allocation", {"queue_ids": [1, 2]})
    host = build([*begin, *one, end], [*begin, *other, end])
    check(host, [(b"", 60, 1)] * runts + EVERY_KIND + frames)


@pytest.mark.parametrize("name", ["many-protocols.pcap", "vlan-packets.pcap", "various-gre.pcap"])
def test_captured_frames_go_where_an_ordered_scan_sends_them(name: str) -> None:
    if not (CAPTURES / name).exists():
        pytest.skip(f"{name} is not here")
    room = 5000
    batch = FrameBatch(
        np.zeros(4 << 20, np.uint8),
        np.zeros(room, np.int64),
        np.zeros(room, np.uint32),
        np.zeros(room, np.uint32),
        np.zeros(room, np.int64),
        np.zeros(room, np.uint16),
    )
    source = CaptureSource(CAPTURES / name, adapter=0, link_gbps=10)
    count = source.fill(batch, 2**62).frames
    source.close()
    assert count == source.frames > 0
    frames = []
    for i in range(count):
        start, size = int(batch.offset[i]), int(batch.captured[i])
        frames.append((batch.data[start : start + size].tobytes(), int(batch.wire[i]), 0))
    unicast = sorted({frame[:6] for frame, _, _ in frames if len(frame) > 6 and not frame[0] & 1})
    wanted: list[Request] = []
    for number, mac in enumerate(unicast[:4], 1):
        wanted.append(("allocate_queue", {"name": "q", "vm": f"vm{number}", "cpu": 0, "buffers": 8}))
        vlan = [None, "untagged", 118, 1][number % 4]
        wanted.append(("set_filter", {"queue_id": number, "mac": mac.hex(":"), "vlan": vlan}))
        wanted.append(("complete_allocation", {"queue_ids": [number]}))
    check(build(wanted), frames, batch)
