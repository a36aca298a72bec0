"""Frames of a live interface: libpcap calls ``take`` for each, ``release`` gives to a batch what is due.

Between the two lies the waiting room: one int64 array of named slots and, from ``ROWS`` on, a row for each
frame that waits; its bytes are in an array of their own. Time is contract 1, "Time".
"""

import sys

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import callback, copy_bytes, copy_memory, kernel
from engine.traffic.batch import MAX_CAPTURED_BYTES
from engine.traffic.capture_kernels import STUB_BYTES, WIRE_OVERHEAD_BYTES

WAITING = 0  # frames in the waiting room, given out or not
GIVEN = 1  # of them, those that a batch has
BYTES = 2  # bytes of the waiting room taken
FRAME_ROOM = 3
BYTE_ROOM = 4
ADDRESS = 5  # of the bytes
TICK_NS = 6  # ns of one unit of a timestamp's fraction
NO_ROOM = 7  # frames that found no room here; libpcap is asked for no more than fit, so none should
ZERO_NS = 8  # Unix time of simulated time 0
FLOOR_NS = 9  # what is before that simulated time is over
END_NS = 10  # when the wire is free again
END_PART = 11  # its fraction, in 1/DENOMINATOR ns
NUMERATOR = 12  # a byte takes NUMERATOR / DENOMINATOR ns on the wire
DENOMINATOR = 13
FRAMES = 14  # frames written into the batch
USED = 15  # bytes of the batch's data taken
NEXT_NS = 16  # after BATCH_FULL and LATER: arrival of the next frame
LAST_NS = 17  # arrival of the last frame given out
ROWS = 24

STAMP_NS = 0  # Unix time
LENGTHS = 1  # captured in bits 0-31, on the wire in bits 32-63
OFFSET = 2  # of its bytes
ROW = 3

BATCH_FULL = 0
LATER = 1
EMPTY = 2

# struct pcap_pkthdr in 32-bit words, where pointers have 64 bits: struct timeval, captured, on the wire.
_LOW, _HIGH, _FRACTION = (0, 1, 2) if sys.byteorder == "little" else (1, 0, 3)
_CAPTURED, _WIRE = 4, 5
_SECOND_NS = 1_000_000_000


@callback("void(CPointer(int64), CPointer(uint32), uintp)")
def take(room: NDArray[np.int64], header: NDArray[np.uint32], frame: int) -> None:
    """Put a frame into the waiting room: what ``pcap_dispatch`` calls."""
    captured = np.int64(header[_CAPTURED])
    kept = captured
    if captured > MAX_CAPTURED_BYTES:
        kept = np.int64(STUB_BYTES)
    if room[WAITING] >= room[FRAME_ROOM] or room[BYTES] + kept > room[BYTE_ROOM]:
        room[NO_ROOM] += 1
        return
    row = ROWS + ROW * room[WAITING]
    seconds = np.int64(header[_LOW]) | np.int64(header[_HIGH]) << 32
    room[row + STAMP_NS] = seconds * _SECOND_NS + np.int64(header[_FRACTION]) * room[TICK_NS]
    room[row + LENGTHS] = captured | np.int64(header[_WIRE]) << 32
    room[row + OFFSET] = room[BYTES]
    copy_memory(room[ADDRESS] + room[BYTES], frame, kept)
    room[WAITING] += 1
    room[BYTES] += kept


@kernel("int64(i8[::1], u1[::1], u1[::1], i8[::1], u4[::1], u4[::1], i8[::1], u2[::1], i8, i8)")
def release(
    room: NDArray[np.int64],
    waiting: NDArray[np.uint8],
    data: NDArray[np.uint8],
    offset: NDArray[np.int64],
    captured_bytes: NDArray[np.uint32],
    wire_bytes: NDArray[np.uint32],
    arrival_ns: NDArray[np.int64],
    adapter: NDArray[np.uint16],
    adapter_index: int,
    until_ns: int,
) -> int:
    """Copy the frames that wait, and arrive before ``until_ns``, into the batch; returns why it stopped.

    A frame arrives at its timestamp, when the wire is free, or, if its time is over, at once.
    """
    frames = room[FRAMES]
    used = room[USED]
    code = EMPTY
    while room[GIVEN] < room[WAITING]:
        row = ROWS + ROW * room[GIVEN]
        captured = room[row + LENGTHS] & 0xFFFFFFFF
        wire = room[row + LENGTHS] >> 32 & 0xFFFFFFFF
        now_ns = room[END_NS]
        now_part = room[END_PART]
        at_ns = max(room[row + STAMP_NS] - room[ZERO_NS], room[FLOOR_NS])
        if at_ns > now_ns:
            now_ns = at_ns
            now_part = np.int64(0)
        kept = captured
        if captured > MAX_CAPTURED_BYTES:
            kept = np.int64(STUB_BYTES)
        if now_ns >= until_ns:
            room[NEXT_NS] = now_ns
            code = LATER
            break
        if frames >= len(offset) or used + kept > len(data):
            room[NEXT_NS] = now_ns
            code = BATCH_FULL
            break
        copy_bytes(data, used, waiting, room[row + OFFSET], kept)
        offset[frames] = used
        captured_bytes[frames] = captured
        wire_bytes[frames] = wire
        arrival_ns[frames] = now_ns
        adapter[frames] = adapter_index
        frames += 1
        used += kept
        room[GIVEN] += 1
        parts = np.uint64(now_part) + np.uint64(wire + WIRE_OVERHEAD_BYTES) * np.uint64(room[NUMERATOR])
        whole = parts // np.uint64(room[DENOMINATOR])
        room[END_NS] = now_ns + np.int64(whole)
        room[END_PART] = np.int64(parts - whole * np.uint64(room[DENOMINATOR]))
        room[LAST_NS] = now_ns
    room[FRAMES] = frames
    room[USED] = used
    return code


@kernel("void(i8[::1], u1[::1])")
def move_up(room: NDArray[np.int64], waiting: NDArray[np.uint8]) -> None:
    """Let the frames that still wait have the beginning of the waiting room; some have been given out."""
    given = room[GIVEN]
    left = room[WAITING] - given
    first = room[BYTES]
    if left > 0:
        first = room[ROWS + ROW * given + OFFSET]
    for place in range(left):
        row = ROWS + ROW * place
        old = row + ROW * given
        room[row + STAMP_NS] = room[old + STAMP_NS]
        room[row + LENGTHS] = room[old + LENGTHS]
        room[row + OFFSET] = room[old + OFFSET] - first
    size = room[BYTES] - first
    moved = np.int64(0)
    while moved < size:  # no part overlaps where it goes
        part = min(first, size - moved)
        copy_bytes(waiting, moved, waiting, first + moved, part)
        moved += part
    room[WAITING] = left
    room[GIVEN] = 0
    room[BYTES] -= first
