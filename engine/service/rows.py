"""Rows for programs: a queue, a processor or an adapter at one reading, with an attribute for each counter.

``engine.view`` joins a reading with its configuration; the types here give that join attributes that type
checkers know. A row never changes: the next reading makes new rows. The counters are those of the registry,
``engine.ndis.counters``.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from engine.counted import counted
from engine.ndis import counters
from engine.service.arguments import shown
from engine.telemetry.config import AdapterConfig, Config, Vlan
from engine.telemetry.stats import Stats
from engine.view.adapter import AdapterView
from engine.view.host_tables import HostTables
from engine.view.index import ConfigIndex
from engine.view.rows import QueueView

_LISTED: Final = 10


class NoSuchRowError(LookupError):
    """There is no such queue, processor, adapter or VM, or several; the text names what fits."""


class NotReadYetError(NoSuchRowError):
    """The row came after the newest reading, so its counters are not known yet; the next reading has them."""


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    def __str__(self) -> str:
        return repr(self)


class PortRow(_Row, frozen=True, kw_only=True):
    """Counters of an adapter's port."""

    offered_frames: int
    offered_bytes: int
    runt: int
    oversize: int


class ReasonsRow(_Row, frozen=True, kw_only=True):
    """Frames steered to the default queue, by reason."""

    broadcast: int
    multicast: int
    no_queue: int
    vlan_mismatch: int
    unknown_unicast: int


class QueueCounters(_Row, frozen=True, kw_only=True):
    """Cumulative counters of a queue, or, as ``freed``, of all queues freed so far."""

    steered_frames: int
    steered_bytes: int
    received_frames: int
    dropped_no_buffer: int
    indicated_frames: int
    discarded_frames: int
    lost_frames: int
    returned_frames: int
    switch_dropped_frames: int
    interrupts: int
    dpcs: int


class FilterRow(_Row, frozen=True, kw_only=True):
    """A filter, with the frames credited to it."""

    filter_id: int
    queue_id: int
    mac: str
    vlan: Vlan
    matched_frames: int | None


class QueueRow(QueueCounters, frozen=True, kw_only=True):
    """A queue: its settings, counters and gauges. ``vm_paused``: its VM returns no buffers."""

    adapter: str
    queue_id: int
    generation: int
    name: str
    vm: str | None
    vm_paused: bool
    cpu: int
    state: str
    operational_state: str
    filters: tuple[FilterRow, ...]
    pending: int
    outstanding: int
    free_buffers: int
    low_free_buffers: int
    total_buffers: int
    latency_p50_ns: int
    latency_p99_ns: int
    latency_max_ns: int
    sim_time_s: float

    def __repr__(self) -> str:
        return (
            f"<queue {self.queue_id} {self.name!r} of {self.adapter} at {self.sim_time_s:.6f} s:"
            f" {self.state}, CPU {self.cpu}, received_frames={self.received_frames},"
            f" dropped_no_buffer={self.dropped_no_buffer}, pending={self.pending},"
            f" outstanding={self.outstanding}, free_buffers={self.free_buffers}>"
        )


class CpuRow(_Row, frozen=True, kw_only=True):
    """A processor. ``busy`` is the share of its cycles that it spent in interrupts and DPCs between this
    reading and the one before it; None: not known, because there is none before it.

    ``queues`` is the number of queues whose affinity it is.
    """

    cpu: int
    name: str
    busy: float | None
    busy_cycles: int
    budget_cycles: int
    interrupts: int
    dpcs: int
    indicated_frames: int
    queues: int
    down: bool
    sim_time_s: float

    def __repr__(self) -> str:
        busy = "unknown" if self.busy is None else f"{self.busy:.1%}"
        return (
            f"<CPU {self.cpu} ({self.name}) at {self.sim_time_s:.6f} s: busy {busy},"
            f" {counted(self.queues, 'queue')}, {counted(self.dpcs, 'DPC')}{', down' if self.down else ''}>"
        )


class AdapterRow(_Row, frozen=True, kw_only=True):
    """An adapter: its settings, its port, the default queue's frames by reason, and all its queues by id."""

    name: str
    settings: AdapterConfig
    port: PortRow
    default_queue: ReasonsRow
    freed: QueueCounters
    queues: tuple[QueueRow, ...]
    sim_time_s: float

    def __repr__(self) -> str:
        dropped = sum(queue.dropped_no_buffer for queue in self.queues) + self.freed.dropped_no_buffer
        return (
            f"<adapter {self.name} at {self.sim_time_s:.6f} s: {counted(len(self.queues), 'queue')},"
            f" offered_frames={self.port.offered_frames}, runt={self.port.runt},"
            f" oversize={self.port.oversize}, dropped_no_buffer={dropped}>"
        )


@dataclass(frozen=True, eq=False)
class Rows(HostTables):
    """The rows of one reading; rates are relative to the reading ``before``."""

    config: Config | None = None
    stats: Stats | None = None
    before: Stats | None = None
    joined: ConfigIndex | None = None

    @property
    def _sim_time_s(self) -> float:
        return self.stats.sim_time_ns / 1e9 if self.stats is not None else 0.0

    def queue_row(self, which: int | str, adapter: str | None = None) -> QueueRow:
        """Return a queue by its id, its name or its VM. Raises NoSuchRowError."""
        return self._queue_row(self._queue(which, adapter))

    def cpu_row(self, cpu: int) -> CpuRow:
        """Return a processor by its number. Raises NoSuchRowError."""
        number = _whole("cpu", cpu, "a processor's number")
        if number not in self.cpu:
            raise NoSuchRowError(f"CPU {number}: the host has none (0..{len(self.cpus) - 1} fits)")
        view = self.cpu[number]
        return CpuRow(
            cpu=view.cpu,
            name=view.processor,
            busy=view.load,
            down=bool(view.down),
            sim_time_s=self._sim_time_s,
            **_counts(counters.CPU, view.count),
            queues=view.count("queues") or 0,
        )

    def adapter_row(self, name: str | None = None) -> AdapterRow:
        """Return an adapter by its name, or the host's only one. Raises NoSuchRowError."""
        view = self._adapter_view(name)
        freed, reasons = view.now.freed, view.reasons
        return AdapterRow(
            name=view.name,
            settings=view.known,
            port=PortRow(**_counts(counters.PORT, view.count)),
            default_queue=ReasonsRow(
                **_counts(counters.DEFAULT_QUEUE_REASONS, lambda one: reasons.count(one, 0))
            ),
            freed=QueueCounters(**_counts(counters.QUEUE, freed.get)),
            queues=tuple(self._queue_row(one) for one in view.queues if one.config and one.row >= 0),
            sim_time_s=self._sim_time_s,
        )

    def _queue_row(self, view: QueueView) -> QueueRow:
        known = view.known
        if view.row < 0:
            raise NotReadYetError(
                f"{view.called} of {view.adapter} came after the newest reading, of {self._sim_time_s:g} s"
                " of simulated time (await the next one)"
            )
        assert known.cpu is not None  # the model knows it of every queue
        names = counters.QUEUE + counters.QUEUE_GAUGES + counters.QUEUE_LATENCY
        return QueueRow(
            adapter=view.adapter,
            queue_id=view.queue_id,
            generation=view.generation,
            name=known.name,
            vm=known.vm,
            vm_paused=known.vm_paused,
            cpu=known.cpu,
            state=known.state,
            operational_state=known.operational_state,
            filters=self._filter_rows.get((view.adapter, view.queue_id), ()),
            sim_time_s=self._sim_time_s,
            **_counts(names, view.count),
        )

    @cached_property
    def _filter_rows(self) -> dict[tuple[str, int], tuple[FilterRow, ...]]:
        """The rows of all filters, by adapter and queue id."""
        found: defaultdict[tuple[str, int], tuple[FilterRow, ...]] = defaultdict(tuple)
        for one in self.filters:
            if one.config is not None:
                config = one.config
                found[one.adapter, config.queue_id] += (
                    FilterRow(
                        filter_id=one.filter_id,
                        queue_id=config.queue_id,
                        mac=config.mac,
                        vlan=config.vlan,
                        matched_frames=one.matched,
                    ),
                )
        return found

    def _adapter_view(self, name: str | None) -> AdapterView:
        views = [one for one in self.adapters if one.index is not None]
        names = [one.name for one in views]
        if name is None and len(views) == 1:
            return views[0]
        if name is None:
            raise NoSuchRowError(
                f"adapter: the host has {counted(len(views), 'adapter')} ({listed(names)} fits)"
            )
        for one in views:
            if one.name == name:
                return one
        raise NoSuchRowError(
            f"adapter: {shown(name)} is not an adapter of the host ({_fitting(name, names)} fits)"
        )

    def _queue(self, which: int | str, adapter: str | None) -> QueueView:
        """Return the queue with this id, name or VM, on one adapter or on any."""
        adapters = [self._adapter_view(adapter)] if adapter is not None else self.adapters
        queues = [one for view in adapters for one in view.queues if one.config is not None]
        where = f" of {adapter}" if adapter is not None else ""
        if isinstance(which, str):
            found = [one for one in queues if one.vm == which] or [one for one in queues if one.name == which]
            names = list(dict.fromkeys(one.label for one in queues))
            fits = _fitting(which, names)
        else:
            number = _whole("queue", which, "a queue's id or name, or a VM")
            found = [one for one in queues if one.queue_id == number]
            fits = listed(sorted({one.queue_id for one in queues}))
        if len(found) == 1:
            return found[0]
        if not found:
            raise NoSuchRowError(f"queue {shown(which)}: there is none{where} ({fits} fits)")
        of = list(dict.fromkeys(one.adapter for one in found))
        if len(of) > 1:
            raise NoSuchRowError(
                f"queue {shown(which)}: {listed(of, 'and')} have one (adapter= one of them fits)"
            )
        ids = [one.queue_id for one in found]
        raise NoSuchRowError(f"queue {shown(which)}: {of[0]} has several (the id fits: {listed(ids)})")


class Latest:
    """The newest reading, and the newest one of an earlier simulated time, which rates are relative to."""

    def __init__(self) -> None:
        self._stats: Stats | None = None
        self._before: Stats | None = None
        self._rows = Rows()

    def take(self, stats: Stats) -> None:
        """Take the next reading."""
        if self._stats is not None and stats.sim_time_ns > self._stats.sim_time_ns:
            self._before = self._stats
        self._stats = stats

    def rows(self, config: Config | None) -> Rows:
        """Return the rows of the newest reading; they are computed when they are read."""
        rows = self._rows
        if rows.stats is not self._stats or rows.config is not config:
            joined = rows.index if rows.config is config else None
            self._rows = Rows(config, self._stats, self._before, joined=joined)
        return self._rows


def no_such(what: str, name: object, names: Iterable[str]) -> NoSuchRowError:
    """Return the error for a name that nothing has; ``names`` are those that fit."""
    return NoSuchRowError(f"{what} {shown(name)}: there is none ({_fitting(name, list(names))} fits)")


def _counts(names: tuple[counters.Counter, ...], count: Callable[[str], int | None]) -> dict[str, Any]:
    """Return counters by name. The model knows all of them. Raises NotReadYetError if one is missing."""
    found = {one.name: count(one.name) for one in names}
    for name, value in found.items():
        if value is None:
            raise NotReadYetError(f"{name} is not in the newest reading (await the next one)")
    return found


def _whole(name: str, value: object, fits: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise NoSuchRowError(f"{name}: {shown(value)} is not {fits}")


def listed(names: Iterable[object], last: str = "or") -> str:
    """Return names as words: ``a, b or c``; at most ``_LISTED`` of them."""
    words = [shown(one) for one in names]
    if len(words) > _LISTED:
        words = [*words[:_LISTED], f"one of {len(words) - _LISTED} more"]
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "nothing")))


def _fitting(name: object, names: list[str]) -> str:
    """Return the names that fit: the most similar one, or all of them."""
    near = difflib.get_close_matches(name, names, n=1) if isinstance(name, str) else []
    return listed(near or names)
