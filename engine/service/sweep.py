"""The whole account: how speed scales, what an engine costs, and how far that is from what is wanted.

``GROUPS`` are the rows of the scaling table. Rows of a group differ in one thing and take turns; each is
held against the first of its group.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from engine.service.baselines import baselines
from engine.service.bench import Progress, Rig, Row, Settings, busy_cores, measure
from engine.service.bench_costs import private_bytes, replays, start_seconds, telemetry_share

BASE: Final = Settings()
GROUPS: Final = {
    "frame bytes": [BASE, Settings(frame_bytes=512), Settings(frame_bytes=1514)],
    "CPUs": [Settings(cpus=cpus) for cpus in (1, 2, 8, 64)],
    # One traffic for all rows of a group: the same 1,024 destinations, the same 4 queues.
    "queues": [Settings(queues=queues, filters=1024) for queues in (8, 64, 1024)],
    "filters": [Settings(queues=4, filters=filters) for filters in (4, 64, 4096)],
}
MANY_CPUS: Final = 64
MANY_QUEUES: Final = 1024

Unit = Literal["frames/s", "Gbit/s", "times", "s", "bytes", "core"]


@dataclass(frozen=True)
class Target:
    """Something wanted: ``at_least`` so good, the ``aim`` better still; ``measured`` here and now.

    Of a cost, ``lower_is_better``.
    """

    what: str
    unit: Unit
    at_least: float
    aim: float
    measured: float
    lower_is_better: bool = False

    @property
    def reached(self) -> Literal["aim", "at least", "no"]:
        """How far it is reached."""
        sign = -1 if self.lower_is_better else 1
        if sign * self.measured >= sign * self.aim:
            return "aim"
        return "at least" if sign * self.measured >= sign * self.at_least else "no"

    def document(self) -> dict[str, Any]:
        """As the benchmark prints it."""
        return {**asdict(self), "reached": self.reached}


def document_of(rows: Sequence[Row], seconds: float, busy: float, progress: Progress) -> dict[str, Any]:
    """What both forms of the benchmark begin with: the first row, and Python on the same frames."""
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

    Raises BenchFailedError when a frame was dropped, NotEnoughMemoryError.
    """
    busy = busy_cores()
    return document_of(measure([settings], seconds, progress), seconds, busy, progress)


def sweep(seconds: float, engine_command: Sequence[str], progress: Progress) -> dict[str, Any]:
    """The document of ``vmqtui bench --sweep``; each row runs for ``seconds`` in all.

    ``engine_command`` starts an engine in a process of its own. Raises what ``bench`` does.
    """
    busy = busy_cores()
    private: dict[int, int] = {}

    def look(rig: Rig) -> None:
        if rig.settings.cpus == MANY_CPUS:
            private[MANY_CPUS] = private_bytes(rig)

    stages = len(GROUPS) + 2

    def stage(number: int, name: str) -> Progress:
        return lambda sentence: progress(f"{number} of {stages} ({name}): {sentence}")

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
