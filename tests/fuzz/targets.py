"""Every decoder of bytes from outside, as a function that takes any bytes and raises only what it found.

A refusal that the decoder's docstring names is no finding; neither is a sentence that can be shown. Anything
else that comes out of ``Target.run`` is.
"""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.bus import codec, packets, topics
from engine.bus.errors import BadMessage, BadUrl
from engine.bus.messages import Response, Status
from engine.bus.urls import BrokerUrl
from engine.ndis.host import Host
from engine.scenario.load import ScenarioError, load, loads
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.packing import PackingError
from engine.telemetry.recording.form import RecordingError
from engine.telemetry.recording.reader import Recording
from engine.telemetry.recording.writer import Recorder
from engine.telemetry.stats import Stats
from engine.traffic.capture import CaptureError
from tests.ndis.lab import Buffers
from tests.traffic import captures
from tests.traffic.reading import read_bytes
from tests.vmqtui.scripted import EVENTS, VMS, make_config, make_stats
from vmqtui.columns import COLUMNS
from vmqtui.preferences.load import PreferencesError, load_preferences
from vmqtui.state.snapshot import Snapshot
from vmqtui.theme import read_theme, themes_directory

FEW: Final = VMS[:3]
NOUNS: Final = ("adapters", "queues", "filters", "buffers", "cpus", "ports")


@dataclass(frozen=True)
class Target:
    """A decoder: ``run`` raises findings; ``seeds`` are inputs it takes, for mutations to start from."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


@cache
def _room() -> tuple["tempfile.TemporaryDirectory[str]", Path]:
    directory = tempfile.TemporaryDirectory(prefix="vmq-fuzz-")
    return directory, Path(directory.name)


def _file(data: bytes, name: str) -> Path:
    path = _room()[1] / name
    path.write_bytes(data)
    return path


def _shown(error: Exception) -> None:
    sentence = str(error)
    assert sentence, "a refusal without a word"
    assert sentence.isprintable(), f"a sentence that could move a cursor: {sentence!r}"
    assert len(sentence) < 4096, "a sentence without an end"


def scenario(data: bytes) -> None:
    try:
        load(_file(data, "scenario.toml"))
    except ScenarioError as error:
        _shown(error)


def config(data: bytes) -> None:
    try:
        load_preferences(_file(data, "config.toml"))
    except PreferencesError as error:
        _shown(error)


def keymap(data: bytes) -> None:
    config(b"[keymap]\n" + data)


def theme(data: bytes) -> None:
    try:
        read_theme(_file(data, "theme.toml"))
    except ValueError as error:
        _shown(error)


def capture(data: bytes) -> None:
    try:
        read_bytes(data, _room()[1])
    except CaptureError as error:
        _shown(error)


def recording(data: bytes) -> None:
    try:
        with Recording(_file(data, "recording")) as opened:
            for host, index in opened.hosts.items():
                for number in range(len(index.offsets)):
                    opened.stats(host, number)
                for kind, places in index.messages.items():
                    for place in range(len(places)):
                        opened.message(host, kind, place)
    except (RecordingError, PackingError) as error:
        _shown(error)


@cache
def _few_queues() -> Any:
    queue = '[[adapter.queue]]\nname = "a"\nvm = "a"\ncpu = 1\n'
    return loads(f'[host]\ncpus = 2\n[[adapter]]\nname = "nic0"\n{queue}', "lab.toml")


def request(data: bytes) -> None:
    try:
        asked = codec.decode_request(data)
    except BadMessage:
        return
    codec.fingerprint(asked)
    host, plane = Host(_few_queues()), Buffers()
    plane.carry_out(host.start())
    before = host.revision
    outcome = host.apply(asked.op, asked.params, plane)
    assert outcome.status == "ok" or (host.revision == before and not outcome.effects)
    codec.encode(
        Response(
            id=asked.id,
            status=outcome.status,
            ndis_status=str(outcome.ndis_status),
            message=outcome.message,
            result=outcome.result,
        )
    )


def _tables(snapshot: Snapshot) -> None:
    rows = [(noun, snapshot.rows(noun, None)) for noun in NOUNS]
    for noun, several in [*rows, ("hosts", (snapshot.host_row,))]:
        for row in several:
            for column in COLUMNS[noun]:
                text = column.text(row)
                assert text.isprintable(), f"{noun}.{column.key}: {text!r}"
                column.cell(row, column.width)
                column.sort_key(row)


def stats(data: bytes) -> None:
    try:
        decoded = codec.decode(Stats, data)
    except BadMessage:
        return
    _tables(Snapshot("hv01", None, make_config(FEW), decoded, make_stats(1, FEW), EVENTS))


def configuration(data: bytes) -> None:
    try:
        decoded = codec.decode(Config, data)
    except BadMessage:
        return
    _tables(Snapshot("hv01", None, decoded, make_stats(2, FEW), make_stats(1, FEW), EVENTS))


def small_messages(data: bytes) -> None:
    for kind in (Status, Event, Response):
        try:
            decoded = codec.decode(kind, data)  # type: ignore[type-var]
        except BadMessage:
            continue
        if isinstance(decoded, Status):
            _tables(Snapshot("hv01", decoded))
        elif isinstance(decoded, Event):
            for row in Snapshot("hv01", events=(decoded,)).event_rows:
                for column in COLUMNS["events"]:
                    assert column.text(row).isprintable()


def topic(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = topics.split_telemetry(text)
    assert found is None or topics.valid_name(found[0])
    for kind in ("request", "response"):
        client = topics.client_of(text, "hv01", kind)
        assert client is None or text == f"vmq/v1/hv01/{kind}/{client}"
    host = topics.host_of_response(text, "c")
    assert host is None or text == f"vmq/v1/{host}/response/c"


def url(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        parsed = BrokerUrl.parse(text)
    except BadUrl as error:
        _shown(error)
        return
    assert BrokerUrl.parse(parsed.with_password()) == parsed


def connect(data: bytes) -> None:
    async def read() -> bytes:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await packets.read_packet(reader, packets.CONNECT_LIMIT_BYTES, only=packets.CONNECT)

    try:
        checked = packets.check_connect(asyncio.run(read()))
    except (packets.BadPacket, packets.Refused) as error:
        _shown(error)
        return
    assert topics.valid_name(checked.client)
    again = packets.check_connect(checked.packet)
    assert (again.client, again.keepalive_seconds) == (checked.client, 0)


def publish(data: bytes) -> None:
    async def read() -> list[bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        whole = []
        while packet := await packets.read_packet(reader, 1 << 20):
            whole.append(packet)
        return whole

    try:
        for packet in asyncio.run(read()):
            packets.publish_topic_fits(packet)
    except packets.BadPacket as error:
        _shown(error)


def _scenario_seeds() -> list[bytes]:
    import engine.scenario

    shipped = (Path(engine.scenario.__file__).parent / "default.toml").read_bytes()
    small = b'[host]\ncpus = 2\n[[adapter]]\nname = "nic0"\n[[adapter.queue]]\nvm = "a"\n'
    return [shipped, small + b'[[adapter.queue.filter]]\nmac = "00:15:5d:00:00:01"\nvlan = 10\n']


def _theme_seeds() -> list[bytes]:
    directory = themes_directory()
    return [path.read_bytes() for path in sorted(directory.glob("*.toml"))[:2]] if directory else []


def _capture_seeds() -> list[bytes]:
    frames = [captures.frame(ns * 1000, captures.ethernet(vlan=ns)) for ns in range(1, 5)]
    forms = [captures.pcap(frames, order=order, magic=magic) for order in "<>" for magic in _MAGICS]
    return [*forms, *captures_ng(frames)]


_MAGICS: Final = (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)


def captures_ng(frames: list[captures.Frame]) -> list[bytes]:
    """pcapng files of the same frames, in both byte orders."""
    files = []
    for order in "<>":
        file = captures.section(order) + captures.interface(order)
        for one in frames:
            file += captures.enhanced(one.ns, one.data, order=order)
        files.append(file + captures.simple(frames[0].data, order=order))
    return files


def _recording_seeds() -> list[bytes]:
    path = _room()[1] / "whole"
    with Recorder(path, limit_bytes=1 << 30, replace=True) as recorder:
        recorder.message("hv01", "status", codec.encode(Status(state="online")))
        recorder.message("hv01", "config", codec.encode(make_config(FEW)))
        for seq in range(1, 6):
            recorder.reading("hv01", make_stats(seq, FEW))
        recorder.message("hv01", "event", codec.encode(EVENTS[0]))
    return [path.read_bytes()]


def _requests() -> list[bytes]:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("allocate_queue", {"name": "b", "vm": "b", "cpu": 1, "buffers": 8}),
        ("set_filter", {"queue_id": 1, "mac": "00:15:5d:00:00:09", "vlan": 10, "what_if": True}),
        ("set_queue_parameters", {"queue_id": 1, "cpu": 0}),
        ("set_traffic", {"traffic": {"seed": 1, "mix": []}}),
        ("complete_allocation", {"queue_ids": [1]}),
        ("free_queue", {"queue_id": 1}),
        ("query_capabilities", {}),
        ("migrate_vm", {"vm": "a"}),
    ]
    return [msgspec.msgpack.encode({"id": "1", "op": op, "params": params}) for op, params in asked]


def _connects() -> list[bytes]:
    def text(value: bytes) -> bytes:
        return len(value).to_bytes(2, "big") + value

    plain = b"\0\4MQTT\4\2\0\x0a" + text(b"client-1")
    full = b"\0\4MQTT\4\xc6\0\x0a" + text(b"c") + text(b"a/b") + text(b"will") + text(b"me") + text(b"secret")
    return [bytes((0x10, len(body))) + body for body in (plain, full)]


def _publishes() -> list[bytes]:
    body = b"\0\3a/b" + b"payload"
    return [bytes((0x30, len(body))) + body + b"\xe0\0", b"\xc0\0"]


TARGETS: Final[Mapping[str, Target]] = {
    "scenario": Target(scenario, _scenario_seeds),
    "config": Target(
        config,
        lambda: [
            b'theme = "light"\ninterval_s = 0.5\n[keymap]\nundo = ["U", "ctrl+z"]\n',
            b'[columns.queues-table]\nshow = ["total_buffers"]\nhide = ["share"]\n[thresholds]\n'
            b"load_warn = 0.6\n",
        ],
    ),
    "keymap": Target(keymap, lambda: [b'undo = "u"\nmove_queue = ["m", "f5"]\n', b'quit = ""\n']),
    "theme": Target(theme, _theme_seeds),
    "capture": Target(capture, _capture_seeds),
    "recording": Target(recording, _recording_seeds),
    "request": Target(request, _requests),
    "stats": Target(stats, lambda: [codec.encode(make_stats(2, FEW))]),
    "configuration": Target(configuration, lambda: [codec.encode(make_config(FEW))]),
    "small_messages": Target(
        small_messages,
        lambda: [
            codec.encode(Status(state="online", version="0.1.0")),
            *map(codec.encode, EVENTS),
            codec.encode(Response(id="1", status="ok", ndis_status="NDIS_STATUS_SUCCESS")),
        ],
    ),
    "topic": Target(topic, lambda: [b"vmq/v1/hv01/stats", b"vmq/v1/hv01/request/c", b"vmq/v1/h/response/c"]),
    "url": Target(url, lambda: [b"mqtt://me:pass%40@host:1883", b"mqtts://[::1]:8883/"]),
    "connect": Target(connect, _connects),
    "publish": Target(publish, _publishes),
}
"""By the name that the programs of this folder take."""


def check_seeds(name: str) -> None:
    """Run a target over its own seeds."""
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)
