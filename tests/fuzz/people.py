"""What people type, and what an engine answers to them: queries, dialogs' fields, command lines."""

import contextlib
import io
import tomllib
from functools import cache
from typing import Any, Final

import msgspec
import typer.main
from typer.exceptions import TyperException

from engine.bus import codec
from engine.bus.errors import BadMessage
from engine.bus.messages import Response, Status
from engine.ndis.operations import decode
from engine.ndis.outcome import NdisError
from engine.scenario.load import ScenarioError
from engine.service.compare.comparison import MAX_RUNS, Plan, SweepError, axis, runs_of
from engine.traffic.capture_file import capture_file
from tests.fuzz.messages import FEW
from tests.fuzz.mutate import LINES, MESSAGE
from tests.fuzz.target import Target, check_sentence
from tests.vmqtui.scripted import EVENTS, make_config, make_stats
from vmqtui.cli.failures import CommandError
from vmqtui.cli.output import print_result
from vmqtui.cli.program import app
from vmqtui.cli.traffic import print_traffic, scaled
from vmqtui.columns import COLUMNS
from vmqtui.columns.arrange import parse
from vmqtui.printable import is_plain
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks import filters, host_changes, queues, traffic
from vmqtui.tasks.foresight import foretold
from vmqtui.tasks.task import Ending, Step, Task, refusal
from vmqtui.tasks.undo import change_of

_TABLES: Final = ("queues", "filters", "cpus", "ports", "adapters", "buffers", "hosts", "events")


@cache
def _snapshot() -> Snapshot:
    status = Status(state="online")
    return Snapshot("hv01", status, make_config(FEW), make_stats(2, FEW), make_stats(1, FEW), EVENTS)


def _query(data: bytes) -> None:
    """The first byte names the table, the rest is typed."""
    noun = _TABLES[data[0] % len(_TABLES)] if data else "queues"
    query = parse(data[1:].decode("utf-8", "replace"), COLUMNS[noun])
    if query.problem:
        assert len(query.problem) < 1024
    rows: Any = _snapshot().event_rows if noun == "events" else ()
    if noun == "hosts":
        rows = (_snapshot().host_row,)
    elif not rows:
        rows = _snapshot().rows(noun, None)
    for row in rows:
        assert query.matches(row) in (True, False)


@cache
def all_tasks() -> tuple[Task, ...]:
    """Every dialog there is, over one snapshot."""
    snapshot = _snapshot()
    assert snapshot.config is not None
    settings = snapshot.config.adapters[0]
    queue = snapshot.queues[1]
    given = {
        "seed": 1,
        "mix": [{"adapter": "nic0", "rate_pps": 1000, "flow": [{"mac": "00:15:5d:00:00:01"}]}],
    }
    now = traffic.received(
        Response(id="1", status="ok", ndis_status="", result={"source": "synthetic", "traffic": given}),
        ["nic0"],
    )
    assert not isinstance(now, str)
    return (
        queues.new_queue(settings, lambda: snapshot),
        queues.edit_queue(queue),
        queues.complete_queue(queue),
        queues.free_queue(queue),
        filters.set_filter(queue),
        filters.clear_filter(snapshot.filters[0], queue),
        host_changes.set_adapter(settings),
        traffic.set_rate(now, 0),
        traffic.edit_traffic(now),
        host_changes.change_vm(host_changes.known_vms(snapshot.config)[0], "migrate"),
    )


def _fields(data: bytes) -> None:
    """A dialog is filled in, a line a field, and its requests are read as the engine would."""
    task = all_tasks()[data[0] % len(all_tasks()) if data else 0]
    lines = data[1:].decode("utf-8", "replace").split("\0")
    values: dict[str, Any] = {}
    try:
        for number, field in enumerate(task.fields):
            text = lines[number] if number < len(lines) else field.value
            values[field.key] = field.check(field.value if field.choices else text)
        for step in task.plan(values):
            if step.foresee is not None:
                decode(step.op, step.foresee)
                msgspec.msgpack.encode(step.foresee)
    except ValueError as error:
        check_sentence(error)
    except NdisError as error:
        check_sentence(error.message)


_LAB: Final = """
[[adapter]]
[[adapter.port]]
vm = "a"
mac = "00:15:5d:00:00:01"
[[adapter.queue]]
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:02"
[[traffic.mix]]
rate_pps = 1
flow = [{ kind = "broadcast" }]
"""
_TYPED: Final = {
    "vm": "a",
    "name": "a",
    "mac": "00:15:5d:00:00:01",
    "vlan": "10",
    "base_processor": "0:1",
    "max_processor": "0:3",
    "max_processors": "2",
    "preferred_numa_node": "0",
}


def _answers(data: bytes) -> None:
    """An engine, or who speaks as one, answers whatever it likes to everything that is asked."""
    try:
        response = codec.decode(Response, data)
    except BadMessage:
        return
    for task in all_tasks():
        values = {field.key: field.check(field.value or _TYPED[field.key]) for field in task.fields}
        done: list[tuple[Step, Response]] = []
        for step in task.plan(values):
            refusal(step, response)
            words = foretold(step, response).words
            assert is_plain(words)
            assert len(words) < 1 << 20
            with contextlib.suppress(KeyError, TypeError, ValueError):  # as the dialog does
                step.params({one.key: response for one, _ in done})
            done.append((step, response))
        change_of(Ending("", tuple(done)), "hv01", 0.0, 0.0)
    now = traffic.received(response, ["nic0"])
    if not isinstance(now, str):
        for number, mix in enumerate(now.mixes):
            assert len(traffic.mix_words(mix)) < 4096
            traffic.set_rate(now, number)
        traffic.edit_traffic(now)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        print_result(response)
        with contextlib.suppress(CommandError):
            print_traffic(response)
        with contextlib.suppress(CommandError):
            scaled(response, {"rate_pps": 1.0})
    assert is_plain(said.getvalue().replace("\n", ""))


@cache
def _program() -> Any:
    return typer.main.get_command(app)


def _sweep(data: bytes) -> None:
    """A line a key to vary, of a scenario with one of everything."""
    try:
        axes = [axis(line) for line in data.decode("utf-8", "replace").split("\n")[:4]]
        plans, capture = [Plan("lab", tomllib.loads(_LAB))], capture_file("x.pcap")
        runs = runs_of(plans, axes, capture=capture, adapter=None, seconds=1.0)
    except (SweepError, ScenarioError) as error:
        check_sentence(error)
        return
    assert 0 < len(runs) <= MAX_RUNS


def _command_line(data: bytes) -> None:
    """A command line is read as far as can be without carrying it out."""
    words = data.replace(b"\0", b"").decode("utf-8", "surrogateescape").split("\n")
    command, context = _program(), None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            while True:
                name = getattr(command, "name", "") or "vmqtui"
                context = command.make_context(name, words, parent=context)
                if not hasattr(command, "resolve_command"):
                    break
                words = [*getattr(context, "_protected_args", ()), *context.args]
                if not words:
                    break
                _, command, words = command.resolve_command(context, words)
    except (TyperException, typer.Exit):
        return


def _lines(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def _answer_seeds() -> list[bytes]:
    queue = {"queue_id": 2, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 8, "outstanding": 3}
    flow = {"mac": "00:15:5d:00:00:01", "weight": 1}
    mix = {"adapter": "nic0", "rate_pps": 1000, "pattern": "steady", "flow": [flow]}
    results: list[dict[str, Any]] = [
        {"queue_id": 2},
        {"filter_id": 3, "steering": {"sentence": "frames go to queue 2 instead of queue 1", "moved": []}},
        {"queues": [queue, queue]},
        {"source": "synthetic", "traffic": {"seed": 1, "mix": [mix]}},
        {"filters": [{"filter_id": 1, "mac": "00:15:5d:00:00:01", "vlan": 10}]},
    ]
    answers = [
        Response(id="1", status="ok", ndis_status="NDIS_STATUS_SUCCESS", result=one) for one in results
    ]
    refused = Response(
        id="1", status="error", ndis_status="NDIS_STATUS_RESOURCES", message="queue_id: 9 is not"
    )
    return [*map(codec.encode, answers), codec.encode(refused)]


def _column_words() -> list[str]:
    return [column.key for noun in _TABLES for column in COLUMNS[noun]]


TARGETS: Final = {
    "query": Target(
        _query,
        lambda: [b"\0web drops>0", b'\0vm:"sql 1" load>=80%', b"\x01!state:running", b"\x02pps<1.5k"],
        words=_column_words,
    ),
    "fields": Target(
        _fields,
        lambda: [
            b"\0vm\0name\x003\x00512\x0000:15:5d:00:00:01\x0010",
            b"\x01name\x00512",
            b"\x0400:15:5d:00:00:01\0untagged",
            b"\x0610\x0064\x00128\0on",
            b"\x071000\0pkt/s\0steady\x0032",
            b"\x08[traffic]\nseed = 2\nmix = []\n",
        ],
    ),
    "sweep": Target(
        _sweep,
        lambda: [
            b"cpu.moderation_us=10,50\nadapter[0].queue[0].filter.vlan=7",
            b'adapter.name="a","b"\nhost.hyperthreading=true,false',
        ],
    ),
    "answers": Target(_answers, _answer_seeds, form=MESSAGE),
    "command_line": Target(
        _command_line,
        lambda: [
            _lines("queue", "set", "1", "--cpu", "5", "--what-if"),
            _lines("filter", "set", "1", "00:15:5d:00:00:01", "--vlan", "10", "--broker", "mqtt://h"),
            _lines("bench", "--seconds", "2", "--cpus", "1", "--json"),
            _lines("get", "queues", "--adapter", "nic0"),
            _lines("--read-only", "--theme", "dark"),
            _lines("record", "x", "--max-mb", "1", "--at-limit", "keep-newest"),
        ],
        form=LINES,
    ),
}
"""By name."""
