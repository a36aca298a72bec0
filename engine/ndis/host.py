"""A host's control plane: its adapters, and the one place that takes requests."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from engine.ndis import queue_requests
from engine.ndis.adapter import DEFAULT_DRIVER, Adapter
from engine.ndis.dry_run import foresee, malformed
from engine.ndis.effects import Effect, Indication, Observe, QueueGauges, SetBuffers, SteeringChanged
from engine.ndis.host_settings import BalancerSettings, TrafficSettings
from engine.ndis.operations import Request, decode
from engine.ndis.outcome import NdisError, NdisStatus, Outcome, invalid
from engine.ndis.queries import EventHistory
from engine.ndis.queue import key_of
from engine.ndis.resources import QueueQuota
from engine.scenario.model import AdapterSpec, PortSpec, Scenario
from engine.scenario.relations import targets
from engine.scenario.values import parse_mac, show


class FreeingQueue(NamedTuple):
    """A queue that waits for its buffers: adapter's index and queue id."""

    adapter: int
    queue_id: int


class _EmptyDataPlane:
    """The gauges of a data plane that has received no frame."""

    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        return QueueGauges(0, 0, 0)


class Host:
    """The control plane of one host.

    ``adapters`` are in the scenario's order. ``played`` describes a source that replaces the scenario's
    traffic, such as a capture. ``revision`` counts configurations: 1 after ``start``, one more for each
    request that changed something, and for each queue whose free completed later. ``event_history`` has
    the last events, for ``query_events``; the publisher of events adds them.

    Not thread-safe: requests are applied one after the other, and the effects of each are carried out before
    the next is applied, so that the gauges of ``Observe`` agree with the control plane.
    """

    def __init__(self, scenario: Scenario, played: str | None = None) -> None:
        self.scenario = scenario
        quota = QueueQuota()
        self.adapters = [
            Adapter(index, spec, scenario.host.cpus, quota)
            for index, spec in enumerate(with_team_ports(scenario))
        ]
        self.traffic = TrafficSettings(scenario.traffic, targets(scenario), played)
        self.balancing = BalancerSettings(scenario.balancer)
        self.event_history = EventHistory()
        self.revision = 0
        self._stopping = False

    def start(self) -> tuple[Effect, ...]:
        """Bring up the default queues and all that the scenario sets, one batch an adapter.

        A queue that the adapter has too few buffers for stays allocated, without buffers. Raises
        ``ValueError``, with the key, for a scenario that is impossible.
        """
        effects: list[Effect] = []
        for adapter in self.adapters:
            effects += _set_up(adapter, adapter.spec)
        self.revision = 1
        return tuple(effects)

    def apply(self, op: str, params: Mapping[str, Any], observe: Observe) -> Outcome:
        """Carry out a request, or refuse it. A refused request and a dry run change nothing."""
        if self._stopping:
            return Outcome(NdisStatus.NOT_ACCEPTED, "the engine is stopping and takes no more requests")
        try:
            request = decode(op, params)
            adapter = self._adapter(request)
        except NdisError as error:
            asked = isinstance(params, Mapping) and params.get("what_if") is True
            return malformed(error) if asked else Outcome(error.status, error.message)
        if request.what_if:
            traffic, balancing = self.traffic.copy(), self.balancing.copy()
            return foresee(
                adapter,
                lambda trial: _run(request, observe, trial, traffic, balancing, self.event_history),
                request.values.get("queue_id"),
            )
        try:
            outcome = _run(request, observe, adapter, self.traffic, self.balancing, self.event_history)
        except NdisError as error:
            return Outcome(error.status, error.message)
        self.revision += outcome.changed
        return outcome

    def freeing(self) -> tuple[FreeingQueue, ...]:
        """Queues whose free is pending; call ``returned`` when one holds no buffer any more."""
        return tuple(
            FreeingQueue(adapter.index, queue_id)
            for adapter in self.adapters
            for queue_id in sorted(adapter.freeing)
        )

    def returned(self, adapter: int, queue_id: int) -> Outcome:
        """Complete the free of a queue that has no pending frame and no outstanding buffer left."""
        try:
            outcome = queue_requests.returned(self.adapters[adapter], queue_id)
        except NdisError as error:
            return Outcome(error.status, error.message)
        self.revision += 1
        return outcome

    def stop(self) -> tuple[Indication, ...]:
        """Refuse requests from now on, and abort pending frees."""
        self._stopping = True
        aborted = []
        for adapter in self.adapters:
            for queue_id in sorted(adapter.freeing):
                queue = adapter.queues[queue_id]
                cause = (
                    f"{NdisStatus.REQUEST_ABORTED}: the engine stops while"
                    f" {queue_requests.holder(adapter, queue)} holds buffers of the queue"
                )
                aborted.append(adapter.indicate(queue, cause, "queue_free_aborted"))
            adapter.freeing.clear()
        return tuple(aborted)

    def _adapter(self, request: Request) -> Adapter:
        if request.adapter is None and (len(self.adapters) == 1 or not request.operation.needs_adapter):
            return self.adapters[0]
        for adapter in self.adapters:
            if adapter.spec.name == request.adapter:
                return adapter
        fitting = ", ".join(show(adapter.spec.name) for adapter in self.adapters)
        what = (
            "missing"
            if request.adapter is None
            else f"{show(request.adapter)} is not an adapter of this host"
        )
        raise invalid(f"adapter: {what} ({fitting} fits)")


def _run(
    request: Request,
    observe: Observe,
    adapter: Adapter,
    traffic: TrafficSettings,
    balancing: BalancerSettings,
    history: EventHistory,
) -> Outcome:
    subjects = {"adapter": adapter, "traffic": traffic, "balancer": balancing, "event_history": history}
    return request.operation.run(subjects[request.operation.about], observe, request.driver, **request.values)


def _set_up(adapter: Adapter, spec: AdapterSpec) -> list[Effect]:
    """Set up one adapter from its table of the scenario."""
    observe = _EmptyDataPlane()
    place = f"adapter[{adapter.index}]"
    try:
        default = adapter.add_default_queue()
        effects: list[Effect] = [
            *adapter.open(default),
            SetBuffers(adapter.index, default.queue_id, default.suggested_buffers),
        ]
        for number, port in enumerate(spec.port):
            place = f"adapter[{adapter.index}].port[{number}]"
            adapter.add_port(port.vm, key_of(parse_mac(port.mac), port.vlan))
        queue_ids = []
        for number, queue in enumerate(spec.queue):
            place = f"adapter[{adapter.index}].queue[{number}]"
            allocated = queue_requests.allocate_queue(
                adapter,
                observe,
                DEFAULT_DRIVER,
                name=queue.name or None,
                vm=queue.vm,
                cpu=queue.cpu,
                buffers=queue.buffers,
                lookahead_bytes=queue.lookahead_bytes,
                return_delay_us=queue.return_delay_us,
            )
            effects += allocated.effects
            queue_id = allocated.result["queue_id"]
            queue_ids.append(queue_id)
            for filter_number, one in enumerate(queue.filter):
                place = f"adapter[{adapter.index}].queue[{number}].filter[{filter_number}]"
                mac = parse_mac(one.mac)
                was_set = queue_requests.set_filter(
                    adapter, observe, DEFAULT_DRIVER, queue_id=queue_id, mac=mac, vlan=one.vlan
                )
                effects += was_set.effects
        effects += queue_requests.complete_allocation(
            adapter, observe, DEFAULT_DRIVER, queue_ids=queue_ids
        ).effects
    except (NdisError, ValueError) as error:
        raise ValueError(f"{place}.{error}") from None
    # The table is compiled once, when all is set.
    effects = [effect for effect in effects if not isinstance(effect, SteeringChanged)]
    return [*effects, SteeringChanged(adapter.index)]


def with_team_ports(scenario: Scenario) -> list[AdapterSpec]:
    """The adapters; a member of a team in mode "min" has the other members' ports after its own.

    The switch behind a team is one, and a VM's frames may arrive on any member. In mode "sum" they arrive
    where the VM's port is.
    """
    adapters = {adapter.name: adapter for adapter in scenario.adapter}
    for team in scenario.team:
        if team.mode == "min":
            ports = [port for name in team.members for port in _ports(adapters[name])]
            for name in team.members:
                adapters[name] = _with_ports(adapters[name], ports)
    return list(adapters.values())


def _ports(adapter: AdapterSpec) -> list[PortSpec]:
    """Its ports: those of the scenario, and those that its VMs' filters add."""
    implied = [
        PortSpec(vm=queue.vm, mac=one.mac, vlan=one.vlan)
        for queue in adapter.queue
        if queue.vm is not None
        for one in queue.filter
    ]
    return [*adapter.port, *implied]


def _with_ports(adapter: AdapterSpec, ports: list[PortSpec]) -> AdapterSpec:
    """The adapter with further ports, except for a MAC and VLAN that it has a port for."""
    known = {(port.mac, port.vlan) for port in _ports(adapter)}
    new = {(port.mac, port.vlan): port for port in reversed(ports) if (port.mac, port.vlan) not in known}
    return msgspec.structs.replace(adapter, port=[*adapter.port, *reversed(new.values())])
