"""The walk over the bytes of a capture file: parse records into frames of a batch, with arrival times.

A capture is read in chunks; ``walk`` parses the records in the buffer and returns why it stopped. Its state
is an int64 array of named slots, so that it can stop and resume at any record. Rules: the pcap and pcapng
drafts of the IETF opsawg and, if they are silent, libpcap's sf-pcap.c and sf-pcapng.c; for time,
contract 1, "Time".
"""

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import copy_bytes, inlined, kernel, load_little_word_32
from engine.traffic.batch import MAX_CAPTURED_BYTES

# Slots of the state: the walk's position, the file's format, and the clock of the wire.
POS = 0  # next byte of the buffer
FILLED = 1  # number of file bytes in the buffer
NG = 2  # 1: pcapng, 0: pcap
BIG = 3  # 1: big-endian
HEADER = 4  # pcap: bytes of a record header
TICK_NS = 5  # pcap: ns of one unit of the fraction field
LENGTHS = 6  # pcap: IN_ORDER, SWAPPED or MAYBE_SWAPPED
INTERFACES = 7  # pcapng: interfaces of this section so far
STAMPED = 8  # 1: FIRST_S and FIRST_NS hold the first timestamp of this pass over the file
FIRST_S = 9
FIRST_NS = 10
BASE_NS = 11  # simulated time of that timestamp, minus time cut out of gaps; may be negative
BASE_PART = 12  # its fraction, in 1/DENOMINATOR ns
END_NS = 13  # when the wire is free again
END_PART = 14
NUMERATOR = 15  # a byte takes NUMERATOR / DENOMINATOR ns on the wire; 0: no wire to wait for
DENOMINATOR = 16
SHORTEN = 17  # 1: idle gaps are cut to GAP_NS
SKIPPED_NS = 18  # time cut out of gaps so far
FRAMES = 19  # frames written into the batch
USED = 20  # bytes of the batch's data in use
LAST_NS = 21  # arrival of the last frame written
NEED = 22  # after MORE_BYTES: bytes needed from POS on
NEXT_NS = 23  # after BATCH_FULL and LATER: arrival of the frame at POS
DETAIL = 24  # after an error: the wrong number
LEFT_OUT = 25  # frames skipped so far, because their interface is not Ethernet
SLOTS = 26

IN_ORDER, SWAPPED, MAYBE_SWAPPED = 0, 1, 2

# Why the walk stopped.
BATCH_FULL = 0
LATER = 1
MORE_BYTES = 2
CONTROL_BLOCK = 3  # pcapng: a section header, or a complete interface description, is at POS
BAD_CAPTURED = 10
BAD_BLOCK_LENGTH = 11
BAD_TRAILER = 12
BAD_FRAME = 13
BAD_INTERFACE = 14
BAD_TIME = 15

# Columns of the interface table, uint64.
SNAPLEN = 0  # 0: no limit
UNITS = 1  # timestamp units in a second; 0: exceeds 64 bits
SCALE = 2  # ns in a unit; 0: a unit is less than 1 ns
DIVISOR = 3  # units in 1 ns, if SCALE is 0; 0: exceeds 64 bits
BINARY = 4  # 1 + exponent of a power-of-2 resolution; 0: a power of 10
OFFSET_S = 5  # int64 seconds in two's complement
FOREIGN = 6  # 1: not Ethernet
COLUMNS = 7

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
OBSOLETE_PACKET = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6

MAX_RECORD_BYTES = 262_144
"""Limit of a record's captured bytes, as in libpcap and Wireshark for Ethernet."""

MAX_BLOCK_BYTES = 16 * 1024 * 1024
"""Limit of a pcapng block, as in libpcap."""

STUB_BYTES = 64
"""Bytes copied of a frame captured longer than ``MAX_CAPTURED_BYTES``."""

MAX_ARRIVAL_NS = 2**62 - 2**50
"""Limit of arrival times (146 years): a little below 2**62, which callers use for "no limit", so that events
after the last frame are still below that."""

GAP_NS = 1_000_000_000
WIRE_OVERHEAD_BYTES = 20  # preamble, start of frame, gap between frames (contract 1)
MAX_SECONDS = 2**60
_SECOND_NS = 1_000_000_000
_MAX_GAP_S = MAX_ARRIVAL_NS // _SECOND_NS + 2

Integer = int | np.int64


@inlined
def _u16(buffer: NDArray[np.uint8], at: Integer, big: Integer) -> np.int64:
    if big:
        return (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])
    return (np.int64(buffer[at + 1]) << 8) | np.int64(buffer[at])


@inlined
def _u32(buffer: NDArray[np.uint8], at: Integer, big: Integer) -> np.int64:
    word: np.int64 = load_little_word_32(buffer, at)
    if big:
        word = (word & 0xFF) << 24 | (word & 0xFF00) << 8 | (word >> 8) & 0xFF00 | word >> 24
    return word


@inlined
def _timestamp(high: np.int64, low: np.int64, interface: NDArray[np.uint64]) -> tuple[np.int64, np.int64]:
    """Convert a 64-bit pcapng timestamp to seconds, within ±2 × MAX_SECONDS, and whole ns."""
    units = (np.uint64(high) << np.uint64(32)) | np.uint64(low)
    per_second = interface[UNITS]
    seconds = np.uint64(0)
    if per_second != 0:
        seconds = units // per_second
        units -= seconds * per_second
    if interface[BINARY] != 0:
        # units × 10^9 / 2^exponent: ``product`` has bits 32 and up of a 96-bit product.
        exponent = interface[BINARY] - np.uint64(1)
        low_product = (units & np.uint64(0xFFFFFFFF)) * np.uint64(_SECOND_NS)
        product = (units >> np.uint64(32)) * np.uint64(_SECOND_NS) + (low_product >> np.uint64(32))
        if exponent < 32:
            ns = low_product >> exponent
        elif exponent < 96:
            ns = product >> (exponent - np.uint64(32))
        else:
            ns = np.uint64(0)
    elif interface[SCALE] != 0:
        ns = units * interface[SCALE]
    elif interface[DIVISOR] != 0:
        ns = units // interface[DIVISOR]
    else:
        ns = np.uint64(0)
    whole = np.int64(min(seconds, np.uint64(MAX_SECONDS))) + np.int64(interface[OFFSET_S])
    return whole, np.int64(ns)


@kernel("int64(u1[::1], i8[::1], u8[:, ::1], u1[::1], i8[::1], u4[::1], u4[::1], i8[::1], u2[::1], i8, i8)")
def walk(
    buffer: NDArray[np.uint8],
    state: NDArray[np.int64],
    interfaces: NDArray[np.uint64],
    data: NDArray[np.uint8],
    offset: NDArray[np.int64],
    captured_bytes: NDArray[np.uint32],
    wire_bytes: NDArray[np.uint32],
    arrival_ns: NDArray[np.int64],
    adapter: NDArray[np.uint16],
    adapter_index: int,
    until_ns: int,
) -> int:
    """Copy frames from ``state[POS]`` on into the batch; return the reason for stopping.

    Stops before a frame that does not fit (BATCH_FULL), arrives at ``until_ns`` or later (LATER),
    or is incomplete in the buffer (MORE_BYTES), and before an error; earlier frames stay written.
    Without a wire a frame arrives at its timestamp, which may decrease, or at 0 if it has none.
    The clock advances only when a frame is written, so stopping and resuming does not change the result.
    ``interfaces`` has shape (n, COLUMNS).
    """
    pos = state[POS]
    filled = state[FILLED]
    big = state[BIG]
    header = state[HEADER]
    frames = state[FRAMES]
    used = state[USED]
    end_ns = state[END_NS]
    end_part = state[END_PART]
    numerator = np.uint64(state[NUMERATOR])
    denominator = np.uint64(state[DENOMINATOR])
    while True:
        left = filled - pos
        stamped = True
        if state[NG] == 0:
            if left < header:
                need = header
                code = MORE_BYTES
                break
            seconds = _u32(buffer, pos, big)
            ns = _u32(buffer, pos + 4, big) * state[TICK_NS]
            captured = _u32(buffer, pos + 8, big)
            wire = _u32(buffer, pos + 12, big)
            if state[LENGTHS] == SWAPPED or (state[LENGTHS] == MAYBE_SWAPPED and captured > wire):
                captured, wire = wire, captured
            if captured > MAX_RECORD_BYTES:
                need = captured
                code = BAD_CAPTURED
                break
            at = pos + header
            total = header + captured
            if left < total:
                need = total
                code = MORE_BYTES
                break
        else:
            if left < 12:
                need = np.int64(12)
                code = MORE_BYTES
                break
            kind = _u32(buffer, pos, big)
            if kind == SECTION_HEADER:  # the same number in both byte orders
                need = np.int64(12)
                code = CONTROL_BLOCK
                break
            total = _u32(buffer, pos + 4, big)
            if total < 12 or total % 4 != 0 or total > MAX_BLOCK_BYTES:
                need = total
                code = BAD_BLOCK_LENGTH
                break
            if left < total:
                need = total
                code = MORE_BYTES
                break
            if _u32(buffer, pos + total - 4, big) != total:
                need = _u32(buffer, pos + total - 4, big)
                code = BAD_TRAILER
                break
            if kind == INTERFACE_DESCRIPTION:
                need = total
                code = CONTROL_BLOCK
                break
            if kind in (ENHANCED_PACKET, OBSOLETE_PACKET):
                fixed = np.int64(20)
            elif kind == SIMPLE_PACKET:
                fixed = np.int64(4)
            else:
                pos += total
                continue
            room = total - 12 - fixed
            if room < 0:
                need = total
                code = BAD_BLOCK_LENGTH
                break
            row = np.int64(0)
            if kind == ENHANCED_PACKET:
                row = _u32(buffer, pos + 8, big)
            elif kind == OBSOLETE_PACKET:
                row = _u16(buffer, pos + 8, big)
            if row >= state[INTERFACES]:
                need = row
                code = BAD_INTERFACE
                break
            if interfaces[row, FOREIGN] != 0:
                state[LEFT_OUT] += 1
                pos += total
                continue
            at = pos + 8 + fixed
            if kind == SIMPLE_PACKET:
                stamped = False
                seconds = np.int64(0)
                ns = np.int64(0)
                wire = _u32(buffer, pos + 8, big)
                captured = wire
                limit = np.int64(interfaces[0, SNAPLEN])
                if limit != 0 and captured > limit:
                    captured = limit
            else:
                seconds, ns = _timestamp(
                    _u32(buffer, pos + 12, big), _u32(buffer, pos + 16, big), interfaces[row]
                )
                captured = _u32(buffer, pos + 20, big)
                wire = _u32(buffer, pos + 24, big)
            if captured > MAX_RECORD_BYTES:
                need = captured
                code = BAD_CAPTURED
                break
            if captured > room:
                need = captured
                code = BAD_FRAME
                break

        if ns >= _SECOND_NS:
            seconds += ns // _SECOND_NS
            ns %= _SECOND_NS
        has_wire = numerator > 0
        now_ns = end_ns if has_wire else np.int64(0)
        now_part = end_part
        if stamped:
            since_first = np.int64(0)
            if state[STAMPED]:
                gap_s = min(max(seconds - state[FIRST_S], np.int64(-_MAX_GAP_S)), np.int64(_MAX_GAP_S))
                since_first = gap_s * _SECOND_NS + (ns - state[FIRST_NS])
                since_first = min(max(since_first, np.int64(-MAX_ARRIVAL_NS)), np.int64(MAX_ARRIVAL_NS))
            at_ns = state[BASE_NS] + since_first
            if not has_wire or at_ns > end_ns or (at_ns == end_ns and state[BASE_PART] > end_part):
                now_ns = at_ns
                now_part = state[BASE_PART]
        if now_ns >= MAX_ARRIVAL_NS:
            code = BAD_TIME
            break
        cut_ns = np.int64(0)
        if state[SHORTEN] and now_ns - end_ns > GAP_NS:
            cut_ns = now_ns - end_ns - GAP_NS
            now_ns -= cut_ns
        kept = captured
        if captured > MAX_CAPTURED_BYTES:
            kept = np.int64(STUB_BYTES)
        if frames >= len(offset) or used + kept > len(data):
            need = now_ns
            code = BATCH_FULL
            break
        if now_ns >= until_ns:
            need = now_ns
            code = LATER
            break

        if stamped and not state[STAMPED]:
            state[STAMPED] = 1
            state[FIRST_S] = seconds
            state[FIRST_NS] = ns
        if cut_ns:
            state[BASE_NS] -= cut_ns
            state[SKIPPED_NS] += cut_ns
        copy_bytes(data, used, buffer, at, kept)
        offset[frames] = used
        captured_bytes[frames] = captured
        wire_bytes[frames] = wire
        arrival_ns[frames] = now_ns
        adapter[frames] = adapter_index
        frames += 1
        used += kept
        pos += total
        parts = np.uint64(now_part) + np.uint64(wire + WIRE_OVERHEAD_BYTES) * numerator
        whole = parts // denominator
        end_ns = min(now_ns + np.int64(whole), np.int64(MAX_ARRIVAL_NS)) if has_wire else max(end_ns, now_ns)
        end_part = np.int64(parts - whole * denominator)
        state[LAST_NS] = now_ns

    state[POS] = pos
    state[FRAMES] = frames
    state[USED] = used
    state[END_NS] = end_ns
    state[END_PART] = end_part
    if code == MORE_BYTES:
        state[NEED] = need
    elif code in (BATCH_FULL, LATER):
        state[NEXT_NS] = need
    else:
        state[DETAIL] = need
    return code
