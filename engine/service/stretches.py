"""A run looked at in short stretches: in which one each processor's queues dropped most."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from engine.advice.evidence import Evidence
from engine.service.machine import Machine
from engine.telemetry.stats import Stats

_SHORTEST_NS: Final = 100_000_000
_SO_MANY: Final = 256
"""Stretches of one length; then they are twice as long, so that a long run is not read for ever."""


class Stretches:
    """Follows a machine from ``begin`` on. ``worst`` has, by processor, what was seen in the stretch in which
    its queues dropped most."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._before: Stats | None = None
        self._most: Counter[int] = Counter()
        self.worst: dict[int, Evidence] = {}

    @staticmethod
    def pauses(start_ns: int) -> Iterator[int]:
        """When stretches end that begin at a time."""
        length_ns = _SHORTEST_NS
        while True:
            for _ in range(_SO_MANY):
                start_ns += length_ns
                yield start_ns
            length_ns *= 2

    def begin(self) -> Stats:
        """The first stretch begins now; the reading."""
        self._before = self._machine.stats()
        return self._before

    def end(self) -> Stats:
        """A stretch ends now, and the next one begins; the reading."""
        before, stats = self._before, self._machine.stats()
        self._before = stats
        evidence = Evidence(self._machine.config(), stats, before)
        if before is not None and evidence.usable and _dropped(stats) > _dropped(before):
            for cpu in evidence.cpus:
                drops = sum((queue.rate("dropped_no_buffer") or 0.0) for queue in cpu.queues)
                dropped = round(drops * evidence.span_s)
                if dropped > self._most[cpu.cpu]:
                    self._most[cpu.cpu] = dropped
                    self.worst[cpu.cpu] = evidence
        return stats


def _dropped(stats: Stats) -> int:
    return sum(sum(one.queues["dropped_no_buffer"]) for one in stats.adapters.values())
