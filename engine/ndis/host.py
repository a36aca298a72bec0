"""A host's control plane: its adapters, and the one entry point for requests."""

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
    """A queue that is freed once its buffers are returned: adapter index and queue id."""

    adapter: int
    queue_id: int


class _EmptyDataPlane:
    """The gauges of a data plane that has received no frame."""

    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        return QueueGauges(0, 0, 0)


class Host:
    """The control plane of one host.

    ``adapters`` are in the scenario's order. ``played`` describes a source, such as a capture, that replaces
    the scenario's traffic. ``revision`` counts configurations: it is 1 after ``start`` and grows by one with
    each request that changes something and with each free that completes later. ``event_history`` has the
    latest events for ``query_events``; the publisher of events adds them.

    Not thread-safe. Carry out the effects of each request before the next one is applied, so that the gauges
    of ``Observe`` agree with the control plane.
    """

    def __init__(self, scenario: Scenario, played: str | None = None) -> None:
        self.scenario = scenario
        self._quota = QueueQuota()
        self.adapters = [
            Adapter(index, spec, scenario.host.processors, self._quota)
            for index, spec in enumerate(map(scenario.host.placed, with_team_ports(scenario)))
        ]
        self.traffic = TrafficSettings(scenario.traffic, targets(scenario), played)
        self.balancing = BalancerSettings(scenario.balancer)
        self.event_history = EventHistory()
        self.revision = 0
        self._stopping = False

    def start(self) -> tuple[Effect, ...]:
        """Set up the default queues and the scenario's ports, queues and filters, one batch per adapter.

        If an adapter has too few buffers for a queue, the queue stays allocated, without buffers. Raises
        ``ValueError``, with the key, if the scenario is impossible.
        """
        effects: list[Effect] = []
        for adapter in self.adapters:
            effects += _set_up(adapter, adapter.spec)
        self.revision = 1
        return tuple(effects)

    def apply(self, op: str, params: Mapping[str, Any], observe: Observe) -> Outcome:
        """Carry out or refuse a request. A refused request and a dry run change nothing."""
        if self._stopping:
            return Outcome(NdisStatus.NOT_ACCEPTED, "the engine is stopping and takes no more requests")
        try:
            request = decode(op, params)
            adapter = self.adapter(request.adapter, needed=request.operation.needs_adapter)
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
        """Return the queues whose free is pending; call ``returned`` when all buffers of one are returned."""
        return tuple(
            FreeingQueue(adapter.index, queue_id)
            for adapter in self.adapters
            for queue_id in sorted(adapter.freeing)
        )

    def returned(self, adapter: int, queue_id: int) -> Outcome:
        """Complete the free of a queue that has no pending frames and no outstanding buffers left."""
        try:
            outcome = queue_requests.returned(self.adapters[adapter], queue_id)
        except NdisError as error:
            return Outcome(error.status, error.message)
        self.revision += 1
        return outcome

    def stop(self) -> tuple[Indication, ...]:
        """Refuse requests from now on and abort pending frees; return the events to publish."""
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

    def copy(self) -> "Host":
        """An independent copy; the history of events is shared."""
        other = Host.__new__(Host)
        other.scenario = self.scenario
        quota = self._quota.copy()
        other._quota = quota
        other.adapters = [adapter.copy(quota) for adapter in self.adapters]
        other.traffic = self.traffic.copy()
        other.balancing = self.balancing.copy()
        other.event_history = self.event_history
        other.revision = self.revision
        other._stopping = self._stopping
        return other

    def adapter(self, name: str | None, *, needed: bool = True) -> Adapter:
        """Return the adapter of this name; without one, the first, unless a host of several needs a name."""
        if name is None and (len(self.adapters) == 1 or not needed):
            return self.adapters[0]
        for adapter in self.adapters:
            if adapter.spec.name == name:
                return adapter
        fitting = ", ".join(show(adapter.spec.name) for adapter in self.adapters)
        what = "missing" if name is None else f"{show(name)} is not an adapter of this host"
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
    """Set up one adapter from its table in the scenario."""
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
            adapter.add_port(port.owner, key_of(parse_mac(port.mac), port.vlan))
        queue_ids = []
        for number, queue in enumerate(spec.queue):
            place = f"adapter[{adapter.index}].queue[{number}]"
            allocated = queue_requests.allocate_queue(
                adapter,
                observe,
                DEFAULT_DRIVER,
                name=queue.name or None,
                vm=queue.owner,
                cpu=queue.cpu or 0,
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
    # Compile the table once, after all filters and ports are set.
    effects = [effect for effect in effects if not isinstance(effect, SteeringChanged)]
    return [*effects, SteeringChanged(adapter.index)]


def with_team_ports(scenario: Scenario) -> list[AdapterSpec]:
    """Return the adapters; add to each member of a team in mode "min" or "primary" the others' ports.

    All members lead to the same switch. In mode "min", a VM's frames may arrive on any member, in mode
    "primary" on the first; in mode "sum", they arrive on the member that has the VM's port.
    """
    adapters = {adapter.name: adapter for adapter in scenario.adapter}
    for team in scenario.team:
        if team.mode != "sum":
            ports = [port for name in team.members for port in _ports(adapters[name])]
            for name in team.members:
                adapters[name] = _with_ports(adapters[name], ports)
    return list(adapters.values())


def _ports(adapter: AdapterSpec) -> list[PortSpec]:
    """Return the ports that the scenario lists and those that the filters of VMs' queues add."""
    implied = [
        PortSpec(vm=queue.vm, management_os=queue.management_os, mac=one.mac, vlan=one.vlan)
        for queue in adapter.queue
        if queue.owner is not None
        for one in queue.filter
    ]
    return [*adapter.port, *implied]


def _with_ports(adapter: AdapterSpec, ports: list[PortSpec]) -> AdapterSpec:
    """Add ports to an adapter, except those whose MAC and VLAN already have a port."""
    known = {(port.mac, port.vlan) for port in _ports(adapter)}
    new = {(port.mac, port.vlan): port for port in reversed(ports) if (port.mac, port.vlan) not in known}
    return msgspec.structs.replace(adapter, port=[*adapter.port, *reversed(new.values())])
