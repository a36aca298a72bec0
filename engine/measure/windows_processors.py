"""A Windows host's processors, their groups and NUMA nodes, and which of them an affinity names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.measure.windows_tables import Remarks, Row, WindowsTables
from engine.scenario.keys import MAX_CPUS
from engine.scenario.processor_set import MAX_GROUP_SIZE, Place, default_group_sizes
from engine.telemetry.config import CpuConfig

PROCESSOR_COUNTERS: Final = "Win32_PerfRawData_Counters_ProcessorInformation"
_PROCESSOR: Final = re.compile(r"(\d{1,3}):(\d{1,3})")


@dataclass(frozen=True)
class Processors:
    cpus: Sequence[CpuConfig]
    hyperthreading: bool | None
    numa_nodes: int | None
    places: Mapping[Place, int]


def processor_names(rows: Iterable[Row]) -> dict[str, int]:
    """The processors of the counter set Processor Information, by instance, numbered in their order.

    An instance is "NODE,NUMBER" (Microsoft: the NUMA node, and the index in the node).
    """
    found = []
    for row in rows:
        node, comma, number = row.text("Name").partition(",")
        if comma and node.strip().isdecimal() and number.strip().isdecimal() and len(node + number) < 12:
            found.append((int(node), int(number), row.text("Name")))
    return {name: cpu for cpu, (_, _, name) in enumerate(sorted(set(found)))}


def read_processors(tables: WindowsTables) -> Processors:
    sockets, remarks = tables.rows("Win32_Processor"), tables.remarks
    logical = _total(row.number("NumberOfLogicalProcessors", 4096) for row in sockets)
    cores = _total(row.number("NumberOfCores", 4096) for row in sockets)
    sampled = tables.samples[0].rows(PROCESSOR_COUNTERS) if tables.samples else []
    names = processor_names(sampled)
    used = [Place(int(group), int(number)) for group, number in _named_places(tables)]
    count = len(names) or logical
    if not count:
        count = 1 + max((place.number for place in used), default=0)
        remarks.add("the number of processors is not known: those are shown that queues or RSS use")
    hyperthreading = None if not logical or not cores else logical > cores
    nodes = _nodes(tables, count, sorted(names, key=names.__getitem__))
    if nodes is None:
        remarks.add("no NUMA nodes of processors are known")
    sizes = _group_sizes(count, 1 + max(nodes or [0]), used, remarks)
    places = [Place(group, number) for group, size in enumerate(sizes) for number in range(size)][:MAX_CPUS]
    if count > MAX_CPUS:
        remarks.add(f"of {count} processors the first {MAX_CPUS} are shown")
    cpus = [
        CpuConfig(
            id=cpu,
            name=str(place),
            core=None if hyperthreading is None else cpu // 2 if hyperthreading else cpu,
            numa_node=nodes[cpu] if nodes else None,
        )
        for cpu, place in enumerate(places)
    ]
    return Processors(
        cpus,
        hyperthreading,
        1 + max(nodes) if nodes else None,
        {place: cpu for cpu, place in enumerate(places)},
    )


def _total(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if not known or None in known else sum(number or 0 for number in known)


def _named_places(tables: WindowsTables) -> Iterable[tuple[str, str]]:
    for row in tables.rows("Get-NetAdapterRss"):
        for text in row.texts("RssProcessorArray"):
            yield from _PROCESSOR.findall(text)[:1]
    for row in tables.rows("Get-NetAdapterVmqQueue"):
        place = affinity(row)
        if place is not None:
            yield str(place.group), str(place.number)


def _nodes(tables: WindowsTables, count: int, names: Sequence[str]) -> list[int] | None:
    """The NUMA node of each processor: nodes follow each other, as Windows numbers processors."""
    sizes = [len(row.texts("ProcessorsAvailability")) for row in tables.rows("Get-VMHostNumaNode")]
    if sizes and sum(sizes) == count and all(sizes):
        return [node for node, size in enumerate(sizes) for _ in range(size)]
    if len(sizes) > 1 and count % len(sizes) == 0:
        return [cpu * len(sizes) // count for cpu in range(count)]
    if len(names) == count:
        order = sorted({int(name.partition(",")[0]) for name in names})
        return [order.index(int(name.partition(",")[0])) for name in names]
    return [0] * count if len(sizes) == 1 else None


def _group_sizes(count: int, nodes: int, used: Sequence[Place], remarks: Remarks) -> Sequence[int]:
    least = [0] * (1 + max((place.group for place in used), default=0))
    for place in used:
        least[place.group] = max(least[place.group], place.number + 1)
    if count <= MAX_GROUP_SIZE and len(least) == 1:
        return [max(count, min(least[0], MAX_GROUP_SIZE))]
    sizes = default_group_sizes(count, nodes if count % nodes == 0 else 1)
    fits = len(least) <= len(sizes) and all(few <= size for few, size in zip(least, sizes, strict=False))
    if fits:
        remarks.add(f"sizes of processor groups are not told: {sizes} follow from Windows's rule")
        return sizes
    even = [count // len(least)] * len(least)
    remarks.add(f"sizes of processor groups are not told: {even} are assumed, from the processors in use")
    return [max(size, min(few, MAX_GROUP_SIZE)) for size, few in zip(even, least, strict=True)]


def affinity(row: Row) -> Place | None:
    """The processor of a queue, if its affinity has one; None for several, or if it is not known."""
    mask, group = row.number("ProcessorAffinityMask"), row.number("ProcessorGroup", 255)
    if not mask or mask & (mask - 1):
        return None
    return Place(group or 0, mask.bit_length() - 1)
