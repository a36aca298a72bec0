"""A shard: the worker process of one simulated processor.

It waits for a message, runs a kernel, replies. Everything it knows is in shared memory. It ends when its
pipe closes, ignores Ctrl-C (the engine's business) and writes nothing to the terminal.
"""

import gc
import signal
import struct
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from engine.dataplane.layout import Sizes
from engine.dataplane.memory import Block
from engine.dataplane.serve import scratch_for, serve
from engine.dataplane.steer import PORT_COUNTERS, scratch_for_block, steer
from engine.jit import entry

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
    gc.disable()  # nothing here makes cycles; a collection would copy every page shared with the fork server
    block = Block(place.sizes, place.block)
    try:
        _work(place, block, pipe)
    except (EOFError, OSError):  # the engine has closed the pipe, or is gone
        pass
    finally:
        block.close()


def _work(place: Place, block: Block, pipe: Connection) -> None:
    views = block.views
    ports = len(place.sizes.adapters) * PORT_COUNTERS
    reply = np.zeros(ports + 2 * place.sizes.filters, np.int64)
    port = reply[:ports].reshape(-1, PORT_COUNTERS)
    scratch = scratch_for(place.sizes.slots, reply[ports:].reshape(-1, 2))
    block_scratch = scratch_for_block(place.sizes.cpus)
    serve_now, steer_now = entry(serve), entry(steer)
    pipe.send_bytes(b"")  # ready
    while True:
        batch, blocks, bank, round_number, horizon_ns, ahead, first, last, frames = ORDER.unpack(
            pipe.recv_bytes()
        )
        credited = 0
        if batch >= 0:
            credited = serve_now(views, scratch, place.cpu, batch, blocks, bank, round_number, horizon_ns)
        port[:] = 0
        if ahead >= 0:
            steer_now(views, ahead, first, last, frames, block_scratch, port)
        pipe.send_bytes(reply[: ports + 2 * credited].data)
