"""The armed queues of a processor, in the order their DPCs start: by time armed, ties by slot.

There are two FIFOs ("lines"): queues armed by a frame, a fixed moderation after its arrival, and queues armed
again at the end of a DPC that left frames pending. Time only increases, so each line stays in order; only
queues armed at the same time need sorting. A queue is in one line at a time, so rings of slots + 1 suffice.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.kernels.jit import inlined, tuple_type, types
from engine.kernels.layout import I64, NEVER_NS, Int

BY_DPC: Final = np.int64(0)  # of this type: each literal has a function compiled again
BY_FRAME: Final = np.int64(1)


class Armed(NamedTuple):
    """Both lines, as ring buffers; valid for one round."""

    ns: I64  # (2, slots + 1)
    slot: I64  # (2, slots + 1)
    first: I64  # (2,) index of each line's first queue
    last: I64  # (2,) index after its last one


ARMED: Final[Any] = tuple_type(Armed, (*[types.int64[:, ::1]] * 2, *[types.int64[::1]] * 2))


def room_for(slots: int) -> Armed:
    """Return empty lines with capacity for ``slots`` queues."""
    places = (2, slots + 1)
    return Armed(
        np.empty(places, np.int64), np.empty(places, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64)
    )


@inlined
def _before(armed: Armed, line: Int, place: Int, ns: Int, slot: Int) -> bool:
    """Return whether the queue at ``place`` comes before the one armed at ``ns`` with number ``slot``."""
    at = armed.ns[line, np.uint64(place)]
    return bool(at < ns or (at == ns and armed.slot[line, np.uint64(place)] < slot))


@inlined
def _put(armed: Armed, line: Int, place: Int, ns: Int, slot: Int) -> None:
    armed.ns[line, np.uint64(place)] = ns
    armed.slot[line, np.uint64(place)] = slot


@inlined
def begin(armed: Armed) -> None:
    """Empty both lines."""
    for line in range(2):
        armed.first[line] = 0
        armed.last[line] = 0


@inlined
def append(armed: Armed, ns: Int, slot: Int) -> None:
    """Append a queue to the ``BY_FRAME`` line, unsorted; call ``sort`` before any other function."""
    place = armed.last[BY_FRAME]
    _put(armed, BY_FRAME, place, ns, slot)
    armed.last[BY_FRAME] = place + 1


@inlined
def sort(armed: Armed) -> None:
    """Sort the queues appended since ``begin``, by heapsort."""
    count = armed.last[BY_FRAME]
    for turn in range(count + count // 2):
        # First build the heap by sifting each parent down; then move its root, the latest, behind its end.
        end = count
        hole = count // 2 - 1 - turn
        if hole < 0:
            end = count - 1 - (turn - count // 2)
            hole = 0
        ns = armed.ns[BY_FRAME, hole]
        slot = armed.slot[BY_FRAME, hole]
        if end < count:
            latest_ns, latest_slot = ns, slot
            ns = armed.ns[BY_FRAME, end]
            slot = armed.slot[BY_FRAME, end]
            _put(armed, BY_FRAME, end, latest_ns, latest_slot)
        while True:
            child = 2 * hole + 1
            if child >= end:
                break
            if child + 1 < end and _before(
                armed, BY_FRAME, child, armed.ns[BY_FRAME, child + 1], armed.slot[BY_FRAME, child + 1]
            ):
                child += 1
            if _before(armed, BY_FRAME, child, ns, slot):
                break
            _put(armed, BY_FRAME, hole, armed.ns[BY_FRAME, child], armed.slot[BY_FRAME, child])
            hole = child
        _put(armed, BY_FRAME, hole, ns, slot)


@inlined
def insert(armed: Armed, line: Int, ns: Int, slot: Int) -> None:
    """Insert a queue into a line in order, searching from the end, because its place is there or close."""
    places = armed.ns.shape[1]
    place = armed.last[line]
    armed.last[line] = 0 if place + 1 == places else place + 1
    while place != armed.first[line]:
        other = (places if place == 0 else place) - 1
        if _before(armed, line, other, ns, slot):
            break
        _put(armed, line, place, armed.ns[line, other], armed.slot[line, other])
        place = other
    _put(armed, line, place, ns, slot)


@inlined
def next_armed_ns(armed: Armed) -> Int:
    """Return the time for which the next queue of both lines is armed, or NEVER_NS if both are empty."""
    next_ns: Int = np.int64(NEVER_NS)
    for line in range(2):
        if armed.first[line] != armed.last[line]:
            next_ns = min(next_ns, armed.ns[line, np.uint64(armed.first[line])])
    return next_ns


@inlined
def take_next(armed: Armed) -> Int:
    """Remove the next queue of both lines and return its slot; at least one line must not be empty."""
    line = BY_FRAME
    place = armed.first[BY_FRAME]
    by_dpc = armed.first[BY_DPC]
    if by_dpc != armed.last[BY_DPC] and (
        place == armed.last[BY_FRAME]
        or _before(armed, BY_DPC, by_dpc, armed.ns[BY_FRAME, place], armed.slot[BY_FRAME, place])
    ):
        line = BY_DPC
        place = by_dpc
    armed.first[line] = 0 if place + 1 == armed.ns.shape[1] else place + 1
    slot: Int = armed.slot[line, np.uint64(place)]
    return slot
