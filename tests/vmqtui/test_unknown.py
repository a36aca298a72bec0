"""Cells that a measured host does not know: shown as unknown wherever a reading is shown, and never as 0."""

import re
from collections.abc import Mapping
from random import Random
from types import NoneType
from typing import TypeVar, get_args

import msgspec
import pytest

from engine.bus.codec import decode
from engine.bus.errors import BadMessage
from engine.bus.messages import Status
from engine.telemetry.config import Config
from engine.telemetry.packing import pack_delta, pack_key, unpack_delta, unpack_key
from engine.telemetry.stats import Cell, Stats
from engine.view.rates import CounterTable
from tests.slow import slow_but
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.scripted import SECOND, ScriptedHost, live_link, make_config, make_stats
from vmqtui.actions import VIEWS
from vmqtui.columns import COLUMNS
from vmqtui.export.exposition import host_samples
from vmqtui.state.snapshot import Snapshot

S = TypeVar("S", bound=msgspec.Struct)

_IDENTITY = ("id", "generation")
_LINUX = (*_IDENTITY, "steered_frames", "steered_bytes", "received_frames", "interrupts")
"""About what a Linux driver tells of a ring."""


def without(stats: Stats, kept: tuple[str, ...]) -> Stats:
    """The reading with every cell unknown, but for those of the columns ``kept``."""

    def cells(table: Mapping[str, list[Cell]]) -> dict[str, list[Cell]]:
        return {name: column if name in kept else [None] * len(column) for name, column in table.items()}

    def single(counters: Mapping[str, Cell]) -> dict[str, Cell]:
        return dict.fromkeys(counters)

    adapters = {
        name: msgspec.structs.replace(
            one,
            port=single(one.port),
            queues=cells(one.queues),
            filters=cells(one.filters),
            freed=single(one.freed),
            default_queue=single(one.default_queue),
            default_queue_top=None,
        )
        for name, one in stats.adapters.items()
    }
    return msgspec.structs.replace(stats, cpus=cells(stats.cpus), adapters=adapters)


@pytest.mark.parametrize("kept", slow_but([_LINUX], [_IDENTITY, _LINUX]), ids=["nothing known", "linux"])
async def test_every_view_shows_unknown_cells_and_no_zero(dashboard: Running, kept: tuple[str, ...]) -> None:
    async with dashboard(live_link()) as (app, pilot, link):
        for seq in range(1, 60):
            link.publish("hv01", stats=without(make_stats(seq), kept))
            app.draw_now()
        for number, view in enumerate(VIEWS, 1):
            await pilot.press(str(number))
            await pilot.pause()
            lines = screen_text(app).splitlines()
            assert (
                "≥1.09M pkt/s  ≥5.42 Gbit/s" if kept == _LINUX else "     – pkt/s      – Gbit/s"
            ) in lines[1]
            if view != "advice":
                busy = [line for line in lines if " web-01 " in line]
                assert all("–" in line for line in busy), view
                assert not any(re.search(r" 0(\.0+)? |[^\d.]0%", line) for line in busy), view


def test_unknown_cells_are_exported_as_nothing() -> None:
    stats = without(make_stats(8), _LINUX)
    lines = [
        line for one in (host_samples("hv01", _view(stats), filters=True) or {}).values() for line in one
    ]
    assert any(line.startswith('vmq_queue_steered_frames_total{host="hv01"') for line in lines)
    assert not [line for line in lines if line.startswith(("vmq_queue_dropped", "vmq_port", "vmq_cpu_busy"))]
    assert not [line for line in lines if "None" in line]


def _view(stats: Stats) -> ScriptedHost:
    status = Status(state="online", version="0.1.0", started_at=0.0, interval_ns=SECOND // 4)
    return ScriptedHost(status=status, config=make_config(), stats=stats)


def test_a_recording_keeps_unknown_cells() -> None:
    first, second = (without(make_stats(seq), _LINUX) for seq in (7, 8))
    assert _same(unpack_key(pack_key(first)), first)
    delta = pack_delta(first, second)
    assert delta is not None
    assert _same(unpack_delta(first, delta), second)
    assert pack_delta(first, make_stats(8)) is None  # its cells became known: a key frame


def _same(one: Stats, other: Stats) -> bool:
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def test_a_message_may_have_unknown_cells_but_no_row_without_an_id() -> None:
    message = msgspec.to_builtins(without(make_stats(8), _LINUX))
    assert message["adapters"]["nic0"]["queues"]["dropped_no_buffer"][0] is None
    assert _same(decode(Stats, msgspec.msgpack.encode(message)), msgspec.convert(message, Stats))
    message["adapters"]["nic0"]["queues"]["generation"][3] = None
    with pytest.raises(BadMessage, match="a row without generation"):
        decode(Stats, msgspec.msgpack.encode(message))


_SET = ("base_processor", "max_processor", "max_processors", "preferred_numa_node")
_MAY_BE_NONE = ("vm", "team", "team_mode", "home_cpu", "vmq", *_SET)
"""Of what may be None in a configuration: None has a meaning there, or an older writer sends it."""
_OF_KNOWN_PLACES = {("cpus", "queues"), ("cpus", "queue_names"), ("cpus", "backlog"), ("cpus", "drops")}
"""Columns over the queues that are known to be on a processor; of others it is not known."""


def _may_be_unknown(kind: type[msgspec.Struct]) -> list[str]:
    """The fields of a configuration that may be None because they are not known."""
    fields = msgspec.structs.fields(kind)
    return [one.name for one in fields if NoneType in get_args(one.type) and one.name not in _MAY_BE_NONE]


def _forget(config: Config, pick: Random, share: float) -> Config:
    """The configuration with a share of what may be unknown unknown."""

    def less(one: S) -> S:
        names = [name for name in _may_be_unknown(type(one)) if pick.random() < share]
        return msgspec.structs.replace(one, **dict.fromkeys(names))

    adapters = [
        msgspec.structs.replace(less(one), queues=list(map(less, one.queues))) for one in config.adapters
    ]
    return msgspec.structs.replace(less(config), adapters=adapters, cpus=list(map(less, config.cpus)))


def _hide(stats: Stats, seed: int, share: float) -> Stats:
    """The reading with a share of its cells unknown: the same cells for the same seed."""

    def table(columns: Mapping[str, list[Cell]], name: str) -> dict[str, list[Cell]]:
        pick = Random(f"{seed} {name}")
        hidden = {
            key: [None if pick.random() < share else one for one in cells] for key, cells in columns.items()
        }
        return hidden | {key: columns[key] for key in _IDENTITY if key in columns}

    def single(counters: Mapping[str, Cell], name: str) -> dict[str, Cell]:
        cells = table({key: [one] for key, one in counters.items()}, name)
        return {key: one for key, (one,) in cells.items()}

    adapters = {
        name: msgspec.structs.replace(
            one,
            port=single(one.port, "port"),
            queues=table(one.queues, "queues"),
            filters=table(one.filters, "filters"),
            default_queue=single(one.default_queue, "reasons"),
        )
        for name, one in stats.adapters.items()
    }
    return msgspec.structs.replace(stats, cpus=table(stats.cpus, "cpus"), adapters=adapters)


def _all_received(seq: int) -> Stats:
    """A reading whose queues received every frame, so that frames received stand for those steered."""
    stats = make_stats(seq)
    adapters = {
        name: msgspec.structs.replace(
            one, queues=one.queues | {"received_frames": one.queues["steered_frames"]}
        )
        for name, one in stats.adapters.items()
    }
    return msgspec.structs.replace(stats, adapters=adapters)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_of_what_is_known_in_part_every_column_has_the_same_value_or_none(seed: int, share: float) -> None:
    config, before, now = make_config(), _all_received(20), _all_received(40)
    whole = Snapshot("hv01", None, config, now, before)
    pick = Random(seed)
    known, known_before = (_hide(one, seed, share) for one in (now, before))
    part = Snapshot("hv01", None, _forget(config, pick, share), known, known_before)
    for table, columns in COLUMNS.items():
        rows = {row.identity: row for row in whole.rows(table)}
        for row in part.rows(table):
            for column in columns:
                written, _ = column.cell(row, 12)
                assert "None" not in written, (table, column.key)
                column.sort_key(row)
                value, expected = column.value(row), column.value(rows[row.identity])
                if value is not None and column.is_measure and (table, column.key) not in _OF_KNOWN_PLACES:
                    assert value == pytest.approx(expected), (table, column.key)


def test_a_total_with_an_unknown_part_is_unknown() -> None:
    table = CounterTable({"id": [1, 2], "drops": [5, None]}, {"id": [1, 2], "drops": [1, None]}, 1.0)
    assert (table.rate("drops", 0), table.rate("drops", 1), table.total_rate("drops")) == (4, None, None)
