"""The stats message: the counters of contract 2 at one simulated time, in columns."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, get_args

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

Cell = int | None
"""A counter or gauge; None: unknown. The model knows all of them, a measured host does not (contract 5)."""
Columns = dict[str, list[Cell]]


Source = Literal["exact", "derived", "guessed"]
"""How a measured column is known: read as such, computed from exact ones, or taken by a name or habit that
may be wrong."""


def least_certain(sources: Iterable[Source]) -> Source:
    """Return the worst of some sources, of which there is at least one."""
    return max(sources, key=get_args(Source).index)


def merged_sources(several: Iterable[Mapping[str, Source] | None]) -> dict[str, Source]:
    """Merge sources of columns by name: of each name, the least certain one."""
    merged: dict[str, Source] = {}
    for sources in several:
        for name, source in (sources or {}).items():
            merged[name] = least_certain((source, merged.get(name, source)))
    return merged


def known(cells: Iterable[Cell]) -> list[int]:
    """Return cells that the model sent, which knows all of them; raise ``ValueError`` if one is None."""
    values = list(cells)
    if None in values:
        raise ValueError("a counter is unknown")
    return values  # type: ignore[return-value]  # as just checked


def total(cells: Iterable[Cell]) -> Cell:
    """Return the sum of cells; None if one is unknown."""
    values = list(cells)
    return None if None in values else sum(values)  # type: ignore[arg-type]  # as just checked


class TopPairs(msgspec.Struct, frozen=True, eq=False):
    """The pairs of destination MAC and VLAN with the most frames in the default queue, as columns.

    The pairs come from a Space-Saving sketch, up to 64 rows, most frames first. ``frames`` is an upper bound:
    up to ``error`` of it may belong to other pairs. ``reason`` is that of the pair's last frame.
    A measured Windows host has those of ports without a queue only: what their virtual adapters received.
    """

    mac: Annotated[list[Name], OfPairs]
    vlan: Annotated[list[int | Literal["untagged"]], OfPairs]
    reason: Annotated[list[Name], OfPairs]
    frames: Annotated[list[Cell], OfPairs]
    error: Annotated[list[Cell], OfPairs]


def _check_identity(table: Columns, *names: str) -> None:
    for name in names:
        if None in table.get(name, ()):
            raise ValueError(f"a row without {name}")


class AdapterStats(msgspec.Struct, frozen=True, eq=False):
    """Counters of one adapter. The column ``id`` identifies the rows of ``queues`` and ``filters``; in
    ``queues``, the column ``generation`` distinguishes successive queues with the same id. These are always
    known; a message with None in them is refused."""

    port: Annotated[dict[Name, Cell], OfColumns]
    queues: Annotated[dict[Name, Annotated[list[Cell], OfQueues]], OfColumns]
    filters: Annotated[dict[Name, Annotated[list[Cell], OfFilters]], OfColumns]
    freed: Annotated[dict[Name, Cell], OfColumns]
    default_queue: Annotated[dict[Name, Cell], OfColumns]
    default_queue_top: TopPairs | None = None
    """An older engine sends None."""
    interface: Annotated[dict[Name, Cell], OfColumns] | None = None
    """The kernel's counters of the live interface that feeds the adapter, if any."""

    sources: Annotated[dict[Name, Source], OfColumns] | None = None
    """How each known column of its tables is known; None from the model, which knows them exactly."""

    def __post_init__(self) -> None:
        _check_identity(self.queues, "id", "generation")
        _check_identity(self.filters, "id")


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
    cpus: Annotated[dict[Name, Annotated[list[Cell], OfCpus]], OfColumns]
    adapters: Annotated[dict[Name, AdapterStats], OfAdapters]
    behind_ns: Nanoseconds = 0
    given_up_ns: Nanoseconds = 0
    real_time_ratio: Number | None = None
    skipped_ns: Nanoseconds = 0
    bus: BusStats | None = None
    """An older engine sends None."""
    sources: Annotated[dict[Name, Source], OfColumns] | None = None
    """How each known column of ``cpus`` is known; None from the model."""
    schema: Literal["vmq.stats/1"] = "vmq.stats/1"

    def __post_init__(self) -> None:
        _check_identity(self.cpus, "id")
