"""Guest memory, handed out in extents of whole pages: what a VM can see, and nothing else can.

Extents never overlap. Used pages are at most half of all (``layout.Sizes.guest_pages``): each extent is at
least as long as a buffer, so the gaps too short for one can't take the other half, and room for a buffer
is always found. A long extent that does not fit anywhere is given as several shorter ones.
"""

from bisect import insort
from dataclasses import dataclass

from engine.kernels.layout import PAGE_BYTES


@dataclass(frozen=True, order=True)
class Extent:
    """A range of guest memory, in bytes; both are multiples of the page."""

    start: int
    size: int


class Extents:
    """Which ranges of guest memory are free."""

    def __init__(self, pages: int) -> None:
        self._free = [Extent(0, pages * PAGE_BYTES)]

    def take(self, count: int, stride: int) -> list[tuple[Extent, int]]:
        """Room for ``count`` buffers of ``stride`` bytes: extents, and how many buffers each holds."""
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
        """Make a range free again, joined with its free neighbours."""
        insort(self._free, extent)
        place = self._free.index(extent)
        for at in (place, place - 1):
            if 0 <= at < len(self._free) - 1:
                left, right = self._free[at], self._free[at + 1]
                if left.start + left.size == right.start:
                    self._free[at : at + 2] = [Extent(left.start, left.size + right.size)]
