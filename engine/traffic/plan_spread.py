"""Which processors may serve a plan's queues, and how the queues are spread over them."""

import heapq
from collections.abc import Sequence

from engine.scenario.model import HostSpec


class NoProcessorError(ValueError):
    """None is left to choose from; a sentence that says what left none."""


def home(host: HostSpec, numa_node: int) -> list[int]:
    """The processors that may serve an adapter's queues at all: those of its NUMA node, and of two
    hyper-threads the even one, the only one that VMQ uses."""
    step = 2 if host.hyperthreading else 1
    return [cpu for cpu in range(0, host.cpus, step) if cpu * host.numa_nodes // host.cpus == numa_node]


def eligible(host: HostSpec, numa_node: int, base_cpu: int, max_cpus: int | None) -> list[int]:
    """Of those, ``max_cpus`` from ``base_cpu`` on, as Set-NetAdapterVmq's BaseProcessorNumber and
    MaxProcessors choose them. Raises NoProcessorError."""
    usable = home(host, numa_node)
    if not usable:
        raise NoProcessorError(
            f"NUMA node {numa_node} has no even processor, and under hyper-threading VMQ uses no other"
        )
    chosen = [cpu for cpu in usable if cpu >= base_cpu][:max_cpus]
    if not chosen:
        listed = ", ".join(map(str, usable))
        raise NoProcessorError(f"no processor from {base_cpu} on (of NUMA node {numa_node}, {listed} fit)")
    return chosen


def spread(cycles: Sequence[float], processors: Sequence[int], busy: dict[int, float]) -> list[int]:
    """A processor for each queue by longest processing time first: the costliest queue is placed first, each
    with the processor that has least to do so far, the lowest where equal.

    With nothing to do before, the busiest has at most 4/3 of what it has in the best spread (R. L. Graham,
    "Bounds on multiprocessing timing anomalies", 1969). ``busy`` is what processors have to
    do before, and is brought up to date.
    """
    heap = [(busy.get(cpu, 0.0), cpu) for cpu in processors]
    heapq.heapify(heap)
    chosen = [0] * len(cycles)
    for q in sorted(range(len(cycles)), key=lambda q: (-cycles[q], q)):
        before, cpu = heap[0]
        chosen[q] = cpu
        busy[cpu] = before + cycles[q]
        heapq.heapreplace(heap, (busy[cpu], cpu))
    return chosen
