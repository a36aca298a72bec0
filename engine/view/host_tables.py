"""The tables of one host at one moment: a reading joined with its configuration."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar

from engine.scenario.processor_set import HostProcessors
from engine.telemetry.config import Config
from engine.telemetry.stats import AdapterStats, Columns, Stats
from engine.view.adapter import AdapterView
from engine.view.index import AdapterIndex, ConfigIndex
from engine.view.pairs import NearMissView, PairView, busiest_first
from engine.view.rates import CounterTable, one_row
from engine.view.rows import CpuView, FilterView, PortView, QueueTable, QueueView

_NO_STATS = AdapterStats(port={}, queues={}, filters={}, freed={}, default_queue={})


class HostTables:
    """Rows of a host's queues, filters, processors, ports, adapters and pairs.

    Subclasses are frozen dataclasses with the fields annotated here; rates are relative to the reading
    ``before``. A table is built on first access, so an unread table costs nothing. Queues are joined by
    (adapter, id, generation), filters by (adapter, id). While configuration and reading differ in revision,
    a row that only one of them has is included, with its other values unknown.
    """

    config: Config | None
    stats: Stats | None
    before: Stats | None
    mark: Stats | None = None
    """The reading from which ``since`` counts; None: the engine's start."""
    joined: ConfigIndex | None = None
    """The indexes of ``config``, if an earlier moment has built them."""

    known_only: ClassVar[bool] = False
    """If true, only objects in the configuration get rows, and without ``before`` counters grew from 0."""

    @cached_property
    def index(self) -> ConfigIndex:
        """The indexes of the configuration."""
        if self.joined is not None and self.joined.config is self.config:
            return self.joined
        return ConfigIndex(self.config)

    @property
    def processors(self) -> HostProcessors:
        """The host's processors in their groups and nodes."""
        return self.index.processors

    @property
    def is_linux(self) -> bool:
        """Whether it is a Linux host: its queues are an adapter's rings, then its SR-IOV functions."""
        return self.config is not None and self.config.system.startswith("Linux")

    @cached_property
    def span_s(self) -> float | None:
        """Simulated seconds that rates cover; None if there is nothing to compare with."""
        if self.stats is None or (self.before is None and not self.known_only):
            return None
        return (self.stats.sim_time_ns - (self.before.sim_time_ns if self.before else 0)) / 1e9

    @cached_property
    def adapter_names(self) -> tuple[str, ...]:
        """Adapters in the configuration's order, then those that only the counters have."""
        names = [adapter.name for adapter in self.config.adapters] if self.config else []
        counted = self.stats.adapters if self.stats else {}
        if self.known_only:
            return tuple(dict.fromkeys(name for name in names if name in counted))
        return tuple(dict.fromkeys([*names, *counted]))

    def _now(self, adapter: str) -> AdapterStats:
        return self.stats.adapters.get(adapter, _NO_STATS) if self.stats else _NO_STATS

    def _earlier(self, adapter: str) -> AdapterStats | None:
        """Return an adapter's counters at the earlier reading; empty ones if it lacks the adapter."""
        return self.before.adapters.get(adapter, _NO_STATS) if self.before else None

    def _table(self, adapter: str, part: Callable[[AdapterStats], Columns]) -> CounterTable:
        before, mark = self._earlier(adapter), self.mark.adapters.get(adapter) if self.mark else None
        return CounterTable(
            part(self._now(adapter)),
            part(before) if before else None,
            self.span_s,
            mark=part(mark) if mark else None,
            from_zero=self.known_only,
        )

    @cached_property
    def _queue_tables(self) -> dict[str, QueueTable]:
        model: dict[str, Any] = self.config.cpu_model if self.config else {}
        return {adapter: self._queue_table(adapter, model) for adapter in self.adapter_names}

    def _queue_table(self, adapter: str, model: dict[str, Any]) -> QueueTable:
        before, mark = self._earlier(adapter), self.mark.adapters.get(adapter) if self.mark else None
        return QueueTable(
            self._now(adapter).queues,
            before.queues if before else None,
            self.span_s,
            mark.queues if mark else None,
            self.known_only,
            model,
            self.index.processors,
        )

    @cached_property
    def _queues(self) -> dict[str, tuple[QueueView, ...]]:
        return {adapter: tuple(self._queues_of(adapter)) for adapter in self.adapter_names}

    def _queues_of(self, adapter: str) -> Iterator[QueueView]:
        index = self.index.adapters.get(adapter)
        table = self._queue_tables[adapter]
        steered = table.total_frames_rate()
        if index is not None and table.keys == index.queue_order:  # fast path for the usual case
            settings = index.settings
            yield from [
                QueueView(
                    adapter,
                    config.queue_id,
                    config.generation,
                    settings,
                    config,
                    its_filters,
                    table,
                    row,
                    steered,
                )
                for row, (config, its_filters) in enumerate(index.queues_in_order)
            ]
            return
        configs = index.by_generation if index else {}
        filters = index.filters_of_queue if index else {}
        rows = table.index
        for key in sorted(configs if self.known_only else {*configs, *rows}):
            queue_id, generation = key
            config = configs.get((queue_id, generation))
            yield QueueView(
                adapter,
                queue_id,
                generation,
                index.settings if index else None,
                config,
                filters.get(queue_id, ()) if config else (),
                table,
                rows.get(key, -1),
                steered,
            )

    @cached_property
    def queues(self) -> tuple[QueueView, ...]:
        return tuple(queue for queues in self._queues.values() for queue in queues)

    @cached_property
    def filters(self) -> tuple[FilterView, ...]:
        return tuple(row for adapter in self.adapter_names for row in self.filters_of(adapter))

    def filters_of(self, adapter: str) -> Iterator[FilterView]:
        """Yield the filter rows of one adapter, by id."""
        index = self.index.adapters.get(adapter)
        table = self._table(adapter, lambda stats: stats.filters)
        steered = self._queue_tables[adapter].total_frames_rate()
        if index is not None and table.keys == index.filter_order:  # fast path for the usual case
            shadows = index.shadows
            yield from [
                FilterView(
                    adapter, one.filter_id, one, queue, shadows.get(one.filter_id), table, row, steered
                )
                for row, (one, queue) in enumerate(index.filters_in_order)
            ]
            return
        rows = {key[0]: row for key, row in table.index.items()}
        configs = index.filters if index else {}
        for filter_id in sorted(configs if self.known_only else {*configs, *rows}):
            config = configs.get(filter_id)
            yield FilterView(
                adapter=adapter,
                filter_id=filter_id,
                config=config,
                queue=index.queues.get(config.queue_id) if index and config else None,
                shadowed_by=index.shadows.get(filter_id) if index else None,
                table=table,
                row=rows.get(filter_id, -1),
                steered_rate=steered,
            )

    @cached_property
    def cpus(self) -> tuple[CpuView, ...]:
        table = CounterTable(
            self.stats.cpus if self.stats else {},
            self.before.cpus if self.before else None,
            self.span_s,
            mark=self.mark.cpus if self.mark else None,
            from_zero=self.known_only,
        )
        known = self.index.cpus
        rows = {key[0]: row for key, row in table.index.items()}
        knows_backlog = not self.queues or any(one.count("pending") is not None for one in self.queues)
        served: defaultdict[int | None, list[QueueView]] = defaultdict(list)
        for queue in self.queues:
            served[queue.cpu].append(queue)
        return tuple(
            CpuView(cpu, known.get(cpu), tuple(served[cpu]), table, rows.get(cpu, -1), knows_backlog)
            for cpu in sorted(known if self.known_only else {*known, *rows})
        )

    @cached_property
    def cpu(self) -> dict[int, CpuView]:
        """Processors by id."""
        return {one.cpu: one for one in self.cpus}

    def serving(self, queue: QueueView) -> CpuView | None:
        """Return the processor that serves a queue; None if it is not known."""
        cpu = queue.cpu
        return None if cpu is None else self.cpu.get(cpu)

    @cached_property
    def ports(self) -> tuple[PortView, ...]:
        return tuple(
            PortView(name, port, adapter.queue_of_port(port))
            for name, adapter in self.index.adapters.items()
            for port in adapter.settings.ports
        )

    @cached_property
    def adapters(self) -> tuple[AdapterView, ...]:
        return tuple(self._adapter(name, self.index.adapters.get(name)) for name in self.adapter_names)

    def _adapter(self, name: str, index: AdapterIndex | None) -> AdapterView:
        now = self._now(name)
        fed = now.interface is not None
        return AdapterView(
            adapter=name,
            index=index,
            now=now,
            before=self._earlier(name),
            seconds=self.span_s,
            queues=self._queues[name],
            queue_table=self._queue_tables[name],
            port=self._table(name, lambda stats: one_row(stats.port)),
            reasons=self._table(name, lambda stats: one_row(stats.default_queue)),
            interface=self._table(name, lambda stats: one_row(stats.interface)) if fed else None,
        )

    @cached_property
    def top(self) -> tuple[PairView, ...]:
        """The MAC and VLAN pairs with the most frames in the default queues, by adapter, busiest first."""
        return tuple(pair for adapter in self.adapters for pair in busiest_first(adapter.pairs))

    @cached_property
    def near_misses(self) -> tuple[NearMissView, ...]:
        """The pairs of ``top`` that miss a filter or port by their VLAN only, one row per filter or port."""
        return tuple(NearMissView(pair, near) for pair in self.top for near in pair.near)
