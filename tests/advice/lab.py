"""Evidence made by hand: a host of one adapter, and its counters between two readings."""

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.advice.evidence import Evidence, Trace
from engine.ndis.counters import DEFAULT_QUEUE_REASONS, names
from engine.telemetry.config import AdapterConfig, Config
from engine.telemetry.stats import AdapterStats, Columns, Stats, TopPairs, known
from tests.vmqtui.scripted import make_config

CYCLES = 2_600_000_000


def evidence(
    config: Config | None = None,
    *,
    loads: dict[int, float] | None = None,
    pps: dict[int, int] | None = None,
    pairs: Sequence[tuple[str, int | str, str, int]] = (),
    trace: Trace | None = None,
    columns: dict[str, dict[int, int]] | None = None,
    reasons: dict[str, int] | None = None,
) -> Evidence:
    """One second of a host: ``loads`` by processor, ``pps`` and other ``columns`` by queue, 0 without; every
    adapter does the same."""
    config = config or make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 2, 0)))
    cpus = [one.id for one in config.cpus]
    now = Stats(
        seq=2,
        sim_time_ns=1_000_000_000,
        time_ns=0,
        revision=config.revision,
        cpus={
            "id": [*cpus],
            "busy_cycles": [round(CYCLES * (loads or {}).get(cpu, 0.0)) for cpu in cpus],
            "budget_cycles": [CYCLES for _ in cpus],
        },
        adapters={
            one.name: _counted(one, pps or {}, pairs, columns or {}, reasons or {}) for one in config.adapters
        },
    )
    return Evidence(config, now, None, trace or Trace())


def _counted(
    adapter: AdapterConfig,
    frames: dict[int, int],
    pairs: Sequence[tuple[str, int | str, str, int]],
    columns: dict[str, dict[int, int]],
    reasons: dict[str, int],
) -> AdapterStats:
    ids = [queue.queue_id for queue in adapter.queues]

    def of(by_queue: dict[int, int], otherwise: int = 0) -> list[int | None]:
        return [by_queue.get(queue_id, otherwise) for queue_id in ids]

    queues: Columns = {
        "id": [*ids],
        "generation": [queue.generation for queue in adapter.queues],
        "steered_frames": of(frames),
        "steered_bytes": of({queue_id: 500 * count for queue_id, count in frames.items()}),
        "total_buffers": [queue.buffers for queue in adapter.queues],
        "low_free_buffers": of({}, 400),
        "dropped_no_buffer": of({}),
        "outstanding": of({}),
    }
    for name, by_queue in columns.items():
        queues[name] = [
            by_queue.get(queue_id, value) for queue_id, value in zip(ids, known(queues[name]), strict=True)
        ]
    return AdapterStats(
        port={"offered_frames": sum(frames.values()), "offered_bytes": 500 * sum(frames.values())},
        queues=queues,
        filters={
            "id": [one.filter_id for one in adapter.filters],
            "matched_frames": [frames.get(one.queue_id, 0) for one in adapter.filters],
        },
        freed={},
        default_queue={**dict.fromkeys(names(DEFAULT_QUEUE_REASONS), 0), **reasons},
        default_queue_top=TopPairs(
            mac=[one[0] for one in pairs],
            # The VLANs of pairs are numbers or "untagged".
            vlan=[one[1] for one in pairs],  # type: ignore[misc]
            reason=[one[2] for one in pairs],
            frames=[one[3] for one in pairs],
            error=[0 for _ in pairs],
        ),
    )


def changed(config: Config, **changes: Any) -> Config:
    """The configuration with keys of its adapter changed."""
    adapter = msgspec.structs.replace(config.adapters[0], **changes)
    return msgspec.structs.replace(config, adapters=[adapter])
