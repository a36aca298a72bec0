"""Measures the speed of the receive path: of a real engine, fed with frames that are in memory already.

A run is measured after workers are up, kernels compiled and memory touched; memcpy is measured beside every
run, so that their ratio compares values of the same moment.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray

from engine.counted import counted
from engine.kernels.layout import PORT_COUNTERS
from engine.kernels.steer import scratch_for_block, steer
from engine.scenario.model import AdapterSpec, CpuSpec, FilterSpec, HostSpec, QueueSpec, Scenario
from engine.scenario.values import format_mac
from engine.service.machine import Machine
from engine.signals import interrupts_deferred
from engine.telemetry.stats import Stats
from engine.traffic.batch import Filled, FrameBatch
from engine.workers.conductor import Conductor

RUNS: Final = 5
LINK_GBPS: Final = 10.0
_DEFAULT_QUEUE_BUFFERS: Final = 16
_FIRST_MAC: Final = 0x0015_5D00_0001
_ETHERTYPE: Final = (0x88, 0xB5)  # for local experiments (IEEE 802): nobody looks further into the frame
_BATCHES: Final = 64  # in one step of simulated time, whose first and last batches overlap with less
_WARM_SECONDS: Final = 0.2
_LOOK_AROUND_S: Final = 0.5
_STEER_PASSES: Final = 20
_MEMCPY_BYTES: Final = 64 << 20
_MEMCPY_PASSES: Final = 3

Progress = Callable[[str], None]


class BenchFailedError(Exception):
    """A run is invalid: frames were dropped."""


@dataclass(frozen=True)
class Settings:
    """The engine to measure: simulated processors, queues, filters, bytes a frame."""

    cpus: int = 8
    queues: int = 64
    filters: int = 64
    frame_bytes: int = 64

    def __str__(self) -> str:
        return (
            f"{counted(self.cpus, 'CPU')}, {counted(self.queues, 'queue')},"
            f" {counted(self.filters, 'filter')}, {self.frame_bytes}-byte frames"
        )

    @property
    def buffers(self) -> int:
        """Receive buffers a queue: enough for the frames that arrive during interrupt moderation."""
        return max(64, min(4096, 65_536 // self.queues))

    def scenario(self) -> Scenario:
        """Queues spread over the processors, filters over the queues, and clocks that are never the limit."""
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
            buffers=_DEFAULT_QUEUE_BUFFERS + self.queues * self.buffers,
            default_queue_buffers=_DEFAULT_QUEUE_BUFFERS,
            queue=queues,
        )
        return Scenario(
            host=HostSpec(name="bench", cpus=self.cpus), adapter=[adapter], cpu=CpuSpec(clock_ghz=1e6)
        )

    def frames(self, count: int, first: int = 0) -> NDArray[np.uint8]:
        """Frames ``first`` to ``first + count``, evenly over the filters: (count, frame_bytes)."""
        frames = np.zeros((count, self.frame_bytes), np.uint8)
        macs = _FIRST_MAC + (first + np.arange(count)) % self.filters
        frames[:, 0:6] = macs.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        frames[:, 6] = 2
        frames[:, 12:14] = _ETHERTYPE
        return frames

    def arrivals(self, count: int) -> NDArray[np.int64]:
        """When so many frames arrive at line rate, in ns."""
        return np.floor(np.arange(count) * (self.frame_bytes + 20) * 8 / LINK_GBPS).astype(np.int64)


class _Frames:
    """The same frames again and again, at line rate on the simulated clock.

    They are written into each batch once; from then on only their arrival is new.
    """

    skipped_ns = 0

    def __init__(self, settings: Settings, frames: int) -> None:
        self._settings = settings
        self._count = frames
        *arrivals, self.batch_ns = settings.arrivals(frames + 1).tolist()
        self._arrivals = np.array(arrivals, np.int64)
        self._now_ns = 0
        self._written: dict[int, int] = {}  # by batch, when the first of its frames arrives

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """A whole batch, or what arrives before ``until_ns``."""
        written_ns = self._written.get(id(batch))
        if written_ns is None:
            written_ns = 0
            self._write(batch, first=len(self._written) * self._count)
        batch.arrival_ns[: self._count] += self._now_ns - written_ns
        self._written[id(batch)] = self._now_ns
        left_ns = until_ns - self._now_ns
        if left_ns >= self.batch_ns:
            self._now_ns += self.batch_ns
            return Filled(self._count, self._now_ns)
        self._now_ns = until_ns
        return Filled(int(np.searchsorted(self._arrivals, left_ns)), until_ns)

    def _write(self, batch: FrameBatch, first: int) -> None:
        stride = stride_of(self._settings)
        laid_out = np.zeros((self._count, stride), np.uint8)
        laid_out[:, : self._settings.frame_bytes] = self._settings.frames(self._count, first)
        batch.data[: laid_out.size] = laid_out.ravel()
        batch.offset[: self._count] = np.arange(self._count) * stride
        batch.captured[: self._count] = self._settings.frame_bytes
        batch.wire[: self._count] = self._settings.frame_bytes
        batch.adapter[: self._count] = 0
        batch.arrival_ns[: self._count] = self._arrivals

    def close(self) -> None:
        """Nothing is open."""


def stride_of(settings: Settings) -> int:
    """Bytes from one frame of a batch to the next."""
    return -(-settings.frame_bytes // 8) * 8


class Rig:
    """An engine that is up and warm; raises NotEnoughMemoryError."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        began = time.perf_counter()
        self.machine = Machine(settings.scenario(), "bench")
        self.ready_seconds = time.perf_counter() - began
        sizes = self.machine.plane.sizes
        self._frames = min(sizes.batch_frames, (sizes.batch_bytes - 8) // stride_of(settings))
        source = _Frames(settings, self._frames)
        self._step_ns = _BATCHES * source.batch_ns
        self._conductor = Conductor(self.machine.rounds, source)

    def run(self, seconds: float) -> float:
        """Frames returned by VMs a wall second, over so many seconds."""
        before = self._returned()
        began = now = time.perf_counter()
        while now - began < seconds:
            self._conductor.run_to(self.machine.plane.now_ns + self._step_ns)
            now = time.perf_counter()
        return (self._returned() - before) / (now - began)

    def _returned(self) -> int:
        return sum(self.machine.stats().adapters["nic0"].queues["returned_frames"])

    def check(self) -> None:
        """Raise BenchFailedError unless every frame so far went to a queue of its own."""
        _check(self.machine.stats())

    def steer(self) -> float:
        """Frames a second of the steering kernel alone, on one core, over the frames just received."""
        views = self.machine.plane.views
        frames = self._frames
        block = scratch_for_block(self.machine.plane.sizes.cpus)
        port = np.zeros((1, PORT_COUNTERS), np.int64)
        began = time.perf_counter()
        for _ in range(_STEER_PASSES):
            views.next_block[0] = 0
            steer(views, 0, frames, block, port)
        return _STEER_PASSES * frames / (time.perf_counter() - began)

    def close(self) -> None:
        """End the workers."""
        with interrupts_deferred():
            self.machine.close()


def _check(stats: Stats) -> None:
    adapter = stats.adapters["nic0"]
    dropped = sum(adapter.queues["dropped_no_buffer"])
    unsteered = adapter.queues["steered_frames"][0] + adapter.port["runt"] + adapter.port["oversize"]
    if dropped or unsteered:
        raise BenchFailedError(
            f"{counted(dropped, 'frame was', 'frames were')} dropped"
            f" and {unsteered:,} found no queue of their own"
        )


class _Memcpy:
    """Measures how fast this machine copies memory, with a thread a core, far beyond its caches."""

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self._source = [np.ones(_MEMCPY_BYTES // cores, np.uint8) for _ in range(cores)]
        self._target = [np.ones_like(one) for one in self._source]
        self._threads = ThreadPoolExecutor(cores)

    def bytes_per_second(self) -> float:
        """The best of a few passes, so that other programs disturb it least."""
        best = float("inf")
        for _ in range(_MEMCPY_PASSES):
            began = time.perf_counter()
            list(self._threads.map(np.copyto, self._target, self._source))
            best = min(best, time.perf_counter() - began)
        return sum(one.nbytes for one in self._source) / best

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()


@dataclass
class Row:
    """The results of one setting; the lists are by run, and parallel to memcpy's."""

    settings: Settings
    ready_seconds: float
    frames_per_second: list[float] = field(default_factory=list)
    steered_per_second: list[float] = field(default_factory=list)
    memcpy_bytes_per_second: list[float] = field(default_factory=list)

    def over(self, base: "Row") -> float:
        """How many times as fast as another row, whose runs took turns with these."""
        pairs = zip(self.frames_per_second, base.frames_per_second, strict=True)
        return statistics.median(own / other for own, other in pairs)

    @property
    def copy_ratio(self) -> float:
        """Bytes copied, twice a frame, by what memcpy copies."""
        pairs = zip(self.frames_per_second, self.memcpy_bytes_per_second, strict=True)
        return statistics.median(2 * rate * self.settings.frame_bytes / memcpy for rate, memcpy in pairs)

    def document(self) -> dict[str, Any]:
        """The keys of contract 4, and the spreads."""
        rate = statistics.median(self.frames_per_second)
        size = self.settings.frame_bytes
        return {
            "cpus": self.settings.cpus,
            "queues": self.settings.queues,
            "filters": self.settings.filters,
            "frame_bytes": size,
            "runs": len(self.frames_per_second),
            "ready_seconds": self.ready_seconds,
            "frames_per_second": rate,
            "frames_per_second_spread": spread(self.frames_per_second),
            "gbits_per_second": rate * size * 8 / 1e9,
            "steer_frames_per_second_per_core": statistics.median(self.steered_per_second),
            "steer_spread": spread(self.steered_per_second),
            "memcpy_gbytes_per_second": statistics.median(self.memcpy_bytes_per_second) / 1e9,
            "memcpy_spread": spread(self.memcpy_bytes_per_second),
            "copied_gbytes_per_second": 2 * rate * size / 1e9,
            "copy_ratio": self.copy_ratio,
            "line_rate_10g_ratio": rate / (10e9 / (8 * (size + 20))),
        }


def busy_cores() -> float:
    """How many cores other programs keep busy, measured for a moment while this one is idle."""
    return psutil.cpu_percent(_LOOK_AROUND_S) / 100 * (os.cpu_count() or 1)


def spread(values: Sequence[float]) -> float:
    """From the least to the most, as a share of the median."""
    return (max(values) - min(values)) / statistics.median(values)


def measure(
    group: Sequence[Settings],
    seconds: float,
    progress: Progress,
    look: Callable[[Rig], None] = lambda rig: None,
) -> list[Row]:
    """Measure some settings side by side, each for ``seconds`` in all; their runs take turns.

    So a machine that is slow for a while is slow for all of them. ``look`` is called with each warm engine
    once. Raises BenchFailedError when a frame was dropped, NotEnoughMemoryError.
    """
    with ExitStack() as stack:
        memcpy = _Memcpy()
        stack.callback(memcpy.close)
        rigs: list[Rig] = []
        for settings in group:
            progress(f"starting: {settings}")
            with interrupts_deferred():
                rigs.append(Rig(settings))
                stack.callback(rigs[-1].close)
            rigs[-1].run(_WARM_SECONDS)
            rigs[-1].steer()
            look(rigs[-1])
        rows = [Row(rig.settings, rig.ready_seconds) for rig in rigs]
        for run in range(RUNS):
            for rig, row in zip(rigs, rows, strict=True):
                progress(f"run {run + 1} of {RUNS}: {rig.settings}")
                row.memcpy_bytes_per_second.append(memcpy.bytes_per_second())
                row.frames_per_second.append(rig.run(seconds / RUNS))
                row.steered_per_second.append(rig.steer())
        for rig in rigs:
            rig.check()
    return rows
