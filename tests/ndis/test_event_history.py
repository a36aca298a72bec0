"""Events of before: the last thousand, bounded in bytes, oldest first, from one on."""

from typing import Any

import pytest

from engine.ndis.queries import EVENTS_LIMIT_BYTES, MAX_EVENTS, EventHistory
from tests.ndis.lab import lab


def history(count: int, size_bytes: int = 100) -> EventHistory:
    events = EventHistory()
    for seq in range(1, count + 1):
        events.add({"seq": seq}, size_bytes)
    return events


def seqs(events: EventHistory, since: int = 0, limit: int = MAX_EVENTS) -> list[int]:
    return [one["seq"] for one in events.since(since, limit)]


def test_the_last_thousand_events_are_kept() -> None:
    assert seqs(history(MAX_EVENTS + 5)) == list(range(6, MAX_EVENTS + 6))


def test_events_kept_are_bounded_in_bytes_and_the_oldest_go() -> None:
    assert seqs(history(10, EVENTS_LIMIT_BYTES // 4)) == [7, 8, 9, 10]


def test_events_after_one_come_oldest_first_as_many_as_are_asked_for() -> None:
    assert seqs(history(10), since=4, limit=3) == [5, 6, 7]
    assert seqs(history(10), since=10) == []


def test_a_request_asks_for_the_first_256_unless_it_says_otherwise() -> None:
    host = lab()
    host.host.event_history = history(300)
    assert [one["seq"] for one in host.accept("query_events").result["events"]] == list(range(1, 257))
    events = host.accept("query_events", since_seq=100, limit=2).result["events"]
    assert [one["seq"] for one in events] == [101, 102]
    assert host.host.revision == 1


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"limit": MAX_EVENTS + 1}, "limit: 1001 is not a whole number in 1..1000"),
        ({"limit": 0}, "limit: 0 is not a whole number in 1..1000"),
        ({"since_seq": -1}, "since_seq: -1 is not a whole number"),
        ({"since": 1}, 'params: "since" is not a parameter of query_events; the nearest is "since_seq"'),
    ],
)
def test_what_is_no_number_of_events_is_refused_in_a_sentence(params: dict[str, Any], words: str) -> None:
    refused = lab().host.apply("query_events", params, lab().plane)
    assert str(refused.ndis_status) == "NDIS_STATUS_INVALID_PARAMETER"
    assert words in refused.message
