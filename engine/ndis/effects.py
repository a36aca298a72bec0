"""What a request makes the data plane do, and what the control plane may ask it.

The control plane decides; the data plane carries out effects in order, between two rounds.
Queues are named by (adapter index, queue id); ids follow the scenario's order.
"""

from dataclasses import dataclass
from typing import Protocol

from engine.scenario.model import BalancerSpec, TrafficSpec


@dataclass(frozen=True)
class QueueGauges:
    """Buffers of one queue right now."""

    pending: int
    outstanding: int
    total_buffers: int


class Observe(Protocol):
    """How the control plane looks at the data plane; reads only."""

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
    """Most bytes of a frame the CPU copies: ``max_frame_bytes``, until ``SplitBuffers`` says less."""


@dataclass(frozen=True)
class SplitBuffers:
    """The queue's allocation was completed with a lookahead split: the CPU copies at most ``lookahead_bytes``
    of a frame, the rest lies in its VM's memory. Comes before the queue's first ``SetBuffers``."""

    adapter: int
    queue_id: int
    lookahead_bytes: int


@dataclass(frozen=True)
class SetBuffers:
    """A queue shall own ``count`` buffers. Growth is at once; shrinking takes free buffers at once and
    the others as they come back."""

    adapter: int
    queue_id: int
    count: int


@dataclass(frozen=True)
class MoveQueue:
    """A queue's affinity is now ``cpu``; nothing of it is lost or reordered."""

    adapter: int
    queue_id: int
    cpu: int


@dataclass(frozen=True)
class DiscardPending:
    """The queue's last filter was cleared while it was running: what is pending is discarded."""

    adapter: int
    queue_id: int


@dataclass(frozen=True)
class HoldBuffers:
    """The queue's VM returns no buffer while ``held``; what is due by then comes back when it resumes."""

    adapter: int
    queue_id: int
    held: bool


@dataclass(frozen=True)
class ReturnBuffers:
    """The switch gives back every outstanding buffer of the queue, since its VM is gone."""

    adapter: int
    queue_id: int


@dataclass(frozen=True)
class ForgetVm:
    """A VM has no port and no queue any more: its memory is released. ``vm`` is its index."""

    adapter: int
    vm: int


@dataclass(frozen=True)
class CloseQueue:
    """The queue is gone: its counters join the adapter's ``freed``, its buffers the adapter's spare."""

    adapter: int
    queue_id: int


@dataclass(frozen=True)
class NewFilter:
    """A filter id came into use: its ``matched_frames`` starts at 0."""

    adapter: int
    filter_id: int


@dataclass(frozen=True)
class SteeringChanged:
    """The adapter's steering table must be compiled anew (after all other effects of the request)."""

    adapter: int


@dataclass(frozen=True)
class SetTraffic:
    """The host's own traffic is another one, and begins now; the old one ends."""

    traffic: TrafficSpec


@dataclass(frozen=True)
class SetBalancer:
    """The host's balancer goes by this from now on, and begins anew."""

    balancer: BalancerSpec


@dataclass(frozen=True)
class SetLink:
    """The adapter's link has another speed, from the next frame on."""

    adapter: int
    link_gbps: float


@dataclass(frozen=True)
class RestartWorker:
    """A processor that is down shall have a worker again."""

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
