"""Rows defined only for the screen: hosts, events and findings, with what is carried out of their fixes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from engine.advice.finding import SEVERITIES, Finding, Request, Unchecked
from engine.telemetry.config import AdapterConfig, FilterConfig, QueueConfig
from engine.telemetry.events import Event
from engine.view.adapter import AdapterView
from engine.view.index import ConfigIndex
from engine.view.pairs import NearMissView, PairView
from engine.view.rows import CpuView, FilterView, PortView, QueueView


class HostRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A host on the broker: its state and its totals. Only summaries provide the fields with a default."""

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
    """An event, with the present name of the queue it is about; None if that is gone or has no name."""

    event: Event
    queue: str | None

    @property
    def identity(self) -> Hashable:
        return (self.event.seq, self.event.time_ns)


class FindingRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A finding on the screen. ``unseen_s`` is the simulated time since it was last seen; 0 if current.
    ``index`` is of the configuration now, None if that is not known; ``window_s`` the advisor's window."""

    finding: Finding
    unseen_s: float = 0.0
    index: ConfigIndex | None = None
    window_s: float = 0.0

    @classmethod
    def at(cls, now_ns: int, finding: Finding) -> "FindingRow":
        """Return the row of a finding at a simulated time."""
        return cls(finding, max(0, now_ns - finding.last_seen_ns) / 1e9)

    @property
    def identity(self) -> Hashable:
        return self.finding.identity

    @property
    def adapter(self) -> str:
        return self.finding.adapter

    def concerns(self, adapter: str) -> bool:
        """Whether it is about an adapter, or its fix changes the adapter or the whole host."""
        changed = {request.params.get("adapter") for request in self.finding.requests}
        return adapter == self.adapter or bool(changed & {adapter, None})

    @property
    def recurs_s(self) -> float:
        """Seconds within which a finding that comes and goes was seen again each time; 0: it does not."""
        recurs_s = self.finding.recurs_ns / 1e9
        return recurs_s if self.unseen_s < recurs_s else 0.0

    @property
    def judged_until_ns(self) -> int | None:
        """The simulated time at which it goes if its fix, which is carried out, is right; else None."""
        if self.index is None or not is_fixed(self.finding, self.index):
            return None
        return self.finding.last_seen_ns + round(self.window_s * 1e9)

    @property
    def is_past(self) -> bool:
        """Whether it has not been seen for longer than it used to be absent."""
        return bool(self.unseen_s) and not self.recurs_s

    @property
    def label(self) -> str:
        return self.finding.where

    @property
    def rank(self) -> int:
        """Rank of its severity; 0 is the worst."""
        return SEVERITIES.index(self.finding.severity)


@dataclass(frozen=True)
class Advised:
    """The findings at one moment, worst first, from the last ``seconds`` of simulated time; while those are
    no whole window of ``window_s``, the order may change. ``judged_ns`` is the simulated time at their end;
    None: nothing was judged yet.
    ``unchecked`` are the rules that could not look."""

    findings: tuple[Finding, ...] = ()
    judged_ns: int | None = None
    seconds: float = 0.0
    unchecked: Sequence[Unchecked] = ()
    window_s: float = 0.0

    @cached_property
    def rows(self) -> tuple[FindingRow, ...]:
        now_ns = self.judged_ns or 0
        return tuple(FindingRow.at(now_ns, one) for one in self.findings)

    @property
    def left_s(self) -> float:
        """Simulated seconds until a whole window was watched; 0 if it was."""
        return max(0.0, self.window_s - self.seconds)


Row = (
    QueueView
    | FilterView
    | CpuView
    | PortView
    | AdapterView
    | HostRow
    | EventRow
    | PairView
    | NearMissView
    | FindingRow
)


def is_fixed(finding: Finding, index: ConfigIndex) -> bool:
    """Whether a configuration under which a finding was not seen has all that its fix sets."""
    config = index.config
    if config is None or not finding.requests or finding.revision == config.revision:
        return False
    return all(is_so(one, index) for one in finding.requests)


def is_so(request: Request, index: ConfigIndex) -> bool:
    """Whether the configuration has what a request sets; False for an adapter that it does not have."""
    config, params = index.config, request.params
    if request.op == "set_balancer":
        return config is not None and params.items() <= config.balancer.items()
    one = index.adapters.get(str(params.get("adapter")))
    if one is None:
        return False
    if request.op == "set_adapter":
        return _has(one.settings, request)
    queue = one.queues.get(params.get("queue_id", -1))
    if queue is not None and request.generation is not None and queue.generation != request.generation:
        queue = None
    match request.op:
        case "set_queue_parameters":
            return queue is not None and _has(queue, request)
        case "free_queue":
            return queue is None
        case "set_filter":
            return any(
                found.vlan == params.get("vlan") for found in one.filters_of_mac.get(params["mac"], ())
            )
        case "clear_filter":
            return not is_filter(one.settings.filters, request)
        case "complete_allocation" if request.queue_from is None:
            return not any(waits(one.queues.get(number)) for number in params["queue_ids"])
        case "complete_allocation":
            return True  # of a queue that the fix allocates, which the request for that is about
    return _is_so_of_vm(request, one.settings)


def _is_so_of_vm(request: Request, adapter: AdapterConfig) -> bool:
    """As ``is_so``, for a request that is about the queues of a VM."""
    vm = request.params.get("vm")
    queues = [queue for queue in adapter.queues if queue.vm == vm is not None]
    match request.op:
        case "allocate_queue":
            return any(not waits(queue) for queue in queues)
        case "resume_vm":
            return not any(queue.vm_paused for queue in queues)
        case "remove_vm":
            return not queues
    return False


def waits(queue: QueueConfig | None) -> bool:
    """Whether a queue waits for the completion of its allocation."""
    return queue is not None and queue.state in ("allocated", "set")


def is_filter(filters: Sequence[FilterConfig], request: Request) -> bool:
    """Whether the filter that a request would clear is still set."""
    params = request.params
    return any(
        (one.filter_id, one.queue_id, one.mac) == (params["filter_id"], params["queue_id"], request.mac)
        for one in filters
    )


def _has(of: AdapterConfig | QueueConfig, request: Request) -> bool:
    params = {key: value for key, value in request.params.items() if key not in ("adapter", "queue_id")}
    return all(getattr(of, key, None) == value for key, value in params.items())
