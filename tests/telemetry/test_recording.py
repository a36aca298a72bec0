"""Recordings: whole up to any cut, told when they are cut or damaged, bounded as was asked for."""

import os
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import msgpack
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.bus.codec import MESSAGE_LIMIT_BYTES, encode
from engine.bus.messages import Status
from engine.telemetry import packing
from engine.telemetry import recording as recording_module
from engine.telemetry.packing import PackingError
from engine.telemetry.recorder import LostFileError, Recorder
from engine.telemetry.recording import (
    CHAIN_LIMIT,
    LIMIT_BYTES,
    SMALL_LIMIT_BYTES,
    Head,
    Recording,
    RecordingError,
)
from tests.slow import examples
from tests.vmqtui.scripted import EVENTS, VMS, make_config, make_stats

FEW = VMS[:3]
ONLINE = Status(state="online", interval_ns=250_000_000)
GENEROUS = 1 << 30


def record(path: Path, readings: int = 40, **options: object) -> Recorder:
    """A recording of hv01: its status, configuration and events, and some readings."""
    # Options of any of its types.
    with Recorder(path, **{"limit_bytes": GENEROUS, **options}) as recorder:  # type: ignore[arg-type]
        recorder.message("hv01", "status", encode(ONLINE))
        recorder.message("hv01", "config", encode(make_config(FEW)))
        for seq in range(1, readings + 1):
            recorder.reading("hv01", make_stats(seq, FEW))
            if seq == 10:
                recorder.message("hv01", "event", encode(EVENTS[0]))
    return recorder


def seqs(path: Path, host: str = "hv01") -> list[int]:
    with Recording(path) as recording:
        return [recording.stats(host, place).seq for place in range(len(recording.hosts[host].offsets))]


def test_what_was_recorded_comes_back(tmp_path: Path) -> None:
    record(tmp_path / "a")
    with Recording(tmp_path / "a") as recording:
        assert recording.broken is None
        for place in (39, 0, 17, 16, 15, 38):
            found = recording.stats("hv01", place)
            assert msgspec.msgpack.encode(found) == msgspec.msgpack.encode(make_stats(place + 1, FEW))
        assert recording.message("hv01", "config", 0) == encode(make_config(FEW))
        assert recording.message("hv01", "event", 0) == encode(EVENTS[0])
        assert list(recording.hosts["hv01"].since["event"]) == [10]


@pytest.mark.slow
def test_a_file_cut_anywhere_plays_up_to_the_cut_and_says_so(tmp_path: Path) -> None:
    cut, before = tmp_path / "cut", 20
    record(cut, readings=before)
    data = cut.read_bytes()
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    unpacker.unpack()
    for length in range(len(data) - 1, unpacker.tell() - 1, -1):
        os.truncate(cut, length)
        with Recording(cut) as recording:
            assert recording.broken is not None
            assert "cut after byte" in recording.broken
            index = recording.hosts.get("hv01")
            readings = len(index.offsets) if index else 0
            assert readings in (before, before - 1)
            if readings and (readings < before or length == len(data) - 1):
                assert recording.stats("hv01", readings - 1).seq == readings
            before = readings
    assert before == 0


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(200)
)
@given(st.data())
def test_a_damaged_byte_ends_it_before_or_is_harmless(tmp_path: Path, data: st.DataObject) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        record(whole, readings=20)
    good = whole.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    (tmp_path / "bad").write_bytes(bad)
    try:
        with Recording(tmp_path / "bad") as recording:
            for host, index in recording.hosts.items():
                for place in range(len(index.offsets)):
                    try:
                        assert recording.stats(host, place).seq == place + 1
                    except PackingError:
                        assert host != "hv01" or len(recording.hosts) > 1
    except RecordingError:
        assert at < 100  # its very beginning


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"hello\n",
        b"\xc1",
        msgpack.packb({"a": 1}),
        msgpack.packb([1, 2]),
        b"\xdd\xff\xff\xff\xff",
    ],
    ids=["empty", "zero", "text", "no MessagePack", "another map", "a list", "a huge list"],
)
def test_what_is_no_recording_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(RecordingError, match="not a recording"):
        Recording(tmp_path / "x")


def test_a_later_format_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(msgpack.packb({"format": "vmq.recording/9"}))
    with pytest.raises(RecordingError, match=r"is a 'vmq.recording/9'; this program reads 'vmq.recording/1'"):
        Recording(tmp_path / "x")


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_after_the_beginning_are_told(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "x").write_bytes(msgpack.packb({"format": "vmq.recording/1"}) + junk)
    with Recording(tmp_path / "x") as recording:
        assert recording.broken is not None


def test_records_of_kinds_that_are_not_known_are_left_out(tmp_path: Path) -> None:
    record(tmp_path / "a", readings=2)
    data = (tmp_path / "a").read_bytes()
    strange = msgpack.packb(Head("hologram", "hv01", 1).sealed(b"")) + msgpack.packb(b"")
    at = data.index(b"\x96\xa5stats")
    (tmp_path / "b").write_bytes(data[:at] + strange + data[at:])
    assert seqs(tmp_path / "b") == [1, 2]


def test_a_full_recording_stops(tmp_path: Path) -> None:
    recorder = record(tmp_path / "a", readings=400, limit_bytes=20_000)
    assert recorder.full
    assert (tmp_path / "a").stat().st_size < 22_000
    found = seqs(tmp_path / "a")
    assert found == list(range(1, len(found) + 1))
    assert recorder.readings == len(found) < 400


def test_a_full_recording_keeps_the_newest_in_two_files_that_stand_alone(tmp_path: Path) -> None:
    recorder = record(tmp_path / "a", readings=900, limit_bytes=40_000, at_limit="keep-newest")
    assert not recorder.full
    old, new = seqs(tmp_path / "a.old"), seqs(tmp_path / "a")
    assert [*old, *new] == list(range(old[0], 901))
    assert old[0] > 1
    for path in (tmp_path / "a", tmp_path / "a.old"):
        assert path.stat().st_size < 22_000
        with Recording(path) as recording:
            assert recording.broken is None
            assert recording.message("hv01", "config", 0) == encode(make_config(FEW))


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    record(tmp_path / "a", readings=1)
    with pytest.raises(FileExistsError):
        record(tmp_path / "a", readings=2)
    record(tmp_path / "a", readings=3, replace=True)
    assert len(seqs(tmp_path / "a")) == 3


def test_a_restart_of_the_engine_is_another_run(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a", limit_bytes=GENEROUS) as recorder:
        for seq in (5, 6, 1, 2):
            recorder.reading("hv01", make_stats(seq, FEW))
    with Recording(tmp_path / "a") as recording:
        assert list(recording.hosts["hv01"].runs) == [0, 0, 1, 1]


def test_a_file_that_changed_under_the_reader_is_told(tmp_path: Path) -> None:
    record(tmp_path / "a", readings=20)
    with Recording(tmp_path / "a") as recording:
        with (tmp_path / "a").open("r+b") as file:
            file.truncate(900)
        with pytest.raises(PackingError, match="shorter"):
            recording.stats("hv01", 19)


def test_hosts_of_a_recording_are_bounded(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a", limit_bytes=GENEROUS, replace=True) as recorder:
        for number in range(1025):
            recorder.message(f"h{number}", "status", encode(ONLINE))
    with Recording(tmp_path / "a") as recording:
        assert len(recording.hosts) == 1024
        assert "more than 1024 hosts" in str(recording.broken)


def test_a_record_that_unpacks_to_more_than_fits_is_damage(tmp_path: Path) -> None:
    record(tmp_path / "a", readings=3)
    data = bytes(LIMIT_BYTES + 1)
    with (tmp_path / "a").open("ab") as file:
        file.write(msgpack.packb(list(Head("event", "hv01", 1).sealed(data))) + msgpack.packb(data))
    with Recording(tmp_path / "a") as recording:
        assert "damaged" in str(recording.broken)
        assert len(recording.hosts["hv01"].offsets) == 3


def test_a_file_that_is_being_recorded_is_refused_and_stays(tmp_path: Path) -> None:
    first = Recorder(tmp_path / "a", limit_bytes=GENEROUS)
    first.reading("hv01", make_stats(1, FEW))
    with pytest.raises(OSError, match="is being written by another recorder"):
        Recorder(tmp_path / "a", limit_bytes=GENEROUS, replace=True)
    first.reading("hv01", make_stats(2, FEW))
    first.close()
    assert seqs(tmp_path / "a") == [1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="open files stay in their place there")
@pytest.mark.parametrize(
    ("lose", "what"),
    [
        (Path.unlink, "deleted or renamed"),
        (lambda path: path.rename(path.with_name("b")), "deleted or renamed"),
        (lambda path: Path(shutil.copy(path, path.with_name("b"))).replace(path), "replaced"),
        (lambda path: path.write_bytes(b""), "changed by another program"),
    ],
    ids=["deleted", "renamed", "replaced", "emptied"],
)
def test_a_recorder_that_lost_its_file_reports_it(
    tmp_path: Path, lose: Callable[[Path], None], what: str
) -> None:
    recorder = Recorder(tmp_path / "a", limit_bytes=GENEROUS)
    recorder.reading("hv01", make_stats(1, FEW))
    recorder.check()
    lose(tmp_path / "a")
    for act in (recorder.check, lambda: recorder.reading("hv01", make_stats(2, FEW)), recorder.close):
        with pytest.raises(LostFileError, match=f"was {what} while it was being recorded"):
            act()


def test_it_does_not_go_on_with_a_new_file_in_place_of_one_that_is_lost(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a", limit_bytes=4_000, at_limit="keep-newest")
    (tmp_path / "a").rename(tmp_path / "mine")
    recorder._size = 4_000  # it is time for a new file
    with pytest.raises(LostFileError):
        recorder.reading("hv01", make_stats(1, FEW))
    assert not (tmp_path / "a").exists()


def forged(path: Path, *records: tuple[str, int, bytes]) -> Path:
    """A recording of hv01 with these records, sealed as a recorder seals them: kind, ``seq``, content."""
    parts = [msgpack.packb({"format": "vmq.recording/1"})]
    for kind, seq, content in records:
        data = zlib.compress(content)
        parts += [msgpack.packb(Head(kind, "hv01", seq, 0, seq, seq).sealed(data)), msgpack.packb(data)]
    path.write_bytes(b"".join(parts))
    return path


def test_no_message_of_a_recording_unpacks_to_more_than_one_may_have(tmp_path: Path) -> None:
    reading = ("stats", 1, msgspec.msgpack.encode(make_stats(1, FEW)))
    large = bytes(SMALL_LIMIT_BYTES + 1)
    path = forged(tmp_path / "a", reading, ("event", 1, large), ("status", 1, large), ("config", 1, large))
    assert path.stat().st_size < 10_000
    with Recording(path) as recording:
        for kind in ("event", "status"):
            with pytest.raises(PackingError, match="more than"):
                recording.message("hv01", kind, 0)
        assert recording.message("hv01", "config", 0) == large
    path = forged(
        tmp_path / "b", reading, ("config", 1, bytes(LIMIT_BYTES + 1)), ("stats", 2, bytes(LIMIT_BYTES + 1))
    )
    with Recording(path) as recording:
        with pytest.raises(PackingError, match="more than"):
            recording.message("hv01", "config", 0)
        with pytest.raises(PackingError, match="more than"):
            recording.stats("hv01", 1)


def test_a_recording_bounds_what_one_message_may_have() -> None:
    assert MESSAGE_LIMIT_BYTES < LIMIT_BYTES == packing.LIMIT_BYTES < 2 * MESSAGE_LIMIT_BYTES


def test_more_readings_than_may_hang_on_one_are_damage(tmp_path: Path) -> None:
    many = [("delta", seq, b"") for seq in range(2, CHAIN_LIMIT + 2)]
    with Recording(forged(tmp_path / "a", ("stats", 1, b""), *many)) as recording:
        assert "more than 16 readings hang on one" in str(recording.broken)
        assert len(recording.hosts["hv01"].offsets) == CHAIN_LIMIT


def test_of_large_readings_one_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "a", readings=40)
    with Recording(tmp_path / "a") as recording:
        for number in range(40):
            recording.stats("hv01", number)
        assert len(recording._unpacked) == recording_module._UNPACKED
        monkeypatch.setattr(recording_module, "_UNPACKED_CELLS", 1)
        for number in range(40):
            assert recording.stats("hv01", number).seq == number + 1
            assert len(recording._unpacked) == 1
