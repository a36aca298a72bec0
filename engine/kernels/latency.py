"""A latency histogram for each queue: time from a frame's arrival to its indication, in quarter octaves.

Each value up to 7 ns has its own bucket; above that an octave has four buckets, so a bucket's upper bound is
at most 25 % above its lower bound, up to 120 s. The last bucket is unbounded.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.kernels.jit import entry, inlined, kernel, leading_zeros
from engine.kernels.layout import I64, LATENCY_BUCKETS, Int

F64 = NDArray[np.float64]


@inlined
def bucket_of(latency_ns: Int) -> Int:
    """Return the index of the bucket that counts a latency."""
    if latency_ns < 4:
        return latency_ns
    top_bit = 63 - leading_zeros(latency_ns)
    bucket: Int = ((top_bit - 1) << 2) + ((latency_ns >> (top_bit - 2)) & 3)
    return min(bucket, LATENCY_BUCKETS - 1)


def highest_ns(bucket: int) -> int:
    """Return the highest latency in a bucket; for the last, unbounded one its lowest."""
    if bucket == LATENCY_BUCKETS - 1:
        return highest_ns(bucket - 1) + 1
    octave, quarter = divmod(bucket + 1, 4)
    return bucket if bucket < 4 else ((4 + quarter) << (octave - 1)) - 1


HIGHEST_NS: Final = np.array([highest_ns(bucket) for bucket in range(LATENCY_BUCKETS)])


@kernel("void(int64[:, ::1], int64[::1], int64[::1], float64[::1], int64[:, ::1])")
def _percentiles(latency: I64, longest_ns: I64, highest_ns: I64, shares: F64, found: I64) -> None:
    last = latency.shape[1] - 1
    for row in range(latency.shape[0]):
        frames = 0
        for bucket in range(last + 1):
            frames += latency[row, bucket]
        for at in range(shares.size):
            wanted, bucket, reached = np.ceil(shares[at] * frames), 0, latency[row, 0]
            while reached < wanted and bucket < last:
                bucket += 1
                reached += latency[row, bucket]
            if bucket == last:
                found[at, row] = longest_ns[row]
            else:
                found[at, row] = min(highest_ns[bucket], longest_ns[row])


def percentiles_ns(latency: I64, longest_ns: I64, shares: Sequence[float]) -> list[I64]:
    """Return, for each share (0 to 1), that percentile of n histograms: (n,) in ns, 0 for an empty histogram.

    ``latency`` is (n, LATENCY_BUCKETS), ``longest_ns`` (n,). A percentile is the upper bound of its bucket,
    or the histogram's longest time if that is shorter.
    """
    found = np.empty((len(shares), len(longest_ns)), np.int64)
    entry(_percentiles)(
        np.ascontiguousarray(latency, np.int64),
        np.ascontiguousarray(longest_ns, np.int64),
        HIGHEST_NS,
        np.array(shares, np.float64),
        found,
    )
    return list(found)
