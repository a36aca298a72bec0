"""Parts of fixes that several rules share: target processors for queues, and sources of buffers."""

from collections.abc import Container, Iterable, Mapping, Sequence

from engine.advice.evidence import Evidence
from engine.advice.finding import MOST_REQUESTS, Request
from engine.view.adapter import AdapterView
from engine.view.rows import CpuView, QueueView

MARGIN = 16
"""Spare buffers, beyond its highest use, that a queue keeps if a fix takes some from it."""


def eligible(evidence: Evidence, adapter: AdapterView) -> list[CpuView]:
    """Return the processors for an adapter's queues: on its NUMA node, one per core, off the default queue's
    core.

    If that leaves none, the default queue's core is included; if the node has none, all nodes are.
    """
    near = [
        cpu for cpu in evidence.cpus if not cpu.down and cpu.known.numa_node == adapter.known.numa_node
    ] or [cpu for cpu in evidence.cpus if not cpu.down]
    if evidence.is_linux:  # its first queue is one of the rings
        return [cpu for cpu in near if (other := evidence.sibling(cpu)) is None or cpu.id < other.id] or near
    even = [cpu for cpu in near if not evidence.config.hyperthreading or cpu.id % 2 == 0]
    default = adapter.default.known.cpu if adapter.default else 0
    core = evidence.cpu[default].known.core if default in evidence.cpu else -1
    return [cpu for cpu in even if cpu.known.core != core] or even or near


_MOST_DONORS = MOST_REQUESTS // 2
"""Most queues that a fix takes buffers from; leaves half of its requests for other steps."""


class Room:
    """The demand on each processor after the moves planned so far; may be above 1."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.loads = dict(evidence.demand)
        self._counts = {cpu.id: len(cpu.queues) for cpu in evidence.cpus}

    def coolest(self, cpus: Iterable[CpuView]) -> int | None:
        """Return the least loaded processor; ties go to fewer queues, then to the lower number."""
        return min(
            (cpu.id for cpu in cpus), key=lambda cpu: (self.loads[cpu], self._counts[cpu], cpu), default=None
        )

    def cost(self, queue: QueueView) -> float:
        """Return the part of its current processor that the queue needs."""
        cpu = self._evidence.serving(queue)
        return self._evidence.need(cpu, queue) if cpu else 0.0

    def move(self, queue: QueueView, target: int) -> Request:
        """Plan a move, and return its request."""
        self.take_out(queue)
        return self.put(queue, target)

    def take_out(self, queue: QueueView) -> None:
        """Plan that a queue leaves its processor."""
        source = queue.known.cpu
        if source is not None and source in self.loads:
            self.loads[source] = max(0.0, self.loads[source] - self.cost(queue))
            self._counts[source] -= 1

    def add(self, cpu: int, load: float) -> None:
        """Plan a new queue with a load on a processor."""
        self.loads[cpu] += load
        self._counts[cpu] += 1

    def put(self, queue: QueueView, target: int) -> Request:
        """Plan that a queue, taken out before, goes to a processor; return the request that moves it."""
        self.loads[target] += self.cost(queue)
        self._counts[target] += 1
        return Request(
            op="set_queue_parameters",
            params={"adapter": queue.adapter, "queue_id": queue.queue_id, "cpu": target},
        )


def buffers_from(adapter: AdapterView, wanted: int, without: int | None = None) -> tuple[int, list[Request]]:
    """Return how many of the ``wanted`` buffers are available, and the requests that free them.

    Buffers in no queue come first, then never used ones of queues, largest number first, except those of
    queue ``without``.
    """
    return _collected(adapter, max(0, adapter.buffers_left or 0), wanted, _givers(adapter, {without}))


def shared_buffers(adapter: AdapterView, wanted: Mapping[int, int]) -> dict[int, tuple[int, list[Request]]]:
    """Return what ``buffers_from`` does for each queue, by its id, if all get what they want at once.

    Buffers in no queue are split by what is ``wanted``. Each giving queue gives to one other; the queues that
    want some give none.
    """
    left, missing = max(0, adapter.buffers_left or 0), sum(wanted.values())
    givers = _givers(adapter, wanted)
    shares = {}
    for place, (queue_id, buffers) in enumerate(wanted.items()):
        part = min(buffers, left * buffers // missing) if missing else 0
        left, missing = left - part, missing - buffers
        shares[queue_id] = _collected(adapter, part, buffers, givers[place :: len(wanted)])
    return shares


def _givers(adapter: AdapterView, without: Container[int | None]) -> list[tuple[QueueView, int]]:
    return [
        (queue, unused - MARGIN)
        for queue, unused in adapter.unused_buffers
        if unused > MARGIN and queue.queue_id not in without
    ]


def _collected(
    adapter: AdapterView, found: int, wanted: int, givers: Sequence[tuple[QueueView, int]]
) -> tuple[int, list[Request]]:
    requests: list[Request] = []
    for queue, unused in givers:
        if found >= wanted or len(requests) == _MOST_DONORS:
            break
        total = queue.count("total_buffers") or 0
        take = min(unused, wanted - found, total - 1)
        if take > 0:
            found += take
            requests.append(_resize(adapter, queue.queue_id, total - take))
    return min(found, wanted), requests


def _resize(adapter: AdapterView, queue_id: int, buffers: int) -> Request:
    return Request(
        op="set_queue_parameters",
        params={"adapter": adapter.name, "queue_id": queue_id, "buffers": buffers},
    )


def resize(adapter: AdapterView, queue: QueueView, buffers: int) -> Request:
    """Return the request that changes the number of a queue's buffers."""
    return _resize(adapter, queue.queue_id, buffers)


def give_queue(
    adapter: AdapterView,
    vm: str,
    pairs: Sequence[tuple[str, int | str | None]],
    cpu: int,
    buffers: int,
    *,
    before: Sequence[Request] = (),
    between: Sequence[Request] = (),
    queue_id: int | None = None,
    name: str | None = None,
) -> list[Request]:
    """Return the requests that allocate a queue for a VM, set its filters and complete it.

    ``before`` run first, ``between`` after the allocation and before the filters. ``queue_id`` is the id that
    the queue will get, if ``before`` frees one. ``name`` is what it is called, by default as the VM, if that
    is free.
    """
    number = adapter.next_queue_id if queue_id is None else queue_id
    place = len(before)
    allocate = {
        "adapter": adapter.name,
        "name": free_name(adapter, name or vm),
        "vm": vm,
        "cpu": cpu,
        "buffers": buffers,
    }
    filters = set_filters(adapter, number, pairs, queue_from=place)
    complete = Request(
        op="complete_allocation",
        params={"adapter": adapter.name, "queue_ids": [number]},
        queue_from=place,
    )
    return [*before, Request(op="allocate_queue", params=allocate), *between, *filters, complete]


def free_name(adapter: AdapterView, wanted: str) -> str:
    """Return a name for a new queue that no queue of the adapter has, and that a command line reads as a
    name: no number, and no option. A number is added to one that is in use."""
    if not wanted or wanted.isdigit() or wanted.startswith("-"):
        wanted = f"VM {wanted}".strip()
    taken = {
        text.lower()
        for one in adapter.queues
        for text in (one.known.name, one.vm, f"/{one.known.name}", f"/{one.queue_id}")
        if text
    }
    name, number = wanted[:_LONGEST_NAME], 1
    while name.lower() in taken:
        number += 1
        name = f"{wanted[: _LONGEST_NAME - 5]} {number}"
    return name


_LONGEST_NAME = 256


def no_filter_left(adapter: AdapterView) -> str:
    """Return what to add to a fix that sets a filter: what comes first if all are in use, else nothing."""
    if adapter.free_filters != 0:
        return ""
    return "; the adapter has no filter left: first clear one that matches nothing"


def set_filters(
    adapter: AdapterView,
    queue_id: int,
    pairs: Sequence[tuple[str, int | str | None]],
    *,
    queue_from: int | None = None,
) -> list[Request]:
    """Return the requests that set a queue's filters, and first turn VLAN filtering on if one needs it."""
    filtering = Request(op="set_adapter", params={"adapter": adapter.name, "vlan_filtering": True})
    needed = adapter.known.vlan_filtering is False and any(isinstance(vlan, int) for _, vlan in pairs)
    filters = [
        Request(
            op="set_filter",
            params={"adapter": adapter.name, "queue_id": queue_id, "mac": mac}
            | ({} if vlan is None else {"vlan": vlan}),
            queue_from=queue_from,
        )
        for mac, vlan in pairs
    ]
    return [*([filtering] if needed else []), *filters]


def take_away(adapter: AdapterView, queue: QueueView) -> list[Request]:
    """Return the requests that clear a queue's filters and free it."""
    name, queue_id = adapter.name, queue.queue_id
    clears = [
        Request(op="clear_filter", params={"adapter": name, "queue_id": queue_id, "filter_id": one.filter_id})
        for one in queue.filters
    ]
    return [*clears, Request(op="free_queue", params={"adapter": name, "queue_id": queue_id})]
