"""Readings of a model without the columns that a real host lacks, as Linux or Windows has them."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from engine.telemetry.config import AdapterConfig, Config, QueueConfig
from engine.telemetry.stats import AdapterStats, Cell, Columns, Source, Stats

replace = msgspec.structs.replace

_OF_QUEUE: Final[dict[str, Any]] = {"lookahead_bytes": None, "return_delay_us": None, "vm_paused": False}
_OF_ADAPTER: Final[dict[str, Any]] = {
    "max_filters": None,
    "buffers": None,
    "min_lookahead_bytes": None,
    "max_lookahead_bytes": None,
}
_OF_SET: Final[dict[str, Any]] = {
    "base_processor": None,
    "max_processor": None,
    "max_processors": None,
    "preferred_numa_node": None,
}


class TakenAway:
    """How one kind of host shows what the model knows: its configuration and its readings."""

    def __init__(self, config: Callable[[Config], Config], stats: Callable[[Config, Stats], Stats]) -> None:
        self.config = config
        self.stats = stats


def _only(columns: Columns, **kept: Sequence[Cell]) -> Columns:
    """Columns of which all but identities and ``kept`` are unknown."""
    unknown: list[Cell] = [None] * len(columns["id"])
    same = {name: cells for name, cells in columns.items() if name in ("id", "generation", "down")}
    return {**dict.fromkeys(columns, unknown), **same, **{name: list(cells) for name, cells in kept.items()}}


def _unknown(
    adapter: AdapterStats, queues: Columns, port: dict[str, Cell], sources: dict[str, Source]
) -> AdapterStats:
    return AdapterStats(
        port={**dict.fromkeys(adapter.port), **port},
        queues=queues,
        filters=_only(adapter.filters),
        freed=dict.fromkeys(adapter.freed),
        default_queue=dict.fromkeys(adapter.default_queue),
        sources=sources,
    )


def _cpus(config: Config, stats: Stats, **kept: Sequence[Cell]) -> Columns:
    """Processors' times in nanoseconds, as a real host has them."""
    clock = float(config.cpu_model["clock_ghz"])
    times = {
        name: [None if one is None else round(one / clock) for one in stats.cpus[name]]
        for name in ("busy_cycles", "budget_cycles")
    }
    return _only(stats.cpus, **times, queues=stats.cpus["queues"], **kept)


# --- Linux ------------------------------------------------------------------------------------------


def _linux_config(config: Config) -> Config:
    def adapter(one: AdapterConfig) -> AdapterConfig:
        unknown = {"vmq": None, "ndis_version": None, "vlan_filtering": None, "team": None, "team_mode": None}
        queues = [replace(each, **_OF_QUEUE) for each in one.queues]
        return replace(one, **_OF_ADAPTER, **_OF_SET, **unknown, queues=queues)

    return replace(
        config,
        system="Linux 6.12.9",
        windows=None,
        cpu_model={},
        balancer={},
        adapters=[adapter(one) for one in config.adapters],
    )


def _linux_stats(config: Config, stats: Stats) -> Stats:
    """Rings with frames, drops and interrupts; bytes are those of frames received."""
    adapters = {}
    for name, one in stats.adapters.items():
        queues = one.queues
        received_bytes = [
            of_bytes * received // steered if of_bytes and received and steered else 0
            for of_bytes, received, steered in zip(
                queues["steered_bytes"], queues["received_frames"], queues["steered_frames"], strict=True
            )
        ]
        kept = {
            column: queues[column]
            for column in (
                "steered_frames",
                "received_frames",
                "dropped_no_buffer",
                "interrupts",
                "total_buffers",
            )
        }
        sources: dict[str, Source] = {**dict.fromkeys(kept, "exact"), "steered_bytes": "exact"}
        port = {column: one.port[column] for column in ("offered_frames", "offered_bytes")}
        adapters[name] = _unknown(one, _only(queues, **kept, steered_bytes=received_bytes), port, sources)
    cpus = _cpus(config, stats, interrupts=stats.cpus["interrupts"])
    return replace(stats, cpus=cpus, adapters=adapters, sources={"busy_cycles": "exact"}, bus=None)


# --- Windows ----------------------------------------------------------------------------------------


def _windows_config(config: Config) -> Config:
    def queue(one: QueueConfig) -> QueueConfig:
        return replace(one, **_OF_QUEUE, buffers=None)

    def adapter(one: AdapterConfig) -> AdapterConfig:
        return replace(one, **_OF_ADAPTER, max_frame_bytes=None, queues=[queue(each) for each in one.queues])

    return replace(
        config,
        system=f"Windows Server {config.windows or '2019'}",
        cpu_model={},
        balancer={},
        adapters=[adapter(one) for one in config.adapters],
    )


def _windows_stats(config: Config, stats: Stats) -> Stats:
    """No counter of a queue: those of VMs are their vNICs', the default queue's are unknown."""
    adapters = {}
    for one in config.adapters:
        counted = stats.adapters[one.name]
        of_vm = {(each.queue_id, each.generation) for each in one.queues if each.vm is not None}
        rows = zip(
            counted.queues["id"], counted.queues["generation"], counted.queues["received_frames"], strict=True
        )
        received = [frames if (number, life) in of_vm else None for number, life, frames in rows]
        adapters[one.name] = _unknown(
            counted,
            _only(counted.queues, received_frames=received),
            {name: counted.port[name] for name in ("offered_frames", "offered_bytes")},
            {"received_frames": "derived"},
        )
    cpus = _cpus(config, stats, interrupts=stats.cpus["interrupts"], dpcs=stats.cpus["dpcs"])
    return replace(stats, cpus=cpus, adapters=adapters, sources={"busy_cycles": "exact"}, bus=None)


AS_A_MODEL: Final = TakenAway(lambda config: config, lambda _, stats: stats)
AS_LINUX: Final = TakenAway(_linux_config, _linux_stats)
AS_WINDOWS: Final = TakenAway(_windows_config, _windows_stats)
