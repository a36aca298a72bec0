"""Batches of frames in memory, and the interface of their sources."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

MAX_CAPTURED_BYTES = 65_535
"""Limit of bytes of a frame in a batch. A longer frame is oversize on every adapter (contract 3)."""

RATE_DENOMINATOR: Final = 1_000_000
"""Rates and link speeds are fractions with at most this denominator."""


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Room for frames of one round, in arrival order; the arrays are views of shared memory.

    ``data`` (bytes,) uint8 holds the captured bytes of all frames, one after another. The columns have
    shape (capacity,): ``offset`` int64 into ``data``; ``captured`` uint32 bytes and ``wire`` uint32
    bytes as the source states them (a frame captured longer than ``MAX_CAPTURED_BYTES`` keeps its
    stated lengths, and only its first 64 bytes are in ``data``: it is oversize everywhere);
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

    ``next_ns`` is a lower bound of the next frame's arrival, None when the source has ended.
    """

    frames: int
    next_ns: int | None


class Source(Protocol):
    """A source of frames. It is used by one thread at a time."""

    @property
    def skipped_ns(self) -> int:
        """Simulated time taken out of gaps so far (contract 1: gaps over 1 s, live or at real pace)."""

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames that arrive before ``until_ns``, as many as fit."""

    def close(self) -> None:
        """Close files."""


@runtime_checkable
class LiveSource(Source, Protocol):
    """A source that the system fills; frames may be lost before they are read."""

    @property
    def adapter(self) -> int:
        """The index of the adapter that it feeds."""

    def counters(self) -> dict[str, int]:
        """Frames that the system received and dropped, since the start (``ndis.counters.INTERFACE``)."""

    def set_link(self, adapter: int, link_gbps: float) -> None:
        """Change the link's speed from the next frame on."""


class Until:
    """The frames of another source that arrive before ``end_ns``, which is above 0.

    It gives an endless source an end.
    """

    def __init__(self, source: Source, end_ns: int) -> None:
        self._source = source
        self._end_ns = end_ns
        self._reached_ns = 0

    @property
    def share(self) -> float:
        """The share of the time up to ``end_ns`` that was filled."""
        return self._reached_ns / self._end_ns

    @property
    def skipped_ns(self) -> int:
        """Simulated time that the other source took out of gaps."""
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
    """Time of one byte on a link; 0 at infinite speed, which a team has: its members have the wires."""
    if math.isinf(link_gbps):
        return Fraction(0)
    return 8 / Fraction(str(link_gbps)).limit_denominator(RATE_DENOMINATOR)
