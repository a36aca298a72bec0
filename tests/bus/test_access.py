"""Who gets into the embedded broker, and what they can do there: with clients of all kinds, and raw bytes."""

import asyncio
import logging
import time

import aiomqtt
import pytest

from engine.bus import topics
from engine.bus.broker import EmbeddedBroker
from engine.bus.engine_bus import EngineBus
from engine.bus.errors import RequestTimeout
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.logs import RECORDS_A_SECOND, facts_of
from tests.bus.conftest import EngineStandIn, make_config, make_stats, running_bus
from tests.bus.test_embedded_broker import answer_to, client_of, connecting, next_message
from tests.mqtt.test_packets import connect_packet, text
from vmqtui.testing import until

WRONG_CREDENTIAL, OTHERS_ID, NOT_ALLOWED = (b"\x20\x02\x00" + bytes((code,)) for code in (4, 2, 5))


def with_will(topic: str, client: bytes = b"me", *, url: BrokerUrl | None = None) -> bytes:
    return connect_packet(client, url=url, flags=0b00000110, tail=text(topic.encode()) + text(b"boo"))


async def refusal(broker: EmbeddedBroker, packet: bytes) -> bytes:
    return await asyncio.to_thread(answer_to, broker.url, packet)


async def test_who_has_no_credential_or_a_wrong_one_is_refused(embedded: EmbeddedBroker) -> None:
    url = embedded.url
    wrong = [
        BrokerUrl(url.host, url.port, user=user, password="guess") for user in ("owner", "engine", "ann")
    ]
    assert await refusal(embedded, connect_packet()) == NOT_ALLOWED
    for each in wrong:
        assert await refusal(embedded, connect_packet(url=each)) == WRONG_CREDENTIAL
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)bad user name or password"):
        async with connecting(wrong[0], "guessing"):
            pass


async def test_every_broker_has_credentials_of_its_own(embedded: EmbeddedBroker) -> None:
    async with EmbeddedBroker() as other:
        passwords = {each.url_of(user).password for each in (embedded, other) for user in ("owner", "viewer")}
        assert len(passwords) == 4
        assert await refusal(other, connect_packet(url=embedded.url)) == WRONG_CREDENTIAL


async def test_an_insecure_broker_lets_everyone_in_and_still_tells_them_apart() -> None:
    async with EmbeddedBroker(engine_of="lab", insecure=True) as broker:
        assert broker.url.user is None
        async with connecting(broker.url, "anyone") as client:
            await client.subscribe(topics.status("lab"))
            codes = await client.subscribe([(topics.response("lab", "another"), 1)])
            assert [code.value for code in codes] == [0x80]  # type: ignore[union-attr]  # None fails the test
        packet = connect_packet(broker.engine_client.encode())
        assert await refusal(broker, packet) == OTHERS_ID
        assert await refusal(broker, with_will("vmq/v1/lab/status")) == NOT_ALLOWED


async def test_a_connect_refused_with_the_engines_id_leaves_the_engine_able_to_hear(host: str) -> None:
    stand_in = EngineStandIn()
    async with EmbeddedBroker(engine_of=host) as broker:
        own = broker.engine_client
        bus = EngineBus(broker.engine_url, host, stand_in, client=own)
        await bus.start(make_config(host), probe_seconds=0)
        packets = [
            connect_packet(own.encode()),
            connect_packet(own.encode(), url=broker.url),
            connect_packet(own.encode(), url=broker.engine_url),  # the right one, but it is connected
        ]
        answers = [await refusal(broker, packet) for packet in packets]
        assert answers == [NOT_ALLOWED, OTHERS_ID, OTHERS_ID]
        async with Watcher(broker.url_of("operator"), host) as watcher:
            assert (await watcher.request(host, "ping")).status == "ok"
        await bus.stop()
        assert await refusal(broker, connect_packet(own.encode(), url=broker.url)) == OTHERS_ID


@pytest.mark.parametrize("user", ["viewer", "operator", "owner"])
@pytest.mark.parametrize(
    "topic",
    ["vmq/v1/lab/request/another", "vmq/v1/lab/response/another", "vmq/v1/lab/stats", "elsewhere"],
)
async def test_a_will_that_its_client_may_not_publish_is_refused(
    embedded: EmbeddedBroker, user: str, topic: str
) -> None:
    packet = with_will(topic, url=embedded.url_of(user))
    assert await refusal(embedded, packet) == NOT_ALLOWED


async def test_a_viewer_has_no_will_at_all(embedded: EmbeddedBroker) -> None:
    for topic in ("vmq/v1/lab/request/me", "vmq/v1/lab/status"):
        packet = with_will(topic, url=embedded.url_of("viewer"))
        assert await refusal(embedded, packet) == NOT_ALLOWED


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"client": b"not/a/name"}, OTHERS_ID),
        ({"flags": 0}, NOT_ALLOWED),
        ({"keepalive": 0}, NOT_ALLOWED),
        ({"keepalive": 61}, NOT_ALLOWED),
    ],
    ids=["id", "persistent", "no keep-alive", "long keep-alive"],
)
async def test_the_right_credential_excuses_nothing(
    embedded: EmbeddedBroker, changes: dict[str, object], answer: bytes
) -> None:
    # Options of any of its types.
    assert await refusal(embedded, connect_packet(url=embedded.url, **changes)) == answer  # type: ignore[arg-type]


class Noted(logging.Handler):
    """Keeps what is logged, whatever other tests have done to logging."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.facts.append(facts_of(record))


async def test_a_refusal_is_logged_with_its_reason_and_without_the_password(embedded: EmbeddedBroker) -> None:
    noted = Noted()
    logger = logging.getLogger("engine.bus.broker")
    logger.addHandler(noted)
    try:
        wrong = BrokerUrl(embedded.url.host, embedded.url.port, user="owner", password="hunter2")
        await refusal(embedded, connect_packet(b"logged", url=wrong))
        reason = "a wrong user or password"
        await until(lambda: reason in [one.get("why") for one in noted.facts])
    finally:
        logger.removeHandler(noted)
    assert "hunter2" not in str(noted.facts)


async def test_a_viewer_watches_and_its_requests_reach_no_engine(
    embedded: EmbeddedBroker, host: str, stand_in: EngineStandIn
) -> None:
    async with (
        running_bus(embedded.url, host, stand_in) as bus,
        Watcher(embedded.url_of("viewer"), host) as watcher,
    ):
        assert await watcher.wait_for(lambda: host in watcher.hosts and watcher.hosts[host].online, 60)
        bus.publish_stats(make_stats(7))
        assert await watcher.wait_for(lambda: watcher.hosts[host].stats_received > 0, 60)
        with pytest.raises(RequestTimeout):
            await watcher.request(host, "ping", timeout=0.3)
        assert watcher.state == "connected"
        async with Watcher(embedded.url_of("operator"), host) as other:
            assert (await other.request(host, "ping")).status == "ok"
    assert [client for client, _ in stand_in.requests] == [other.client]


async def test_an_operator_clears_nothing_of_a_host_that_is_there(host: str) -> None:
    there, gone = f"{host[:50]}-there", f"{host[:50]}-gone"
    async with EmbeddedBroker(engine_of=host) as broker:
        async with running_bus(broker.url, gone, EngineStandIn()):
            pass
        async with running_bus(broker.url, there, EngineStandIn()):
            async with Watcher(broker.url_of("operator")) as operator:
                assert await operator.wait_for(lambda: {there, gone} <= operator.hosts.keys(), 60)
                operator.clear(there)
                operator.clear(gone)
                assert await operator.wait_for(lambda: gone not in operator.hosts, 60)
            async with Watcher(broker.url_of("viewer")) as reader:
                assert await reader.wait_for(
                    lambda: there in reader.hosts and reader.hosts[there].config is not None, 60
                )


async def test_an_operator_clears_what_a_host_left_and_publishes_nothing_else_for_it(host: str) -> None:
    gone, stand_in = f"{host[:50]}-gone", EngineStandIn()
    async with EmbeddedBroker(engine_of=host) as broker:
        own = EngineBus(broker.engine_url, host, stand_in, client=broker.engine_client)
        await own.start(make_config(host), probe_seconds=0)
        async with running_bus(broker.url, gone, stand_in):
            pass
        for user, left in (("viewer", {gone, host}), ("operator", {host})):
            async with Watcher(broker.url_of(user), gone) as watcher:
                # Mypy infers no lambda with defaults.
                assert await watcher.wait_for(lambda watcher=watcher: gone in watcher.hosts, 60)  # type: ignore[misc]
                watcher._connection.publish(topics.status(gone), b"junk", retain=True)
                for name in (gone, host):
                    watcher.clear(name)
            async with Watcher(broker.url_of("viewer")) as reader:
                # Mypy infers no lambda with defaults.
                assert await reader.wait_for(lambda reader=reader: host in reader.hosts, 60)  # type: ignore[misc]
                view = reader.hosts[host]
                # Mypy infers no lambda with defaults.
                assert await reader.wait_for(lambda view=view: view.online and view.config is not None, 60)  # type: ignore[misc]
                # Mypy infers no lambda with defaults.
                assert await reader.wait_for(lambda reader=reader, left=left: reader.hosts.keys() == left, 60)  # type: ignore[misc]
                assert reader.undecodable == 0
        await own.stop()


async def test_nobody_speaks_as_another(embedded: EmbeddedBroker, host: str, stand_in: EngineStandIn) -> None:
    async with (
        running_bus(embedded.url, host, stand_in) as bus,
        client_of(embedded, "victim", user="viewer") as victim,
        client_of(embedded, "forger") as forger,
    ):
        await victim.subscribe([(f"vmq/v1/{host}/#", 1)])
        for kind in ("request/victim", "response/victim", "stats", "status", "event", "config"):
            await forger.publish(f"vmq/v1/{host}/{kind}", b"forged", 1, retain=True)
        await forger.publish(topics.request(host, "forger"), b"\x81\xa2id", 1)  # comes through
        await until(lambda: bool(stand_in.bad))
        assert [client for client, _ in stand_in.bad] == ["forger"]
        bus.publish_stats(make_stats(1))
        seen: dict[str, object] = {}
        while "stats" not in seen:
            message = await next_message(victim)
            seen[str(message.topic).rpartition("/")[2]] = message.payload
        assert list(seen) == ["status", "config", "stats"]
        assert b"forged" not in seen.values()


async def test_nobody_reads_anothers_answers_or_requests(
    embedded: EmbeddedBroker, host: str, stand_in: EngineStandIn
) -> None:
    async with (
        running_bus(embedded.url, host, stand_in) as bus,
        client_of(embedded, "spy") as spy,
        Watcher(embedded.url_of("operator"), host) as watcher,
    ):
        for topic in (
            topics.response("+", watcher.client),
            topics.request(host, "+"),
            f"vmq/v1/{host}/request/#",
        ):
            codes = await spy.subscribe([(topic, 1)])
            assert [code.value for code in codes] == [0x80]  # type: ignore[union-attr]  # None fails the test
        await spy.subscribe("#", 1)
        assert (await watcher.request(host, "ping")).status == "ok"
        bus.publish_stats(make_stats(1))
        seen: list[str] = []
        while not seen or not seen[-1].endswith("stats"):
            seen.append(str((await next_message(spy)).topic))
        assert {topic.rpartition("/")[2] for topic in seen} <= {"status", "config", "stats"}


async def test_a_retained_request_is_kept_by_no_one(
    embedded: EmbeddedBroker, host: str, stand_in: EngineStandIn
) -> None:
    async with client_of(embedded, "early", user="operator") as early:
        await early.publish(topics.request(host, "early"), b"\x81\xa2id\xa11", 1, retain=True)
    async with (
        running_bus(embedded.url, host, stand_in),
        Watcher(embedded.url_of("operator"), host) as watcher,
    ):
        assert (await watcher.request(host, "ping")).status == "ok"
    assert [request.op for _, request in stand_in.requests] == ["ping"]
    assert stand_in.bad == []


async def test_a_host_has_one_engine(embedded: EmbeddedBroker, host: str) -> None:
    packet = with_will(topics.status(host), b"second", url=embedded.url)
    async with client_of(embedded, "first", engine_of=host):
        assert await refusal(embedded, packet) == NOT_ALLOWED
    async with client_of(embedded, "second", engine_of=host):
        pass


async def test_an_engine_refuses_requests_of_clients_it_was_told_are_viewers(
    broker_url: BrokerUrl, host: str, stand_in: EngineStandIn
) -> None:
    bus = EngineBus(broker_url, host, stand_in, viewers=["view-*", "wall"])
    await bus.start(make_config(host), probe_seconds=0)
    for client in ("view-7", "wall"):
        async with Watcher(broker_url, host, client=client) as watcher:
            refused = await watcher.request(host, "ping")
            assert (refused.status, refused.ndis_status) == ("error", "NDIS_STATUS_NOT_ACCEPTED")
            assert refused.message == f"{client} is a viewer to this engine, and viewers ask for nothing"
    async with Watcher(broker_url, host, client="wallet") as other:
        assert (await other.request(host, "ping")).status == "ok"
    assert [client for client, _ in stand_in.requests] == ["wallet"]
    assert bus.counters.requests_refused == 2
    await bus.stop()


async def test_garbage_at_the_listener_fills_no_log(embedded: EmbeddedBroker) -> None:
    noted = Noted()
    logger = logging.getLogger("engine.bus.broker")
    logger.addHandler(noted)
    try:
        began = time.monotonic()
        for _ in range(4 * RECORDS_A_SECOND):
            await refusal(embedded, b"\x00\xff" * 1000)
        await refusal(embedded, connect_packet(b"\xc3\xa4"))
        await until(lambda: "client_refused" in [one["event"] for one in noted.facts])
    finally:
        logger.removeHandler(noted)
    seconds = 2 + int(time.monotonic() - began)
    lines = [one for one in noted.facts if one["event"] == "connection_refused"]
    assert len(lines) <= seconds * RECORDS_A_SECOND
    assert max(len(str(one)) for one in noted.facts) < 1000
