"""What a client that reads slowly is sent, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.mqtt import outbox
from engine.mqtt.channel import WRITE_AHEAD_BYTES, Channel
from engine.mqtt.outbox import IN_FLIGHT_LIMIT, UNREAD_LIMIT_BYTES, Message, Outbox
from engine.mqtt.packets import Publish, header, parse
from tests.mqtt.wire import Wire

MEGABYTE = 1 << 20


class From:
    """A sender."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.waiting_bytes = 0

    def waits(self, change_bytes: int) -> None:
        self.waiting_bytes += change_bytes


def made(retained: dict[str, Message] | None = None) -> tuple[Outbox, Wire]:
    channel = Channel()
    wire = Wire(channel)
    box = Outbox(channel, (retained or {}).get)

    class Receiver:
        writable = box.writable

    channel._receiver = Receiver()  # type: ignore[assignment]  # a stand-in
    return box, wire


def message(topic: str, payload: bytes = b"", sender: From | None = None) -> Message:
    return Message(topic, payload, 1, sender)


def sent(wire: Wire) -> list[Publish]:
    found = [parse(first, body) for first, body in wire.take()]
    assert all(isinstance(one, Publish) for one in found)
    return found  # type: ignore[return-value]  # all() above says so


def block(box: Outbox, wire: Wire) -> None:
    """Let the client stop reading, with the connection full."""
    wire.blocked = True
    box.send(message("full", bytes(WRITE_AHEAD_BYTES)), 0)


def read_again(wire: Wire) -> None:
    wire.blocked = False
    wire.read()


async def test_answers_go_before_readings_once_a_client_reads_again() -> None:
    box, wire = made()
    block(box, wire)
    for number in range(3):
        box.send(message("reading", b"%d" % number), 0)
        box.send(message("answer", b"%d" % number), 1)
    read_again(wire)
    payloads = [(one.topic, one.payload) for one in sent(wire)[1:]]
    assert payloads == [("answer", b"0"), ("answer", b"1"), ("answer", b"2"), ("reading", b"2")]
    assert box.skipped == 2


async def test_of_qos_0_the_newest_of_each_topic_waits_and_the_others_are_counted() -> None:
    box, wire = made()
    block(box, wire)
    for number in range(5):
        for topic in ("a", "b"):
            box.send(message(topic, b"%d" % number), 0)
    assert box.skipped == 8
    read_again(wire)
    assert [(one.topic, one.payload) for one in sent(wire)[1:]] == [("a", b"4"), ("b", b"4")]
    assert box.idle


async def test_a_client_that_reads_gets_every_answer_however_many_wait() -> None:
    box, wire = made()
    block(box, wire)
    count = 3 * UNREAD_LIMIT_BYTES // MEGABYTE
    got: list[Publish] = []
    for number in range(count):
        box.send(message("answer", number.to_bytes(2, "big") + bytes(MEGABYTE)), 1)
        if number % 8 == 7:  # slower than they come
            wire.read(2 * MEGABYTE)
            for one in sent_whole(wire):
                got.append(one)
                box.acknowledged(one.packet_id)
    while not box.idle:
        wire.read()
        for one in sent_whole(wire):
            got.append(one)
            box.acknowledged(one.packet_id)
    numbers = [int.from_bytes(one.payload[:2], "big") for one in got if one.topic == "answer"]
    assert numbers == list(range(count))
    assert not box._channel.ended.done()


def sent_whole(wire: Wire) -> list[Publish]:
    """Of what was read, the packets that are whole."""
    found = []
    while len(wire.received) > 5:
        length = header(wire.received)
        assert length is not None
        if sum(length) > len(wire.received):
            break
        published = parse(*wire.take_one())
        assert isinstance(published, Publish)
        found.append(published)
    return found


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_client_that_reads_nothing_is_disconnected_once_too_much_came(qos: int) -> None:
    box, wire = made()
    block(box, wire)
    came = 0
    while not box._channel.ended.done():
        box.send(message("a", bytes(MEGABYTE)), qos)
        came += MEGABYTE
        assert box.unread_bytes < UNREAD_LIMIT_BYTES + 2 * MEGABYTE
    assert came == UNREAD_LIMIT_BYTES
    assert "does not read" in (await box._channel.ended).why
    assert not box.send(message("a"), qos)


async def test_a_client_that_reads_and_acknowledges_nothing_is_disconnected_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "UNREAD_LIMIT_BYTES", 10_000)
    box, wire = made()
    for _ in range(IN_FLIGHT_LIMIT):
        box.send(message("a"), 1)
    assert len(sent(wire)) == IN_FLIGHT_LIMIT
    while not box._channel.ended.done():
        box.send(message("a"), 1)
    assert box.idle


async def test_a_client_is_sent_any_amount_that_is_retained_as_it_reads() -> None:
    count = 2 * UNREAD_LIMIT_BYTES // MEGABYTE
    retained = {f"kept/{number}": message(f"kept/{number}", bytes(MEGABYTE)) for number in range(count)}
    box, wire = made(retained)
    wire.blocked = True
    box.send_retained(dict.fromkeys(retained, 1))
    got: list[Publish] = []
    while not box.idle:
        assert box.unread_bytes < 2 * MEGABYTE
        wire.read(MEGABYTE)
        for one in sent_whole(wire):
            got.append(one)
            box.acknowledged(one.packet_id)
    assert [(one.topic, one.retain) for one in got] == [(topic, True) for topic in retained]
    assert not box._channel.ended.done()


async def test_what_is_retained_is_sent_as_it_is_then_after_what_waits_and_once() -> None:
    retained = {topic: message(topic, b"old") for topic in ("cleared", "renewed")}
    box, wire = made(retained)
    block(box, wire)
    box.send_retained({"cleared": 1, "renewed": 0})
    box.send_retained({"renewed": 1})
    del retained["cleared"]
    box.send(message("renewed", b"between"), 1)
    retained["renewed"] = message("renewed", b"new")
    read_again(wire)
    after = [(one.topic, one.payload, one.retain, one.qos) for one in sent(wire)[1:]]
    assert after == [("renewed", b"between", False, 1), ("renewed", b"new", True, 1)]


async def test_answers_to_packets_that_are_not_read_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "UNREAD_LIMIT_BYTES", 1000)
    box, wire = made()
    block(box, wire)
    for _ in range(600):
        box.answer(b"\xd0\0")
    assert box._channel.ended.done()


async def test_so_many_messages_are_sent_ahead_of_their_acknowledgements() -> None:
    box, wire = made()
    for number in range(IN_FLIGHT_LIMIT + 2):
        box.send(message("a", b"%d" % number), 1)
    first = sent(wire)
    assert [one.payload for one in first] == [b"%d" % number for number in range(IN_FLIGHT_LIMIT)]
    box.acknowledged(first[0].packet_id)
    box.acknowledged(first[0].packet_id)  # again
    box.acknowledged(60_000)  # of none
    assert [one.payload for one in sent(wire)] == [b"%d" % IN_FLIGHT_LIMIT]


async def test_senders_have_their_turn_and_are_told_what_of_theirs_waits() -> None:
    box, wire = made()
    block(box, wire)
    flood, other = From("flood"), From("other")
    for number in range(10):
        box.send(message("f", b"%d" % number, flood), 1)
    box.send(message("o", b"", other), 1)
    assert flood.waiting_bytes == 10 * message("f", b"0").size_bytes
    read_again(wire)
    assert "o" in [one.topic for one in sent(wire)[1:4]]
    assert (flood.waiting_bytes, other.waiting_bytes) == (0, 0)


async def test_what_waits_is_given_up_with_the_client() -> None:
    box, wire = made()
    block(box, wire)
    flood = From("flood")
    for _ in range(10):
        box.send(message("f", b"", flood), 1)
        box.send(message("f"), 0)
    box.close()
    assert flood.waiting_bytes == 0
    assert box.unread_bytes == len(wire.unsent)
    assert not box.send(message("f", b"", flood), 1)


async def test_readings_of_many_topics_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "UNREAD_LIMIT_BYTES", 10_000)
    box, wire = made()
    block(box, wire)
    box._unread_since_progress_bytes = -(1 << 30)  # it reads now and then
    for number in range(100):
        box.send(message(f"topic-{number}", bytes(200)), 0)
    assert box._newest_bytes <= 10_000
    assert box.skipped + len(box._newest) == 100


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(65_000, 65_535))
def test_an_id_is_in_use_once_and_never_0(acknowledged: list[int], last: int) -> None:
    import asyncio

    async def run() -> None:
        box, wire = made()
        box._last_id = last
        in_flight: list[int] = []
        for place in acknowledged:
            if len(in_flight) > place:
                box.acknowledged(in_flight.pop(place))
            if len(in_flight) < IN_FLIGHT_LIMIT:
                box.send(message("a"), 1)
                [one] = sent(wire)
                assert one.packet_id not in in_flight
                in_flight.append(one.packet_id)

    asyncio.run(run())
