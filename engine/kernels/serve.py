"""The serving kernel: a discrete-event model of one simulated processor and its queues.

Before each frame it processes the earlier events of the processor and the VMs: DPCs start and end (indicate,
return), and VMs return buffers; then the frame takes a buffer. Rules: contract 1, "Time", and
the CPU model of the reference. At equal times a frame comes first; then DPCs in the order armed (ties:
adapter, queue id). The division of frames into rounds changes no counter: each event happens at its own
simulated time, and the state at the horizon is stored in the rows.
"""

from typing import Any

import numpy as np

from engine.kernels import armed as order
from engine.kernels.armed import BY_DPC, BY_FRAME, Armed
from engine.kernels.dpc import indicate, start_dpc, take_back
from engine.kernels.jit import PLACES, Record, Records, copy_bytes, inlined, kernel, prefetch, types
from engine.kernels.layout import (
    CAPTURED_SHIFT,
    FRAME_TAG_SHIFT,
    FRAME_WIRE_SHIFT,
    I32,
    I64,
    LENGTH_MASK,
    NEVER_NS,
    NONE,
    OFFSET_MASK,
    SWITCH_REASON_MASK,
    SWITCH_REASON_SHIFT,
    SWITCH_TAKE_TAG_OUT,
    SWITCH_VM_MASK,
    TARGET_FILTER_MASK,
    TARGET_SLOT_SHIFT,
    WIRE_SHIFT,
    Int,
)
from engine.kernels.round_ends import scratch_at
from engine.kernels.top import note, pair_of
from engine.kernels.views import Memory, views_at

_AHEAD = np.uint64(8)  # prefetch the bytes of the frame this many places ahead


@inlined
def _arm(armed: Armed, queue: Record, line: Int, ns: Int, slot: Int) -> None:
    """Arm a queue's DPC in a line, ``BY_FRAME`` or ``BY_DPC``."""
    queue.armed_ns = ns
    queue.armed_by_interrupt = line
    order.insert(armed, line, ns, slot)


@inlined
def _first_to_end(queues: Records, foreign: I32, count: Int) -> Int:
    """Return the index in ``foreign`` of the queue whose DPC on another processor ends first."""
    best = 0
    for k in range(1, count):
        if queues[foreign[k]].dpc_end_ns < queues[foreign[best]].dpc_end_ns:
            best = k
    return best


@inlined
def _next_own_ns(cpu: Record, armed: Armed) -> Int:
    """Return when the processor's DPC ends, or, if it is idle, when its next one starts."""
    next_ns: Int = cpu.free_ns
    if cpu.dpc_slot == NONE:
        armed_ns = order.next_armed_ns(armed)
        next_ns = max(armed_ns, next_ns) if armed_ns != NEVER_NS else armed_ns
    return next_ns


@inlined
def _receive(memory: Memory, queue: Record, data: Any, place: Int, switch: Int, now_ns: Int) -> None:
    """Write a frame into the top free buffer, as DMA does, and append it to the pending FIFO."""
    rows = memory.rows
    buffer = queue.free_head
    row = rows[np.uint64(buffer)]
    queue.free_head = row.next
    queue.free_buffers -= 1
    start = place & OFFSET_MASK
    size = (place >> CAPTURED_SHIFT) & LENGTH_MASK
    wire = (place >> WIRE_SHIFT) & LENGTH_MASK
    to = queue.host_at + buffer * queue.stride
    lookahead = queue.lookahead_bytes
    tag = np.int64(0)
    if switch & SWITCH_TAKE_TAG_OUT:
        tag = 1 + ((np.int64(data[start + 14]) << 8) | np.int64(data[start + 15]))
        copy_bytes(memory.host, to, data, start, 12)
        copy_bytes(memory.host, to + 12, data, start + 16, size - 16)
        size -= 4
    elif lookahead > 0 and size > lookahead:
        copy_bytes(memory.host, to, data, start, lookahead)
        rest = row.guest_at + lookahead
        copy_bytes(memory.guest, rest, data, start + lookahead, size - lookahead)
    else:
        copy_bytes(memory.host, to, data, start, size)
    row.frame = (tag << FRAME_TAG_SHIFT) | (wire << FRAME_WIRE_SHIFT) | size
    row.port_vm = (switch & SWITCH_VM_MASK) - 1
    row.arrived_ns = now_ns
    row.next = NONE
    if queue.pending == 0:
        queue.pending_head = buffer
    else:
        rows[np.uint64(queue.pending_tail)].next = buffer
    queue.pending_tail = buffer
    queue.pending += 1
    queue.pending_bytes += min(wire, queue.copied_bytes_limit)
    queue.received_frames += 1


@inlined
def _count(
    queue: Record, top: Records, data: Any, frame: Record, matched: I64, credited: I64, credits_given: Int
) -> Int:
    """Count an arriving frame for its queue, its filter and, in the default queue, its reason.

    Returns the number of rows of ``credited`` in use afterwards.
    """
    place = frame.place
    target = frame.target
    queue.steered_frames += 1
    queue.steered_bytes += (place >> WIRE_SHIFT) & LENGTH_MASK
    credit = target & TARGET_FILTER_MASK
    if credit > 0:
        filter_at = np.uint64(credit - 1)
        if matched[filter_at] == 0:
            credited[credits_given, 0] = credit - 1
            credits_given += 1
        matched[filter_at] += 1
    reason = (frame.switch >> SWITCH_REASON_SHIFT) & SWITCH_REASON_MASK
    if reason > 0:
        queue.reasons[reason - 1] += 1
        note(top[queue.adapter], pair_of(data, place & OFFSET_MASK), reason - 1)
    return credits_given


@inlined
def _find_buffer(rows: Records, queue: Record, now_ns: Int, round_number: Int) -> bool:
    """Return whether a queue has a free buffer; if few are free, first take back those due."""
    if queue.free_buffers <= queue.low_free_buffers:
        if queue.outstanding_head != NONE:
            take_back(rows, queue, now_ns, round_number)
        queue.low_free_buffers = min(queue.low_free_buffers, max(queue.free_buffers - 1, 0))
    return bool(queue.free_buffers != 0)


@inlined
def _end_dpc(
    memory: Memory,
    queue: Record,
    latency: I64,
    armed: Armed,
    me: Int,
    slot: Int,
    end_ns: Int,
    round_number: Int,
) -> None:
    """End the DPC of a queue; arm the queue again if frames are still pending."""
    indicate(memory, queue, latency, me, round_number)
    if queue.pending > 0:
        _arm(armed, queue, BY_DPC, end_ns, slot)


@inlined
def _advance(
    memory: Memory,
    costs: Record,
    owner: I32,
    armed: Armed,
    foreign: I32,
    queues: Records,
    latency: Any,
    cpu: Record,
    me: Int,
    now_ns: Int,
    next_ns: Int,
    foreigners: Int,
    round_number: Int,
) -> tuple[Int, Int]:
    """Start and end DPCs up to ``now_ns``.

    ``next_ns`` is a time before which no event happens; ``foreigners`` the number of the processor's queues
    with a DPC in progress on another processor. Returns both, updated.
    """
    while next_ns < now_ns:
        next_ns = _next_own_ns(cpu, armed)
        if foreigners > 0:
            # A queue that moved here ends its last DPC at the old processor's time.
            k = _first_to_end(queues, foreign, foreigners)
            slot = np.int64(foreign[k])
            queue = queues[slot]
            if queue.dpc_end_ns <= next_ns:
                next_ns = queue.dpc_end_ns
                if next_ns < now_ns:
                    foreigners -= 1
                    foreign[k] = foreign[foreigners]
                    _end_dpc(memory, queue, latency[slot], armed, me, slot, next_ns, round_number)
                continue
        if next_ns >= now_ns:
            break
        slot = np.int64(cpu.dpc_slot)
        if slot == NONE:
            slot = np.int64(order.take_next(armed))
            start_dpc(memory, costs, queues[np.uint64(slot)], cpu, me, slot, next_ns)
            if foreigners > 0:
                continue  # another processor's DPC may end before this one does
            next_ns = cpu.free_ns
            if next_ns >= now_ns:
                break
        cpu.dpc_slot = NONE
        cpu.busy_cycles += cpu.dpc_cycles
        cpu.indicated_frames += cpu.dpc_frames
        # Since the start, the queue may have moved, or a cleared filter may have discarded its frames.
        queue = queues[np.uint64(slot)]
        if owner[np.uint64(slot)] == me and queue.dpc_cpu == me and queue.dpc_end_ns == next_ns:
            _end_dpc(memory, queue, latency[np.uint64(slot)], armed, me, slot, next_ns, round_number)
    return next_ns, foreigners


@kernel(types.int64(PLACES, PLACES, *[types.int64] * 7))
def serve(
    views_places: I64,
    scratch_places: I64,
    me: int,
    batch: int,
    blocks: int,
    bank: int,
    round_number: int,
    horizon_ns: int,
    foreigners: Int,
) -> int:
    """Receive this shard's frames of a round and serve its queues up to ``horizon_ns``.

    ``round_ends.begin`` has copied the rows of its queues and processor from ``bank`` to the other bank,
    where this changes them, and has counted ``foreigners``. The frames are those in the first ``blocks``
    blocks of the batch. Returns the number of rows that it wrote to ``scratch.credited``, for
    ``round_ends.end``.
    """
    views = views_at(views_places)
    scratch = scratch_at(scratch_places)
    memory = Memory(views.buffer_rows, views.buffer_bytes, views.guest_bytes, views.switch_at, views.adapters)
    costs = views.costs[me]
    armed = scratch.armed
    foreign = scratch.foreign
    queues = views.queues[1 - bank]
    latency = views.latency[1 - bank]
    top = views.top[1 - bank]
    cpu = views.cpus[1 - bank, me]
    data = views.data[batch]
    steered = views.steered[batch]
    moderation_ns = costs.moderation_ns
    credits_given: Int = np.int64(0)
    next_ns: Int = np.int64(0)  # no event happens before this time
    for block in range(blocks + 1):
        # After the last frame, one more iteration advances the time to the horizon.
        only_time = block == blocks
        first = np.int64(0)
        last = np.int64(1)
        if not only_time:
            first = np.int64(views.bounds[batch, block, me])
            last = np.int64(views.bounds[batch, block, me + 1])
        for place in range(np.uint64(first), np.uint64(last)):
            frame = steered[place]
            now_ns = horizon_ns if only_time else frame.arrival_ns
            next_ns, foreigners = _advance(
                memory,
                costs,
                views.owner,
                armed,
                foreign,
                queues,
                latency,
                cpu,
                me,
                now_ns,
                next_ns,
                foreigners,
                round_number,
            )
            if only_time:
                break
            if place + _AHEAD < np.uint64(last):
                prefetch(data, steered[place + _AHEAD].place & OFFSET_MASK)
            slot = frame.target >> TARGET_SLOT_SHIFT
            queue = queues[np.uint64(slot)]
            credits_given = _count(queue, top, data, frame, scratch.matched, scratch.credited, credits_given)
            if not _find_buffer(memory.rows, queue, now_ns, round_number):
                queue.dropped_no_buffer += 1
                continue
            _receive(memory, queue, data, frame.place, frame.switch, now_ns)
            if queue.armed_ns == NONE:
                due_ns = now_ns + moderation_ns
                _arm(armed, queue, BY_FRAME, due_ns, slot)
                next_ns = min(next_ns, max(due_ns, cpu.free_ns))

    cpu.next_event_ns = next_ns
    return int(credits_given)
