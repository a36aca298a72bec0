"""How long frames wait in a queue, from arrival to indication: a histogram a queue, in buckets of 1/4 octave.

Bucket 0 is below ``FIRST_NS``; the last one has no upper end. In between a bucket's end is at most 25 %
above its begin.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from engine.dataplane.layout import I64, LATENCY_BUCKETS, Int
from engine.jit import inlined, leading_zeros

_FIRST_BIT: Final = 10
FIRST_NS: Final = 1 << _FIRST_BIT


@inlined
def bucket_of(latency_ns: Int) -> Int:
    """The bucket of a latency."""
    if latency_ns < FIRST_NS:
        return 0
    top_bit = 63 - leading_zeros(latency_ns)
    bucket: Int = 1 + ((top_bit - _FIRST_BIT) << 2) + ((latency_ns >> (top_bit - 2)) & 3)
    return min(bucket, LATENCY_BUCKETS - 1)


def end_ns(bucket: int) -> int:
    """Where a bucket ends, which is in the next one; of the last one, where it begins."""
    if bucket == 0:
        return FIRST_NS
    octave, quarter = divmod(min(bucket, LATENCY_BUCKETS - 2), 4)
    return FIRST_NS * (4 + quarter) << octave >> 2


ENDS_NS: Final = np.array([end_ns(bucket) for bucket in range(LATENCY_BUCKETS)])


def percentiles_ns(latency: I64, longest_ns: I64, shares: Sequence[float]) -> list[I64]:
    """Within which time shares of the frames of each histogram were indicated; 0 where there are none.

    ``latency`` (n, LATENCY_BUCKETS), ``longest_ns`` (n,); of each share (n,) ns: the end of the bucket in
    which the last of these frames is, or the longest time of all if that is shorter.
    """
    reached = latency.cumsum(axis=1)
    found = []
    for share in shares:
        wanted = np.ceil(share * reached[:, -1:])
        buckets = (reached >= wanted).argmax(axis=1)
        ends = np.where(buckets == LATENCY_BUCKETS - 1, longest_ns, ENDS_NS[buckets])
        found.append(np.minimum(ends, longest_ns))
    return found
