"""The configurations that docs/access.md shows for brokers of one's own, in those brokers."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from engine.bus import access_rules as rules
from engine.bus import topics
from engine.bus.access_rules import RULES
from engine.bus.errors import RequestTimeout
from engine.bus.tls import TlsFiles, client_context
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from tests.bus.conftest import EngineStandIn, free_port, listens, make_stats, running_bus
from tests.bus.test_embedded_broker import connecting, next_message
from tests.certificates import certificates
from vmqtui.testing import wait_until

SHOWN = Path(__file__).parents[2] / "docs" / "access"
USERS = {"hv01": "engine", "ops": "operator", "vic": "viewer"}


def mosquitto(room: Path) -> tuple[list[str], BrokerUrl]:
    """The shown configuration with paths, port and password file of this test's."""
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    pems = certificates(room)
    port = free_port()
    for user in USERS:
        command = ["mosquitto_passwd", "-b", *(["-c"] if user == "hv01" else []), str(room / "vmq.passwd")]
        subprocess.run([*command, user, f"{user} knows"], check=True, capture_output=True)
    shutil.copy(SHOWN / "mosquitto.acl", room / "vmq.acl")
    for path in room.iterdir():
        path.chmod(0o644)
    text = (SHOWN / "mosquitto.conf").read_text(encoding="utf-8")
    text = text.replace("/etc/mosquitto", str(room)).replace("listener 8883", f"listener {port} 127.0.0.1")
    (room / "mosquitto.conf").write_text(f"{text}user root\n", encoding="utf-8")
    url = BrokerUrl("localhost", port, tls=True, files=TlsFiles(ca=pems.ca))
    return ["mosquitto", "-c", str(room / "mosquitto.conf")], url


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerUrl]:
    """URL, without a user, of a broker that runs as its configuration is shown."""
    room = tmp_path_factory.mktemp("room")
    command, url = mosquitto(room)
    with (room / "log").open("wb") as log:
        broker = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until_it_listens(broker, url.port)
            yield url
        finally:
            broker.terminate()
            broker.wait(10)


def wait_until_it_listens(broker: subprocess.Popen[bytes], port: int) -> None:
    wait_until(lambda: broker.poll() is not None or listens(port), what="the broker")
    assert broker.poll() is None, "it has ended"


def as_user(url: BrokerUrl, user: str) -> BrokerUrl:
    return replace(url, user=user, password=f"{user} knows")


def client(url: BrokerUrl, identifier: str, will: str | None = None) -> aiomqtt.Client:
    made = connecting(url, identifier, aiomqtt.Will(will, b"boo", 1) if will else None)
    made._client.tls_set_context(client_context(url.files))
    return made


async def test_an_operator_asks_and_a_viewer_only_watches(shown: BrokerUrl) -> None:
    stand_in = EngineStandIn()
    async with (
        running_bus(as_user(shown, "hv01"), "hv01", stand_in) as bus,
        Watcher(as_user(shown, "ops"), "hv01") as operator,
        Watcher(as_user(shown, "vic"), "hv01") as viewer,
    ):
        assert (await operator.request("hv01", "ping")).status == "ok"
        assert await viewer.wait_for(lambda: "hv01" in viewer.hosts and viewer.hosts["hv01"].online, 60)
        bus.publish_stats(make_stats(7))
        assert await viewer.wait_for(lambda: viewer.hosts["hv01"].stats_received > 0, 60)
        with pytest.raises(RequestTimeout):
            await viewer.request("hv01", "ping", timeout=0.3)
        assert (await operator.request("hv01", "ping")).status == "ok"
    assert {asking for asking, _ in stand_in.requests} == {operator.client}


async def test_nobody_speaks_as_another_or_reads_what_it_was_answered(shown: BrokerUrl) -> None:
    stand_in = EngineStandIn()
    async with (
        running_bus(as_user(shown, "hv01"), "hv01", stand_in) as bus,
        Watcher(as_user(shown, "ops"), "hv01") as victim,
        client(as_user(shown, "ops"), "spy") as spy,
    ):
        await spy.subscribe("#", 1)
        for kind in (f"request/{victim.client}", f"response/{victim.client}", "stats", "status", "event"):
            await spy.publish(f"vmq/v1/hv01/{kind}", b"forged", 1)
        assert (await victim.request("hv01", "ping")).status == "ok"
        assert victim.undecodable == 0
        bus.publish_stats(make_stats(1))
        seen: set[str] = set()
        while "stats" not in seen:
            message = await next_message(spy)
            assert message.payload != b"forged"
            seen.add(str(message.topic).removeprefix("vmq/v1/hv01/"))
        assert seen <= {"status", "config", "stats"}
    assert (stand_in.bad, len(stand_in.requests)) == ([], 1)


async def test_an_engine_speaks_for_its_own_host_only(shown: BrokerUrl) -> None:
    async with (
        client(as_user(shown, "hv01"), "another") as forger,
        Watcher(as_user(shown, "vic")) as watcher,
        running_bus(as_user(shown, "hv01"), "hv01", EngineStandIn()),
    ):
        await forger.publish(topics.status("hv02"), b"forged", 1, retain=True)
        assert await watcher.wait_for(lambda: "hv01" in watcher.hosts, 60)
        assert list(watcher.hosts) == ["hv01"]


@pytest.mark.parametrize("user", ["vic", "ops"])
async def test_a_will_that_its_client_may_not_publish_goes_nowhere(shown: BrokerUrl, user: str) -> None:
    stand_in = EngineStandIn()
    async with running_bus(as_user(shown, "hv01"), "hv01", stand_in):
        with contextlib.suppress(aiomqtt.MqttError):
            async with client(as_user(shown, user), "dying", topics.request("hv01", "another")) as dying:
                peer = dying._client.socket()
                assert isinstance(peer, socket.socket)
                peer.shutdown(socket.SHUT_RDWR)
                await next_message(dying)
        async with Watcher(as_user(shown, "ops"), "hv01") as operator:
            assert (await operator.request("hv01", "ping")).status == "ok"
    assert stand_in.bad == []


async def test_a_wrong_password_and_none_are_refused(shown: BrokerUrl) -> None:
    for url in (replace(shown, user="ops", password="guess"), shown):
        async with Watcher(url) as watcher:
            assert await watcher.wait_for(lambda: watcher.state == "lost", 60)
            assert "authori" in watcher.why.lower()


def test_the_acl_of_mosquitto_has_the_rules_of_the_code() -> None:
    words = {"publish": "write", "read": "read"}
    of_all = {
        f"pattern {words[rule.action]} {rule.topic.replace(rules.CLIENT, '%c')}"
        for rule in RULES
        if rule.role != "engine" and rule.action in words  # it knows no messages that clear
    }
    of_hv01 = {
        f"topic {words[rule.action]} {rule.topic.replace(rules.HOST, 'hv01')}"
        for rule in RULES
        if rule.role == "engine"
    }
    text = (SHOWN / "mosquitto.acl").read_text(encoding="utf-8")
    everyone, *blocks = text.split("\nuser ")
    lines = [[line for line in part.splitlines() if line and line[0] != "#"] for part in (everyone, *blocks)]
    assert set(lines[0]) == of_all
    assert lines[1] == ["vic", "topic deny vmq/v1/+/request/#"]
    assert (lines[2][0], set(lines[2][1:])) == ("hv01", of_hv01)
