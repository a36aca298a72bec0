"""One moment of one host, with the tables that the screen shows."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import msgspec

from engine.bus.messages import Status
from engine.ndis.counters import DEFAULT_QUEUE_REASONS
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Source, Stats, merged_sources
from engine.view.host_tables import HostTables
from engine.view.index import ConfigIndex
from engine.view.rates import whole_sum
from engine.view.rows import QueueView
from vmqtui.state.moment import Moment
from vmqtui.state.rows import Advised, EventRow, FindingRow, HostRow, Row

QUEUE_DETAILS: Final[Mapping[str, Callable[[QueueView], float | None]]] = {
    "mbits": lambda queue: queue.mbits,
    "drops": lambda queue: queue.drops,
    "use": lambda queue: queue.buffer_use,
    "interrupts": lambda queue: queue.rate("interrupts"),
    "dpcs": lambda queue: queue.rate("dpcs"),
}
"""What the panel of a queue shows over time, in addition to its frames."""


def series_of(queue: QueueView, *names: str) -> Hashable:
    """The key of a queue's series in a history: of its frames a second, or of one of ``QUEUE_DETAILS``."""
    return ("queue", queue.adapter, queue.queue_id, queue.generation, *names)


@dataclass(frozen=True, eq=False)
class Snapshot(HostTables):
    """The tables of ``host`` at one moment, with its status, events and findings."""

    host: str
    status: Status | None = None
    config: Config | None = None
    stats: Stats | None = None
    before: Stats | None = None
    events: tuple[Event, ...] = ()
    joined: ConfigIndex | None = None
    mark: Stats | None = None
    advise: Callable[[], Advised] = Advised
    """Computes the findings when they are first read."""
    steady_before: Callable[[], Stats | None] | None = None
    """Returns the reading that steady rates are computed against; without one, they are the other rates."""

    @classmethod
    def of(
        cls, host: str, moment: Moment, earlier: "Snapshot | None" = None, mark: Stats | None = None
    ) -> "Snapshot":
        """The snapshot of a moment. Reuses the index of ``earlier`` if both have the same configuration."""
        joined = earlier.index if earlier is not None and earlier.config is moment.config else None
        return cls(
            host,
            moment.status,
            moment.config,
            moment.stats,
            moment.before,
            moment.events,
            joined,
            mark,
        )

    @property
    def measured(self) -> bool:
        """Whether its numbers are those of a real host, which does not know all of them."""
        return self.status is not None and self.status.kind == "measured"

    @property
    def traffic_targets(self) -> list[str]:
        """Valid targets of traffic: adapters without a team, and teams."""
        adapters = self.config.adapters if self.config else []
        alone = [one.name for one in adapters if not one.team]
        return [*alone, *dict.fromkeys(one.team for one in adapters if one.team)]

    @cached_property
    def steady(self) -> "Snapshot":
        """The same moment with rates over ``STEADY_NS``, used to filter and sort tables."""
        before = self.steady_before() if self.steady_before is not None else None
        return self if before is None else replace(self, before=before, joined=self.index)

    @property
    def system(self) -> str:
        """The operating system of a measured host; "" of a model, and before the configuration is known."""
        return self.config.system if self.config else ""

    @cached_property
    def advised(self) -> Advised:
        """The advisor's findings."""
        return self.advise()

    @cached_property
    def finding_rows(self) -> tuple[FindingRow, ...]:
        """The rows of the findings, which tell whether this configuration has their fixes."""
        advised = self.advised
        return tuple(
            msgspec.structs.replace(row, index=self.index, window_s=advised.window_s) for row in advised.rows
        )

    @cached_property
    def event_rows(self) -> tuple[EventRow, ...]:
        """The rows of all events, newest first."""
        rows, others = list[EventRow](), set[tuple[str | None, int | None]]()
        started_ns = self.status.started_at * 1e9 if self.status is not None else 0.0
        for event in reversed(self.events):
            of = (event.adapter, event.queue_id)
            if event.event == "queue_freed":
                others.add(of)  # what has the id after that is another queue
            other = of in others or event.time_ns < started_ns
            rows.append(EventRow(event, None if other else self._called(event)))
        return tuple(rows)

    def events_of(self, adapter: str | None) -> tuple[EventRow, ...]:
        """Events of one adapter and of the host, or all if ``adapter`` is None; newest first."""
        if adapter is None:
            return self.event_rows
        return tuple(row for row in self.event_rows if row.event.adapter in (None, adapter))

    def events_of_queue(self, adapter: str, queue_id: int, gone: bool) -> list[EventRow]:
        """Events of a queue, newest first, without those of earlier queues that had its id.

        ``gone``: the queue has been freed, so its newest event is the freeing.
        """
        found: list[EventRow] = []
        for row in self.event_rows:
            event = row.event
            if (event.adapter, event.queue_id) != (adapter, queue_id):
                continue
            if event.event == "queue_freed" and (found or not gone):
                break
            found.append(row)
        return found

    def _called(self, event: Event) -> str | None:
        if event.queue_id is None:
            return None
        adapter = self.index.adapters.get(event.adapter or "")
        queue = adapter.queues.get(event.queue_id) if adapter else None
        return (queue.vm or queue.name) if queue else None

    @cached_property
    def host_row(self) -> HostRow:
        """This host's row in a list of hosts."""
        config, stats = self.config, self.stats
        return HostRow(
            host=self.host,
            state=self.status.state if self.status else "unknown",
            version=self.status.version if self.status else "",
            started_at=self.status.started_at if self.status else 0.0,
            cpus=len(config.cpus) if config else None,
            adapters=len(config.adapters) if config else None,
            queues=sum(len(adapter.queues) for adapter in config.adapters) if config else None,
            filters=sum(len(adapter.filters) for adapter in config.adapters) if config else None,
            sim_time_ns=stats.sim_time_ns if stats else None,
            pps=whole_sum(adapter.pps for adapter in self.adapters),
            mbits=whole_sum(adapter.mbits for adapter in self.adapters),
            drops=whole_sum(adapter.drops for adapter in self.adapters),
            kind=self.status.kind if self.status else None,
        )

    def series(self) -> Iterator[tuple[Hashable, float | None]]:
        """The rates that ``History`` stores, each with its key."""
        yield ("pps",), self.host_row.pps
        yield ("mbits",), self.host_row.mbits
        yield ("drops",), self.host_row.drops
        for cpu in self.cpus:
            yield ("cpu", cpu.cpu), cpu.load
        for queue in self.queues:
            yield series_of(queue), queue.pps
        for adapter in self.adapters:
            for reason in DEFAULT_QUEUE_REASONS:
                yield ("reason", adapter.adapter, reason.name), adapter.reason(reason.name)

    def details(self) -> Iterator[tuple[Hashable, float | None]]:
        """The values that the history of details stores, each with its key (``series_of``)."""
        for queue in self.queues:
            for name, value in QUEUE_DETAILS.items():
                yield series_of(queue, name), value(queue)

    def sources(self, table: str, adapter: str | None = None) -> dict[str, Source]:
        """How the counters of a table are known of a measured host, by name: of one adapter, or of all the
        least certain; empty of the model, which knows them exactly."""
        if self.stats is None:
            return {}
        if table == "cpus":
            return self.stats.sources or {}
        adapters = self.stats.adapters.items()
        return merged_sources(one.sources for name, one in adapters if adapter in (None, name))

    def rows(self, table: str, adapter: str | None = None) -> tuple[Row, ...]:
        """The rows of a table of ``vmqtui.columns``, of one adapter or of all. Raises ValueError."""
        found: tuple[Row, ...]
        match table:
            case "queues" | "buffers":
                found = self.queues
            case "filters":
                found = self.filters
            case "cpus":
                return self.cpus
            case "ports":
                found = self.ports
            case "top":
                found = self.top
            case "near_misses":
                found = self.near_misses
            case "advice":
                found = self.finding_rows
            case "adapters":
                found = self.adapters
            case "hosts":
                return (self.host_row,)
            case "events":
                return self.events_of(adapter)
            case _:
                raise ValueError(f"no table {table!r}")
        if adapter is None:
            return found
        return tuple(row for row in found if _is_of(row, adapter))


def _is_of(row: Row, adapter: str) -> bool:
    """Whether a row belongs to an adapter, or is a finding that concerns it."""
    if isinstance(row, FindingRow):
        return row.concerns(adapter)
    return getattr(row, "adapter", None) == adapter


class WholeRun(Snapshot):
    """The end of a run that is over: rates and loads are means from its start, where all counters were 0."""

    known_only = True

    @classmethod
    def over(cls, host: str, config: Config, stats: Stats, seconds: float) -> "WholeRun":
        """The end of a run of ``seconds`` of simulated time; of 0 seconds, its rates are unknown."""
        return cls(
            host, config=config, stats=msgspec.structs.replace(stats, sim_time_ns=round(seconds * 1e9))
        )
