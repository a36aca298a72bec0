"""The clients of an engine are served in turn."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from engine.bus.messages import Request
from engine.bus.request_queue import PendingRequest, RequestQueue


def waiting(client: str, number: int = 0, size_bytes: int = 1) -> PendingRequest:
    return PendingRequest(client, Request(id=str(number), op="ping"), size_bytes)


def test_a_client_that_asks_once_has_its_turn_after_one_request_of_each_other() -> None:
    queue = RequestQueue()
    for client in "abc":
        for number in range(300):
            queue.add(waiting(client, number))
    queue.add(waiting("d"))
    order = [queue.take().client for _ in range(8)]
    assert order == ["a", "b", "c", "d", "a", "b", "c", "a"]


@given(st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=80))
def test_each_client_is_served_in_order_and_none_twice_before_another_that_waits(
    steps: list[str | None],
) -> None:
    queue = RequestQueue()
    model: dict[str, deque[int]] = {client: deque() for client in "abcd"}
    passed_over: dict[str, set[str]] = {client: set() for client in "abcd"}  # who was served while it waited
    for number, client in enumerate(steps):
        if client is not None:
            queue.add(waiting(client, number))
            model[client].append(number)
        elif queue:
            taken = queue.take()
            assert taken.request.id == str(model[taken.client].popleft())
            passed_over[taken.client].clear()
            for other, left in model.items():
                if left and other != taken.client:
                    assert taken.client not in passed_over[other]
                    passed_over[other].add(taken.client)
        assert len(queue) == queue.size_bytes == sum(map(len, model.values()))


def test_the_newest_request_of_who_has_most_makes_room() -> None:
    queue = RequestQueue()
    for number in range(3):
        queue.add(waiting("many", number))
    queue.add(waiting("few"))
    displaced = queue.displace("new", 1, by_bytes=False)
    assert displaced is not None
    assert (displaced.client, displaced.request.id) == ("many", "2")
    assert queue.displace("few", 1, by_bytes=False) is None  # it would have as many
    assert queue.displace("many", 1, by_bytes=False) is None
    assert len(queue) == 3


def test_bytes_are_made_room_for_by_who_has_most_bytes() -> None:
    queue = RequestQueue()
    for _ in range(3):
        queue.add(waiting("many", size_bytes=10))
    queue.add(waiting("large", size_bytes=100))
    assert queue.displace("new", 200, by_bytes=True) is None
    displaced = queue.displace("new", 50, by_bytes=True)
    assert displaced is not None
    assert displaced.client == "large"
    assert queue.size_bytes == 30


def test_an_empty_queue_makes_no_room() -> None:
    assert RequestQueue().displace("new", 1, by_bytes=False) is None
