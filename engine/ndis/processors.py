"""A host's simulated processors: their names, cores and NUMA nodes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engine.scenario.model import HostSpec

GROUP_SIZE: Final = 64
"""Processors of a Windows processor group."""
_NAMED: Final = 8


@dataclass(frozen=True)
class Processor:
    """One processor. Processors with the same ``core`` are hyper-threads of it."""

    id: int
    name: str
    core: int
    numa_node: int


def processor_name(cpu: int) -> str:
    """A processor as group:number: 17 is ``0:17``, 70 is ``1:6``."""
    return f"{cpu // GROUP_SIZE}:{cpu % GROUP_SIZE}"


def processor_names(cpus: Iterable[int]) -> str:
    """Processors as ranges: ``0:1..0:3, 0:6``."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    words = []
    for low, high in runs:
        names = [processor_name(low), processor_name(high)]
        words += ["..".join(names)] if high > low + 1 else names[: 1 + high - low]
    return ", ".join(words[:_NAMED] + ["…"] * (len(words) > _NAMED))


def processors(host: HostSpec) -> tuple[Processor, ...]:
    """The processors of a host by id, split evenly among its NUMA nodes in order."""
    threads = 2 if host.hyperthreading else 1
    return tuple(
        Processor(cpu, processor_name(cpu), cpu // threads, cpu * host.numa_nodes // host.cpus)
        for cpu in range(host.cpus)
    )
