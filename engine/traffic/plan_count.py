"""Count a source's frames, bytes and bursts by destination, for a plan, in bounded memory."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.counted import counted
from engine.scenario.model import CpuSpec
from engine.traffic import plan_kernels as k
from engine.traffic.batch import MAX_CAPTURED_BYTES, FrameBatch, Source

MAX_DESTINATIONS = 1 << 20
"""Limit of pairs of MAC and VLAN counted at one time; above it the rarest are dropped, with a note."""

MAX_FOLLOWED: Final = 1 << 16
"""Limit of MACs whose bursts are tracked: the first ones."""

MIN_FRAME_BYTES_LIMIT: Final = 1518
MAX_FRAME_BYTES_LIMIT: Final = 65_535
VLAN_BITS: Final = 12

_NO_LIMIT_NS = 2**62
_BATCH_FRAMES = 1 << 18
_BATCH_BYTES = 32 * 1024 * 1024
_GROUP = np.uint64(2**64 - 1)  # the common key of all group addresses, which have no queue
_ALL_GROUPS = 1 << 48  # their common key for bursts
_PENDING_ROWS = 1 << 18

_Columns = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Keys, captured lengths, frames, wire bytes."""


@dataclass(frozen=True)
class Load:
    """The frames and bytes that a queue or filter would receive."""

    frames: int
    wire_bytes: int

    def cycles(self, cost: CpuSpec) -> float:
        """Return the cycles to serve this load, without those of interrupts and DPCs."""
        return self.frames * cost.cycles_per_frame + self.wire_bytes * cost.cycles_per_byte

    def __str__(self) -> str:
        return f"{counted(self.frames, 'frame')}, {counted(self.wire_bytes, 'byte')}"


def total(loads: list[Load]) -> Load:
    """Return the sum of loads."""
    return Load(sum(load.frames for load in loads), sum(load.wire_bytes for load in loads))


@dataclass(frozen=True, eq=False)
class TrafficCount:
    """The counts of a whole source. ``keys`` (n,) uint64 are MAC << 12 | VLAN (0: untagged).

    ``others`` counts frames that passed the port checks but have a group destination or a dropped key; the
    latter are ``forgotten`` frames. ``peaks`` has the maximum of each MAC's frames waiting at one time, if a
    processor served that MAC only; ``others_peak`` is that of group addresses.
    """

    keys: NDArray[np.uint64]
    frames: NDArray[np.int64]
    wire_bytes: NDArray[np.int64]
    others: Load
    forgotten: int
    max_frame_bytes: int
    peaks: dict[int, int]
    others_peak: int


def count(source: Source, cost: CpuSpec) -> TrafficCount:
    """Count the frames of ``source`` to its end. ``cost`` determines the time to serve a frame."""
    # 16 bytes more than the batch may use, because words read for destination and tag may exceed a frame.
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
    tally = _DestinationCounts()
    bursts = _Bursts(cost)
    longest = MIN_FRAME_BYTES_LIMIT
    next_ns: int | None = 0
    while next_ns is not None:
        filled = source.fill(batch, _NO_LIMIT_NS)
        next_ns = filled.next_ns
        frames = filled.frames
        captured, wire = batch.captured[:frames].astype(np.int64), batch.wire[:frames].astype(np.int64)
        longest = max(longest, min(int(wire.max(initial=0)), MAX_FRAME_BYTES_LIMIT))
        tag = words4[batch.offset[:frames]].astype(np.int64)
        tagged = tag >> 16 == 0x8100
        fits = (captured >= np.where(tagged, 16, 14)) & (captured <= MAX_CAPTURED_BYTES)
        fits &= wire <= MAX_FRAME_BYTES_LIMIT
        captured, wire, tag, tagged = captured[fits], wire[fits], tag[fits], tagged[fits]
        mac = words8[batch.offset[:frames][fits]].astype(np.uint64) >> np.uint64(16)
        vlan = np.where(tagged, tag & 0xFFF, 0).astype(np.uint64)
        group = (mac >> np.uint64(40)) & np.uint64(1) != 0
        bursts.add(np.where(group, _ALL_GROUPS, mac.astype(np.int64)), batch.arrival_ns[:frames][fits], wire)
        # Frames captured longer than any wire length so far keep their length: the end decides on oversize.
        captured[captured <= longest] = 0
        keys = np.where(group, _GROUP, mac << np.uint64(VLAN_BITS) | vlan)
        tally.add(keys, captured, wire)
    tally.merge()
    fitting = tally.captured <= longest
    unicast = fitting & (tally.keys != _GROUP)
    group_rows = fitting & ~unicast
    of_groups = Load(int(tally.frames[group_rows].sum()), int(tally.wire_bytes[group_rows].sum()))
    peaks = bursts.peaks()
    return TrafficCount(
        *_by_key(tally, unicast),
        others=total([of_groups, tally.forgotten]),
        forgotten=tally.forgotten.frames,
        max_frame_bytes=longest,
        others_peak=peaks.pop(_ALL_GROUPS, 0),
        peaks=peaks,
    )


class _Bursts:
    """The maximum of frames waiting at one time, by destination MAC."""

    def __init__(self, cost: CpuSpec) -> None:
        self._cost = cost
        self._rows = np.zeros((2 * MAX_FOLLOWED, k.ROW_COLUMNS), np.int64)
        self._waiting = np.zeros(2 * MAX_FOLLOWED)
        self._used = 0

    def add(self, macs: NDArray[np.int64], arrival_ns: NDArray[np.int64], wire: NDArray[np.int64]) -> None:
        """Add frames, one a row, in order of arrival."""
        cycles = self._cost.cycles_per_frame + wire * self._cost.cycles_per_byte
        service_ns = np.ceil(cycles / self._cost.clock_ghz).astype(np.int64)
        self._used = k.follow(
            macs + 1,  # key 0 marks an empty row
            arrival_ns,
            service_ns,
            int(self._cost.moderation_us * 1000),
            self._rows,
            self._waiting,
            self._used,
            MAX_FOLLOWED,
        )

    def peaks(self) -> dict[int, int]:
        """Return the maximum of frames waiting at one time, by MAC."""
        taken = self._rows[self._rows[:, k.KEY] != 0]
        return dict(zip((taken[:, k.KEY] - 1).tolist(), taken[:, k.PEAK].tolist(), strict=True))


class _DestinationCounts:
    """Frames and bytes by destination, and by captured length if that may make a frame oversize.

    Columns are sorted by (key, captured) after ``merge``; ``captured`` is 0 for frames known to pass.
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
        """Add frames, one a row."""
        reduced = _reduced(keys, captured, np.ones(len(keys), np.int64), wire)
        self._pending.append(reduced)
        self._pending_rows += len(reduced[0])
        if self._pending_rows > max(_PENDING_ROWS, len(self.keys)):
            self.merge()

    def merge(self) -> None:
        """Merge the added rows into the columns, and drop the rarest above the limit."""
        columns = zip((self.keys, self.captured, self.frames, self.wire_bytes), *self._pending, strict=True)
        keys, captured, frames, wire_bytes = _reduced(*(np.concatenate(column) for column in columns))
        self._pending = []
        self._pending_rows = 0
        if len(keys) > MAX_DESTINATIONS:
            by_frames = np.lexsort((keys, -frames))
            least, most = by_frames[MAX_DESTINATIONS:], np.sort(by_frames[:MAX_DESTINATIONS])
            gone = Load(int(frames[least].sum()), int(wire_bytes[least].sum()))
            self.forgotten = total([self.forgotten, gone])
            keys, captured, frames, wire_bytes = keys[most], captured[most], frames[most], wire_bytes[most]
        self.keys, self.captured, self.frames, self.wire_bytes = keys, captured, frames, wire_bytes


def _reduced(
    keys: NDArray[np.uint64],
    captured: NDArray[np.int64],
    frames: NDArray[np.int64],
    wire_bytes: NDArray[np.int64],
) -> _Columns:
    """Return the columns summed to one row for each (key, captured), sorted."""
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


def _by_key(
    tally: _DestinationCounts, rows: NDArray[np.bool_]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    keys = tally.keys[rows]
    merged = _reduced(keys, np.zeros(len(keys), np.int64), tally.frames[rows], tally.wire_bytes[rows])
    return merged[0], merged[2], merged[3]
