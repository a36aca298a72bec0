"""What a client keeps of what it has not looked at yet."""

import aiomqtt
import pytest

from engine.bus import client as inbox_module
from engine.bus.client import Inbox
from engine.bus.codec import MESSAGE_LIMIT_BYTES


def message(topic: str, payload: bytes = b"") -> aiomqtt.Message:
    return aiomqtt.Message(topic, payload, 0, False, 0, None)


def drained(inbox: Inbox) -> list[tuple[str, bytes]]:
    """All that waits, in order."""
    found = []
    while inbox:
        one = inbox.take()
        found.append((one.topic.value, one.payload))
    return found


@pytest.fixture
def inbox() -> Inbox:
    """Of topics that begin with "new" only the newest counts."""
    return Inbox(lambda topic: topic.startswith("new"))


def test_all_messages_come_in_order_but_of_some_topics_only_the_newest(inbox: Inbox) -> None:
    for number, topic in enumerate(["all", "new/a", "all", "new/b", "new/a", "new/a"]):
        inbox.put_nowait(message(topic, b"%d" % number))
    assert drained(inbox) == [("all", b"0"), ("new/a", b"5"), ("all", b"2"), ("new/b", b"3")]
    assert (inbox.replaced, inbox.dropped, inbox.waiting_bytes) == (2, 0, 0)


def test_what_has_no_room_is_counted(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "INCOMING_LIMIT", 3)
    inbox.put_nowait(message("new/a", b"old"))
    for number in range(10):
        inbox.put_nowait(message("all", b"%d" % number))
    inbox.put_nowait(message("new/b"))
    inbox.put_nowait(message("new/a", b"newer"))
    assert drained(inbox) == [("new/a", b"newer"), ("all", b"0"), ("all", b"1")]
    assert (inbox.replaced, inbox.dropped) == (1, 9)


def test_bytes_are_bounded_too_and_no_message_is_larger_than_any_may_be(inbox: Inbox) -> None:
    large = bytes(MESSAGE_LIMIT_BYTES)
    for _ in range(5):
        inbox.put_nowait(message("all", large))
        inbox.put_nowait(message("new/a", large))
    assert inbox.waiting_bytes <= inbox_module.INCOMING_LIMIT_BYTES
    assert (len(drained(inbox)), inbox.replaced, inbox.dropped) == (3, 4, 3)
    inbox.put_nowait(message("all", bytes(MESSAGE_LIMIT_BYTES + 1)))
    assert (len(inbox), inbox.dropped) == (0, 4)


async def test_it_is_filled_while_a_message_waits(inbox: Inbox) -> None:
    assert not inbox.filled.is_set()
    inbox.put_nowait(message("new/a", b"1"))
    inbox.put_nowait(message("new/a", b"2"))
    await inbox.filled.wait()
    assert inbox.take().payload == b"2"
    assert not inbox.filled.is_set()
