"""A machine: the control plane and data plane of one host; and the clock that advances it.

It accepts requests, applies their effects, and returns counters and events. Only one thread may use it, and
only between two rounds unless stated otherwise.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import msgspec

from engine.dataplane.plane import AdapterNeeds, Plane
from engine.kernels.jit import Kernel
from engine.kernels.layout import I64, NEVER_NS
from engine.ndis.effects import (
    Effect,
    Indication,
    RestartWorker,
    SetBalancer,
    SetLink,
    SetTraffic,
    SteeringChanged,
)
from engine.ndis.host import Host
from engine.ndis.outcome import Outcome
from engine.ndis.queue import State
from engine.scenario.model import Scenario
from engine.service.balancing import BalancerDriver
from engine.service.drop_episodes import DropEpisodes
from engine.service.rows import no_such
from engine.service.sources import ActiveSource
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.snapshot import AdapterRows, config_of, stats_of
from engine.telemetry.stats import Stats
from engine.workers.conductor import Conductor
from engine.workers.rounds import Rounds

WORKER_DEADLINE_S: Final = 5.0
"""Default time after which a worker that hangs is killed."""

HELD_LIMIT_BYTES: Final = 256 << 20
"""Limit of the bytes of a VM's receive buffers that are read at once."""

_EVENTS_KEPT: Final = 10_000


class Machine:
    """A running host. Raises NotEnoughMemoryError, ValueError for an impossible scenario.

    ``played`` is a description of the source that replaces the scenario's traffic. Requests that change the
    traffic or a link are applied to ``active``. ``deadline_s`` limits the time a worker may take for a round;
    None: no limit. ``former`` is a ``reusable`` machine of the same scenario and deadline: this one takes its
    workers and shared memory over, which is faster than starting them; if that fails, they are still its.
    ``kernels`` are the modules whose kernels its frames need; None: of all that are imported, of which some
    may have to be compiled.
    """

    def __init__(
        self,
        scenario: Scenario,
        played: str | None = None,
        *,
        active: ActiveSource | None = None,
        deadline_s: float | None = None,
        former: "Machine | None" = None,
        kernels: Sequence[str] | None = None,
    ) -> None:
        Kernel.load_all(kernels)  # not during a round
        self.plane: Plane
        self.rounds: Rounds
        self.host = Host(scenario, played)
        effects = self.host.start()
        self._active = active
        needs = [AdapterNeeds(one.max_steering_rows, one.max_vms) for one in self.host.adapters]
        self._events: list[Event] = []
        self._event_seq = 0
        self._stats_seq = 0
        self._rows: tuple[int, list[AdapterRows]] = (-1, [])
        self._drop_episodes = DropEpisodes()
        former_plane = None if former is None else former.plane
        former_rounds = None if former is None else former.rounds
        with ExitStack() as undo:
            self.plane = Plane(scenario, needs, former_plane)
            if former is None:
                undo.callback(self.plane.close)
            self.rounds = Rounds(self.plane, deadline_s, former_rounds)
            if former is None:
                undo.callback(self.rounds.close)
            self._carry_out(effects)
            self.balancing = BalancerDriver(self.host, self.plane, self.request)
            undo.pop_all()

    @property
    def reusable(self) -> bool:
        """Whether another machine can take over the workers and the shared memory of this one."""
        return self.rounds.reusable

    def request(self, op: str, params: Mapping[str, Any], cause: str | None = None) -> Outcome:
        """Apply a request; when this returns, its effects are carried out, or it was refused.

        ``cause``: that of the request's events, instead of words on the request.
        """
        outcome = self.host.apply(op, params, self.plane)
        self._carry_out(outcome.effects)
        self._publish(outcome.indications, cause)
        return outcome

    def settle(self) -> None:
        """After a round: restart dead workers, complete frees that waited for buffers, add events on both."""
        self.rounds.supervise()
        for freeing in self.host.freeing():
            gauges = self.plane.gauges(*freeing)
            if gauges.pending == 0 and gauges.outstanding == 0:
                outcome = self.host.returned(*freeing)
                self._carry_out(outcome.effects)
                self._publish(outcome.indications)
        self.report_workers()

    @property
    def next_free_ns(self) -> int:
        """The time after the last return that a pending free waits for; NEVER_NS if none is known."""
        returns = (self.plane.last_return_ns(*one) for one in self.host.freeing())
        return min((one + 1 for one in returns if one >= self.plane.now_ns), default=NEVER_NS)

    def report_workers(self) -> None:
        """Add an event for each worker incident; may be called during a round."""
        while self.rounds.incidents:
            incident = self.rounds.incidents.popleft()
            self.add_event(incident.kind, incident.cause)

    def stats(self, *, behind_ns: int = 0, skipped_ns: int = 0, numbered: bool = True) -> Stats:
        """Read every counter; add events for drop episodes that began or ended since the last reading.

        A reading that is not published is not ``numbered``: it repeats the previous sequence number.
        """
        if self._rows[0] != self.host.revision:
            self._rows = (self.host.revision, self._adapter_rows())
        self._stats_seq += numbered
        stats = stats_of(
            self.plane.read(),
            self._rows[1],
            seq=self._stats_seq,
            time_ns=time.time_ns(),
            revision=self.host.revision,
            down=self.rounds.down,
            behind_ns=behind_ns,
            skipped_ns=skipped_ns,
            interfaces=self._active.interface_counters() if self._active is not None else None,
        )
        for event in self._drop_episodes.take(stats):
            self.add_event(*event)
        return stats

    def latency(self) -> dict[str, dict[int, I64]]:
        """Histograms (LATENCY_BUCKETS,) of the time from arrival to indication, by adapter and queue id."""
        return {
            adapter.spec.name: {
                queue_id: self.plane.latency(self.plane.slot(adapter.index, queue_id)).copy()
                for queue_id in sorted(adapter.queues)
            }
            for adapter in self.host.adapters
        }

    def frames_held(self, vm: str, adapter: str | None = None) -> list[bytes]:
        """Return the frames that a VM has yet to return, by adapter and queue id, in order of indication.

        ``adapter`` limits them to one adapter. Raises NoSuchRowError if no such adapter has the VM,
        ValueError above ``HELD_LIMIT_BYTES``.
        """
        known = list(dict.fromkeys(name for one in self.host.adapters for name in one.vms))
        among = [one for one in self.host.adapters if adapter in (None, one.spec.name)]
        if not among:
            raise no_such("adapter", adapter, [one.spec.name for one in self.host.adapters])
        if not isinstance(vm, str) or not any(vm in one.vms for one in among):
            raise no_such("vm", vm, known)
        held = [
            (one, queue_id)
            for one in among
            for queue_id, queue in sorted(one.queues.items())
            if queue.vm == vm
        ]
        size = sum(
            self.plane.gauges(one.index, queue_id).outstanding * one.spec.max_frame_bytes
            for one, queue_id in held
        )
        if size > HELD_LIMIT_BYTES:
            raise ValueError(
                f"memory: {vm} holds buffers of {size:,} bytes ({HELD_LIMIT_BYTES:,} fit; name one adapter=)"
            )
        return [frame for one, queue_id in held for frame in self.plane.held(one.index, queue_id)]

    def config(self) -> Config:
        """The host's current configuration."""
        return config_of(self.host)

    def add_event(
        self,
        event: str,
        cause: str,
        adapter: str | None = None,
        queue_id: int | None = None,
        state: str | None = None,
    ) -> None:
        """Record an event; at ``_EVENTS_KEPT`` unpublished events, drop the oldest one."""
        self._event_seq += 1
        if len(self._events) == _EVENTS_KEPT:
            del self._events[0]
        published = Event(
            seq=self._event_seq,
            sim_time_ns=self.plane.now_ns,
            time_ns=time.time_ns(),
            event=event,
            adapter=adapter,
            queue_id=queue_id,
            state=state,
            cause=cause,
        )
        self._events.append(published)
        self.host.event_history.add(msgspec.to_builtins(published), len(msgspec.msgpack.encode(published)))

    def take_events(self) -> list[Event]:
        """Return and clear the events added since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Refuse further requests; abort each pending queue free, with an event."""
        self._publish(self.host.stop())

    def close(self) -> None:
        """End the workers and remove the shared memory."""
        try:
            self.rounds.close()
        finally:
            self.plane.close()

    def _carry_out(self, effects: tuple[Effect, ...]) -> None:
        changed: dict[int, None] = {}
        for effect in effects:
            if isinstance(effect, SteeringChanged):
                changed[effect.adapter] = None
            elif isinstance(effect, SetTraffic | SetLink):
                if self._active is not None:
                    self._active.carry_out(effect, self.plane.now_ns)
            elif isinstance(effect, RestartWorker):
                self.rounds.restarts.restart(effect.cpu)
            elif isinstance(effect, SetBalancer):
                self.balancing.begin()
            else:
                self.plane.carry_out(effect)
        for adapter in changed:
            self.plane.write_steering(adapter, self.host.adapters[adapter].steering_rows())
        self.rounds.held_apart = bool(self.host.freeing())
        if effects:
            self.plane.set_speeds(
                {
                    queue.cpu
                    for adapter in self.host.adapters
                    for queue in adapter.queues.values()
                    if queue.state is State.RUNNING
                }
            )

    def _publish(self, indications: tuple[Indication, ...], cause: str | None = None) -> None:
        for one in indications:
            name = None if one.adapter is None else self.host.adapters[one.adapter].spec.name
            self.add_event(one.event, cause or one.cause, name, one.queue_id, one.state)

    def _adapter_rows(self) -> list[AdapterRows]:
        rows = []
        for adapter in self.host.adapters:
            ids = sorted(adapter.queues)
            rows.append(
                AdapterRows(
                    name=adapter.spec.name,
                    slot_base=self.plane.slot(adapter.index, 0),
                    filter_base=self.plane.filter_base(adapter.index),
                    queue_ids=ids,
                    generations=[adapter.queues[queue_id].generation for queue_id in ids],
                    filter_ids=sorted(adapter.filters),
                )
            )
        return rows


def _nothing() -> None:
    """The default callback."""


Progress = Callable[[str, float | None], None]
"""Receives what is done now, as a sentence, and its finished share (0..1), None if that is unknown."""


class SimClock:
    """Advances a machine through simulated time as fast as possible; runs its balancer at the due times.

    ``after_round`` is called between rounds, ``after_decision`` after each decision of the balancer.
    """

    def __init__(
        self,
        conductor: Conductor,
        machine: Machine,
        after_round: Callable[[], None] = _nothing,
        after_decision: Callable[[], None] = _nothing,
    ) -> None:
        self._conductor = conductor
        self._machine = machine
        self._after_round = after_round
        self._after_decision = after_decision

    def advance_to(self, horizon_ns: int) -> None:
        """Advance to ``horizon_ns``; a decision due exactly then is left to the next call."""
        while (due_ns := self._machine.balancing.due_ns) < horizon_ns:
            self._conductor.run_to(due_ns, self._after_round)
            self._decide()
        self._conductor.run_to(horizon_ns, self._after_round)

    def advance_to_end(
        self, pauses: Iterator[int] | None = None, at_pause: Callable[[], object] = _nothing
    ) -> None:
        """Advance to the last frame, then until no frame is pending or outstanding.

        ``at_pause`` is called at each time of ``pauses`` (ns, ascending). This and the balancer's decisions
        stop with the last frame, so that neither delays the end.
        """
        pauses = iter(()) if pauses is None else pauses
        pause_ns = next(pauses, NEVER_NS)
        while self._conductor.next_arrival_ns < NEVER_NS:
            due_ns = self._machine.balancing.due_ns
            stop_ns = min(due_ns, pause_ns)
            if stop_ns == NEVER_NS:
                break
            self._conductor.run_to(stop_ns, self._after_round, or_to_end=True)
            if self._conductor.next_arrival_ns == NEVER_NS:
                break
            if stop_ns == due_ns:
                self._decide()
            if stop_ns == pause_ns:
                at_pause()
                pause_ns = next(pauses, NEVER_NS)
        self._conductor.run_to_end(self._after_round)

    def _decide(self) -> None:
        """Run the balancer's decision that is due; skip those before the next frame or event."""
        balancing = self._machine.balancing
        balancing.settle()
        balancing.skip_to(min(self._conductor.next_arrival_ns, self._machine.plane.next_event_ns))
        self._after_decision()
