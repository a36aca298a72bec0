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

ORDER: Final = struct.Struct("<9q")
"""To serve: batch, blocks, bank, round, horizon_ns; then to steer: batch, first block, last block, frames. A
batch below 0: nothing."""


@dataclass(frozen=True)
class Place:
    """Where a worker works: its processor, the block and its sizes."""

    cpu: int
    block: str
    sizes: Sizes


def main(place: Place, pipe: Connection) -> None:
    """Say that it is ready with an empty message, then carry out orders until the pipe closes.

    A reply is int64 as bytes: the port counters to add, (adapters, PORT_COUNTERS), then the filters credited,
    (n, 2) of (filter, frames).
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
        order = ORDER.unpack(pipe.recv_bytes())
        batch, blocks, bank, round_number, horizon_ns = order[:5]
        count = 0
        if batch >= 0:
            count = serve(views, scratch, place.cpu, batch, blocks, bank, round_number, horizon_ns)
        touched = scratch.touched[:count]
        credited = np.column_stack((touched.astype(np.int64), scratch.matched[touched]))
        scratch.matched[touched] = 0
        batch, first, last, frames = order[5:]
        port = np.zeros((len(place.sizes.adapters), PORT_COUNTERS), np.int64)
        if batch >= 0:
            steer(views, batch, first, last, frames, words, port)
        pipe.send_bytes(port.tobytes() + credited.tobytes())
