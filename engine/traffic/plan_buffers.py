"""How many receive buffers a plan gives each queue."""

from collections.abc import Sequence
from typing import Final

MAX_BUFFERS: Final = 65_536
MAX_BUFFER_BYTES: Final = 64 * 1024 * 1024
"""What all receive buffers of a plan should take at most, so that it runs where shared memory is small."""

MARGIN: Final = 2
"""Buffers for so many times the frames that would wait at once: a DPC holds what it works on to its end, and
a processor that serves several queues lets each wait for the others."""

_LEAST, _MOST = 16, 4096
_LEAST_OF_DEFAULT, _MOST_OF_DEFAULT = 64, 8192


def size(
    peaks: Sequence[int], default_peak: int, max_frame_bytes: int, limit: int | None
) -> tuple[list[int], int, bool]:
    """Buffers of each queue, those of the default queue, and whether bounds had to come down for all to fit.

    ``MARGIN`` times the frames that wait at once, rounded up to a power of two, within 16 to 4,096 (default
    queue: 64 to 8,192); the upper bounds halve until all fit ``limit`` (none: MAX_BUFFERS) and, down to 16
    each, MAX_BUFFER_BYTES. ``limit`` is more than there are queues.
    """
    most = _MOST
    of_default_most = _MOST_OF_DEFAULT
    while True:
        each = [_within(peak, min(_LEAST, most), most) for peak in peaks]
        of_default = _within(default_peak, min(_LEAST_OF_DEFAULT, of_default_most), of_default_most)
        count = sum(each) + of_default
        fits_memory = count * max_frame_bytes <= MAX_BUFFER_BYTES or most <= _LEAST
        if count <= (limit or MAX_BUFFERS) and fits_memory:
            return each, of_default, most < _MOST
        most = max(1, most // 2)
        of_default_most = max(1, of_default_most // 2)


def _within(peak: int, least: int, most: int) -> int:
    return min(max(1 << max(MARGIN * peak - 1, 0).bit_length(), least), most)
