"""The kernel that writes the frames of synthetic mixes into a batch, in the order they arrive.

A *lane* is an adapter with traffic: the wire its frames queue for. A *row* is a kind of frame of a mix: one
flow at one size. The tables are int64 arrays with named columns; plan and state share a row.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.jit import copy_bytes, inlined, kernel

HEADER_BYTES: Final = 64
"""Bytes of a row's header template: all headers, and the payload's first bytes."""

# Columns of the lanes.
LANE_ADAPTER = 0
LANE_FIRST_MIX = 1
LANE_MIXES = 2
BYTE_NS = 3  # a byte takes BYTE_NS / BYTE_PARTS ns on the wire
BYTE_PARTS = 4
END_NS = 5  # when the wire is free again: END_NS + END_PART / BYTE_PARTS
END_PART = 6
NEXT_MIX = 7  # whose frame is next
ARRIVAL_NS = 8  # and when it arrives
LANE_COLUMNS = 9

# Columns of the mixes.
KEY = 0  # of the hash, from seed and mix index
FIRST_ROW = 1
ROWS = 2
PATTERN = 3
BURST_FRAMES = 4
STEP_NS = 5  # a frame's slot is STEP_NS + STEP_PART / STEP_PARTS ns long
STEP_PART = 6
STEP_PARTS = 7
INDEX = 8  # the next frame's number
SLOT_NS = 9  # where its slot begins: floor(INDEX × 10^9 / rate), and the rest in 1/STEP_PARTS ns
SLOT_PART = 10
TIMESTAMP_NS = 11  # when it is sent
MIX_COLUMNS = 12

STEADY, RANDOM, BURSTS = 0, 1, 2

# Columns of the rows.
LENGTH = 0
FLOW = 1
SEQUENCE_AT = 2  # where the payload begins; the UDP checksum stands two bytes before
UDP_SUM = 3  # of all 16-bit words the checksum covers, sequence number 0
ANY_HOST = 4  # 1: the last byte of the destination MAC differs from frame to frame
COIN = 5  # the row is taken with probability COIN / 2^32, else the row OTHER
OTHER = 6
ROW_COLUMNS = 7

_WIRE_OVERHEAD_BYTES = 20  # preamble, start of frame, gap between frames (contract 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_U16 = np.uint64(0xFFFF)
_U32 = np.uint64(0xFFFFFFFF)


@inlined
def _hash(key: np.uint64, index: np.int64) -> np.uint64:
    """The ``index``-th number of the SplitMix64 generator with state ``key`` (Steele, Lea, Flood 2014)."""
    z = key + (np.uint64(index) + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inlined
def _stamp(mix: NDArray[np.int64]) -> None:
    """Set ``TIMESTAMP_NS`` of the frame ``INDEX`` whose slot begins at ``SLOT_NS``."""
    start = mix[SLOT_NS]
    if mix[PATTERN] == STEADY:
        mix[TIMESTAMP_NS] = start
    elif mix[PATTERN] == BURSTS:
        if mix[INDEX] % mix[BURST_FRAMES] == 0:
            mix[TIMESTAMP_NS] = start
    else:
        wraps = mix[SLOT_PART] + mix[STEP_PART] >= mix[STEP_PARTS]
        width = np.uint64(mix[STEP_NS] + wraps)
        chance = _hash(~np.uint64(mix[KEY]), mix[INDEX]) >> np.uint64(40)
        mix[TIMESTAMP_NS] = start + np.int64((chance * width) >> np.uint64(24))


@inlined
def _advance(mix: NDArray[np.int64]) -> None:
    mix[INDEX] += 1
    mix[SLOT_NS] += mix[STEP_NS]
    mix[SLOT_PART] += mix[STEP_PART]
    if mix[SLOT_PART] >= mix[STEP_PARTS]:
        mix[SLOT_PART] -= mix[STEP_PARTS]
        mix[SLOT_NS] += 1
    _stamp(mix)


@inlined
def _choose(lane: NDArray[np.int64], mixes: NDArray[np.int64]) -> None:
    """Set which mix of a lane has the next frame, and when that arrives."""
    best = lane[LANE_FIRST_MIX]
    for m in range(best + 1, best + lane[LANE_MIXES]):
        if mixes[m, TIMESTAMP_NS] < mixes[best, TIMESTAMP_NS]:
            best = m
    lane[NEXT_MIX] = best
    lane[ARRIVAL_NS] = max(mixes[best, TIMESTAMP_NS], lane[END_NS])


@kernel("void(i8[:, ::1], i8[:, ::1])")
def start(lanes: NDArray[np.int64], mixes: NDArray[np.int64]) -> None:
    """Find the first frame of every mix and lane."""
    for m in range(mixes.shape[0]):
        _stamp(mixes[m])
    for a in range(lanes.shape[0]):
        _choose(lanes[a], mixes)


@inlined
def _write(
    data: NDArray[np.uint8],
    at: int,
    row: NDArray[np.int64],
    header: NDArray[np.uint8],
    pattern: NDArray[np.uint8],
    sequence: np.uint64,
    host: np.uint64,
) -> None:
    """Write one frame at ``data[at]``; it fits."""
    length = row[LENGTH]
    if at + HEADER_BYTES <= data.size:
        copy_bytes(data, at, header, 0, HEADER_BYTES)
        if length > HEADER_BYTES:
            copy_bytes(data, at + HEADER_BYTES, pattern, HEADER_BYTES, length - HEADER_BYTES)
    else:
        copy_bytes(data, at, header, 0, length)
    if row[ANY_HOST]:
        data[at + 5] = host & np.uint64(0xFF)
    payload = at + row[SEQUENCE_AT]
    total = np.uint64(row[UDP_SUM])
    for word in range(4):
        part = (sequence >> np.uint64(48 - 16 * word)) & _U16
        data[payload + 2 * word] = part >> np.uint64(8)
        data[payload + 2 * word + 1] = part & np.uint64(0xFF)
        total += part
    while total > _U16:
        total = (total & _U16) + (total >> np.uint64(16))
    checksum = total ^ _U16
    if checksum == 0:  # which in UDP means "none"
        checksum = _U16
    data[payload - 2] = checksum >> np.uint64(8)
    data[payload - 1] = checksum & np.uint64(0xFF)


@kernel(
    "UniTuple(i8, 2)(u1[::1], i8[::1], u4[::1], u4[::1], i8[::1], u2[::1], i8,"
    " i8[:, ::1], i8[:, ::1], i8[:, ::1], u1[:, ::1], u1[::1], i8[::1])"
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
    """Write the frames that arrive before ``until_ns`` and fit; returns how many, and when the next arrives.

    Between adapters frames are in order of whole ns; ties go to the lower lane. ``headers`` has shape
    (rows, HEADER_BYTES); ``pattern`` is what payload bytes are by their place in the frame; ``sequences``
    the next number of every flow.
    """
    frames = 0
    used = 0
    while True:
        chosen = 0
        for a in range(1, lanes.shape[0]):
            if lanes[a, ARRIVAL_NS] < lanes[chosen, ARRIVAL_NS]:
                chosen = a
        lane = lanes[chosen]
        arrival = lane[ARRIVAL_NS]
        if arrival >= until_ns or frames == offset.size:
            return frames, arrival
        mix = mixes[lane[NEXT_MIX]]
        key = np.uint64(mix[KEY])
        draw = _hash(key, mix[INDEX])
        r = mix[FIRST_ROW] + np.int64(((draw >> np.uint64(32)) * np.uint64(mix[ROWS])) >> np.uint64(32))
        if np.int64(draw & _U32) >= rows[r, COIN]:
            r = rows[r, OTHER]
        length = rows[r, LENGTH]
        if used + length > data.size:
            return frames, arrival

        flow = rows[r, FLOW]
        host = np.uint64(0)
        if rows[r, ANY_HOST]:
            host = _hash(~key, mix[INDEX])
        _write(data, used, rows[r], headers[r], pattern, np.uint64(sequences[flow]), host)
        sequences[flow] += 1
        offset[frames] = used
        captured[frames] = length
        wire[frames] = length
        arrival_ns[frames] = arrival
        adapter[frames] = lane[LANE_ADAPTER]
        frames += 1
        used += length

        parts = (length + _WIRE_OVERHEAD_BYTES) * lane[BYTE_NS]
        if mix[TIMESTAMP_NS] <= lane[END_NS]:
            parts += lane[END_PART]
        lane[END_NS] = arrival + parts // lane[BYTE_PARTS]
        lane[END_PART] = parts % lane[BYTE_PARTS]
        _advance(mix)
        _choose(lane, mixes)
