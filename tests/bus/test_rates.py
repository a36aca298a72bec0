"""A client may ask so often, and no more; others are not the worse for it."""

import asyncio
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bus import engine_bus
from engine.bus.connection import QUEUE_LIMIT, Outgoing, _Queue
from engine.bus.engine_bus import AT_WORK_LIMIT, IN_PROGRESS_LIMIT, UNSENT_ANSWERS_LIMIT, EngineBus
from engine.bus.request_queue import CLIENT_LIMIT, REQUESTS_AT_ONCE, RequestRateLimit
from engine.bus.urls import BrokerUrl
from tests.bus.conftest import EngineStandIn

NOWHERE = BrokerUrl("127.0.0.1", 9)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_client_may_ask_at_once_and_then_so_many_a_second(clock: Clock) -> None:
    rates = RequestRateLimit(10, 30, clock)
    assert [rates.take("a") for _ in range(32)] == [True] * 30 + [False] * 2
    clock.now += 0.5
    assert [rates.take("a") for _ in range(7)] == [True] * 5 + [False] * 2
    clock.now += 3600
    assert [rates.take("a") for _ in range(31)] == [True] * 30 + [False]


def test_one_client_takes_nothing_from_another(clock: Clock) -> None:
    rates = RequestRateLimit(1, 1, clock)
    assert rates.take("a")
    assert not rates.take("a")
    assert rates.take("b")


def test_what_is_known_of_clients_is_bounded(clock: Clock) -> None:
    rates = RequestRateLimit(1, 1, clock)
    assert rates.take("a")
    for number in range(CLIENT_LIMIT - 1):
        assert rates.take(f"other-{number}")
    assert not rates.take("a")
    for number in range(CLIENT_LIMIT):
        assert rates.take(f"next-{number}")
    assert rates.take("a")


@given(st.lists(st.floats(0, 5), max_size=60))
def test_never_more_than_the_bucket_and_what_ran_in(pauses: list[float]) -> None:
    clock = Clock()
    rates, taken = RequestRateLimit(2, 5, clock), 0
    for pause in pauses:
        clock.now += pause
        taken += rates.take("a")
    assert taken <= 5 + 2 * clock.now + 1e-6


class Bus(EngineBus):
    """An engine's bus without a broker: what it would send is kept."""

    def __init__(self, stand_in: EngineStandIn, rates: RequestRateLimit | None = None) -> None:
        super().__init__(NOWHERE, "hv01", stand_in, on_bad_request=stand_in.note_bad, rates=rates)

    def receive(self, id: str, op: str = "ping", client: str = "c") -> None:
        self.receive_raw(msgpack.packb({"id": id, "op": op}), client)

    def receive_raw(self, payload: bytes, client: str = "c") -> None:
        self._on_message(f"vmq/v1/hv01/request/{client}", payload, False)

    async def work(self) -> None:
        """Let what is at work end, and its callbacks run: ``gather`` alone never yields if all has ended."""
        await asyncio.gather(*self._at_work)
        await asyncio.sleep(0)

    async def answers(self) -> list[dict[str, Any]]:
        """What was answered since the last time."""
        sent = []
        while True:
            await self.work()
            while batch := self._connection._next_batch():
                sent += [msgpack.unpackb(one.payload) for one in batch]
                for one in batch:
                    one.sent = True
                self._connection._first.put_back([one for one in batch if one.first])
                self._connection._queue.put_back([one for one in batch if not one.first])
            self._begin_some()
            if not self._at_work:
                return sent


async def test_beyond_it_requests_are_refused_in_a_sentence_counted_and_not_carried_out(
    stand_in: EngineStandIn, clock: Clock
) -> None:
    bus = Bus(stand_in, RequestRateLimit(1, 3, clock))
    for number in range(5):
        bus.receive(str(number))
    answers = {one["id"]: one for one in await bus.answers()}
    assert [answers[str(number)]["status"] for number in range(5)] == ["ok"] * 3 + ["error"] * 2
    assert answers["4"]["ndis_status"] == "NDIS_STATUS_RESOURCES"
    assert answers["4"]["message"].endswith("ask again later, with a new id")
    assert bus.counters.requests_refused == 2
    assert len(stand_in.requests) == 3

    clock.now += 1
    bus.receive("4")
    [again] = await bus.answers()
    assert again == answers["4"]
    clock.now += 1
    bus.receive("5")
    assert [one["status"] for one in await bus.answers()] == ["ok"]
    bus.receive("0", client="another")
    assert [one["status"] for one in await bus.answers()] == ["ok"]


async def test_beyond_it_what_cannot_be_decoded_is_counted_and_makes_no_event(
    stand_in: EngineStandIn, clock: Clock
) -> None:
    bus = Bus(stand_in, RequestRateLimit(1, 3, clock))
    for _ in range(5):
        bus.receive_raw(b"\xc1")
    assert bus.counters.bad_requests == 5
    assert len(stand_in.bad) == 3


async def test_a_request_at_work_stays_so_when_it_is_repeated_too_often(
    stand_in: EngineStandIn, clock: Clock
) -> None:
    bus = Bus(stand_in, RequestRateLimit(1, 1, clock))
    stand_in.hold.clear()
    for _ in range(3):
        bus.receive("1", "free_queue")
    stand_in.hold.set()
    assert [(one["id"], one["status"]) for one in await bus.answers()] == [("1", "ok")]


async def test_as_many_as_may_be_sent_at_once_are_all_carried_out(stand_in: EngineStandIn) -> None:
    bus = Bus(stand_in)
    assert REQUESTS_AT_ONCE % IN_PROGRESS_LIMIT == 0
    for first in range(0, REQUESTS_AT_ONCE, IN_PROGRESS_LIMIT):
        for number in range(first, first + IN_PROGRESS_LIMIT):
            bus.receive(str(number))
        assert [one["status"] for one in await bus.answers()] == ["ok"] * IN_PROGRESS_LIMIT
    assert bus.counters.requests_refused == 0


async def test_more_bytes_than_can_be_at_work_are_refused_in_a_sentence(
    stand_in: EngineStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_bus, "IN_PROGRESS_LIMIT_BYTES", 100)
    bus = Bus(stand_in)
    stand_in.hold.clear()
    for id in ("a" * 60, "b" * 60, "c"):
        bus.receive(id)
    stand_in.hold.set()
    answers = {one["id"][0]: one for one in await bus.answers()}
    assert {name: answers[name]["status"] for name in "abc"} == {"a": "ok", "b": "error", "c": "ok"}
    assert answers["b"]["message"].endswith("ask again later, with a new id")
    assert bus.counters.requests_refused == 1
    bus.receive("d" * 60)
    assert [one["status"] for one in await bus.answers()] == ["ok"]


async def test_more_than_can_be_at_work_are_refused_in_a_sentence(stand_in: EngineStandIn) -> None:
    bus = Bus(stand_in)
    stand_in.hold.clear()
    for number in range(IN_PROGRESS_LIMIT + 1):
        bus.receive(str(number), client=f"c{number % 2}")
    stand_in.hold.set()
    refused = [one for one in await bus.answers() if one["status"] == "error"]
    assert [one["ndis_status"] for one in refused] == ["NDIS_STATUS_RESOURCES"]
    assert refused[0]["message"].startswith(f"{IN_PROGRESS_LIMIT} requests are in progress")
    assert bus.counters.requests_refused == 1


async def test_three_who_ask_much_keep_a_fourth_waiting_for_no_more_than_is_at_work(
    stand_in: EngineStandIn,
) -> None:
    bus = Bus(stand_in)
    stand_in.hold.clear()
    for number in range(IN_PROGRESS_LIMIT // 3):
        for client in ("one", "two", "three"):
            bus.receive(f"{client}-{number}", client=client)
    bus.receive("x", client="fourth")
    stand_in.hold.set()
    await bus.answers()
    order = [client for client, _ in stand_in.requests]
    assert len(order) == IN_PROGRESS_LIMIT
    assert order.index("fourth") <= AT_WORK_LIMIT + 3


async def test_who_has_most_requests_waiting_makes_room_for_another(stand_in: EngineStandIn) -> None:
    bus = Bus(stand_in)
    stand_in.hold.clear()
    for number in range(IN_PROGRESS_LIMIT):
        bus.receive(str(number), client="many")
    bus.receive("x", client="one")
    stand_in.hold.set()
    answers = {one["id"]: one["status"] for one in await bus.answers()}
    assert answers["x"] == "ok"
    assert [one for one, status in answers.items() if status == "error"] == [str(IN_PROGRESS_LIMIT - 1)]
    assert bus.counters.requests_refused == 1


async def test_requests_wait_while_their_answers_have_no_room_and_no_answer_is_dropped(
    stand_in: EngineStandIn,
) -> None:
    bus = Bus(stand_in)
    for number in range(IN_PROGRESS_LIMIT):
        bus.receive(str(number))
    while bus._at_work:
        await bus.work()
    unsent, _ = bus._connection.unsent_first
    assert UNSENT_ANSWERS_LIMIT <= unsent < UNSENT_ANSWERS_LIMIT + AT_WORK_LIMIT
    assert len(stand_in.requests) == unsent  # the others are not begun
    assert not bus._may_receive()
    answers = await bus.answers()
    assert [int(one["id"]) for one in answers] == list(range(IN_PROGRESS_LIMIT))
    assert bus.counters.messages_dropped == 0
    assert bus._may_receive()


async def test_events_without_room_do_not_take_that_of_answers(stand_in: EngineStandIn) -> None:
    bus = Bus(stand_in)
    stand_in.hold.clear()
    bus.receive("asked")
    for _ in range(QUEUE_LIMIT + 9):
        bus._connection.publish("event", b"\x80")
    assert bus.counters.messages_dropped == 9
    stand_in.hold.set()
    await bus.work()
    assert (await bus.answers())[0]["id"] == "asked"  # and it goes before them
    assert bus.counters.messages_dropped == 9


async def test_a_flood_that_cannot_be_decoded_makes_no_more_events_than_can_be_sent(
    stand_in: EngineStandIn,
) -> None:
    bus = Bus(stand_in)
    # A stand-in.
    bus._on_bad_request = lambda client, reason: bus._connection.publish("event", b"\x80") and None  # type: ignore[assignment]
    for _ in range(REQUESTS_AT_ONCE):
        bus.receive_raw(b"\xc1")
    assert bus.counters.bad_requests == REQUESTS_AT_ONCE
    assert bus.counters.messages_dropped == 0


async def test_refusals_of_who_asks_too_often_keep_no_other_client_waiting(
    stand_in: EngineStandIn, clock: Clock
) -> None:
    bus = Bus(stand_in, RequestRateLimit(1, 1, clock))
    for number in range(QUEUE_LIMIT + 9):
        bus.receive(f"too-often-{number}", client="floods")
    bus.receive("x", client="another")
    await bus.work()
    assert {one["id"] for one in (await bus.answers())[:2]} == {"too-often-0", "x"}
    assert bus.counters.requests_refused == QUEUE_LIMIT + 8
    assert bus.counters.messages_dropped == 8


def test_messages_that_wait_and_their_bytes_are_counted_as_they_are() -> None:
    queue = _Queue()
    items = [Outgoing("t", bytes(number), 1, False) for number in range(1, 11)]
    for item in items:
        queue.append(item)
    items[0].withdrawn = items[9].withdrawn = True
    taken = queue.take(3)
    assert taken == items[1:4]
    queue.forget_withdrawn()
    assert queue.size_bytes == sum(range(2, 10))
    taken[0].sent = True
    queue.put_back(taken)
    assert list(queue.items) == items[2:9]
    assert queue.size_bytes == sum(range(3, 10))
