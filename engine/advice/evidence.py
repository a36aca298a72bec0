"""The input of the rules: one host at a moment, with the history that its counters don't show."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from engine.advice.trail import Trace
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats
from engine.view.adapter import AdapterView
from engine.view.host import HostTables
from engine.view.rates import known_sum


@dataclass(frozen=True, eq=False)
class Team:
    """Adapters that receive as one. ``mode`` is "sum" or "min", or another writer's word."""

    name: str
    mode: str
    members: Sequence[AdapterView]


@dataclass(frozen=True, eq=False)
class Evidence(HostTables):
    """A host at one moment. Rates are since ``before``, or, without it, since the start.

    ``worst`` has, by processor, the short stretch of that time in which its queues dropped most; none where
    stretches were not recorded or nothing was dropped.
    """

    known_only = True

    config: Config
    stats: Stats
    before: Stats | None = None
    trace: Trace = field(default_factory=Trace)
    worst: "Mapping[int, Evidence]" = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def span_s(self) -> float:
        """Simulated time that rates are taken over."""
        return (self.stats.sim_time_ns - (self.before.sim_time_ns if self.before else 0)) / 1e9

    @property
    def usable(self) -> bool:
        """Whether configuration and reading are of one another, and time passed."""
        return self.span_s > 0 and self.config.revision == self.stats.revision

    @cached_property
    def by_name(self) -> dict[str, AdapterView]:
        return {one.adapter: one for one in self.adapters}

    @cached_property
    def teams(self) -> tuple[Team, ...]:
        """The teams, in the order of their first members."""
        members: defaultdict[tuple[str, str], list[AdapterView]] = defaultdict(list)
        for one in self.adapters:
            if one.known.team is not None:
                members[one.known.team, one.known.team_mode or ""].append(one)
        return tuple(Team(name, mode, adapters) for (name, mode), adapters in members.items())

    @property
    def is_balanced(self) -> bool:
        """Whether the host's balancer is on."""
        return bool(self.config.balancer.get("mode", "off") == "dynamic")

    @cached_property
    def demand(self) -> dict[int, float]:
        """By processor: the part of its cycles that its queues would take; may be above 1."""
        return {cpu.id: max(cpu.load or 0.0, sum(cpu.demand(one) for one in cpu.queues)) for cpu in self.cpus}

    def rate(self, name: str) -> float | None:
        """Of all queues together; None when it is known of none."""
        return known_sum(queue.rate(name) for queue in self.queues)

    @property
    def busiest(self) -> float | None:
        """The load of the processor that has most to do."""
        return max((one.load for one in self.cpus if one.load is not None), default=None)
