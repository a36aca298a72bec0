"""The stats message: the counters of contract 2 at one simulated time, as columns."""

from typing import Literal

import msgspec

Columns = dict[str, list[int]]


class TopPairs(msgspec.Struct, frozen=True, eq=False):
    """Pairs of destination MAC and VLAN that the default queue took most frames of, as columns.

    Most frames first, at most 64 rows, from a Space-Saving sketch: ``frames`` is an upper bound, and up to
    ``error`` of it may be another pair's. ``reason`` is that of the pair's last frame.
    """

    mac: list[str]
    vlan: list[int | Literal["untagged"]]
    reason: list[str]
    frames: list[int]
    error: list[int]


class AdapterStats(msgspec.Struct, frozen=True, eq=False):
    """Counters of one adapter. Rows of ``queues`` and ``filters`` are named by their ``id`` column;
    ``queues`` also has ``generation``, which tells apart queues that had the same id."""

    port: dict[str, int]
    queues: Columns
    filters: Columns
    freed: dict[str, int]
    default_queue: dict[str, int]
    default_queue_top: TopPairs | None = None
    """None from an engine that does not tell."""


class BusStats(msgspec.Struct, frozen=True):
    """What became of the engine's messages and of those to it, since it started."""

    connections: int = 0
    readings_replaced: int = 0
    messages_dropped: int = 0
    requests_dropped: int = 0
    bad_requests: int = 0
    requests_refused: int = 0


class Stats(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Every counter of a host at ``sim_time_ns``; compared by identity: a new reading is a new object.

    ``time_ns`` is Unix time. ``behind_ns`` says how far simulated time is behind the clock it should
    keep, ``given_up_ns`` how much of the time that passed it won't make up for, ``real_time_ratio`` how
    fast it went lately (simulated by wall time; None: unknown), ``skipped_ns`` how much was cut out of gaps
    of over 1 s. ``revision`` is the configuration that these rows belong to.
    """

    seq: int
    sim_time_ns: int
    time_ns: int
    revision: int
    cpus: Columns
    adapters: dict[str, AdapterStats]
    behind_ns: int = 0
    given_up_ns: int = 0
    real_time_ratio: float | None = None
    skipped_ns: int = 0
    bus: BusStats | None = None
    """None from an engine that does not tell."""
    schema: Literal["vmq.stats/1"] = "vmq.stats/1"
