"""Steering kernels: which queue each frame of a slice goes to, and whose shard that is.

Rules: contract 1 (NDIS, "VMQ Receive Filters"). A slice is steered by one shard; the result is left
sorted, stably, by owning shard, so that each shard then finds its own frames in wire order.
"""

import numpy as np
from numpy.typing import NDArray

from engine.dataplane.layout import (
    ADAPTER_FILTER_BASE,
    ADAPTER_HAS_ANY,
    ADAPTER_MAX_FRAME_BYTES,
    ADAPTER_SLOT_BASE,
    ADAPTER_TABLE_BASE,
    ADAPTER_TABLE_MASK,
    EMPTY_KEY,
    I32,
    I64,
    NONE,
    ROW_DEFAULT_FILTER,
    ROW_FILTER,
    ROW_KEY,
    ROW_PORT_VM,
    ROW_QUEUE,
    Int,
)
from engine.jit import inlined, kernel, load_network_word
from engine.ndis.steering import KEY_KNOWN_MAC, TEST_ANY, TEST_UNTAGGED

OFFERED_FRAMES, OFFERED_BYTES, RUNT, OVERSIZE, PORT_COUNTERS = range(5)
REASON_BROADCAST, REASON_MULTICAST, REASON_NO_QUEUE, REASON_VLAN_MISMATCH, REASON_UNKNOWN_UNICAST = range(5)

_HASH = 0x9E3779B97F4A7C15 - (1 << 64)  # Fibonacci hashing, as a signed number
_BROADCAST = 0xFFFFFFFFFFFF
_GROUP_BIT = 0x010000000000


@inlined
def _place(key: Int, mask: Int) -> Int:
    """Where a key's search begins."""
    return ((key * _HASH) >> 29) & mask


@inlined
def _find(table: I64, base: Int, mask: Int, key: Int) -> Int:
    """The table row of a key, or NONE."""
    place: Int = _place(key, mask)
    while True:
        row = base + place
        found = table[row, ROW_KEY]
        if found == key:
            return row
        if found == EMPTY_KEY:
            return NONE
        place = (place + 1) & mask


@kernel("void(int64[:,::1], int64, int64, uint64[::1], int32[::1], int32[::1], int32[::1], int32[::1])")
def write_table(
    table: I64,
    base: int,
    mask: int,
    key: NDArray[np.uint64],
    queue: I32,
    filter_id: I32,
    default_filter: I32,
    port_vm: I32,
) -> None:
    """Hash steering rows, columns of shape (n,), into the adapter's part of the table.

    That part has ``mask + 1`` rows, a power of two well above n. Open addressing, linear probing.
    """
    for empty in range(base, base + mask + 1):
        table[empty, ROW_KEY] = EMPTY_KEY
    for i in range(key.shape[0]):
        wanted = np.int64(key[i])
        place: Int = _place(wanted, mask)
        while table[base + place, ROW_KEY] != EMPTY_KEY:
            place = (place + 1) & mask
        row = base + place
        table[row, ROW_KEY] = wanted
        table[row, ROW_QUEUE] = queue[i]
        table[row, ROW_FILTER] = filter_id[i]
        table[row, ROW_DEFAULT_FILTER] = default_filter[i]
        table[row, ROW_PORT_VM] = port_vm[i]


@kernel(
    "void(uint8[::1], int64[::1], uint32[::1], uint32[::1], uint16[::1], int64, int64,"
    " int64[:,::1], int64[:,::1], int32[::1],"
    " int32[::1], int32[::1], int32[::1], uint8[::1], int32[::1], int32[::1], int64[:,::1])"
)
def steer(
    data: NDArray[np.uint8],
    offset: I64,
    captured: NDArray[np.uint32],
    wire: NDArray[np.uint32],
    adapter: NDArray[np.uint16],
    first: int,
    last: int,
    adapters: I64,
    table: I64,
    owner: I32,
    slot: I32,
    credit: I32,
    port_vm: I32,
    reason: NDArray[np.uint8],
    order: I32,
    bounds: I32,
    port: I64,
) -> None:
    """Steer the frames ``first`` to ``last`` of a batch, and sort them by owning shard.

    Columns have shape (batch frames,); ``data`` goes on for two bytes at least after the last frame.
    Written for each frame: ``slot`` (NONE after a port error), ``credit``, ``port_vm`` and ``reason`` as in
    ``layout.Views``; ``order[first:last]``, and ``bounds`` (cpus + 1,): shard k's frames are
    ``order[bounds[k]:bounds[k + 1]]``. ``port`` (adapters, PORT_COUNTERS) is added to.
    """
    cpus = bounds.shape[0] - 1
    for k in range(cpus + 1):
        bounds[k] = 0
    counted = first
    octets = np.int64(0)
    for i in range(first, last):
        a = np.int64(adapter[i])
        c = np.int64(captured[i])
        w = np.int64(wire[i])
        o = offset[i]
        if i > counted and adapter[i - 1] != adapter[i]:
            port[adapter[i - 1], OFFERED_FRAMES] += i - counted
            port[adapter[i - 1], OFFERED_BYTES] += octets
            counted = i
            octets = np.int64(0)
        octets += w
        slot[i] = NONE
        if c < 14:
            port[a, RUNT] += 1
            continue
        behind = load_network_word(data, o + 8)  # bytes 8 to 15
        tagged = (behind >> 16) & 0xFFFF == 0x8100
        if tagged and c < 16:
            port[a, RUNT] += 1
            continue
        longest = adapters[a, ADAPTER_MAX_FRAME_BYTES]
        if w > longest or c > longest:
            port[a, OVERSIZE] += 1
            continue
        mac = (load_network_word(data, o) >> 16) & _BROADCAST
        queue = np.int64(0)
        filter_id = np.int64(NONE)
        vm = np.int64(NONE)
        why = REASON_UNKNOWN_UNICAST
        if mac & _GROUP_BIT:
            why = REASON_BROADCAST if mac == _BROADCAST else REASON_MULTICAST
        else:
            test = np.int64(TEST_UNTAGGED)
            if tagged:
                test = behind & 0xFFF
            base = adapters[a, ADAPTER_TABLE_BASE]
            mask = adapters[a, ADAPTER_TABLE_MASK]
            default_filter = np.int64(NONE)
            row = _find(table, base, mask, (mac << 16) | test)
            if row != NONE:
                default_filter = table[row, ROW_DEFAULT_FILTER]
                vm = table[row, ROW_PORT_VM]
                if table[row, ROW_QUEUE] != NONE:
                    queue = table[row, ROW_QUEUE]
                    filter_id = table[row, ROW_FILTER]
            if adapters[a, ADAPTER_HAS_ANY]:
                row = _find(table, base, mask, (mac << 16) | TEST_ANY)
                if row != NONE:
                    other = table[row, ROW_QUEUE]
                    if other != NONE and (
                        queue == 0 or other < queue or (other == queue and table[row, ROW_FILTER] < filter_id)
                    ):
                        queue = other
                        filter_id = table[row, ROW_FILTER]
                    other = table[row, ROW_DEFAULT_FILTER]
                    if other != NONE and (default_filter == NONE or other < default_filter):
                        default_filter = other
                    if vm == NONE:
                        vm = table[row, ROW_PORT_VM]
            if queue == 0:
                filter_id = default_filter
                if vm != NONE:
                    why = REASON_NO_QUEUE
                elif _find(table, base, mask, (mac << 16) | KEY_KNOWN_MAC) != NONE:
                    why = REASON_VLAN_MISMATCH
        frame_slot = adapters[a, ADAPTER_SLOT_BASE] + queue
        slot[i] = frame_slot
        credit[i] = NONE if filter_id == NONE else adapters[a, ADAPTER_FILTER_BASE] + filter_id
        port_vm[i] = vm
        reason[i] = why
        bounds[owner[frame_slot] + 1] += 1
    if last > counted:
        port[adapter[last - 1], OFFERED_FRAMES] += last - counted
        port[adapter[last - 1], OFFERED_BYTES] += octets
    bounds[0] = first
    for k in range(cpus):
        bounds[k + 1] += bounds[k]
    # Each shard's begin moves on as its part fills, and ends as the next one's begin.
    for i in range(first, last):
        if slot[i] != NONE:
            shard = owner[slot[i]]
            order[bounds[shard]] = i
            bounds[shard] += 1
    for k in range(cpus, 0, -1):
        bounds[k] = bounds[k - 1]
    bounds[0] = first
