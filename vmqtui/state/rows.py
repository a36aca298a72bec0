"""Rows defined only for the screen: hosts, events and findings."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from engine.advice.finding import SEVERITIES, Finding, Unchecked
from engine.telemetry.events import Event
from engine.view.adapter import AdapterView
from engine.view.pairs import NearMissView, PairView
from engine.view.rows import CpuView, FilterView, PortView, QueueView


class HostRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A host on the broker: its state and its totals. Only summaries provide the fields with a default."""

    host: str
    state: str
    version: str
    started_at: float
    cpus: int | None
    adapters: int | None
    queues: int | None
    filters: int | None
    sim_time_ns: int | None
    pps: float | None
    mbits: float | None
    drops: float | None
    age_s: float | None = None
    kind: str | None = None
    cpus_down: int | None = None
    busiest_cpu: int | None = None
    busiest_load: float | None = None
    default_pps: float | None = None
    bad: int | None = None
    cost: int | None = None
    note: int | None = None
    worst: str | None = None

    @property
    def identity(self) -> Hashable:
        return self.host


class EventRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An event, with the present name of the queue it is about; None if that is gone or has no name."""

    event: Event
    queue: str | None

    @property
    def identity(self) -> Hashable:
        return (self.event.seq, self.event.time_ns)


class FindingRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A finding on the screen. ``unseen_s`` is the simulated time since it was last seen; 0 if current."""

    finding: Finding
    unseen_s: float = 0.0

    @property
    def identity(self) -> Hashable:
        return self.finding.identity

    @property
    def adapter(self) -> str:
        return self.finding.adapter

    def concerns(self, adapter: str) -> bool:
        """Whether it is about an adapter, or its fix changes the adapter or the whole host."""
        changed = {request.params.get("adapter") for request in self.finding.requests}
        return adapter == self.adapter or bool(changed & {adapter, None})

    @property
    def label(self) -> str:
        return self.finding.where

    @property
    def rank(self) -> int:
        """Rank of its severity; 0 is the worst."""
        return SEVERITIES.index(self.finding.severity)


@dataclass(frozen=True)
class Advised:
    """The findings at one moment, worst first, from the last ``seconds`` of simulated time. ``whole``: that
    is a whole window. ``judged_ns`` is the simulated time at its end; None: nothing was judged yet.
    ``unchecked`` are the rules that could not look."""

    findings: tuple[Finding, ...] = ()
    judged_ns: int | None = None
    seconds: float = 0.0
    whole: bool = False
    unchecked: Sequence[Unchecked] = ()

    @cached_property
    def rows(self) -> tuple[FindingRow, ...]:
        now_ns = self.judged_ns or 0
        return tuple(FindingRow(one, (now_ns - one.last_seen_ns) / 1e9) for one in self.findings)


Row = (
    QueueView
    | FilterView
    | CpuView
    | PortView
    | AdapterView
    | HostRow
    | EventRow
    | PairView
    | NearMissView
    | FindingRow
)
