"""Buffers: how a batch shares what is left, and how queues grow and shrink."""

from hypothesis import given
from hypothesis import strategies as st

from engine.ndis.effects import SetBuffers
from engine.ndis.resources import share_out
from engine.scenario.model import QueueSpec
from tests.ndis.lab import lab


def balance_word_for_word(suggested: list[int], left: int) -> list[int]:
    """NDIS.md: with enough left each gets what it suggests; otherwise floor(suggested × left / sum), and
    whoever gets less than half, last in the batch first, fails and the rest is divided anew."""
    batch = list(enumerate(suggested))
    while True:
        total = sum(count for _, count in batch)
        enough = total <= left
        shares = {place: count if enough else count * left // total for place, count in batch}
        losers = [place for place, count in batch if shares[place] < count / 2]
        if not losers:
            return [shares.get(place, 0) for place in range(len(suggested))]
        batch = [(place, count) for place, count in batch if place != losers[-1]]


@given(st.lists(st.integers(1, 12), max_size=12), st.integers(0, 60))
def test_shares_are_as_the_rule_says_word_for_word(suggested: list[int], left: int) -> None:
    assert share_out(suggested, left) == balance_word_for_word(suggested, left)


@given(st.lists(st.integers(1, 65_536), max_size=20), st.integers(0, 200_000))
def test_shares_never_exceed_what_is_left_and_are_at_least_half_of_what_was_suggested(
    suggested: list[int], left: int
) -> None:
    shares = share_out(suggested, left)

    assert sum(shares) <= left
    assert all(
        share == 0 or asked <= 2 * share <= 2 * asked for share, asked in zip(shares, suggested, strict=True)
    )


def test_a_large_batch_is_shared_quickly() -> None:
    shares = share_out([1] * 2048 + [1000] * 2048, 1_100_000)

    assert sum(shares) <= 1_100_000
    assert shares[-1] > 0


def test_a_batch_answers_each_queue_and_balances_over_those_that_can_be_completed() -> None:
    host = lab(buffers=50, default_queue_buffers=10)  # 40 left
    first, second, third = (host.allocate(buffers=20, driver="vsp") for _ in range(3))
    theirs = host.allocate(buffers=20, driver="other")
    paused = host.allocate(buffers=4)
    host.accept("complete_allocation", queue_ids=[paused])  # 36 left

    outcome = host.accept(
        "complete_allocation", queue_ids=[first, 99, second, first, 0, theirs, paused, third]
    )

    entries = [(e["queue_id"], e["ndis_status"].removeprefix("NDIS_STATUS_"), e["buffers"])
               for e in outcome.result["queues"]]  # fmt: skip
    assert entries == [
        (first, "SUCCESS", 12),
        (99, "INVALID_PARAMETER", 0),
        (second, "SUCCESS", 12),
        (first, "INVALID_PARAMETER", 0),
        (0, "INVALID_PARAMETER", 0),
        (theirs, "INVALID_PARAMETER", 0),
        (paused, "INVALID_PARAMETER", 0),
        (third, "SUCCESS", 12),
    ]
    assert host.accept("query_queue", queue_id=first).result["buffers"] == 20  # still what it suggests


def test_who_gets_less_than_half_fails_last_first_and_stays_as_it_was() -> None:
    host = lab(buffers=40, default_queue_buffers=10)  # 30 left
    ids = [host.allocate(buffers=20) for _ in range(4)]

    outcome = host.accept("complete_allocation", queue_ids=ids)

    assert [
        (e["ndis_status"].removeprefix("NDIS_STATUS_"), e["buffers"]) for e in outcome.result["queues"]
    ] == [
        ("SUCCESS", 10),
        ("SUCCESS", 10),
        ("SUCCESS", 10),
        ("RESOURCES", 0),
    ]
    assert host.state(ids[3]) == "allocated"
    assert "20" in outcome.result["queues"][3]["message"]
    host.accept("free_queue", queue_id=ids[0])
    (entry,) = host.accept("complete_allocation", queue_ids=[ids[3]]).result["queues"]
    assert (entry["ndis_status"], entry["buffers"]) == ("NDIS_STATUS_SUCCESS", 10)


def test_a_new_count_before_completion_is_only_a_suggestion() -> None:
    host = lab()
    queue_id = host.allocate(buffers=8)

    assert host.accept("set_queue_parameters", queue_id=queue_id, buffers=60_000).effects == ()
    host.accept("set_queue_parameters", queue_id=queue_id, buffers=20)
    assert host.accept("complete_allocation", queue_ids=[queue_id]).effects == (SetBuffers(0, queue_id, 20),)


def test_growth_takes_what_is_left_and_not_one_more() -> None:
    host = lab()  # 90 left beside the default queue's 10
    queue_id = host.paused(buffers=8)

    assert host.refuse("set_queue_parameters", queue_id=queue_id, buffers=91, cpu=3)[0] == "RESOURCES"
    outcome = host.accept("set_queue_parameters", queue_id=queue_id, buffers=90)
    assert outcome.effects == (SetBuffers(0, queue_id, 90),)
    assert host.refuse("set_queue_parameters", queue_id=0, buffers=11)[0] == "RESOURCES"


def test_a_queue_that_shrinks_keeps_outstanding_buffers_from_others_until_they_come_back() -> None:
    host = lab()
    queue_id, other = host.paused(buffers=80), host.allocate(buffers=50)
    host.plane.take(queue_id, 60)
    host.accept("set_queue_parameters", queue_id=queue_id, buffers=10)  # holds 60, 30 left

    assert host.accept("query_capabilities").result["buffers_left"] == 30
    assert host.accept("query_queue", queue_id=queue_id).result["total_buffers"] == 60
    assert host.refuse("set_queue_parameters", queue_id=0, buffers=41)[0] == "RESOURCES"
    assert host.refuse("set_queue_parameters", queue_id=queue_id, buffers=91)[0] == "RESOURCES"

    host.plane.give_back(queue_id, 20)
    (entry,) = host.accept("complete_allocation", queue_ids=[other]).result["queues"]
    assert entry["buffers"] == 50
    host.plane.give_back(queue_id, 40)
    assert host.accept("query_capabilities").result["buffers_left"] == 30
    assert host.accept("query_queue", queue_id=queue_id).result["total_buffers"] == 10


def test_a_freed_queues_buffers_are_left_for_others_only_when_it_is_gone() -> None:
    host = lab()
    queue_id = host.paused(buffers=80)
    host.plane.take(queue_id, 1)
    host.accept("free_queue", queue_id=queue_id)
    assert host.accept("query_capabilities").result["buffers_left"] == 10

    host.plane.give_back(queue_id, 1)
    host.returned(queue_id)
    assert host.accept("query_capabilities").result["buffers_left"] == 90


def test_the_default_queue_grows_and_shrinks_too() -> None:
    host = lab()

    outcome = host.accept("set_queue_parameters", queue_id=0, buffers=100, driver="anyone")
    assert outcome.effects == (SetBuffers(0, 0, 100),)
    host.accept("set_queue_parameters", queue_id=0, buffers=1)
    assert host.accept("query_capabilities").result["buffers_left"] == 99


def test_a_scenario_leaves_buffers_for_queues_that_come_later() -> None:
    """Contract 3: what the queues ask for, and 8,192 besides."""
    host = lab(max_queues=20, buffers=None, queue=[QueueSpec(buffers=700)])
    assert host.accept("query_capabilities").result["buffers_left"] == 8192
    for number in range(16):
        queue_id = host.accept(
            "allocate_queue", name=f"n{number}", vm=f"vm{number}", cpu=0, buffers=512
        ).result["queue_id"]
        [answer] = host.accept("complete_allocation", queue_ids=[queue_id]).result["queues"]
        assert (answer["ndis_status"], answer["buffers"]) == ("NDIS_STATUS_SUCCESS", 512)
    assert host.accept("query_capabilities").result["buffers_left"] == 0
