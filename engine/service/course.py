"""A machine on its way through simulated time, as fast as it goes, its balancer deciding when due."""

from collections.abc import Callable, Iterator

from engine.kernels.layout import NEVER_NS
from engine.service.machine import Machine
from engine.workers.conductor import Conductor


def _nothing() -> None:
    """The default of what follows a round or a decision."""


class Course:
    """One machine on its way. ``after_round`` is called between rounds, ``after_decision`` when the balancer
    has looked, and moved what it would."""

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

    def go_to(self, horizon_ns: int) -> None:
        """Go on to a time; a decision that is due then is made by who goes on from there."""
        while (due_ns := self._machine.balancing.due_ns) < horizon_ns:
            self._conductor.run_to(due_ns, self._after_round)
            self._decide()
        self._conductor.run_to(horizon_ns, self._after_round)

    def go_to_end(
        self, pauses: Iterator[int] | None = None, at_pause: Callable[[], object] = _nothing
    ) -> None:
        """Go on to the last frame, and until nothing is pending or outstanding.

        The balancer decides as long as frames come, and pauses (ns, in order) are made as long, so neither
        puts off the end.
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
        """Let the balancer decide, and leave out the decisions in which it would find nothing to do."""
        balancing = self._machine.balancing
        balancing.settle()
        balancing.skip_to(min(self._conductor.next_arrival_ns, self._machine.plane.next_event_ns))
        self._after_decision()
