import contextlib
import re
import subprocess
import sys
import tracemalloc
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.advice.finding import Advice, Finding
from engine.advice.finding import Request as Fix
from engine.bus import codec
from engine.bus.errors import BadMessage
from engine.bus.messages import Request, Response, Status
from engine.ndis import counters
from engine.scenario.keys import MAX_ADAPTERS, MAX_CPUS, MAX_FILTERS, MAX_QUEUES
from engine.telemetry.bounds import (
    MAX_CELLS,
    MAX_COLUMNS,
    MAX_DEPTH,
    MAX_FILTER_ROWS,
    MAX_PORT_ROWS,
    MAX_PORTS,
    MAX_QUEUE_ROWS,
    MAX_VALUES,
    NAME_CHARACTERS,
    WORDS_CHARACTERS,
)
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.shape import check_values
from engine.telemetry.stats import Stats
from tests.bus.conftest import make_config, make_stats

MESSAGES = [
    (make_stats(3), "vmq.stats/1"),
    (make_config("h"), "vmq.config/1"),
    (Status(state="online"), "vmq.status/1"),
    (Event(seq=1, sim_time_ns=2, time_ns=3, event="queue_freed"), "vmq.event/1"),
    (Request(id="a", op="ping"), "vmq.request/1"),
    (Response(id="a", status="ok", ndis_status="NDIS_STATUS_SUCCESS"), "vmq.response/1"),
]


@pytest.mark.parametrize(("message", "schema"), MESSAGES)
def test_every_message_is_a_map_that_carries_its_schema(message: Any, schema: str) -> None:
    read = msgpack.unpackb(codec.encode(message))
    assert read["schema"] == schema
    assert all(isinstance(key, str) for key in read)


def test_unknown_keys_are_ignored() -> None:
    payload = msgpack.packb({"state": "online", "colour": {"deep": [1, 2]}, "schema": "vmq.status/1"})
    assert codec.decode(Status, payload).state == "online"
    request = msgpack.packb({"id": "1", "op": "ping", "params": {"a": 1}, "more": [1]})
    assert codec.decode_request(request) == Request(id="1", op="ping", params={"a": 1})


def test_a_message_of_the_wrong_shape_or_size_is_refused_with_a_reason() -> None:
    with pytest.raises(BadMessage, match="state"):
        codec.decode(Status, msgpack.packb({"state": "asleep"}))
    with pytest.raises(BadMessage, match="at most 16777216"):
        codec.decode(Stats, bytes((16 << 20) + 1))


NESTED = msgpack.packb({"id": "1", "op": "x"})[1:]
DEEP = b"\x91" * 100_000 + b"\xc0"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"garbage",
        msgpack.packb([1, 2]),
        msgpack.packb({"op": "ping"}),
        msgpack.packb({"id": 5, "op": "ping"}),
        msgpack.packb({"id": b"a", "op": "ping"}),
        msgpack.packb({"id": "ä" * 33, "op": "ping"}),
        msgpack.packb({"id": "a", "op": "ping"}) + b"\x00",
        b"\x81\xa2id\xa2\xff\xfe",
        b"\x83" + NESTED + b"\xa1z" + DEEP,
        bytes((1 << 20) + 1),
    ],
)
def test_a_request_that_names_no_id_cannot_be_decoded(payload: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        codec.decode_request(payload)
    assert not isinstance(caught.value, codec.BadRequest)


@pytest.mark.parametrize(
    ("request_map", "field"),
    [
        ({"id": "a"}, "op"),
        ({"id": "a", "op": 7}, "op"),
        ({"id": "a", "op": "x", "params": [1]}, "params"),
        ({"id": "a", "op": "x", "params": {1: 2}}, "params"),
    ],
)
def test_a_request_with_an_id_can_be_told_what_is_wrong(request_map: dict[str, Any], field: str) -> None:
    with pytest.raises(codec.BadRequest, match=f"^{field}") as caught:
        codec.decode_request(msgpack.packb(request_map))
    assert caught.value.id == "a"


def test_params_that_are_nested_too_deeply_are_an_error_and_no_crash() -> None:
    with pytest.raises(BadMessage, match="nested too deeply"):
        codec.decode_request(b"\x83" + NESTED + b"\xa6params\x81\xa1a" + DEEP)


def test_an_id_of_64_bytes_is_taken() -> None:
    assert codec.decode_request(msgpack.packb({"id": "ä" * 32, "op": "ping"})).id == "ä" * 32


def test_the_fingerprint_knows_values_but_not_the_order_of_keys() -> None:
    first = codec.fingerprint(Request(id="1", op="x", params={"a": 1, "b": {"c": 2, "d": 3}}))
    assert first == codec.fingerprint(Request(id="2", op="x", params={"b": {"d": 3, "c": 2}, "a": 1}))
    assert first != codec.fingerprint(Request(id="1", op="x", params={"a": 1, "b": {"c": 2, "d": 4}}))
    assert first != codec.fingerprint(Request(id="1", op="y", params={"a": 1, "b": {"c": 2, "d": 3}}))


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
NESTED_VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 9), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["id", "op", "params", "x"]), NESTED_VALUES))
def test_any_map_is_a_request_or_an_error(request_map: dict[str, Any]) -> None:
    with contextlib.suppress(BadMessage):
        request = codec.decode_request(msgpack.packb(request_map))
        assert request.id == request_map["id"]
        assert len(codec.fingerprint(request)) == 16


@given(st.binary())
def test_any_bytes_are_a_message_or_an_error(payload: bytes) -> None:
    for kind in (Status, Stats, Event, Response):
        with contextlib.suppress(BadMessage):
            codec.decode(kind, payload)  # type: ignore[type-var]  # a message of any kind
    with contextlib.suppress(BadMessage):
        codec.fingerprint(codec.decode_request(payload))


@pytest.mark.parametrize(
    ("kind", "message", "bound"),
    [
        (Stats, {"cpus": {"id": list(range(MAX_CPUS + 1))}}, MAX_CPUS),
        (Stats, {"cpus": {str(number): [] for number in range(MAX_COLUMNS + 1)}}, MAX_COLUMNS),
        (Stats, {"adapters": {"a": {"queues": {"id": [0] * (MAX_QUEUES + 2)}}}}, MAX_QUEUES + 1),
        (Stats, {"adapters": {"a": {"filters": {"id": [0] * (MAX_FILTERS + 1)}}}}, MAX_FILTERS),
        (Stats, {"adapters": {str(number): {} for number in range(MAX_ADAPTERS + 1)}}, MAX_ADAPTERS),
        (Config, {"cpus": [{}] * (MAX_CPUS + 1)}, MAX_CPUS),
        (Config, {"adapters": [{"queues": [{}] * (MAX_QUEUES + 2)}]}, MAX_QUEUES + 1),
        (Config, {"adapters": [{"name": "x" * (NAME_CHARACTERS + 1)}]}, NAME_CHARACTERS),
        (Event, {"cause": "x" * (WORDS_CHARACTERS + 1)}, WORDS_CHARACTERS),
        (Status, {"version": "x" * (NAME_CHARACTERS + 1)}, NAME_CHARACTERS),
    ],
)
def test_more_rows_columns_or_characters_than_any_host_has_are_refused(
    kind: Any, message: dict[str, Any], bound: int
) -> None:
    with pytest.raises(BadMessage, match=f"length <= {bound} "):
        codec.decode(kind, msgpack.packb(message))


def adapters(number: int, **table: Any) -> dict[str, dict[str, Any]]:
    return {str(adapter): table for adapter in range(number)}


@pytest.mark.parametrize(
    ("kind", "message", "refusal"),
    [
        (
            Stats,
            {"adapters": adapters(9, queues={"id": [0] * MAX_QUEUES})},
            f"{9 * MAX_QUEUES} queues of all adapters (at most {MAX_QUEUE_ROWS})",
        ),
        (
            Stats,
            {"adapters": adapters(5, filters={"id": [0] * MAX_FILTERS})},
            f"{5 * MAX_FILTERS} filters of all adapters (at most {MAX_FILTER_ROWS})",
        ),
        (
            Stats,
            {"adapters": adapters(2, queues={str(n): [0] * (MAX_CELLS // 500) for n in range(255)})},
            "cells of all adapters",
        ),
        (
            Stats,
            {"adapters": adapters(MAX_ADAPTERS, default_queue_top={"frames": [0] * (MAX_CELLS // 128)})},
            "cells of all adapters",
        ),
        (
            Config,
            {"adapters": [{"queues": [{}] * MAX_QUEUES}] * 9},
            f"{9 * MAX_QUEUES} queues of all adapters (at most {MAX_QUEUE_ROWS})",
        ),
        (
            Config,
            {"adapters": [{"filters": [{}] * MAX_FILTERS}] * 5},
            f"{5 * MAX_FILTERS} filters of all adapters (at most {MAX_FILTER_ROWS})",
        ),
        (
            Config,
            {"adapters": [{"ports": [{}] * MAX_PORTS}] * 3},
            f"{3 * MAX_PORTS} ports of all adapters (at most {MAX_PORT_ROWS})",
        ),
        (Config, {"cpu_model": {"x": [0] * (1 << 20)}}, "settings of 1048584 bytes (at most 65536)"),
        (Config, {"balancer": {"x": "y" * 70_000}}, "settings of "),
    ],
)  # fmt: skip
def test_more_rows_or_cells_of_all_adapters_than_can_be_shown_are_refused(
    kind: Any, message: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(BadMessage, match=re.escape(refusal)):
        codec.decode(kind, msgpack.packb(message))


def test_a_message_of_too_many_cells_is_refused_before_they_are_built() -> None:
    columns = {str(column): [70_000] * MAX_QUEUES for column in range(255)}
    payload = msgpack.packb({"adapters": adapters(3, queues=columns)})
    assert len(payload) > codec.MESSAGE_LIMIT_BYTES * 3 // 4
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage, match="cells of all adapters"):
            codec.decode(Stats, payload)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 1 << 20


def packed_map(*items: tuple[str, Any]) -> bytes:
    """A map as MessagePack, whose keys may be repeated; values of bytes are packed already."""
    parts = [msgpack.Packer().pack_map_header(len(items))]
    for key, value in items:
        parts += [msgpack.packb(key), value if isinstance(value, bytes) else msgpack.packb(value)]
    return b"".join(parts)


COLUMN = [70_000] * 400
MANY_COLUMNS = {str(column): COLUMN for column in range(255)}
ONE_QUEUE = {"id": [0]}
ADAPTER_TWICE = packed_map(("a", {"queues": MANY_COLUMNS}), ("a", {"queues": ONE_QUEUE}))
QUEUES_TWICE = packed_map(("queues", MANY_COLUMNS), ("queues", ONE_QUEUE))
TOP_TWICE = packed_map(
    ("default_queue_top", MANY_COLUMNS), ("queues", ONE_QUEUE), ("default_queue_top", None)
)
COLUMN_TWICE = packed_map(*[("id", COLUMN)] * 200)
MANY_KEYS = {f"{key:x}": 0 for key in range(1 << 16)}
REPEATS = "a map that repeats a key"
TOO_MANY_KEYS = "a map of 65536 keys (at most 256)"


@pytest.mark.parametrize(
    ("kind", "payload", "refusal"),
    [
        (Stats, packed_map(("cpus", MANY_COLUMNS), ("cpus", {})), REPEATS),
        (Stats, packed_map(("adapters", {"a": {"queues": MANY_COLUMNS}}), ("adapters", {})), REPEATS),
        (Stats, packed_map(("adapters", ADAPTER_TWICE)), REPEATS),
        (Stats, packed_map(("adapters", packed_map(("a", QUEUES_TWICE)))), REPEATS),
        (Stats, packed_map(("adapters", packed_map(("a", TOP_TWICE)))), REPEATS),
        (
            Stats,
            packed_map(("adapters", packed_map(("a", packed_map(("queues", COLUMN_TWICE)))))),
            REPEATS,
        ),
        (
            Config,
            packed_map(("adapters", [{"queues": [{}] * MAX_QUEUES}] * 9), ("adapters", [])),
            REPEATS,
        ),
        (
            Config,
            b"\x81" + msgpack.packb("adapters") + b"\x91"
            + packed_map(("ports", [{}] * MAX_PORTS), ("ports", [])),
            REPEATS,
        ),
        (Config, packed_map(("cpu_model", {"x": "y" * 70_000}), ("cpu_model", {})), REPEATS),
        (Stats, msgpack.packb(MANY_KEYS), TOO_MANY_KEYS),
        (Stats, msgpack.packb({"adapters": {"a": {"filters": MANY_KEYS}}}), TOO_MANY_KEYS),
        (Config, packed_map(("adapters", [{}] * (1 << 16))), "65,536 adapters (at most 256)"),
    ],
    ids=[
        "processors", "adapters", "an adapter", "queues", "pairs", "a column", "adapters of a configuration",
        "ports", "settings", "many keys", "many columns", "many adapters",
    ],
)  # fmt: skip
def test_maps_that_repeat_a_key_or_have_too_many_are_refused_before_they_are_built(
    kind: Any, payload: bytes, refusal: str
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage, match=re.escape(refusal)):
            codec.decode(kind, payload)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 1 << 20


def test_a_large_message_may_have_keys_that_this_version_does_not_know() -> None:
    later = msgspec.msgpack.decode(codec.encode(make_stats(1))) | {"later": {str(n): n for n in range(9999)}}
    payload = msgpack.packb(later)
    assert codec.decode(Stats, payload).seq == 1


def test_a_host_of_the_largest_adapter_can_be_read() -> None:
    queues = {name: [1 << 62] * (MAX_QUEUES + 1) for name in counters.names(counters.QUEUE)}
    filters = {"id": list(range(MAX_FILTERS)), "matched_frames": [1 << 62] * MAX_FILTERS}
    stats = make_stats(1)
    largest = msgspec.structs.replace(stats.adapters["nic0"], queues=queues, filters=filters)
    stats = msgspec.structs.replace(stats, adapters={"nic0": largest})
    assert codec.decode(Stats, codec.encode(stats)).adapters["nic0"].filters == filters


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Stats, {"seq": -1}),
        (Stats, {"time_ns": -1}),
        (Stats, {"time_ns": 1 << 63}),
        (Stats, {"real_time_ratio": float("nan")}),
        (Config, {"cpus": [{"id": -1}]}),
        (Config, {"adapters": [{"link_gbps": float("inf")}]}),
        (Event, {"sim_time_ns": -5}),
        (Status, {"started_at": float("-inf")}),
        (Status, {"interval_ns": -1}),
    ],
)
def test_numbers_that_no_host_has_are_refused(kind: Any, message: dict[str, Any]) -> None:
    with pytest.raises(BadMessage, match=r"Expected `(int|float)` [<>]= "):
        codec.decode(kind, msgpack.packb(message))


def answer(result: Any) -> bytes:
    return codec.encode(Response(id="a", status="ok", ndis_status="NDIS_STATUS_SUCCESS", result=result))


def advice(params: dict[str, Any]) -> bytes:
    finding = Finding(
        rule="r",
        severity="bad",
        adapter="nic0",
        key="k",
        where="w",
        says="s",
        numbers={},
        cause="c",
        fix="f",
        requests=[Fix(op="set_filter", params=params)],
        measure="m",
    )
    return codec.encode(Advice(sim_time_ns=0, time_ns=0, revision=0, findings=[finding]))


@pytest.mark.parametrize(("kind", "message"), [(Response, answer), (Advice, advice)])
def test_messages_of_any_content_are_bounded_in_values_and_depth(kind: Any, message: Any) -> None:
    with pytest.raises(BadMessage, match=f"more than {MAX_VALUES} values"):
        codec.decode(kind, message({"all": [{}] * MAX_VALUES}))
    with pytest.raises(BadMessage, match=f"more than {MAX_VALUES} values"):
        codec.decode(kind, message({"all": [[0, 0, 0]] * (MAX_VALUES // 4)}))
    deep: list[Any] = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    with pytest.raises(BadMessage, match=f"nested more than {MAX_DEPTH} deep"):
        codec.decode(kind, message({"deep": deep}))


def test_the_answer_with_the_most_filters_there_can_be_is_read() -> None:
    filters = [{"filter_id": n, "queue_id": 1, "mac": f"{n:012x}", "vlan": None} for n in range(MAX_FILTERS)]
    read = codec.decode(Response, answer({"filters": filters}))
    assert read.result["filters"] == filters


IN_A_CHILD = """
import resource, sys
from engine.bus import codec
from engine.bus.errors import BadMessage
from engine.bus.messages import Response
begin, one, count = eval(sys.stdin.readline())
payload = begin + one * count
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    codec.decode(Response, payload)
except BadMessage:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no resource module")
@pytest.mark.parametrize("one", [b"\x80", b"\x90", b"\x81\xa1a\x00", b"\xcb" + bytes(8)])
def test_an_answer_of_15_mib_takes_no_more_memory_than_its_bytes(one: bytes) -> None:
    count = (15 << 20) // len(one)
    begin = b"\x84\xa2id\xa1a\xa6status\xa2ok\xabndis_status\xa1s\xa6result\x81\xa1a\xdd" + count.to_bytes(
        4, "big"
    )
    child = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD],
        input=repr((begin, one, count)),
        capture_output=True,
        text=True,
        check=True,
    )
    grown_bytes = int(child.stdout) * (1 if sys.platform == "darwin" else 1024)
    assert grown_bytes < 15 << 20


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def count_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(count_of(one) for one in (*value.keys(), *value.values()))
    return 1 + sum(map(count_of, value)) if isinstance(value, list) else 1


@given(VALUES)
def test_values_are_counted_as_a_decoder_builds_them(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.telemetry.shape.MAX_VALUES", count_of(value))
        check_values(msgpack.packb(value))
        patch.setattr("engine.telemetry.shape.MAX_VALUES", count_of(value) - 1)
        if isinstance(value, list | dict) and value:
            with pytest.raises(ValueError, match="more than"):
                check_values(msgpack.packb(value))
