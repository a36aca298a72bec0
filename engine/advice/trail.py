"""What readings alone don't tell: which queues were moved, how long one has been freeing or waited to be
completed, which VMs left."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from engine.telemetry.config import Config, Vlan

MOST_MOVES: Final = 256
MOST_GONE: Final = 256

QueueKey = tuple[str, int, int]
"""Adapter, queue id, generation."""
Pair = tuple[str, str, Vlan]
"""Adapter, MAC, VLAN."""


class Moved(NamedTuple):
    """When a queue was seen to have moved, where it was until then, and whether the balancer moved it: it
    alone leaves a queue's home where it is."""

    at_ns: int
    cpu: int
    by_balancer: bool = False


@dataclass(frozen=True)
class Trace:
    """The trail at one moment. Times are simulated ns."""

    moves: Mapping[QueueKey, tuple[Moved, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Of each queue, the oldest first."""
    freeing_since: Mapping[QueueKey, int] = field(default_factory=lambda: MappingProxyType({}))
    uncompleted_since: Mapping[QueueKey, int] = field(default_factory=lambda: MappingProxyType({}))
    gone: Mapping[Pair, str] = field(default_factory=lambda: MappingProxyType({}))
    """MACs and VLANs whose port went with its VM, and that VM."""


class Trail:
    """Follows the configurations of one host; bounded by ``MOST_MOVES`` (of a queue) and ``MOST_GONE``."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._config: Config | None = None
        self._now_ns = 0
        self._places: dict[QueueKey, tuple[int, int | None]] = {}
        self._moves: dict[QueueKey, deque[Moved]] = {}
        self._freeing: dict[QueueKey, int] = {}
        self._uncompleted: dict[QueueKey, int] = {}
        self._ports: dict[Pair, str] = {}
        self._gone: dict[Pair, str] = {}
        self._trace = Trace()

    def add(self, config: Config, sim_time_ns: int) -> Trace:
        """Take in a configuration and when it held; the trail with it. Time that goes back starts anew."""
        if sim_time_ns < self._now_ns or (
            self._config is not None and config.revision < self._config.revision
        ):
            self._start()
        self._now_ns = sim_time_ns
        if config is self._config:
            return self._trace
        self._config = config
        self._take_queues(config, sim_time_ns)
        self._take_ports(config)
        self._trace = Trace(
            {key: tuple(moves) for key, moves in self._moves.items()},
            dict(self._freeing),
            dict(self._uncompleted),
            dict(self._gone),
        )
        return self._trace

    def _take_queues(self, config: Config, now_ns: int) -> None:
        places: dict[QueueKey, tuple[int, int | None]] = {}
        freeing: dict[QueueKey, int] = {}
        uncompleted: dict[QueueKey, int] = {}
        balanced = config.balancer.get("mode", "off") != "off"
        for adapter in config.adapters:
            for queue in adapter.queues:
                key = (adapter.name, queue.queue_id, queue.generation)
                place = places[key] = (queue.cpu, queue.home_cpu)
                cpu, home = self._places.get(key, place)
                if cpu != queue.cpu:
                    moved = Moved(now_ns, cpu, balanced and home is not None and home == queue.home_cpu)
                    self._moves.setdefault(key, deque(maxlen=MOST_MOVES)).append(moved)
                if queue.state in ("dma_stopped", "freeing"):
                    freeing[key] = self._freeing.get(key, now_ns)
                elif queue.state in ("allocated", "set"):
                    uncompleted[key] = self._uncompleted.get(key, now_ns)
        self._places, self._freeing, self._uncompleted = places, freeing, uncompleted
        self._moves = {key: moves for key, moves in self._moves.items() if key in places}

    def _take_ports(self, config: Config) -> None:
        ports: dict[Pair, str] = {
            (adapter.name, port.mac, port.vlan): port.vm
            for adapter in config.adapters
            for port in adapter.ports
        }
        for pair, vm in self._ports.items():
            if pair not in ports:
                self._gone[pair] = vm
        for pair in list(self._gone):
            if pair in ports:
                del self._gone[pair]
        while len(self._gone) > MOST_GONE:
            del self._gone[next(iter(self._gone))]
        self._ports = ports
