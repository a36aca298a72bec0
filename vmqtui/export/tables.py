"""Tables of a recording as CSV or Parquet, with the column names of the message contract.

Rows are streamed: memory use does not grow with the recording.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Literal

from engine.ndis import counters
from engine.telemetry.events import Event
from engine.telemetry.packing import PackingError
from engine.telemetry.recording import Recording
from engine.telemetry.stats import AdapterStats, Columns, Source
from engine.view.index import AdapterIndex, ConfigIndex
from vmqtui.columns.export import cell
from vmqtui.recorded import RecordedTape

Kind = Literal["integer", "text"]
Cell = int | str | None
Table = Literal["queues", "filters", "cpus", "adapters", "events"]

_COUNTS: Final = counters.names
_OF_READING: Final = (("host", "text"), ("run", "integer"), ("seq", "integer"), ("time_ns", "integer"))
_TIME: Final = (*_OF_READING, ("sim_time_ns", "integer"))
_QUEUE: Final = _COUNTS(
    (*counters.QUEUE, *counters.QUEUE_GAUGES, *counters.QUEUE_LATENCY, *counters.QUEUE_OF_MEASURED)
)
_CPU: Final = _COUNTS((*counters.CPU, *counters.CPU_GAUGES))
_PORT: Final = _COUNTS(counters.PORT)
_INTERFACE: Final = _COUNTS(counters.INTERFACE)
_REASONS: Final = _COUNTS(counters.DEFAULT_QUEUE_REASONS)
_FREED: Final = _COUNTS(counters.QUEUE)


_SOURCES: Final = ("sources", "text")


def _integers(names: Iterable[str], prefix: str = "") -> tuple[tuple[str, Kind], ...]:
    return tuple((f"{prefix}{name}", "integer") for name in names)


COLUMNS: Final[dict[Table, tuple[tuple[str, str], ...]]] = {
    "queues": (
        *_TIME, ("adapter", "text"), ("queue_id", "integer"), ("generation", "integer"), ("name", "text"),
        ("vm", "text"), ("cpu", "integer"), ("state", "text"), *_integers(_QUEUE), _SOURCES,
    ),
    "filters": (
        *_TIME, ("adapter", "text"), ("filter_id", "integer"), ("queue_id", "integer"), ("mac", "text"),
        ("vlan", "text"), *_integers(_COUNTS(counters.FILTER)), _SOURCES,
    ),
    "cpus": (*_TIME, ("cpu", "integer"), *_integers(_CPU), _SOURCES),
    "adapters": (
        *_TIME, ("adapter", "text"), *_integers(_PORT), *_integers(_INTERFACE),
        *_integers(_REASONS, "default_queue_"), *_integers(_FREED, "freed_"), _SOURCES,
    ),
    "events": (
        *_TIME, ("event", "text"), ("adapter", "text"), ("queue_id", "integer"), ("state", "text"),
        ("cause", "text"),
    ),
}  # fmt: skip
"""Name and kind of each column. ``vlan`` is text: an id, "untagged", or empty for any. ``sources`` has how a
measured host knows its counters: ``received_frames=exact interrupts=guessed``; it is empty for the model."""


@dataclass
class Rows:
    """The rows of one table of a recording, for all hosts or one; iterating generates them lazily."""

    recording: Recording
    table: Table
    host: str | None = None
    unreadable: int = 0
    """Count of readings and events that could not be read (the file changed after it was opened)."""
    progress: Callable[[float], None] = lambda share: None
    """Called with the share (0..1) of readings or events that were read."""

    def __iter__(self) -> Iterator[Sequence[Cell]]:
        hosts = [host for host in sorted(self.recording.hosts) if self.host in (None, host)]
        indexes = [self.recording.hosts[host] for host in hosts]
        counts = [len(one.since["event"] if self.table == "events" else one.offsets) for one in indexes]
        total = sum(counts)
        before = 0
        for host, count in zip(hosts, counts, strict=True):
            for number, rows in enumerate(self._parts(host), before):
                yield from rows
                self.progress((number + 1) / total)
            before += count

    def _parts(self, host: str) -> Iterator[Iterable[Sequence[Cell]]]:
        """Yield the rows of each reading, or of each event."""
        if self.table == "events":
            yield from self._events(host)
            return
        tape = RecordedTape(self.recording, host)
        for number in range(len(self.recording.hosts[host].offsets)):
            yield self._of_reading(tape, host, number)

    def _of_reading(self, tape: RecordedTape, host: str, number: int) -> Iterator[Sequence[Cell]]:
        """Yield the rows of one reading; on return it is freed, before the next reading is unpacked."""
        try:
            stats = self.recording.stats(host, number)
        except PackingError:
            self.unreadable += 1
            return
        run = self.recording.hosts[host].runs[number]
        reading = (host, run, stats.seq, stats.time_ns, stats.sim_time_ns)
        if self.table == "cpus":
            sources = _sources(stats.sources, _themselves(_CPU))
            yield from ((*row, sources) for row in _of_columns(reading, stats.cpus, ("id", *_CPU)))
            return
        config = tape.config(number, stats)
        is_its_own = config is not None and config.revision == stats.revision
        known = ConfigIndex(config if is_its_own else None).adapters
        for name, adapter in stats.adapters.items():
            yield from self._of_adapter((*reading, name), adapter, known.get(name))

    def _of_adapter(
        self, begin: tuple[Cell, ...], adapter: AdapterStats, index: AdapterIndex | None
    ) -> Iterator[Sequence[Cell]]:
        if self.table == "adapters":
            interface = adapter.interface or {}
            yield (
                *begin,
                *map(adapter.port.get, _PORT),
                *map(interface.get, _INTERFACE),
                *map(adapter.default_queue.get, _REASONS),
                *map(adapter.freed.get, _FREED),
                _sources(
                    adapter.sources,
                    _themselves((*_PORT, *_INTERFACE))
                    | {name: f"default_queue_{name}" for name in _REASONS}
                    | {name: f"freed_{name}" for name in _FREED},
                ),
            )
        elif self.table == "queues":
            queues = index.by_generation if index else {}
            sources = _sources(adapter.sources, _themselves(("cpu", *_QUEUE)))
            for row in _of_columns((), adapter.queues, ("id", "generation", *_QUEUE)):
                number, generation, *counts = row
                # The key is two integers: both cells come from integer columns.
                queue = queues.get((number, generation))  # type: ignore[arg-type]
                known = (queue.name, queue.vm, queue.cpu, queue.state) if queue else (None,) * 4
                yield (*begin, number, generation, *known, *counts, sources)
        else:
            filters = index.filters if index else {}
            sources = _sources(adapter.sources, _themselves(_COUNTS(counters.FILTER)))
            for number, count in _of_columns((), adapter.filters, ("id", "matched_frames")):
                one = filters.get(number)  # type: ignore[arg-type]  # an integer column
                vlan = None if one is None or one.vlan is None else str(one.vlan)
                where = (one.queue_id, one.mac) if one else (None, None)
                yield (*begin, number, *where, vlan, count, sources)

    def _events(self, host: str) -> Iterator[Iterable[Sequence[Cell]]]:
        index = self.recording.hosts[host]
        tape = RecordedTape(self.recording, host)
        for place, since in enumerate(index.since["event"]):
            event = tape.event(place)
            if event is None:
                self.unreadable += 1
                yield ()
                continue
            run = index.runs[min(since, len(index.runs) - 1)] if index.runs else 0
            yield ((host, run, *_event(event)),)


def _event(event: Event) -> tuple[Cell, ...]:
    where = (event.adapter, event.queue_id, event.state, event.cause)
    return (event.seq, event.time_ns, event.sim_time_ns, event.event, *where)


def _themselves(names: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


def _sources(sources: Mapping[str, Source] | None, columns: Mapping[str, str]) -> str | None:
    """Return how counters are known, as the cell of a row; None if the writer says it of none.

    ``columns`` are the columns of the table, by the names of their counters.
    """
    told = [f"{columns[name]}={sources[name]}" for name in columns if name in sources] if sources else []
    return " ".join(told) or None


def _of_columns(
    begin: tuple[Cell, ...], columns: Columns, names: Sequence[str]
) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of the named columns; cells of a missing column are None."""
    rows = len(columns.get("id", []))
    unknown: list[int | None] = [None] * rows
    for cells in zip(*(columns.get(name, unknown) for name in names), strict=False):
        yield (*begin, *cells)


ROWS_AT_ONCE: Final = 32_768
"""Rows in each row group of a Parquet file; one row group is in memory at a time."""


class UnfitValueError(Exception):
    """A value does not fit the file format; the text is a sentence that names its column."""


class MissingLibraryError(Exception):
    """An optional library is not installed; the text names the extra that installs it."""


def write_csv(file: IO[str], columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]]) -> int:
    """Write a table as CSV (RFC 4180), with formulas escaped by ``cell``; return the number of rows."""
    writer = csv.writer(file)
    writer.writerow([name for name, _ in columns])
    count = 0
    for row in rows:
        writer.writerow([cell(value) for value in row])
        count += 1
    return count


def write_parquet(path: Path, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]]) -> int:
    """Write a table as Parquet; return the number of rows.

    Raises MissingLibraryError, UnfitValueError, OSError.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingLibraryError(
            "Parquet needs pyarrow, which is not installed: pip install 'vmqtui[parquet]' (csv needs nothing)"
        ) from None
    kinds: dict[str, Any] = {"integer": pyarrow.int64(), "text": pyarrow.string()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns])
    count = 0
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        remaining = iter(rows)
        while group := list(islice(remaining, ROWS_AT_ONCE)):
            arrays = []
            for values, field in zip(zip(*group, strict=True), schema, strict=True):
                try:
                    arrays.append(pyarrow.array(values, field.type))
                except (OverflowError, pyarrow.ArrowInvalid):
                    raise UnfitValueError(
                        f"{field.name}: a value among rows {count + 1:,} to {count + len(group):,} does not"
                        " fit a signed 64-bit integer; csv has room for it"
                    ) from None
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count
