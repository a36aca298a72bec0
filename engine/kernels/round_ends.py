"""The beginning and end of a processor's part in a round, before and after ``engine.kernels.serve``.

They are kernels of their own because that one takes longest to compile: these compile
meanwhile, in another process.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.kernels import armed as order
from engine.kernels.armed import ARMED, Armed
from engine.kernels.dpc import take_back
from engine.kernels.jit import PLACES, copy_record, kernel, tuple_at, tuple_type, types
from engine.kernels.layout import (
    I32,
    I64,
    NONE,
    TOP_PAIRS,
    Int,
)
from engine.kernels.views import views_at


class Scratch(NamedTuple):
    """Scratch of a round; ``matched`` is all zero between rounds."""

    armed: Armed
    own: I32  # (slots,) the processor's queues
    foreign: I32  # (slots,) those of them with a DPC in progress on another processor
    matched: I64  # (filters,) frames credited to each filter
    credited: I64  # (filters, 2) filters with credited frames, and at the end of the round their number


_SCRATCH: Final[Any] = tuple_type(
    Scratch, (ARMED, types.int32[::1], types.int32[::1], types.int64[::1], types.int64[:, ::1])
)
scratch_at = tuple_at(_SCRATCH, {"credited": (2,)})
"""Return the scratch at its places."""


def scratch_for(slots: int, credited: I64) -> Scratch:
    """Return scratch for a host with ``slots`` slots; ``credited`` (filters, 2) has a row for each filter."""
    return Scratch(
        order.room_for(slots),
        np.empty(slots, np.int32),
        np.empty(slots, np.int32),
        np.zeros(len(credited), np.int64),
        credited,
    )


@kernel(types.UniTuple(types.int64, 2)(PLACES, PLACES, types.int64, types.int64))
def begin(views_places: I64, scratch_places: I64, me: int, bank: int) -> tuple[int, Int]:
    """Begin a round: copy the rows of a processor and its queues to the other bank, and find armed queues.

    Returns the number of its queues, and of those with a DPC in progress on another processor.
    """
    views = views_at(views_places)
    scratch = scratch_at(scratch_places)
    copy_record(views.cpus[1 - bank, me], views.cpus[bank, me])
    order.begin(scratch.armed)
    owned = 0
    foreigners: Int = np.int64(0)
    for slot in range(views.owner.shape[0]):
        if views.owner[slot] == me:
            queue = views.queues[1 - bank, slot]
            copy_record(queue, views.queues[bank, slot])
            # All other buckets are zero in both banks.
            for bucket in range(queue.latency_from, queue.latency_to):
                views.latency[1 - bank, slot, bucket] = views.latency[bank, slot, bucket]
            adapter = queue.adapter
            if slot == views.adapters[adapter].slot_base:
                for pair in range(TOP_PAIRS):  # a loop: Numba compiles slice assignment for seconds
                    copy_record(views.top[1 - bank, adapter, pair], views.top[bank, adapter, pair])
            scratch.own[owned] = slot
            owned += 1
            if queue.armed_ns >= 0:
                order.append(scratch.armed, queue.armed_ns, slot)
            elif queue.dpc_cpu != NONE and queue.dpc_cpu != me:
                scratch.foreign[foreigners] = slot
                foreigners += 1
    order.sort(scratch.armed)
    return owned, foreigners


@kernel(types.void(PLACES, PLACES, *[types.int64] * 6))
def end(
    views_places: I64,
    scratch_places: I64,
    me: int,
    bank: int,
    round_number: int,
    horizon_ns: int,
    owned: int,
    credits_given: int,
) -> None:
    """End a round: take back the buffers due before ``horizon_ns`` of the processor's ``owned`` queues, and
    move the counts of credited frames from ``matched``, which becomes all zero, to ``credited``."""
    views = views_at(views_places)
    scratch = scratch_at(scratch_places)
    queues = views.queues[1 - bank]
    next_ns: Int = views.cpus[1 - bank, me].next_event_ns
    for k in range(owned):
        queue = queues[scratch.own[k]]
        if queue.outstanding_head != NONE:
            take_back(views.buffer_rows, queue, horizon_ns, round_number)
            if queue.outstanding_head != NONE and not queue.held:
                next_ns = min(next_ns, views.buffer_rows[queue.outstanding_head].due_ns)
    views.cpus[1 - bank, me].next_event_ns = next_ns
    for k in range(credits_given):
        filter_at = np.uint64(scratch.credited[k, 0])
        scratch.credited[k, 1] = scratch.matched[filter_at]
        scratch.matched[filter_at] = 0
