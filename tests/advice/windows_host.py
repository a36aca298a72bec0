"""The state of a small Windows host: processor groups, adapters with their configured sets, teams, vNICs.

The arithmetic of sets and event 106 is that of KB 2974384. It shares no code with the engine.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, combinations
from typing import Final, Literal

from tests.advice.windows_lines import RELEASES

Processor = tuple[int, int]
"""A group and a number in it."""

NO_NODE: Final = 65535


@dataclass(frozen=True)
class Vmq:
    """The configured set of an adapter, as Get-NetAdapterVmq shows it; the defaults are a fresh adapter's."""

    group: int = 0
    base: int = 0
    max_number: int | None = None
    max_processors: int | None = None
    node: int | None = None


@dataclass(frozen=True)
class Adapter:
    """A physical adapter. ``setting`` None: not known; then the set is where its queues are."""

    name: str
    setting: Vmq | None = Vmq()
    link_gbps: float = 10.0
    ndis: tuple[int, int] = (6, 30)
    vmq: bool = True
    queues_on: frozenset[Processor] = frozenset()
    most_receive_buffers: int | None = None


@dataclass(frozen=True)
class Vlan:
    """A vNIC's VLAN mode and the VLANs that reach it; 0 stands for untagged."""

    mode: Literal["Access", "Trunk", "Untagged"] = "Untagged"
    ids: frozenset[int] = frozenset({0})

    @classmethod
    def of(cls, ids: Iterable[int]) -> "Vlan":
        """The mode that gives a vNIC these VLANs."""
        vlans = frozenset(ids)
        if len(vlans) > 1:
            return cls("Trunk", vlans)
        return cls("Access" if vlans - {0} else "Untagged", vlans or frozenset({0}))


@dataclass(frozen=True)
class Vnic:
    """A virtual network adapter; ``vm`` None is one of the host itself."""

    vm: str | None
    name: str = "Network Adapter"
    vlan: Vlan = Vlan()
    weight: int = 100
    adapters: tuple[str, ...] = ()  # behind its switch


@dataclass(frozen=True)
class Team:
    name: str
    members: tuple[str, ...]
    mode: Literal["sum", "min", "primary"] = "sum"
    lbfo: bool = True


@dataclass(frozen=True)
class Host:
    """A host, and ``asked``: adapters whose driver was asked for its most receive buffers."""

    release: str = "2012 R2"
    groups: tuple[int, ...] = (8,)
    hyperthreading: bool = False
    nodes: int = 1
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    vnics: tuple[Vnic, ...] = ()
    teams: tuple[Team, ...] = ()
    asked: frozenset[str] = frozenset()

    def has(self, release: str) -> bool:
        """Whether this release is that one or later."""
        return RELEASES.index(self.release) >= RELEASES.index(release)

    def processor(self, index: int) -> Processor:
        """The group and number of the processor that the host counts as ``index``."""
        ends = list(accumulate(self.groups))
        group = next(number for number, end in enumerate(ends) if index < end)
        return group, index - (ends[group] - self.groups[group])

    def node_of(self, one: Processor) -> int:
        index = sum(self.groups[: one[0]]) + one[1]
        return index * self.nodes // sum(self.groups)

    def span(self, vmq: Vmq) -> frozenset[Processor]:
        """The processors that a setting gives: consecutive usable ones of one group (KB 2974384)."""
        if vmq.group >= len(self.groups):
            return frozenset()
        last = self.groups[vmq.group] - 1
        if vmq.max_number is not None:
            last = min(last, vmq.max_number)
        usable = [n for n in range(vmq.base, last + 1) if not (self.hyperthreading and n % 2)]
        found = [(vmq.group, n) for n in usable[: vmq.max_processors]]
        if vmq.node in (None, NO_NODE):
            return frozenset(found)
        near = frozenset(one for one in found if self.node_of(one) == vmq.node)
        return near or frozenset(found)  # a node without any of them: not documented

    def processors_of(self, name: str) -> frozenset[Processor]:
        """The processors that serve an adapter's queues; none with VMQ off."""
        one = self.adapters[name]
        if not one.vmq:
            return frozenset()
        return one.queues_on if one.setting is None else self.span(one.setting)

    def clashes(self) -> dict[tuple[str, str], frozenset[Processor]]:
        """Pairs of members whose sets are wrong for their team, and the processors in dispute: event 106."""
        found: dict[tuple[str, str], frozenset[Processor]] = {}
        for team in self.teams:
            serving = [name for name in team.members if self.adapters[name].vmq]
            for one, other in combinations(serving, 2):
                mine, theirs = self.processors_of(one), self.processors_of(other)
                dispute = mine & theirs if team.mode == "sum" else mine ^ theirs
                if dispute:
                    found[one, other] = dispute
        return found

    def mode_of(self, pair: tuple[str, str]) -> str:
        """The mode of the team of two members."""
        return next(team.mode for team in self.teams if pair[0] in team.members)
