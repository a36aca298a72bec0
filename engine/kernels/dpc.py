"""What a DPC does, and what VMs give back: the work of a processor between two frames.

A DPC takes frames when it starts, and indicates them when its cycles are spent. Costs are the CPU model's
(``costs`` rows); rules are contract 1, "Time", and NDIS.md, "Where receive buffers live".
"""

import numpy as np

from engine.kernels.jit import copy_bytes, inlined
from engine.kernels.latency import bucket_of
from engine.kernels.layout import (
    ADAPTER,
    ADAPTER_NUMA_NODE,
    ADAPTER_VM_BASE,
    ARMED_BY_INTERRUPT,
    ARMED_NS,
    ARRIVED_NS,
    COPIED_BYTES_LIMIT,
    COST_BYTE,
    COST_BYTE_DIVISOR,
    COST_DPC,
    COST_FRAME,
    COST_INTERRUPT,
    COST_NS,
    COST_NS_DIVISOR,
    COST_NUMA_NODE,
    COST_QUOTA,
    COST_REMOTE_BYTE,
    CPU_DPC_CYCLES,
    CPU_DPC_FRAMES,
    CPU_DPC_SLOT,
    CPU_DPCS,
    CPU_FREE_NS,
    CPU_INTERRUPTS,
    DPC_CPU,
    DPC_END_NS,
    DPC_FRAMES,
    DPCS,
    DUE_NS,
    FRAME,
    FRAME_WIRE_SHIFT,
    FREE,
    FREE_HEAD,
    GUEST_AT,
    HELD,
    HOST_AT,
    I64,
    IN_SERVICE,
    INDICATED,
    INDICATED_ROUND,
    INTERRUPTS,
    LATENCY_BUCKETS,
    LATENCY_FROM,
    LATENCY_MAX_NS,
    LATENCY_TO,
    LENGTH_MASK,
    LOOKAHEAD_BYTES,
    NEXT,
    NONE,
    OUTSTANDING,
    OUTSTANDING_HEAD,
    OUTSTANDING_TAIL,
    PENDING,
    PENDING_BYTES,
    PENDING_HEAD,
    PENDING_TAIL,
    PORT_VM,
    RETURN_DELAY_NS,
    RETURNED,
    RETURNED_DUE_NS,
    RETURNED_ROUND,
    STRIDE,
    SURRENDERED_HEAD,
    SWITCH_DROPPED,
    SWITCH_PLACES,
    TARGET,
    TOTAL,
    VM,
    Int,
    Views,
)


@inlined
def start_dpc(views: Views, queue: I64, cpu: I64, me: Int, slot: Int, start_ns: Int) -> None:
    """Start the DPC of an armed queue: what it takes, what it costs, when it ends."""
    costs = views.costs[me]
    frames = queue[PENDING]
    copied = queue[PENDING_BYTES]
    if frames > costs[COST_QUOTA]:
        frames = costs[COST_QUOTA]
        copied = 0
        buffer = queue[PENDING_HEAD]
        for _ in range(frames):
            row = views.buffer_rows[np.uint64(buffer)]
            copied += min((row[FRAME] >> FRAME_WIRE_SHIFT) & LENGTH_MASK, queue[COPIED_BYTES_LIMIT])
            buffer = row[NEXT]
    queue[PENDING_BYTES] -= copied
    per_byte = costs[COST_BYTE]
    if views.adapters[np.uint64(queue[ADAPTER]), ADAPTER_NUMA_NODE] != costs[COST_NUMA_NODE]:
        per_byte = costs[COST_REMOTE_BYTE]
    cycles = (
        costs[COST_DPC]
        + frames * costs[COST_FRAME]
        + np.int64(np.uint64(copied * per_byte) // np.uint64(costs[COST_BYTE_DIVISOR]))
    )
    if queue[ARMED_BY_INTERRUPT]:
        cycles += costs[COST_INTERRUPT]
        queue[INTERRUPTS] += 1
        cpu[CPU_INTERRUPTS] += 1
    # Unsigned, as both are positive: half the instructions of a division that rounds down.
    divisor = np.uint64(costs[COST_NS_DIVISOR])
    end_ns = start_ns + np.int64((np.uint64(cycles * costs[COST_NS]) + divisor - np.uint64(1)) // divisor)
    queue[DPCS] += 1
    queue[ARMED_NS] = IN_SERVICE
    queue[DPC_CPU] = me
    queue[DPC_END_NS] = end_ns
    queue[DPC_FRAMES] = frames
    cpu[CPU_DPCS] += 1
    cpu[CPU_FREE_NS] = end_ns
    cpu[CPU_DPC_SLOT] = slot
    cpu[CPU_DPC_FRAMES] = frames
    cpu[CPU_DPC_CYCLES] = cycles


@inlined
def indicate(views: Views, queue: I64, latency: I64, me: Int, round_number: Int) -> None:
    """End a queue's DPC: hand up its frames; each buffer comes back now, or later from its VM.

    How long they waited is counted in ``latency`` (LATENCY_BUCKETS,), and the longest time noted.

    The switch copies a frame into the memory of the VM whose port it fits: beside the buffer for a VM's
    own queue (under a split only the lookahead, into the room in front of the rest), else to the VM's
    place for this processor.
    """
    rows = views.buffer_rows
    host_at = queue[HOST_AT]
    stride = queue[STRIDE]
    lookahead = queue[LOOKAHEAD_BYTES]
    owned = queue[VM] != NONE
    vm_base = views.adapters[np.uint64(queue[ADAPTER]), ADAPTER_VM_BASE]
    end_ns = queue[DPC_END_NS]
    due_ns = end_ns + queue[RETURN_DELAY_NS]
    returns_at_once = queue[RETURN_DELAY_NS] == 0 and not queue[HELD]
    frames = queue[DPC_FRAMES]
    dropped = 0
    returned = 0
    buffer = queue[PENDING_HEAD]
    bucket: Int = np.int64(LATENCY_BUCKETS)
    if frames > 0:
        longest_ns = end_ns - rows[np.uint64(buffer), ARRIVED_NS]  # the first one came first
        queue[LATENCY_MAX_NS] = max(queue[LATENCY_MAX_NS], longest_ns)
        queue[LATENCY_TO] = max(queue[LATENCY_TO], bucket_of(longest_ns) + 1)
    for _ in range(frames):
        row = rows[np.uint64(buffer)]
        following = row[NEXT]
        bucket = bucket_of(end_ns - row[ARRIVED_NS])
        latency[np.uint64(bucket)] += 1
        vm = row[PORT_VM]
        if vm == NONE:
            dropped += 1
        else:
            size = row[FRAME] & LENGTH_MASK
            to = row[GUEST_AT]
            if not owned:
                to = views.switch_at[vm_base + vm] + me % SWITCH_PLACES * stride
            elif lookahead > 0:
                size = min(size, lookahead)
            copy_bytes(views.guest_bytes, to, views.buffer_bytes, host_at + buffer * stride, size)
        if vm == NONE or returns_at_once:
            returned += 1
            give_back(queue, row, buffer)
        else:
            row[DUE_NS] = due_ns
            row[INDICATED_ROUND] = round_number
            row[NEXT] = NONE
            if queue[OUTSTANDING_HEAD] == NONE:
                queue[OUTSTANDING_HEAD] = buffer
            else:
                rows[np.uint64(queue[OUTSTANDING_TAIL]), NEXT] = buffer
            queue[OUTSTANDING_TAIL] = buffer
        buffer = following
    queue[LATENCY_FROM] = min(queue[LATENCY_FROM], bucket)  # the last one waited shortest
    queue[PENDING_HEAD] = buffer
    if buffer == NONE:
        queue[PENDING_TAIL] = NONE
    queue[PENDING] -= frames
    queue[INDICATED] += frames
    queue[SWITCH_DROPPED] += dropped
    queue[RETURNED] += returned
    queue[OUTSTANDING] += frames - returned
    queue[ARMED_NS] = NONE
    queue[DPC_CPU] = NONE
    queue[DPC_FRAMES] = 0


@inlined
def give_back(queue: I64, row: I64, buffer: Int) -> None:
    """A returned buffer is free again, unless its queue is to shrink."""
    if queue[TOTAL] > queue[TARGET]:
        queue[TOTAL] -= 1
        row[NEXT] = queue[SURRENDERED_HEAD]
        queue[SURRENDERED_HEAD] = buffer
    else:
        queue[FREE] += 1
        row[NEXT] = queue[FREE_HEAD]
        queue[FREE_HEAD] = buffer


@inlined
def take_back(views: Views, queue: I64, before_ns: Int, round_number: Int) -> None:
    """Take back the outstanding buffers that are due before a time."""
    if queue[HELD]:
        return
    buffer = queue[OUTSTANDING_HEAD]
    while buffer != NONE:
        row = views.buffer_rows[np.uint64(buffer)]
        due_ns = row[DUE_NS]
        if due_ns >= before_ns:
            break
        following = row[NEXT]
        if row[INDICATED_ROUND] != round_number:
            row[RETURNED_ROUND] = round_number
            row[RETURNED_DUE_NS] = due_ns
        row[DUE_NS] = NONE
        queue[OUTSTANDING] -= 1
        queue[RETURNED] += 1
        give_back(queue, row, buffer)
        buffer = following
    queue[OUTSTANDING_HEAD] = buffer
    if buffer == NONE:
        queue[OUTSTANDING_TAIL] = NONE
