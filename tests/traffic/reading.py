"""Reading a whole source into plain lists, in batches of any size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.traffic.batch import FrameBatch, Source
from engine.traffic.capture import CaptureSource

NO_LIMIT = 2**62


@dataclass(frozen=True)
class Read:
    """One frame as it came out of a batch."""

    data: bytes
    captured: int
    wire: int
    arrival_ns: int


def new_batch(frames: int = 1024, data_bytes: int = 1 << 20) -> FrameBatch:
    """An empty batch in private memory."""
    return FrameBatch(
        data=np.zeros(data_bytes, np.uint8),
        offset=np.zeros(frames, np.int64),
        captured=np.zeros(frames, np.uint32),
        wire=np.zeros(frames, np.uint32),
        arrival_ns=np.zeros(frames, np.int64),
        adapter=np.zeros(frames, np.uint16),
    )


def frames_of(batch: FrameBatch, count: int) -> list[Read]:
    """The first ``count`` frames of a batch."""
    out = []
    for n in range(count):
        captured, at = int(batch.captured[n]), int(batch.offset[n])
        kept = captured if captured <= 65_535 else 64
        data = batch.data[at : at + kept].tobytes()
        out.append(Read(data, captured, int(batch.wire[n]), int(batch.arrival_ns[n])))
    return out


def read_all(source: Source, batch: FrameBatch | None = None) -> list[Read]:
    """Every frame of a source that ends."""
    batch = new_batch() if batch is None else batch
    out: list[Read] = []
    while True:
        filled = source.fill(batch, NO_LIMIT)
        out += frames_of(batch, filled.frames)
        if filled.next_ns is None:
            return out
        assert filled.next_ns >= (out[-1].arrival_ns if out else 0)


def read_bytes(content: bytes, directory: Path, link_gbps: float = 10.0) -> tuple[list[Read], str | None]:
    """The frames of a capture file with this content, and what broke it. Raises CaptureError."""
    path = directory / "capture"
    path.write_bytes(content)
    source = CaptureSource(path, adapter=0, link_gbps=link_gbps)
    try:
        return read_all(source), source.broken
    finally:
        source.close()
