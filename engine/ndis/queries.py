"""Requests that change nothing: queries of queues, filters, capabilities and past events."""

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from engine.counted import counted
from engine.ndis.adapter import Adapter, id_ranges
from engine.ndis.effects import Observe
from engine.ndis.outcome import Outcome, answer, invalid
from engine.ndis.queue import Event, Queue, describe_key
from engine.scenario.values import show


def enum_queues(adapter: Adapter, observe: Observe, driver: str) -> Outcome:
    """Return the queues of all drivers, sorted by id."""
    queues = [_describe(adapter, observe, queue) for _, queue in sorted(adapter.queues.items())]
    return answer(counted(len(queues), "queue"), {"queues": queues})


def enum_filters(adapter: Adapter, observe: Observe, driver: str, *, queue_id: int) -> Outcome:
    """Return the filters of a queue, sorted by id."""
    queue = adapter.find_for(queue_id, Event.ENUM_FILTERS)
    filters = [
        {"filter_id": filter_id, **describe_key(one.key)} for filter_id, one in sorted(queue.filters.items())
    ]
    return answer(counted(len(filters), "filter"), {"filters": filters})


def query_queue(adapter: Adapter, observe: Observe, driver: str, *, queue_id: int) -> Outcome:
    """Return one queue, with the fields of ``enum_queues``."""
    queue = adapter.find_for(queue_id, Event.QUERY)
    return answer(f"queue {queue_id} is {queue.state}", _describe(adapter, observe, queue))


def query_filter(adapter: Adapter, observe: Observe, driver: str, *, filter_id: int) -> Outcome:
    """Return one filter: its tests, its queue, and the driver that set it."""
    one = adapter.filters.get(filter_id)
    if one is None:
        raise invalid(
            f"filter_id: {show(filter_id)} is not a filter of {adapter.title} ({id_ranges(adapter.filters)})"
        )
    adapter.find_for(one.queue_id, Event.QUERY_FILTER)
    return answer(f"filter {filter_id} is set on queue {one.queue_id}", one.describe())


def query_capabilities(adapter: Adapter, observe: Observe, driver: str) -> Outcome:
    """Return the adapter's capabilities and the numbers of its resources in use."""
    spec = adapter.spec
    return answer(
        f"{adapter.title} has {counted(spec.max_queues, 'queue')} and {counted(spec.max_filters, 'filter')}",
        {
            "name": spec.name,
            "ndis_version": spec.ndis_version,
            "link_gbps": spec.link_gbps,
            "max_frame_bytes": spec.max_frame_bytes,
            "max_queues": spec.max_queues,
            "num_queues": len(adapter.queues) - 1,
            "max_filters": spec.max_filters,
            "num_filters": len(adapter.filters),
            "vlan_filtering": spec.vlan_filtering,
            "lookahead_split": adapter.max_lookahead_bytes > 0,
            "min_lookahead_bytes": adapter.min_lookahead_bytes,
            "max_lookahead_bytes": adapter.max_lookahead_bytes,
            "dynamic_processor_affinity": True,
            "msix_vectors": len({queue.cpu for queue in adapter.queues.values()}),
            "buffers": adapter.budget.total,
            "buffers_left": adapter.budget.left(adapter.total_of(observe)),
        },
    )


def ping(adapter: Adapter, observe: Observe, driver: str) -> Outcome:
    """Return an answer, which proves that the engine runs."""
    return answer("the engine is there", {})


def _describe(adapter: Adapter, observe: Observe, queue: Queue) -> dict[str, Any]:
    return {
        **queue.describe(adapter.is_vm_paused(queue)),
        "processor": adapter.processors.name(queue.cpu),
        "num_filters": len(queue.filters),
        "total_buffers": adapter.budget.held(queue.queue_id, adapter.total_of(observe)),
    }


MAX_EVENTS: Final = 1000
"""Limit of retained events, and of events in one answer."""
EVENTS_LIMIT_BYTES: Final = 1 << 20
"""Limit of bytes of all retained events."""


class EventHistory:
    """The latest published events by ascending ``seq``, limited in number and bytes, oldest dropped first."""

    def __init__(self) -> None:
        self._events: deque[tuple[Mapping[str, Any], int]] = deque()
        self._bytes = 0

    def add(self, event: Mapping[str, Any], size_bytes: int) -> None:
        """Add an event; ``size_bytes`` is the size of its message."""
        self._events.append((event, size_bytes))
        self._bytes += size_bytes
        while len(self._events) > MAX_EVENTS or self._bytes > EVENTS_LIMIT_BYTES:
            _, size_bytes = self._events.popleft()
            self._bytes -= size_bytes

    def since(self, seq: int, limit: int) -> list[Mapping[str, Any]]:
        """Return the first ``limit`` events after ``seq``, oldest first."""
        return list(islice((event for event, _ in self._events if event["seq"] > seq), limit))


def query_events(
    history: EventHistory, observe: Observe, driver: str, *, since_seq: int = 0, limit: int = 256
) -> Outcome:
    """Return up to ``limit`` of the retained events after ``since_seq``, oldest first."""
    events = history.since(since_seq, limit)
    return answer(f"{counted(len(events), 'event')}", {"events": events})
