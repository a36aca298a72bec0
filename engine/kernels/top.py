"""The most frequent destinations in the default queue: a Space-Saving sketch of fixed size for each adapter.

(Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005.)
Every frame of queue 0 counts in exactly one row. A new (MAC, VID) pair replaces the rarest pair of its set
and inherits its count, which becomes the row's error bound. Sets of eight rows keep the search for the
rarest pair short.
"""

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import Records, inlined, kernel, load_network_word, types
from engine.kernels.layout import I64, TOP, TOP_PAIRS, Int
from engine.kernels.views import RECORDS, array_of

_WAYS = 8
_SET_BITS = (TOP_PAIRS // _WAYS - 1).bit_length()
_HASH = np.uint64(0x9E3779B97F4A7C15)


@inlined
def note(top: Records, key: Int, reason: Int) -> None:
    """Count a frame of queue 0: ``key`` is MAC << 16 | VID (0: untagged), ``reason`` a ``REASON`` code."""
    first = np.uint64(_WAYS) * ((np.uint64(key) * _HASH) >> np.uint64(64 - _SET_BITS))
    rarest = first
    for way in range(_WAYS):
        row = top[first + np.uint64(way)]
        if row.key == key and row.frames > 0:
            row.frames += 1
            row.reason = reason
            return
        if row.frames < top[rarest].frames:
            rarest = first + np.uint64(way)
    row = top[rarest]
    row.key = key
    row.error = row.frames
    row.frames += 1
    row.reason = reason


@inlined
def pair_of(data: NDArray[np.uint8], at: Int) -> Int:
    """Return the (MAC, VID) key of the frame at an offset of ``data``."""
    behind = load_network_word(data, at + 8)
    vid = behind & 0xFFF if (behind >> 16) & 0xFFFF == 0x8100 else np.int64(0)
    key: Int = (load_network_word(data, at) >> 16) << 16 | vid
    return key


@kernel(types.void(array_of("top", 1), types.uint8[::1], *[types.int64[::1]] * 2))
def _note_all(top: Records, data: NDArray[np.uint8], at: I64, reasons: I64) -> None:
    for k in range(at.shape[0]):
        note(top, pair_of(data, at[k]), reasons[k])


def note_all(top: I64, data: NDArray[np.uint8], at: I64, reasons: I64) -> None:
    """Count the frames at offsets ``at`` (n,), with their ``reasons`` (n,)."""
    _note_all(top.view(RECORDS["top"])[:, 0], data, at, reasons)


def most_frequent(top: I64, count: int) -> I64:
    """Return up to ``count`` rows of a sketch, by descending frames; ties by key."""
    used = top[top[:, TOP.frames] > 0]
    order: NDArray[np.intp] = np.lexsort((used[:, TOP.key], -used[:, TOP.frames]))
    return used[order[:count]]
