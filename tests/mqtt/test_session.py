"""How a session holds a client to its bounds."""

import asyncio

import pytest

from engine.mqtt import outbox, packets, session
from engine.mqtt.limits import ByteBudget
from engine.mqtt.router import Router
from tests.mqtt.wire import Client, OpenAccess

PING = b"\xc0\0"


async def settled(client: Client) -> None:
    """Until a client's packets are received, as far as they are."""
    while client.channel._turn is not None:  # noqa: ASYNC110 - nothing signals it
        await asyncio.sleep(0)


def publish(payload: bytes = b"") -> bytes:
    return packets.publish(b"asked", payload, retain=False)


def asks_and_answers() -> tuple[Client, Client]:
    """A client that acknowledges answers, and the one that sends them."""
    router = Router(OpenAccess())
    client, other = Client(router, "asks"), Client(router, "answers")
    client.subscribe("answer", qos=1)
    return client, other


async def test_a_client_that_does_not_read_is_read_from_no_further_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "BEHIND_LIMIT_BYTES", 1000)
    router = Router(OpenAccess())
    client, other = Client(router, "asks"), Client(router, "answers")
    client.subscribe("answer")
    other.subscribe("asked")
    client.wire.blocked = True
    other.publish("answer", bytes(1001))
    client.channel.data_received(PING + publish() + PING)
    await settled(client)
    assert other.messages() == []
    assert not client.wire.reading
    client.wire.blocked = False
    client.wire.read()
    client.session.writable()
    await settled(client)
    assert [one.topic for one in other.messages()] == ["asked"]
    assert client.wire.reading


async def test_packets_a_second_are_bounded_but_for_trusted_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PACKETS_AT_ONCE", 10)
    monkeypatch.setattr(session, "PACKETS_A_SECOND", 100)
    router = Router(OpenAccess())
    client, engine = Client(router, "client"), Client(router, "engine", trusted=True)
    for one in (client, engine):
        one.channel.data_received(PING * 200)
        await settled(one)
    assert len(engine.wire.take()) == 200
    answered = len(client.wire.take())
    assert answered < 200  # all of them take 1.9 s
    while answered < 200:  # it is received in the end
        answered += len(client.wire.take())
        await asyncio.sleep(0.001)


async def test_a_second_connect_ends_the_session_and_leaves_the_will() -> None:
    client = Client(Router(OpenAccess()), "client", will=packets.Will("w", b"", 0, False))
    client.channel.data_received(b"\x10\0")
    assert (await client.channel.ended).why == "a packet of type 1 within a session"
    assert client.session.will is not None


async def test_what_of_a_client_waits_for_others_counts_as_held_for_it() -> None:
    budget = ByteBudget()
    router = Router(OpenAccess())
    sender = Client(router, "sender", budget=budget)
    engine = Client(router, "engine", budget=budget, reserved=True)
    engine.subscribe("asked", qos=1)
    engine.wire.blocked = True
    engine.channel.can_write = False
    sender.publish("asked", bytes(10_000), qos=1)
    assert 10_000 < budget.seen_bytes < 11_000
    engine.leave()
    sender.leave()
    assert budget.seen_bytes == 0


async def test_a_client_with_most_of_too_much_is_disconnected_at_once() -> None:
    budget = ByteBudget(20_000)
    router = Router(OpenAccess())
    slow, slower, writer = (Client(router, name, budget=budget) for name in ("slow", "slower", "writer"))
    for one in (slow, slower):
        one.subscribe("#", qos=1)
        one.wire.blocked = True
        one.channel.can_write = False
    slower.publish("a", bytes(5000), qos=1)
    writer.publish("b", bytes(4000), qos=1)
    slow.wire.read()
    slow.session.outbox.pump()
    slower.publish("a", bytes(5000), qos=1)
    assert slower.channel.ended.done() or slow.channel.ended.done()
    assert slower.wire.closed != slow.wire.closed


async def test_a_client_is_not_held_while_acknowledgements_behind_its_packets_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "BEHIND_LIMIT_BYTES", 1000)
    monkeypatch.setattr(outbox, "IN_FLIGHT_LIMIT", 1)
    client, other = asks_and_answers()
    other.subscribe("asked")
    for _ in range(3):
        other.publish("answer", bytes(600), qos=1)
    [first] = client.messages()
    client.channel.data_received(publish() + packets.puback(first.packet_id))
    await settled(client)
    assert [one.topic for one in other.messages()] == ["asked"]
    assert len(client.messages()) == 1


async def test_acknowledgements_that_the_broker_does_not_read_are_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "UNREAD_LIMIT_BYTES", 1000)
    monkeypatch.setattr(outbox, "IN_FLIGHT_LIMIT", 1)
    client, other = asks_and_answers()
    client.channel.hold("its turn")
    for _ in range(3):
        other.publish("answer", bytes(600), qos=1)
    assert not client.channel.ended.done()
    client.channel.release("its turn")
    for _ in range(2):
        other.publish("answer", bytes(600), qos=1)
    assert client.channel.ended.done()


async def test_what_a_connected_exclusive_client_retains_is_cleared_by_no_other() -> None:
    router = Router(OpenAccess())
    topic = "forbidden/left/config"
    owner = Client(router, "owner", exclusive="it", may_publish=lambda one: one == topic)
    operator = Client(router, "operator")
    owner.publish(topic, b"kept", retain=True)
    operator.publish(topic, retain=True)
    assert router.kept(topic) is not None
    owner.leave()
    operator.publish(topic, retain=True)
    assert router.kept(topic) is None


async def test_topics_and_filters_that_have_to_be_tried_count_as_packets() -> None:
    router = Router(OpenAccess())
    writer = Client(router, "writer", trusted=True)
    for number in range(50):
        writer.publish(f"kept/{number}", b"x", retain=True)
    reader, operator = Client(router, "reader"), Client(router, "operator")
    before = reader.session._bucket._left
    reader.subscribe(*(f"+/{number}" for number in range(60)))
    assert before - reader.session._bucket._left == pytest.approx(60 + 60 * 50 / 100, abs=1)
    before = operator.session._bucket._left
    for number in range(20):
        operator.publish(f"new/{number}")
    assert before - operator.session._bucket._left == pytest.approx(20 * 60 / 100, abs=1)
    for _ in range(20):
        operator.publish("new/0")  # known
    assert before - operator.session._bucket._left == pytest.approx(20 * 60 / 100, abs=1)
