"""Measures the speed of a real engine's receive path, fed with frames that are already in memory.

Measurement starts after the workers are up, the kernels are compiled and memory is touched. memcpy is
measured next to every run, so that their ratio compares values of the same moment.
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
from engine.kernels.jit import places_of
from engine.kernels.layout import PORT_COUNTERS
from engine.kernels.steer import scratch_for_block, steer
from engine.scenario.model import AdapterSpec, CpuSpec, FilterSpec, HostSpec, QueueSpec, Scenario
from engine.scenario.values import format_mac
from engine.service.machine import Machine, Progress
from engine.signals import interrupts_deferred
from engine.telemetry.stats import Stats, known
from engine.traffic.batch import Filled, FrameBatch
from engine.workers.conductor import Conductor

RUNS: Final = 5
LINK_GBPS: Final = 10.0
_DEFAULT_QUEUE_BUFFERS: Final = 16
_FIRST_MAC: Final = 0x0015_5D00_0001
_ETHERTYPE: Final = (0x88, 0xB5)  # for local experiments (IEEE 802): the engine parses no further
_BATCHES: Final = 64  # in a step of simulated time: its first and last batch overlap with little other work
_WARM_SECONDS: Final = 0.2
_LOOK_AROUND_S: Final = 0.5
_STEER_PASSES: Final = 20
_MEMCPY_BYTES: Final = 64 << 20
_MEMCPY_PASSES: Final = 3


class BenchFailedError(Exception):
    """A measurement failed or is invalid, for example because frames were dropped; the text is a sentence."""


@dataclass(frozen=True)
class Settings:
    """The engine to measure: number of simulated processors, queues and filters; frame size in bytes."""

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
        """Receive buffers per queue: enough for the frames that arrive during interrupt moderation."""
        return max(64, min(4096, 65_536 // self.queues))

    def scenario(self) -> Scenario:
        """Assign queues to processors and filters to queues round-robin; clocks are never the limit."""
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
        """``count`` frames from number ``first`` on, round-robin over the filters: (count, frame_bytes)."""
        frames = np.zeros((count, self.frame_bytes), np.uint8)
        macs = _FIRST_MAC + (first + np.arange(count)) % self.filters
        frames[:, 0:6] = macs.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        frames[:, 6] = 2
        frames[:, 12:14] = _ETHERTYPE
        return frames

    def arrivals(self, count: int) -> NDArray[np.int64]:
        """Arrival times in ns of ``count`` frames at line rate."""
        return np.floor(np.arange(count) * (self.frame_bytes + 20) * 8 / LINK_GBPS).astype(np.int64)


class _Frames:
    """A source that repeats the same frames at line rate on the simulated clock.

    Frames are written into each batch once; later fills update only the arrival times.
    """

    skipped_ns = 0

    def __init__(self, settings: Settings, frames: int) -> None:
        self._settings = settings
        self._count = frames
        *arrivals, self.batch_ns = settings.arrivals(frames + 1).tolist()
        self._arrivals = np.array(arrivals, np.int64)
        self._now_ns = 0
        self._written: dict[int, int] = {}  # arrival time of the first frame, by batch

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Fill a whole batch, or with the frames that arrive before ``until_ns``."""
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
        """Do nothing: the source has nothing to close."""


def stride_of(settings: Settings) -> int:
    """Bytes from one frame of a batch to the next: the frame size, rounded up to a multiple of 8."""
    return -(-settings.frame_bytes // 8) * 8


class Rig:
    """A running engine with its frame source. Raises NotEnoughMemoryError."""

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
        """Run for ``seconds`` of wall time; return the rate of frames that VMs returned, per wall second."""
        before = self._returned()
        began = now = time.perf_counter()
        while now - began < seconds:
            self._conductor.run_to(self.machine.plane.now_ns + self._step_ns)
            now = time.perf_counter()
        return (self._returned() - before) / (now - began)

    def _returned(self) -> int:
        return sum(known(self.machine.stats().adapters["nic0"].queues["returned_frames"]))

    def check(self) -> None:
        """Raise BenchFailedError if a frame was dropped, or not steered to a VM's queue."""
        _check(self.machine.stats())

    def steer(self) -> float:
        """Measure the steering kernel alone, on one core and the last batch; return frames per second."""
        plane = self.machine.plane
        frames = self._frames
        scratch = scratch_for_block(plane.sizes.cpus, np.zeros((1, PORT_COUNTERS), np.int64))
        places = places_of(scratch)
        began = time.perf_counter()
        for _ in range(_STEER_PASSES):
            plane.views.next_block[0] = 0
            steer(plane.places, 0, frames, places)
        return _STEER_PASSES * frames / (time.perf_counter() - began)

    def close(self) -> None:
        """End the workers."""
        with interrupts_deferred():
            self.machine.close()


def _check(stats: Stats) -> None:
    adapter = stats.adapters["nic0"]
    dropped = sum(known(adapter.queues["dropped_no_buffer"]))
    default, port = adapter.queues["steered_frames"][0], adapter.port
    unsteered = sum(known([default, port["runt"], port["oversize"]]))
    if dropped or unsteered:
        raise BenchFailedError(
            f"{counted(dropped, 'frame was', 'frames were')} dropped"
            f" and {unsteered:,} found no queue of their own"
        )


class _Memcpy:
    """Measures how fast this machine copies memory larger than its caches, with one thread per core."""

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self._source = [np.ones(_MEMCPY_BYTES // cores, np.uint8) for _ in range(cores)]
        self._target = [np.ones_like(one) for one in self._source]
        self._threads = ThreadPoolExecutor(cores)

    def bytes_per_second(self) -> float:
        """The highest rate of a few passes: the one that other programs disturbed least."""
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
    """The results of one setting; each list has one value per run, in the same order."""

    settings: Settings
    ready_seconds: float
    frames_per_second: list[float] = field(default_factory=list)
    steered_per_second: list[float] = field(default_factory=list)
    memcpy_bytes_per_second: list[float] = field(default_factory=list)

    def over(self, base: "Row") -> float:
        """Median speed relative to another row, run by run; the runs of both rows must have alternated."""
        pairs = zip(self.frames_per_second, base.frames_per_second, strict=True)
        return statistics.median(own / other for own, other in pairs)

    @property
    def copy_ratio(self) -> float:
        """Rate of bytes copied (each frame twice), relative to memcpy's rate; median over the runs."""
        pairs = zip(self.frames_per_second, self.memcpy_bytes_per_second, strict=True)
        return statistics.median(2 * rate * self.settings.frame_bytes / memcpy for rate, memcpy in pairs)

    def document(self) -> dict[str, Any]:
        """The row as JSON: the keys of contract 4, and spreads."""
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
    """Number of cores that other programs keep busy, sampled briefly while this program is idle."""
    return psutil.cpu_percent(_LOOK_AROUND_S) / 100 * (os.cpu_count() or 1)


def spread(values: Sequence[float]) -> float:
    """The range (maximum − minimum) as a share of the median."""
    return (max(values) - min(values)) / statistics.median(values)


def measure(
    group: Sequence[Settings],
    seconds: float,
    progress: Progress,
    look: Callable[[Rig], None] = lambda rig: None,
) -> list[Row]:
    """Measure some settings, each for ``seconds`` in all; return a row per setting.

    Their runs alternate, so that a period in which the machine is slow affects all of them. ``look`` is
    called once with each warm engine. Raises BenchFailedError if a frame was dropped, NotEnoughMemoryError.
    """
    with ExitStack() as stack:
        memcpy = _Memcpy()
        stack.callback(memcpy.close)
        rigs: list[Rig] = []
        for settings in group:
            progress(f"starting: {settings}", None)
            with interrupts_deferred():
                rigs.append(Rig(settings))
                stack.callback(rigs[-1].close)
            rigs[-1].run(_WARM_SECONDS)
            rigs[-1].steer()
            look(rigs[-1])
        rows = [Row(rig.settings, rig.ready_seconds) for rig in rigs]
        for run in range(RUNS):
            for place, (rig, row) in enumerate(zip(rigs, rows, strict=True)):
                share = (run + place / len(rigs)) / RUNS
                progress(f"run {run + 1} of {RUNS}: {rig.settings}", share)
                row.memcpy_bytes_per_second.append(memcpy.bytes_per_second())
                row.frames_per_second.append(rig.run(seconds / RUNS))
                row.steered_per_second.append(rig.steer())
        for rig in rigs:
            rig.check()
    return rows
