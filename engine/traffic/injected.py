"""Frames that a program hands to an adapter from memory, and their way onto the wire among other frames.

A call hands over a run of frames, which goes onto the wire of its adapter as one piece: at its time, or as
soon as the wire is free after it. Frames of the active source that would overlap it wait until it has ended,
as behind any frame (contract 1, "Time").
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Protocol, SupportsBytes, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.counted import counted
from engine.traffic.batch import MAX_CAPTURED_BYTES, Filled, FrameBatch, Source, byte_time_ns

WAITING_LIMIT_BYTES: Final = 64 << 20
"""Limit of the bytes of frames from memory that wait for their arrival; each counts as 64 bytes more."""

_FRAME_ROOM: Final = 64
_NEVER_NS: Final = 2**62
_WIRE_OVERHEAD_BYTES: Final = 20  # preamble, start of frame, gap between frames (contract 1)
_LEAST_ROOM_BYTES: Final = 2 * MAX_CAPTURED_BYTES
"""With less room than this in a batch, a source might not have room for a frame."""


Frame = bytes | bytearray | memoryview | SupportsBytes
"""A frame in memory: its bytes from the destination MAC on, without FCS."""


@runtime_checkable
class SharedWire(Protocol):
    """A source whose adapters' wires also carry other frames."""

    def wire_free(self) -> dict[int, Fraction]:
        """Return the exact ns at which the last frame so far ends, by adapter."""

    def hold_wire(self, adapter: int, until: Fraction) -> None:
        """Send the adapter's next frame at the exact ns ``until`` or later."""


def frames_of(given: object) -> list[bytes]:
    """Return the bytes of frames: ``bytes``, or objects with ``__bytes__``, such as packets of scapy.

    ``given`` is an iterable of frames, or a single frame. Raises ValueError.
    """
    if _is_frame(given):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, str):
        what = type(given).__name__
        raise ValueError(f"frames: {what} is no list of frames (bytes, or packets of scapy, fit)")
    frames: list[bytes] = []
    size = 0
    for number, frame in enumerate(given):
        frames.append(_bytes_of(number, frame))
        size += len(frames[-1]) + _FRAME_ROOM
        if size > WAITING_LIMIT_BYTES:
            raise ValueError(f"frames: more than {WAITING_LIMIT_BYTES >> 20} MiB (hand them over in parts)")
    return frames


def _is_frame(one: object) -> bool:
    return isinstance(one, bytes | bytearray | memoryview) or hasattr(type(one), "__bytes__")


def _bytes_of(number: int, frame: Any) -> bytes:
    if not _is_frame(frame):
        what = type(frame).__name__
        raise ValueError(f"frames[{number}]: {what} is no frame (bytes, or a packet of scapy, fits)")
    try:
        content = bytes(frame)
    except Exception as error:  # a packet that its library can't build
        why = str(error) or type(error).__name__
        raise ValueError(f"frames[{number}]: its bytes can't be built: {why}") from error
    if len(content) > MAX_CAPTURED_BYTES:
        raise ValueError(f"frames[{number}]: {len(content):,} bytes (up to {MAX_CAPTURED_BYTES:,} fit)")
    return content


@dataclass(eq=False)
class _Run:
    """Frames of one adapter: their bytes, one frame after another, and where each begins and the last ends.

    ``arrival_ns`` is known once the run is on its wire; ``position`` is its first frame not sent yet.
    """

    at_ns: int
    adapter: int
    data: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    arrival_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    position: int = 0

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The bytes of each frame."""
        return np.diff(self.bounds)

    @property
    def next_ns(self) -> int:
        """Arrival of the first frame not sent yet."""
        return int(self.arrival_ns[self.position])


class Injected:
    """Frames from memory for the adapters of a host, whose links have these speeds.

    Use it in the conductor's thread. It is true while any frame waits.
    """

    def __init__(self, links_gbps: Sequence[float]) -> None:
        self._byte_ns = [byte_time_ns(link) for link in links_gbps]
        self._free = [Fraction(0)] * len(links_gbps)
        self._later: list[_Run] = []  # by time, then in the order of the calls
        self._sending: list[deque[_Run]] = [deque() for _ in links_gbps]
        self._waiting_bytes = 0
        self.source_ended = False
        """Whether the last ``fill`` found that the source had no further frame."""

    def __bool__(self) -> bool:
        return bool(self._later) or any(self._sending)

    def add(self, adapter: int, frames: Sequence[bytes], at_ns: int) -> None:
        """Send frames to an adapter from ``at_ns`` on, which must not be past. Raises ValueError."""
        if not frames:
            return
        size = sum(map(len, frames)) + _FRAME_ROOM * len(frames)
        if self._waiting_bytes + size > WAITING_LIMIT_BYTES:
            raise ValueError(
                f"frames: {counted(len(frames), 'frame')} beside those that wait would take more than"
                f" {WAITING_LIMIT_BYTES >> 20} MiB (let simulated time pass first)"
            )
        self._waiting_bytes += size
        bounds = np.zeros(len(frames) + 1, np.int64)
        np.cumsum([len(frame) for frame in frames], out=bounds[1:])
        run = _Run(at_ns, adapter, np.frombuffer(b"".join(frames), np.uint8), bounds)
        insort(self._later, run, key=lambda one: one.at_ns)

    def set_link(self, adapter: int, link_gbps: float) -> None:
        """Change a link's speed for runs that are not on the wire yet."""
        self._byte_ns[adapter] = byte_time_ns(link_gbps)

    def wire_free(self) -> dict[int, Fraction]:
        """Return the exact ns at which the last frame on the wire ends, by adapter."""
        return {adapter: end for adapter, end in enumerate(self._free) if end}

    def fill(self, source: Source | None, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames from memory and of ``source`` that arrive before ``until_ns``."""
        frames = used = 0
        source_ns = 0 if source is not None else _NEVER_NS  # no further frame of the source arrives before it
        self.source_ended = source is None
        while True:
            on_wire = min((runs[0].next_ns for runs in self._sending if runs), default=_NEVER_NS)
            later_ns = self._later[0].at_ns if self._later else _NEVER_NS
            limit_ns = min(until_ns, on_wire, later_ns)
            if len(batch.offset) == frames or len(batch.data) - used < _LEAST_ROOM_BYTES:
                return Filled(frames, min(on_wire, later_ns, source_ns))
            if source is not None:
                filled = source.fill(_rest(batch, frames, used), limit_ns)
                batch.offset[frames : frames + filled.frames] += used
                frames += filled.frames
                if filled.frames:
                    used = int(batch.offset[frames - 1]) + _stored(batch, frames - 1)
                self.source_ended = filled.next_ns is None and not filled.frames
                source_ns = _NEVER_NS if filled.next_ns is None else filled.next_ns
                if source_ns < limit_ns:
                    return Filled(frames, source_ns)
            if limit_ns >= until_ns:
                next_ns = min(source_ns, on_wire, later_ns)
                return Filled(frames, None if next_ns == _NEVER_NS else next_ns)
            if later_ns <= on_wire:
                self._begin(self._later.pop(0), source)
                continue
            written = self._send(batch, frames, used, min(until_ns, later_ns, source_ns + 1))
            if not written:
                return Filled(frames, on_wire)
            frames += written
            used = int(batch.offset[frames - 1]) + int(batch.captured[frames - 1])

    def _begin(self, run: _Run, source: Source | None) -> None:
        """Put a run onto its wire, when the source has sent every frame before it."""
        byte_ns = self._byte_ns[run.adapter]
        free = self._free[run.adapter]
        other: object = source  # mypy knows no common type of two protocols
        shared = other if isinstance(other, SharedWire) else None
        if shared is not None:
            free = max(free, shared.wire_free().get(run.adapter, Fraction(0)))
        start = max(Fraction(run.at_ns), free)
        # Frame i arrives at start plus the times of the frames before it, in whole ns.
        spent = np.cumsum((run.sizes + _WIRE_OVERHEAD_BYTES) * byte_ns.numerator)
        whole_ns = start.numerator // start.denominator
        part = int((start - whole_ns) * byte_ns.denominator)
        before = np.concatenate((np.zeros(1, np.int64), spent[:-1]))
        run.arrival_ns = whole_ns + (before + part) // byte_ns.denominator
        end = start + Fraction(int(spent[-1]), byte_ns.denominator)
        self._free[run.adapter] = end
        if shared is not None:
            shared.hold_wire(run.adapter, end)
        self._sending[run.adapter].append(run)

    def _send(self, batch: FrameBatch, frames: int, used: int, before_ns: int) -> int:
        """Write frames of the adapter whose next one arrives first, up to another adapter's next one."""
        heads = sorted((runs[0].next_ns, adapter) for adapter, runs in enumerate(self._sending) if runs)
        runs = self._sending[heads[0][1]]
        run, first = runs[0], runs[0].position
        if len(heads) > 1:
            before_ns = min(before_ns, heads[1][0] + 1)
        room = int(run.bounds[first]) + len(batch.data) - used
        last = min(
            int(np.searchsorted(run.arrival_ns, before_ns)),
            int(np.searchsorted(run.bounds, room, "right")) - 1,
            first + len(batch.offset) - frames,
        )
        count = last - first
        if count <= 0:
            return 0
        start, end = int(run.bounds[first]), int(run.bounds[last])
        rows = slice(frames, frames + count)
        batch.data[used : used + end - start] = run.data[start:end]
        batch.offset[rows] = run.bounds[first:last] - start + used
        batch.captured[rows] = batch.wire[rows] = run.sizes[first:last]
        batch.arrival_ns[rows] = run.arrival_ns[first:last]
        batch.adapter[rows] = run.adapter
        run.position = last
        self._waiting_bytes -= end - start + _FRAME_ROOM * count
        if last == len(run.arrival_ns):
            runs.popleft()
        return count


def _rest(batch: FrameBatch, frames: int, used: int) -> FrameBatch:
    """Return the part of a batch behind its first ``frames`` frames and ``used`` bytes."""
    if not frames:
        return batch
    return FrameBatch(
        batch.data[used:],
        batch.offset[frames:],
        batch.captured[frames:],
        batch.wire[frames:],
        batch.arrival_ns[frames:],
        batch.adapter[frames:],
    )


def _stored(batch: FrameBatch, row: int) -> int:
    """Return the bytes that a frame may take in the batch's data; a longer one has a stub there."""
    captured = int(batch.captured[row])
    return captured if captured <= MAX_CAPTURED_BYTES else _FRAME_ROOM
