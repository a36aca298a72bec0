"""The queue that a row is about, and the places that jumps to queues left. Pure."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.advice.finding import Finding
from engine.counted import counted
from engine.telemetry.events import Event
from engine.view.pairs import NearMiss, NearMissView, PairView
from engine.view.rows import CpuView, FilterView, PortView, QueueView
from vmqtui.columns.column import vlan_text
from vmqtui.state.rows import EventRow, FindingRow, Row
from vmqtui.state.snapshot import Snapshot

PLACES_KEPT: Final = 100
"""Most places to go back to; older ones are forgotten."""


@dataclass(frozen=True)
class Place:
    """What was shown before a jump. ``page`` is the queue whose page that was; ``table`` the focused widget,
    ``row`` the identity of its row under the cursor; ``filters`` those of the tables at both ends."""

    view: str
    tab: str
    page: QueueView | None
    table: str
    row: Hashable
    adapter: str | None
    filters: Mapping[str, str]


class Target(NamedTuple):
    """A queue to jump to; ``why`` says why that one, where that is not obvious."""

    queue: QueueView
    why: str = ""


def target_of(row: Row | None, snapshot: Snapshot) -> Target | str:
    """Return the queue that a row is about at the moment of ``snapshot``, or a sentence why there is none."""
    match row:
        case QueueView():
            return _same(row.adapter, row.queue_id, row.generation, snapshot)
        case FilterView():
            return _same(row.adapter, row.queue_id, None, snapshot)
        case EventRow():
            return _of_event(row.event, snapshot)
        case FindingRow():
            return _of_finding(row.finding, snapshot)
        case PairView():
            return _of_pair(row, row.near, snapshot)
        case NearMissView():
            return _of_pair(row.pair, [row.near], snapshot)
        case CpuView():
            return _busiest(row.queues, f"processor {row.processor}")
        case PortView():
            if row.queue is None:
                return f"no queue takes the frames of {row.config.vm}'s port: the default queue does"
            return _same(row.adapter, row.queue.queue_id, row.queue.generation, snapshot)
    return "the cursor is on no row with a queue; Tab goes to the next panel"


def _same(
    adapter: str | None, queue_id: int | None, generation: int | None, snapshot: Snapshot
) -> Target | str:
    found = (one for one in snapshot.queues if (one.adapter, one.queue_id) == (adapter, queue_id))
    queue = next(found, None)
    if queue is None:
        return f"queue {queue_id} of {adapter} is not there at this moment"
    if generation not in (None, queue.generation):
        return f"that queue was freed; queue {queue_id} of {adapter} is another one now ({queue.label})"
    return Target(queue)


def _busiest(queues: Sequence[QueueView], of: str) -> Target | str:
    if not queues:
        return f"no queue is known of {of}"
    queue = max(queues, key=lambda one: one.known_pps)  # of equal ones the first
    if len(queues) == 1:
        return Target(queue)
    which = "busiest" if queue.known_pps else "first"
    return Target(queue, f"{which} of {counted(len(queues), 'queue')} of {of}")


def _of_event(event: Event, snapshot: Snapshot) -> Target | str:
    if event.queue_id is None:
        about = f"adapter {event.adapter}" if event.adapter is not None else "the host"
        return f"this event is about {about}, not about a queue"
    started_at = snapshot.status.started_at if snapshot.status is not None else 0.0
    if event.time_ns / 1e9 < started_at:
        return "the engine was started again since this event: its queues are other ones now"
    freed = (one for one in snapshot.events if one.event == "queue_freed")
    if any(
        (one.adapter, one.queue_id) == (event.adapter, event.queue_id)
        and (one.time_ns, one.seq) >= (event.time_ns, event.seq)
        for one in freed
    ):
        return f"queue {event.queue_id} of {event.adapter}, which this event is about, was freed"
    return _same(event.adapter, event.queue_id, None, snapshot)


def _of_finding(finding: Finding, snapshot: Snapshot) -> Target | str:
    adapter = finding.adapter
    if finding.queue_id is not None:
        return _same(adapter, finding.queue_id, finding.generation, snapshot)
    if finding.filter_id is not None:
        filters = (one for one in snapshot.filters if one.adapter == adapter)
        found = next((one for one in filters if one.filter_id == finding.filter_id), None)
        if found is None:
            return f"filter {finding.filter_id} of {adapter} is not there at this moment"
        return _same(adapter, found.queue_id, None, snapshot)
    if finding.vm is not None:
        queues = [one for one in snapshot.queues if (one.adapter, one.vm) == (adapter, finding.vm)]
        return _busiest(queues, f"VM {finding.vm}")
    if finding.cpu is not None:
        cpu = next((one for one in snapshot.cpus if one.cpu == finding.cpu), None)
        return target_of(cpu, snapshot) if cpu is not None else f"processor {finding.cpu} is not there"
    about = f"{finding.mac}, which has no queue" if finding.mac is not None else "no single queue"
    return f"this finding is about {about}"


def _of_pair(pair: PairView, near: Sequence[NearMiss], snapshot: Snapshot) -> Target | str:
    """Return the queue that takes the pair's frames now, else one whose filter has its MAC."""
    if pair.queue_id is not None:
        taken = _same(pair.adapter, pair.queue_id, None, snapshot)
        return taken if isinstance(taken, str) else Target(taken.queue, "takes its frames now")
    missed = [one for one in near if one.queue_id is not None]
    if missed:
        found = _same(pair.adapter, missed[0].queue_id, None, snapshot)
        if isinstance(found, str):
            return found
        others = f", and {counted(len(missed) - 1, 'other')}" if len(missed) > 1 else ""
        wants = vlan_text(missed[0].vlan)
        return Target(
            found.queue, f"its filter wants VLAN {wants}, the frames have {vlan_text(pair.vlan)}{others}"
        )
    if not pair.steerable:
        return f"{pair.mac} is a {pair.reason} address: no filter can have it, so the default queue takes it"
    return f"no filter has {pair.mac}: the default queue takes its frames"
