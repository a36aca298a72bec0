"""A processor's work between two frames: DPCs, and buffers that VMs return.

A DPC fixes its number of frames when it starts, and indicates them when its cycles are spent. Costs come from
the CPU model (``costs`` rows); rules: contract 1, "Time", and NDIS.md, "Where receive buffers live".
"""

import numpy as np

from engine.kernels.jit import Record, Records, copy_bytes, inlined
from engine.kernels.latency import bucket_of
from engine.kernels.layout import (
    FRAME_WIRE_SHIFT,
    I64,
    IN_SERVICE,
    LATENCY_BUCKETS,
    LENGTH_MASK,
    NONE,
    SWITCH_PLACES,
    Int,
)
from engine.kernels.views import Memory


@inlined
def start_dpc(
    memory: Memory, costs: Record, queue: Record, cpu: Record, me: Int, slot: Int, start_ns: Int
) -> None:
    """Start the DPC of an armed queue: compute its frames, its cycles and its end."""
    frames = queue.pending
    copied = queue.pending_bytes
    if frames > costs.quota:
        frames = costs.quota
        copied = 0
        buffer = queue.pending_head
        for _ in range(frames):
            row = memory.rows[np.uint64(buffer)]
            copied += min((row.frame >> FRAME_WIRE_SHIFT) & LENGTH_MASK, queue.copied_bytes_limit)
            buffer = row.next
    queue.pending_bytes -= copied
    per_byte = costs.byte
    if memory.adapters[np.uint64(queue.adapter)].numa_node != costs.numa_node:
        per_byte = costs.remote_byte
    cycles = (
        costs.dpc
        + frames * costs.frame
        + np.int64(np.uint64(copied * per_byte) // np.uint64(costs.byte_divisor))
    )
    if queue.armed_by_interrupt:
        cycles += costs.interrupt
        queue.interrupts += 1
        cpu.interrupts += 1
    # Both are positive, so divide unsigned: half the instructions of a signed floor division.
    divisor = np.uint64(costs.ns_divisor)
    end_ns = start_ns + np.int64((np.uint64(cycles * costs.ns) + divisor - np.uint64(1)) // divisor)
    queue.dpcs += 1
    queue.armed_ns = IN_SERVICE
    queue.dpc_cpu = me
    queue.dpc_end_ns = end_ns
    queue.dpc_frames = frames
    cpu.dpcs += 1
    cpu.free_ns = end_ns
    cpu.dpc_slot = slot
    cpu.dpc_frames = frames
    cpu.dpc_cycles = cycles


@inlined
def indicate(memory: Memory, queue: Record, latency: I64, me: Int, round_number: Int) -> None:
    """End a queue's DPC: indicate its frames; each buffer is returned now, or later by its VM.

    Waiting times are counted in ``latency`` (LATENCY_BUCKETS,), and the queue's maximum is updated.

    The switch copies a frame into the memory of the VM whose port matches: to ``guest_at`` for a VM's own
    queue (with a lookahead split only the lookahead, in front of the rest), else to the VM's place for this
    processor.
    """
    rows = memory.rows
    host_at = queue.host_at
    stride = queue.stride
    lookahead = queue.lookahead_bytes
    owned = queue.vm != NONE
    vm_base = memory.adapters[np.uint64(queue.adapter)].vm_base
    end_ns = queue.dpc_end_ns
    due_ns = end_ns + queue.return_delay_ns
    returns_at_once = queue.return_delay_ns == 0 and not queue.held
    frames = queue.dpc_frames
    dropped = 0
    returned = 0
    buffer = queue.pending_head
    bucket: Int = np.int64(LATENCY_BUCKETS)
    if frames > 0:
        longest_ns = end_ns - rows[np.uint64(buffer)].arrived_ns  # the head arrived first
        queue.latency_max_ns = max(queue.latency_max_ns, longest_ns)
        queue.latency_to = max(queue.latency_to, bucket_of(longest_ns) + 1)
    for _ in range(frames):
        row = rows[np.uint64(buffer)]
        following = row.next
        bucket = bucket_of(end_ns - row.arrived_ns)
        latency[np.uint64(bucket)] += 1
        vm = row.port_vm
        if vm == NONE:
            dropped += 1
        else:
            size = row.frame & LENGTH_MASK
            to = row.guest_at
            if not owned:
                to = memory.switch_at[vm_base + vm] + me % SWITCH_PLACES * stride
            elif lookahead > 0:
                size = min(size, lookahead)
            copy_bytes(memory.guest, to, memory.host, host_at + buffer * stride, size)
        if vm == NONE or returns_at_once:
            returned += 1
            give_back(queue, row, buffer)
        else:
            row.due_ns = due_ns
            row.indicated_round = round_number
            row.next = NONE
            if queue.outstanding_head == NONE:
                queue.outstanding_head = buffer
            else:
                rows[np.uint64(queue.outstanding_tail)].next = buffer
            queue.outstanding_tail = buffer
        buffer = following
    queue.latency_from = min(queue.latency_from, bucket)  # the last frame waited shortest
    queue.pending_head = buffer
    if buffer == NONE:
        queue.pending_tail = NONE
    queue.pending -= frames
    queue.indicated_frames += frames
    queue.switch_dropped_frames += dropped
    queue.returned_frames += returned
    queue.outstanding += frames - returned
    queue.armed_ns = NONE
    queue.dpc_cpu = NONE
    queue.dpc_frames = 0


@inlined
def give_back(queue: Record, row: Record, buffer: Int) -> None:
    """Free a returned buffer, or surrender it if its queue shrinks."""
    if queue.total_buffers > queue.target_buffers:
        queue.total_buffers -= 1
        row.next = queue.surrendered_head
        queue.surrendered_head = buffer
    else:
        queue.free_buffers += 1
        row.next = queue.free_head
        queue.free_head = buffer


@inlined
def take_back(rows: Records, queue: Record, before_ns: Int, round_number: Int) -> None:
    """Take back the outstanding buffers that are due before a time."""
    if queue.held:
        return
    buffer = queue.outstanding_head
    while buffer != NONE:
        row = rows[np.uint64(buffer)]
        due_ns = row.due_ns
        if due_ns >= before_ns:
            break
        following = row.next
        if row.indicated_round != round_number:
            row.returned_round = round_number
            row.returned_due_ns = due_ns
        row.due_ns = NONE
        queue.outstanding -= 1
        queue.returned_frames += 1
        give_back(queue, row, buffer)
        buffer = following
    queue.outstanding_head = buffer
    if buffer == NONE:
        queue.outstanding_tail = NONE
