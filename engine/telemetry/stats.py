"""The stats message: the counters of contract 2 at one simulated time, as columns."""

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
    """Pairs of destination MAC and VLAN that the default queue took most frames of, as columns.

    Most frames first, at most 64 rows, from a Space-Saving sketch: ``frames`` is an upper bound, and up to
    ``error`` of it may be another pair's. ``reason`` is that of the pair's last frame.
    """

    mac: Annotated[list[Name], OfPairs]
    vlan: Annotated[list[int | Literal["untagged"]], OfPairs]
    reason: Annotated[list[Name], OfPairs]
    frames: Annotated[list[int], OfPairs]
    error: Annotated[list[int], OfPairs]


class AdapterStats(msgspec.Struct, frozen=True, eq=False):
    """Counters of one adapter. Rows of ``queues`` and ``filters`` are named by their ``id`` column;
    ``queues`` also has ``generation``, which tells apart queues that had the same id."""

    port: Annotated[dict[Name, int], OfColumns]
    queues: Annotated[dict[Name, Annotated[list[int], OfQueues]], OfColumns]
    filters: Annotated[dict[Name, Annotated[list[int], OfFilters]], OfColumns]
    freed: Annotated[dict[Name, int], OfColumns]
    default_queue: Annotated[dict[Name, int], OfColumns]
    default_queue_top: TopPairs | None = None
    """None from an older engine."""
    interface: Annotated[dict[Name, int], OfColumns] | None = None
    """The kernel's counters of the live interface that feeds the adapter, if there is one."""


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

    ``time_ns`` is Unix time. ``behind_ns`` is the delay of simulated time to the wall clock, ``given_up_ns``
    the delay that it won't catch up with, ``real_time_ratio`` its recent speed (simulated per wall time;
    None: unknown), ``skipped_ns`` the time cut out of gaps of over 1 s. ``revision`` is that of the
    configuration that these rows belong to.
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
    """None from an older engine."""
    schema: Literal["vmq.stats/1"] = "vmq.stats/1"
