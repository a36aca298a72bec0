"""What comes to a door: MQTT packets and topics, web requests and websockets, addresses, a child's log."""

import asyncio
import contextlib
import json
import logging
from typing import Any, Final

from engine.bus import topics
from engine.bus.access_rules import Principal, may_publish, may_read, may_subscribe
from engine.bus.errors import BadUrl
from engine.bus.tls import NO_FILES
from engine.bus.urls import BrokerUrl
from engine.logs import JsonForm, TextForm, relayed
from engine.mqtt import packets
from engine.mqtt.channel import Channel
from engine.mqtt.limits import ByteBudget
from engine.mqtt.router import Router
from tests.fuzz.mutate import JSON, LINES
from tests.fuzz.target import Target, check_sentence
from tests.mqtt.wire import Client, OpenAccess, Wire
from vmqtui.cli.engine import OwnBrokerOptions
from vmqtui.cli.failures import CommandError
from vmqtui.web.gate import AddressError, Gate
from vmqtui.web.server import MESSAGE_LIMIT_BYTES, obey


def _topic(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = topics.split_telemetry(text)
    assert found is None or topics.valid_name(found[0])
    for kind in ("request", "response"):
        client = topics.client_of(text, "hv01", kind)
        assert client is None or text == f"vmq/v1/hv01/{kind}/{client}"
    host = topics.host_of_response(text, "c")
    assert host is None or text == f"vmq/v1/{host}/response/c"


def _access(data: bytes) -> None:
    """A topic, or a filter of topics, and what each role may do with it."""
    text = data.decode("utf-8", "replace")
    viewer, operator = Principal("viewer", "c"), Principal("operator", "c")
    for party in (viewer, operator, Principal("engine", "e", "hv01"), Principal("engine", "o")):
        reads, publishes = may_read(party, text), may_publish(party, text)
        if not set("+#") & set(text):
            assert may_subscribe(party, text) or not reads
        assert not (reads or publishes) or text.startswith("vmq/v1/")
    assert not may_publish(viewer, text)
    assert not may_publish(operator, text) or text.endswith("/request/c")
    assert not may_read(viewer, text) or "/request/" not in text
    assert not may_read(viewer, text) or "/response/" not in text or text.endswith("/response/c")


def _url(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        parsed = BrokerUrl.parse(text)
    except BadUrl as error:
        check_sentence(error)
        return
    assert BrokerUrl.parse(parsed.with_password()) == parsed


def _address(data: bytes) -> None:
    """What ``--listen`` and ``--public-url`` are given."""
    text = data.decode("utf-8", "surrogateescape")
    for listen in (text, f"{text}:0"):
        with contextlib.suppress(CommandError):
            OwnBrokerOptions(listen=listen).listening(NO_FILES)
    try:
        gate = Gate.at("127.0.0.1", 8000, text)
    except AddressError:
        return
    assert gate.refusal(gate.origins[0].partition("//")[2], gate.origins[0], own_page_only=True) is None


def _web_request(data: bytes) -> None:
    """Host, Origin, and a token, as a browser or somebody else may send them."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    host, origin, token = [*lines, "", "", ""][:3]
    gate = Gate("secret", ("http://127.0.0.1:8000", "http://localhost:8000"))
    refusal = gate.refusal(host, origin or None, own_page_only=False)
    assert refusal is not None or host.lower() in ("127.0.0.1:8000", "localhost:8000")
    assert gate.fits(token) == (token == "secret")


class _Session:
    """A session's process, and the websocket to its terminal: what they are told is what may be said."""

    async def send_bytes(self, data: bytes) -> None:
        assert len(data) <= 4 * MESSAGE_LIMIT_BYTES

    async def set_terminal_size(self, width: int, height: int) -> None:
        assert 20 <= width <= 1000
        assert 5 <= height <= 500

    async def send_json(self, answer: Any) -> None:
        assert len(json.dumps(answer)) < 1024

    async def blur(self) -> None: ...

    async def focus(self) -> None: ...


def _websocket(data: bytes) -> None:
    session: Any = _Session()
    coroutine = obey(data.decode("utf-8", "replace"), session, session)
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


def _connect(data: bytes) -> None:
    """The first packet of a connection, in two pieces."""

    async def read() -> tuple[int, bytes]:
        channel = Channel()
        Wire(channel)
        channel.data_received(data[: len(data) // 2])
        channel.data_received(data[len(data) // 2 :])
        channel.eof_received()
        return await channel.first_packet()

    try:
        checked = packets.parse_connect(*asyncio.run(read()))
    except (packets.BadPacket, packets.Refused) as error:
        check_sentence(error)
        return
    assert topics.valid_name(checked.client)
    assert 1 <= checked.keepalive_seconds <= packets.KEEPALIVE_LIMIT_SECONDS
    assert checked.will is None or not set("+#\0") & set(checked.will.topic)
    assert checked.password is None or checked.user is not None


def _packets(data: bytes) -> None:
    """A session with another client there, which reads now and then, and what is left of both at the end."""

    async def live() -> None:
        router, budget = Router(OpenAccess()), ByteBudget()
        other = Client(router, "other", budget=budget)
        assert other.subscribe("#", "vmq/v1/+/stats", qos=1)[0] == 1
        client = Client(router, "fuzzed", budget=budget, will=packets.Will("will", b"gone", 1, True))
        sent = answered = 0
        for at in range(0, len(data), 1000):
            other.wire.blocked = at % 3 == 1
            client.channel.data_received(data[at : at + 1000])
            while client.channel._turn is not None:  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0)
            for one in other.messages():
                if one.qos:
                    other.acknowledge(one.packet_id)
                sent += 1
            answered += sum(1 for first, _ in client.wire.take() if first >> 4 in _ANSWERS)
        client.channel.eof_received()
        ended = await client.channel.ended
        if ended.why:
            check_sentence(ended.why)
        client.leave()
        other.wire.blocked = False
        other.wire.read()
        sent += len(other.messages())
        other.leave()
        assert budget.seen_bytes == 0
        assert not router.sessions
        assert not router._subscriptions._of_filter
        assert sent + other.session.outbox.skipped >= (client.session.will is not None)
        assert answered <= len(data) // 2

    asyncio.run(live())


_ANSWERS: Final = (4, 9, 11, 13)  # PUBACK, SUBACK, UNSUBACK, PINGRESP


class _Kept(logging.Handler):
    """Formats every record in both ways."""

    def emit(self, record: logging.LogRecord) -> None:
        line = JsonForm().format(record)
        assert line.isascii()
        assert "\n" not in line
        json.loads(line)
        line = TextForm().format(record)
        assert line.isascii()
        assert line.isprintable()


def _log_line(data: bytes) -> None:
    log = logging.Logger("fuzz")
    log.addHandler(_Kept())
    relayed(log, data)


def _connects() -> list[bytes]:
    def text(value: bytes) -> bytes:
        return len(value).to_bytes(2, "big") + value

    plain = b"\0\4MQTT\4\2\0\x0a" + text(b"client-1")
    full = b"\0\4MQTT\4\xc6\0\x0a" + text(b"c") + text(b"a/b") + text(b"will") + text(b"me") + text(b"secret")
    return [bytes((0x10, len(body))) + body for body in (plain, full)]


def _packet_seeds() -> list[bytes]:
    topic = b"\0\x0evmq/v1/h/stats"
    bodies = {0x30: topic + b"payload", 0x32: topic + b"\0\1x", 0x40: b"\0\1", 0x82: b"\0\1" + topic + b"\1"}
    bodies |= {0xA2: b"\0\1" + topic, 0xC0: b"", 0xE0: b""}
    whole = [bytes((first, len(body))) + body for first, body in bodies.items()]
    return [*whole, b"".join(whole)]


TARGETS: Final = {
    "topic": Target(_topic, lambda: [b"vmq/v1/hv01/stats", b"vmq/v1/hv01/request/c", b"vmq/v1/h/response/c"]),
    "access": Target(
        _access, lambda: [b"vmq/v1/hv01/request/c", b"vmq/v1/+/response/c", b"vmq/v1/#", b"vmq/v1/hv01/stats"]
    ),
    "url": Target(_url, lambda: [b"mqtt://me:pass%40@host:1883", b"mqtts://[::1]:8883/"]),
    "address": Target(
        _address, lambda: [b"127.0.0.1:8000", b"[::1]:0", b"https://name.example:8443/", b"h:" + b"9" * 5000]
    ),
    "connect": Target(_connect, _connects),
    "packets": Target(_packets, _packet_seeds),
    "web_request": Target(
        _web_request,
        lambda: [b"127.0.0.1:8000\nhttp://localhost:8000\nsecret", b"localhost:8000\n\nx"],
        form=LINES,
    ),
    "websocket": Target(
        _websocket,
        lambda: [
            b'["stdin", "q"]',
            b'["resize", {"width": 80, "height": 24}]',
            b'["ping", "1"]',
            b'["blur"]',
        ],
        form=JSON,
    ),
    "log_line": Target(
        _log_line,
        lambda: [b'{"level": "info", "event": "client_gone", "client": "c", "pid": 3, "why": "x"}'],
        form=JSON,
    ),
}
"""By name."""
