"""Tables of a recording: every reading's rows, the same in CSV and Parquet, in bounded memory."""

import csv
import io
import tracemalloc
from pathlib import Path

import pyarrow.compute
import pyarrow.parquet
import pytest

from engine.bus.codec import encode
from engine.files import put_in_place
from engine.telemetry.recorder import Recorder
from engine.telemetry.recording import Recording
from tests import measured
from tests.export.lab import INTERFACE, full_stats
from tests.vmqtui.scripted import EVENTS, VMS, make_config, make_stats
from vmqtui.export.tables import COLUMNS, Rows, Table, UnfitValueError, write_csv, write_parquet

READINGS = 5


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "lab.vmqrec"
    with Recorder(path, limit_bytes=1 << 30) as recorder:
        recorder.message("hv01", "config", encode(make_config(VMS)))
        for seq in range(1, READINGS):
            recorder.reading("hv01", make_stats(seq, VMS))
        recorder.reading("hv01", full_stats())
        for event in EVENTS:
            recorder.message("hv01", "event", encode(event))
    return path


def as_csv(path: Path, table: Table) -> list[dict[str, str]]:
    text = io.StringIO()
    with Recording(path) as recording:
        count = write_csv(text, COLUMNS[table], Rows(recording, table))
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert len(rows) == count
    return rows


def test_a_row_for_each_queue_and_reading(recorded: Path) -> None:
    rows = as_csv(recorded, "queues")
    assert len(rows) == READINGS * len(VMS)
    stats = full_stats()
    queues = stats.adapters["nic0"].queues
    for row, queue in zip(rows[-len(VMS) :], make_config(VMS).adapters[0].queues, strict=True):
        assert (row["host"], row["adapter"], row["seq"]) == ("hv01", "nic0", "40")
        assert (row["queue_id"], row["name"], row["vm"]) == (str(queue.queue_id), queue.name, queue.vm or "")
        assert (row["cpu"], row["state"]) == (str(queue.cpu), queue.state)
        for name, column in queues.items():
            if name != "id":
                assert row[name] == str(column[queue.queue_id]), name
    assert rows[0]["latency_p99_ns"] == ""  # the writer did not send it: unknown, not 0


def test_the_other_tables(recorded: Path) -> None:
    stats = full_stats()
    adapter = stats.adapters["nic0"]
    last = as_csv(recorded, "adapters")[-1]
    assert {name: int(last[name]) for name in adapter.port} == adapter.port
    assert {name: int(last[name]) for name in INTERFACE} == INTERFACE
    reasons = {name: int(last[f"default_queue_{name}"]) for name in adapter.default_queue}
    assert reasons == adapter.default_queue
    assert len(as_csv(recorded, "cpus")) == READINGS * len(stats.cpus["id"])
    filters = as_csv(recorded, "filters")[-len(adapter.filters["id"]) :]
    assert [int(row["matched_frames"]) for row in filters] == adapter.filters["matched_frames"]
    macs = [one.mac for one in make_config(VMS).adapters[0].filters]
    assert [row["mac"] for row in filters] == macs
    assert [row["cause"] for row in as_csv(recorded, "events")] == [event.cause for event in EVENTS]


@pytest.mark.parametrize("table", COLUMNS)
def test_parquet_holds_what_csv_does(table: Table, recorded: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with Recording(recorded) as recording:
        count = write_parquet(path, COLUMNS[table], Rows(recording, table))
    read = pyarrow.parquet.read_table(path)
    assert read.num_rows == count
    assert read.column_names == [name for name, _ in COLUMNS[table]]
    as_text = [
        {name: "" if one is None else str(one) for name, one in row.items()} for row in read.to_pylist()
    ]
    assert as_text == as_csv(recorded, table)


@pytest.fixture(scope="module")
def recorded_measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "measured.vmqrec"
    with Recorder(path, limit_bytes=1 << 30) as recorder:
        for host in (measured.linux(), measured.windows()):
            recorder.message(host.config.host, "config", encode(host.config))
            for reading in host.readings:
                recorder.reading(host.config.host, reading)
    return path


def test_unknown_cells_are_empty_and_a_column_has_the_sources(
    recorded_measured: Path,
) -> None:
    rows = as_csv(recorded_measured, "queues")
    ring, _, function = [row for row in rows if (row["adapter"], row["seq"]) == ("eth0", "4")][:3]
    assert (ring["name"], ring["cpu"], ring["received_frames"], ring["pending"]) == ("rx-0", "0", "3000", "")
    assert (function["name"], function["cpu"], function["received_frames"]) == ("vf 0", "", "")
    assert ring["sources"] == "cpu=guessed received_frames=exact dropped_no_buffer=exact interrupts=guessed"
    of_windows = [row for row in rows if row["host"] == "lab-windows" and row["seq"] == "4"]
    assert [row["received_frames"] for row in of_windows] == ["", "3600", ""]
    assert {row["sources"] for row in of_windows} == {"received_frames=derived"}
    cpu = as_csv(recorded_measured, "cpus")[0]
    assert cpu["sources"] == "busy_cycles=exact budget_cycles=exact interrupts=exact"
    adapter = as_csv(recorded_measured, "adapters")[1]
    assert (adapter["adapter"], adapter["sources"]) == ("eth1", "freed_received_frames=exact")
    assert (adapter["offered_bytes"], adapter["default_queue_broadcast"]) == ("", "")


def test_unknown_cells_are_null_in_parquet(recorded_measured: Path, tmp_path: Path) -> None:
    path = tmp_path / "measured.parquet"
    with Recording(recorded_measured) as recording:
        write_parquet(path, COLUMNS["queues"], Rows(recording, "queues"))
    read = pyarrow.parquet.read_table(path).filter(pyarrow.compute.field("adapter") == "Ethernet 2")
    assert read["received_frames"].to_pylist()[-3:] == [None, 3600, None]
    assert read["free_buffers"].null_count == read.num_rows


def test_a_number_that_parquet_has_no_room_for_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnfitValueError, match="steered_frames: a value among rows 1 to 2 does not fit"):
        write_parquet(tmp_path / "x", [("steered_frames", "integer")], [(1,), (1 << 63,)])


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    class Nowhere(io.StringIO):
        def write(self, text: str) -> int:
            return len(text)

    def peak(readings: int) -> int:
        path = tmp_path / f"{readings}.vmqrec"
        with Recorder(path, limit_bytes=1 << 30) as recorder:
            recorder.message("hv01", "config", encode(make_config(VMS)))
            for seq in range(1, readings + 1):
                recorder.reading("hv01", make_stats(seq, VMS))
        with Recording(path) as recording:
            tracemalloc.start()
            write_csv(Nowhere(), COLUMNS["queues"], Rows(recording, "queues"))
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    assert peak(200) < 1.5 * peak(40)


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with put_in_place(path) as part:
            part.write_text("half")
            raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "old"
