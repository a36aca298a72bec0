"""A processor's work between two frames: DPCs, and buffers that VMs return.

A DPC fixes its number of frames when it starts, and indicates them when its cycles are spent. Costs come from
the CPU model (``costs`` rows); rules: contract 1, "Time", and NDIS.md, "Where receive buffers live".
"""

import numpy as np

from engine.kernels.jit import copy_bytes, inlined
from engine.kernels.latency import bucket_of
from engine.kernels.layout import (
    ADAPTER,
    BUFFER,
    COST,
    CPU,
    FRAME_WIRE_SHIFT,
    I64,
    IN_SERVICE,
    LATENCY_BUCKETS,
    LENGTH_MASK,
    NONE,
    SWITCH_PLACES,
    Int,
    Q,
    Views,
)


@inlined
def start_dpc(views: Views, queue: I64, cpu: I64, me: Int, slot: Int, start_ns: Int) -> None:
    """Start the DPC of an armed queue: compute its frames, its cycles and its end."""
    costs = views.costs[me]
    frames = queue[Q.pending]
    copied = queue[Q.pending_bytes]
    if frames > costs[COST.quota]:
        frames = costs[COST.quota]
        copied = 0
        buffer = queue[Q.pending_head]
        for _ in range(frames):
            row = views.buffer_rows[np.uint64(buffer)]
            copied += min((row[BUFFER.frame] >> FRAME_WIRE_SHIFT) & LENGTH_MASK, queue[Q.copied_bytes_limit])
            buffer = row[BUFFER.next]
    queue[Q.pending_bytes] -= copied
    per_byte = costs[COST.byte]
    if views.adapters[np.uint64(queue[Q.adapter]), ADAPTER.numa_node] != costs[COST.numa_node]:
        per_byte = costs[COST.remote_byte]
    cycles = (
        costs[COST.dpc]
        + frames * costs[COST.frame]
        + np.int64(np.uint64(copied * per_byte) // np.uint64(costs[COST.byte_divisor]))
    )
    if queue[Q.armed_by_interrupt]:
        cycles += costs[COST.interrupt]
        queue[Q.interrupts] += 1
        cpu[CPU.interrupts] += 1
    # Both are positive, so divide unsigned: half the instructions of a signed floor division.
    divisor = np.uint64(costs[COST.ns_divisor])
    end_ns = start_ns + np.int64((np.uint64(cycles * costs[COST.ns]) + divisor - np.uint64(1)) // divisor)
    queue[Q.dpcs] += 1
    queue[Q.armed_ns] = IN_SERVICE
    queue[Q.dpc_cpu] = me
    queue[Q.dpc_end_ns] = end_ns
    queue[Q.dpc_frames] = frames
    cpu[CPU.dpcs] += 1
    cpu[CPU.free_ns] = end_ns
    cpu[CPU.dpc_slot] = slot
    cpu[CPU.dpc_frames] = frames
    cpu[CPU.dpc_cycles] = cycles


@inlined
def indicate(views: Views, queue: I64, latency: I64, me: Int, round_number: Int) -> None:
    """End a queue's DPC: indicate its frames; each buffer is returned now, or later by its VM.

    Waiting times are counted in ``latency`` (LATENCY_BUCKETS,), and the queue's maximum is updated.

    The switch copies a frame into the memory of the VM whose port matches: to ``guest_at`` for a VM's own
    queue (with a lookahead split only the lookahead, in front of the rest), else to the VM's place for this
    processor.
    """
    rows = views.buffer_rows
    host_at = queue[Q.host_at]
    stride = queue[Q.stride]
    lookahead = queue[Q.lookahead_bytes]
    owned = queue[Q.vm] != NONE
    vm_base = views.adapters[np.uint64(queue[Q.adapter]), ADAPTER.vm_base]
    end_ns = queue[Q.dpc_end_ns]
    due_ns = end_ns + queue[Q.return_delay_ns]
    returns_at_once = queue[Q.return_delay_ns] == 0 and not queue[Q.held]
    frames = queue[Q.dpc_frames]
    dropped = 0
    returned = 0
    buffer = queue[Q.pending_head]
    bucket: Int = np.int64(LATENCY_BUCKETS)
    if frames > 0:
        longest_ns = end_ns - rows[np.uint64(buffer), BUFFER.arrived_ns]  # the head arrived first
        queue[Q.latency_max_ns] = max(queue[Q.latency_max_ns], longest_ns)
        queue[Q.latency_to] = max(queue[Q.latency_to], bucket_of(longest_ns) + 1)
    for _ in range(frames):
        row = rows[np.uint64(buffer)]
        following = row[BUFFER.next]
        bucket = bucket_of(end_ns - row[BUFFER.arrived_ns])
        latency[np.uint64(bucket)] += 1
        vm = row[BUFFER.port_vm]
        if vm == NONE:
            dropped += 1
        else:
            size = row[BUFFER.frame] & LENGTH_MASK
            to = row[BUFFER.guest_at]
            if not owned:
                to = views.switch_at[vm_base + vm] + me % SWITCH_PLACES * stride
            elif lookahead > 0:
                size = min(size, lookahead)
            copy_bytes(views.guest_bytes, to, views.buffer_bytes, host_at + buffer * stride, size)
        if vm == NONE or returns_at_once:
            returned += 1
            give_back(queue, row, buffer)
        else:
            row[BUFFER.due_ns] = due_ns
            row[BUFFER.indicated_round] = round_number
            row[BUFFER.next] = NONE
            if queue[Q.outstanding_head] == NONE:
                queue[Q.outstanding_head] = buffer
            else:
                rows[np.uint64(queue[Q.outstanding_tail]), BUFFER.next] = buffer
            queue[Q.outstanding_tail] = buffer
        buffer = following
    queue[Q.latency_from] = min(queue[Q.latency_from], bucket)  # the last frame waited shortest
    queue[Q.pending_head] = buffer
    if buffer == NONE:
        queue[Q.pending_tail] = NONE
    queue[Q.pending] -= frames
    queue[Q.indicated_frames] += frames
    queue[Q.switch_dropped_frames] += dropped
    queue[Q.returned_frames] += returned
    queue[Q.outstanding] += frames - returned
    queue[Q.armed_ns] = NONE
    queue[Q.dpc_cpu] = NONE
    queue[Q.dpc_frames] = 0


@inlined
def give_back(queue: I64, row: I64, buffer: Int) -> None:
    """Free a returned buffer, or surrender it if its queue shrinks."""
    if queue[Q.total_buffers] > queue[Q.target_buffers]:
        queue[Q.total_buffers] -= 1
        row[BUFFER.next] = queue[Q.surrendered_head]
        queue[Q.surrendered_head] = buffer
    else:
        queue[Q.free_buffers] += 1
        row[BUFFER.next] = queue[Q.free_head]
        queue[Q.free_head] = buffer


@inlined
def take_back(views: Views, queue: I64, before_ns: Int, round_number: Int) -> None:
    """Take back the outstanding buffers that are due before a time."""
    if queue[Q.held]:
        return
    buffer = queue[Q.outstanding_head]
    while buffer != NONE:
        row = views.buffer_rows[np.uint64(buffer)]
        due_ns = row[BUFFER.due_ns]
        if due_ns >= before_ns:
            break
        following = row[BUFFER.next]
        if row[BUFFER.indicated_round] != round_number:
            row[BUFFER.returned_round] = round_number
            row[BUFFER.returned_due_ns] = due_ns
        row[BUFFER.due_ns] = NONE
        queue[Q.outstanding] -= 1
        queue[Q.returned_frames] += 1
        give_back(queue, row, buffer)
        buffer = following
    queue[Q.outstanding_head] = buffer
    if buffer == NONE:
        queue[Q.outstanding_tail] = NONE
