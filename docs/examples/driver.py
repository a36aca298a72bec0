"""A small VMQ driver, in place of yours: queues of one adapter, their states, filters by MAC and VLAN."""

from dataclasses import dataclass, field
from typing import Any

SUCCESS = "NDIS_STATUS_SUCCESS"
PENDING = "NDIS_STATUS_PENDING"
INVALID_PARAMETER = "NDIS_STATUS_INVALID_PARAMETER"
RESOURCES = "NDIS_STATUS_RESOURCES"
FILE_NOT_FOUND = "NDIS_STATUS_FILE_NOT_FOUND"


@dataclass
class Queue:
    """One receive queue, its filters by id, and the buffers that its VM holds."""

    state: str = "allocated"
    filters: dict[int, tuple[str, int]] = field(default_factory=dict)
    held: int = 0


class Driver:
    """Queues 1 to ``max_queues`` of one adapter. ``request`` returns the name of an NDIS status."""

    def __init__(self, max_queues: int) -> None:
        self.max_queues = max_queues
        self.queues: dict[int, Queue] = {}

    def request(self, op: str, **params: Any) -> str:
        handle = getattr(self, f"_{op}")
        return str(handle(**params))

    def hold(self, queue_id: int, buffers: int) -> None:
        """Frames arrive, and the VM keeps their buffers."""
        self.queues[queue_id].held += buffers

    def give_back(self, queue_id: int) -> None:
        """The VM returns all buffers."""
        self.queues[queue_id].held = 0
        if self.queues[queue_id].state == "freeing":
            del self.queues[queue_id]

    def _allocate_queue(self, name: str, vm: str, cpu: int, buffers: int) -> str:
        unused = [one for one in range(1, self.max_queues + 1) if one not in self.queues]
        if not unused:
            return RESOURCES
        self.queues[unused[0]] = Queue()
        return SUCCESS

    def _set_filter(self, queue_id: int, mac: str, vlan: int) -> str:
        queue = self.queues.get(queue_id)
        taken = [key for one in self.queues.values() for key in one.filters.values()]
        if queue is None or queue.state == "freeing" or (mac, vlan) in taken:
            return INVALID_PARAMETER
        ids = {filter_id for one in self.queues.values() for filter_id in one.filters}
        queue.filters[min(set(range(1, len(ids) + 2)) - ids)] = (mac, vlan)
        queue.state = {"allocated": "set", "paused": "running"}.get(queue.state, queue.state)
        return SUCCESS

    def _clear_filter(self, queue_id: int, filter_id: int) -> str:
        queue = self.queues.get(queue_id)
        if queue is None or queue.state == "freeing":
            return INVALID_PARAMETER
        if queue.filters.pop(filter_id, None) is None:
            return FILE_NOT_FOUND
        if not queue.filters:
            queue.state = {"set": "allocated", "running": "paused"}[queue.state]
        return SUCCESS

    def _complete_allocation(self, queue_ids: list[int]) -> str:
        """Return the status of the only queue of the batch."""
        queue = self.queues.get(queue_ids[0])
        if queue is None or queue.state not in ("allocated", "set"):
            return INVALID_PARAMETER
        queue.state = {"allocated": "paused", "set": "running"}[queue.state]
        return SUCCESS

    def _free_queue(self, queue_id: int) -> str:
        queue = self.queues.get(queue_id)
        if queue is None or queue.state not in ("allocated", "paused"):
            return INVALID_PARAMETER
        if queue.held:
            queue.state = "freeing"
            return PENDING
        del self.queues[queue_id]
        return SUCCESS

    def _query_queue(self, queue_id: int) -> str:
        queue = self.queues.get(queue_id)
        return INVALID_PARAMETER if queue is None or queue.state == "freeing" else SUCCESS
