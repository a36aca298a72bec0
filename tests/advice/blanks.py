"""Takes from a host what a rule needs, or what a real host does not tell: the cells become unknown (None)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from engine.advice.evidence import Evidence
from engine.telemetry.config import AdapterConfig, Config, QueueConfig
from engine.telemetry.stats import AdapterStats, Columns, Stats

_IDENTITY: Final = ("id", "generation")
SET_KEYS: Final = ("base_processor", "max_processor", "max_processors", "preferred_numa_node")


def without(evidence: Evidence, places: Sequence[str], adapters: Collection[str] | None = None) -> Evidence:
    """The host with some places (``queue.cpu``) unknown, of all adapters or of ``adapters``."""
    taken: dict[str, set[str]] = {}
    for place in places:
        table, _, name = place.partition(".")
        taken.setdefault(table, set()).add(name)
    return mapped(
        evidence,
        lambda config: _config(config, taken, adapters),
        lambda stats: _stats(stats, taken, adapters),
    )


def mapped(
    evidence: Evidence, config: Callable[[Config], Config], stats: Callable[[Stats], Stats]
) -> Evidence:
    """The host with its configuration and readings changed, those of its worst stretches too."""
    return replace(
        evidence,
        config=config(evidence.config),
        stats=stats(evidence.stats),
        before=None if evidence.before is None else stats(evidence.before),
        worst={cpu: mapped(one, config, stats) for cpu, one in evidence.worst.items()},
    )


def blank(columns: Columns, names: Collection[str]) -> Columns:
    """Columns of which some are unknown in every row."""
    gone = [name for name in names if name in columns and name not in _IDENTITY]
    return {**columns, **{name: [None] * len(columns["id"]) for name in gone}}


def _stats(stats: Stats, taken: Mapping[str, set[str]], adapters: Collection[str] | None) -> Stats:
    return msgspec.structs.replace(
        stats,
        cpus=blank(stats.cpus, taken.get("cpus", ())),
        adapters={
            name: one if adapters is not None and name not in adapters else _adapter_stats(one, taken)
            for name, one in stats.adapters.items()
        },
    )


def _adapter_stats(stats: AdapterStats, taken: Mapping[str, set[str]]) -> AdapterStats:
    return msgspec.structs.replace(
        stats,
        queues=blank(stats.queues, taken.get("queues", ())),
        port={name: None if name in taken.get("port", ()) else cell for name, cell in stats.port.items()},
        default_queue_top=None if "pairs" in taken else stats.default_queue_top,
        default_queue={
            name: None if name in taken.get("reasons", ()) else cell
            for name, cell in stats.default_queue.items()
        },
    )


def _config(config: Config, taken: Mapping[str, set[str]], adapters: Collection[str] | None) -> Config:
    host: dict[str, Any] = {name: {} if name == "balancer" else None for name in taken.get("host", ())}
    processor: dict[str, Any] = dict.fromkeys(taken.get("processor", ()))
    return msgspec.structs.replace(
        config,
        **host,
        cpus=[msgspec.structs.replace(one, **processor) for one in config.cpus],
        adapters=[
            one if adapters is not None and one.name not in adapters else _adapter(one, taken)
            for one in config.adapters
        ],
    )


def _adapter(adapter: AdapterConfig, taken: Mapping[str, set[str]]) -> AdapterConfig:
    names = taken.get("adapter", set())
    gone: dict[str, Any] = dict.fromkeys(names - {"processor_set"})
    if "processor_set" in names:
        gone |= dict.fromkeys(SET_KEYS)
    queue: dict[str, Any] = dict.fromkeys(taken.get("queue", ()))
    if "cpu" in queue:
        queue["home_cpu"] = None
    queues = [msgspec.structs.replace(one, **queue) for one in adapter.queues]
    return msgspec.structs.replace(adapter, **gone, queues=queues)


# --- as real hosts tell --------------------------------------------------------------------------------


def as_linux(evidence: Evidence, *, drops: bool) -> Evidence:
    """The host as Linux shows it: queues are rings and virtual functions with their filters; no sets, teams,
    pairs, reasons, buffers in use or costs. ``drops``: whether the driver counts those of a ring."""
    kept = {"received_frames", "total_buffers", "interrupts"} | (
        {"steered_frames", "dropped_no_buffer"} if drops else set()
    )

    def config(of_all: Config) -> Config:
        adapters = [
            msgspec.structs.replace(
                one,
                vmq=None,
                ndis_version=None,
                vlan_filtering=None,
                team=None,
                team_mode=None,
                queues=[_ring(queue) for queue in one.queues if queue.state == "running"],
                **_UNTOLD,
                **dict.fromkeys(SET_KEYS),
            )
            for one in of_all.adapters
        ]
        return msgspec.structs.replace(
            of_all, system="Linux 6.12.9", windows=None, cpu_model={}, balancer={}, adapters=adapters
        )

    return mapped(evidence, config, lambda stats: _told(stats, kept, kept))


def as_windows(evidence: Evidence) -> Evidence:
    """The host as Windows shows it: sets, teams, filters and states; no counter of a queue but the frames of
    VMs, which are their vNICs'; no buffers, pairs, reasons or costs."""

    def config(of_all: Config) -> Config:
        adapters = [
            msgspec.structs.replace(
                one,
                max_frame_bytes=None,
                queues=[msgspec.structs.replace(_ring(queue), buffers=None) for queue in one.queues],
                **_UNTOLD,
            )
            for one in of_all.adapters
        ]
        release = of_all.windows or "2012 R2"
        return msgspec.structs.replace(
            of_all,
            system=f"Windows Server {release}",
            windows=release,
            cpu_model={},
            balancer={},
            adapters=adapters,
        )

    return mapped(evidence, config, lambda stats: _told(stats, {"received_frames"}, set()))


_UNTOLD: Final[dict[str, Any]] = dict.fromkeys(
    ("max_filters", "buffers", "min_lookahead_bytes", "max_lookahead_bytes")
)


def _ring(queue: QueueConfig) -> QueueConfig:
    return msgspec.structs.replace(
        queue, vm_paused=False, home_cpu=None, lookahead_bytes=None, return_delay_us=None
    )


def _told(stats: Stats, of_queues: Collection[str], of_default: Collection[str]) -> Stats:
    """The reading with what is told of VMs' queues, of the default queue, of processors and of the port."""
    adapters = {}
    for name, one in stats.adapters.items():
        queues: Columns = {
            column: [
                cell if column in _IDENTITY or column in (of_queues if number else of_default) else None
                for number, cell in zip(one.queues["id"], cells, strict=True)
            ]
            for column, cells in one.queues.items()
        }
        adapters[name] = msgspec.structs.replace(
            one,
            queues=queues,
            filters=blank(one.filters, list(one.filters)),
            freed=dict.fromkeys(one.freed),
            default_queue=dict.fromkeys(one.default_queue),
            default_queue_top=None,
        )
    told = ("busy_cycles", "budget_cycles", "interrupts")
    cpus = blank(stats.cpus, [column for column in stats.cpus if column not in told])
    return msgspec.structs.replace(stats, cpus=cpus, adapters=adapters)
