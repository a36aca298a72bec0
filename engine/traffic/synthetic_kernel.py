"""The kernel that writes the frames of synthetic mixes into a batch, in order of arrival.

A *lane* is the wire of an adapter with traffic, for which its frames queue. A *row* is a kind of frame: one
flow of a mix at one size. The tables are int64 arrays with named columns, for parameters and state.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import copy_bytes, inlined, kernel

HEADER_BYTES: Final = 64
"""Length of a row's header template: all headers and the payload's first bytes."""

# Columns of the lanes.
LANE_ADAPTER = 0
LANE_FIRST_MIX = 1
LANE_MIXES = 2
BYTE_NS = 3  # a byte takes BYTE_NS / BYTE_PARTS ns on the wire
BYTE_PARTS = 4
END_NS = 5  # when the wire is free again: END_NS + END_PART / BYTE_PARTS
END_PART = 6
NEXT_MIX = 7  # mix of the next frame; negative before the first call
ARRIVAL_NS = 8  # arrival of that frame
LANE_COLUMNS = 9

# Columns of the mixes.
KEY = 0  # hash key, from seed and mix index
FIRST_ROW = 1
ROWS = 2
PATTERN = 3
BURST_FRAMES = 4
STEP_NS = 5  # a frame's slot is STEP_NS + STEP_PART / STEP_PARTS ns long
STEP_PART = 6
STEP_PARTS = 7
INDEX = 8  # the next frame's number
SLOT_NS = 9  # start of its slot: INDEX × 10^9 / rate, rounded down
SLOT_PART = 10  # the remainder in 1/STEP_PARTS ns
TIMESTAMP_NS = 11  # its sending time
MIX_COLUMNS = 12

STEADY, RANDOM, BURSTS = 0, 1, 2

# Columns of the rows.
LENGTH = 0
FLOW = 1
SEQUENCE_AT = 2  # offset of the payload; the UDP checksum is two bytes before it
UDP_SUM = 3  # sum of all 16-bit words that the checksum covers, for sequence number 0
ANY_HOST = 4  # 1: the last byte of the destination MAC is random in each frame
COIN = 5  # the row is taken with probability COIN / 2^32, else the row OTHER
OTHER = 6
ROW_COLUMNS = 7

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
def _stamp(mixes: NDArray[np.int64], m: int) -> None:
    """Set ``TIMESTAMP_NS`` of the mix's frame ``INDEX``, whose slot begins at ``SLOT_NS``."""
    slot = mixes[m, SLOT_NS]
    if mixes[m, PATTERN] == STEADY:
        mixes[m, TIMESTAMP_NS] = slot
    elif mixes[m, PATTERN] == BURSTS:
        if np.uint64(mixes[m, INDEX]) % np.uint64(mixes[m, BURST_FRAMES]) == 0:
            mixes[m, TIMESTAMP_NS] = slot
    else:
        wraps = mixes[m, SLOT_PART] + mixes[m, STEP_PART] >= mixes[m, STEP_PARTS]
        width = np.uint64(mixes[m, STEP_NS] + wraps)
        chance = _hash(~np.uint64(mixes[m, KEY]), mixes[m, INDEX]) >> np.uint64(40)
        mixes[m, TIMESTAMP_NS] = slot + np.int64((chance * width) >> np.uint64(24))


@inlined
def _advance(mixes: NDArray[np.int64], m: int) -> None:
    """Advance a mix to its next frame."""
    mixes[m, INDEX] += 1
    mixes[m, SLOT_NS] += mixes[m, STEP_NS]
    mixes[m, SLOT_PART] += mixes[m, STEP_PART]
    if mixes[m, SLOT_PART] >= mixes[m, STEP_PARTS]:
        mixes[m, SLOT_PART] -= mixes[m, STEP_PARTS]
        mixes[m, SLOT_NS] += 1
    _stamp(mixes, m)


@inlined
def _choose(lanes: NDArray[np.int64], a: int, mixes: NDArray[np.int64]) -> None:
    """Set a lane's ``NEXT_MIX``, the mix with the earliest frame, and that frame's ``ARRIVAL_NS``."""
    best = lanes[a, LANE_FIRST_MIX]
    for m in range(best + 1, best + lanes[a, LANE_MIXES]):
        if mixes[m, TIMESTAMP_NS] < mixes[best, TIMESTAMP_NS]:
            best = m
    lanes[a, NEXT_MIX] = best
    lanes[a, ARRIVAL_NS] = max(mixes[best, TIMESTAMP_NS], lanes[a, END_NS])


@inlined
def _occupy(lanes: NDArray[np.int64], a: int, timestamp_ns: int, length: int) -> None:
    """Occupy a lane's wire with its next frame: compute when the wire is free again."""
    parts = np.uint64(length + _WIRE_OVERHEAD_BYTES) * np.uint64(lanes[a, BYTE_NS])
    if timestamp_ns <= lanes[a, END_NS]:
        parts += np.uint64(lanes[a, END_PART])
    whole = parts // np.uint64(lanes[a, BYTE_PARTS])
    lanes[a, END_NS] = lanes[a, ARRIVAL_NS] + np.int64(whole)
    lanes[a, END_PART] = np.int64(parts - whole * np.uint64(lanes[a, BYTE_PARTS]))


@inlined
def _write(
    data: NDArray[np.uint8],
    at: int,
    rows: NDArray[np.int64],
    r: int,
    headers: NDArray[np.uint8],
    pattern: NDArray[np.uint8],
    sequence: int,
) -> None:
    """Write a frame of row ``r`` at ``data[at]``; the caller checks that it fits."""
    length = rows[r, LENGTH]
    if at + HEADER_BYTES <= data.size:
        copy_bytes(data, at, headers, r * HEADER_BYTES, HEADER_BYTES)
        if length > HEADER_BYTES:
            copy_bytes(data, at + HEADER_BYTES, pattern, HEADER_BYTES, length - HEADER_BYTES)
    else:
        copy_bytes(data, at, headers, r * HEADER_BYTES, length)
    payload = at + rows[r, SEQUENCE_AT]
    total = np.uint64(rows[r, UDP_SUM])
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
    "UniTuple(i8, 2)(u1[::1], i8[::1], u4[::1], u4[::1], i8[::1], u2[::1], i8,"
    " i8[:, ::1], i8[:, ::1], i8[:, ::1], u1[::1], u1[::1], i8[::1])"
)
def generate(
    data: NDArray[np.uint8],
    offset: NDArray[np.int64],
    captured: NDArray[np.uint32],
    wire: NDArray[np.uint32],
    arrival_ns: NDArray[np.int64],
    adapter: NDArray[np.uint16],
    until_ns: int,
    lanes: NDArray[np.int64],
    mixes: NDArray[np.int64],
    rows: NDArray[np.int64],
    headers: NDArray[np.uint8],
    pattern: NDArray[np.uint8],
    sequences: NDArray[np.int64],
) -> tuple[int, int]:
    """Write the frames that arrive before ``until_ns`` and fit; return their number and the next arrival.

    Frames of all adapters are sorted by arrival in whole ns, ties by lane. ``headers`` has HEADER_BYTES for
    each row; ``pattern`` has the payload byte for each offset in a frame; ``sequences`` the next sequence
    number of each flow.
    """
    if lanes[0, NEXT_MIX] < 0:
        for m in range(mixes.shape[0]):
            _stamp(mixes, m)
        for a in range(lanes.shape[0]):
            _choose(lanes, a, mixes)
    frames = 0
    used = 0
    while True:
        a = 0
        for other in range(1, lanes.shape[0]):
            if lanes[other, ARRIVAL_NS] < lanes[a, ARRIVAL_NS]:
                a = other
        arrival = lanes[a, ARRIVAL_NS]
        if arrival >= until_ns or frames == offset.size:
            return frames, arrival
        m = lanes[a, NEXT_MIX]
        draw = _hash(np.uint64(mixes[m, KEY]), mixes[m, INDEX])
        nth = ((draw >> np.uint64(32)) * np.uint64(mixes[m, ROWS])) >> np.uint64(32)
        r = mixes[m, FIRST_ROW] + np.int64(nth)
        if np.int64(draw & _U32) >= rows[r, COIN]:
            r = rows[r, OTHER]
        length = rows[r, LENGTH]
        if used + length > data.size:
            return frames, arrival

        flow = rows[r, FLOW]
        _write(data, used, rows, r, headers, pattern, sequences[flow])
        sequences[flow] += 1
        if rows[r, ANY_HOST]:
            data[used + 5] = _hash(~np.uint64(mixes[m, KEY]), mixes[m, INDEX]) & _U8
        offset[frames] = used
        captured[frames] = length
        wire[frames] = length
        arrival_ns[frames] = arrival
        adapter[frames] = lanes[a, LANE_ADAPTER]
        frames += 1
        used += length
        _occupy(lanes, a, mixes[m, TIMESTAMP_NS], length)
        _advance(mixes, m)
        _choose(lanes, a, mixes)
