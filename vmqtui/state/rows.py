"""One row of each table: a configuration entry joined with its counters, computed when asked for.

Rows are made by the thousand with every reading and refer to nothing that refers to them, so the garbage
collector need not look at them (``gc=False``).
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

import msgspec

from engine.ndis.processors import processor_name
from engine.telemetry.config import AdapterConfig, CpuConfig, FilterConfig, PortConfig, QueueConfig, Vlan
from engine.telemetry.events import Event
from engine.telemetry.stats import TopPairs
from vmqtui.state.advice import FindingRow
from vmqtui.state.readings import Readings
from vmqtui.state.top import NearMissRow, TopRow


def ratio(part: float | None, whole: float | None) -> float | None:
    """part / whole; unknown when either is, and when there is no whole."""
    return part / whole if part is not None and whole else None


Trouble = Literal["shadowed", "stopped", "unmatched"]
"""What may be wrong with a filter: another one takes its frames, its queue does not run, it never matched."""


class QueueRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A queue of an adapter. ``config`` is None while the configuration of its revision is on its way;
    ``row`` is -1 while its counters are."""

    adapter: str
    queue_id: int
    generation: int
    settings: AdapterConfig | None
    config: QueueConfig | None
    filters: Sequence[FilterConfig]
    readings: Readings
    row: int
    steered_rate: float | None
    """Frames per second steered on the whole adapter."""

    @property
    def identity(self) -> Hashable:
        return (self.adapter, self.queue_id, self.generation)

    def count(self, name: str) -> int | None:
        return self.readings.count(name, self.row)

    def since(self, name: str) -> int | None:
        return self.readings.since(name, self.row)

    def rate(self, name: str) -> float | None:
        return self.readings.rate(name, self.row)

    @property
    def name(self) -> str | None:
        return self.config.name if self.config else None

    @property
    def vm(self) -> str | None:
        return self.config.vm if self.config else None

    @property
    def label(self) -> str:
        """What a person would call it."""
        return self.vm or self.name or f"queue {self.queue_id}"

    @property
    def state(self) -> str | None:
        return self.config.state if self.config else None

    @property
    def cpu(self) -> int | None:
        return self.config.cpu if self.config else None

    @property
    def home_cpu(self) -> int | None:
        """The processor it was given by whoever plans; None: not told."""
        return self.config.home_cpu if self.config else None

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
    def mbits(self) -> float | None:
        rate = self.rate("steered_bytes")
        return None if rate is None else rate * 8e-6

    @property
    def drops(self) -> float | None:
        return self.rate("dropped_no_buffer")

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


class FilterRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A filter. ``shadowed_by`` is the id of a filter that takes every frame this one would."""

    adapter: str
    filter_id: int
    config: FilterConfig | None
    queue: QueueConfig | None
    shadowed_by: int | None
    readings: Readings
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
        return self.readings.since(name, self.row)

    @property
    def matched(self) -> int | None:
        return self.readings.count("matched_frames", self.row)

    @property
    def pps(self) -> float | None:
        return self.readings.rate("matched_frames", self.row)

    @property
    def share(self) -> float | None:
        return ratio(self.pps, self.steered_rate)

    @property
    def trouble(self) -> Trouble | None:
        """Why it may not do what was meant."""
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


class CpuRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A processor and the queues whose affinity it is, as (adapter, queue)."""

    cpu: int
    config: CpuConfig | None
    queues: Sequence[tuple[str, QueueConfig]]
    readings: Readings
    row: int
    served: Sequence[QueueRow] = ()
    """Those queues with their counters."""

    @property
    def identity(self) -> Hashable:
        return self.cpu

    @property
    def backlog(self) -> int | None:
        """Frames received and not yet indicated."""
        total = known_sum(queue.count("pending") for queue in self.served)
        return 0 if not self.served and self.row >= 0 else None if total is None else int(total)

    @property
    def processor(self) -> str:
        return self.config.name if self.config else processor_name(self.cpu)

    @property
    def down(self) -> bool | None:
        """Whether it has no worker, so that frames for its queues are lost; None: not told."""
        count = self.count("down")
        return None if count is None else count > 0

    @property
    def load(self) -> float | None:
        """Busy cycles of those it had to spend."""
        busy = self.readings.delta("busy_cycles", self.row)
        return ratio(busy, self.readings.delta("budget_cycles", self.row))

    def since(self, name: str) -> int | None:
        return self.readings.since(name, self.row)

    def rate(self, name: str) -> float | None:
        return self.readings.rate(name, self.row)

    def count(self, name: str) -> int | None:
        return self.readings.count(name, self.row)

    @property
    def queue_names(self) -> list[str]:
        return [queue.vm or queue.name or f"queue {queue.queue_id}" for _, queue in self.queues]


class PortRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A switch port: a VM's MAC and VLAN, and the queue that takes its frames, if one does."""

    adapter: str
    config: PortConfig
    queue: QueueConfig | None

    @property
    def identity(self) -> Hashable:
        return (self.adapter, self.config.vm, self.config.mac, self.config.vlan)


class AdapterRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An adapter: its port's counters, the default queue's reasons, and sums over its queues."""

    adapter: str
    config: AdapterConfig | None
    port: Readings
    reasons: Readings
    queues: Sequence[QueueRow]
    of_queues: Readings
    """The counters of those queues."""
    pairs: TopPairs | None = None
    """Whose frames the default queue took."""
    interface: Readings | None = None
    """What the kernel counts of the live interface that feeds it, if one does."""

    @property
    def identity(self) -> Hashable:
        return self.adapter

    @property
    def steered_rate(self) -> float | None:
        return self.of_queues.total_rate("steered_frames")

    def count(self, name: str) -> int | None:
        return self.port.count(name, 0)

    def since(self, name: str) -> int | None:
        return self.port.since(name, 0)

    @property
    def pps(self) -> float | None:
        return self.port.rate("offered_frames", 0)

    @property
    def mbits(self) -> float | None:
        rate = self.port.rate("offered_bytes", 0)
        return None if rate is None else rate * 8e-6

    @property
    def team(self) -> str | None:
        """The team it is a member of, and its mode."""
        config = self.config
        return f"{config.team} {config.team_mode}" if config is not None and config.team else None

    @property
    def team_words(self) -> str:
        """The same in words: ``team0, sum of queues``; "" where it is in none."""
        config = self.config
        return f"{config.team}, {config.team_mode} of queues" if config is not None and config.team else ""

    @property
    def link_use(self) -> float | None:
        mbits = self.mbits
        return ratio(mbits, self.config.link_gbps * 1000 if self.config else None)

    @property
    def drops(self) -> float | None:
        return self.of_queues.total_rate("dropped_no_buffer")

    @property
    def lost(self) -> float | None:
        """Frames a second lost with workers that died, or for want of one."""
        return self.of_queues.total_rate("lost_frames")

    @property
    def unread(self) -> float | None:
        """Frames per second that its live interface lost before they were read; None without one."""
        if self.interface is None:
            return None
        counters = ("kernel_dropped_frames", "interface_dropped_frames")
        return known_sum(self.interface.rate(name, 0) for name in counters)

    @property
    def port_errors(self) -> float | None:
        return known_sum((self.port.rate("runt", 0), self.port.rate("oversize", 0)))

    def reason(self, name: str) -> float | None:
        """Frames per second that the default queue took for this reason."""
        return self.reasons.rate(name, 0)

    @property
    def top_known(self) -> bool:
        """Whether the engine tells whose frames the default queue took."""
        return self.pairs is not None

    @property
    def default_pps(self) -> float | None:
        return next((queue.pps for queue in self.queues if queue.queue_id == 0), None)

    @property
    def buffers_given(self) -> int | None:
        total = known_sum(queue.count("total_buffers") for queue in self.queues)
        return None if total is None else int(total)


class HostRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A host on the broker: whether it is there, and its totals. What has a default is of summaries only."""

    host: str
    state: str
    version: str
    started_at: float
    cpus: int | None
    adapters: int | None
    queues: int | None
    filters: int | None
    sim_time_ns: int | None
    pps: float | None
    mbits: float | None
    drops: float | None
    age_s: float | None = None
    kind: str | None = None
    cpus_down: int | None = None
    busiest_cpu: int | None = None
    busiest_load: float | None = None
    default_pps: float | None = None
    bad: int | None = None
    cost: int | None = None
    note: int | None = None
    worst: str | None = None

    @property
    def identity(self) -> Hashable:
        return self.host


class EventRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Something that happened, with what the queue it names is called now."""

    event: Event
    queue: str | None

    @property
    def identity(self) -> Hashable:
        return (self.event.seq, self.event.time_ns)


Row = (
    QueueRow
    | FilterRow
    | CpuRow
    | PortRow
    | AdapterRow
    | HostRow
    | EventRow
    | TopRow
    | NearMissRow
    | FindingRow
)


def known_sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; unknown when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
