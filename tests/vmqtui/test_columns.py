"""The column registry: what the screen and ``vmqtui get`` print from."""

import json
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ndis.adapter import DEFAULT_DRIVER
from engine.ndis.counters import QUEUE, QUEUE_GAUGES, names
from engine.telemetry.stats import AdapterStats, Columns, Stats
from tests.vmqtui.scripted import EVENTS, make_config, make_stats
from vmqtui.columns import COLUMNS, export_row, ordered
from vmqtui.columns.filters import SWITCH_DRIVER, driver_words
from vmqtui.columns.layout import lay_out
from vmqtui.draw import bar, width_of
from vmqtui.numbers import compact, decimal, grouped, percent
from vmqtui.state.snapshot import Snapshot

FULL = Snapshot("hv01", config=make_config(), stats=make_stats(9), before=make_stats(5), events=EVENTS)
BARE = Snapshot("hv01", config=make_config())


@pytest.mark.parametrize("table", COLUMNS)
def test_keys_are_unique_and_every_column_has_help(table: str) -> None:
    columns = COLUMNS[table]
    assert len({column.key for column in columns}) == len(columns)
    assert all(column.help for column in columns)
    assert all(column.heading for column in columns if column.exported)


@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.parametrize("snapshot", [FULL, BARE], ids=["full", "bare"])
def test_every_value_can_be_exported_and_every_cell_has_its_width(table: str, snapshot: Snapshot) -> None:
    for row in snapshot.rows(table):
        json.dumps(export_row(COLUMNS[table], row))
        for column in COLUMNS[table]:
            if column.gauge is None and column.trend is None:
                assert len(column.cell(row, column.width)[0]) == column.width


def test_queues_begin_with_what_get_netadaptervmqqueue_prints() -> None:
    headings = [column.heading for column in COLUMNS["queues"]][:6]
    assert headings == ["Name", "QueueID", "MacAddress", "VlanID", "Processor", "VmFriendlyName"]


def test_exported_queue_row_has_raw_values() -> None:
    row = export_row(COLUMNS["queues"], FULL.queues[5])
    assert (row["adapter"], row["queue_id"], row["processor"], row["vm"]) == ("nic0", 5, "0:1", "fw-01")
    assert (row["mac"], row["vlan"]) == (["00:15:5d:00:00:05"], [10, 20])
    assert "trend" not in row
    assert "use_bar" not in row


def test_a_heading_of_drops_is_that_of_one_number() -> None:
    """Of hosts `get` has drops at any stage, of the other tables those that found no free buffer."""
    drops = {
        table: next((column for column in columns if column.key == "drops_per_second"), None)
        for table, columns in COLUMNS.items()
    }
    headings = {table: column.heading for table, column in drops.items() if column is not None}
    assert headings.pop("hosts") == "AllDrops/s"
    assert set(headings.values()) == {"Drops/s"}
    assert drops["hosts"] is not None
    assert "at any stage (`dropped_frames` of its summary)" in drops["hosts"].help


def test_unknown_looks_like_nothing_else() -> None:
    column = next(column for column in COLUMNS["queues"] if column.key == "pps")
    assert (column.text(BARE.queues[1]), column.value(BARE.queues[1])) == ("–", None)
    assert column.text(FULL.queues[12]) == "0"


def test_an_amount_has_its_unit_once_and_in_the_right_number() -> None:
    row = FULL.queues[1]
    amounts = {column.key: column.amount(row) for column in COLUMNS["queues"] if column.exported}
    assert amounts["steered_frames"] == "1,215,529 frames"
    assert amounts["pps"] == "342k frames/s"
    assert (amounts["share"], amounts["processor"]) == ("36.3%", "0:2")
    one = msgspec.structs.replace(make_stats(9).adapters["nic0"])
    one.queues["interrupts"][1] = one.queues["pending"][1] = 1
    one.queues["latency_p50_ns"] = [12_300] * len(one.queues["id"])
    now = msgspec.structs.replace(make_stats(9), adapters={"nic0": one})
    row = Snapshot("hv01", config=make_config(), stats=now, before=make_stats(5)).queues[1]
    amounts = {column.key: column.amount(row) for column in COLUMNS["queues"] if column.exported}
    assert (amounts["interrupts"], amounts["pending"]) == ("1", "1 frame")
    assert amounts["latency_p50"] == "12.3 µs"


def test_order_is_by_value_with_unknown_last_both_ways() -> None:
    column = next(column for column in COLUMNS["queues"] if column.key == "pps")
    rows = [BARE.queues[0], *FULL.queues]
    up, down = ordered(rows, column), ordered(rows, column, reverse=True)
    assert up[-1] is down[-1] is rows[0]
    rates = sorted(row.pps or 0.0 for row in FULL.queues)
    assert [row.pps for row in up[:-1]] == rates
    assert [row.pps for row in down[:-1]] == rates[::-1]


def test_processors_are_ordered_by_number() -> None:
    config = make_config(vms=[(f"q{n}", f"q{n}", cpu, 0) for n, cpu in enumerate((17, 2, 70))], cpus=80)
    column = next(column for column in COLUMNS["queues"] if column.key == "processor")
    rows = ordered(Snapshot("hv01", config=config).queues, column)
    assert [row.processor for row in rows] == ["0:2", "0:17", "1:6"]


_COUNTERS = st.sampled_from([*names(QUEUE), *names(QUEUE_GAUGES), "id", "generation", "surprise"])
_NUMBERS = st.integers(-5, 2**63)
_COLUMNS = st.dictionaries(_COUNTERS, st.lists(st.none() | _NUMBERS, max_size=4), max_size=12).map(
    lambda columns: {
        name: [cell or 0 for cell in cells] if name in ("id", "generation") else cells
        for name, cells in columns.items()
    }
)


@given(now=_COLUMNS, before=_COLUMNS, step=st.integers(-(10**9), 10**12))
def test_any_writers_counters_can_be_shown(now: Columns, before: Columns, step: int) -> None:
    def reading(columns: Columns, sim_time_ns: int) -> Stats:
        adapter = AdapterStats(port={}, queues=columns, filters=columns, freed={}, default_queue={})
        return Stats(
            seq=1, sim_time_ns=sim_time_ns, time_ns=0, revision=1, cpus=columns, adapters={"nic0": adapter}
        )

    shown = Snapshot("hv01", config=make_config(), stats=reading(now, step), before=reading(before, 0))
    for table, columns in COLUMNS.items():
        for row in shown.rows(table):
            json.dumps(export_row(columns, row))
            for column in columns:
                if column.gauge is not None:
                    parts = column.gauge(row)
                    assert parts is None or width_of(bar(parts, 9)) == 9
                elif column.trend is None:
                    column.cell(row, column.width)
        for column in columns:
            ordered(shown.rows(table), column)


@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.parametrize("width", [20, 76, 116, 196, 400])
def test_columns_fit_the_width_there_is(table: str, width: int) -> None:
    shown = lay_out(COLUMNS[table], width).columns
    assert shown
    assert sum(cells for _, cells in shown) + len(shown) - 1 <= max(width, shown[0][1])


def test_narrow_screen_keeps_what_matters() -> None:
    columns = COLUMNS["queues"]
    needs = {column.key: max(column.need(row) for row in FULL.queues) for column in columns if column.settled}
    shown = {column.key for column, _ in lay_out(columns, 78, needs, frozenset({"adapter"})).columns}
    assert shown >= {
        "queue_id",
        "mac",
        "vlan",
        "processor",
        "vm",
        "state_glyph",
        "pps",
        "mbits",
        "drops_per_second",
        "buffer_use",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.001, "<.01"),
        (0.42, "0.42"),
        (5, "5"),
        (45.67, "45.7"),
        (832, "832"),
        (999.7, "1.00k"),
        (12345, "12.3k"),
        (4_560_000, "4.56M"),
        (99_990_000, "100M"),
        (999_600_000, "1.00G"),
        (64_000, "64.0k"),
    ],
)
def test_compact_numbers(value: float | None, text: str) -> None:
    assert compact(value) == text
    assert len(text) <= 5


def test_other_numbers() -> None:
    assert [decimal(value) for value in (None, 0, 9.876, 842.14, 3421, 12345)] == [
        "–",
        "0",
        "9.88",
        "842.1",
        "3,421",
        "12.3k",
    ]
    assert [percent(value) for value in (None, 0, 0.0001, 0.0312, 0.99961, 1)] == [
        "–",
        "0%",
        "<.1%",
        "3.1%",
        "100%",
        "100%",
    ]
    assert [grouped(value) for value in (None, 0, 1234567, 123_456_789)] == ["–", "0", "1,234,567", "123M"]


def test_columns_need_neither_textual_nor_numba() -> None:
    code = "import sys, vmqtui.columns, vmqtui.actions; print({'textual', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_dashboard_never_loads_numba_or_the_data_plane() -> None:
    code = (
        "import sys, vmqtui.app, vmqtui.link;"
        "rooms = ('dataplane', 'kernels', 'service', 'traffic', 'workers');"
        "bad = ('numba', *(f'engine.{room}' for room in rooms));"
        "print([name for name in sys.modules if name.startswith(bad)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_switch_s_driver_is_named_as_what_it_is() -> None:
    assert SWITCH_DRIVER == DEFAULT_DRIVER
    assert driver_words(DEFAULT_DRIVER) == "vsp (the switch)"
    assert driver_words("mine\x1b") == "mine␛"
