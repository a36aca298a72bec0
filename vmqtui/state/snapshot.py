"""One moment of one host: a reading joined with the configuration it belongs to."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from engine.bus.messages import Status
from engine.ndis.counters import DEFAULT_QUEUE_REASONS
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import AdapterStats, Stats
from vmqtui.state.advice import Advised, FindingRow
from vmqtui.state.joined import Joined
from vmqtui.state.moment import Moment
from vmqtui.state.readings import Readings, one_row
from vmqtui.state.rows import (
    AdapterRow,
    CpuRow,
    EventRow,
    FilterRow,
    HostRow,
    PortRow,
    QueueRow,
    Row,
    known_sum,
)
from vmqtui.state.top import NearMissRow, TopRow, top_rows

_NO_STATS = AdapterStats(port={}, queues={}, filters={}, freed={}, default_queue={})


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is known of ``host`` at one moment; ``before`` is the reading that rates are taken against.

    Rows are made when first asked for, so a table that nobody looks at costs nothing. Queues are joined
    by (adapter, id, generation), filters by (adapter, id). While the newest configuration is of another
    revision than the reading, rows that only one of them has are shown with the rest unknown.
    """

    host: str
    status: Status | None = None
    config: Config | None = None
    stats: Stats | None = None
    before: Stats | None = None
    events: tuple[Event, ...] = ()
    joined: Joined | None = None
    """The indexes of ``config``, when an earlier snapshot has made them."""
    mark: Stats | None = None
    """The reading that deltas are taken against; None: the engine's start."""
    advise: Callable[[], Advised] = Advised
    """What the advisor finds, worked out when it is asked for."""
    steady_before: Callable[[], Stats | None] | None = None
    """The reading that steady rates are taken against, likewise; None: as for the others."""

    @classmethod
    def of(
        cls, host: str, moment: Moment, earlier: "Snapshot | None" = None, mark: Stats | None = None
    ) -> "Snapshot":
        """The snapshot of a moment; ``earlier`` may have made the indexes of its configuration."""
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

    @cached_property
    def seconds(self) -> float | None:
        """Simulated time between the readings, or None without two."""
        if self.stats is None or self.before is None:
            return None
        return (self.stats.sim_time_ns - self.before.sim_time_ns) / 1e9

    @cached_property
    def adapter_names(self) -> tuple[str, ...]:
        """In the configuration's order; those only the counters know come last."""
        names = [adapter.name for adapter in self.config.adapters] if self.config else []
        return tuple(dict.fromkeys([*names, *(self.stats.adapters if self.stats else ())]))

    @cached_property
    def index(self) -> Joined:
        """The indexes of the configuration."""
        if self.joined is not None and self.joined.config is self.config:
            return self.joined
        return Joined(self.config)

    def _now(self, adapter: str) -> AdapterStats:
        return self.stats.adapters.get(adapter, _NO_STATS) if self.stats else _NO_STATS

    def _readings(
        self,
        adapter: str,
        table: Callable[[AdapterStats], dict[str, list[int]]],
        identity: tuple[str, ...] = ("id",),
    ) -> Readings:
        before = self.before.adapters.get(adapter) if self.before else None
        mark = self.mark.adapters.get(adapter) if self.mark else None
        return Readings(
            table(self._now(adapter)),
            table(before) if before else None,
            self.seconds,
            identity,
            table(mark) if mark else None,
        )

    @property
    def traffic_targets(self) -> list[str]:
        """What frames can be sent to: adapters that are in no team, and teams."""
        adapters = self.config.adapters if self.config else []
        alone = [one.name for one in adapters if not one.team]
        return [*alone, *dict.fromkeys(one.team for one in adapters if one.team)]

    @cached_property
    def _queue_readings(self) -> dict[str, Readings]:
        return {
            adapter: self._readings(adapter, lambda stats: stats.queues, ("id", "generation"))
            for adapter in self.adapter_names
        }

    @cached_property
    def _queues(self) -> dict[str, tuple[QueueRow, ...]]:
        return {adapter: tuple(self._queues_of(adapter)) for adapter in self.adapter_names}

    def _queues_of(self, adapter: str) -> Iterator[QueueRow]:
        index = self.index.adapters.get(adapter)
        readings = self._queue_readings[adapter]
        configs = index.by_generation if index else {}
        settings = index.settings if index else None
        filters = index.filters_of_queue if index else {}
        steered = readings.total_rate("steered_frames")
        if index is not None and readings.keys == index.queue_order:  # as it nearly always is, and fast
            yield from [
                QueueRow(
                    adapter,
                    config.queue_id,
                    config.generation,
                    settings,
                    config,
                    its_filters,
                    readings,
                    row,
                    steered,
                )
                for row, (config, its_filters) in enumerate(index.queues_in_order)
            ]
            return
        rows = readings.index
        for key in sorted({*configs, *rows}):
            queue_id, generation = key
            config = configs.get((queue_id, generation))
            yield QueueRow(
                adapter,
                queue_id,
                generation,
                settings,
                config,
                filters.get(queue_id, ()) if config else (),
                readings,
                rows.get(key, -1),
                steered,
            )

    @cached_property
    def queues(self) -> tuple[QueueRow, ...]:
        return tuple(queue for queues in self._queues.values() for queue in queues)

    @cached_property
    def filters(self) -> tuple[FilterRow, ...]:
        return tuple(row for adapter in self.adapter_names for row in self._filters_of(adapter))

    def _filters_of(self, adapter: str) -> Iterator[FilterRow]:
        index = self.index.adapters.get(adapter)
        readings = self._readings(adapter, lambda stats: stats.filters)
        steered = self._queue_readings[adapter].total_rate("steered_frames")
        if index is not None and readings.keys == index.filter_order:  # as it nearly always is, and fast
            yield from [
                FilterRow(
                    adapter,
                    one.filter_id,
                    one,
                    queue,
                    index.shadows.get(one.filter_id),
                    readings,
                    row,
                    steered,
                )
                for row, (one, queue) in enumerate(index.filters_in_order)
            ]
            return
        rows = {key[0]: row for key, row in readings.index.items()}
        configs = index.filters if index else {}
        for filter_id in sorted({*configs, *rows}):
            config = configs.get(filter_id)
            yield FilterRow(
                adapter=adapter,
                filter_id=filter_id,
                config=config,
                queue=index.queues.get(config.queue_id) if index and config else None,
                shadowed_by=index.shadows.get(filter_id) if index else None,
                readings=readings,
                row=rows.get(filter_id, -1),
                steered_rate=steered,
            )

    @cached_property
    def cpus(self) -> tuple[CpuRow, ...]:
        readings = Readings(
            self.stats.cpus if self.stats else {},
            self.before.cpus if self.before else None,
            self.seconds,
            mark=self.mark.cpus if self.mark else None,
        )
        index = self.index
        rows = {key[0]: row for key, row in readings.index.items()}
        served: defaultdict[int | None, list[QueueRow]] = defaultdict(list)
        for queue in self.queues:
            served[queue.cpu].append(queue)
        return tuple(
            CpuRow(
                cpu,
                index.cpus.get(cpu),
                tuple(index.queues_of_cpu.get(cpu, ())),
                readings,
                rows.get(cpu, -1),
                tuple(served[cpu]),
            )
            for cpu in sorted({*index.cpus, *rows})
        )

    @cached_property
    def ports(self) -> tuple[PortRow, ...]:
        return tuple(
            PortRow(name, port, adapter.queue_of_port(port))
            for name, adapter in self.index.adapters.items()
            for port in adapter.settings.ports
        )

    @cached_property
    def adapters(self) -> tuple[AdapterRow, ...]:
        known = self.index.adapters
        return tuple(
            AdapterRow(
                adapter=name,
                config=known[name].settings if name in known else None,
                port=self._readings(name, lambda stats: one_row(stats.port)),
                reasons=self._readings(name, lambda stats: one_row(stats.default_queue)),
                queues=self._queues[name],
                of_queues=self._queue_readings[name],
                pairs=self._now(name).default_queue_top,
                interface=(
                    self._readings(name, lambda stats: one_row(stats.interface))
                    if self._now(name).interface is not None
                    else None
                ),
            )
            for name in self.adapter_names
        )

    @cached_property
    def top(self) -> tuple[TopRow, ...]:
        """Pairs of MAC and VLAN that the default queues took most frames of."""
        return tuple(row for adapter in self.adapters for row in self._top_of(adapter))

    def _top_of(self, adapter: AdapterRow) -> Iterator[TopRow]:
        before = self.before.adapters.get(adapter.adapter) if self.before else None
        return top_rows(
            adapter.adapter,
            self._now(adapter.adapter).default_queue_top,
            before.default_queue_top if before else None,
            self.seconds,
            self.index.adapters.get(adapter.adapter),
            adapter.default_pps,
        )

    @cached_property
    def near_misses(self) -> tuple[NearMissRow, ...]:
        """The pairs of those that only their VLAN keeps from a filter or a port, with what they missed."""
        return tuple(NearMissRow(pair, near) for pair in self.top for near in pair.near)

    @cached_property
    def steady(self) -> "Snapshot":
        """The same moment with rates over ``STEADY_NS``: what tables are filtered and sorted by."""
        before = self.steady_before() if self.steady_before is not None else None
        return self if before is None else replace(self, before=before, joined=self.index)

    @cached_property
    def advised(self) -> Advised:
        """What the advisor has to say."""
        return self.advise()

    @cached_property
    def event_rows(self) -> tuple[EventRow, ...]:
        """Newest first."""
        return tuple(EventRow(event, self._called(event)) for event in reversed(self.events))

    def events_of(self, adapter: str | None) -> tuple[EventRow, ...]:
        """Events of one adapter and of the host, or all; newest first."""
        if adapter is None:
            return self.event_rows
        return tuple(row for row in self.event_rows if row.event.adapter in (None, adapter))

    def events_of_queue(self, adapter: str, queue_id: int, gone: bool) -> list[EventRow]:
        """What happened to a queue, newest first; not to an earlier one of its id.

        ``gone``: it has been freed, and that is the last that is told.
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
        """This host's line in a list of hosts."""
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
            pps=known_sum(adapter.pps for adapter in self.adapters),
            mbits=known_sum(adapter.mbits for adapter in self.adapters),
            drops=known_sum(adapter.drops for adapter in self.adapters),
        )

    def series(self) -> Iterator[tuple[Hashable, float | None]]:
        """The rates that history keeps, by key."""
        yield ("pps",), self.host_row.pps
        yield ("mbits",), self.host_row.mbits
        yield ("drops",), self.host_row.drops
        for cpu in self.cpus:
            yield ("cpu", cpu.cpu), cpu.load
        for queue in self.queues:
            yield ("queue", queue.adapter, queue.queue_id, queue.generation), queue.pps
        for adapter in self.adapters:
            for reason in DEFAULT_QUEUE_REASONS:
                yield ("reason", adapter.adapter, reason.name), adapter.reason(reason.name)

    def rows(self, table: str, adapter: str | None = None) -> tuple[Row, ...]:
        """The rows of a table of ``vmqtui.columns``, of one adapter or of all."""
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
                found = self.advised.rows
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
    """Whether a row is shown with an adapter: its own, and findings that concern it."""
    if isinstance(row, FindingRow):
        return row.concerns(adapter)
    return getattr(row, "adapter", None) == adapter
