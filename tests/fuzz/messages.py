"""What comes over MQTT: each message as its reader takes it, and what is made of it then."""

import re
from functools import cache
from typing import Any, Final

import msgspec

from engine.bus import codec
from engine.bus.errors import BadMessage
from engine.bus.messages import Response, Status
from engine.bus.request_queue import AnswerCache
from engine.measure.host import MeasuredHost
from engine.measure.twin import make_twin
from engine.ndis.host import Host
from engine.ndis.outcome import Outcome
from engine.scenario.load import loads
from engine.scenario.model import Scenario
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from tests import measured
from tests.export.lab import NOW, Known
from tests.fuzz.mutate import MESSAGE, STREAM
from tests.fuzz.target import Target, check_sentence
from tests.ndis.lab import Buffers
from tests.vmqtui.scripted import EVENTS, VMS, ScriptedHost, ScriptedLink, make_config, make_stats
from vmqtui.columns import COLUMNS
from vmqtui.columns.column import ordered
from vmqtui.columns.export import as_csv
from vmqtui.export.exposition import exposition
from vmqtui.printable import is_plain
from vmqtui.state.model import Model
from vmqtui.state.placement import forecast
from vmqtui.state.snapshot import Snapshot

_SAMPLE: Final = re.compile(r'vmq_\w+(\{(\w+="([^"\\\n]|\\[\\"n])*",?)*\})? (-?[\d.]+(e[+-]?\d+)?|-?inf|nan)')
FEW: Final = VMS[:3]
NOUNS: Final = ("adapters", "queues", "filters", "buffers", "cpus", "ports")


def check_tables(snapshot: Snapshot) -> None:
    """Make every table of a snapshot, its cells, its order and its export."""
    rows = {noun: snapshot.rows(noun, None) for noun in NOUNS}
    rows |= {"hosts": (snapshot.host_row,), "events": snapshot.event_rows}
    for noun, several in rows.items():
        columns = COLUMNS[noun]
        for row in several:
            for column in columns:
                text = column.text(row)
                assert is_plain(text), f"{noun}.{column.key}: {text!r}"
                column.cell(row, column.width)
        for column in columns:
            ordered(several, column)
        as_csv(columns, several)
    for queue in snapshot.queues[:3]:
        for cpu in snapshot.cpus[:3]:
            forecast(snapshot, queue, cpu.cpu)


MEASURED: Final = measured.linux()


def _check_shown(stats: Stats, config: Config, first: Stats, last: Stats) -> None:
    """Put a reading between two others before the model, and look at what it shows then, and of the past."""
    link = ScriptedLink(connection="connected")
    host = link.views["hv01"] = ScriptedHost(status=Status(state="online"), config=config)
    model = Model(link, "hv01")
    for reading in (first, stats, last):
        host.stats = reading
        model.take()
        check_tables(model.snapshot)
    model.reset_deltas()
    model.pause()
    for by in (-1, -1, 1):
        if model.step(by):
            check_tables(model.snapshot)


def check_exposition(stats: Stats, config: Config) -> None:
    """What Prometheus would be given of a host that says this is well formed, line by line."""
    known = Known()
    known.add("hv01", stats, config)
    for line in exposition(known.as_watcher, NOW, filters=True).splitlines():
        assert line.startswith("# ") or _SAMPLE.fullmatch(line), line


def check_twin(host: MeasuredHost) -> None:
    """Make the twin of a host: a scenario that loads, whatever its numbers, and sentences to show."""
    twin = make_twin(host)
    for sentence in (*twin.remarks, *twin.unknown):
        check_sentence(sentence)


def _stats(data: bytes) -> None:
    try:
        decoded = codec.decode(Stats, data)
    except BadMessage:
        return
    is_model = "nic0" in decoded.adapters
    config = make_config(FEW) if is_model else MEASURED.config
    first, last = (make_stats(1, FEW), make_stats(9, FEW)) if is_model else MEASURED.readings[::3]
    check_tables(Snapshot("hv01", None, config, decoded, first, EVENTS))
    _check_shown(decoded, config, first, last)
    check_exposition(decoded, config)
    check_twin(MeasuredHost("fuzz", config, [first, decoded]))


def _configuration(data: bytes) -> None:
    try:
        decoded = codec.decode(Config, data)
    except BadMessage:
        return
    is_model = any(one.name == "nic0" for one in decoded.adapters)
    first, now, last = (make_stats(seq, FEW) for seq in (1, 2, 9)) if is_model else MEASURED.readings[1:]
    check_tables(Snapshot("hv01", None, decoded, now, first, EVENTS))
    _check_shown(now, decoded, first, last)
    check_exposition(now, decoded)
    check_twin(MeasuredHost("fuzz", decoded, [first, now, last]))


def _small_messages(data: bytes) -> None:
    for kind in (Status, Event, Response):
        try:
            decoded = codec.decode(kind, data)  # type: ignore[type-var]  # a message of any kind
        except BadMessage:
            continue
        if isinstance(decoded, Status):
            check_tables(Snapshot("hv01", decoded))
        elif isinstance(decoded, Event):
            check_tables(Snapshot("hv01", events=(decoded,)))


@cache
def _few_queues() -> Scenario:
    queue = '[[adapter.queue]]\nname = "a"\nvm = "a"\ncpu = 1\n'
    return loads(f'[host]\ncpus = 2\n[[adapter]]\nname = "nic0"\n{queue}', "lab.toml")


def _answer(outcome: Outcome, id: str) -> bytes:
    return codec.encode(
        Response(
            id=id,
            status=outcome.status,
            ndis_status=str(outcome.ndis_status),
            message=outcome.message,
            result=outcome.result,
        )
    )


def _requests(data: bytes) -> None:
    """A client's requests, one after the other, to one host: each answered, none half done."""
    host, plane, answers = Host(_few_queues()), Buffers(), AnswerCache(total_limit_bytes=65_536)
    plane.carry_out(host.start())
    try:
        several = STREAM.read(data)[:32]
        payloads = [msgspec.msgpack.encode(one) for one in several]
    except Exception:
        payloads = [data]
    for payload in payloads:
        try:
            asked = codec.decode_request(payload)
        except codec.BadRequest as error:
            answers.begin("c", error.id, error.fingerprint)
            continue
        except BadMessage:
            continue
        if answers.begin("c", asked.id, codec.fingerprint(asked)) != "new":
            continue
        before = host.revision
        outcome = host.apply(asked.op, asked.params, plane)
        assert outcome.status == "ok" or (host.revision == before and not outcome.effects)
        plane.carry_out(tuple(one for one in outcome.effects if _of_buffers(one)))
        assert outcome.message.isprintable(), outcome.message
        answers.finish("c", asked.id, _answer(outcome, asked.id))
    if host.revision > 1:
        check_tables(Snapshot("hv01", None, _config_of(host), make_stats(2, FEW), make_stats(1, FEW), ()))


def _of_buffers(effect: object) -> bool:
    return type(effect).__module__ == "engine.ndis.effects" and type(effect).__name__ not in _NOT_OF_BUFFERS


_NOT_OF_BUFFERS: Final = ("SetTraffic", "SetLink")


def _config_of(host: Host) -> Config:
    from engine.telemetry.snapshot import config_of

    return codec.decode(Config, codec.encode(config_of(host)))


def requests() -> list[tuple[str, dict[str, Any]]]:
    """One of every kind of request, all of which are carried out."""
    return [
        ("allocate_queue", {"name": "b", "vm": "b", "cpu": 1, "buffers": 8}),
        ("set_filter", {"queue_id": 2, "mac": "00:15:5d:00:00:09", "vlan": 10}),
        ("complete_allocation", {"queue_ids": [2]}),
        ("set_queue_parameters", {"queue_id": 1, "cpu": 0, "buffers": 4, "name": "c"}),
        ("set_traffic", {"seed": 1, "mix": []}),
        ("set_adapter", {"link_gbps": 40.0, "max_queues": 60}),
        ("pause_vm", {"vm": "a"}),
        ("resume_vm", {"vm": "a"}),
        ("enum_queues", {}),
        ("enum_filters", {"queue_id": 2}),
        ("query_queue", {"queue_id": 1}),
        ("query_filter", {"queue_id": 2, "filter_id": 1}),
        ("query_capabilities", {}),
        ("query_traffic", {}),
        ("clear_filter", {"queue_id": 2, "filter_id": 1, "what_if": True}),
        ("free_queue", {"queue_id": 1}),
        ("migrate_vm", {"vm": "b"}),
        ("remove_vm", {"vm": "a", "driver": "vsp", "adapter": "nic0"}),
        ("ping", {}),
    ]


def _request_seeds() -> list[bytes]:
    payloads = [
        msgspec.msgpack.encode({"id": str(number), "op": op, "params": params})
        for number, (op, params) in enumerate(requests())
    ]
    return [*payloads, b"".join(payloads)]


TARGETS: Final = {
    "requests": Target(_requests, _request_seeds, form=STREAM),
    "stats": Target(
        _stats,
        lambda: [codec.encode(one) for one in (make_stats(2, FEW), MEASURED.readings[1])],
        form=MESSAGE,
    ),
    "configuration": Target(
        _configuration,
        lambda: [codec.encode(one) for one in (make_config(FEW), MEASURED.config)],
        form=MESSAGE,
    ),
    "small_messages": Target(
        _small_messages,
        lambda: [
            codec.encode(Status(state="online", version="0.1.0")),
            *map(codec.encode, EVENTS),
            codec.encode(Response(id="1", status="ok", ndis_status="NDIS_STATUS_SUCCESS")),
        ],
        form=MESSAGE,
    ),
}
"""By name."""
