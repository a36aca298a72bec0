"""Whose buffers are whose: what is done to a queue's row between two rounds, when no shard runs.

Rows are the queue's published row (QUEUE_ROW,), buffers (all, BUFFER_ROW), ``belongs`` (all,) the slot
that owns each buffer or NONE, which is what makes a buffer an adapter's spare.
"""

import numpy as np

from engine.kernels.layout import (
    ARMED_NS,
    DISCARDED,
    DPC_CPU,
    DPC_FRAMES,
    DUE_NS,
    FREE,
    FREE_HEAD,
    I32,
    I64,
    INDICATED_ROUND,
    LOST,
    LOW_FREE,
    NEVER_NS,
    NEXT,
    NONE,
    OUTSTANDING,
    OUTSTANDING_HEAD,
    OUTSTANDING_TAIL,
    PENDING,
    PENDING_BYTES,
    PENDING_HEAD,
    PENDING_TAIL,
    RETURNED,
    RETURNED_DUE_NS,
    RETURNED_ROUND,
    SURRENDERED_HEAD,
    TARGET,
    TOTAL,
)


def _link(buffers: I64, members: I64, tail: int = NONE) -> int:
    """Chain buffers in the order given, ending in ``tail``; the head."""
    if len(members) == 0:
        return tail
    buffers[members[:-1], NEXT] = members[1:]
    buffers[members[-1], NEXT] = tail
    return int(members[0])


def _walk(buffers: I64, head: int, most: int) -> I64:
    """The first ``most`` buffers of a chain."""
    members: list[int] = []
    while head != NONE and len(members) < most:
        members.append(head)
        head = int(buffers[head, NEXT])
    return np.array(members, np.int64)


def resize(row: I64, buffers: I64, belongs: I32, slot: int, target: int, spare: I64) -> tuple[I64, I64]:
    """Let a queue own ``target`` buffers; which ones it took, and which it gave up.

    It takes from ``spare`` (numbers of the adapter's spare buffers, at least as many as it lacks) at
    once; it gives up free buffers at once and the others as they come back.
    """
    row[TARGET] = target
    grow = max(0, target - int(row[TOTAL]))
    taken = spare[:grow]
    belongs[taken] = slot
    buffers[taken, DUE_NS] = NONE
    row[FREE_HEAD] = _link(buffers, taken, int(row[FREE_HEAD]))
    shrink = min(max(0, int(row[TOTAL]) - target), int(row[FREE]))
    given_up = _walk(buffers, int(row[FREE_HEAD]), shrink)
    if shrink:
        row[FREE_HEAD] = buffers[given_up[-1], NEXT]
        belongs[given_up] = NONE
    row[FREE] += grow - shrink
    row[TOTAL] += grow - shrink
    row[LOW_FREE] = row[FREE]
    return taken, given_up


def collect(row: I64, buffers: I64, belongs: I32) -> I64:
    """Make what a shrinking queue has given up since the last round the adapter's spare; which that is."""
    given_up = _walk(buffers, int(row[SURRENDERED_HEAD]), len(belongs))
    belongs[given_up] = NONE
    row[SURRENDERED_HEAD] = NONE
    return given_up


def _free_all_but_outstanding(row: I64, buffers: I64, belongs: I32, slot: int) -> None:
    """Every buffer that is not outstanding is free, or given up by a queue that was to shrink."""
    row[TOTAL] = min(row[TOTAL], max(row[TARGET], row[OUTSTANDING]))
    own = np.flatnonzero(belongs == slot)
    idle = own[buffers[own, DUE_NS] == NONE]
    free = int(row[TOTAL] - row[OUTSTANDING])
    row[FREE_HEAD] = _link(buffers, idle[:free])
    row[SURRENDERED_HEAD] = _link(buffers, idle[free:])
    row[FREE] = free
    row[[PENDING, PENDING_BYTES, DPC_FRAMES]] = 0
    row[[PENDING_HEAD, PENDING_TAIL, ARMED_NS, DPC_CPU]] = NONE


def discard_pending(row: I64, buffers: I64, belongs: I32, slot: int) -> None:
    """Discard what a queue holds (NDIS: its last filter was cleared), a DPC in progress included."""
    row[DISCARDED] += row[PENDING]
    _free_all_but_outstanding(row, buffers, belongs, slot)


def return_all(row: I64, buffers: I64, belongs: I32, slot: int) -> None:
    """Take back every outstanding buffer of a queue that has nothing pending."""
    buffers[belongs == slot, DUE_NS] = NONE
    row[RETURNED] += row[OUTSTANDING]
    row[OUTSTANDING] = 0
    row[[OUTSTANDING_HEAD, OUTSTANDING_TAIL]] = NONE
    _free_all_but_outstanding(row, buffers, belongs, slot)


def take_back(row: I64, buffers: I64, belongs: I32, slot: int, before_ns: int) -> int:
    """Take back the outstanding buffers due before a time, of a queue that has nothing pending.

    Returns when the next of the others is due; NEVER_NS: there is none.
    """
    held = _walk(buffers, int(row[OUTSTANDING_HEAD]), int(row[OUTSTANDING]))
    due = buffers[held, DUE_NS]
    count = int((due < before_ns).sum())  # they are in order of return
    if count == 0:
        return int(due[0]) if len(due) else NEVER_NS
    buffers[held[:count], DUE_NS] = NONE
    row[RETURNED] += count
    row[OUTSTANDING] -= count
    left = held[count:]
    row[OUTSTANDING_HEAD] = left[0] if len(left) else NONE
    row[OUTSTANDING_TAIL] = left[-1] if len(left) else NONE
    _free_all_but_outstanding(row, buffers, belongs, slot)
    return int(due[count]) if len(left) else NEVER_NS


def let_go(row: I64, buffers: I64, now_ns: int) -> None:
    """End a hold: what was due meanwhile is due now."""
    held = _walk(buffers, int(row[OUTSTANDING_HEAD]), int(row[OUTSTANDING]))
    buffers[held, DUE_NS] = np.maximum(buffers[held, DUE_NS], now_ns)


def recover(row: I64, buffers: I64, belongs: I32, slot: int, round_number: int) -> None:
    """Undo what a shard that died in a round did to a queue's buffers; the row is as last published.

    What was pending is lost. What was outstanding is so again: buffers indicated before that round and
    not yet returned, and those which the round had returned.
    """
    row[LOST] += row[PENDING]
    own = np.flatnonzero(belongs == slot)
    mine = buffers[own]
    mine[mine[:, INDICATED_ROUND] == round_number, DUE_NS] = NONE
    undone = mine[:, RETURNED_ROUND] == round_number
    mine[undone, DUE_NS] = mine[undone, RETURNED_DUE_NS]
    mine[undone, INDICATED_ROUND] = round_number - 1
    buffers[own] = mine
    held = mine[:, DUE_NS] != NONE
    outstanding = own[held][np.argsort(mine[held, DUE_NS], kind="stable")]
    row[OUTSTANDING_HEAD] = _link(buffers, outstanding)
    row[OUTSTANDING_TAIL] = outstanding[-1] if len(outstanding) else NONE
    _free_all_but_outstanding(row, buffers, belongs, slot)
