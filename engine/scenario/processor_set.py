"""A host's processor groups, and the processors that the keys of ``Set-NetAdapterVmq`` give an adapter.

Rules: a group has at most 64 processors and never cuts a NUMA node that fits one; an adapter's set is the
consecutive usable processors from a base on, within the base's group; with hyper-threading only processors
of even number are usable (Microsoft, "Set-NetAdapterVmq", "Processor Groups", "VMQ deep dive").
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

MAX_GROUP_SIZE: Final = 64
"""The most processors of a group, and one above the largest number within one."""

_NAMED: Final = 8
_PLACE: Final = re.compile(r"([0-9]{1,5}):([0-9]{1,5})")


class Place(NamedTuple):
    """A processor as Windows names it: its group, and its number within the group."""

    group: int
    number: int

    def __str__(self) -> str:
        return f"{self.group}:{self.number}"


class SetLine(NamedTuple):
    """A processor set in the parameters of ``Set-NetAdapterVmq``, all of them given."""

    group: int
    base_number: int
    max_number: int
    max_processors: int


class SetKeys(NamedTuple):
    """What is configured of an adapter's set; None: not known, or left to the system."""

    base: Place | None = None
    max: Place | None = None
    max_processors: int | None = None
    preferred_numa_node: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether any key is given; if none is, nothing is known of the set."""
        return any(key is not None for key in self)


def parse_place(text: str) -> Place | None:
    """Parse ``group:number``; None if ``text`` has another form."""
    found = _PLACE.fullmatch(text)
    return Place(int(found[1]), int(found[2])) if found and found[0].isascii() else None


def default_group_sizes(cpus: int, numa_nodes: int) -> tuple[int, ...]:
    """Return the sizes of a host's groups: as many whole NUMA nodes as fit; a node above 64 is cut."""
    node = cpus // numa_nodes
    if node > MAX_GROUP_SIZE:
        whole, rest = divmod(node, MAX_GROUP_SIZE)
        return (*[MAX_GROUP_SIZE] * whole, *[rest] * (rest > 0)) * numa_nodes
    nodes_of_group = MAX_GROUP_SIZE // node
    whole, rest = divmod(numa_nodes, nodes_of_group)
    return (*[nodes_of_group * node] * whole, *[rest * node] * (rest > 0))


@dataclass(frozen=True, eq=False)
class HostProcessors:
    """A host's processors by id: their places and NUMA nodes. Ids are in the order of groups and numbers.

    ``nodes`` lacks a processor whose node is unknown. ``hyperthreading`` None: unknown, and with it which
    processors VMQ uses; then no set and no line is known.
    """

    places: Mapping[int, Place]
    nodes: Mapping[int, int]
    hyperthreading: bool | None

    # --- names ------------------------------------------------------------------------------------

    def place(self, cpu: int) -> Place:
        """Return a processor's place; for one that the host does not have, as if groups were full."""
        return self.places.get(cpu) or Place(*divmod(cpu, MAX_GROUP_SIZE))

    def name(self, cpu: int) -> str:
        """Format a processor as group:number."""
        return str(self.place(cpu))

    def names(self, cpus: Iterable[int]) -> str:
        """Format processors as ranges: ``0:1..0:3, 0:6``. A range stays within a group."""
        runs: list[list[int]] = []
        for cpu in sorted(cpus):
            if runs and cpu == runs[-1][1] + 1 and self.place(cpu).group == self.place(cpu - 1).group:
                runs[-1][1] = cpu
            else:
                runs.append([cpu, cpu])
        words = []
        for low, high in runs:
            names = [self.name(low), self.name(high)]
            words += ["..".join(names)] if high > low + 1 else names[: 1 + high - low]
        return ", ".join(words[:_NAMED] + ["…"] * (len(words) > _NAMED))

    def names_of_set(self, cpus: Sequence[int]) -> str:
        """Format the processors of a set, each of them, or the first and the last few of many."""
        if self.hyperthreading and len(cpus) > _NAMED:
            return f"{self.name(cpus[0])}, {self.name(cpus[1])}..{self.name(cpus[-1])}"
        return self.names(cpus)

    @cached_property
    def by_place(self) -> Mapping[Place, int]:
        """Processors by their place."""
        return {place: cpu for cpu, place in self.places.items()}

    @cached_property
    def group_sizes(self) -> tuple[int, ...]:
        """For each group, one above the largest number within it."""
        sizes = [0] * (1 + max((place.group for place in self.places.values()), default=-1))
        for place in self.places.values():
            sizes[place.group] = max(sizes[place.group], place.number + 1)
        return tuple(sizes)

    @property
    def numa_nodes(self) -> int:
        """The number of NUMA nodes."""
        return 1 + max(self.nodes.values(), default=-1)

    @property
    def groups_in_words(self) -> str:
        """The names of all processors: ``0:0..0:39, 1:0..1:39``."""
        sizes = enumerate(self.group_sizes)
        return ", ".join(f"{g}:0..{g}:{size - 1}" if size > 1 else f"{g}:0" for g, size in sizes)

    # --- sets -------------------------------------------------------------------------------------

    def is_usable(self, cpu: int) -> bool:
        """Whether VMQ uses a processor: with hyper-threading only those of even number."""
        place = self.places.get(cpu)
        return place is not None and not (self.hyperthreading and place.number % 2)

    @cached_property
    def usable(self) -> tuple[int, ...]:
        """The processors that VMQ uses, in order."""
        return tuple(cpu for cpu in sorted(self.places) if self.is_usable(cpu))

    def given_by(self, line: SetLine) -> tuple[int, ...]:
        """Return the processors of the set that a line gives; empty if the host has none of them."""
        found = [
            cpu
            for cpu in self.usable
            if self.places[cpu].group == line.group
            and line.base_number <= self.places[cpu].number <= line.max_number
        ]
        return tuple(found[: line.max_processors])

    def line_for(self, cpus: Iterable[int]) -> SetLine | None:
        """Return the line that gives exactly these processors; None if no line does.

        No line gives a set that is empty, has holes, lies in two groups, or has an unusable processor.
        """
        wanted = sorted(set(cpus))
        if self.hyperthreading is None or not wanted or not all(self.is_usable(cpu) for cpu in wanted):
            return None
        first, last = self.places[wanted[0]], self.places[wanted[-1]]
        line = SetLine(first.group, first.number, last.number, len(wanted))
        return line if last.group == first.group and self.given_by(line) == tuple(wanted) else None

    def line_of(self, keys: SetKeys) -> SetLine:
        """Return the line for the keys of a set; keys that are left out have the values that bind least."""
        base = keys.base or Place(self._first_group(keys.preferred_numa_node), 0)
        highest = MAX_GROUP_SIZE - 1 if keys.max is None else keys.max.number
        most = len(self.places) if keys.max_processors is None else keys.max_processors
        return SetLine(base.group, base.number, highest, most)

    def configured(self, keys: SetKeys) -> tuple[int, ...] | None:
        """Return the processors of an adapter's set; None if it is unknown: no key is given, or it depends on
        an unknown node or on whether there is hyper-threading.

        With a preferred node these are the processors on it, unless none in the range is.
        """
        if not keys.is_known or self.hyperthreading is None:
            return None
        if keys.preferred_numa_node is not None and not self.places.keys() <= self.nodes.keys():
            return None
        line = self.line_of(keys)
        whole = self.given_by(line._replace(max_processors=len(self.places)))
        near = tuple(cpu for cpu in whole if self.nodes.get(cpu) == keys.preferred_numa_node)
        return (near or whole)[: line.max_processors]

    def _first_group(self, node: int | None) -> int:
        """Return the group in which a node begins; 0 without a node."""
        return min((self.places[cpu].group for cpu, one in self.nodes.items() if one == node), default=0)


@lru_cache(maxsize=64)
def host_processors(
    cpus: int, numa_nodes: int, hyperthreading: bool, group_sizes: tuple[int, ...] = ()
) -> HostProcessors:
    """Return a host's processors; without ``group_sizes`` its groups are the default ones."""
    places = groups_of(group_sizes or default_group_sizes(cpus, numa_nodes))
    nodes = {cpu: cpu * numa_nodes // cpus for cpu in range(cpus)}
    return HostProcessors(dict(enumerate(places[:cpus])), nodes, hyperthreading)


def groups_of(sizes: Sequence[int]) -> list[Place]:
    """Return the places of all processors of groups of these sizes, in order."""
    return [Place(group, number) for group, size in enumerate(sizes) for number in range(size)]
