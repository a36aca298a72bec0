"""The stats message: the counters of contract 2 at one simulated time, in columns."""

from typing import Annotated, Literal

import msgspec

from engine.telemetry.bounds import (
    Count,
    Name,
    Nanoseconds,
    Number,
    OfAdapters,
    OfColumns,
    OfCpus,
    OfFilters,
    OfPairs,
    OfQueues,
)

Columns = dict[str, list[int]]


class TopPairs(msgspec.Struct, frozen=True, eq=False):
    """The pairs of destination MAC and VLAN with the most frames in the default queue, as columns.

    The pairs come from a Space-Saving sketch, up to 64 rows, most frames first. ``frames`` is an upper bound:
    up to ``error`` of it may belong to other pairs. ``reason`` is that of the pair's last frame.
    """

    mac: Annotated[list[Name], OfPairs]
    vlan: Annotated[list[int | Literal["untagged"]], OfPairs]
    reason: Annotated[list[Name], OfPairs]
    frames: Annotated[list[int], OfPairs]
    error: Annotated[list[int], OfPairs]


class AdapterStats(msgspec.Struct, frozen=True, eq=False):
    """Counters of one adapter. The column ``id`` identifies the rows of ``queues`` and ``filters``; in
    ``queues``, the column ``generation`` distinguishes successive queues with the same id."""

    port: Annotated[dict[Name, int], OfColumns]
    queues: Annotated[dict[Name, Annotated[list[int], OfQueues]], OfColumns]
    filters: Annotated[dict[Name, Annotated[list[int], OfFilters]], OfColumns]
    freed: Annotated[dict[Name, int], OfColumns]
    default_queue: Annotated[dict[Name, int], OfColumns]
    default_queue_top: TopPairs | None = None
    """An older engine sends None."""
    interface: Annotated[dict[Name, int], OfColumns] | None = None
    """The kernel's counters of the live interface that feeds the adapter, if any."""


class BusStats(msgspec.Struct, frozen=True):
    """Counters of sent, received and dropped messages since the engine started."""

    connections: Count = 0
    readings_replaced: Count = 0
    messages_dropped: Count = 0
    requests_dropped: Count = 0
    bad_requests: Count = 0
    requests_refused: Count = 0


class Stats(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Every counter of a host at ``sim_time_ns``; compared by identity: a new reading is a new object.

    ``time_ns`` is Unix time. ``behind_ns`` is the lag of simulated time behind the wall clock, and
    ``given_up_ns`` is the lag that it won't make up. ``real_time_ratio`` is its recent speed (simulated time
    per wall time; None: unknown). ``skipped_ns`` is the time cut out of gaps over 1 s. ``revision``
    identifies the configuration that has these rows.
    """

    seq: Count
    sim_time_ns: Nanoseconds
    time_ns: Nanoseconds
    revision: Count
    cpus: Annotated[dict[Name, Annotated[list[int], OfCpus]], OfColumns]
    adapters: Annotated[dict[Name, AdapterStats], OfAdapters]
    behind_ns: Nanoseconds = 0
    given_up_ns: Nanoseconds = 0
    real_time_ratio: Number | None = None
    skipped_ns: Nanoseconds = 0
    bus: BusStats | None = None
    """An older engine sends None."""
    schema: Literal["vmq.stats/1"] = "vmq.stats/1"
