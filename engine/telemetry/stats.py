"""The stats message: the counters of contract 2 at one simulated time, as columns."""

from typing import Literal

import msgspec

Columns = dict[str, list[int]]


class AdapterStats(msgspec.Struct, frozen=True, eq=False):
    """Counters of one adapter. Rows of ``queues`` and ``filters`` are named by their ``id`` column;
    ``queues`` also has ``generation``, which tells apart queues that had the same id."""

    port: dict[str, int]
    queues: Columns
    filters: Columns
    freed: dict[str, int]
    default_queue: dict[str, int]


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
    schema: Literal["vmq.stats/1"] = "vmq.stats/1"
