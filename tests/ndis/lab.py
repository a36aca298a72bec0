"""A small host to send requests to, and a data plane that holds buffers as it is told."""

from dataclasses import dataclass, field
from typing import Any

from engine.ndis.effects import (
    CloseQueue,
    Effect,
    ForgetVm,
    HoldBuffers,
    OpenQueue,
    QueueGauges,
    ReturnBuffers,
    SetBuffers,
)
from engine.ndis.host import Host
from engine.ndis.outcome import Outcome
from engine.scenario.model import AdapterSpec, HostSpec, Scenario

MAC = "00:15:5d:00:00:01"
OTHER_MAC = "00:15:5d:00:00:02"


@dataclass
class Held:
    """Buffers of one queue: what it shall own, what it owns, and how many of those its VM has, or keeps."""

    vm: int | None = None
    kept: bool = False
    target: int = 0
    total: int = 0
    outstanding: int = 0


@dataclass
class Buffers:
    """A data plane without frames: buffers are taken and given back by the test."""

    held: dict[tuple[int, int], Held] = field(default_factory=dict)

    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        queue = self.held[adapter, queue_id]
        return QueueGauges(0, queue.outstanding, queue.total)

    def carry_out(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case OpenQueue(adapter, queue_id):
                    assert (adapter, queue_id) not in self.held
                    self.held[adapter, queue_id] = Held(effect.vm)
                case SetBuffers(adapter, queue_id, count):
                    queue = self.held[adapter, queue_id]
                    queue.target = count
                    if count > queue.total:
                        queue.total = count
                    else:
                        queue.total = max(count, queue.outstanding)
                case HoldBuffers(adapter, queue_id, kept):
                    queue = self.held[adapter, queue_id]
                    assert queue.kept != kept
                    queue.kept = kept
                case ReturnBuffers(adapter, queue_id):
                    self._return(self.held[adapter, queue_id], self.held[adapter, queue_id].outstanding)
                case CloseQueue(adapter, queue_id):
                    assert self.held.pop((adapter, queue_id)).outstanding == 0
                case ForgetVm(adapter, vm):
                    left = [queue.vm for (where, _), queue in self.held.items() if where == adapter]
                    assert vm not in left
                case _:
                    pass

    def take(self, queue_id: int, count: int, adapter: int = 0) -> None:
        """Frames arrive and are indicated."""
        queue = self.held[adapter, queue_id]
        assert queue.outstanding + count <= queue.total
        queue.outstanding += count

    def give_back(self, queue_id: int, count: int, adapter: int = 0) -> None:
        """The VM returns buffers; a queue that shrinks gives them up."""
        assert not self.held[adapter, queue_id].kept
        self._return(self.held[adapter, queue_id], count)

    def _return(self, queue: Held, count: int) -> None:
        queue.outstanding -= count
        queue.total = max(queue.target, queue.total - count)


@dataclass
class Lab:
    """A started host and its buffers. Requests are asserted to be accepted unless ``refused`` sends them."""

    host: Host
    plane: Buffers

    def send(self, op: str, **params: Any) -> Outcome:
        outcome = self.host.apply(op, params, self.plane)
        self.plane.carry_out(outcome.effects)
        return outcome

    def accept(self, op: str, **params: Any) -> Outcome:
        outcome = self.send(op, **params)
        assert outcome.status == "ok", outcome.message
        return outcome

    def refuse(self, op: str, **params: Any) -> tuple[str, str]:
        """The status, short, and the message of a request that must be refused and change nothing."""
        before = snapshot(self.host)
        outcome = self.send(op, **params)
        assert outcome.status == "error"
        assert snapshot(self.host) == before
        assert (outcome.effects, outcome.indications, outcome.changed) == ((), (), False)
        return outcome.ndis_status.removeprefix("NDIS_STATUS_"), outcome.message

    def allocate(self, **params: Any) -> int:
        given = {"name": "web", "vm": "web", "cpu": 1, "buffers": 8, **params}
        queue_id: int = self.accept("allocate_queue", **given).result["queue_id"]
        return queue_id

    def running(self, mac: str = MAC, vlan: object = 10, **params: Any) -> int:
        """The id of a new running queue with one filter."""
        queue_id = self.allocate(**params)
        owner = {"driver": params["driver"]} if "driver" in params else {}
        self.accept("set_filter", queue_id=queue_id, mac=mac, vlan=vlan, **owner)
        entries = self.accept("complete_allocation", queue_ids=[queue_id], **owner).result["queues"]
        assert entries[0]["ndis_status"] == "NDIS_STATUS_SUCCESS", entries
        return queue_id

    def paused(self, **params: Any) -> int:
        queue_id = self.allocate(**params)
        owner = {"driver": params["driver"]} if "driver" in params else {}
        self.accept("complete_allocation", queue_ids=[queue_id], **owner)
        return queue_id

    def state(self, queue_id: int) -> str:
        for queue in self.accept("enum_queues").result["queues"]:
            if queue["queue_id"] == queue_id:
                state: str = queue["state"]
                return state
        return "undefined"

    def vm_paused(self) -> dict[int, bool]:
        """``vm_paused`` by queue id."""
        return {one["queue_id"]: one["vm_paused"] for one in self.accept("enum_queues").result["queues"]}

    def returned(self, queue_id: int) -> Outcome:
        outcome = self.host.returned(0, queue_id)
        self.plane.carry_out(outcome.effects)
        return outcome


def lab(**adapter: Any) -> Lab:
    """A host of four processors with one adapter of 6 queues, 8 filters and 100 buffers."""
    spec = {"max_queues": 6, "max_filters": 8, "buffers": 100, "default_queue_buffers": 10, **adapter}
    return start(Scenario(host=HostSpec(name="hv", cpus=4), adapter=[AdapterSpec(**spec)]))


def start(scenario: Scenario) -> Lab:
    """A started host of a scenario."""
    started = Lab(Host(scenario), Buffers())
    started.plane.carry_out(started.host.start())
    return started


def snapshot(host: Host) -> list[Any]:
    """All that a request could change."""
    return [
        host.revision,
        host.freeing(),
        host.traffic.spec,
        *(
            (
                adapter.describe(),
                dict(adapter.vms),
                set(adapter.paused_vms),
                {queue_id: adapter.budget.share(queue_id) for queue_id in adapter.queues},
            )
            for adapter in host.adapters
        ),
    ]


def told(outcome: Outcome) -> list[tuple[str, int | None, str | None]]:
    """What an outcome indicates, without adapter and cause."""
    return [(one.event, one.queue_id, one.state) for one in outcome.indications]
