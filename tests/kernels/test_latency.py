"""How long frames waited: buckets, and what is read from them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.jit import kernel, types
from engine.kernels.latency import HIGHEST_NS, bucket_of, percentiles_ns
from engine.kernels.layout import LATENCY_BUCKETS


@kernel(types.int64(types.int64))
def bucket(latency_ns: int) -> int:
    return int(bucket_of(latency_ns))


waits = st.integers(0, 2**26) | st.integers(0, 60 * 10**9) | st.integers(0, 2**62)


@given(waits)
def test_a_latency_is_in_the_bucket_whose_ends_are_around_it(latency_ns: int) -> None:
    found = bucket(latency_ns)
    assert found == 0 or HIGHEST_NS[found - 1] < latency_ns or found == LATENCY_BUCKETS - 1
    assert found < LATENCY_BUCKETS - 1 or latency_ns >= HIGHEST_NS[-1]
    assert latency_ns <= HIGHEST_NS[found] or found == LATENCY_BUCKETS - 1


@given(st.lists(waits, min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_not_below_what_it_stands_for_nor_far_above(waited: list[int], share: float) -> None:
    histogram = np.bincount([bucket(each) for each in waited], minlength=LATENCY_BUCKETS)
    longest = max(waited)
    ((found,),) = percentiles_ns(histogram[None], np.array([longest]), [share])
    exact = sorted(waited)[max(0, -int(-share * len(waited) // 1) - 1)]
    assert exact <= found <= longest
    if exact <= 60 * 10**9:
        assert found <= exact * 1.25


def test_no_frames_have_no_latency() -> None:
    none = np.zeros((2, LATENCY_BUCKETS), np.int64)
    found = percentiles_ns(none, np.zeros(2, np.int64), (0.5, 0.99))
    assert [each.tolist() for each in found] == [[0, 0], [0, 0]]
