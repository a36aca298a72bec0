"""Waiting for a condition: what it returns, and what its error names."""

import asyncio

import pytest

from engine.waiting import WaitTimeoutError, until, wait_until


async def test_the_value_that_ends_the_wait_is_returned() -> None:
    found: list[int] = []
    asyncio.get_running_loop().call_later(0.02, found.append, 7)
    assert await until(lambda: found) == [7]


async def test_a_condition_may_be_a_coroutine_function() -> None:
    left = [3]

    async def none_left() -> bool:
        left[0] -= 1
        return left[0] == 0

    assert await until(none_left)
    with pytest.raises(WaitTimeoutError, match=r"not within 0 s: .*none_left"):
        await until(none_left, 0)


async def test_the_error_names_the_condition_and_the_variables_that_it_reads() -> None:
    frames = ["a", "b"]
    with pytest.raises(WaitTimeoutError) as caught:
        await until(lambda: len(frames) == 3, 0.02)
    assert str(caught.value) == "not within 0.02 s: len(frames) == 3; last seen: frames = ['a', 'b']"
    assert isinstance(caught.value, TimeoutError)


async def test_an_expression_of_several_lines_is_named_on_one() -> None:
    übrig, frames = 3, ["a", "b"]
    with pytest.raises(WaitTimeoutError) as caught:
        await until(
            lambda: (
                len(frames)
                == übrig
            ),
            0.01,
        )  # fmt: skip
    assert "len(frames) == übrig; last seen: frames = ['a', 'b'], übrig = 3" in str(caught.value)


async def test_the_error_uses_the_words_that_it_is_given() -> None:
    with pytest.raises(WaitTimeoutError, match=r"^not within 0\.01 s: a reply; last seen: 2 of 3$"):
        await until(lambda: False, 0.01, what="a reply", seen=lambda: "2 of 3")


async def test_a_condition_that_holds_at_the_last_moment_ends_the_wait_without_an_error() -> None:
    began = asyncio.get_running_loop().time()

    async def never_woken() -> None:
        await asyncio.Event().wait()

    assert await until(lambda: asyncio.get_running_loop().time() > began + 0.01, 0.01, between=never_woken)


async def test_an_error_of_the_condition_ends_the_wait() -> None:
    with pytest.raises(ZeroDivisionError):
        await until(lambda: 1 // 0)
    with pytest.raises(TimeoutError) as caught:
        await until(lambda: asyncio.wait_for(asyncio.Event().wait(), 0.01))
    assert not isinstance(caught.value, WaitTimeoutError)


async def test_between_is_awaited_before_each_further_check() -> None:
    seen: list[int] = []

    async def next_one() -> None:
        seen.append(len(seen))

    await until(lambda: len(seen) == 3, between=next_one)
    assert seen == [0, 1, 2]


def test_a_thread_waits_in_the_same_way() -> None:
    left = iter([0, 0, 5])
    assert wait_until(lambda: next(left)) == 5
    frames = [1, 1]
    with pytest.raises(WaitTimeoutError, match=r"len\(frames\) > 2; last seen: frames = \[1, 1\]"):
        wait_until(lambda: len(frames) > 2, 0)
