"""``vmqtui get`` on a broker with many hosts, some of which say nothing any more."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from engine.bus import codec, topics
from engine.bus.errors import RequestTimeout
from engine.bus.messages import Status
from engine.bus.watcher import Watcher
from engine.telemetry.config import Config
from engine.telemetry.summary import FindingCounts, Summary
from tests.bus.conftest import make_config, make_stats
from tests.end_to_end.conftest import Here
from tests.slow import slow_but
from vmqtui.cli import attach, get
from vmqtui.testing import wait_until

SECOND = 1_000_000_000
HOSTS = 300
SILENT, OFFLINE = "hv017", "hv018"
FRAMES = 1000
"""Frames that each host receives a second."""
ONLINE = Status(state="online", version="1", interval_ns=SECOND // 4)


def summary(number: int, host: int, age_s: int = 0) -> Summary:
    return Summary(
        seq=number, time_ns=time.time_ns() - age_s * SECOND, sim_time_ns=number * SECOND, cpus=8, cpus_down=0,
        adapters=1, queues=9, offered_frames=number * FRAMES, offered_bytes=number * FRAMES * 125,
        dropped_frames=number * host, default_queue_frames=0, busiest_cpu=3, busiest_load=0.5, behind_ns=0,
        findings=FindingCounts(cost=1), worst="queue 1 is busy",
    )  # fmt: skip


class Publisher:
    """One MQTT client that publishes for any host."""

    def __init__(self, url: str) -> None:
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        host, port = url.removeprefix("mqtt://").split(":")
        self._client.max_queued_messages_set(0)
        self._client.connect(host, int(port))
        self._client.loop_start()

    def publish(self, host: str, kind: str, message: codec.Message | None, *, retain: bool = True) -> None:
        self.publish_bytes(host, kind, b"" if message is None else codec.encode(message), retain=retain)

    def publish_bytes(self, host: str, kind: str, payload: bytes, *, retain: bool) -> None:
        self._client.publish(topics.telemetry(host, kind), payload, retain=retain, qos=1).wait_for_publish(20)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def publisher(mosquitto: str) -> Iterator[Publisher]:
    publisher = Publisher(mosquitto)
    yield publisher
    publisher.close()


class Fleet:
    """Hosts that send a summary a second, but for one that has gone silent and one that is offline."""

    def __init__(self, publisher: Publisher) -> None:
        self.names = [f"hv{number:03}" for number in range(HOSTS)]
        self.rounds = 0
        self._publisher = publisher
        self._ended = threading.Event()
        for number, name in enumerate(self.names):
            offline = msgspec.structs.replace(ONLINE, state="offline")
            publisher.publish(name, "status", offline if name == OFFLINE else ONLINE)
            if name == SILENT:
                publisher.publish(name, "summary", summary(1, number, age_s=60))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: self.rounds > 0, what="summaries")

    def _run(self) -> None:
        while not self._ended.is_set():
            for number, name in enumerate(self.names):
                if name not in (SILENT, OFFLINE):
                    self._publisher.publish(name, "summary", summary(self.rounds + 1, number))
            self.rounds += 1
            self._ended.wait(1)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for name in self.names:
            for kind in ("status", "summary"):
                self._publisher.publish(name, kind, None)


@pytest.fixture
def fleet(publisher: Publisher) -> Iterator[Fleet]:
    fleet = Fleet(publisher)
    yield fleet
    fleet.close()


def test_hosts_are_read_side_by_side_and_one_that_is_silent_is_marked(
    mosquitto: str, fleet: Fleet, here: Here
) -> None:
    before = fleet.rounds
    done = here("get", "hosts", "--broker", mosquitto, "--json")
    assert (done.status, done.err) == (0, "")
    assert fleet.rounds - before < HOSTS / 10, "hosts are waited for one after another"
    rows = {row["host"]: row for row in done.document["hosts"]}
    assert list(rows) == fleet.names
    states = {name: row["state"] for name, row in rows.items()}
    assert states.pop(SILENT) == "silent"
    assert states.pop(OFFLINE) == "offline"
    assert set(states.values()) == {"online"}
    assert 60 <= rows[SILENT]["age_s"] < 120
    assert rows[SILENT]["pps"] is None
    assert rows[OFFLINE]["age_s"] is None
    busy = rows["hv040"]
    assert (busy["pps"], busy["mbits"], busy["drops_per_second"]) == (FRAMES, 1.0, 40)
    assert (busy["kind"], busy["busiest_load"], busy["cost"], busy["worst"]) == (
        "model", 0.5, 1, "queue 1 is busy",
    )  # fmt: skip


def test_the_table_has_a_line_a_host(mosquitto: str, fleet: Fleet, here: Here) -> None:
    head, *lines = here("get", "hosts", "--broker", mosquitto).out.splitlines()
    assert head.split()[:3] == ["Host", "State", "LastMessage"]
    assert len(lines) == HOSTS
    assert "○ silent" in lines[17]


def test_one_host_can_be_asked_about(mosquitto: str, fleet: Fleet, here: Here) -> None:
    done = here("get", "hosts", "--broker", mosquitto, "--host", SILENT, "--json")
    assert [row["state"] for row in done.document["hosts"]] == ["silent"]


@pytest.fixture
def talking(publisher: Publisher) -> Iterator[list[str]]:
    """Two hosts that send readings, and one that is online and sends none."""
    names, ended = ["ta", "tb"], threading.Event()
    for name in [*names, "mute"]:
        publisher.publish(name, "status", ONLINE)
        publisher.publish(name, "config", make_config(name))

    def talk() -> None:
        seq = 0
        while not ended.wait(0.02):
            seq += 1
            for name in names:
                publisher.publish(name, "stats", make_stats(seq), retain=False)

    thread = threading.Thread(target=talk)
    thread.start()
    yield names
    ended.set()
    thread.join()
    for name in [*names, "mute"]:
        for kind in ("status", "config"):
            publisher.publish(name, kind, None)


@pytest.mark.slow
def test_other_tables_have_the_rows_of_all_hosts_that_report(
    mosquitto: str, talking: list[str], here: Here
) -> None:
    done = here("get", "adapters", "--broker", mosquitto, "--host", "all", "--json")
    assert done.status == 0
    assert done.document["hosts"] == talking
    assert [(row["host"], row["adapter"]) for row in done.document["adapters"]] == [
        (name, "nic0") for name in talking
    ]
    assert all(row["pps"] == pytest.approx(40) for row in done.document["adapters"])
    assert done.err == "warning: host mute sent no reading within 5 s\n"


def test_a_watch_of_hosts_that_send_nothing_waits_for_them_and_warns_once(
    mosquitto: str, publisher: Publisher, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish("mute", "status", ONLINE)
    for module in (get, attach):
        monkeypatch.setattr(module, "ANSWER_S", 0.3)
    printed: list[float] = []

    def note(*_: object, **__: object) -> None:
        printed.append(time.monotonic())
        if len(printed) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(get, "print_json", note)
    done = here("get", "queues", "--broker", mosquitto, "--host", "all", "--watch", "--json")
    publisher.publish("mute", "status", None)
    assert done.status == 130
    assert printed[2] - printed[0] >= 0.6
    assert done.err == "warning: host mute sent no reading within 0.3 s\n"


def test_several_hosts_and_none_named_is_an_error_that_names_all(
    mosquitto: str, talking: list[str], here: Here
) -> None:
    done = here("get", "adapters", "--broker", mosquitto)
    assert (done.status, done.out) == (2, "")
    assert done.err.endswith("one of mute, ta, tb, all fits\n")


@contextmanager
def publishing(publisher: Publisher, name: str, stats: bytes, config: Config | None) -> Iterator[None]:
    """A host that publishes the same reading again and again."""
    ended = threading.Event()
    publisher.publish(name, "status", ONLINE)
    if config is not None:
        publisher.publish(name, "config", config)

    def publish() -> None:
        while not ended.wait(0.05):
            publisher.publish_bytes(name, "stats", stats, retain=False)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for kind in ("status", "config"):
            publisher.publish(name, kind, None)


@pytest.mark.parametrize("command", slow_but(["get queues"], ["get queues", "advise"]))
@pytest.mark.parametrize("config", slow_but([None], [make_config("garbled"), None]))
@pytest.mark.slow
def test_a_host_whose_readings_cannot_be_read_is_an_error_that_says_how_many(
    command: str, config: Config | None, mosquitto: str, publisher: Publisher, here: Here
) -> None:
    with publishing(publisher, "garbled", b"\xc1", config):
        done = here(*command.split(), "--broker", mosquitto, "--host", "garbled")
    assert (done.status, done.out) == (1, "")
    assert re.fullmatch(r"error: host garbled: its readings can't be read \(\d+ came\)\n", done.err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "config", "sentence"),
    [
        ("get queues", None, "host bare sent no configuration that can be read within 5 s"),
        ("advise", None, "host bare sent no configuration that can be read within 5 s"),
        (
            "advise",
            make_config("bare", revision=9),
            "host bare sent no configuration for its readings in 5 s",
        ),
    ],
)
def test_a_host_without_a_configuration_for_its_readings_is_an_error(
    command: str, config: Config | None, sentence: str, mosquitto: str, publisher: Publisher, here: Here
) -> None:
    with publishing(publisher, "bare", codec.encode(make_stats(1)), config):
        done = here(*command.split(), "--broker", mosquitto, "--host", "bare")
    assert (done.status, done.out, done.err) == (1, "", f"error: {sentence}\n")


@pytest.fixture
def gone(publisher: Publisher) -> Iterator[str]:
    """A host that was killed: what it retained is still there, and its status says that it is online."""
    name = "gone"
    messages: dict[str, codec.Message] = {
        "status": ONLINE,
        "config": make_config(name),
        "summary": summary(1, 1, age_s=5),
    }
    for kind, message in messages.items():
        publisher.publish(name, kind, message)
    yield name
    for kind in messages:
        publisher.publish(name, kind, None)


@pytest.mark.slow
def test_a_host_that_is_gone_can_be_forgotten(mosquitto: str, gone: str, here: Here) -> None:
    done = here("forget", gone, "--broker", mosquitto)
    assert (done.status, done.err) == (0, "")
    assert done.out == "cleared of host gone: status, config, summary, advice\n"
    again = here("forget", gone, "--broker", mosquitto)
    assert (again.status, again.out) == (1, "")
    assert again.err == "error: nothing of host gone is retained on the broker\n"


def test_a_host_that_goes_while_it_is_forgotten_is_an_error_in_a_sentence(
    mosquitto: str, publisher: Publisher, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go(watcher: Watcher, host: str, *_: object, **__: object) -> None:
        publisher.publish(host, "status", None)
        assert await watcher.wait_for(lambda: host not in watcher.hosts, 20)
        raise RequestTimeout("no answer")

    publisher.publish("going", "status", Status(state="offline", version="1"))
    monkeypatch.setattr(Watcher, "request", go)
    done = here("forget", "going", "--broker", mosquitto)
    assert (done.status, done.out) == (1, "")
    assert done.err == "error: nothing of host going is retained on the broker\n"


@pytest.mark.slow
def test_a_host_that_sends_messages_is_not_forgotten(mosquitto: str, talking: list[str], here: Here) -> None:
    done = here("forget", talking[0], "--broker", mosquitto)
    assert (done.status, done.out) == (1, "")
    assert "host ta is there" in done.err


def test_an_engine_that_answers_is_not_forgotten(lab: str, here: Here) -> None:
    done = here("forget", "lab", "--broker", lab)
    assert (done.status, done.out) == (1, "")
    assert "host lab is there" in done.err
    assert here("forget", "a/b", "--broker", lab).status == 2
