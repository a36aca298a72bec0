"""A shard: the worker process of one simulated processor.

It waits for a message, runs a kernel, replies. Everything it knows is in shared memory. It ends when its
pipe closes, ignores Ctrl-C (the engine's business) and writes nothing to the terminal.
"""

import signal
import struct
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from engine.dataplane.layout import BLOCK_FRAMES, Sizes
from engine.dataplane.memory import Block
from engine.dataplane.serve import scratch_for, serve
from engine.dataplane.steer import PORT_COUNTERS, steer

STEER: Final = 1
SERVE: Final = 2
ORDER: Final = struct.Struct("<6q")
"""STEER, half, first block, last block, frames, 0 · SERVE, half, blocks, bank, round, horizon_ns."""


@dataclass(frozen=True)
class Place:
    """Where a worker works: its processor, the block and its sizes."""

    cpu: int
    block: str
    sizes: Sizes


def main(place: Place, pipe: Connection) -> None:
    """Say that it is ready with an empty message, then serve orders until the pipe closes.

    Replies: to STEER the port counters added, int64 (adapters, PORT_COUNTERS) as bytes; to SERVE the
    filters credited, int64 (n, 2) of (filter, frames) as bytes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    block = Block(place.sizes, place.block)
    try:
        _work(place, block, pipe)
    except (EOFError, OSError):  # the engine has closed the pipe, or is gone
        pass
    finally:
        block.close()


def _work(place: Place, block: Block, pipe: Connection) -> None:
    views = block.views
    scratch = scratch_for(place.sizes.slots, place.sizes.filters)
    words = np.empty((BLOCK_FRAMES, 4), np.int64)
    pipe.send_bytes(b"")  # ready
    while True:
        kind, half, *rest = ORDER.unpack(pipe.recv_bytes())
        if kind == STEER:
            first, last, frames, _ = rest
            port = np.zeros((len(place.sizes.adapters), PORT_COUNTERS), np.int64)
            steer(views, half, first, last, frames, words, port)
            pipe.send_bytes(port.tobytes())
            continue
        blocks, bank, round_number, horizon_ns = rest
        count = serve(views, scratch, place.cpu, half, blocks, bank, round_number, horizon_ns)
        touched = scratch.touched[:count]
        credited = np.column_stack((touched.astype(np.int64), scratch.matched[touched]))
        scratch.matched[touched] = 0
        pipe.send_bytes(credited.tobytes())
