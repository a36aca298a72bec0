"""Effects of requests on the data plane, their events, and the gauges that the control plane reads.

The control plane decides; the data plane carries out the effects in order, between two rounds.
Effects identify a queue by adapter index (position in the scenario) and queue id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.scenario.model import BalancerSpec, TrafficSpec
from engine.scenario.values import is_whole, show


@dataclass(frozen=True)
class QueueGauges:
    """The current numbers of a queue's buffers."""

    pending: int
    outstanding: int
    total_buffers: int


class Observe(Protocol):
    """The control plane's read access to the data plane."""

    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        """Return the gauges of an allocated queue."""


@dataclass(frozen=True)
class OpenQueue:
    """Create an allocated queue: its counters start at 0, and it owns no buffer yet."""

    adapter: int
    queue_id: int
    generation: int
    cpu: int
    return_delay_ns: int
    vm: int | None
    """Index of the queue's VM in the adapter's ``vms``."""
    copied_bytes_limit: int
    """Limit of bytes of a frame that the CPU copies: ``max_frame_bytes``, or less after ``SplitBuffers``."""


@dataclass(frozen=True)
class SplitBuffers:
    """Split the frames of a queue: the CPU copies up to ``lookahead_bytes`` of a frame; the rest is in the
    VM's memory. It comes when the allocation is completed, before the queue's first ``SetBuffers``."""

    adapter: int
    queue_id: int
    lookahead_bytes: int


@dataclass(frozen=True)
class SetBuffers:
    """Set the number of buffers that a queue owns. Growth is immediate; shrinking removes free buffers at
    once and the others when they are returned."""

    adapter: int
    queue_id: int
    count: int


@dataclass(frozen=True)
class MoveQueue:
    """Move a queue to processor ``cpu``; none of its frames is lost or reordered."""

    adapter: int
    queue_id: int
    cpu: int


@dataclass(frozen=True)
class DiscardPending:
    """Discard the queue's pending frames: its last filter was cleared while it was running."""

    adapter: int
    queue_id: int


@dataclass(frozen=True)
class HoldBuffers:
    """While ``held``, the queue's VM returns no buffers; when it resumes, it returns all that are due."""

    adapter: int
    queue_id: int
    held: bool


@dataclass(frozen=True)
class ReturnBuffers:
    """Return every outstanding buffer of a queue whose VM was removed, in place of that VM."""

    adapter: int
    queue_id: int


@dataclass(frozen=True)
class ForgetVm:
    """Release the memory of a VM that has no port and no queue left; ``vm`` is its index."""

    adapter: int
    vm: int


@dataclass(frozen=True)
class CloseQueue:
    """Remove a freed queue: add its counters to the adapter's ``freed`` and release its buffers."""

    adapter: int
    queue_id: int


@dataclass(frozen=True)
class NewFilter:
    """Begin to use a filter id: its ``matched_frames`` starts at 0."""

    adapter: int
    filter_id: int


@dataclass(frozen=True)
class SteeringChanged:
    """Recompile the adapter's steering table, after all other effects of the request."""

    adapter: int


@dataclass(frozen=True)
class SetTraffic:
    """Replace the host's own traffic: the old traffic ends, the new one starts."""

    traffic: TrafficSpec


@dataclass(frozen=True)
class SetBalancer:
    """Restart the host's balancer with these settings."""

    balancer: BalancerSpec


@dataclass(frozen=True)
class SetLink:
    """Change the speed of the adapter's link, from the next frame on."""

    adapter: int
    link_gbps: float


@dataclass(frozen=True)
class RestartWorker:
    """Restart the worker of a processor that is down."""

    cpu: int


Effect = (
    OpenQueue
    | SplitBuffers
    | SetBuffers
    | MoveQueue
    | DiscardPending
    | HoldBuffers
    | ReturnBuffers
    | ForgetVm
    | CloseQueue
    | NewFilter
    | SteeringChanged
    | SetTraffic
    | SetLink
    | SetBalancer
    | RestartWorker
)


@dataclass(frozen=True)
class Indication:
    """A change to publish as an event; ``event`` and ``cause`` are those of the event message.

    In an event about a VM, which ``cause`` names, or about an adapter, ``queue_id`` and ``state`` are None;
    in one about the host ``adapter`` is None too.
    """

    event: str
    adapter: int | None
    queue_id: int | None
    state: str | None
    cause: str


def change(key: str, before: object, after: object) -> str:
    """Return one change: ``buffers 512 → 1,024``."""
    return f"{key} {_shown(before)} → {_shown(after)}"


def changed_by(driver: str, changes: Sequence[str]) -> str:
    """Return the cause of an event about changes of one thing."""
    return f"changed by {driver}: {', '.join(changes)}"


def _shown(value: object) -> str:
    if is_whole(value):
        return f"{value:,}"
    return f"{value:,.12g}" if isinstance(value, float) else show(value)
