"""How long frames wait in a queue, from arrival to indication: a histogram a queue, in buckets of 1/4 octave.

Up to 7 ns each has a bucket of its own; from there on four to an octave, so that a bucket's end is at most
25 % above its begin, up to 120 s. The last bucket has no upper end.
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
    """The bucket of a latency."""
    if latency_ns < 4:
        return latency_ns
    top_bit = 63 - leading_zeros(latency_ns)
    bucket: Int = ((top_bit - 1) << 2) + ((latency_ns >> (top_bit - 2)) & 3)
    return min(bucket, LATENCY_BUCKETS - 1)


def highest_ns(bucket: int) -> int:
    """The highest latency in a bucket; of the last one, which has none, the lowest."""
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


_percentiles_of = entry(_percentiles)


def percentiles_ns(latency: I64, longest_ns: I64, shares: Sequence[float]) -> list[I64]:
    """Within which time shares of the frames of each histogram were indicated; 0 where there are none.

    ``latency`` (n, LATENCY_BUCKETS), ``longest_ns`` (n,); of each share (n,) ns: the highest latency of the
    bucket in which the last of these frames is, or the longest time of all if that is shorter.
    """
    found = np.empty((len(shares), len(longest_ns)), np.int64)
    _percentiles_of(
        np.ascontiguousarray(latency, np.int64),
        np.ascontiguousarray(longest_ns, np.int64),
        HIGHEST_NS,
        np.array(shares, np.float64),
        found,
    )
    return list(found)
