"""Builds a host's messages: stats from the data plane's columns, config from the control plane."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from engine.dataplane.plane import Reading
from engine.kernels import layout
from engine.kernels.latency import percentiles_ns
from engine.kernels.layout import I64, TOP, Q
from engine.kernels.top import most_frequent
from engine.ndis import counters
from engine.ndis.host import Host
from engine.scenario.model import HostSpec
from engine.scenario.values import format_mac
from engine.telemetry.config import AdapterConfig, Config, CpuConfig
from engine.telemetry.stats import AdapterStats, Columns, Stats, TopPairs

_QUEUE_NAMES = counters.names(counters.QUEUE + counters.QUEUE_GAUGES)
_QUEUE_COLUMNS = [layout.QUEUE_COLUMNS.index(name) for name in _QUEUE_NAMES]
_LATENCY_NAMES = counters.names(counters.QUEUE_LATENCY)
_COUNTER_NAMES = counters.names(counters.QUEUE)
_REASONS = counters.names(counters.DEFAULT_QUEUE_REASONS)
_CPU_NAMES = tuple(name for name in counters.names(counters.CPU) if name != "budget_cycles")
_CPU_COLUMNS = [layout.CPU_COLUMNS.index(name) for name in _CPU_NAMES]

_TOP_ROWS: Final = 64
_MAC_MASK: Final = 2**48 - 1


@dataclass(frozen=True)
class AdapterRows:
    """The rows of a reading that belong to one adapter: the ids in use, ascending, and their base rows."""

    name: str
    slot_base: int
    filter_base: int
    queue_ids: Sequence[int]
    generations: Sequence[int]
    filter_ids: Sequence[int]


def top_pairs(sketch: I64) -> TopPairs:
    """Build the most frequent pairs of a sketch (``engine.kernels.top``)."""
    top = most_frequent(sketch, _TOP_ROWS)
    return TopPairs(
        mac=[format_mac(key >> 16 & _MAC_MASK) for key in top[:, TOP.key].tolist()],
        vlan=[key & 0xFFF or "untagged" for key in top[:, TOP.key].tolist()],
        reason=[_REASONS[reason] for reason in top[:, TOP.reason].tolist()],
        frames=top[:, TOP.frames].tolist(),
        error=top[:, TOP.error].tolist(),
    )


def _adapter(
    reading: Reading, index: int, rows: AdapterRows, interface: dict[str, int] | None
) -> AdapterStats:
    slots = rows.slot_base + np.asarray(rows.queue_ids, np.int64)
    own = reading.queues[slots]
    matched = reading.matched[rows.filter_base + np.asarray(rows.filter_ids, np.int64)]
    queues: Columns = {"id": list(rows.queue_ids), "generation": list(rows.generations)}
    queues.update(zip(_QUEUE_NAMES, own[:, _QUEUE_COLUMNS].T.tolist(), strict=True))
    longest = own[:, Q.latency_max_ns]
    half, most = percentiles_ns(reading.latency[slots], longest, (0.5, 0.99))
    queues.update(zip(_LATENCY_NAMES, (half.tolist(), most.tolist(), longest.tolist()), strict=True))
    reasons = reading.queues[rows.slot_base, layout.FIRST_REASON : layout.FIRST_REASON + len(_REASONS)]
    freed = reading.freed[index, list(layout.QUEUE_COUNTERS)]
    return AdapterStats(
        port=dict(zip(counters.names(counters.PORT), reading.port[index].tolist(), strict=True)),
        queues=queues,
        filters={"id": list(rows.filter_ids), "matched_frames": matched.tolist()},
        freed=dict(zip(_COUNTER_NAMES, freed.tolist(), strict=True)),
        default_queue=dict(zip(_REASONS, reasons.tolist(), strict=True)),
        default_queue_top=top_pairs(reading.top[index]),
        interface=None if interface is None else {**interface},
    )


def stats_of(
    reading: Reading,
    adapters: Sequence[AdapterRows],
    *,
    seq: int,
    time_ns: int,
    revision: int,
    down: Iterable[int] = (),
    behind_ns: int = 0,
    skipped_ns: int = 0,
    interfaces: Mapping[int, dict[str, int]] | None = None,
) -> Stats:
    """Build the stats message of a reading. ``down`` lists the processors without a worker. ``interfaces``
    has the kernel's counters of live interfaces, by the index of the adapter that each feeds."""
    cpus: Columns = {"id": list(range(len(reading.cpus)))}
    cpus.update(zip(_CPU_NAMES, reading.cpus[:, _CPU_COLUMNS].T.tolist(), strict=True))
    cpus["budget_cycles"] = [*reading.budget_cycles]
    cpus["down"] = [0] * len(reading.cpus)
    for cpu in down:
        cpus["down"][cpu] = 1
    in_use = reading.owner[reading.owner != layout.NONE]
    cpus["queues"] = np.bincount(in_use, minlength=len(reading.cpus)).tolist()
    return Stats(
        seq=seq,
        sim_time_ns=reading.sim_time_ns,
        time_ns=time_ns,
        revision=revision,
        behind_ns=behind_ns,
        skipped_ns=skipped_ns,
        cpus=cpus,
        adapters={
            rows.name: _adapter(reading, index, rows, (interfaces or {}).get(index))
            for index, rows in enumerate(adapters)
        },
    )


def _cpus_of(host: HostSpec) -> list[CpuConfig]:
    threads = 2 if host.hyperthreading else 1
    return [
        CpuConfig(id=cpu, name=str(place), core=cpu // threads, numa_node=host.processors.nodes[cpu])
        for cpu, place in host.processors.places.items()
    ]


def config_of(host: Host) -> Config:
    """Build the config message of a host."""
    scenario = host.scenario
    teams = {
        name: {"team": team.name, "team_mode": team.mode} for team in scenario.team for name in team.members
    }
    return Config(
        revision=host.revision,
        host=scenario.host.name,
        cpus=_cpus_of(scenario.host),
        hyperthreading=scenario.host.hyperthreading,
        numa_nodes=scenario.host.numa_nodes,
        windows=scenario.host.windows,
        cpu_model=msgspec.to_builtins(scenario.cpu),
        balancer=msgspec.to_builtins(host.balancing.spec),
        traffic=host.traffic.words,
        adapters=msgspec.convert(
            [one.describe() | teams.get(one.spec.name, {}) for one in host.adapters], list[AdapterConfig]
        ),
    )
