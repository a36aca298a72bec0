"""A host's simulated processors: their names, cores and NUMA nodes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engine.scenario.model import HostSpec

GROUP_SIZE: Final = 64
"""The number of processors in a Windows processor group."""
_NAMED: Final = 8


@dataclass(frozen=True)
class Processor:
    """One logical processor. Processors with the same ``core`` are its hyper-threads."""

    id: int
    name: str
    core: int
    numa_node: int


def processor_name(cpu: int) -> str:
    """Format a processor as group:number: 17 is ``0:17``, 70 is ``1:6``."""
    return f"{cpu // GROUP_SIZE}:{cpu % GROUP_SIZE}"


def processor_names(cpus: Iterable[int]) -> str:
    """Format processors as ranges: ``0:1..0:3, 0:6``."""
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
    """Return a host's processors in order of id, split evenly among its NUMA nodes."""
    threads = 2 if host.hyperthreading else 1
    return tuple(
        Processor(cpu, processor_name(cpu), cpu // threads, cpu * host.numa_nodes // host.cpus)
        for cpu in range(host.cpus)
    )
