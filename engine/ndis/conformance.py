"""The control plane as an oracle for tests: requests and held buffers; no frames, no processes, no clock."""

from dataclasses import dataclass, replace
from typing import Any

from engine.ndis.adapter import Adapter
from engine.ndis.effects import (
    CloseQueue,
    Effect,
    HoldBuffers,
    Indication,
    OpenQueue,
    QueueGauges,
    ReturnBuffers,
    SetBuffers,
)
from engine.ndis.host import Host
from engine.ndis.outcome import NdisError, Outcome
from engine.ndis.queue import DEFAULT_QUEUE, Queue, State
from engine.scenario.load import ScenarioSource, load_scenario
from engine.scenario.values import show


@dataclass
class _QueueBuffers:
    """Buffers of a queue: its share, those it owns, those its VM holds. ``kept``: the VM is paused."""

    share: int = 0
    owned: int = 0
    held: int = 0
    kept: bool = False

    def give_back(self, count: int) -> None:
        self.held -= count
        self.owned = max(self.share, self.owned - count)


class _Buffers:
    """A data plane that has no frames: it counts the buffers that VMs hold."""

    def __init__(self) -> None:
        self.of: dict[tuple[int, int], _QueueBuffers] = {}

    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        queue = self.of[adapter, queue_id]
        return QueueGauges(0, queue.held, queue.owned)

    def carry_out(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case OpenQueue(adapter, queue_id):
                    self.of[adapter, queue_id] = _QueueBuffers()
                case SetBuffers(adapter, queue_id, count):
                    queue = self.of[adapter, queue_id]
                    queue.share = count
                    queue.owned = count if count > queue.owned else max(count, queue.held)
                case HoldBuffers(adapter, queue_id, kept):
                    self.of[adapter, queue_id].kept = kept
                case ReturnBuffers(adapter, queue_id):
                    queue = self.of[adapter, queue_id]
                    queue.give_back(queue.held)
                case CloseQueue(adapter, queue_id):
                    del self.of[adapter, queue_id]
                case _:  # The other effects concern frames, processors and the clock.
                    pass

    def copy(self) -> "_Buffers":
        other = _Buffers()
        other.of = {place: replace(queue) for place, queue in self.of.items()}
        return other


class ConformanceModel:
    """The control plane of a started host; each request gets the answer that an engine would give.

    Send a driver or a tool the same requests and compare the statuses. ``scenario`` has the forms that
    ``Engine`` accepts. There are no frames: ``hold`` and ``give_back`` stand for frames that a VM receives
    and for buffers that it returns. ``query_events`` finds no events; answers have them as ``indications``.
    ``adapter``, a name, may be left out if the host has one adapter. Not thread-safe. Raises
    ``ScenarioError``, or ``ValueError`` for a scenario that is impossible.
    """

    def __init__(self, scenario: ScenarioSource = None) -> None:
        self._host = Host(load_scenario(scenario))
        self._buffers = _Buffers()
        self._buffers.carry_out(self._host.start())

    def __repr__(self) -> str:
        adapters = ", ".join(
            f"{adapter.spec.name}: {', '.join(f'{one.queue_id} {one.state}' for one in _sorted(adapter))}"
            for adapter in self._host.adapters
        )
        return f"<ConformanceModel revision {self.revision}, {adapters}>"

    @property
    def revision(self) -> int:
        """The number of the configuration; it grows with each request that changes something."""
        return self._host.revision

    def request(self, op: str, /, **params: Any) -> Outcome:
        """Carry out or refuse a request; a refused request and a dry run (``what_if``) change nothing."""
        outcome = self._host.apply(op, params, self._buffers)
        self._buffers.carry_out(outcome.effects)
        return outcome

    def state(self, queue_id: int, adapter: str | None = None) -> str:
        """Return the state of a queue; "undefined" if there is none with this id."""
        queue = self._adapter(adapter).queues.get(queue_id)
        return str(State.UNDEFINED if queue is None else queue.state)

    def states(self, adapter: str | None = None) -> dict[int, str]:
        """Return the states of all queues, keyed and sorted by id; queue 0 is the default queue."""
        return {queue.queue_id: str(queue.state) for queue in _sorted(self._adapter(adapter))}

    def held(self, queue_id: int, adapter: str | None = None) -> int:
        """Return the number of buffers of a queue that its VM holds."""
        return self._of(self._adapter(adapter), queue_id).held

    def hold(self, queue_id: int, buffers: int = 1, adapter: str | None = None) -> None:
        """Let the VM of a running queue receive frames in this number of buffers. Raises ``ValueError``."""
        of_adapter = self._adapter(adapter)
        queue = self._of(of_adapter, queue_id)
        free = queue.owned - queue.held
        if not of_adapter.queues[queue_id].takes_frames:
            if queue_id == DEFAULT_QUEUE:
                raise ValueError("queue 0 is the default queue, which no VM holds (a VM's queue fits)")
            state = self.state(queue_id, adapter)
            raise ValueError(f"queue {queue_id} is {state} and receives no frame (a running queue fits)")
        if not 0 <= buffers <= free:
            raise ValueError(f"buffers: {show(buffers)} of queue {queue_id} are not free (0..{free} fits)")
        queue.held += buffers

    def give_back(
        self, queue_id: int, buffers: int | None = None, adapter: str | None = None
    ) -> tuple[Indication, ...]:
        """Let the VM return buffers of a queue: all that it holds, or this number. Raises ``ValueError``.

        If a free of the queue waits for them and none is left, the queue is freed; return that event.
        """
        of_adapter = self._adapter(adapter)
        queue = self._of(of_adapter, queue_id)
        count = queue.held if buffers is None else buffers
        if queue.kept:
            raise ValueError(f"queue {queue_id}: its VM is paused and returns no buffer (resume_vm first)")
        if not 0 <= count <= queue.held:
            raise ValueError(
                f"buffers: {show(buffers)} of queue {queue_id} are not held (0..{queue.held} fits)"
            )
        queue.give_back(count)
        if queue.held or queue_id not in of_adapter.freeing:
            return ()
        outcome = self._host.returned(of_adapter.index, queue_id)
        self._buffers.carry_out(outcome.effects)
        return outcome.indications

    def stop(self) -> tuple[Indication, ...]:
        """Stop the host, as the end of an engine does: abort pending frees; return their events."""
        return self._host.stop()

    def copy(self) -> "ConformanceModel":
        """Return an independent copy, to try several continuations from one state."""
        other = ConformanceModel.__new__(ConformanceModel)
        other._host = self._host.copy()
        other._buffers = self._buffers.copy()
        return other

    def _adapter(self, name: str | None) -> Adapter:
        try:
            return self._host.adapter(name)
        except NdisError as error:
            raise ValueError(error.message) from None

    def _of(self, adapter: Adapter, queue_id: int) -> _QueueBuffers:
        try:
            return self._buffers.of[adapter.index, adapter.find(queue_id).queue_id]
        except NdisError as error:
            raise ValueError(error.message) from None


def _sorted(adapter: Adapter) -> list[Queue]:
    return [queue for _, queue in sorted(adapter.queues.items())]
