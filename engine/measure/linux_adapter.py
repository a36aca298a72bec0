"""One adapter of a Linux machine, from reading to reading: its counters, configuration and events."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from engine.counted import counted
from engine.measure.facts import Adapter, Rule
from engine.measure.linux_queues import (
    ZERO,
    Counts,
    QueueLife,
    QueueRow,
    Total,
    is_ring_of_all_drops,
    rows_of,
)
from engine.ndis import counters
from engine.scenario.keys import MAX_FILTERS
from engine.telemetry.config import AdapterConfig, FilterConfig, PortConfig, QueueConfig, Vlan
from engine.telemetry.events import NewEvent
from engine.telemetry.stats import AdapterStats, Cell, Columns, Source, least_certain, total

FIRST_RULE_ID: Final = 4096
"""Ids of the filters of ntuple rules begin here. Filters of virtual functions have their queues' ids."""
MOST_REPORTED: Final = 8
"""Queues of an adapter whose moves (or changed filters) in a reading are reported one by one; more are one
event."""

_DRIVER: Final = "kernel"
_RING_FIELDS: Final = ("frames", "bytes", "dropped", "interrupts", "cpus")
_COLUMNS: Final = (
    *counters.names(counters.QUEUE + counters.QUEUE_GAUGES + counters.QUEUE_LATENCY),
    "received_bytes",
)
_COUNTERS: Final = counters.names(counters.QUEUE)
_PORT: Final = counters.names(counters.PORT)
_REASONS: Final = counters.names(counters.DEFAULT_QUEUE_REASONS)


class _Matching(NamedTuple):
    """A virtual function's filter, and the frames that its queue had when the filter was set."""

    mac: str | None
    vlan: Vlan
    generation: int
    frames_before: int


class AdapterFollower:
    """Follows one adapter. ``generations`` is the number of the last generation in use before it came."""

    def __init__(self, adapter: Adapter, generations: int = 0) -> None:
        self.generations = generations
        self.adapter = adapter
        self._lives: dict[tuple[str, int], QueueLife] = {}
        self._gone: dict[tuple[str, int], QueueLife] = {}
        self._freed = ZERO
        self._freed_any = False
        self._matching: dict[int, _Matching] = {}
        self._port = Counts()
        self._port_totals = [Total() for _ in Counts._fields]
        self._way = ""
        self._follow(rows_of(adapter), restart=False)

    def take(self, adapter: Adapter) -> list[NewEvent]:
        """Go on with the next reading; return its events."""
        before, self.adapter = self.adapter, adapter
        was = {key: life.row for key, life in self._lives.items()}
        is_other = (before.index, before.driver) != (adapter.index, adapter.driver)
        if is_other:
            self._way = ""
            for life in self._lives.values():
                self._free(life)
            self._lives, self._gone = {}, {}
        rings = len(before.rings), len(adapter.rings)
        restarted = self._follow(rows_of(adapter), restart=rings[0] != rings[1])
        events = list(self._changes_of_adapter(before, restarted, is_other))
        if not is_other and rings[0] == rings[1]:
            events += self._moves(was)
        return [*events, *self._changed_filters(was)]

    def _follow(self, rows: list[QueueRow], *, restart: bool) -> int:
        """Go on with the queues of a reading; return the number of those whose counters started again."""
        lives: dict[tuple[str, int], QueueLife] = {}
        restarted = 0
        for row in rows:
            life = self._lives.pop(row.key, None)
            if life is not None and not restart and life.row.queue_id == row.queue_id:
                if not life.has_restarted(row):
                    life.take(row)
                    lives[row.key] = life
                    continue
                restarted += 1
            if life is not None:
                self._free(life)
            self.generations += 1
            lives[row.key] = QueueLife(self.generations, row, life or self._gone.pop(row.key, None))
        for key, life in self._lives.items():
            self._free(life)
            self._gone[key] = life
        self._lives = lives
        self._matching = {
            row.queue_id: self._match(row, lives[row.key]) for row in rows if row.mac is not None
        }
        adapter = self.adapter
        port = (adapter.port_frames, adapter.port_bytes, adapter.port_dropped, None)
        self._port = Counts(*(one.take(value) for one, value in zip(self._port_totals, port, strict=True)))
        return restarted

    def _free(self, life: QueueLife) -> None:
        self._freed_any = True
        self._freed = Counts(*map(total, zip(self._freed, life.final_counts, strict=True)))

    def _match(self, row: QueueRow, life: QueueLife) -> _Matching:
        matching = _Matching(row.mac, row.vlan, life.generation, 0)
        before = self._matching.get(row.queue_id)
        if before is None or before.generation != life.generation:
            return matching
        if (before.mac, before.vlan) == (row.mac, row.vlan):
            return before
        return matching._replace(frames_before=life.final_counts.frames or 0)

    def _changes_of_adapter(self, before: Adapter, restarted: int, is_other: bool) -> Iterable[NewEvent]:
        now, name = self.adapter, self.adapter.name
        rings, functions = len(now.rings), len(now.functions)
        if is_other:
            driver = now.driver or "driver not known"
            yield _event(now, "adapter_restarted", f"{name} is a new interface ({driver}): all starts again")
        elif rings != len(before.rings):
            cause = f"{name} has {counted(rings, 'receive queue')} in use instead of {len(before.rings)}"
            yield _event(now, "channels_changed", f"{cause}: their counters start again")
        elif restarted:
            queues = counted(restarted, "queue")
            yield _event(now, "counters_restarted", f"{name}: the counters of {queues} started again")
        if functions != len(before.functions):
            cause = f"{name} has {counted(functions, 'virtual function')} instead of {len(before.functions)}"
            yield _event(now, "functions_changed", cause)
        if before.link_up is not None and now.link_up is not None and before.link_up != now.link_up:
            word = "up" if now.link_up else "down"
            yield _event(now, f"link_{word}", f"the link of {name} is {word}")

    def _moves(self, was: dict[tuple[str, int], QueueRow]) -> Iterable[NewEvent]:
        moved = []
        for key, life in self._lives.items():
            old, new = was[key].cpu if key in was else None, life.row.cpu
            if old is not None and new is not None and old != new:
                cause = f"{life.row.name} moved from processor {old} to {new}: another interrupt affinity"
                moved.append(_event(self.adapter, "queue_moved", cause, life.row.queue_id))
        return self._bounded(moved, "queues moved to other processors")

    def _changed_filters(self, was: dict[tuple[str, int], QueueRow]) -> Iterable[NewEvent]:
        changed = []
        for key, life in self._lives.items():
            old, new = was.get(key), life.row
            if old is not None and key[0] == "vf" and (old.mac, old.vlan) != (new.mac, new.vlan):
                cause = f"{new.name}: {_filter_words(new)} instead of {_filter_words(old)}"
                changed.append(_event(self.adapter, "filter_changed", cause, new.queue_id))
        return self._bounded(changed, "virtual functions have another MAC or VLAN")

    def _bounded(self, events: list[NewEvent], what: str) -> list[NewEvent]:
        if len(events) <= MOST_REPORTED:
            return events
        return [_event(self.adapter, events[0].event, f"{self.adapter.name}: {len(events)} {what}")]

    @property
    def served_cpus(self) -> list[int | None]:
        """The processors that serve its queues, one a queue, for queues that this machine serves."""
        return [life.row.cpu for life in self._lives.values() if life.row.is_served_here]

    def stats(self) -> AdapterStats:
        """Return the counters of the newest reading."""
        lives = list(self._lives.values())
        unknown: list[Cell] = [None] * len(lives)
        columns = [life.counts.columns() for life in lives]
        queues: Columns = {
            "id": [life.row.queue_id for life in lives],
            "generation": [life.generation for life in lives],
            **{name: [one.get(name) for one in columns] for name in _COLUMNS},
            "total_buffers": [life.row.ring_size for life in lives] or unknown,
        }
        matched: list[Cell] = [self._matched(id) for id in self._matching]
        freed = self._freed.columns()
        other = None if self._freed_any else 0
        port = dict.fromkeys(_PORT, None) | self._offered()
        filters: Columns = {
            "id": [*self._matching, *(FIRST_RULE_ID + rule.location for rule in self._rules)],
            "matched_frames": [*matched, *([None] * len(self._rules))],
        }
        return AdapterStats(
            port=port,
            queues=queues,
            filters=filters,
            freed={name: freed.get(name, other) for name in (*_COUNTERS, "received_bytes")},
            default_queue=dict.fromkeys(_REASONS, None),
            sources=self._sources({**queues, **filters, **{name: [cell] for name, cell in port.items()}}),
        )

    def _matched(self, queue_id: int) -> Cell:
        matching = self._matching[queue_id]
        life = next(one for one in self._lives.values() if one.row.queue_id == queue_id)
        frames = life.counts.frames
        return None if frames is None else frames - matching.frames_before

    def _offered(self) -> dict[str, Cell]:
        """What arrived at the port, in one way from the first reading on: another one would jump.

        It is the sum over the queues; without drops of queues, with those of the port; without counters of
        queues, what the port counts.
        """
        counts = [*(life.counts for life in self._lives.values()), self._freed]
        sums = Counts(*(total(column) for column in zip(*counts, strict=True)))
        way, frames, bytes_ = "", None, None
        if sums.frames is not None and sums.dropped is not None:
            way, frames, bytes_ = "queues", sums.frames + sums.dropped, sums.bytes
        elif not self.adapter.functions and self._port.dropped is not None:
            if sums.frames is not None:
                way, frames, bytes_ = "drops of the port", sums.frames + self._port.dropped, sums.bytes
            elif self._port.frames is not None:
                way, frames, bytes_ = "port", self._port.frames + self._port.dropped, self._port.bytes
        self._way = self._way or way
        if way != self._way:
            return {}
        return {"offered_frames": frames, "offered_bytes": bytes_}

    def _sources(self, columns: Columns) -> dict[str, Source]:
        """How each column is known that has known cells: as the worst of its queues."""
        adapter = self.adapter
        of_rings: dict[str, Source] = {name: adapter.sources.get(name, "exact") for name in _RING_FIELDS}
        functions = [one.counters_source or "exact" for one in adapter.functions if one.frames is not None]
        of_functions = {
            name: [one.sources[name] for one in adapter.functions if name in one.sources]
            for name in ("dropped", "interrupts", "cpus")
        }
        if is_ring_of_all_drops(adapter):
            of_rings["dropped"] = least_certain([adapter.sources.get("port_dropped", "exact"), "derived"])
        frames = least_certain([of_rings["frames"], *functions])
        dropped = least_certain([of_rings["dropped"], *of_functions["dropped"]])
        received_bytes = least_certain([of_rings["bytes"], *functions])
        bytes_ = least_certain([received_bytes, "derived"])
        steered = least_certain([frames, dropped, "derived"])
        of_port = adapter.sources.get("port_dropped", "exact")
        known: dict[str, Source] = {
            "received_frames": frames,
            "received_bytes": received_bytes,
            "steered_frames": steered,
            "steered_bytes": bytes_,
            "dropped_no_buffer": dropped,
            "interrupts": least_certain([of_rings["interrupts"], *of_functions["interrupts"]]),
            "cpu": least_certain([of_rings["cpus"], *of_functions["cpus"]]),
            "total_buffers": "exact",
            "matched_frames": least_certain([*functions, "derived"]),
            "offered_frames": least_certain(
                [steered if self._way == "queues" else frames, "derived", of_port]
            ),
            "offered_bytes": bytes_,
        }
        columns = {**columns, "cpu": [life.row.cpu for life in self._lives.values()]}
        return {
            name: source
            for name, source in known.items()
            if any(cell is not None for cell in columns.get(name, ()))
        }

    @property
    def _rules(self) -> list[Rule]:
        left = MAX_FILTERS - len(self._matching)
        return sorted(self.adapter.rules, key=lambda one: one.location)[:left]

    def config(self, *, with_own_port: bool = False) -> AdapterConfig:
        """Return the configuration of the newest reading; ``with_own_port``: the adapter's own MAC address is
        a port."""
        adapter = self.adapter
        own = [PortConfig(vm=adapter.name, management_os=True, mac=adapter.mac, vlan=None)]
        rows = [(life.row, life.generation) for life in self._lives.values()]
        filters = [_filter(row.queue_id, row.queue_id, row.mac, row.vlan) for row, _ in rows if row.mac]
        return AdapterConfig(
            name=adapter.name,
            ndis_version=None,
            nic_driver=_driver_words(adapter),
            link_gbps=None if adapter.link_mbps is None else adapter.link_mbps / 1000,
            link_up=adapter.link_up,
            max_queues=_most_queues(adapter),
            max_filters=None,
            max_frame_bytes=adapter.max_frame_bytes,
            vlan_filtering=None,
            buffers=None,
            numa_node=adapter.numa_node,
            min_lookahead_bytes=None,
            max_lookahead_bytes=None,
            queues=[_queue(row, generation) for row, generation in rows],
            filters=[
                *filters,
                *(
                    _filter(FIRST_RULE_ID + rule.location, rule.ring, rule.mac, rule.vlan)
                    for rule in self._rules
                ),
            ],
            ports=[
                *(PortConfig(vm=row.vm, mac=row.mac, vlan=row.vlan) for row, _ in rows if row.mac and row.vm),
                *(own if with_own_port and adapter.mac else []),
            ],
        )


def _most_queues(adapter: Adapter) -> int | None:
    """The queues that it can have beside the default one, which is a ring; None if not known."""
    if adapter.functions or adapter.max_rings is None:
        return None
    return max(0, adapter.max_rings - 1)


def _event(adapter: Adapter, event: str, cause: str, queue_id: int | None = None) -> NewEvent:
    return NewEvent(event, cause, adapter.name, queue_id)


def _filter_words(row: QueueRow) -> str:
    mac = row.mac or "no MAC address"
    return f"{mac}, {row.vlan if isinstance(row.vlan, str) else f'VLAN {row.vlan}'}"


def _driver_words(adapter: Adapter) -> str | None:
    """ "igb 6.12.9, firmware 3.25"; None if the driver is not known."""
    words = " ".join(filter(None, (adapter.driver, adapter.driver_version)))
    return ", firmware ".join(filter(None, (words, adapter.firmware))) or None


def _filter(filter_id: int, queue_id: int, mac: str, vlan: Vlan) -> FilterConfig:
    return FilterConfig(filter_id=filter_id, queue_id=queue_id, mac=mac, vlan=vlan, driver=_DRIVER)


def _queue(row: QueueRow, generation: int) -> QueueConfig:
    return QueueConfig(
        queue_id=row.queue_id,
        generation=generation,
        name=row.name,
        vm=row.vm,
        cpu=row.cpu,
        buffers=row.ring_size,
        lookahead_bytes=None,
        return_delay_us=None,
        state="running",
        operational_state="running",
        driver=_DRIVER,
    )
