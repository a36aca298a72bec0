"""The model run faster than real time: the readings that a live engine would have sent."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine.scenario.model import Scenario
from engine.service.machine import Machine
from engine.service.sources import ActiveSource, synthetic_source
from engine.telemetry.stats import Stats
from engine.workers.conductor import Conductor


@dataclass
class Lab:
    """A machine fed by its scenario's traffic."""

    machine: Machine
    conductor: Conductor
    active: ActiveSource

    def request(self, op: str, params: Mapping[str, Any]) -> None:
        """Carry out a request now."""
        self.machine.request(op, dict(params))
        self.conductor.source = self.active.source

    def readings(self, seconds: float, interval_s: float = 0.25) -> Iterator[Stats]:
        """Go on for so long; a reading at each interval of simulated time."""
        start_ns, interval_ns = self.machine.plane.now_ns, round(interval_s * 1e9)
        for at_ns in range(start_ns + interval_ns, start_ns + round(seconds * 1e9) + 1, interval_ns):
            self.conductor.run_to(at_ns, self.machine.settle)
            yield self.machine.stats()

    def queue_id(self, vm: str) -> int:
        """The queue of a VM on the first adapter."""
        queues = self.machine.config().adapters[0].queues
        return next(queue.queue_id for queue in queues if queue.vm == vm)


@contextmanager
def lab(scenario: Scenario) -> Iterator[Lab]:
    """A machine that is up, and taken down again."""
    source = synthetic_source(scenario)
    active = ActiveSource(scenario, source)
    machine = Machine(scenario, active=active)
    try:
        yield Lab(machine, Conductor(machine.rounds, source), active)
    finally:
        machine.close()
        active.close()
