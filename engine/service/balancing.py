"""Drives a machine's balancer: feeds it readings, and turns its moves into control plane requests."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.balance.balancer import Balancer, BalancerReading, QueueCounters
from engine.balance.decide import Move, QueueKey, Reason, barred
from engine.dataplane.plane import Plane
from engine.kernels.layout import CPU, Q
from engine.ndis.adapter import DEFAULT_DRIVER
from engine.ndis.host import Host
from engine.ndis.outcome import Outcome

MOVES_KEPT: Final = 10_000

_COLUMNS: Final = [
    Q.steered_frames,
    Q.steered_bytes,
    Q.dropped_no_buffer,
    Q.interrupts,
    Q.dpcs,
    Q.copied_bytes_limit,
]


class BalancerDriver:
    """Balances a machine's queues while its scenario or a request enables that.

    ``request`` is the machine's, which takes the cause of a move's event. ``moves`` holds the first
    MOVES_KEPT moves in the form of a replay's document; ``by_reason`` counts all moves.
    """

    def __init__(
        self,
        host: Host,
        plane: Plane,
        request: Callable[[str, Mapping[str, Any], str], Outcome],
    ) -> None:
        self._host = host
        self._plane = plane
        self._request = request
        self._balancer = Balancer(host.scenario.host, host.scenario.cpu)
        self.moves: list[dict[str, Any]] = []
        self.by_reason: Counter[Reason] = Counter()
        self.begin()

    @property
    def due_ns(self) -> int:
        """The simulated time of the next decision; ``NEVER_NS`` while the balancer is off."""
        return self._balancer.due_ns

    def begin(self) -> None:
        """Apply the control plane's settings from now on."""
        spec = self._host.balancing.spec
        if spec.mode == "off":
            self._balancer.begin(spec, BalancerReading(self._plane.now_ns, [], [], []))
        else:
            self._balancer.begin(spec, self._counters())

    def skip_to(self, event_ns: int) -> None:
        """Skip the decisions before ``event_ns`` (simulated time): no frame or event comes earlier."""
        self._balancer.skip_to(event_ns)

    def settle(self) -> None:
        """Request the moves that are due; call it between rounds."""
        if self._plane.now_ns < self.due_ns:
            return
        for move in self._balancer.poll(self._counters()):
            key, now_ns = move.key, self._plane.now_ns
            name = self._host.adapters[key.adapter].spec.name
            params = {"adapter": name, "queue_id": key.queue_id, "cpu": move.target, "keep_home": True}
            cause = move.words(self._host.scenario.host.processors.name)
            if self._request("set_queue_parameters", params, cause).status != "ok":
                continue
            self._balancer.moved(move, now_ns)
            self.by_reason[move.reason] += 1
            if len(self.moves) < MOVES_KEPT:
                self.moves.append(_described(move, name, now_ns, cause))

    def _counters(self) -> BalancerReading:
        reading = self._plane.read()
        queues = []
        apart = self._apart()
        for adapter in self._host.adapters:
            for queue_id in sorted(adapter.queues):
                queue = adapter.queues[queue_id]
                row = reading.queues[self._plane.slot(adapter.index, queue_id), _COLUMNS].tolist()
                steered, octets, dropped, interrupts, dpcs, limit = row
                queues.append(
                    QueueCounters(
                        key=QueueKey(adapter.index, queue_id, queue.generation),
                        cpu=queue.cpu,
                        home_cpu=queue.home_cpu,
                        numa_node=adapter.spec.numa_node,
                        movable=queue.takes_frames and queue.driver == DEFAULT_DRIVER,
                        is_held=adapter.is_vm_paused(queue),
                        copied_bytes_limit=limit,
                        steered_frames=steered,
                        steered_bytes=octets,
                        dropped_no_buffer=dropped,
                        interrupts=interrupts,
                        dpcs=dpcs,
                        barred=apart[adapter.index],
                    )
                )
        busy = reading.cpus[:, CPU.busy_cycles].tolist()
        return BalancerReading(reading.sim_time_ns, busy, reading.budget_cycles, queues)

    def _apart(self) -> list[frozenset[int]]:
        """By adapter index: the processors of other members of its team, and those outside its set."""
        adapters = self._host.adapters
        index = {adapter.spec.name: adapter.index for adapter in adapters}
        teams = [
            [index[name] for name in team.members] for team in self._host.scenario.team if team.mode == "sum"
        ]
        processors = self._host.scenario.host.processors
        sets = [processors.configured(adapter.spec.set_keys) for adapter in adapters]
        homes = [
            {queue.home_cpu for queue in adapter.queues.values() if not queue.is_default}
            for adapter in adapters
        ]
        return barred(homes, teams, sets, processors.places.keys())


def _described(move: Move, adapter: str, now_ns: int, cause: str) -> dict[str, Any]:
    return {
        "sim_time_ns": now_ns,
        "adapter": adapter,
        "queue_id": move.key.queue_id,
        "from_cpu": move.source,
        "to_cpu": move.target,
        "reason": move.reason,
        "queue_load": round(move.queue_load, 4),
        "from_load": round(move.source_load, 4),
        "from_load_after": round(move.source_after, 4),
        "to_load": round(move.target_load, 4),
        "to_load_after": round(move.target_after, 4),
        "cause": cause,
    }
