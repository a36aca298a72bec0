"""Choose the processor and the number of buffers of each queue of a plan."""

import heapq
from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.scenario.model import HostSpec

MAX_BUFFERS: Final = 65_536
MAX_BUFFER_BYTES: Final = 64 * 1024 * 1024
"""Limit of memory for all receive buffers of a plan, so that it runs with little shared memory."""

MARGIN: Final = 2
"""Buffers for each frame of the peak: a DPC uses its buffers until it ends, and a processor that serves
several queues delays each of them."""

_LEAST, _MOST = 16, 4096
_LEAST_OF_DEFAULT, _MOST_OF_DEFAULT = 64, 8192


class NoProcessorError(ValueError):
    """No processor is eligible; the message is a sentence with the reason."""


def home(host: HostSpec, numa_node: int) -> list[int]:
    """Return the processors that may serve an adapter's queues: those of its NUMA node; with hyper-threading
    only even ones, because VMQ uses no others."""
    step = 2 if host.hyperthreading else 1
    return [cpu for cpu in range(0, host.cpus, step) if cpu * host.numa_nodes // host.cpus == numa_node]


def eligible(host: HostSpec, numa_node: int, base_cpu: int, max_cpus: int | None) -> list[int]:
    """Return up to ``max_cpus`` processors of ``home`` from ``base_cpu`` on, like Set-NetAdapterVmq's
    MaxProcessors and BaseProcessorNumber. Raises NoProcessorError."""
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


class Placement(NamedTuple):
    """Where a queue is: the number of its port, and its processor."""

    port: int
    cpu: int


def spread(
    cycles: Sequence[float],
    filters: Sequence[int],
    ports: Sequence[Sequence[int]],
    busy: dict[int, float],
    limits: tuple[int, int],
) -> list[Placement | None]:
    """Return a port and processor for each queue, by longest processing time first (LPT).

    Queues are placed in descending order of cycles, each on the least loaded processor of a port that has
    room, ties on the first port and the lowest processor; None: no port has room. ``limits`` are queues and
    filters of a port; ``filters`` are those of each queue. ``busy`` has the initial cycles of processors, and
    is updated. If it is empty, the highest load is at most 4/3 of the optimum (R. L. Graham, "Bounds on
    multiprocessing timing anomalies", 1969).
    """
    heaps = [[(busy.get(cpu, 0.0), cpu) for cpu in processors] for processors in ports]
    for heap in heaps:
        heapq.heapify(heap)
    room = [list(limits) for _ in ports]
    chosen: list[Placement | None] = [None] * len(cycles)
    for q in sorted(range(len(cycles)), key=lambda q: (-cycles[q], q)):
        fitting = [n for n, (queues, left) in enumerate(room) if queues and left >= filters[q]]
        if not fitting:
            continue
        port = min(fitting, key=lambda n: (heaps[n][0][0], n))
        before, cpu = heaps[port][0]
        chosen[q] = Placement(port, cpu)
        busy[cpu] = before + cycles[q]
        heapq.heapreplace(heaps[port], (busy[cpu], cpu))
        room[port] = [room[port][0] - 1, room[port][1] - filters[q]]
    return chosen


def size(
    peaks: Sequence[int],
    default_peak: int,
    max_frame_bytes: int,
    limit: int | None,
    most_bytes: int = MAX_BUFFER_BYTES,
) -> tuple[list[int], int, bool]:
    """Return the buffers of each queue, those of the default queue, and whether bounds were lowered to fit.

    A queue gets ``MARGIN`` times its peak, rounded up to a power of two, within 16 to 4,096 (default queue:
    64 to 8,192). The upper bounds are halved until all fit ``limit`` (None: MAX_BUFFERS) and, down to 16
    for each queue, ``most_bytes``. ``limit`` must exceed the number of queues.
    """
    most = _MOST
    of_default_most = _MOST_OF_DEFAULT
    while True:
        each = [_within(peak, min(_LEAST, most), most) for peak in peaks]
        of_default = _within(default_peak, min(_LEAST_OF_DEFAULT, of_default_most), of_default_most)
        count = sum(each) + of_default
        fits_memory = count * max_frame_bytes <= most_bytes or most <= _LEAST
        if count <= (limit or MAX_BUFFERS) and fits_memory:
            return each, of_default, most < _MOST
        most = max(1, most // 2)
        of_default_most = max(1, of_default_most // 2)


def _within(peak: int, least: int, most: int) -> int:
    return min(max(1 << max(MARGIN * peak - 1, 0).bit_length(), least), most)
