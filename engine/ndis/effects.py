"""Effects of requests on the data plane, and the gauges that the control plane reads of it.

The control plane decides; the data plane carries out effects in order, between two rounds.
Queues are named by (adapter index, queue id); ids follow the scenario's order.
"""

from dataclasses import dataclass
from typing import Protocol

from engine.scenario.model import BalancerSpec, TrafficSpec


@dataclass(frozen=True)
class QueueGauges:
    """Buffers of one queue, now."""

    pending: int
    outstanding: int
    total_buffers: int


class Observe(Protocol):
    """The control plane's read access to the data plane."""

    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        """The gauges of an allocated queue."""


@dataclass(frozen=True)
class OpenQueue:
    """A queue was allocated: its counters start at 0, it owns no buffer yet."""

    adapter: int
    queue_id: int
    generation: int
    cpu: int
    return_delay_ns: int
    vm: int | None
    """Index of the VM it is for, in the adapter's ``vms``."""
    copied_bytes_limit: int
    """Limit of bytes that the CPU copies of a frame: ``max_frame_bytes``, or less after ``SplitBuffers``."""


@dataclass(frozen=True)
class SplitBuffers:
    """The queue's allocation was completed with a lookahead split: the CPU copies at most ``lookahead_bytes``
    of a frame, the rest is in its VM's memory. It precedes the queue's first ``SetBuffers``."""

    adapter: int
    queue_id: int
    lookahead_bytes: int


@dataclass(frozen=True)
class SetBuffers:
    """Set the number of buffers that a queue owns. Growth is immediate; shrinking takes free buffers at
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
    """The queue's VM returns no buffer while ``held``; buffers due meanwhile are returned when it resumes."""

    adapter: int
    queue_id: int
    held: bool


@dataclass(frozen=True)
class ReturnBuffers:
    """The switch returns every outstanding buffer of the queue, whose VM was removed."""

    adapter: int
    queue_id: int


@dataclass(frozen=True)
class ForgetVm:
    """Release the memory of a VM that has no port and no queue left. ``vm`` is its index."""

    adapter: int
    vm: int


@dataclass(frozen=True)
class CloseQueue:
    """Remove a freed queue: its counters are added to the adapter's ``freed``, its buffers become spare."""

    adapter: int
    queue_id: int


@dataclass(frozen=True)
class NewFilter:
    """A filter id is in use from now on: its ``matched_frames`` starts at 0."""

    adapter: int
    filter_id: int


@dataclass(frozen=True)
class SteeringChanged:
    """Compile the adapter's steering table again, after all other effects of the request."""

    adapter: int


@dataclass(frozen=True)
class SetTraffic:
    """Replace the host's own traffic: the old one ends, the new one starts."""

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
    """A change to publish as an event; ``event`` and ``cause`` as in the event message.

    ``queue_id`` and its ``state`` are None where the event is a VM's, which ``cause`` names.
    """

    event: str
    adapter: int
    queue_id: int | None
    state: str | None
    cause: str
