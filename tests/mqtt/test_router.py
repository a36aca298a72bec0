"""Delivery of messages to subscribers, retained messages, and wills."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.mqtt import router as router_module
from engine.mqtt import session as session_module
from engine.mqtt.packets import Publish, Will
from engine.mqtt.router import Router, matches
from tests.mqtt.wire import Client, OpenAccess


async def test_filters_that_overlap_bring_a_message_once_with_the_highest_qos() -> None:
    router = Router(OpenAccess())
    reader, writer = Client(router, "reader"), Client(router, "writer")
    assert reader.subscribe("a/#", "+/b") == [0, 0]
    assert reader.subscribe("a/b", qos=1) == [1]
    writer.publish("a/b", b"x", qos=1)
    writer.publish("a/b", b"y", qos=0)
    assert [(one.payload, one.qos, one.retain) for one in reader.messages()] == [
        (b"x", 1, False),
        (b"y", 0, False),
    ]


async def test_a_filter_that_is_subscribed_again_has_the_new_qos() -> None:
    router = Router(OpenAccess())
    reader, writer = Client(router, "reader"), Client(router, "writer")
    for qos in (1, 0):
        reader.subscribe("a", qos=qos)
        writer.publish("a", qos=1)
        [one] = reader.messages()
        assert one.qos == qos


async def test_a_publisher_that_subscribes_gets_its_own_messages() -> None:
    client = Client(Router(OpenAccess()), "both")
    client.subscribe("a")
    client.publish("a", b"x")
    assert [one.payload for one in client.messages()] == [b"x"]


async def test_qos_2_is_granted_as_1_and_a_filter_that_is_none_is_refused() -> None:
    client = Client(Router(OpenAccess()), "asker")
    assert client.subscribe("a", "b/#/c", "forbidden/+", "d", qos=2) == [1, 0x80, 0x80, 1]


async def test_what_was_retained_comes_with_a_subscription_and_says_so() -> None:
    router = Router(OpenAccess())
    writer, reader = Client(router, "writer"), Client(router, "reader")
    writer.publish("a/1", b"old", qos=1, retain=True)
    writer.publish("a/1", b"one", qos=1, retain=True)
    writer.publish("a/2", b"two", qos=0, retain=True)
    writer.publish("passing", b"three", retain=True)
    writer.publish("secret/4", b"four", retain=True)
    reader.subscribe("#", "a/+", qos=1)
    got = {one.topic: (one.payload, one.qos, one.retain) for one in reader.messages()}
    assert got == {"a/1": (b"one", 1, True), "a/2": (b"two", 0, True)}
    reader.subscribe("a/1")  # again, at QoS 0
    assert [(one.payload, one.qos, one.retain) for one in reader.messages()] == [(b"one", 0, True)]
    writer.publish("a/1", b"new", retain=True)
    assert [(one.payload, one.retain) for one in reader.messages()] == [(b"new", False)]
    writer.publish("a/1", b"", retain=True)
    reader.messages()
    reader.subscribe("a/1")
    assert reader.messages() == []


async def test_a_message_to_those_who_may_not_read_it_does_not_reach_them() -> None:
    router = Router(OpenAccess())
    reader = Client(router, "reader")
    friend = Client(router, "friend", may_read=lambda topic: True)
    for one in (reader, friend):
        one.subscribe("#")
    friend.publish("secret/1", b"x")
    assert reader.messages() == []
    assert [one.payload for one in friend.messages()] == [b"x"]


async def test_what_a_client_may_not_publish_is_acknowledged_and_goes_nowhere() -> None:
    router = Router(OpenAccess())
    reader, writer = Client(router, "reader", may_subscribe=lambda _: True), Client(router, "writer")
    reader.subscribe("#")
    writer.publish("forbidden/1", b"x", qos=1, retain=True)
    assert writer.wire.take() == [(0x40, b"\0\1")]
    assert reader.messages() == []


@pytest.mark.parametrize("retain", [False, True])
async def test_a_will_is_published_when_its_client_goes_without_a_word(retain: bool) -> None:
    router = Router(OpenAccess())
    reader = Client(router, "reader")
    reader.subscribe("status", qos=1)
    dying = Client(router, "dying", will=Will("status", b"gone", 1, retain))
    dying.leave()
    assert [(one.payload, one.qos) for one in reader.messages()] == [(b"gone", 1)]
    late = Client(router, "late")
    late.subscribe("status")
    assert [one.payload for one in late.messages()] == ([b"gone"] if retain else [])


async def test_a_client_that_disconnects_leaves_no_will() -> None:
    router = Router(OpenAccess())
    reader = Client(router, "reader")
    reader.subscribe("status")
    leaving = Client(router, "leaving", will=Will("status", b"gone", 0, False))
    leaving.channel.data_received(b"\xe0\0")
    assert (await leaving.channel.ended).why == ""
    leaving.leave()
    assert reader.messages() == []


async def test_a_will_reaches_readers_of_whom_one_is_disconnected_by_it() -> None:
    router = Router(OpenAccess())
    reader, stuck = Client(router, "reader"), Client(router, "stuck")
    for one in (stuck, reader):
        one.subscribe("status", qos=1)
    stuck.wire.blocked = True
    stuck.session.outbox._unread_since_progress_bytes = 1 << 30
    stuck.channel.can_write = False
    Client(router, "dying", will=Will("status", b"gone", 1, False)).leave()
    assert stuck.channel.ended.done()
    stuck.leave()
    assert [one.payload for one in reader.messages()] == [b"gone"]


async def test_retained_messages_are_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "RETAINED_LIMIT", 3)
    monkeypatch.setattr(router_module, "RETAINED_LIMIT_BYTES", 100)
    router = Router(OpenAccess())
    writer, own = Client(router, "writer"), Client(router, "own", reserved=True)

    def retained(topic: str, payload: bytes, by: Client = writer) -> bool:
        by.publish(topic, payload, retain=True)
        kept = router._retained.get(topic)
        return kept is not None and kept[0].payload == payload

    assert retained("a/config", bytes(60))
    assert not retained("b/config", bytes(41))
    assert retained("b/config", bytes(40))
    assert retained("a/config", bytes(50))  # in place of 60
    assert retained("a/status", bytes(10))
    assert not retained("b/status", b"x")  # the fourth
    assert not retained("a/config", b"")  # cleared
    assert retained("b/status", bytes(50))
    assert not retained("passing", b"x")  # never retained
    assert retained("own/config", bytes(200), own)  # of the client that the broker is for
    assert retained("own/status", b"online", own)
    assert not retained("own/status", b"", own)
    assert (router._retained_count, router._retained_bytes) == (3, 100)


async def test_topic_filters_of_a_client_are_bounded_before_any_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "FILTERS_LIMIT", 3)
    router = Router(OpenAccess())
    client = Client(router, "collector")
    client.subscribe("a", "b")
    client.subscribe("b", "c")
    client.unsubscribe("a", "never")
    client.subscribe("d")
    client.channel.data_received(b"\x82\x0a\0\1\0\1e\0\0\1f\0")
    assert (await client.channel.ended).why == "more than 3 topic filters"
    assert router.filters_of(client.session) == {"b", "c", "d"}


def test_after_any_changes_a_message_goes_to_those_who_subscribe_to_it() -> None:
    topics = st.sampled_from(["a", "a/b", "b", "a/b/c"])
    filters = st.sampled_from(["a", "a/#", "+/b", "#", "b", "a/+/c"])
    names = st.sampled_from(["x", "y"])
    changes = st.one_of(
        st.tuples(st.just("publish"), topics, st.just("")),
        st.tuples(st.just("subscribe"), names, filters),
        st.tuples(st.just("unsubscribe"), names, filters),
        st.tuples(st.just("again"), names, st.just("")),
    )

    async def run(steps: list[tuple[str, str, str]]) -> None:
        router = Router(OpenAccess())
        writer = Client(router, "writer")
        clients = {name: Client(router, name) for name in "xy"}
        model: dict[str, set[str]] = {name: set() for name in "xy"}
        for what, name, topic_filter in steps:
            if what == "publish":
                writer.publish(name, b"payload")
                for reader, mine in model.items():
                    wanted = any(matches(one, name.split("/")) for one in mine)
                    assert [one.topic for one in clients[reader].messages()] == [name] * wanted
            elif what == "subscribe":
                clients[name].subscribe(topic_filter)
                model[name].add(topic_filter)
            elif what == "unsubscribe":
                clients[name].unsubscribe(topic_filter)
                model[name].discard(topic_filter)
            else:
                clients[name].leave()
                clients[name], model[name] = Client(router, name), set()

    @given(st.lists(changes, max_size=40))
    def check(steps: list[tuple[str, str, str]]) -> None:
        asyncio.run(run(steps))

    check()


async def test_a_message_of_another_size_class_is_one_packet_for_all_readers_of_qos_0() -> None:
    router = Router(OpenAccess())
    readers = [Client(router, f"reader-{number}") for number in range(3)]
    for one in readers:
        one.subscribe("a")
    Client(router, "writer").publish("a", bytes(300_000))
    for one in readers:
        assert one.messages() == [Publish("a", bytes(300_000), 0, False, 0)]
