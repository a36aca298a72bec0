"""Guest memory: the memory that each VM can see, for frames of its own queues and frames from the switch.

Every buffer of a VM's queue has a place in that VM's memory, where its frame appears when it is indicated
(with a lookahead split, the part after the lookahead is written there on arrival). A VM with a switch
port also has places for frames from queue 0 and other queues without a VM. Memory is zeroed before a queue
or VM gets it.
"""

from bisect import insort
from dataclasses import dataclass, field

import numpy as np

from engine.kernels.layout import ADAPTER, BUFFER, I64, NONE, PAGE_BYTES, Sizes, Views


@dataclass(frozen=True, order=True)
class Extent:
    """A range of guest memory, in bytes; start and size are multiples of the page size."""

    start: int
    size: int


class Extents:
    """The allocator of guest memory, first fit, in whole pages.

    At most half of the pages are in use (``layout.Sizes.guest_pages``), and each extent is at least as long
    as a buffer, so gaps too short for a buffer can't fill the other half, and an allocation of one buffer
    never fails. If no gap is long enough for an extent, ``take`` splits it into shorter ones.
    """

    def __init__(self, pages: int) -> None:
        self._free = [Extent(0, pages * PAGE_BYTES)]

    def take(self, count: int, stride: int) -> list[tuple[Extent, int]]:
        """Allocate ``count`` buffers of ``stride`` bytes; return extents and the number of buffers in each.

        Raises MemoryError.
        """
        taken = []
        piece = count
        while count:
            piece = min(piece, count)
            size = -(-piece * stride // PAGE_BYTES) * PAGE_BYTES
            extent = self._first(size)
            if extent is not None:
                taken.append((extent, piece))
                count -= piece
            elif piece == 1:
                raise MemoryError(f"no room in guest memory: buffers left {count}, bytes of each {stride}")
            else:
                piece //= 2
        return taken

    def _first(self, size: int) -> Extent | None:
        for place, gap in enumerate(self._free):
            if gap.size >= size:
                if gap.size == size:
                    del self._free[place]
                else:
                    self._free[place] = Extent(gap.start + size, gap.size - size)
                return Extent(gap.start, size)
        return None

    def give_back(self, extent: Extent) -> None:
        """Free a range and merge it with its free neighbours."""
        insort(self._free, extent)
        place = self._free.index(extent)
        for at in (place, place - 1):
            if 0 <= at < len(self._free) - 1:
                left, right = self._free[at], self._free[at + 1]
                if left.start + left.size == right.start:
                    self._free[at : at + 2] = [Extent(left.start, left.size + right.size)]


@dataclass
class _Lane:
    """The guest memory of one queue: its VM, its extents, and the ``idle`` places that no buffer uses."""

    adapter: int
    vm: int
    extents: list[Extent] = field(default_factory=list)
    idle: list[int] = field(default_factory=list)


class Guests:
    """Assigns guest memory to VMs; used in the conductor's thread, between rounds."""

    def __init__(self, sizes: Sizes, views: Views) -> None:
        self._sizes = sizes
        self._views = views
        self._extents = Extents(sizes.guest_pages)
        self._lanes: dict[int, _Lane] = {}
        self._switch: dict[tuple[int, int], list[Extent]] = {}
        views.switch_at[:] = NONE
        views.buffer_rows[:, BUFFER.guest_at] = NONE

    def open(self, slot: int, adapter: int, vm: int) -> None:
        """Add a VM's queue, without buffers yet."""
        self._lanes[slot] = _Lane(adapter, vm)

    def give(self, slot: int, buffers: I64) -> None:
        """Assign a place to each buffer that a queue took; nothing if the queue has no VM."""
        lane = self._lanes.get(slot)
        if lane is None or len(buffers) == 0:
            return
        stride = self._sizes.adapters[lane.adapter].stride
        for extent, places in self._take(len(buffers) - len(lane.idle), stride):
            lane.extents.append(extent)
            lane.idle += range(extent.start, extent.start + places * stride, stride)
        self._views.buffer_rows[buffers, BUFFER.guest_at] = lane.idle[: len(buffers)]
        del lane.idle[: len(buffers)]

    def take_back(self, slot: int, buffers: I64) -> None:
        """Make the places of buffers that a queue gave up idle; its next buffers reuse them."""
        lane = self._lanes.get(slot)
        if lane is not None and len(buffers):
            lane.idle += self._views.buffer_rows[buffers, BUFFER.guest_at].tolist()
            self._views.buffer_rows[buffers, BUFFER.guest_at] = NONE

    def close(self, slot: int, buffers: I64) -> None:
        """Remove a queue and free its guest memory, which its VM can't see any more."""
        self._views.buffer_rows[buffers, BUFFER.guest_at] = NONE
        lane = self._lanes.pop(slot, None)
        if lane is not None:
            self._release(lane.extents)

    def connect(self, adapter: int, vms: list[int]) -> None:
        """Allocate places for frames from the switch for each of these VMs that has none yet."""
        base = int(self._views.adapters[adapter, ADAPTER.vm_base])
        for vm in vms:
            if (adapter, vm) not in self._switch:
                size = self._sizes.switch_places * self._sizes.adapters[adapter].stride
                extents = [extent for extent, _ in self._take(1, size)]
                self._switch[adapter, vm] = extents
                self._views.switch_at[base + vm] = extents[0].start

    def forget(self, adapter: int, vm: int) -> None:
        """Free the places of a VM that left an adapter's switch."""
        base = int(self._views.adapters[adapter, ADAPTER.vm_base])
        self._views.switch_at[base + vm] = NONE
        self._release(self._switch.pop((adapter, vm), []))

    def of(self, adapter: int, vm: int) -> list[Extent]:
        """Return the extents that a VM can see, by address."""
        own = [lane for lane in self._lanes.values() if (lane.adapter, lane.vm) == (adapter, vm)]
        return sorted(
            [extent for lane in own for extent in lane.extents] + self._switch.get((adapter, vm), [])
        )

    def _take(self, count: int, stride: int) -> list[tuple[Extent, int]]:
        taken = self._extents.take(count, stride) if count > 0 else []
        for extent, _ in taken:
            self._views.guest_bytes[extent.start : extent.start + extent.size] = 0
        return taken

    def _release(self, extents: list[Extent]) -> None:
        for extent in extents:
            self._extents.give_back(extent)


def read(views: Views, extent: Extent) -> bytes:
    """Return the bytes of a range of guest memory."""
    return np.asarray(views.guest_bytes[extent.start : extent.start + extent.size]).tobytes()
