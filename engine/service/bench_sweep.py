"""The documents of ``vmqtui bench``: its rows, targets, and baselines in plain Python and dpkt on one core.

A baseline does part of the engine's work: rules 1 to 4 of the contract (port checks, tag, filter), and
counters of frames and bytes per queue. It does not copy, queue, indicate or return frames.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from engine.service.bench import (
    RUNS,
    BenchFailedError,
    Rig,
    Row,
    Settings,
    busy_cores,
    measure,
    spread,
)
from engine.service.bench_costs import private_bytes, replays, start_seconds, telemetry_share
from engine.service.machine import Progress

_FRAMES: Final = 20_000
_MAX_FRAME_BYTES: Final = 1518

Filters = dict[tuple[bytes, int | None], int]
"""Queue id by MAC and VLAN id (None: untagged)."""
Counts = dict[int, list[int]]
"""[frames, bytes] by queue id."""


def _plain(frames: list[bytes], filters: Filters, longest: int) -> Counts:
    """Count frames and bytes per queue with slices of the frame and a dictionary."""
    counts: Counts = {}
    for frame in frames:
        size = len(frame)
        if size < 14 or size > longest:
            continue
        vlan = None
        if frame[12:14] == b"\x81\x00":
            if size < 16:
                continue
            vlan = (frame[14] << 8 | frame[15]) & 0xFFF or None
        count = counts.setdefault(filters.get((frame[:6], vlan), 0), [0, 0])
        count[0] += 1
        count[1] += size
    return counts


def _dpkt(frames: list[bytes], filters: Filters, longest: int) -> Counts:
    """Count frames and bytes per queue with dpkt's parser and a dictionary. Raises ImportError."""
    from dpkt import UnpackError
    from dpkt.ethernet import Ethernet

    counts: Counts = {}
    for frame in frames:
        size = len(frame)
        if size > longest:
            continue
        try:
            parsed = Ethernet(frame)
        except UnpackError:
            continue
        tags = getattr(parsed, "vlan_tags", None)
        vlan = tags[0].id or None if tags else None
        count = counts.setdefault(filters.get((parsed.dst, vlan), 0), [0, 0])
        count[0] += 1
        count[1] += size
    return counts


def baselines(
    settings: Settings, engine_rate: float, steering_rate: float, progress: Progress
) -> list[dict[str, Any]]:
    """Measure each baseline; return a row for each.

    A row has the rate and its spread, and the ratios of the engine's rate (whole path; steering on one core)
    to it; or, in ``is_missing``, why the baseline can't run.
    """
    frames = [frame.tobytes() for frame in settings.frames(_FRAMES)]
    filters: Filters = {
        (frame[:6], None): 1 + number % settings.queues
        for number, frame in enumerate(frames[: settings.filters])
    }
    longest = max(_MAX_FRAME_BYTES, settings.frame_bytes)
    rows: list[dict[str, Any]] = []
    for name, count in (("plain Python, slice + dict", _plain), ("dpkt + dict", _dpkt)):
        progress(name, None)
        try:
            rates = _rates(count, frames, filters, longest)
        except ImportError:
            rows.append({"name": name, "is_missing": "dpkt is not installed (pip install 'vmqtui[bench]')"})
            continue
        rate = statistics.median(rates)
        rows.append(
            {
                "name": name,
                "is_missing": None,
                "frames_per_second": rate,
                "frames_per_second_spread": spread(rates),
                "times_slower": engine_rate / rate,
                "times_slower_than_steering": steering_rate / rate,
            }
        )
    return rows


def _rates(
    count: Callable[[list[bytes], Filters, int], Counts], frames: list[bytes], filters: Filters, longest: int
) -> list[float]:
    counts = count(frames, filters, longest)  # also the warm-up
    expected: Counts = {}
    for frame in frames:
        one = expected.setdefault(filters[frame[:6], None], [0, 0])
        one[0] += 1
        one[1] += len(frame)
    if counts != expected:
        raise BenchFailedError(f"{count.__name__}: frames went to other queues than the engine's")
    rates = []
    for _ in range(RUNS):
        began = time.perf_counter()
        count(frames, filters, longest)
        rates.append(len(frames) / (time.perf_counter() - began))
    return rates


BASE: Final = Settings()
GROUPS: Final = {
    "frame bytes": [BASE, Settings(frame_bytes=512), Settings(frame_bytes=1514)],
    "CPUs": [Settings(cpus=cpus) for cpus in (1, 2, 8, 64)],
    # A group varies one thing only: "queues" always has 1,024 destinations, "filters" always 4 queues.
    "queues": [Settings(queues=queues, filters=1024) for queues in (8, 64, 1024)],
    "filters": [Settings(queues=4, filters=filters) for filters in (4, 64, 4096)],
}
MANY_CPUS: Final = 64
MANY_QUEUES: Final = 1024

Unit = Literal["frames/s", "Gbit/s", "times", "s", "bytes", "core"]


@dataclass(frozen=True)
class Target:
    """A performance target: the minimum ``at_least``, the better ``aim``, and the value ``measured`` now.

    ``lower_is_better`` for costs, whose limits are upper limits.
    """

    what: str
    unit: Unit
    at_least: float
    aim: float
    measured: float
    lower_is_better: bool = False

    @property
    def reached(self) -> Literal["aim", "at least", "no"]:
        """The better of the two levels that the measured value reaches, or "no"."""
        sign = -1 if self.lower_is_better else 1
        if sign * self.measured >= sign * self.aim:
            return "aim"
        return "at least" if sign * self.measured >= sign * self.at_least else "no"

    def document(self) -> dict[str, Any]:
        """The target as the benchmark's JSON has it."""
        return {**asdict(self), "reached": self.reached}


def document_of(rows: Sequence[Row], seconds: float, busy: float, progress: Progress) -> dict[str, Any]:
    """The part that both forms of the benchmark share: the first row, and baselines on the same frames."""
    base = rows[0].document()
    return {
        "schema": "vmq.bench/1",
        "cores": os.cpu_count(),
        "busy_cores_before": busy,
        "seconds": seconds,
        **base,
        "baselines": baselines(
            rows[0].settings,
            base["frames_per_second"],
            base["steer_frames_per_second_per_core"],
            progress,
        ),
    }


def bench(settings: Settings, seconds: float, progress: Progress) -> dict[str, Any]:
    """The document of ``vmqtui bench`` (contract 4), from runs of ``seconds`` in all.

    Raises BenchFailedError if a frame was dropped, NotEnoughMemoryError.
    """
    busy = busy_cores()
    return document_of(measure([settings], seconds, progress), seconds, busy, progress)


def sweep(seconds: float, engine_command: Sequence[str], progress: Progress) -> dict[str, Any]:
    """The document of ``vmqtui bench --sweep``; each row runs for ``seconds`` in all.

    ``engine_command`` starts an engine in a separate process. Raises the errors of ``bench``.
    """
    busy = busy_cores()
    private: dict[int, int] = {}

    def look(rig: Rig) -> None:
        if rig.settings.cpus == MANY_CPUS:
            private[MANY_CPUS] = private_bytes(rig)

    stages = len(GROUPS) + 2

    def stage(number: int, name: str) -> Progress:
        def tell(doing: str, share: float | None) -> None:
            progress(f"{number} of {stages} ({name}): {doing}", (number - 1 + (share or 0.0)) / stages)

        return tell

    groups = {
        name: measure(group, seconds, stage(number, name), look)
        for number, (name, group) in enumerate(GROUPS.items(), 1)
    }
    costs = stage(stages - 1, "costs")
    start = start_seconds(engine_command, MANY_CPUS, costs)
    telemetry = telemetry_share(engine_command, MANY_QUEUES, costs)
    replayed = replays(BASE, stage(stages, "replay"))
    return {
        **document_of(groups["frame bytes"], seconds, busy, progress),
        "rows": [
            {"group": name, **row.document(), "over_first": row.over(rows[0])}
            for name, rows in groups.items()
            for row in rows
        ],
        "start": start,
        "worker_private_bytes": private[MANY_CPUS],
        "telemetry": telemetry,
        "replays": replayed,
        "targets": [
            target.document()
            for target in _targets(
                groups,
                start=start["seconds"],
                private=private[MANY_CPUS],
                telemetry=telemetry["core_share"],
                replay=min(row["frames_per_second"] for row in replayed),
            )
        ],
    }


def _targets(
    groups: dict[str, list[Row]], *, start: float, private: int, telemetry: float, replay: float
) -> list[Target]:
    small, _, large = groups["frame bytes"]
    one, two, _, many = groups["CPUs"]
    few_queues, _, many_queues = groups["queues"]
    few_filters, _, many_filters = groups["filters"]
    measured = small.document()
    large_gbits = large.document()["gbits_per_second"]
    return [
        Target(
            "64-byte frames, 64 queues, 8 CPUs", "frames/s", 14.88e6, 59.5e6, measured["frames_per_second"]
        ),
        Target("1,514-byte frames, same", "Gbit/s", 25.0, large_gbits * 0.5 / large.copy_ratio, large_gbits),
        Target("2 shards over 1", "times", 1.7, 1.9, two.over(one)),
        Target(
            "steering alone, a core", "frames/s", 100e6, 200e6, measured["steer_frames_per_second_per_core"]
        ),
        Target("4 → 4,096 filters, slower", "times", 2.0, 1.3, few_filters.over(many_filters), True),
        Target("8 → 1,024 queues, slower", "times", 2.0, 1.3, few_queues.over(many_queues), True),
        Target("2 → 64 CPUs, slower", "times", 2.0, 1.3, two.over(many), True),
        Target("engine with 64 CPUs ready", "s", 6.0, 2.5, start, True),
        Target("memory of one more CPU", "bytes", 25e6, 12e6, private, True),
        Target("telemetry, 10 Hz, 1,024 queues, of a core", "core", 0.05, 0.02, telemetry, True),
        Target("replay, the slower of pcap and pcapng", "frames/s", 5e6, 12e6, replay),
    ]
