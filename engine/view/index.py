"""A configuration indexed for joins with counters: built once for each revision."""

from collections import defaultdict

from engine.telemetry.config import (
    AdapterConfig,
    Config,
    CpuConfig,
    FilterConfig,
    PortConfig,
    QueueConfig,
    Vlan,
)


class ConfigIndex:
    """Indexes over one configuration (or none)."""

    def __init__(self, config: Config | None) -> None:
        self.config = config
        self.cpus: dict[int, CpuConfig] = {cpu.id: cpu for cpu in config.cpus} if config else {}
        self.adapters: dict[str, AdapterIndex] = (
            {one.name: AdapterIndex(one) for one in config.adapters} if config else {}
        )


class AdapterIndex:
    """Indexes over the configuration of one adapter."""

    def __init__(self, settings: AdapterConfig) -> None:
        self.settings = settings
        self.queues = {queue.queue_id: queue for queue in settings.queues}
        self.by_generation = {(queue.queue_id, queue.generation): queue for queue in settings.queues}
        self.filters = {one.filter_id: one for one in settings.filters}
        self.filters_of_queue: defaultdict[int, list[FilterConfig]] = defaultdict(list)
        self.filters_of_mac: defaultdict[str, list[FilterConfig]] = defaultdict(list)
        for one in settings.filters:
            self.filters_of_queue[one.queue_id].append(one)
            self.filters_of_mac[one.mac].append(one)
        self.ports_of_mac: defaultdict[str, list[PortConfig]] = defaultdict(list)
        for port in settings.ports:
            self.ports_of_mac[port.mac].append(port)
        self.queue_order = sorted(self.by_generation)
        """Keys of the queues, in the order of their rows."""
        self.queues_in_order = [
            (self.by_generation[key], tuple(self.filters_of_queue.get(key[0], ())))
            for key in self.queue_order
        ]
        self.filter_order = [(filter_id,) for filter_id in sorted(self.filters)]
        self.filters_in_order = [
            (one, self.queues.get(one.queue_id)) for (n,) in self.filter_order for one in (self.filters[n],)
        ]
        self.shadows = _shadows(settings.filters, self.queues)
        self._taken = {
            (one.mac, one.vlan): self.queues.get(one.queue_id)
            for one in settings.filters
            if one.queue_id != 0
        }

    def queue_of_port(self, port: PortConfig) -> QueueConfig | None:
        """The queue with a filter for the frames of a port, if there is one."""
        return self._taken.get((port.mac, port.vlan)) or self._taken.get((port.mac, None))

    def vm_of_port(self, mac: str, vlan: Vlan) -> str | None:
        """The VM whose port has a MAC and accepts a VLAN."""
        ports = self.ports_of_mac.get(mac, ())
        return next((port.vm for port in ports if port.vlan in (vlan, None)), None)

    def taker(self, mac: str, vlan: Vlan) -> QueueConfig | None:
        """The queue that takes frames of a MAC and VLAN (contract 1, rule 4); None: the default queue."""
        fitting = [
            queue
            for one in self.filters_of_mac.get(mac, ())
            if one.vlan in (vlan, None) and one.queue_id != 0
            if (queue := self.queues.get(one.queue_id)) is not None and queue.state == "running"
        ]
        return min(fitting, key=lambda queue: queue.queue_id, default=None)


def _shadows(filters: list[FilterConfig], queues: dict[int, QueueConfig]) -> dict[int, int]:
    """Filters whose frames another filter takes first: same MAC, lower running queue, wider VLAN test."""
    by_mac: defaultdict[str, list[FilterConfig]] = defaultdict(list)
    for one in filters:
        queue = queues.get(one.queue_id)
        if one.queue_id != 0 and queue is not None and queue.state == "running":
            by_mac[one.mac].append(one)
    shadows: dict[int, int] = {}
    for same in by_mac.values():
        for one in same:
            for other in same:
                wider = other.vlan is None or other.vlan == one.vlan
                if other.queue_id < one.queue_id and wider:
                    shadows[one.filter_id] = other.filter_id
                    break
    return shadows
