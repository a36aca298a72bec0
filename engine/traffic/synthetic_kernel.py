"""The kernel that writes the frames of synthetic mixes into a batch, in order of arrival.

A *lane* is the wire of an adapter with traffic, for which its frames queue. A *row* is a kind of frame: one
flow of a mix at one size. The tables are arrays of records, for parameters and state.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import Record, Records, copy_bytes, from_dtype, inlined, int64_record, kernel, types

HEADER_BYTES: Final = 64
"""Length of a row's header template: all headers and the payload's first bytes."""

STEADY, RANDOM, BURSTS = 0, 1, 2

LANE: Final = int64_record(
    "adapter",
    "first_mix",
    "mixes",
    "byte_ns",  # a byte takes byte_ns / byte_parts ns on the wire
    "byte_parts",
    "end_ns",  # when the wire is free again: end_ns + end_part / byte_parts
    "end_part",
    "next_mix",  # mix of the next frame; negative before the first call
    "arrival_ns",  # arrival of that frame
)
MIX: Final = int64_record(
    "key",  # hash key, from seed and mix index
    "first_row",
    "rows",
    "pattern",
    "burst_frames",
    "step_ns",  # a frame's slot is step_ns + step_part / step_parts ns long
    "step_part",
    "step_parts",
    "index",  # the next frame's number
    "slot_ns",  # start of its slot: index × 10^9 / rate, rounded down
    "slot_part",  # the remainder in 1/step_parts ns
    "timestamp_ns",  # its sending time
)
ROW: Final = int64_record(
    "length",
    "flow",
    "sequence_at",  # offset of the payload; the UDP checksum is two bytes before it
    "udp_sum",  # sum of all 16-bit words that the checksum covers, for sequence number 0
    "any_host",  # 1: the last byte of the destination MAC is random in each frame
    "coin",  # the row is taken with probability coin / 2^32, else the row ``other``
    "other",
)

_WIRE_OVERHEAD_BYTES = 20  # preamble, start of frame, gap between frames (contract 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_U8 = np.uint64(0xFF)
_U16 = np.uint64(0xFFFF)
_U32 = np.uint64(0xFFFFFFFF)


@inlined
def _hash(key: np.uint64, index: np.int64) -> np.uint64:
    """Return number ``index`` of a SplitMix64 generator with state ``key`` (Steele, Lea, Flood 2014)."""
    z = key + (np.uint64(index) + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inlined
def _stamp(mix: Record) -> None:
    """Set ``timestamp_ns`` of the mix's frame ``index``, whose slot begins at ``slot_ns``."""
    slot = mix.slot_ns
    if mix.pattern == STEADY:
        mix.timestamp_ns = slot
    elif mix.pattern == BURSTS:
        if np.uint64(mix.index) % np.uint64(mix.burst_frames) == 0:
            mix.timestamp_ns = slot
    else:
        wraps = mix.slot_part + mix.step_part >= mix.step_parts
        width = np.uint64(mix.step_ns + wraps)
        chance = _hash(~np.uint64(mix.key), mix.index) >> np.uint64(40)
        mix.timestamp_ns = slot + np.int64((chance * width) >> np.uint64(24))


@inlined
def _advance(mix: Record) -> None:
    """Advance a mix to its next frame."""
    mix.index += 1
    mix.slot_ns += mix.step_ns
    mix.slot_part += mix.step_part
    if mix.slot_part >= mix.step_parts:
        mix.slot_part -= mix.step_parts
        mix.slot_ns += 1
    _stamp(mix)


@inlined
def _choose(lane: Record, mixes: Records) -> None:
    """Set a lane's ``next_mix``, the mix with the earliest frame, and that frame's ``arrival_ns``."""
    best = lane.first_mix
    for m in range(best + 1, best + lane.mixes):
        if mixes[m].timestamp_ns < mixes[best].timestamp_ns:
            best = m
    lane.next_mix = best
    lane.arrival_ns = max(mixes[best].timestamp_ns, lane.end_ns)


@inlined
def _occupy(lane: Record, timestamp_ns: int, length: int) -> None:
    """Occupy a lane's wire with its next frame: compute when the wire is free again."""
    parts = np.uint64(length + _WIRE_OVERHEAD_BYTES) * np.uint64(lane.byte_ns)
    if timestamp_ns <= lane.end_ns:
        parts += np.uint64(lane.end_part)
    whole = parts // np.uint64(lane.byte_parts)
    lane.end_ns = lane.arrival_ns + np.int64(whole)
    lane.end_part = np.int64(parts - whole * np.uint64(lane.byte_parts))


@inlined
def _write(
    data: NDArray[np.uint8],
    at: int | np.int64,
    row: Record,
    headers: NDArray[np.uint8],
    header_at: int | np.int64,
    pattern: NDArray[np.uint8],
    sequence: int,
) -> None:
    """Write a frame of a row at ``data[at]``; the caller checks that it fits."""
    length = row.length
    if at + HEADER_BYTES <= data.size:
        copy_bytes(data, at, headers, header_at, HEADER_BYTES)
        if length > HEADER_BYTES:
            copy_bytes(data, at + HEADER_BYTES, pattern, HEADER_BYTES, length - HEADER_BYTES)
    else:
        copy_bytes(data, at, headers, header_at, length)
    payload = at + row.sequence_at
    total = np.uint64(row.udp_sum)
    for byte in range(0, 8, 2):
        word = (np.uint64(sequence) >> np.uint64(48 - 8 * byte)) & _U16
        data[payload + byte] = word >> np.uint64(8)
        data[payload + byte + 1] = word & _U8
        total += word
    while total > _U16:
        total = (total & _U16) + (total >> np.uint64(16))
    checksum = total ^ _U16
    if checksum == 0:  # in UDP 0 means "no checksum"
        checksum = _U16
    data[payload - 2] = checksum >> np.uint64(8)
    data[payload - 1] = checksum & _U8


@kernel(
    types.UniTuple(types.int64, 2)(
        types.uint8[::1],
        types.int64[::1],
        *[types.uint32[::1]] * 2,
        types.int64[::1],
        types.uint16[::1],
        types.int64,
        *[from_dtype(one)[::1] for one in (LANE, MIX, ROW)],
        *[types.uint8[::1]] * 2,
        types.int64[::1],
    )
)
def generate(
    data: NDArray[np.uint8],
    offset: NDArray[np.int64],
    captured: NDArray[np.uint32],
    wire: NDArray[np.uint32],
    arrival_ns: NDArray[np.int64],
    adapter: NDArray[np.uint16],
    until_ns: int,
    lanes: Records,
    mixes: Records,
    rows: Records,
    headers: NDArray[np.uint8],
    pattern: NDArray[np.uint8],
    sequences: NDArray[np.int64],
) -> tuple[int, int]:
    """Write the frames that arrive before ``until_ns`` and fit; return their number and the next arrival.

    Frames of all adapters are sorted by arrival in whole ns, ties by lane. ``headers`` has HEADER_BYTES for
    each row; ``pattern`` has the payload byte for each offset in a frame; ``sequences`` the next sequence
    number of each flow.
    """
    if lanes[0].next_mix < 0:
        for m in range(mixes.shape[0]):
            _stamp(mixes[m])
        for k in range(lanes.shape[0]):
            _choose(lanes[k], mixes)
    frames = 0
    used: int | np.int64 = np.int64(0)  # of this type: each literal has a function compiled again
    while True:
        lane = lanes[0]
        for k in range(1, lanes.shape[0]):
            if lanes[k].arrival_ns < lane.arrival_ns:
                lane = lanes[k]
        arrival = lane.arrival_ns
        if arrival >= until_ns or frames == offset.size:
            return frames, arrival
        mix = mixes[lane.next_mix]
        draw = _hash(np.uint64(mix.key), mix.index)
        nth = ((draw >> np.uint64(32)) * np.uint64(mix.rows)) >> np.uint64(32)
        r = mix.first_row + np.int64(nth)
        if np.int64(draw & _U32) >= rows[r].coin:
            r = rows[r].other
        row = rows[r]
        length = row.length
        if used + length > data.size:
            return frames, arrival

        _write(data, used, row, headers, r * HEADER_BYTES, pattern, sequences[row.flow])
        sequences[row.flow] += 1
        if row.any_host:
            data[used + 5] = _hash(~np.uint64(mix.key), mix.index) & _U8
        offset[frames] = used
        captured[frames] = length
        wire[frames] = length
        arrival_ns[frames] = arrival
        adapter[frames] = lane.adapter
        frames += 1
        used += length
        _occupy(lane, mix.timestamp_ns, length)
        _advance(mix)
        _choose(lane, mixes)
