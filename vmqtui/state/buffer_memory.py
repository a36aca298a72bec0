"""The memory of receive buffers: in the address space of the host or of the VM, with its occupancy."""

from dataclasses import dataclass
from typing import Literal

from engine.view.adapter import AdapterView
from engine.view.rates import whole_sum
from engine.view.rows import QueueView

Space = Literal["host", "guest"]


@dataclass(frozen=True)
class Region:
    """A memory region with ``places`` slots of ``bytes_each``, one per buffer. Of these, ``outstanding``
    (owned by the VM until it returns them) and ``pending`` (not yet indicated) hold frames. None: unknown."""

    space: Space
    what: str
    bytes_each: int | None
    places: int | None
    outstanding: int | None
    pending: int | None

    @property
    def size(self) -> int | None:
        """Total bytes; None: unknown."""
        return None if self.places is None or self.bytes_each is None else self.places * self.bytes_each


def regions(queue: QueueView) -> list[Region]:
    """The memory regions of a queue; [] if its configuration is unknown.

    From NDIS 6.30 on, or without a lookahead split, a buffer holds the whole frame in host memory, and the
    frame is copied to the VM's memory when it is indicated. With a split (NDIS 6.20), only the lookahead is
    in host memory; the rest is written directly to the VM's.
    """
    if queue.settings is None or queue.config is None:
        return []
    most = queue.settings.max_frame_bytes
    places, outstanding, pending = (queue.count(name) for name in ("total_buffers", "outstanding", "pending"))
    if queue.config.guest_memory and queue.config.lookahead_bytes:
        ahead = queue.config.lookahead_bytes if most is None else min(queue.config.lookahead_bytes, most)
        rest = None if most is None else most - ahead
        return [
            Region("host", "lookahead", ahead, places, outstanding, pending),
            Region("guest", "post-lookahead", rest, places, outstanding, pending),
        ]
    found = [Region("host", "whole frames", most, places, outstanding, pending)]
    if queue.vm is not None:
        found.append(Region("guest", "copies of frames", most, places, outstanding, 0))
    return found


@dataclass(frozen=True)
class Pool:
    """The numbers of an adapter's receive buffers by use; None: unknown."""

    total: int | None
    outstanding: int | None
    pending: int | None
    free: int | None
    bytes_each: int | None

    @property
    def in_no_queue(self) -> int | None:
        """Buffers that no queue owns; None: unknown."""
        if None in (self.total, self.outstanding, self.pending, self.free):
            return None
        return max(0, (self.total or 0) - (self.outstanding or 0) - (self.pending or 0) - (self.free or 0))


def pool(adapter: AdapterView) -> Pool:
    """The buffers of an adapter, summed over its queues."""

    def of(name: str) -> int | None:
        total = whole_sum(queue.count(name) for queue in adapter.queues if queue.row >= 0)
        return None if total is None else int(total)

    config = adapter.config
    return Pool(
        config.buffers if config else None,
        of("outstanding"),
        of("pending"),
        of("free_buffers"),
        config.max_frame_bytes if config else None,
    )
