"""Indexes over a configuration for joins with counters, built once for each revision."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from functools import cached_property

from engine.scenario.processor_set import HostProcessors, SetKeys, parse_place
from engine.telemetry.config import (
    AdapterConfig,
    Config,
    CpuConfig,
    FilterConfig,
    PortConfig,
    QueueConfig,
    Vlan,
)


def processors_of(config: Config | None) -> HostProcessors:
    """Return the processors of a host by their names in its configuration; none for None."""
    cpus = config.cpus if config is not None else []
    places = {cpu.id: place for cpu in cpus if (place := parse_place(cpu.name)) is not None}
    nodes = {cpu.id: cpu.numa_node for cpu in cpus if cpu.numa_node is not None}
    return HostProcessors(places, nodes, False if config is None else config.hyperthreading)


def set_keys(settings: AdapterConfig) -> SetKeys:
    """Return what is configured of an adapter's processor set; a key that can't be read is unknown."""
    base, most = (
        None if one is None else parse_place(one) for one in (settings.base_processor, settings.max_processor)
    )
    return SetKeys(base, most, settings.max_processors, settings.preferred_numa_node)


class ConfigIndex:
    """Indexes over one configuration; empty for None."""

    def __init__(self, config: Config | None) -> None:
        self.config = config
        self.processors = processors_of(config)
        self.cpus: dict[int, CpuConfig] = {cpu.id: cpu for cpu in config.cpus} if config else {}
        self.adapters: dict[str, AdapterIndex] = (
            {one.name: AdapterIndex(one, self.processors) for one in config.adapters} if config else {}
        )


class AdapterIndex:
    """Indexes over the configuration of one adapter, each built when it is first read."""

    def __init__(self, settings: AdapterConfig, processors: HostProcessors) -> None:
        self.settings = settings
        self._processors = processors

    @cached_property
    def processor_set(self) -> tuple[int, ...] | None:
        """The processors of its set; None if nothing is known of one."""
        return self._processors.configured(set_keys(self.settings))

    @property
    def set_words(self) -> str | None:
        """The processors of its set in words; None if nothing is known of one."""
        cpus = self.processor_set
        return None if cpus is None else self._processors.names_of_set(cpus)

    @cached_property
    def queues(self) -> dict[int, QueueConfig]:
        """Queues by id."""
        return {queue.queue_id: queue for queue in self.settings.queues}

    @cached_property
    def by_generation(self) -> dict[tuple[int, ...], QueueConfig]:
        """Queues by id and generation."""
        return {(queue.queue_id, queue.generation): queue for queue in self.settings.queues}

    @cached_property
    def filters(self) -> dict[int, FilterConfig]:
        """Filters by id."""
        return {one.filter_id: one for one in self.settings.filters}

    @cached_property
    def filters_of_queue(self) -> Mapping[int, list[FilterConfig]]:
        """Filters by the id of their queue."""
        found: defaultdict[int, list[FilterConfig]] = defaultdict(list)
        for one in self.settings.filters:
            found[one.queue_id].append(one)
        return found

    @cached_property
    def filters_of_mac(self) -> Mapping[str, list[FilterConfig]]:
        """Filters by their MAC."""
        found: defaultdict[str, list[FilterConfig]] = defaultdict(list)
        for one in self.settings.filters:
            found[one.mac].append(one)
        return found

    @cached_property
    def ports_of_mac(self) -> Mapping[str, list[PortConfig]]:
        """Switch ports by their MAC."""
        found: defaultdict[str, list[PortConfig]] = defaultdict(list)
        for port in self.settings.ports:
            found[port.mac].append(port)
        return found

    @cached_property
    def queue_order(self) -> list[tuple[int, ...]]:
        """Keys of the queues, in the order of their rows."""
        return sorted(self.by_generation)

    @cached_property
    def queues_in_order(self) -> list[tuple[QueueConfig, Sequence[FilterConfig]]]:
        """Queues with their filters, in the order of their rows."""
        filters = self.filters_of_queue
        return [(self.by_generation[key], tuple(filters.get(key[0], ()))) for key in self.queue_order]

    @cached_property
    def filter_order(self) -> list[tuple[int, ...]]:
        """Keys of the filters, in the order of their rows."""
        return [(filter_id,) for filter_id in sorted(self.filters)]

    @cached_property
    def filters_in_order(self) -> list[tuple[FilterConfig, QueueConfig | None]]:
        """Filters with their queues, in the order of their rows."""
        in_order = (self.filters[filter_id] for (filter_id,) in self.filter_order)
        return [(one, self.queues.get(one.queue_id)) for one in in_order]

    @cached_property
    def shadows(self) -> dict[int, int]:
        """For each shadowed filter id: the id of the filter that takes its frames first."""
        return _shadows(self.settings.filters, self.queues)

    @cached_property
    def _taken(self) -> dict[tuple[str, Vlan], QueueConfig | None]:
        return {
            (one.mac, one.vlan): self.queues.get(one.queue_id)
            for one in self.settings.filters
            if one.queue_id != 0
        }

    def queue_of_port(self, port: PortConfig) -> QueueConfig | None:
        """Return the queue with a filter for the frames of a port, if any."""
        return self._taken.get((port.mac, port.vlan)) or self._taken.get((port.mac, None))

    def vm_of_port(self, mac: str, vlan: Vlan) -> str | None:
        """Return the VM whose port has the MAC and accepts the VLAN, if any."""
        ports = self.ports_of_mac.get(mac, ())
        return next((port.vm for port in ports if port.vlan in (vlan, None)), None)

    def taker(self, mac: str, vlan: Vlan, without: Container[int] = ()) -> QueueConfig | None:
        """Return the queue for frames of a MAC and VLAN (contract 1, rule 4), if filters ``without`` were
        cleared; None: the default queue."""
        fitting = [
            queue
            for one in self.filters_of_mac.get(mac, ())
            if one.vlan in (vlan, None) and one.queue_id != 0 and one.filter_id not in without
            if (queue := self.queues.get(one.queue_id)) is not None and queue.state == "running"
        ]
        return min(fitting, key=lambda queue: queue.queue_id, default=None)


def _shadows(filters: list[FilterConfig], queues: dict[int, QueueConfig]) -> dict[int, int]:
    """Map each shadowed filter to the one that takes its frames: same MAC, lower running queue, and a VLAN
    test that passes at least the same frames."""
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
