"""The row types of the tables: a configuration entry joined with its counters, computed on access.

Every reading creates thousands of queue and filter rows. They are in no reference cycle, so the garbage
collector need not track them (``gc=False``).
"""

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any, Final, Literal

import msgspec

from engine.scenario.processor_set import HostProcessors
from engine.scenario.values import check_number
from engine.telemetry.config import AdapterConfig, CpuConfig, FilterConfig, PortConfig, QueueConfig, Vlan
from engine.view.rates import CounterTable, Table, known_sum, ratio, whole_sum

Trouble = Literal["shadowed", "stopped", "unmatched"]
"""Why a filter may not work: another filter takes its frames, its queue is stopped, or it never matched."""
_FULL = 0.95
"""At or above this load, a processor may have more work than its load shows."""


NO_PROCESSORS: Final = HostProcessors({}, {}, False)
"""The processors of a host without a configuration; their names are those of full groups."""


class QueueTable(CounterTable):
    """The counters of an adapter's queues; the cycles of their frames by the host's CPU model; the host's
    processors.

    Where the frames steered to a queue are unknown, its frames are those received: a measured host that does
    not know the drops of a queue knows only these.
    """

    __slots__ = ("_cycles_per_byte", "_cycles_per_frame", "_model", "_steered_known", "processors")

    def __init__(
        self,
        now: Table,
        before: Table | None,
        seconds: float | None,
        mark: Table | None = None,
        from_zero: bool = False,
        model: dict[str, Any] | None = None,
        processors: HostProcessors = NO_PROCESSORS,
    ) -> None:
        super().__init__(now, before, seconds, ("id", "generation"), mark, from_zero)
        self._model = model or {}
        self.processors = processors
        self._cycles_per_frame: float | None = None
        self._cycles_per_byte: float | None = None
        steered = now.get("steered_frames")
        self._steered_known = steered is not None and None not in steered

    def frames_rate(self, row: int) -> float | None:
        """Return the frames per second of a queue; None if unknown."""
        if self._steered_known or self.count("steered_frames", row) is not None:
            return self.rate("steered_frames", row)
        return self.rate("received_frames", row)

    def total_frames_rate(self) -> float | None:
        """Return the frames per second of all queues but new ones; None if those of a queue are unknown."""
        if self._steered_known:
            return self.total_rate("steered_frames")
        rows = range(len(self.keys))
        if any(
            self.count("steered_frames", row) is None and self.count("received_frames", row) is None
            for row in rows
        ):
            return None
        return known_sum(map(self.frames_rate, rows))

    def knows_cycles(self, row: int) -> bool:
        """Whether the cycles of a queue's frames are known: their number, bytes and costs."""
        counted = ("steered_frames", "steered_bytes")
        return bool(self._model) and all(self.count(name, row) is not None for name in counted)

    def copy_cycles(self, row: int) -> float:
        """Return the cycles per second for copying the bytes of a queue; 0 if unknown."""
        if self._cycles_per_byte is None:
            self._cycles_per_byte = _cost(self._model, "cycles_per_byte")
        return (self.rate("steered_bytes", row) or 0.0) * self._cycles_per_byte

    def cycles(self, row: int) -> float:
        """Return the cycles per second for a queue's frames, without interrupts and DPCs; 0 if unknown."""
        if self._cycles_per_frame is None:
            self._cycles_per_frame = _cost(self._model, "cycles_per_frame")
        return (self.rate("steered_frames", row) or 0.0) * self._cycles_per_frame + self.copy_cycles(row)


def _cost(model: dict[str, Any], key: str) -> float:
    """Return a number of the CPU model; 0 if the writer does not send it, or if it is out of range."""
    try:
        return check_number(model.get(key), 0, 1e12)
    except ValueError:
        return 0.0


class QueueView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A queue of an adapter. ``config`` is None until the configuration of its revision arrives; ``row`` is
    -1 until its counters arrive."""

    adapter: str
    queue_id: int
    generation: int
    settings: AdapterConfig | None
    config: QueueConfig | None
    filters: Sequence[FilterConfig]
    table: QueueTable
    row: int
    steered_rate: float | None
    """Frames per second of all queues of the adapter."""

    @property
    def known(self) -> QueueConfig:
        """The configuration; every queue of an ``Evidence`` has one."""
        assert self.config is not None
        return self.config

    @property
    def identity(self) -> Hashable:
        return (self.adapter, self.queue_id, self.generation)

    @property
    def key(self) -> str:
        """A name that is unique within the adapter, although queue ids are reused."""
        return f"queue {self.queue_id} generation {self.generation}"

    def count(self, name: str) -> int | None:
        return self.table.count(name, self.row)

    def since(self, name: str) -> int | None:
        return self.table.since(name, self.row)

    def rate(self, name: str) -> float | None:
        return self.table.rate(name, self.row)

    def fell(self, name: str) -> bool:
        """Return whether a gauge fell since the earlier reading; True if counters grow from 0 instead."""
        now = self.count(name)
        if now is None or self.table.from_zero:
            return now is not None
        before = self.table.earlier(name, self.row)
        return before is not None and now < before

    @property
    def name(self) -> str | None:
        return self.config.name if self.config else None

    @property
    def vm(self) -> str | None:
        return self.config.vm if self.config else None

    @property
    def label(self) -> str:
        """The display name: the VM's, else the queue's own."""
        return self.vm or self.name or f"queue {self.queue_id}"

    @property
    def called(self) -> str:
        """Id and name for use in sentences: ``queue 3 (web-01)``."""
        return f"queue {self.queue_id} ({self.vm or self.name})"

    @property
    def state(self) -> str | None:
        return self.config.state if self.config else None

    @property
    def cpu(self) -> int | None:
        return self.config.cpu if self.config else None

    @property
    def home_cpu(self) -> int | None:
        """The processor that the plan assigned; None if the writer does not send it."""
        return self.config.home_cpu if self.config else None

    @property
    def planned_cpu(self) -> int | None:
        """The processor that the plan assigned; the current one if the writer does not send it; None if
        neither is known."""
        config = self.known
        return config.cpu if config.home_cpu is None else config.home_cpu

    @property
    def processor(self) -> str | None:
        cpu = self.cpu
        return None if cpu is None else self.processor_name(cpu)

    def processor_name(self, cpu: int) -> str:
        """Format a processor of its host as group:number."""
        return self.table.processors.name(cpu)

    @property
    def macs(self) -> list[str]:
        """The distinct MAC addresses that its filters test, in the filters' order."""
        return list(dict.fromkeys(one.mac for one in self.filters))

    @property
    def vlans(self) -> list[Vlan]:
        """The distinct VLAN tests of its filters, in the filters' order."""
        return list(dict.fromkeys(one.vlan for one in self.filters))

    @property
    def pps(self) -> float | None:
        """Frames per second steered to it; received by it, if those steered are unknown."""
        return self.table.frames_rate(self.row)

    @property
    def known_pps(self) -> float:
        """Frames per second; 0 if unknown."""
        return self.pps or 0.0

    @property
    def bytes_rate(self) -> float | None:
        """Bytes per second steered to it; received by it, if those steered are unknown."""
        return self.rate("received_bytes" if self.count("steered_bytes") is None else "steered_bytes")

    @property
    def mbits(self) -> float | None:
        rate = self.bytes_rate
        return None if rate is None else rate * 8e-6

    @property
    def drops(self) -> float | None:
        return self.rate("dropped_no_buffer")

    @property
    def cycles(self) -> float:
        """Cycles per second for its frames by the host's CPU model, without interrupts and DPCs."""
        return self.table.cycles(self.row)

    @property
    def copy_cycles(self) -> float:
        """The part of ``cycles`` that copies bytes."""
        return self.table.copy_cycles(self.row)

    @property
    def share(self) -> float | None:
        """Its share of all frames steered on the adapter."""
        return ratio(self.pps, self.steered_rate)

    @property
    def pending_share(self) -> float | None:
        return ratio(self.count("pending"), self.count("total_buffers"))

    @property
    def outstanding_share(self) -> float | None:
        return ratio(self.count("outstanding"), self.count("total_buffers"))

    @property
    def buffer_use(self) -> float | None:
        """The share of the queue's buffers that are pending or outstanding."""
        pending, outstanding = self.pending_share, self.outstanding_share
        return None if pending is None or outstanding is None else pending + outstanding

    @property
    def high_water(self) -> float | None:
        """The largest share of its buffers ever in use at once, since it has had this many."""
        free = ratio(self.count("low_free_buffers"), self.count("total_buffers"))
        return None if free is None else 1 - free

    @property
    def memory_bytes(self) -> int | None:
        total = self.count("total_buffers")
        each = self.settings.max_frame_bytes if self.settings else None
        return None if total is None or each is None else total * each


def rate_of_all(name: str, queues: Sequence[QueueView]) -> float | None:
    """Return the sum of a counter's rates over queues; None if the counter of one is unknown.

    New queues, which have no rate yet, and those whose counters have not arrived are left out.
    """
    counted = [one for one in queues if one.row >= 0]
    if any(one.count(name) is None for one in counted):
        return None
    return known_sum(one.rate(name) for one in counted)


class FilterView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A filter. ``shadowed_by`` is the id of a filter that takes all of its frames first."""

    adapter: str
    filter_id: int
    config: FilterConfig | None
    queue: QueueConfig | None
    shadowed_by: int | None
    table: CounterTable
    row: int
    steered_rate: float | None

    @property
    def identity(self) -> Hashable:
        """As ids are reused, with what it tests and its queue: another filter with this id is another row."""
        config = self.config
        tests = (config.mac, config.vlan, config.queue_id) if config else None
        return (self.adapter, self.filter_id, tests, self.queue.generation if self.queue else None)

    @property
    def queue_id(self) -> int | None:
        return self.config.queue_id if self.config else None

    @property
    def vm(self) -> str | None:
        return self.queue.vm if self.queue else None

    @property
    def label(self) -> str:
        return (self.queue.vm or self.queue.name) if self.queue else f"queue {self.queue_id}"

    def since(self, name: str) -> int | None:
        return self.table.since(name, self.row)

    @property
    def matched(self) -> int | None:
        return self.table.count("matched_frames", self.row)

    @property
    def pps(self) -> float | None:
        return self.table.rate("matched_frames", self.row)

    @property
    def share(self) -> float | None:
        return ratio(self.pps, self.steered_rate)

    @property
    def trouble(self) -> Trouble | None:
        """Why it may not work as intended; None if nothing suggests that."""
        if self.shadowed_by is not None:
            return "shadowed"
        if self.queue is not None and self.queue.state not in ("running", "set"):
            return "stopped"
        return "unmatched" if self.matched == 0 else None

    @property
    def note(self) -> str:
        """``trouble`` in words; "" if there is none."""
        match self.trouble:
            case "shadowed":
                return f"shadowed by filter {self.shadowed_by}"
            case "stopped" if self.queue is not None:
                return f"queue is {self.queue.state}"
            case "unmatched":
                return "never matched"
        return ""


class CpuView(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A processor, its load, and the queues that have their affinity to it, as far as that is known: a queue
    of unknown affinity is none of its queues, in sums neither."""

    cpu: int
    config: CpuConfig | None
    queues: Sequence[QueueView]
    table: CounterTable
    row: int
    knows_backlog: bool = True
    """Whether the host knows which frames of its queues are pending."""

    @property
    def known(self) -> CpuConfig:
        """The configuration; every processor of an ``Evidence`` has one."""
        assert self.config is not None
        return self.config

    @property
    def id(self) -> int:
        return self.cpu

    @property
    def identity(self) -> Hashable:
        return self.cpu

    @property
    def backlog(self) -> int | None:
        """Frames received but not yet indicated."""
        counted = [queue for queue in self.queues if queue.row >= 0]
        total = whole_sum(queue.count("pending") for queue in counted)
        if not self.knows_backlog:
            return None
        return 0 if not self.queues and self.row >= 0 else None if total is None else int(total)

    @property
    def processor(self) -> str:
        return self.config.name if self.config else NO_PROCESSORS.name(self.cpu)

    @property
    def down(self) -> bool | None:
        """Whether its worker is down, so that frames for its queues are lost; None if not sent."""
        count = self.count("down")
        return None if count is None else count > 0

    @property
    def load(self) -> float | None:
        """Busy cycles / budget cycles."""
        busy = self.table.delta("busy_cycles", self.row)
        return ratio(busy, self.table.delta("budget_cycles", self.row))

    def since(self, name: str) -> int | None:
        return self.table.since(name, self.row)

    def rate(self, name: str) -> float | None:
        return self.table.rate(name, self.row)

    def count(self, name: str) -> int | None:
        return self.table.count(name, self.row)

    @property
    def number_of_queues(self) -> int | None:
        """The number of its queues; None of a host that does not know, as a queue has no known processor."""
        return len(self.queues) if self.row < 0 or self.count("queues") is not None else None

    @property
    def queue_names(self) -> list[str]:
        return [queue.label for queue in self.queues]

    @property
    def drops(self) -> float | None:
        """Frames per second that its queues dropped; None if unknown of one."""
        return rate_of_all("dropped_no_buffer", self.queues)

    @cached_property
    def _cycles(self) -> float | None:
        """Cycles per second for the frames of all its queues; None if those of one are unknown."""
        counted = [one for one in self.queues if one.row >= 0]
        if not all(one.table.knows_cycles(one.row) for one in counted):
            return None
        return sum(one.cycles for one in counted)

    def share(self, queue: QueueView) -> float | None:
        """Return the part of its load that a queue causes; None if the load, or a queue's cycles, are
        unknown."""
        load, total = self.load, self._cycles
        if load is None or total is None:
            return None
        return load * queue.cycles / total if total else 0.0

    def demand(self, queue: QueueView) -> float:
        """Return the part of its cycles that a queue needs; may exceed ``share`` on a full processor."""
        share, budget, load = self.share(queue) or 0.0, self.rate("budget_cycles"), self.load
        return max(share, queue.cycles / budget) if load is not None and load >= _FULL and budget else share


class PortView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A switch port: a VM's MAC and VLAN, and the queue with a filter for its frames, if any."""

    adapter: str
    config: PortConfig
    queue: QueueConfig | None

    @property
    def identity(self) -> Hashable:
        return (self.adapter, self.config.vm, self.config.mac, self.config.vlan)
