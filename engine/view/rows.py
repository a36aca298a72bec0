"""One row of each table: a configuration entry joined with its counters, computed when asked for.

Queues and filters are made by the thousand with every reading and refer to nothing that refers to them, so
the garbage collector need not traverse them (``gc=False``).
"""

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

from engine.ndis.processors import processor_name
from engine.scenario.values import check_number
from engine.telemetry.config import AdapterConfig, CpuConfig, FilterConfig, PortConfig, QueueConfig, Vlan
from engine.view.rates import CounterTable, Table, known_sum, ratio

Trouble = Literal["shadowed", "stopped", "unmatched"]
"""Why a filter may not work: another one takes its frames, its queue does not run, it never matched."""
_FULL = 0.95
"""From this load on a processor has more work than its load shows."""


class QueueTable(CounterTable):
    """The counters of an adapter's queues, and the costs of their frames by the host's CPU model."""

    __slots__ = ("_cycles_per_byte", "_cycles_per_frame", "_model")

    def __init__(
        self,
        now: Table,
        before: Table | None,
        seconds: float | None,
        mark: Table | None = None,
        from_zero: bool = False,
        model: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(now, before, seconds, ("id", "generation"), mark, from_zero)
        self._model = model or {}
        self._cycles_per_frame: float | None = None
        self._cycles_per_byte: float | None = None

    def copy_cycles(self, row: int) -> float:
        """Cycles a second that copying the bytes of a queue takes; 0 where that is unknown."""
        if self._cycles_per_byte is None:
            self._cycles_per_byte = _cost(self._model, "cycles_per_byte")
        return (self.rate("steered_bytes", row) or 0.0) * self._cycles_per_byte

    def cycles(self, row: int) -> float:
        """Cycles a second that the frames of a queue take, without interrupts and DPCs; 0: unknown."""
        if self._cycles_per_frame is None:
            self._cycles_per_frame = _cost(self._model, "cycles_per_frame")
        return (self.rate("steered_frames", row) or 0.0) * self._cycles_per_frame + self.copy_cycles(row)


def _cost(model: dict[str, Any], key: str) -> float:
    """A number of the CPU model; 0 from a writer that does not send it."""
    try:
        return check_number(model.get(key), 0, 1e12)
    except ValueError:
        return 0.0


class QueueView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A queue of an adapter. ``config`` is None while the configuration of its revision is on its way;
    ``row`` is -1 while its counters are."""

    adapter: str
    queue_id: int
    generation: int
    settings: AdapterConfig | None
    config: QueueConfig | None
    filters: Sequence[FilterConfig]
    table: QueueTable
    row: int
    steered_rate: float | None
    """Frames per second steered on the whole adapter."""

    @property
    def known(self) -> QueueConfig:
        """The configuration of a queue that has one, as all queues of an ``Evidence`` do."""
        assert self.config is not None
        return self.config

    @property
    def identity(self) -> Hashable:
        return (self.adapter, self.queue_id, self.generation)

    @property
    def key(self) -> str:
        """Names it within its adapter, apart from earlier and later queues of its id."""
        return f"queue {self.queue_id} generation {self.generation}"

    def count(self, name: str) -> int | None:
        return self.table.count(name, self.row)

    def since(self, name: str) -> int | None:
        return self.table.since(name, self.row)

    def rate(self, name: str) -> float | None:
        return self.table.rate(name, self.row)

    def fell(self, name: str) -> bool:
        """Whether a gauge is lower than it was at the reading before; without one, yes."""
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
        """The name that people use: the VM's, else the queue's own."""
        return self.vm or self.name or f"queue {self.queue_id}"

    @property
    def called(self) -> str:
        """The same behind its id, for sentences: ``queue 3 (web-01)``."""
        return f"queue {self.queue_id} ({self.vm or self.name})"

    @property
    def state(self) -> str | None:
        return self.config.state if self.config else None

    @property
    def cpu(self) -> int | None:
        return self.config.cpu if self.config else None

    @property
    def home_cpu(self) -> int | None:
        """The processor that the plan gave it; None: the writer does not send it."""
        return self.config.home_cpu if self.config else None

    @property
    def planned_cpu(self) -> int:
        """The processor that the plan gave it; the present one, where the writer does not send that."""
        config = self.known
        return config.cpu if config.home_cpu is None else config.home_cpu

    @property
    def processor(self) -> str | None:
        return processor_name(self.config.cpu) if self.config else None

    @property
    def macs(self) -> list[str]:
        return [one.mac for one in self.filters]

    @property
    def vlans(self) -> list[Vlan]:
        return [one.vlan for one in self.filters]

    @property
    def pps(self) -> float | None:
        return self.rate("steered_frames")

    @property
    def known_pps(self) -> float:
        """Frames a second; 0 where that is unknown."""
        return self.rate("steered_frames") or 0.0

    @property
    def mbits(self) -> float | None:
        rate = self.rate("steered_bytes")
        return None if rate is None else rate * 8e-6

    @property
    def drops(self) -> float | None:
        return self.rate("dropped_no_buffer")

    @property
    def cycles(self) -> float:
        """Cycles a second that its frames take by the host's CPU model, without interrupts and DPCs."""
        return self.table.cycles(self.row)

    @property
    def copy_cycles(self) -> float:
        """Those of them that copy bytes."""
        return self.table.copy_cycles(self.row)

    @property
    def share(self) -> float | None:
        """Of all frames steered on the adapter."""
        return ratio(self.pps, self.steered_rate)

    @property
    def pending_share(self) -> float | None:
        return ratio(self.count("pending"), self.count("total_buffers"))

    @property
    def outstanding_share(self) -> float | None:
        return ratio(self.count("outstanding"), self.count("total_buffers"))

    @property
    def buffer_use(self) -> float | None:
        """Pending and outstanding, of all buffers of the queue."""
        pending, outstanding = self.pending_share, self.outstanding_share
        return None if pending is None or outstanding is None else pending + outstanding

    @property
    def high_water(self) -> float | None:
        """The largest part of its buffers that was ever in use, since it has this many."""
        free = ratio(self.count("low_free_buffers"), self.count("total_buffers"))
        return None if free is None else 1 - free

    @property
    def memory_bytes(self) -> int | None:
        total = self.count("total_buffers")
        return None if total is None or self.settings is None else total * self.settings.max_frame_bytes


class FilterView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A filter. ``shadowed_by`` is the id of a filter that takes every frame this one would."""

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
        return (self.adapter, self.filter_id, self.config.mac if self.config else None)

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
        """Why it may not work as intended."""
        if self.shadowed_by is not None:
            return "shadowed"
        if self.queue is not None and self.queue.state not in ("running", "set"):
            return "stopped"
        return "unmatched" if self.matched == 0 else None

    @property
    def note(self) -> str:
        """The same in words."""
        match self.trouble:
            case "shadowed":
                return f"shadowed by filter {self.shadowed_by}"
            case "stopped" if self.queue is not None:
                return f"queue is {self.queue.state}"
            case "unmatched":
                return "never matched"
        return ""


class CpuView(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A processor, the queues whose affinity it is, and its load."""

    cpu: int
    config: CpuConfig | None
    queues: Sequence[QueueView]
    table: CounterTable
    row: int

    @property
    def known(self) -> CpuConfig:
        """The configuration of a processor that has one, as all of an ``Evidence`` do."""
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
        """Frames received and not yet indicated."""
        total = known_sum(queue.count("pending") for queue in self.queues)
        return 0 if not self.queues and self.row >= 0 else None if total is None else int(total)

    @property
    def processor(self) -> str:
        return self.config.name if self.config else processor_name(self.cpu)

    @property
    def down(self) -> bool | None:
        """Whether it has no worker, so that frames for its queues are lost; None: not sent."""
        count = self.count("down")
        return None if count is None else count > 0

    @property
    def load(self) -> float | None:
        """Busy cycles of those it had to spend."""
        busy = self.table.delta("busy_cycles", self.row)
        return ratio(busy, self.table.delta("budget_cycles", self.row))

    def since(self, name: str) -> int | None:
        return self.table.since(name, self.row)

    def rate(self, name: str) -> float | None:
        return self.table.rate(name, self.row)

    def count(self, name: str) -> int | None:
        return self.table.count(name, self.row)

    @property
    def queue_names(self) -> list[str]:
        return [queue.label for queue in self.queues]

    @property
    def drops(self) -> float | None:
        """Frames a second that its queues dropped; None when that is known of none."""
        return known_sum(queue.drops for queue in self.queues)

    @cached_property
    def _cycles(self) -> float:
        """Cycles a second that all of its queues take."""
        return sum(one.cycles for one in self.queues)

    def share(self, queue: QueueView) -> float | None:
        """The part of its cycles that a queue takes, of those it spent."""
        load, total = self.load, self._cycles
        return None if load is None else load * queue.cycles / total if total else 0.0

    def demand(self, queue: QueueView) -> float:
        """The part of its cycles that a queue would take: of a full processor more than it gets."""
        share, budget, load = self.share(queue) or 0.0, self.rate("budget_cycles"), self.load
        return max(share, queue.cycles / budget) if load is not None and load >= _FULL and budget else share


class PortView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A switch port: a VM's MAC and VLAN, and the queue that takes its frames, if one does."""

    adapter: str
    config: PortConfig
    queue: QueueConfig | None

    @property
    def identity(self) -> Hashable:
        return (self.adapter, self.config.vm, self.config.mac, self.config.vlan)
