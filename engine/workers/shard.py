"""A shard: the worker process of one simulated processor.

It waits for an order, runs kernels and replies. All its state is in shared memory. It exits when its pipe
closes, ignores Ctrl-C (the engine handles that) and writes nothing to the terminal.
"""

import contextlib
import gc
import signal
import struct
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from engine.dataplane.memory import Block
from engine.kernels.jit import entry, places_of
from engine.kernels.layout import PORT_COUNTERS, Sizes
from engine.kernels.round_ends import begin, end, scratch_for
from engine.kernels.serve import serve
from engine.kernels.steer import scratch_for_block, steer
from engine.signals import end_with_parent, let_fork_server_end

ORDER: Final = struct.Struct("<7q")
"""To serve: batch, blocks, bank, round, horizon_ns; to steer: batch, frames. Batch -1: nothing to do."""
PING: Final = ORDER.pack(-1, 0, 0, 0, 0, -1, 0)
"""An order without work, to check that a worker replies."""
WORD: Final = 8
"""The length of a reply in bytes is a multiple of this; that of a failure message is not."""
_FAILURE_BYTES: Final = 2048


@dataclass(frozen=True)
class Place:
    """A worker's processor, the shared block and its sizes."""

    cpu: int
    block: str
    sizes: Sizes


def main(place: Place, pipe: Connection) -> None:
    """Send an empty message when ready, then carry out orders until the pipe closes.

    A reply is int64 as bytes: the port counters to add, (adapters, PORT_COUNTERS), then the credited filters,
    (n, 2) of (filter, frames). A worker that fails sends a sentence, whose length is no multiple of ``WORD``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    let_fork_server_end()
    gc.disable()  # there are no reference cycles; a collection would copy pages shared with the fork server
    block = Block(place.sizes, place.block)
    try:
        _work(place, block, pipe)
    except (EOFError, OSError):  # the engine has closed the pipe or exited
        pass
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send_bytes(_failure_message(error))
    finally:
        block.close()


def _failure_message(error: Exception) -> bytes:
    """Encode an error as bytes whose length distinguishes them from a reply."""
    message = f"{type(error).__name__}: {error}".encode(errors="replace")[:_FAILURE_BYTES]
    return message if len(message) % WORD else message + b" "


def _work(place: Place, block: Block, pipe: Connection) -> None:
    ports = len(place.sizes.adapters) * PORT_COUNTERS
    reply = np.zeros(ports + 2 * place.sizes.filters, np.int64)
    port = reply[:ports].reshape(-1, PORT_COUNTERS)
    scratch = scratch_for(place.sizes.slots, reply[ports:].reshape(-1, 2))
    block_scratch = scratch_for_block(place.sizes.cpus, port)
    views_places, scratch_places, block_places = map(places_of, (block.views, scratch, block_scratch))
    begin_now, serve_now, end_now, steer_now = entry(begin), entry(serve), entry(end), entry(steer)
    me = place.cpu
    pipe.send_bytes(b"")  # ready
    while True:
        batch, blocks, bank, round_number, horizon_ns, ahead, frames = ORDER.unpack(pipe.recv_bytes())
        credited = 0
        if batch >= 0:
            owned, foreigners = begin_now(views_places, scratch_places, me, bank)
            credited = serve_now(
                views_places, scratch_places, me, batch, blocks, bank, round_number, horizon_ns, foreigners
            )
            end_now(views_places, scratch_places, me, bank, round_number, horizon_ns, owned, credited)
        port[:] = 0
        if ahead >= 0:
            steer_now(views_places, ahead, frames, block_places)
        pipe.send_bytes(reply[: ports + 2 * credited].data)
