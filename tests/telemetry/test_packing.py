"""Packed readings: what comes out is what went in, whatever the counters did; damage is told, not shown."""

import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bus.codec import decode, encode
from engine.measure.host import MeasuredHost
from engine.scenario.keys import MAX_ADAPTERS, MAX_FILTERS
from engine.telemetry import packing
from engine.telemetry.bounds import MAX_CELLS
from engine.telemetry.packing import LIMIT_BYTES, PackingError, pack_delta, pack_key, unpack_delta, unpack_key
from engine.telemetry.stats import AdapterStats, Cell, Columns, Source, Stats, TopPairs
from tests import measured
from tests.vmqtui.scripted import make_stats

VMS = [(f"vm-{n}", f"vm-{n}", n % 8, 100 + 7 * n) for n in range(1024)]
COUNTER = st.integers(0, 2**64 - 1)


def same(one: Stats, other: Stats) -> bool:
    """Equal in every value, and in the order of columns."""
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def stats_of(draw_columns: list[list[int]], seq: int) -> Stats:
    names = ["id", "steered_frames", "received_frames", "dropped_no_buffer", "strange"]
    queues: Columns = {name: [*column] for name, column in zip(names, draw_columns, strict=True)}
    port: dict[str, int | None] = {"offered_frames": draw_columns[1][0] if draw_columns[1] else 0}
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


class Shape(NamedTuple):
    """An adapter's rows: of queues, of filters, and the MACs of its default queue's pairs, if it tells."""

    queues: int
    filters: int
    macs: tuple[str, ...] | None


ROWS = st.integers(0, 2)
SHAPES = st.builds(Shape, ROWS, ROWS, st.none() | st.sampled_from([(), ("aa",), ("bb",), ("aa", "bb")]))
HOSTS = st.dictionaries(st.sampled_from(["nic0", "nic1", "nic2"]), SHAPES, min_size=1)


@st.composite
def adapter_stats(draw: st.DrawFn, shape: Shape) -> AdapterStats:
    number = st.integers(0, 300)

    def column(length: int) -> list[int | None]:
        return draw(st.lists(number, min_size=length, max_size=length))

    top, macs = None, shape.macs
    if macs is not None:
        count = len(macs)
        reasons, frames, errors = ["broadcast"] * count, column(count), column(count)
        top = TopPairs(mac=list(macs), vlan=[10] * count, reason=reasons, frames=frames, error=errors)
    return AdapterStats(
        port={"offered_frames": draw(number)},
        queues={name: column(shape.queues) for name in ("id", "generation", "steered_frames")},
        filters={name: column(shape.filters) for name in ("id", "matched_frames")},
        freed={"steered_frames": draw(number)},
        default_queue={"broadcast": draw(number)},
        default_queue_top=top,
        interface={"kernel_received_frames": 7} if draw(st.booleans()) else None,
    )


@st.composite
def readings(draw: st.DrawFn) -> list[Stats]:
    """Readings in turn of up to three adapters; now and then adapters, queues, filters or pairs change."""
    hosts = draw(st.lists(HOSTS, min_size=1, max_size=2))
    found = []
    for seq in range(draw(st.integers(2, 5))):
        host = draw(st.sampled_from(hosts))
        each = {name: draw(adapter_stats(shape)) for name, shape in host.items()}
        found.append(
            Stats(seq=seq, sim_time_ns=seq, time_ns=seq, revision=1, cpus={"id": [0]}, adapters=each)
        )
    return found


@settings(deadline=None)
@given(readings())
def test_readings_of_several_adapters_come_back_whatever_changed_between_them(found: list[Stats]) -> None:
    for before, now in pairwise(found):
        packed = pack_delta(before, now)
        if packed is not None:
            assert same(unpack_delta(before, packed), now)


def shaken(stats: Stats, numbers: Random, unknown: Random) -> Stats:
    """The reading with other cells, some of them unknown, and other sources."""

    def cell() -> Cell:
        number = numbers.choice((0, numbers.randrange(300), numbers.randrange(1 << 40)))
        return None if unknown.random() < 0.4 else number

    def table(columns: Columns) -> Columns:
        fixed = ("id", "generation")
        return {
            name: column if name in fixed else [cell() for _ in column] for name, column in columns.items()
        }

    def sources(names: Iterable[str]) -> dict[str, Source] | None:
        kinds: list[Source] = ["exact", "derived", "guessed"]
        told = {name: numbers.choice(kinds) for name in names if numbers.random() < 0.3}
        return told if numbers.random() < 0.8 else None

    adapters = {
        name: msgspec.structs.replace(
            one,
            port={key: cell() for key in one.port},
            queues=table(one.queues),
            filters=table(one.filters),
            freed={key: cell() for key in one.freed},
            default_queue={key: cell() for key in one.default_queue},
            sources=sources(one.queues),
        )
        for name, one in stats.adapters.items()
    }
    return msgspec.structs.replace(
        stats, cpus=table(stats.cpus), adapters=adapters, sources=sources(stats.cpus)
    )


@settings(deadline=None)
@given(st.integers(), st.integers(0, 99), st.booleans())
def test_unknown_cells_and_sources_come_back_wherever_they_are(
    number: int, seed: int, same_cells: bool
) -> None:
    first, second = measured.linux(2).readings
    numbers = Random(number)
    before = shaken(first, numbers, Random(seed))
    now = shaken(second, numbers, Random(seed if same_cells else seed + 1))
    for one in (before, now):
        assert same(unpack_key(pack_key(one)), one)
        assert same(decode(Stats, encode(one)), one)
    packed = pack_delta(before, now)
    assert (packed is not None) is (unknown_of(before) == unknown_of(now))
    if packed is not None:
        assert same(unpack_delta(before, packed), now)


def unknown_of(stats: Stats) -> list[bool]:
    """Whether each cell is unknown, in order."""
    columns = [*stats.cpus.values()]
    for adapter in stats.adapters.values():
        columns += [[*table.values()] for table in (adapter.port, adapter.freed, adapter.default_queue)]
        columns += [*adapter.queues.values(), *adapter.filters.values()]
    return [cell is None for column in columns for cell in column]


@pytest.mark.parametrize("host", [measured.linux(5), measured.windows(5)], ids=["linux", "windows"])
def test_readings_of_a_measured_host_pack_small(host: MeasuredHost) -> None:
    for before, now in pairwise(host.readings):
        packed = pack_delta(before, now)
        assert packed is not None
        assert len(packed) < len(encode(now)) / 4
        assert same(unpack_delta(before, packed), now)


def adapter_of(frames: int, queues: int = 1, mac: str = "00:00:00:00:00:01") -> AdapterStats:
    top = TopPairs(mac=[mac], vlan=[10], reason=["broadcast"], frames=[frames], error=[0])
    return AdapterStats(
        port={"offered_frames": frames},
        queues={"id": list(range(queues)), "steered_frames": [frames] * queues},
        filters={"id": [1], "matched_frames": [frames // 3]},
        freed={"steered_frames": frames // 7},
        default_queue={"broadcast": frames},
        default_queue_top=top,
    )


def host_of(seq: int, *adapters: AdapterStats, names: str = "abc") -> Stats:
    each = dict(zip(names, adapters, strict=False))
    return Stats(seq=seq, sim_time_ns=seq, time_ns=seq, revision=1, cpus={"id": [0]}, adapters=each)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("mac", ["00:00:00:00:00:01", "00:00:00:00:00:02"], ids=["same pair", "another pair"])
def test_counters_of_each_of_several_adapters_are_its_own(count: int, mac: str) -> None:
    before = host_of(1, *(adapter_of(10 * (3**place), queues=place + 1) for place in range(count)))
    now = host_of(2, *(adapter_of(25 * (7**place), queues=place + 1, mac=mac) for place in range(count)))
    packed = pack_delta(before, now)
    assert packed is not None
    assert same(unpack_delta(before, packed), now)


def test_a_queue_that_came_or_went_on_any_adapter_needs_a_key() -> None:
    before = host_of(1, adapter_of(10), adapter_of(30, queues=2))
    for queues in (1, 3):
        assert pack_delta(before, host_of(2, adapter_of(25), adapter_of(75, queues=queues))) is None


def test_adapters_in_another_order_need_a_key() -> None:
    before = host_of(1, adapter_of(10), adapter_of(30))
    assert pack_delta(before, host_of(2, adapter_of(75), adapter_of(25), names="ba")) is None


def test_a_delta_that_holds_more_than_its_reading_is_damaged() -> None:
    before = host_of(1, adapter_of(10), adapter_of(30))
    packed: Any = pack_delta(before, host_of(2, adapter_of(25), adapter_of(75)))
    delta = msgspec.msgpack.decode(zlib.decompress(packed))
    for more in ({"kinds": delta["kinds"] + b"\0"}, {"planes": delta["planes"] + b"\0"}):
        longer = zlib.compress(msgspec.msgpack.encode(delta | more))
        with pytest.raises(PackingError, match="more columns"):
            unpack_delta(before, longer)


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


def most_memory(unpack: Callable[[], object], refusal: str) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(PackingError, match=refusal):
            unpack()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_reading_of_more_cells_than_a_message_may_have_is_not_unpacked() -> None:
    wide = msgspec.structs.replace(
        adapter_of(1), filters={str(column): [70] * MAX_FILTERS for column in range(200)}
    )
    packed = pack_key(host_of(1, wide))
    assert len(packed) < 1 << 20
    assert most_memory(lambda: unpack_key(packed), "cells of all adapters") < 2 * LIMIT_BYTES


def test_what_a_delta_holds_beside_its_tables_is_bounded() -> None:
    before = host_of(1, adapter_of(1))
    packed: Any = pack_delta(before, host_of(2, adapter_of(2)))
    delta = msgspec.msgpack.decode(zlib.decompress(packed))
    pairs = {name: [1] * (MAX_CELLS // 1000) for name in ("vlan", "frames", "error", "mac", "reason")}
    for adapters, refusal in (
        ([{}] * (1 << 20), "1,048,576 adapters"),
        ([{"default_queue_top": pairs}] * MAX_ADAPTERS, "cells of all adapters"),
    ):
        large = zlib.compress(msgspec.msgpack.encode(delta | {"adapters": adapters}))
        # Mypy infers no lambda with defaults.
        most_bytes = most_memory(lambda data=large: unpack_delta(before, data), refusal)  # type: ignore[misc]
        assert most_bytes < 2 * LIMIT_BYTES


def test_what_claims_to_be_huge_is_not_unpacked() -> None:
    with pytest.raises(PackingError, match="more than"):
        unpack_key(zlib.compress(bytes(65 << 20)))
