"""Whether memory, descriptors and shared memory stay as they are."""

import contextlib
import time
from dataclasses import dataclass, field
from statistics import median

import psutil

from tests.soak.lab import EngineProcess

MIB = 1 << 20
WARM_UP = 0.25
"""The first part of a run is not looked at: caches and bounded histories fill."""


def private_bytes(process: psutil.Process) -> int:
    """Memory of a process alone that it has written to.

    Unchanged pages of files are left out where the system tells them apart: a library's count as private
    whenever no other process happens to use it, which swings by 10 MiB as others come and go.
    """
    if psutil.LINUX:
        return sum(int(one.private_dirty) for one in process.memory_maps(grouped=True))
    return int(process.memory_full_info().uss)


@dataclass
class Series:
    """One quantity over time; ``unit`` divides what is shown."""

    name: str
    unit: int = 1
    allowance: float = 0.0
    """How much it may grow."""
    at: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        self.at.append(time.monotonic())
        self.values.append(value / self.unit)

    def ends(self) -> tuple[float, float] | None:
        """What it was after the warm-up, and at last: medians of a quarter of the samples each."""
        warm = self.values[int(len(self.values) * WARM_UP) :]
        part = len(warm) // 4
        return (median(warm[:part]), median(warm[-part:])) if part >= 2 else None

    def problem(self) -> str | None:
        ends = self.ends()
        if ends is None or ends[1] - ends[0] <= self.allowance:
            return None
        return f"{self.name} grew from {ends[0]:.1f} to {ends[1]:.1f}"

    def line(self) -> str:
        ends = self.ends()
        told = "too short to tell" if ends is None else f"{ends[0]:.1f} → {ends[1]:.1f}"
        return f"{self.name:<34} {told}  (most {max(self.values, default=0):.1f}, {len(self.values)} samples)"


class Resources:
    """Samples of an engine's processes."""

    def __init__(self, engine: EngineProcess, hours: float) -> None:
        self._engine = engine
        self.memory = Series("engine, private MiB", MIB, 6 + 2 * hours)
        self.descriptors = Series("engine, descriptors", allowance=2)
        self.threads = Series("engine, threads", allowance=1)
        self.worker = Series("largest worker, private MiB", MIB, 4)
        self.worker_descriptors = Series("largest worker, descriptors", allowance=0)
        self.processes = Series("worker processes", allowance=0)
        self.segments = Series("shared-memory segments", allowance=0)
        self.broker = Series("embedded broker, private MiB", MIB, 6 + 2 * hours)

    @property
    def series(self) -> list[Series]:
        return [one for one in vars(self).values() if isinstance(one, Series) and one.values]

    def sample(self) -> None:
        """Look at everything once."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = self._engine.root
            self.memory.add(private_bytes(root))
            self.descriptors.add(root.num_fds())
            self.threads.add(root.num_threads())
            self.segments.add(len(self._engine.segments()))
        sizes, descriptors = [], []
        for worker in self._engine.workers():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                sizes.append(private_bytes(worker))
                descriptors.append(worker.num_fds())
        self.processes.add(len(sizes))
        if sizes:
            self.worker.add(max(sizes))
            self.worker_descriptors.add(max(descriptors))
        with contextlib.suppress(psutil.NoSuchProcess):
            if (broker := self._engine.broker()) is not None:
                self.broker.add(private_bytes(broker))
