"""Packed readings: what comes out is what went in, whatever the counters did; damage is told, not shown."""

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.telemetry import packing
from engine.telemetry.packing import PackingError, pack_delta, pack_key, unpack_delta, unpack_key
from engine.telemetry.stats import AdapterStats, Stats, TopPairs
from tests.vmqtui.scripted import make_stats

VMS = [(f"vm-{n}", f"vm-{n}", n % 8, 100 + 7 * n) for n in range(1024)]
COUNTER = st.integers(0, 2**64 - 1)


def same(one: Stats, other: Stats) -> bool:
    """Equal in every value, and in the order of columns."""
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def stats_of(draw_columns: list[list[int]], seq: int) -> Stats:
    names = ["id", "steered_frames", "received_frames", "dropped_no_buffer", "strange"]
    queues = dict(zip(names, draw_columns, strict=True))
    port = {"offered_frames": draw_columns[1][0] if draw_columns[1] else 0}
    adapter = AdapterStats(port=port, queues=queues, filters={}, freed={}, default_queue={})
    return Stats(seq=seq, sim_time_ns=seq, time_ns=seq, revision=1, cpus={}, adapters={"nic0": adapter})


def columns(rows: int) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(COUNTER, min_size=rows, max_size=rows), min_size=5, max_size=5)


@given(st.integers(0, 5).flatmap(lambda rows: st.tuples(columns(rows), columns(rows))))
def test_a_delta_gives_back_any_counters_or_is_refused(pair: tuple[list[list[int]], list[list[int]]]) -> None:
    before, now = stats_of(pair[0], 1), stats_of(pair[1], 2)
    packed = pack_delta(before, now)
    if packed is not None:
        assert same(unpack_delta(before, packed), now)


def test_neighbouring_readings_pack_small_and_come_back_whole() -> None:
    before, now = make_stats(40, VMS), make_stats(41, VMS)
    packed = pack_delta(before, now)
    assert packed is not None
    assert len(packed) < len(msgspec.msgpack.encode(now)) / 4
    assert same(unpack_delta(before, packed), now)


def test_pairs_of_the_default_queue_come_back_whether_they_changed_or_not() -> None:
    before, now = make_stats(40), make_stats(41)
    adapter = now.adapters["nic0"]
    pairs = adapter.default_queue_top
    assert pairs is not None
    others = msgspec.structs.replace(pairs, mac=["00:00:00:00:00:01", *pairs.mac[1:]])
    for top in (pairs, others, None):
        changed = msgspec.structs.replace(adapter, default_queue_top=top)
        reading = msgspec.structs.replace(now, adapters={"nic0": changed})
        for one, other in ((before, reading), (reading, now)):
            packed = pack_delta(one, other)
            assert packed is not None
            assert same(unpack_delta(one, packed), other)


def test_a_delta_keeps_all_that_a_reading_says_beside_its_tables() -> None:
    before = make_stats(1)
    odd = {one.name: 77 for one in msgspec.structs.fields(Stats) if one.type is int}
    now = msgspec.structs.replace(before, **odd, real_time_ratio=0.25)
    packed = pack_delta(before, now)
    assert packed is not None
    assert same(unpack_delta(before, packed), now)


def test_a_delta_keeps_all_that_an_adapter_says_beside_its_tables() -> None:
    before, now = make_stats(1), make_stats(2)
    top = TopPairs(mac=["02:00:00:00:00:01"], vlan=["untagged"], reason=["no_queue"], frames=[7], error=[2])
    adapter = msgspec.structs.replace(now.adapters["nic0"], default_queue_top=top)
    now = msgspec.structs.replace(now, adapters={"nic0": adapter})
    packed = pack_delta(before, now)
    assert packed is not None
    assert same(unpack_delta(before, packed), now)


def test_a_key_stands_alone() -> None:
    stats = make_stats(3)
    assert same(unpack_key(pack_key(stats)), stats)


@pytest.mark.parametrize(
    "other",
    [
        make_stats(2, VMS[:5]),
        make_stats(2, VMS[:6], adapters=("nic1",)),
        make_stats(2, VMS[:6], adapters=("nic0", "nic1")),
        make_stats(2, VMS[:6], cpus=4),
    ],
    ids=["fewer queues", "another adapter", "more adapters", "fewer processors"],
)
def test_other_rows_need_a_key(other: Stats) -> None:
    assert pack_delta(make_stats(1, VMS[:6]), other) is None


def test_growth_beyond_64_bits_needs_a_key() -> None:
    small, large = stats_of([[0]] * 5, 1), stats_of([[2**64 - 1]] * 5, 2)
    assert pack_delta(small, large) is None


def test_a_delta_that_is_larger_than_a_message_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pack_delta(make_stats(1), make_stats(2)) is not None
    monkeypatch.setattr(packing, "LIMIT_BYTES", 100)
    assert pack_delta(make_stats(1), make_stats(2)) is None


@pytest.mark.parametrize("cut", [0, 1, 9, -1])
def test_a_cut_delta_is_told(cut: int) -> None:
    before, now = make_stats(1), make_stats(2)
    packed: Any = pack_delta(before, now)
    with pytest.raises(PackingError):
        unpack_delta(before, packed[:cut])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reading_or_an_error_in_words(data: bytes) -> None:
    for packed in (data, zlib.compress(data)):
        with pytest.raises(PackingError):
            unpack_key(packed)
        with pytest.raises(PackingError):
            unpack_delta(make_stats(1), packed)


def test_a_delta_on_other_rows_is_told() -> None:
    packed: Any = pack_delta(make_stats(1), make_stats(2))
    with pytest.raises(PackingError):
        unpack_delta(make_stats(1, VMS[:40], cpus=1), packed)


def test_what_claims_to_be_huge_is_not_unpacked() -> None:
    with pytest.raises(PackingError, match="more than"):
        unpack_key(zlib.compress(bytes(65 << 20)))
