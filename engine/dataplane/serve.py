"""The serving kernel: one simulated processor, as a discrete-event model, over its own queues.

Before each frame it does what the processor and the VMs would have done earlier: start DPCs, end them
(indicate, return), take buffers back; then the frame asks for a buffer. Rules: contract 1, "Time", and
the CPU model of the reference. At equal times a frame comes first; then DPCs in the order armed (ties:
adapter, queue id). How frames are cut into rounds changes no counter: each event happens at its own
simulated time, and what is under way at the horizon waits in the rows.
"""

import numpy as np
from numpy.typing import NDArray

from engine.dataplane.layout import (
    ADAPTER_BUFFER_BASE,
    ADAPTER_BYTES_BASE,
    ADAPTER_NUMA_NODE,
    ADAPTER_SLOT_BASE,
    ADAPTER_STRIDE,
    ADAPTER_TAKES_TAG_OUT,
    ADAPTER_VM_BASE,
    ARMED_BY_INTERRUPT,
    ARMED_NS,
    COPIED_BYTES_LIMIT,
    COST_BYTE_MILLI,
    COST_DPC,
    COST_FRAME,
    COST_INTERRUPT,
    COST_MHZ,
    COST_MODERATION_NS,
    COST_NUMA_NODE,
    COST_QUOTA,
    COST_REMOTE_BYTE_MILLI,
    CPU_BUSY_CYCLES,
    CPU_DPC_CYCLES,
    CPU_DPC_FRAMES,
    CPU_DPC_SLOT,
    CPU_DPCS,
    CPU_FREE_NS,
    CPU_INDICATED,
    CPU_INTERRUPTS,
    CPU_LAST_EVENT_NS,
    CPU_NEXT_EVENT_NS,
    DPC_CPU,
    DPC_END_NS,
    DPC_FRAMES,
    DPCS,
    DROPPED,
    DUE_NS,
    FIRST_REASON,
    FRAME,
    FRAME_LENGTH_MASK,
    FRAME_TAG_SHIFT,
    FRAME_WIRE_SHIFT,
    FREE,
    FREE_HEAD,
    GUEST_AT,
    HELD,
    I32,
    I64,
    INDICATED,
    INDICATED_ROUND,
    INTERRUPTS,
    LOOKAHEAD_BYTES,
    NEVER_NS,
    NEXT,
    NONE,
    OUTSTANDING,
    OUTSTANDING_HEAD,
    OUTSTANDING_TAIL,
    PENDING,
    PENDING_HEAD,
    PENDING_TAIL,
    PORT_VM,
    RECEIVED,
    RETURN_DELAY_NS,
    RETURNED,
    RETURNED_DUE_NS,
    RETURNED_ROUND,
    STEERED_BYTES,
    STEERED_FRAMES,
    SURRENDERED_HEAD,
    SWITCH_DROPPED,
    SWITCH_PLACES,
    TARGET,
    TOTAL,
    VM,
    Int,
)
from engine.jit import copy_bytes, inlined, kernel


@inlined
def _push(heap_ns: I64, heap_slot: I32, size: Int, time_ns: Int, slot: Int) -> Int:
    """Add an armed queue to the heap, ordered by (time, slot)."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if heap_ns[parent] < time_ns or (heap_ns[parent] == time_ns and heap_slot[parent] < slot):
            break
        heap_ns[place] = heap_ns[parent]
        heap_slot[place] = heap_slot[parent]
        place = parent
    heap_ns[place] = time_ns
    heap_slot[place] = slot
    return size + 1


@inlined
def _pop(heap_ns: I64, heap_slot: I32, size: Int) -> Int:
    """Remove the first queue of the heap (which the caller has read)."""
    size -= 1
    time_ns = heap_ns[size]
    slot = heap_slot[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            heap_ns[other] < heap_ns[child]
            or (heap_ns[other] == heap_ns[child] and heap_slot[other] < heap_slot[child])
        ):
            child = other
        if time_ns < heap_ns[child] or (time_ns == heap_ns[child] and slot < heap_slot[child]):
            break
        heap_ns[place] = heap_ns[child]
        heap_slot[place] = heap_slot[child]
        place = child
    heap_ns[place] = time_ns
    heap_slot[place] = slot
    return size


@inlined
def _give_back(queues: I64, slot: Int, buffers: I64, buffer: Int) -> None:
    """A returned buffer is free again, unless its queue is to shrink."""
    if queues[slot, TOTAL] > queues[slot, TARGET]:
        queues[slot, TOTAL] -= 1
        buffers[buffer, NEXT] = queues[slot, SURRENDERED_HEAD]
        queues[slot, SURRENDERED_HEAD] = buffer
    else:
        queues[slot, FREE] += 1
        buffers[buffer, NEXT] = queues[slot, FREE_HEAD]
        queues[slot, FREE_HEAD] = buffer


@inlined
def _take_back(queues: I64, slot: Int, buffers: I64, before_ns: Int, round_number: Int, last_ns: Int) -> Int:
    """Take back the outstanding buffers that are due before a time; the latest event time, updated."""
    if queues[slot, HELD]:
        return last_ns
    buffer = queues[slot, OUTSTANDING_HEAD]
    while buffer != NONE and buffers[buffer, DUE_NS] < before_ns:
        following = buffers[buffer, NEXT]
        due = buffers[buffer, DUE_NS]
        last_ns = max(last_ns, due)
        if buffers[buffer, INDICATED_ROUND] != round_number:
            buffers[buffer, RETURNED_ROUND] = round_number
            buffers[buffer, RETURNED_DUE_NS] = due
        buffers[buffer, DUE_NS] = NONE
        queues[slot, OUTSTANDING] -= 1
        queues[slot, RETURNED] += 1
        _give_back(queues, slot, buffers, buffer)
        buffer = following
    queues[slot, OUTSTANDING_HEAD] = buffer
    if buffer == NONE:
        queues[slot, OUTSTANDING_TAIL] = NONE
    return last_ns


@inlined
def _adapter_of(adapters: I64, slot: Int) -> Int:
    """The adapter of a queue."""
    a: Int = adapters.shape[0] - 1
    while adapters[a, ADAPTER_SLOT_BASE] > slot:
        a -= 1
    return a


@inlined
def _indicate(
    queues: I64,
    buffers: I64,
    buffer_bytes: NDArray[np.uint8],
    guest_bytes: NDArray[np.uint8],
    switch_at: I64,
    adapters: I64,
    slot: Int,
    me: Int,
    round_number: Int,
) -> None:
    """End a queue's DPC: hand up its frames; each buffer comes back now, or later from its VM.

    The switch copies a frame into the memory of the VM whose port it fits: beside the buffer for a VM's
    own queue (under a split only the lookahead, into the room in front of the rest), else to the VM's
    place for this processor.
    """
    a = _adapter_of(adapters, slot)
    first = adapters[a, ADAPTER_BUFFER_BASE]
    base = adapters[a, ADAPTER_BYTES_BASE]
    stride = adapters[a, ADAPTER_STRIDE]
    vm_base = adapters[a, ADAPTER_VM_BASE]
    lookahead = queues[slot, LOOKAHEAD_BYTES]
    end_ns = queues[slot, DPC_END_NS]
    delay_ns = queues[slot, RETURN_DELAY_NS]
    frames = queues[slot, DPC_FRAMES]
    buffer = queues[slot, PENDING_HEAD]
    for _ in range(frames):
        following = buffers[buffer, NEXT]
        vm = buffers[buffer, PORT_VM]
        if vm == NONE:
            queues[slot, SWITCH_DROPPED] += 1
        else:
            size = buffers[buffer, FRAME] & FRAME_LENGTH_MASK
            if queues[slot, VM] == NONE:
                to = switch_at[vm_base + vm] + me % SWITCH_PLACES * stride
            else:
                to = buffers[buffer, GUEST_AT]
                if lookahead > 0:
                    size = min(size, lookahead)
            copy_bytes(guest_bytes, to, buffer_bytes, base + (buffer - first) * stride, size)
        if vm == NONE or (delay_ns == 0 and not queues[slot, HELD]):
            queues[slot, RETURNED] += 1
            _give_back(queues, slot, buffers, buffer)
        else:
            buffers[buffer, DUE_NS] = end_ns + delay_ns
            buffers[buffer, INDICATED_ROUND] = round_number
            buffers[buffer, NEXT] = NONE
            if queues[slot, OUTSTANDING_TAIL] == NONE:
                queues[slot, OUTSTANDING_HEAD] = buffer
            else:
                buffers[queues[slot, OUTSTANDING_TAIL], NEXT] = buffer
            queues[slot, OUTSTANDING_TAIL] = buffer
            queues[slot, OUTSTANDING] += 1
        buffer = following
    queues[slot, PENDING_HEAD] = buffer
    if buffer == NONE:
        queues[slot, PENDING_TAIL] = NONE
    queues[slot, PENDING] -= frames
    queues[slot, INDICATED] += frames
    queues[slot, DPC_CPU] = NONE
    queues[slot, DPC_FRAMES] = 0


@inlined
def _begin_dpc(
    queues: I64, cpus: I64, costs: I64, adapters: I64, buffers: I64, me: Int, slot: Int, start_ns: Int
) -> None:
    """Start the DPC of an armed queue: what it takes, what it costs, when it ends."""
    frames = min(queues[slot, PENDING], costs[me, COST_QUOTA])
    limit = queues[slot, COPIED_BYTES_LIMIT]
    copied = 0
    buffer = queues[slot, PENDING_HEAD]
    for _ in range(frames):
        copied += min((buffers[buffer, FRAME] >> FRAME_WIRE_SHIFT) & FRAME_LENGTH_MASK, limit)
        buffer = buffers[buffer, NEXT]
    a = _adapter_of(adapters, slot)
    per_byte = costs[me, COST_BYTE_MILLI]
    if adapters[a, ADAPTER_NUMA_NODE] != costs[me, COST_NUMA_NODE]:
        per_byte = costs[me, COST_REMOTE_BYTE_MILLI]
    cycles = costs[me, COST_DPC] + frames * costs[me, COST_FRAME] + copied * per_byte // 1000
    if queues[slot, ARMED_BY_INTERRUPT]:
        cycles += costs[me, COST_INTERRUPT]
        queues[slot, INTERRUPTS] += 1
        cpus[me, CPU_INTERRUPTS] += 1
    end_ns = start_ns + -(-cycles * 1000 // costs[me, COST_MHZ])
    queues[slot, DPCS] += 1
    queues[slot, ARMED_NS] = NONE
    queues[slot, DPC_CPU] = me
    queues[slot, DPC_END_NS] = end_ns
    queues[slot, DPC_FRAMES] = frames
    cpus[me, CPU_DPCS] += 1
    cpus[me, CPU_FREE_NS] = end_ns
    cpus[me, CPU_DPC_SLOT] = slot
    cpus[me, CPU_DPC_FRAMES] = frames
    cpus[me, CPU_DPC_CYCLES] = cycles


@inlined
def _arm(
    queues: I64, heap_ns: I64, heap_slot: I32, armed: Int, time_ns: Int, slot: Int, interrupt: Int
) -> Int:
    """Arm a queue's DPC; the heap's new size."""
    queues[slot, ARMED_NS] = time_ns
    queues[slot, ARMED_BY_INTERRUPT] = interrupt
    return _push(heap_ns, heap_slot, armed, time_ns, slot)


@inlined
def _first_foreign(queues: I64, foreign: I32, count: Int) -> Int:
    """Which of the queues still in a DPC of another processor ends it first."""
    best = 0
    for k in range(1, count):
        if queues[foreign[k], DPC_END_NS] < queues[foreign[best], DPC_END_NS]:
            best = k
    return best


@inlined
def _run_until(
    before_ns: Int,
    me: Int,
    round_number: Int,
    queues: I64,
    cpus: I64,
    costs: I64,
    adapters: I64,
    owner: I32,
    buffers: I64,
    buffer_bytes: NDArray[np.uint8],
    guest_bytes: NDArray[np.uint8],
    switch_at: I64,
    heap_ns: I64,
    heap_slot: I32,
    armed: Int,
    foreign: I32,
    foreigners: Int,
) -> tuple[Int, Int, Int]:
    """Do everything of this processor that happens before a time.

    Returns the heap's size, how many queues are still in a DPC of another processor (a queue that
    moved ends its last DPC at the old processor's time), and when the next thing happens.
    """
    while True:
        busy = cpus[me, CPU_DPC_SLOT] != NONE
        if busy:
            next_ns = cpus[me, CPU_FREE_NS]
        elif armed > 0:
            next_ns = max(heap_ns[0], cpus[me, CPU_FREE_NS])
        else:
            next_ns = NEVER_NS
        if foreigners > 0:
            k = _first_foreign(queues, foreign, foreigners)
            slot = np.int64(foreign[k])
            end_ns = queues[slot, DPC_END_NS]
            if end_ns <= next_ns:
                if end_ns >= before_ns:
                    return armed, foreigners, end_ns
                foreigners -= 1
                foreign[k] = foreign[foreigners]
                _indicate(
                    queues,
                    buffers,
                    buffer_bytes,
                    guest_bytes,
                    switch_at,
                    adapters,
                    slot,
                    me,
                    round_number,
                )
                cpus[me, CPU_LAST_EVENT_NS] = max(cpus[me, CPU_LAST_EVENT_NS], end_ns)
                if queues[slot, PENDING] > 0:
                    armed = _arm(queues, heap_ns, heap_slot, armed, end_ns, slot, 0)
                continue
        if next_ns >= before_ns:
            return armed, foreigners, next_ns
        if busy:
            slot = cpus[me, CPU_DPC_SLOT]
            cpus[me, CPU_DPC_SLOT] = NONE
            cpus[me, CPU_BUSY_CYCLES] += cpus[me, CPU_DPC_CYCLES]
            cpus[me, CPU_INDICATED] += cpus[me, CPU_DPC_FRAMES]
            cpus[me, CPU_LAST_EVENT_NS] = max(cpus[me, CPU_LAST_EVENT_NS], next_ns)
            # The queue may have moved on, or lost its frames to a cleared filter, meanwhile.
            if owner[slot] == me and queues[slot, DPC_CPU] == me and queues[slot, DPC_END_NS] == next_ns:
                _indicate(
                    queues,
                    buffers,
                    buffer_bytes,
                    guest_bytes,
                    switch_at,
                    adapters,
                    slot,
                    me,
                    round_number,
                )
                if queues[slot, PENDING] > 0:
                    armed = _arm(queues, heap_ns, heap_slot, armed, next_ns, slot, 0)
        else:
            slot = np.int64(heap_slot[0])
            armed = _pop(heap_ns, heap_slot, armed)
            _begin_dpc(queues, cpus, costs, adapters, buffers, me, slot, next_ns)


@kernel(
    "int64(int64, int64, int64, int64, int64,"
    " int64[:,:,::1], int64[:,:,::1], int64[:,::1], int64[:,::1], int32[::1], int64[:,::1], uint8[::1],"
    " uint8[::1], int64[::1],"
    " uint8[::1], int64[::1], uint32[::1], uint32[::1], int64[::1], uint16[::1],"
    " int32[::1], int32[::1], int32[::1], uint8[::1], int32[::1], int32[:,::1],"
    " int64[::1], int32[::1], int32[::1], int32[::1], int64[::1], int32[::1])"
)
def serve(
    me: int,
    bank: int,
    round_number: int,
    slices: int,
    horizon_ns: int,
    queue_banks: I64,
    cpu_banks: I64,
    costs: I64,
    adapters: I64,
    owner: I32,
    buffers: I64,
    buffer_bytes: NDArray[np.uint8],
    guest_bytes: NDArray[np.uint8],
    switch_at: I64,
    data: NDArray[np.uint8],
    offset: I64,
    captured: NDArray[np.uint32],
    wire: NDArray[np.uint32],
    arrival_ns: I64,
    adapter: NDArray[np.uint16],
    frame_slot: I32,
    credit: I32,
    port_vm: I32,
    reason: NDArray[np.uint8],
    order: I32,
    bounds: I32,
    heap_ns: I64,
    heap_slot: I32,
    own: I32,
    foreign: I32,
    matched: I64,
    touched: I32,
) -> int:
    """Receive this shard's frames of a round and serve its queues up to ``horizon_ns``.

    Reads the rows of its queues and processor from ``bank``, leaves the new ones in the other bank.
    ``bounds`` (slices, cpus + 1) and ``order`` say which frames are its own. Scratch: ``heap_ns``,
    ``heap_slot``, ``own``, ``foreign`` (slots,). ``matched`` (filters,) must be zero; on return it holds
    frames credited, and the first n of ``touched`` (filters,) name the filters where it does, n
    returned.
    """
    queues = queue_banks[1 - bank]
    before = queue_banks[bank]
    cpus = cpu_banks[1 - bank]
    for column in range(cpus.shape[1]):  # loops: numba's slice assignment compiles for seconds
        cpus[me, column] = cpu_banks[bank, me, column]
    owned = 0
    armed: Int = np.int64(0)  # not a literal, which would compile all that it is given to once more
    foreigners: Int = np.int64(0)
    for s in range(owner.shape[0]):
        if owner[s] == me:
            for column in range(queues.shape[1]):
                queues[s, column] = before[s, column]
            own[owned] = s
            owned += 1
            if queues[s, ARMED_NS] != NONE:
                armed = _push(heap_ns, heap_slot, armed, queues[s, ARMED_NS], s)
            elif queues[s, DPC_CPU] != NONE and queues[s, DPC_CPU] != me:
                foreign[foreigners] = s
                foreigners += 1

    touches = 0
    last_ns: Int = np.int64(0)
    next_ns: Int = np.int64(0)
    moderation_ns = costs[me, COST_MODERATION_NS]
    for piece in range(slices):
        for place in range(bounds[piece, me], bounds[piece, me + 1]):
            i = order[place]
            now_ns = arrival_ns[i]
            if next_ns < now_ns:
                armed, foreigners, next_ns = _run_until(
                    now_ns,
                    me,
                    round_number,
                    queues,
                    cpus,
                    costs,
                    adapters,
                    owner,
                    buffers,
                    buffer_bytes,
                    guest_bytes,
                    switch_at,
                    heap_ns,
                    heap_slot,
                    armed,
                    foreign,
                    foreigners,
                )
            slot = np.int64(frame_slot[i])
            a = np.int64(adapter[i])
            queues[slot, STEERED_FRAMES] += 1
            queues[slot, STEERED_BYTES] += wire[i]
            if credit[i] != NONE:
                if matched[credit[i]] == 0:
                    touched[touches] = credit[i]
                    touches += 1
                matched[credit[i]] += 1
            if slot == adapters[a, ADAPTER_SLOT_BASE]:
                queues[slot, FIRST_REASON + reason[i]] += 1
            buffer = queues[slot, FREE_HEAD]
            if buffer == NONE and queues[slot, OUTSTANDING_HEAD] != NONE:
                last_ns = _take_back(queues, slot, buffers, now_ns, round_number, last_ns)
                buffer = queues[slot, FREE_HEAD]
            if buffer == NONE:
                queues[slot, DROPPED] += 1
                continue
            queues[slot, FREE_HEAD] = buffers[buffer, NEXT]
            queues[slot, FREE] -= 1
            size: Int = np.int64(captured[i])
            start = offset[i]
            place_of = adapters[a, ADAPTER_BYTES_BASE] + (
                (buffer - adapters[a, ADAPTER_BUFFER_BASE]) * adapters[a, ADAPTER_STRIDE]
            )
            tag = np.int64(0)
            lookahead = queues[slot, LOOKAHEAD_BYTES]
            if adapters[a, ADAPTER_TAKES_TAG_OUT] and data[start + 12] == 0x81 and data[start + 13] == 0x00:
                tag = 1 + ((np.int64(data[start + 14]) << 8) | np.int64(data[start + 15]))
                copy_bytes(buffer_bytes, place_of, data, start, 12)
                copy_bytes(buffer_bytes, place_of + 12, data, start + 16, size - 16)
                size -= 4
            elif lookahead > 0 and size > lookahead:
                copy_bytes(buffer_bytes, place_of, data, start, lookahead)
                behind = buffers[buffer, GUEST_AT] + lookahead
                copy_bytes(guest_bytes, behind, data, start + lookahead, size - lookahead)
            else:
                copy_bytes(buffer_bytes, place_of, data, start, size)
            buffers[buffer, FRAME] = (tag << FRAME_TAG_SHIFT) | (np.int64(wire[i]) << FRAME_WIRE_SHIFT) | size
            buffers[buffer, PORT_VM] = port_vm[i]
            buffers[buffer, NEXT] = NONE
            if queues[slot, PENDING_TAIL] == NONE:
                queues[slot, PENDING_HEAD] = buffer
            else:
                buffers[queues[slot, PENDING_TAIL], NEXT] = buffer
            queues[slot, PENDING_TAIL] = buffer
            queues[slot, PENDING] += 1
            queues[slot, RECEIVED] += 1
            if queues[slot, ARMED_NS] == NONE and queues[slot, DPC_CPU] == NONE:
                armed = _arm(queues, heap_ns, heap_slot, armed, now_ns + moderation_ns, slot, 1)
                next_ns = min(next_ns, max(now_ns + moderation_ns, cpus[me, CPU_FREE_NS]))

    armed, foreigners, next_ns = _run_until(
        horizon_ns,
        me,
        round_number,
        queues,
        cpus,
        costs,
        adapters,
        owner,
        buffers,
        buffer_bytes,
        guest_bytes,
        switch_at,
        heap_ns,
        heap_slot,
        armed,
        foreign,
        foreigners,
    )
    for k in range(owned):
        slot = np.int64(own[k])
        if queues[slot, OUTSTANDING_HEAD] != NONE:
            last_ns = _take_back(queues, slot, buffers, horizon_ns, round_number, last_ns)
            if queues[slot, OUTSTANDING_HEAD] != NONE and not queues[slot, HELD]:
                next_ns = min(next_ns, buffers[queues[slot, OUTSTANDING_HEAD], DUE_NS])
    cpus[me, CPU_LAST_EVENT_NS] = max(cpus[me, CPU_LAST_EVENT_NS], last_ns)
    cpus[me, CPU_NEXT_EVENT_NS] = next_ns
    return touches
