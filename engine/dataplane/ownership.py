"""Ownership of buffers: changes of a queue's row between two rounds, when no shard runs.

In all functions ``row`` is the queue's published row (QUEUE_ROW,), ``buffers`` are all rows (n, BUFFER_ROW),
and ``belongs`` (n,) has the slot that owns each buffer, or NONE for a spare buffer of the adapter.
"""

import numpy as np

from engine.kernels.layout import BUFFER, I32, I64, NEVER_NS, NONE, Q


def _link(buffers: I64, members: I64, tail: int = NONE) -> int:
    """Link buffers into a list in the given order, followed by ``tail``; return its head."""
    if len(members) == 0:
        return tail
    buffers[members[:-1], BUFFER.next] = members[1:]
    buffers[members[-1], BUFFER.next] = tail
    return int(members[0])


def _walk(buffers: I64, head: int, most: int) -> I64:
    """Return up to ``most`` buffers of a linked list, from its head."""
    members: list[int] = []
    while head != NONE and len(members) < most:
        members.append(head)
        head = int(buffers[head, BUFFER.next])
    return np.array(members, np.int64)


def resize(row: I64, buffers: I64, belongs: I32, slot: int, target: int, spare: I64) -> tuple[I64, I64]:
    """Change a queue's number of buffers to ``target``; return the buffers it took and those it gave up.

    It takes missing buffers from ``spare`` (numbers of the adapter's spare buffers, enough for the growth)
    immediately; it gives up free buffers immediately and the others when they are returned.
    """
    row[Q.target_buffers] = target
    grow = max(0, target - int(row[Q.total_buffers]))
    taken = spare[:grow]
    belongs[taken] = slot
    buffers[taken, BUFFER.due_ns] = NONE
    row[Q.free_head] = _link(buffers, taken, int(row[Q.free_head]))
    shrink = min(max(0, int(row[Q.total_buffers]) - target), int(row[Q.free_buffers]))
    given_up = _walk(buffers, int(row[Q.free_head]), shrink)
    if shrink:
        row[Q.free_head] = buffers[given_up[-1], BUFFER.next]
        belongs[given_up] = NONE
    row[Q.free_buffers] += grow - shrink
    row[Q.total_buffers] += grow - shrink
    row[Q.low_free_buffers] = row[Q.free_buffers]
    return taken, given_up


def collect(row: I64, buffers: I64, belongs: I32) -> I64:
    """Make the buffers that a shrinking queue surrendered in the last rounds spare ones; return them."""
    given_up = _walk(buffers, int(row[Q.surrendered_head]), len(belongs))
    belongs[given_up] = NONE
    row[Q.surrendered_head] = NONE
    return given_up


def _free_all_but_outstanding(row: I64, buffers: I64, belongs: I32, slot: int) -> None:
    """Free every buffer that is not outstanding, or surrender it if the queue shrinks; nothing is pending."""
    row[Q.total_buffers] = min(row[Q.total_buffers], max(row[Q.target_buffers], row[Q.outstanding]))
    own = np.flatnonzero(belongs == slot)
    idle = own[buffers[own, BUFFER.due_ns] == NONE]
    free = int(row[Q.total_buffers] - row[Q.outstanding])
    row[Q.free_head] = _link(buffers, idle[:free])
    row[Q.surrendered_head] = _link(buffers, idle[free:])
    row[Q.free_buffers] = free
    row[[Q.pending, Q.pending_bytes, Q.dpc_frames]] = 0
    row[[Q.pending_head, Q.pending_tail, Q.armed_ns, Q.dpc_cpu]] = NONE


def discard_pending(row: I64, buffers: I64, belongs: I32, slot: int) -> None:
    """Discard a queue's pending frames, including a DPC's (NDIS: its last filter was cleared)."""
    row[Q.discarded_frames] += row[Q.pending]
    _free_all_but_outstanding(row, buffers, belongs, slot)


def return_all(row: I64, buffers: I64, belongs: I32, slot: int) -> None:
    """Take back every outstanding buffer of a queue without pending frames."""
    buffers[belongs == slot, BUFFER.due_ns] = NONE
    row[Q.returned_frames] += row[Q.outstanding]
    row[Q.outstanding] = 0
    row[[Q.outstanding_head, Q.outstanding_tail]] = NONE
    _free_all_but_outstanding(row, buffers, belongs, slot)


def take_back(row: I64, buffers: I64, belongs: I32, slot: int, before_ns: int) -> int:
    """Take back the outstanding buffers due before a time, of a queue without pending frames.

    Returns when the next outstanding buffer is due, or NEVER_NS if none is left.
    """
    held = _walk(buffers, int(row[Q.outstanding_head]), int(row[Q.outstanding]))
    due = buffers[held, BUFFER.due_ns]
    count = int((due < before_ns).sum())  # sorted by due time
    if count == 0:
        return int(due[0]) if len(due) else NEVER_NS
    buffers[held[:count], BUFFER.due_ns] = NONE
    row[Q.returned_frames] += count
    row[Q.outstanding] -= count
    left = held[count:]
    row[Q.outstanding_head] = left[0] if len(left) else NONE
    row[Q.outstanding_tail] = left[-1] if len(left) else NONE
    _free_all_but_outstanding(row, buffers, belongs, slot)
    return int(due[count]) if len(left) else NEVER_NS


def let_go(row: I64, buffers: I64, now_ns: int) -> None:
    """End a hold: buffers that became due during it are due now."""
    held = _walk(buffers, int(row[Q.outstanding_head]), int(row[Q.outstanding]))
    buffers[held, BUFFER.due_ns] = np.maximum(buffers[held, BUFFER.due_ns], now_ns)


def recover(row: I64, buffers: I64, belongs: I32, slot: int, round_number: int) -> None:
    """Undo the changes that a shard made to a queue's buffers in the round in which it died.

    ``row`` is the last published one. Its pending frames are lost. Buffers that were outstanding when the
    round began are outstanding again, including those that the round had taken back.
    """
    row[Q.lost_frames] += row[Q.pending]
    own = np.flatnonzero(belongs == slot)
    mine = buffers[own]
    mine[mine[:, BUFFER.indicated_round] == round_number, BUFFER.due_ns] = NONE
    undone = mine[:, BUFFER.returned_round] == round_number
    mine[undone, BUFFER.due_ns] = mine[undone, BUFFER.returned_due_ns]
    mine[undone, BUFFER.indicated_round] = round_number - 1
    buffers[own] = mine
    held = mine[:, BUFFER.due_ns] != NONE
    outstanding = own[held][np.argsort(mine[held, BUFFER.due_ns], kind="stable")]
    row[Q.outstanding_head] = _link(buffers, outstanding)
    row[Q.outstanding_tail] = outstanding[-1] if len(outstanding) else NONE
    _free_all_but_outstanding(row, buffers, belongs, slot)
