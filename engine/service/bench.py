"""How fast the receive path is: the real engine's, fed with frames that lie in memory already."""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from engine.dataplane.conductor import Conductor
from engine.dataplane.steer import PORT_COUNTERS, steer
from engine.scenario.model import AdapterSpec, CpuSpec, FilterSpec, HostSpec, QueueSpec, Scenario
from engine.scenario.values import format_mac
from engine.service.machine import Machine
from engine.telemetry.stats import Stats
from engine.traffic.batch import Filled, FrameBatch

RUNS: Final = 3
LINK_GBPS: Final = 10.0
_FIRST_MAC: Final = 0x0015_5D00_0001
_STEP_NS: Final = 20_000_000
_MEMCPY_BYTES: Final = 64 << 20


class BenchFailedError(Exception):
    """A run that does not count: frames were dropped."""


@dataclass(frozen=True)
class Settings:
    """What is measured: simulated processors, queues, filters, bytes a frame, seconds for all runs."""

    cpus: int = 8
    queues: int = 64
    filters: int = 64
    frame_bytes: int = 64
    seconds: float = 6.0

    @property
    def buffers(self) -> int:
        """Receive buffers a queue: enough for what arrives while an interrupt is held back."""
        return max(64, min(4096, 65_536 // self.queues))

    def scenario(self) -> Scenario:
        """Queues spread over the processors, filters over the queues, and clocks that never bind."""
        filters: list[list[FilterSpec]] = [[] for _ in range(self.queues)]
        for number in range(self.filters):
            filters[number % self.queues].append(FilterSpec(mac=format_mac(_FIRST_MAC + number)))
        queues = [
            QueueSpec(
                name=f"queue {number}",
                vm=f"vm {number}",
                cpu=number % self.cpus,
                buffers=self.buffers,
                filter=own,
            )
            for number, own in enumerate(filters)
        ]
        adapter = AdapterSpec(
            link_gbps=LINK_GBPS,
            max_queues=self.queues,
            max_filters=self.filters,
            max_frame_bytes=max(1518, self.frame_bytes),
            default_queue_buffers=16,
            queue=queues,
        )
        return Scenario(
            host=HostSpec(name="bench", cpus=self.cpus), adapter=[adapter], cpu=CpuSpec(clock_ghz=1e6)
        )


class _Frames:
    """The same frames again and again, evenly over the filters, at line rate on the simulated clock.

    They are written into each batch once; from then on only their arrival is new.
    """

    skipped_ns = 0

    def __init__(self, settings: Settings, frames: int) -> None:
        self._settings = settings
        self._count = frames
        self._gap_ns = (settings.frame_bytes + 20) * 8 / LINK_GBPS
        self._arrivals = np.floor(np.arange(frames) * self._gap_ns).astype(np.int64)
        self._now_ns = 0
        self._written: set[int] = set()
        self._filter = 0

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """A whole batch, or what arrives before ``until_ns``."""
        key = batch.data.ctypes.data
        if key not in self._written:
            self._written.add(key)
            self._write(batch)
        count = int(np.searchsorted(self._arrivals, until_ns - self._now_ns))
        np.add(self._arrivals[:count], self._now_ns, out=batch.arrival_ns[:count])
        if count == self._count:
            self._now_ns += int(self._count * self._gap_ns)
        else:
            self._now_ns = until_ns
        return Filled(count, self._now_ns)

    def _write(self, batch: FrameBatch) -> None:
        size = self._settings.frame_bytes
        stride = -(-size // 8) * 8
        macs = _FIRST_MAC + (self._filter + np.arange(self._count)) % self._settings.filters
        frames = np.zeros((self._count, stride), np.uint8)
        frames[:, 0:6] = macs.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        frames[:, 6] = 2
        frames[:, 12:14] = (0x08, 0x00)
        batch.data[: frames.size] = frames.ravel()
        batch.offset[: self._count] = np.arange(self._count) * stride
        batch.captured[: self._count] = size
        batch.wire[: self._count] = size
        batch.adapter[: self._count] = 0
        self._filter += self._count

    def close(self) -> None:
        """Nothing is open."""


def bench(settings: Settings, progress: Callable[[str], None] = lambda sentence: None) -> dict[str, Any]:
    """Measure, and give the document of ``vmqtui bench`` (contract 4).

    Raises BenchFailedError when a frame was dropped, NotEnoughMemoryError.
    """
    began = time.monotonic()
    machine = Machine(settings.scenario(), "bench")
    try:
        ready_seconds = time.monotonic() - began
        sizes = machine.plane.sizes
        stride = -(-settings.frame_bytes // 8) * 8
        frames = min(sizes.batch_frames, (sizes.batch_bytes - 8) // stride)
        conductor = Conductor(machine.plane, _Frames(settings, frames))
        conductor.run_to(_STEP_NS)
        rates, copies, memcpys = [], [], []
        for run in range(RUNS):
            progress(f"run {run + 1} of {RUNS}")
            memcpys.append(_memcpy_bytes_per_second())
            rate = _run(machine, conductor, settings.seconds / RUNS)
            rates.append(rate)
            copies.append(2 * rate * settings.frame_bytes)
        stats = machine.stats()
        _check(stats)
        steering = _steer_frames_per_second(machine, frames)
    finally:
        machine.close()
    rate = statistics.median(rates)
    memcpy = statistics.median(memcpys)
    copied = statistics.median(copies)
    return {
        "schema": "vmq.bench/1",
        **asdict(settings),
        "runs": RUNS,
        "cores": os.cpu_count(),
        "ready_seconds": ready_seconds,
        "frames_per_second": rate,
        "frames_per_second_spread": (max(rates) - min(rates)) / rate,
        "gbits_per_second": rate * settings.frame_bytes * 8 / 1e9,
        "steer_frames_per_second_per_core": steering,
        "memcpy_gbytes_per_second": memcpy / 1e9,
        "copied_gbytes_per_second": copied / 1e9,
        "copy_ratio": copied / memcpy,
        "line_rate_10g_ratio": rate / (10e9 / (8 * (settings.frame_bytes + 20))),
    }


def _run(machine: Machine, conductor: Conductor, seconds: float) -> float:
    """Frames returned by VMs a wall second, over so many seconds."""
    before = _returned(machine.stats())
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        conductor.run_to(machine.plane.now_ns + _STEP_NS)
    elapsed = time.perf_counter() - began
    return (_returned(machine.stats()) - before) / elapsed


def _returned(stats: Stats) -> int:
    return sum(stats.adapters["nic0"].queues["returned_frames"])


def _check(stats: Stats) -> None:
    adapter = stats.adapters["nic0"]
    dropped = sum(adapter.queues["dropped_no_buffer"])
    unsteered = adapter.queues["steered_frames"][0] + adapter.port["runt"] + adapter.port["oversize"]
    if dropped or unsteered:
        raise BenchFailedError(f"{dropped} frames were dropped and {unsteered} found no queue of theirs")


def _steer_frames_per_second(machine: Machine, frames: int) -> float:
    """Steering alone, on one core: the kernel over a batch of the frames just received."""
    views = machine.plane.views
    bounds = np.zeros(machine.plane.sizes.cpus + 1, np.int32)
    port = np.zeros((1, PORT_COUNTERS), np.int64)
    best = float("inf")
    for _ in range(50):
        began = time.perf_counter()
        steer(
            views.data[0], views.offset[0], views.captured[0], views.wire[0], views.adapter[0], 0, frames,
            views.adapters, views.table, views.owner, views.slot[0], views.credit[0], views.port_vm[0],
            views.reason[0], views.order[0], bounds, port,
        )  # fmt: skip
        best = min(best, time.perf_counter() - began)
    return frames / best


def _memcpy_bytes_per_second() -> float:
    """How fast this machine copies memory, a thread a core, far beyond its caches."""
    cores = os.cpu_count() or 1
    source = [np.ones(_MEMCPY_BYTES // cores, np.uint8) for _ in range(cores)]
    target = [np.zeros_like(one) for one in source]
    best = float("inf")
    with ThreadPoolExecutor(cores) as threads:
        for _ in range(5):
            began = time.perf_counter()
            list(threads.map(np.copyto, target, source))
            best = min(best, time.perf_counter() - began)
    return sum(one.nbytes for one in source) / best
