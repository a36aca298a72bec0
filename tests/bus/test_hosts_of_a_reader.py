"""Which hosts a reader knows, how old their messages are, and which it forgets for want of room."""

import time

import msgspec
import pytest

from engine.bus import codec, host_view, topics
from engine.bus import watcher as watcher_module
from engine.bus.codec import Message
from engine.bus.errors import RequestTimeout
from engine.bus.messages import Status
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.telemetry.summary import Summary
from tests.bus.conftest import EngineStandIn, Mosquitto, make_config, make_stats, running_bus

ONLINE = Status(state="online")
OFFLINE = Status(state="offline")
NAMES = ("a", "b", "c")


class Clock:
    """``time.monotonic`` as these tests have it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (host_view, watcher_module):
        monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


@pytest.fixture
async def watcher(monkeypatch: pytest.MonkeyPatch) -> Watcher:
    """A reader with room for three hosts, on a connection that stands."""
    monkeypatch.setattr(watcher_module, "HOST_LIMIT", len(NAMES))
    watcher = Watcher(BrokerUrl("127.0.0.1", 9))
    watcher._connection.state = "connected"
    return watcher


def send(watcher: Watcher, host: str, message: Message | None, *, retained: bool = False) -> None:
    kind = "status" if message is None else type(message).__name__.lower()
    payload = b"" if message is None else codec.encode(message)
    watcher._on_message(topics.telemetry(host, kind), payload, retained)


def summary(seq: int, age_s: float = 0) -> Summary:
    return Summary(seq=seq, time_ns=time.time_ns() - round(age_s * 1e9), sim_time_ns=seq)


async def test_hosts_that_went_offline_make_room_for_new_ones(watcher: Watcher, clock: Clock) -> None:
    for number in range(1100):
        for status in (ONLINE, OFFLINE):
            send(watcher, f"old{number}", status)
        clock.now += 1
    for name in NAMES:
        send(watcher, name, ONLINE)
    assert tuple(watcher.hosts) == NAMES
    assert watcher.left_out_hosts == 0


async def test_hosts_that_went_silent_make_room_the_one_quiet_longest_first(
    watcher: Watcher, clock: Clock
) -> None:
    for name in NAMES:
        send(watcher, name, ONLINE)
        clock.now += 1
    send(watcher, "a", make_stats(1))
    clock.now += host_view.SILENT_S
    send(watcher, "d", ONLINE)
    assert list(watcher.hosts) == ["a", "c", "d"]


async def test_hosts_that_live_stay_and_those_left_out_are_counted_as_hosts(
    watcher: Watcher, clock: Clock
) -> None:
    for name in NAMES:
        send(watcher, name, ONLINE)
    for _ in range(10):
        for name in ("d", "e"):
            send(watcher, name, make_stats(1))
    assert tuple(watcher.hosts) == NAMES
    assert (watcher.left_out_hosts, watcher.left_out) == (2, 20)
    send(watcher, "a", OFFLINE)
    clock.now += 2
    send(watcher, "d", make_stats(2))
    assert (sorted(watcher.hosts), watcher.left_out_hosts) == (["b", "c", "d"], 1)
    clock.now += host_view.SILENT_S + 1
    assert watcher.left_out_hosts == 0, "what is not heard any more is not missing"


async def test_what_is_kept_of_hosts_that_are_gone_makes_room_too(
    watcher: Watcher, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(codec.encode(make_config("a")))
    monkeypatch.setattr(watcher_module, "KEPT_LIMIT_BYTES", 2 * size)
    send(watcher, "a", make_config("a"))
    clock.now += host_view.SILENT_S + 1
    send(watcher, "b", make_config("b"))
    send(watcher, "c", make_config("c"))
    assert list(watcher.hosts) == ["b", "c"]
    assert watcher.hosts["c"].config is not None


async def test_the_age_of_a_retained_summary_is_that_of_its_numbers(watcher: Watcher, clock: Clock) -> None:
    send(watcher, "a", summary(1, age_s=40), retained=True)
    view = watcher.hosts["a"]
    assert view.age_s(clock.now) == pytest.approx(40, abs=1)
    assert not view.heard_live
    send(watcher, "a", summary(2, age_s=40))
    assert view.age_s(clock.now) == 0, "a host whose clock is wrong is not silent"
    clock.now += 5
    send(watcher, "a", summary(2, age_s=45), retained=True)
    assert view.age_s(clock.now) == 5, "what is retained comes again with each connection"
    assert view.summary_before is not None
    send(watcher, "a", summary(1))
    assert view.summary_before is None, "the engine was started again"


async def test_a_retained_status_says_nothing_of_its_age(watcher: Watcher, clock: Clock) -> None:
    send(watcher, "a", ONLINE, retained=True)
    view = watcher.hosts["a"]
    clock.now += 4
    assert (view.age_s(clock.now), view.quiet_s(clock.now)) == (None, 4)


async def test_a_host_whose_messages_were_cleared_is_forgotten(watcher: Watcher, clock: Clock) -> None:
    send(watcher, "a", OFFLINE, retained=True)
    send(watcher, "b", ONLINE)
    send(watcher, "a", None)
    send(watcher, "b", None)
    assert list(watcher.hosts) == ["b"], "a host that lives will say so again"


async def test_readings_that_cannot_be_read_are_counted_until_one_can(watcher: Watcher) -> None:
    view = None
    for _ in range(3):
        watcher._on_message(topics.stats("a"), b"\xc1", False)
        view = watcher.hosts["a"]
        assert view.stats is None
    assert view is not None
    assert (view.stats_unreadable, watcher.undecodable) == (3, 3)
    send(watcher, "a", make_stats(1))
    assert view.stats is not None
    assert view.stats_unreadable == 0


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ([], "the broker has no message of it"),
        ([OFFLINE], "it is offline"),
        ([msgspec.structs.replace(ONLINE, controls=False)], "it is online and takes no requests"),
        ([ONLINE, summary(1)], "it is online, its newest message is 7 s old, and it has not answered this"),
    ],
)
async def test_a_request_that_times_out_tells_what_is_known(
    watcher: Watcher, clock: Clock, known: list[Message], words: str
) -> None:
    for message in known:
        send(watcher, "a", message)
    clock.now += 7
    assert words in watcher._known_of("a")


async def test_a_request_to_a_silent_host_tells_how_long_it_is_silent(watcher: Watcher, clock: Clock) -> None:
    send(watcher, "a", ONLINE, retained=True)
    send(watcher, "a", summary(1, age_s=50), retained=True)
    assert watcher._known_of("a") == "its status is online, and it has sent nothing for 50 s"


async def test_the_sentence_is_that_of_the_request(
    mosquitto: Mosquitto, host: str, stand_in: EngineStandIn
) -> None:
    stand_in.hold.clear()
    async with running_bus(mosquitto.url, host, stand_in), Watcher(mosquitto.url, host) as watcher:
        assert await watcher.wait_for(lambda: host in watcher.hosts and watcher.hosts[host].online, 60)
        with pytest.raises(
            RequestTimeout, match=f"{host} did not answer 'ping' within 0.2 s: it(s status)? is online"
        ):
            await watcher.request(host, "ping", timeout=0.2)
        stand_in.hold.set()
