"""A bucket of tokens."""

from hypothesis import given
from hypothesis import strategies as st

from engine.mqtt.limits import TokenBucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_owed_is_paid_first() -> None:
    clock = Clock()
    bucket = TokenBucket(3, 1, clock)
    assert bucket.take()
    bucket.owe(5)
    clock.now += 3.5
    assert not bucket.take()
    clock.now += 0.5
    assert bucket.take()


@given(st.integers(1, 50), st.floats(0.1, 1e4), st.floats(0, 100))
def test_after_the_wait_there_is_a_token_and_a_moment_before_there_is_none(
    at_once: int, a_second: float, owed: float
) -> None:
    clock = Clock()
    bucket = TokenBucket(at_once, a_second, clock)
    while bucket.take():
        pass
    bucket.owe(owed)
    wait_s = bucket.wait_s()
    clock.now += 0.999 * wait_s
    assert not bucket.take()
    clock.now += 0.001 * wait_s + 1e-6
    assert bucket.take()
