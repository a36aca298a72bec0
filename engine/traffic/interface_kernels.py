"""Kernels of a live interface: libpcap calls ``take`` for each frame; ``release`` copies due ones to a batch.

Between the two is the receive buffer (``room``): an int64 array of named slots and, from ``ROWS`` on, a row
for each frame; the frames' bytes are in another array. Rules for time: contract 1, "Time".
"""

import sys

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import callback, copy_bytes, copy_memory, kernel
from engine.traffic.batch import MAX_CAPTURED_BYTES
from engine.traffic.capture_kernels import STUB_BYTES, WIRE_OVERHEAD_BYTES

WAITING = 0  # frames in the buffer, including those already copied to a batch
GIVEN = 1  # those of them already copied to a batch
BYTES = 2  # bytes of the buffer in use
FRAME_ROOM = 3  # capacity in frames
BYTE_ROOM = 4  # capacity in bytes
ADDRESS = 5  # address of the frames' bytes
TICK_NS = 6  # ns of one unit of a timestamp's fraction
NO_ROOM = 7  # frames dropped because the buffer was full; normally 0, because no more than fit are requested
ZERO_NS = 8  # Unix time of simulated time 0
FLOOR_NS = 9  # simulated time that has passed: later frames can't arrive before it
END_NS = 10  # when the wire is free again
END_PART = 11  # its fraction, in 1/DENOMINATOR ns
NUMERATOR = 12  # a byte takes NUMERATOR / DENOMINATOR ns on the wire
DENOMINATOR = 13
FRAMES = 14  # frames written into the batch
USED = 15  # bytes of the batch's data in use
NEXT_NS = 16  # after BATCH_FULL and LATER: arrival of the next frame
LAST_NS = 17  # arrival of the last frame copied to a batch
ROWS = 24

STAMP_NS = 0  # Unix time
LENGTHS = 1  # captured in bits 0-31, on the wire in bits 32-63
OFFSET = 2  # offset of its bytes
ROW = 3

BATCH_FULL = 0
LATER = 1
EMPTY = 2

# struct pcap_pkthdr in 32-bit words on 64-bit systems: struct timeval, captured and wire lengths.
_LOW, _HIGH, _FRACTION = (0, 1, 2) if sys.byteorder == "little" else (1, 0, 3)
_CAPTURED, _WIRE = 4, 5
_SECOND_NS = 1_000_000_000


@callback("void(CPointer(int64), CPointer(uint32), uintp)")
def take(room: NDArray[np.int64], header: NDArray[np.uint32], frame: int) -> None:
    """Append a frame to the receive buffer; the callback of ``pcap_dispatch``."""
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
    """Copy the buffered frames that arrive before ``until_ns`` into the batch; return why it stopped.

    A frame arrives at its timestamp, but not before the wire is free nor before ``FLOOR_NS``.
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
    """Remove copied frames from the buffer: move the others to its beginning. ``GIVEN`` must be above 0."""
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
    while moved < size:  # in parts that don't overlap their destination
        part = min(first, size - moved)
        copy_bytes(waiting, moved, waiting, first + moved, part)
        moved += part
    room[WAITING] = left
    room[GIVEN] = 0
    room[BYTES] -= first
