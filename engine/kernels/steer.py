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
    PLACES,
    Record,
    Records,
    copy_record,
    inlined,
    kernel,
    load_network_word,
    take_ticket,
    tuple_at,
    tuple_type,
    types,
)
from engine.kernels.layout import (
    BLOCK_FRAMES,
    CAPTURED_SHIFT,
    EMPTY_KEY,
    FRAME_ROW,
    I32,
    I64,
    NONE,
    REASON,
    SWITCH_OWNER_SHIFT,
    SWITCH_REASON_SHIFT,
    SWITCH_TAKE_TAG_OUT,
    TARGET_SLOT_SHIFT,
    WIRE_SHIFT,
    Int,
)
from engine.kernels.views import array_of, views_at
from engine.ndis.steering import KEY_KNOWN_MAC, TEST_ANY, TEST_UNTAGGED

_HASH = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
_BROADCAST = 0xFFFFFFFFFFFF
_GROUP_BIT = 0x010000000000
_TEST_BITS = 16
_TEST_MASK = 0xFFFF
_NO_TEST = -1  # in a row's ``test``: all frames of the MAC have the same target
_MORE_TESTS = -2  # in a row's ``test``: several tests, each with its own row


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
def _find(table: Records, base: np.uint64, mask: np.uint64, key: Int) -> Int:
    """Return the table row of a key, or NONE. Indices are unsigned, because those skip the negative case."""
    place = _place(key, mask)
    while True:
        row = base + place
        found = table[row].key
        if found == key:
            return np.int64(row)
        if found == EMPTY_KEY:
            return np.int64(NONE)
        place = (place + np.uint64(1)) & mask


@inlined
def _claim(table: Records, base: np.uint64, mask: np.uint64, key: Int) -> np.uint64:
    """Write a key to the first empty row of its probe sequence; return the row."""
    place = _place(key, mask)
    while table[base + place].key != EMPTY_KEY:
        place = (place + np.uint64(1)) & mask
    table[base + place].key = key
    return base + place


@inlined
def _target(adapter: Record, queue: Int, filter_id: Int) -> Int:
    """Return the target word for a queue and its credited filter (NONE: no filter)."""
    credit: Int = np.int64(0)
    if filter_id != NONE:
        credit = adapter.filter_base + filter_id + 1
    target: Int = ((adapter.slot_base + queue) << TARGET_SLOT_SHIFT) | credit
    return target


@inlined
def _for_default_queue(vm: Int, reason: Int) -> Int:
    """Return the switch word of a frame for queue 0; ``vm`` may be NONE."""
    return (vm + 1) | ((reason + 1) << SWITCH_REASON_SHIFT)


@inlined
def _fate(adapter: Record, rows: Rows, own: Int, any_tag: Int, known: bool) -> tuple[Int, Int]:
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


@kernel(types.void(PLACES, types.int64, _ROWS))
def write_table(views_places: I64, number: int, rows: Rows) -> None:
    """Hash steering rows into the adapter's part of the table, by open addressing with linear probing.

    That part has ``table_mask`` + 1 rows, a power of two well above the number of ``rows``. Each MAC
    has a row with the target of frames that pass none of its tests. If the MAC has one test, the same
    row has the target of frames that pass it; if it has several, each test has its own row.
    """
    views = views_at(views_places)
    table = views.table
    adapter = views.adapters[number]
    base = np.uint64(adapter.table_base)
    mask = np.uint64(adapter.table_mask)
    for empty in range(base, base + mask + np.uint64(1)):
        table[empty].key = EMPTY_KEY
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
        of_mac.other_target = target
        of_mac.other_switch = switch
        of_mac.test = _NO_TEST if tests == 0 else _MORE_TESTS
        for own in range(first, first + tests):  # the MAC's other keys sort after these
            test = np.int64(rows.key[own]) & _TEST_MASK
            row = of_mac
            if tests == 1:
                of_mac.test = test
            else:
                row = table[_claim(table, base, mask, (mac << _TEST_BITS) | (test + 1))]
            target, switch = _fate(adapter, rows, np.int64(own), any_tag, known)
            row.target = target
            row.switch = switch
        first = last


@inlined
def _words_of(
    table: Records, base: np.uint64, mask: np.uint64, default_target: Int, mac: Int, tagged: bool, tag: Int
) -> tuple[Int, Int]:
    """Return the target and the switch word of a frame: one probe, or two if its MAC has several tests."""
    if mac & _GROUP_BIT:
        reason = REASON.broadcast if mac == _BROADCAST else REASON.multicast
        return default_target, _for_default_queue(np.int64(NONE), reason)
    row = _find(table, base, mask, mac << _TEST_BITS)
    if row == NONE:
        return default_target, _for_default_queue(np.int64(NONE), REASON.unknown_unicast)
    of_mac = table[np.uint64(row)]
    only = of_mac.test
    if only == _NO_TEST:
        return of_mac.other_target, of_mac.other_switch
    test = tag & 0xFFF if tagged else np.int64(TEST_UNTAGGED)
    if only == test:
        return of_mac.target, of_mac.switch
    if only == _MORE_TESTS:
        row = _find(table, base, mask, (mac << _TEST_BITS) | (test + 1))
        if row != NONE:
            return table[np.uint64(row)].target, table[np.uint64(row)].switch
    return of_mac.other_target, of_mac.other_switch


class BlockScratch(NamedTuple):
    """A shard's private scratch for one block. It counts here and not in ``bounds``, whose cache lines other
    shards write at the same time."""

    frames: I64  # (BLOCK_FRAMES, FRAME_ROW) of the first pass for the second; target NONE: not received
    cursor: I64  # (cpus + 1,) write position in each shard's part
    port: I64  # (adapters, PORT_COUNTERS) where ``steer`` adds its counts


_block_scratch_at = tuple_at(
    tuple_type(BlockScratch, (array_of("steered", 1), types.int64[::1], array_of("port", 1))), {}
)


def scratch_for_block(cpus: int, port: I64) -> BlockScratch:
    """Return scratch for ``steer`` on a host with ``cpus`` processors, which adds its counts to ``port``."""
    return BlockScratch(np.empty((BLOCK_FRAMES, FRAME_ROW), np.int64), np.empty(cpus + 1, np.int64), port)


@kernel(types.void(PLACES, *[types.int64] * 2, PLACES))
def steer(views_places: I64, batch: int, frames: int, scratch_places: I64) -> None:
    """Steer blocks of the first ``frames`` frames of a batch until no unclaimed block is left.

    Shards claim blocks one by one, so a shard with less to serve steers more; the result does not depend on
    which shard steers a block. The batch's ``data`` must have at least 16 bytes from the start of the last
    frame. Writes ``steered`` and ``bounds`` of its blocks; shard k's frames of block b are
    ``steered[batch, bounds[batch, b, k] : bounds[batch, b, k + 1]]``. The scratch comes from
    ``scratch_for_block``.

    It is one long function, as each array that another would take costs time to compile.
    """
    views = views_at(views_places)
    scratch = _block_scratch_at(scratch_places)
    data = views.data[batch]
    offset = views.offset[batch]
    captured = views.captured[batch]
    wire = views.wire[batch]
    adapter_of = views.adapter[batch]
    arrival_ns = views.arrival_ns[batch]
    steered = views.steered[batch]
    cursor = scratch.cursor
    while True:
        block = take_ticket(views.next_block[batch])
        first = np.uint64(BLOCK_FRAMES * block)
        if first >= np.uint64(frames):
            return
        last = min(first + np.uint64(BLOCK_FRAMES), np.uint64(frames))

        # First find each frame's target, and count those of each shard.
        for k in range(cursor.shape[0]):
            cursor[k] = 0
        a = np.int64(-1)
        port = scratch.port[0]
        counted: Any = first
        octets: Int = np.int64(0)
        longest: Int = np.int64(0)
        base = np.uint64(0)
        mask = np.uint64(0)
        default_target: Int = np.int64(0)
        take_tag_out: Int = np.int64(0)
        for i in range(first, last):
            if adapter_of[i] != a:
                port.offered_frames += np.int64(i - counted)
                port.offered_bytes += octets
                counted = i
                octets = np.int64(0)
                a = np.int64(adapter_of[i])
                port = scratch.port[a]
                adapter = views.adapters[a]
                longest = adapter.max_frame_bytes
                base = np.uint64(adapter.table_base)
                mask = np.uint64(adapter.table_mask)
                default_target = _target(adapter, np.int64(0), np.int64(NONE))
                take_tag_out = SWITCH_TAKE_TAG_OUT * adapter.takes_tag_out
            c = np.int64(captured[i])
            w = np.int64(wire[i])
            at = offset[i]
            frame = scratch.frames[i - first]
            octets += w
            behind = load_network_word(data, at + 8)  # bytes 8 to 15
            tagged = (behind >> 16) & 0xFFFF == 0x8100
            if c < 16 and (c < 14 or tagged):
                port.runt += 1
                frame.target = NONE
                continue
            if max(w, c) > longest:
                port.oversize += 1
                frame.target = NONE
                continue
            mac = (load_network_word(data, at) >> 16) & _BROADCAST
            target, switch = _words_of(views.table, base, mask, default_target, mac, tagged, behind)
            if tagged:
                switch |= take_tag_out
            shard = np.int64(views.owner[np.uint64(target >> TARGET_SLOT_SHIFT)])
            frame.arrival_ns = arrival_ns[i]
            frame.place = at | (c << CAPTURED_SHIFT) | (w << WIRE_SHIFT)
            frame.target = target
            frame.switch = switch | (shard << SWITCH_OWNER_SHIFT)
            cursor[np.uint64(shard) + np.uint64(1)] += 1
        port.offered_frames += np.int64(last - counted)
        port.offered_bytes += octets

        # Then sort the frames by shard.
        cursor[0] = np.int64(first)
        for k in range(cursor.shape[0] - 1):
            cursor[k + 1] += cursor[k]
        bounds = views.bounds[batch, block]
        for k in range(cursor.shape[0]):
            bounds[k] = cursor[k]
        for i in range(first, last):
            frame = scratch.frames[i - first]
            if frame.target != NONE:
                shard_of = np.uint64(frame.switch) >> np.uint64(SWITCH_OWNER_SHIFT)
                place = cursor[shard_of]
                cursor[shard_of] = place + 1
                copy_record(steered[np.uint64(place)], frame)
