"""Batches of frames in memory, and the interface of frame sources."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

MAX_CAPTURED_BYTES = 65_535
"""Limit of a frame's captured bytes in a batch. A longer frame is oversize on every adapter (contract 3)."""

RATE_DENOMINATOR: Final = 1_000_000
"""Limit of the denominator of rates and link speeds, which are exact fractions."""


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """The frames of one round, in arrival order; the arrays are views of shared memory.

    ``data`` (bytes,) uint8 holds the captured bytes of all frames, one after another. The columns have
    shape (capacity,): ``offset`` int64 into ``data``; ``captured`` uint32 bytes and ``wire`` uint32
    bytes as stated by the source (a frame captured longer than ``MAX_CAPTURED_BYTES``, which is oversize
    everywhere, keeps its stated lengths, but ``data`` has only its first 64 bytes);
    ``arrival_ns`` int64 simulated time (contract 1, "Time"), never decreasing; ``adapter`` uint16 index.
    """

    data: NDArray[np.uint8]
    offset: NDArray[np.int64]
    captured: NDArray[np.uint32]
    wire: NDArray[np.uint32]
    arrival_ns: NDArray[np.int64]
    adapter: NDArray[np.uint16]


@dataclass(frozen=True)
class Filled:
    """The result of ``fill``: the number of frames written to the batch.

    ``next_ns`` is a lower bound of the next frame's arrival, or None if the source has ended.
    """

    frames: int
    next_ns: int | None


class Source(Protocol):
    """A source of frames. Use it from one thread at a time."""

    @property
    def skipped_ns(self) -> int:
        """Simulated time cut out of gaps so far (contract 1: gaps over 1 s, live or at real pace)."""

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames that arrive before ``until_ns``, as many as fit."""

    def close(self) -> None:
        """Close files."""


@runtime_checkable
class LiveSource(Source, Protocol):
    """A source of frames that the operating system captures; some may be lost before they are read."""

    @property
    def adapter(self) -> int:
        """Index of the adapter that receives its frames."""

    def counters(self) -> dict[str, int]:
        """Return counts of frames received and dropped since the start (``ndis.counters.INTERFACE``)."""

    def set_link(self, adapter: int, link_gbps: float) -> None:
        """Change the link's speed from the next frame on."""


class Until:
    """The frames of another source, possibly endless, that arrive before ``end_ns`` (above 0)."""

    def __init__(self, source: Source, end_ns: int) -> None:
        self._source = source
        self._end_ns = end_ns
        self._reached_ns = 0

    @property
    def share(self) -> float:
        """The share of the time up to ``end_ns`` that has been read, 0 to 1."""
        return self._reached_ns / self._end_ns

    @property
    def skipped_ns(self) -> int:
        """Simulated time that the other source cut out of gaps."""
        return self._source.skipped_ns

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames that arrive before ``until_ns``, as many as fit."""
        filled = self._source.fill(batch, min(until_ns, self._end_ns))
        self._reached_ns = min(self._end_ns, self._end_ns if filled.next_ns is None else filled.next_ns)
        if filled.next_ns is None or filled.next_ns >= self._end_ns:
            return Filled(filled.frames, None)
        return filled

    def close(self) -> None:
        """Close the other source."""
        self._source.close()


def byte_time_ns(link_gbps: float) -> Fraction:
    """Return the time of one byte on a link; 0 at infinite speed (a team: only its members have wires)."""
    if math.isinf(link_gbps):
        return Fraction(0)
    return 8 / Fraction(str(link_gbps)).limit_denominator(RATE_DENOMINATOR)
