"""Where a queue's receive buffers live: in the host's address space, in its VM's, and how full they are."""

from dataclasses import dataclass
from typing import Literal

from engine.view.adapter import AdapterView
from engine.view.rates import known_sum
from engine.view.rows import QueueView

Space = Literal["host", "guest"]


@dataclass(frozen=True)
class Region:
    """One stretch of memory: a place of ``bytes_each`` for every buffer. Of the ``places``, frames lie in
    ``outstanding`` (the VM's to read) and ``pending`` (not yet indicated); None: unknown."""

    space: Space
    what: str
    bytes_each: int
    places: int | None
    outstanding: int | None
    pending: int | None

    @property
    def size(self) -> int | None:
        """Bytes in all."""
        return None if self.places is None else self.places * self.bytes_each


def regions(queue: QueueView) -> list[Region]:
    """The memory of a queue.

    From NDIS 6.30 on, and without a split, a buffer holds the whole frame in host memory, and the frame
    appears in the VM's memory when it is indicated. Under a split (NDIS 6.20) only the lookahead is in host
    memory; the rest is put into the VM's at once.
    """
    if queue.settings is None or queue.config is None:
        return []
    most = queue.settings.max_frame_bytes
    places, outstanding, pending = (queue.count(name) for name in ("total_buffers", "outstanding", "pending"))
    if queue.config.guest_memory and queue.config.lookahead_bytes:
        ahead = min(queue.config.lookahead_bytes, most)
        return [
            Region("host", "lookahead", ahead, places, outstanding, pending),
            Region("guest", "post-lookahead", most - ahead, places, outstanding, pending),
        ]
    found = [Region("host", "whole frames", most, places, outstanding, pending)]
    if queue.vm is not None:
        found.append(Region("guest", "copies of frames", most, places, outstanding, 0))
    return found


@dataclass(frozen=True)
class Pool:
    """An adapter's receive buffers by use; None: unknown."""

    total: int | None
    outstanding: int | None
    pending: int | None
    free: int | None
    bytes_each: int | None

    @property
    def in_no_queue(self) -> int | None:
        """Buffers that no queue owns."""
        if None in (self.total, self.outstanding, self.pending, self.free):
            return None
        return max(0, (self.total or 0) - (self.outstanding or 0) - (self.pending or 0) - (self.free or 0))


def pool(adapter: AdapterView) -> Pool:
    """An adapter's buffers by use."""

    def of(name: str) -> int | None:
        total = known_sum(queue.count(name) for queue in adapter.queues)
        return None if total is None else int(total)

    config = adapter.config
    return Pool(
        config.buffers if config else None,
        of("outstanding"),
        of("pending"),
        of("free_buffers"),
        config.max_frame_bytes if config else None,
    )
