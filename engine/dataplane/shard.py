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

from engine.dataplane.layout import Sizes
from engine.dataplane.memory import Block
from engine.dataplane.serve import serve
from engine.dataplane.steer import PORT_COUNTERS, steer

STEER: Final = 1
SERVE: Final = 2
ORDER: Final = struct.Struct("<6q")
"""Both orders: STEER, half, slice, first, last, 0 · SERVE, half, slices, bank, round, horizon_ns."""


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
    slots, filters = place.sizes.slots, place.sizes.filters
    heap_ns = np.empty(slots, np.int64)
    heap_slot, own, foreign = (np.empty(slots, np.int32) for _ in range(3))
    matched = np.zeros(filters, np.int64)
    touched = np.empty(filters, np.int32)
    pipe.send_bytes(b"")  # ready
    while True:
        kind, half, slices, first, last, horizon_ns = ORDER.unpack(pipe.recv_bytes())
        if kind == STEER:
            port = np.zeros((len(place.sizes.adapters), PORT_COUNTERS), np.int64)
            steer(
                views.data[half],
                views.offset[half],
                views.captured[half],
                views.wire[half],
                views.adapter[half],
                first,
                last,
                views.adapters,
                views.table,
                views.owner,
                views.slot[half],
                views.credit[half],
                views.port_vm[half],
                views.reason[half],
                views.order[half],
                views.bounds[half, slices],
                port,
            )
            pipe.send_bytes(port.tobytes())
            continue
        bank, round_number = first, last
        count = serve(
            place.cpu,
            bank,
            round_number,
            slices,
            horizon_ns,
            views.queues,
            views.cpus,
            views.costs,
            views.adapters,
            views.owner,
            views.buffer_rows,
            views.buffer_bytes,
            views.guest_bytes,
            views.switch_at,
            views.data[half],
            views.offset[half],
            views.captured[half],
            views.wire[half],
            views.arrival_ns[half],
            views.adapter[half],
            views.slot[half],
            views.credit[half],
            views.port_vm[half],
            views.reason[half],
            views.order[half],
            views.bounds[half],
            heap_ns,
            heap_slot,
            own,
            foreign,
            matched,
            touched,
        )
        credited = np.column_stack((touched[:count].astype(np.int64), matched[touched[:count]]))
        matched[touched[:count]] = 0
        pipe.send_bytes(credited.tobytes())
