"""The document that a replay prints (contract 4, ``vmq.replay/1``)."""

from typing import Any

import msgspec

from engine.telemetry.config import AdapterConfig, Config
from engine.telemetry.stats import AdapterStats, Columns, Stats


def _rows(columns: Columns) -> list[dict[str, int]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _adapter(config: AdapterConfig, stats: AdapterStats) -> dict[str, Any]:
    counters = {row["id"]: row for row in _rows(stats.queues)}
    matched = {row["id"]: row["matched_frames"] for row in _rows(stats.filters)}
    return {
        "name": config.name,
        "port": stats.port,
        "queues": [
            {
                "id": queue.queue_id,
                "name": queue.name,
                "vm": queue.vm,
                "cpu": queue.cpu,
                "state": queue.state,
                **counters[queue.queue_id],
            }
            for queue in config.queues
        ],
        "freed": stats.freed,
        "filters": [
            {
                "id": one.filter_id,
                "queue": one.queue_id,
                "mac": one.mac,
                "vlan": one.vlan,
                "matched_frames": matched[one.filter_id],
            }
            for one in config.filters
        ],
        "default_queue": stats.default_queue,
    }


def replay_report(
    config: Config,
    stats: Stats,
    *,
    capture: str,
    sim_seconds: float,
    wall_seconds: float,
    truncated: bool,
    skipped_frames: int,
) -> dict[str, Any]:
    """The document of a replay that has ended; ``stats`` must be of the revision of ``config``."""
    names = {cpu.id: cpu for cpu in config.cpus}
    report: dict[str, Any] = {
        "schema": "vmq.replay/1",
        "capture": capture,
        "sim_seconds": sim_seconds,
        "wall_seconds": wall_seconds,
        "cpus": [msgspec.to_builtins(names[row["id"]]) | row for row in _rows(stats.cpus)],
        "adapters": [_adapter(one, stats.adapters[one.name]) for one in config.adapters],
    }
    if stats.skipped_ns:
        report["skipped_seconds"] = stats.skipped_ns / 1e9
    if skipped_frames:
        report["skipped_frames"] = skipped_frames
    if truncated:
        report["truncated"] = True
    return report
