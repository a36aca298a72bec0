"""Steering kernels: find the queue of each frame of a batch, and the shard that owns the queue.

Rules: contract 1 (NDIS, "VMQ Receive Filters"). The result of the filters for a MAC is computed when the
table is written, so that a frame usually costs one probe: it copies the row's target and switch word (see
``layout``). Blocks of frames are steered and stably sorted by owning shard, so that each shard reads its
own frames in wire order.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import (
    constant_widths,
    inlined,
    kernel,
    load_network_word,
    take_ticket,
    tuple_type,
    types,
)
from engine.kernels.layout import (
    ADAPTER,
    BLOCK_FRAMES,
    CAPTURED_SHIFT,
    EMPTY_KEY,
    FRAME,
    I32,
    I64,
    NONE,
    PORT,
    REASON,
    SWITCH_OWNER_SHIFT,
    SWITCH_REASON_SHIFT,
    SWITCH_TAKE_TAG_OUT,
    TABLE,
    TARGET_SLOT_SHIFT,
    WIRE_SHIFT,
    Int,
    Views,
)
from engine.kernels.views import VIEWS, of_constant_widths
from engine.ndis.steering import KEY_KNOWN_MAC, TEST_ANY, TEST_UNTAGGED

_HASH = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
_BROADCAST = 0xFFFFFFFFFFFF
_GROUP_BIT = 0x010000000000
_TEST_BITS = 16
_TEST_MASK = 0xFFFF
_NO_TEST = -1  # in TABLE.test: all frames of the MAC have the same target
_MORE_TESTS = -2  # in TABLE.test: several tests, each with its own row


class Rows(NamedTuple):
    """The columns of ``SteeringRows``, sorted by key."""

    key: NDArray[np.uint64]
    queue: I32
    filter: I32
    default_filter: I32
    port_vm: I32


_ROWS: Final[Any] = tuple_type(Rows, [types.uint64[::1], *[types.int32[::1]] * 4])


@inlined
def _place(key: Int, mask: np.uint64) -> np.uint64:
    """Return the table index where the probe for a key begins."""
    return ((np.uint64(key) * _HASH) >> np.uint64(29)) & mask


@inlined
def _find(table: I64, base: np.uint64, mask: np.uint64, key: Int) -> Int:
    """Return the table row of a key, or NONE. Indices are unsigned, because those skip the negative case."""
    place = _place(key, mask)
    while True:
        row = base + place
        found = table[row, TABLE.key]
        if found == key:
            return np.int64(row)
        if found == EMPTY_KEY:
            return np.int64(NONE)
        place = (place + np.uint64(1)) & mask


@inlined
def _claim(table: I64, base: np.uint64, mask: np.uint64, key: Int) -> np.uint64:
    """Write a key to the first empty row of its probe sequence; return the row."""
    place = _place(key, mask)
    while table[base + place, TABLE.key] != EMPTY_KEY:
        place = (place + np.uint64(1)) & mask
    table[base + place, TABLE.key] = key
    return base + place


@inlined
def _target(adapter: I64, queue: Int, filter_id: Int) -> Int:
    """Return the target word for a queue and its credited filter (NONE: no filter)."""
    credit: Int = np.int64(0)
    if filter_id != NONE:
        credit = adapter[ADAPTER.filter_base] + filter_id + 1
    target: Int = ((adapter[ADAPTER.slot_base] + queue) << TARGET_SLOT_SHIFT) | credit
    return target


@inlined
def _for_default_queue(vm: Int, reason: Int) -> Int:
    """Return the switch word of a frame for queue 0; ``vm`` may be NONE."""
    return (vm + 1) | ((reason + 1) << SWITCH_REASON_SHIFT)


@inlined
def _fate(adapter: I64, rows: Rows, own: Int, any_tag: Int, known: bool) -> tuple[Int, Int]:
    """Return the target and the switch word of frames that pass the tests of rows ``own`` and ``any_tag``.

    Either may be NONE. The queue with the lower id gets the frame and the lower of its matching filters
    the credit (contract 1, rule 4).
    """
    to = np.int64(0)
    credit = np.int64(NONE)
    of_default = np.int64(NONE)
    vm = np.int64(NONE)
    for row in (own, any_tag):
        if row == NONE:
            continue
        queue = np.int64(rows.queue[row])
        filter_id = np.int64(rows.filter[row])
        if queue != NONE and (to == 0 or queue < to or (queue == to and filter_id < credit)):
            to = queue
            credit = filter_id
        default_filter = np.int64(rows.default_filter[row])
        if default_filter != NONE and (of_default == NONE or default_filter < of_default):
            of_default = default_filter
        if vm == NONE:
            vm = np.int64(rows.port_vm[row])
    if to != 0:
        return _target(adapter, to, credit), vm + 1
    reason = REASON.unknown_unicast
    if vm != NONE:
        reason = REASON.no_queue
    elif known:
        reason = REASON.vlan_mismatch
    return _target(adapter, to, of_default), _for_default_queue(vm, reason)


@kernel(types.void(types.int64[:, ::1], types.int64[::1], _ROWS))
def write_table(table: I64, adapter: I64, rows: Rows) -> None:
    """Hash steering rows into the adapter's part of the table, by open addressing with linear probing.

    That part has ``ADAPTER.table_mask`` + 1 rows, a power of two well above the number of ``rows``. Each MAC
    has a row with the target of frames that pass none of its tests. If the MAC has one test, the same
    row has the target of frames that pass it; if it has several, each test has its own row.
    """
    base = np.uint64(adapter[ADAPTER.table_base])
    mask = np.uint64(adapter[ADAPTER.table_mask])
    for empty in range(base, base + mask + np.uint64(1)):
        table[empty, TABLE.key] = EMPTY_KEY
    first = 0
    while first < rows.key.shape[0]:
        mac = np.int64(rows.key[first] >> np.uint64(_TEST_BITS))
        last = first
        known = False
        any_tag: Int = np.int64(NONE)
        tests = 0
        while last < rows.key.shape[0] and np.int64(rows.key[last] >> np.uint64(_TEST_BITS)) == mac:
            test = np.int64(rows.key[last]) & _TEST_MASK
            if test == TEST_ANY:
                any_tag = np.int64(last)
            elif test == KEY_KNOWN_MAC:
                known = True
            else:
                tests += 1
            last += 1
        of_mac = table[_claim(table, base, mask, mac << _TEST_BITS)]
        target, switch = _fate(adapter, rows, np.int64(NONE), any_tag, known)
        of_mac[TABLE.other_target] = target
        of_mac[TABLE.other_switch] = switch
        of_mac[TABLE.test] = _NO_TEST if tests == 0 else _MORE_TESTS
        for own in range(first, first + tests):  # the MAC's other keys sort after these
            test = np.int64(rows.key[own]) & _TEST_MASK
            row = of_mac
            if tests == 1:
                of_mac[TABLE.test] = test
            else:
                row = table[_claim(table, base, mask, (mac << _TEST_BITS) | (test + 1))]
            target, switch = _fate(adapter, rows, np.int64(own), any_tag, known)
            row[TABLE.target] = target
            row[TABLE.switch] = switch
        first = last


@inlined
def _words_of(
    table: I64, base: np.uint64, mask: np.uint64, default_target: Int, mac: Int, tagged: bool, tag: Int
) -> tuple[Int, Int]:
    """Return the target and the switch word of a frame: one probe, or two if its MAC has several tests."""
    if mac & _GROUP_BIT:
        reason = REASON.broadcast if mac == _BROADCAST else REASON.multicast
        return default_target, _for_default_queue(np.int64(NONE), reason)
    row = _find(table, base, mask, mac << _TEST_BITS)
    if row == NONE:
        return default_target, _for_default_queue(np.int64(NONE), REASON.unknown_unicast)
    of_mac = table[np.uint64(row)]
    only = of_mac[TABLE.test]
    if only == _NO_TEST:
        return of_mac[TABLE.other_target], of_mac[TABLE.other_switch]
    test = tag & 0xFFF if tagged else np.int64(TEST_UNTAGGED)
    if only == test:
        return of_mac[TABLE.target], of_mac[TABLE.switch]
    if only == _MORE_TESTS:
        row = _find(table, base, mask, (mac << _TEST_BITS) | (test + 1))
        if row != NONE:
            return table[np.uint64(row), TABLE.target], table[np.uint64(row), TABLE.switch]
    return of_mac[TABLE.other_target], of_mac[TABLE.other_switch]


class BlockScratch(NamedTuple):
    """A shard's private scratch for one block. It counts here and not in ``bounds``, whose cache lines other
    shards write at the same time."""

    words: I64  # (BLOCK_FRAMES, _NOTE) results of the first pass for the second, by frame
    cursor: I64  # (cpus + 1,) write position in each shard's part


_NOTE: Final = 4
_BLOCK_SCRATCH: Final[Any] = tuple_type(BlockScratch, (types.int64[:, ::1], types.int64[::1]))
_of_constant_width = constant_widths([(_NOTE,), ()])


def scratch_for_block(cpus: int) -> BlockScratch:
    """Return scratch for ``steer`` on a host with ``cpus`` processors."""
    return BlockScratch(np.empty((BLOCK_FRAMES, _NOTE), np.int64), np.empty(cpus + 1, np.int64))


@inlined
def _steer_block(
    views: Views,
    batch: Int,
    first: np.uint64,
    last: np.uint64,
    own_bounds: I32,
    scratch: BlockScratch,
    port: I64,
) -> None:
    """Steer the frames of one block and sort them by owning shard."""
    data = views.data[batch]
    offset = views.offset[batch]
    captured = views.captured[batch]
    wire = views.wire[batch]
    adapter_of = views.adapter[batch]
    words = scratch.words
    cursor = scratch.cursor
    for k in range(cursor.shape[0]):
        cursor[k] = 0
    a = np.int64(-1)
    counted: Any = first
    octets: Int = np.int64(0)
    longest: Int = np.int64(0)
    base = np.uint64(0)
    mask = np.uint64(0)
    default_target: Int = np.int64(0)
    take_tag_out: Int = np.int64(0)
    for i in range(first, last):
        if adapter_of[i] != a:
            if a >= 0:
                port[a, PORT.offered_frames] += np.int64(i - counted)
                port[a, PORT.offered_bytes] += octets
            counted = i
            octets = np.int64(0)
            a = np.int64(adapter_of[i])
            adapter = views.adapters[a]
            longest = adapter[ADAPTER.max_frame_bytes]
            base = np.uint64(adapter[ADAPTER.table_base])
            mask = np.uint64(adapter[ADAPTER.table_mask])
            default_target = _target(adapter, np.int64(0), np.int64(NONE))
            take_tag_out = SWITCH_TAKE_TAG_OUT * adapter[ADAPTER.takes_tag_out]
        c = np.int64(captured[i])
        w = np.int64(wire[i])
        at = offset[i]
        noted = words[i - first]
        octets += w
        behind = load_network_word(data, at + 8)  # bytes 8 to 15
        tagged = (behind >> 16) & 0xFFFF == 0x8100
        if c < 16 and (c < 14 or tagged):
            port[a, PORT.runt] += 1
            noted[0] = NONE
            continue
        if max(w, c) > longest:
            port[a, PORT.oversize] += 1
            noted[0] = NONE
            continue
        mac = (load_network_word(data, at) >> 16) & _BROADCAST
        target, switch = _words_of(views.table, base, mask, default_target, mac, tagged, behind)
        if tagged:
            switch |= take_tag_out
        shard = np.int64(views.owner[np.uint64(target >> TARGET_SLOT_SHIFT)])
        noted[0] = target
        noted[1] = switch | (shard << SWITCH_OWNER_SHIFT)
        noted[2] = at | (c << CAPTURED_SHIFT) | (w << WIRE_SHIFT)
        cursor[np.uint64(shard) + np.uint64(1)] += 1
    if a >= 0:
        port[a, PORT.offered_frames] += np.int64(last - counted)
        port[a, PORT.offered_bytes] += octets

    cursor[0] = np.int64(first)
    for k in range(cursor.shape[0] - 1):
        cursor[k + 1] += cursor[k]
    for k in range(cursor.shape[0]):
        own_bounds[k] = cursor[k]
    steered = views.steered[batch]
    arrival_ns = views.arrival_ns[batch]
    for i in range(first, last):
        noted = words[i - first]
        if noted[0] != NONE:
            shard_of = np.uint64(noted[1]) >> np.uint64(SWITCH_OWNER_SHIFT)
            place = cursor[shard_of]
            cursor[shard_of] = place + 1
            frame = steered[np.uint64(place)]
            frame[FRAME.arrival_ns] = arrival_ns[i]
            frame[FRAME.place] = noted[2]
            frame[FRAME.target] = noted[0]
            frame[FRAME.switch] = noted[1]


@kernel(types.void(VIEWS, *[types.int64] * 2, _BLOCK_SCRATCH, types.int64[:, ::1]))
def steer(views: Views, batch: int, frames: int, scratch: BlockScratch, port: I64) -> None:
    """Steer blocks of the first ``frames`` frames of a batch until no unclaimed block is left.

    Shards claim blocks one by one, so a shard with less to serve steers more; the result does not depend on
    which shard steers a block. The batch's ``data`` must have at least 16 bytes from the start of the last
    frame. Writes ``steered`` and ``bounds`` of its blocks; shard k's frames of block b are
    ``steered[batch, bounds[batch, b, k] : bounds[batch, b, k + 1]]``. ``scratch`` comes from
    ``scratch_for_block``; counts are added to ``port`` (adapters, PORT_COUNTERS).
    """
    views = of_constant_widths(views)
    scratch = _of_constant_width(scratch)
    first = BLOCK_FRAMES * take_ticket(views.next_block[batch])
    while first < frames:
        last = min(first + BLOCK_FRAMES, frames)
        bounds = views.bounds[batch, first // BLOCK_FRAMES]
        _steer_block(views, batch, np.uint64(first), np.uint64(last), bounds, scratch, port)
        first = BLOCK_FRAMES * take_ticket(views.next_block[batch])
