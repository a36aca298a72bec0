"""Kernels of teams: select each frame's member, compute its arrival there, and merge members' frames."""

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import copy_bytes, inlined, kernel
from engine.traffic.batch import MAX_CAPTURED_BYTES
from engine.traffic.capture_kernels import STUB_BYTES, WIRE_OVERHEAD_BYTES

# Columns (int64) of a lane: the frames that one reader selects.
TAKES = 0  # adapter index of its input frames; ALL_BELOW: every index below GIVES
GIVES = 1  # adapter index of its output frames
MODE = 2  # SUM or MIN
MEMBER = 3
MEMBERS = 4
NUMERATOR = 5  # a byte takes NUMERATOR / DENOMINATOR ns on the member's wire
DENOMINATOR = 6
END_NS = 7  # when the wire is free again
END_PART = 8  # its fraction, in 1/DENOMINATOR ns
POS = 9  # index of the next frame to merge
COUNT = 10  # frames selected
LANE_COLUMNS = 11

Int = int | np.int64

ALL_BELOW = -1
SUM, MIN = 0, 1

# Why a merge stopped.
ALL_WRITTEN, LANE_EMPTY, FULL = 0, 1, 2

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TAGS = (0x8100, 0x88A8)


@inlined
def _mixed(state: np.uint64, word: np.uint64) -> np.uint64:
    """Mix ``word`` into ``state`` by SplitMix64's finalizer (Steele, Lea, Flood 2014)."""
    z = (state ^ word) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inlined
def _word(data: NDArray[np.uint8], at: Int, first: int, count: int, kept: Int) -> np.uint64:
    """Return ``count`` bytes of a frame from ``first`` on as a big-endian number; uncaptured bytes are 0."""
    word = np.uint64(0)
    for k in range(first, first + count):
        word = word << np.uint64(8)
        if k < kept:
            word |= np.uint64(data[at + k])
    return word


@inlined
def _flow_hash(data: NDArray[np.uint8], at: Int, kept: Int) -> np.uint64:
    """Hash a frame's MAC and IP addresses, but not its ports, which are missing from fragments."""
    state = _mixed(np.uint64(0), _word(data, at, 0, 6, kept))
    state = _mixed(state, _word(data, at, 6, 6, kept))
    place = 12
    kind = np.int64(_word(data, at, place, 2, kept))
    for _ in range(2):
        if kind in _TAGS:
            place += 4
            kind = np.int64(_word(data, at, place, 2, kept))
    if kind == 0x0800 and kept >= place + 22:
        state = _mixed(state, _word(data, at, place + 14, 8, kept))
    elif kind == 0x86DD and kept >= place + 42:
        for k in range(4):
            state = _mixed(state, _word(data, at, place + 10 + 8 * k, 8, kept))
    return state


@inlined
def _member_of(
    data: NDArray[np.uint8],
    at: Int,
    kept: Int,
    mode: Int,
    members: Int,
    port_mac: NDArray[np.int64],
    port_member: NDArray[np.int64],
) -> np.int64:
    """Return the number of the team's member on which a frame arrives."""
    if mode == MIN:
        state = _flow_hash(data, at, kept)
    else:
        mac = np.int64(_word(data, at, 0, 6, kept))
        low, high = 0, port_mac.size
        while low < high:
            middle = (low + high) >> 1
            if port_mac[middle] < mac:
                low = middle + 1
            else:
                high = middle
        if low < port_mac.size and port_mac[low] == mac:
            return np.int64(port_member[low])
        state = _mixed(np.uint64(0), np.uint64(mac))
    return np.int64(((state >> np.uint64(32)) * np.uint64(members)) >> np.uint64(32))


@kernel("void(u1[::1], i8[::1], u4[::1], u4[::1], i8[::1], u2[::1], i8, i8[::1], i8[::1], i8[::1])")
def take(
    data: NDArray[np.uint8],
    offset: NDArray[np.int64],
    captured: NDArray[np.uint32],
    wire: NDArray[np.uint32],
    arrival_ns: NDArray[np.int64],
    adapter: NDArray[np.uint16],
    frames: int,
    lane: NDArray[np.int64],
    port_mac: NDArray[np.int64],
    port_member: NDArray[np.int64],
) -> None:
    """Select a lane's frames of a batch's first ``frames``, in place, with their arrivals over its wire."""
    kept_frames = 0
    for i in range(frames):
        now_ns = arrival_ns[i]
        if lane[TAKES] == ALL_BELOW:
            if adapter[i] >= lane[GIVES]:
                continue
            index = np.int64(adapter[i])
        else:
            if adapter[i] != lane[TAKES]:
                continue
            kept = np.int64(captured[i])
            if kept > MAX_CAPTURED_BYTES:
                kept = np.int64(STUB_BYTES)
            member = _member_of(data, offset[i], kept, lane[MODE], lane[MEMBERS], port_mac, port_member)
            if member != lane[MEMBER]:
                continue
            index = lane[GIVES]
            part = np.int64(0)
            if now_ns <= lane[END_NS]:
                now_ns = lane[END_NS]
                part = lane[END_PART]
            octets = np.uint64(wire[i]) + np.uint64(WIRE_OVERHEAD_BYTES)
            parts = np.uint64(part) + octets * np.uint64(lane[NUMERATOR])
            whole = parts // np.uint64(lane[DENOMINATOR])
            lane[END_NS] = now_ns + np.int64(whole)
            lane[END_PART] = np.int64(parts - whole * np.uint64(lane[DENOMINATOR]))
        offset[kept_frames] = offset[i]
        captured[kept_frames] = captured[i]
        wire[kept_frames] = wire[i]
        arrival_ns[kept_frames] = now_ns
        adapter[kept_frames] = index
        kept_frames += 1
    lane[POS] = 0
    lane[COUNT] = kept_frames


@kernel(
    "UniTuple(i8, 3)(u1[::1], i8[::1], u4[::1], u4[::1], i8[::1], u2[::1], i8, i8, i8, i8[:, ::1],"
    " u1[:, ::1], i8[:, ::1], u4[:, ::1], u4[:, ::1], i8[:, ::1], u2[:, ::1])"
)
def merge(
    data: NDArray[np.uint8],
    offset: NDArray[np.int64],
    captured: NDArray[np.uint32],
    wire: NDArray[np.uint32],
    arrival_ns: NDArray[np.int64],
    adapter: NDArray[np.uint16],
    frames: int,
    used: int,
    limit_ns: int,
    lanes: NDArray[np.int64],
    of_data: NDArray[np.uint8],
    of_offset: NDArray[np.int64],
    of_captured: NDArray[np.uint32],
    of_wire: NDArray[np.uint32],
    of_arrival_ns: NDArray[np.int64],
    of_adapter: NDArray[np.uint16],
) -> tuple[int, int, int]:
    """Write the lanes' frames that arrive before ``limit_ns``, by arrival, ties by lane, while they fit.

    ``frames`` and ``used`` are the batch's frames and data bytes so far. Returns both and why it stopped:
    ALL_WRITTEN, LANE_EMPTY (that lane's reader may have the next frame) or FULL.
    """
    while True:
        best = -1
        for row in range(lanes.shape[0]):
            if lanes[row, POS] < lanes[row, COUNT]:
                at_ns = of_arrival_ns[row, lanes[row, POS]]
                if at_ns < limit_ns and (best < 0 or at_ns < of_arrival_ns[best, lanes[best, POS]]):
                    best = row
        if best < 0:
            return frames, used, ALL_WRITTEN
        i = lanes[best, POS]
        kept = np.int64(of_captured[best, i])
        if kept > MAX_CAPTURED_BYTES:
            kept = np.int64(STUB_BYTES)
        if frames == offset.size or used + kept > data.size:
            return frames, used, FULL
        copy_bytes(data, used, of_data[best], of_offset[best, i], kept)
        offset[frames] = used
        captured[frames] = of_captured[best, i]
        wire[frames] = of_wire[best, i]
        arrival_ns[frames] = of_arrival_ns[best, i]
        adapter[frames] = of_adapter[best, i]
        frames += 1
        used += int(kept)
        lanes[best, POS] = i + 1
        if i + 1 == lanes[best, COUNT]:
            return frames, used, LANE_EMPTY
