"""Files that a measured host is read from: recordings, and what is told of files that are none."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from engine.bus.codec import encode
from engine.measure.host import SourceError
from engine.measure.sources import MAX_EVENTS, MAX_READINGS, read_measured
from engine.telemetry.recorder import Recorder
from tests.vmqtui.scripted import EVENTS, VMS, make_config, make_stats

FEW = VMS[:3]
PCAP = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


def record(path: Path, *revisions: int, readings: int = 5, host: str = "hv01") -> Path:
    """A recording of a host: for each revision its configuration, then its readings."""
    with Recorder(path, limit_bytes=1 << 30) as recorder:
        seq = 0
        for revision in revisions or (7,):
            config = msgspec.structs.replace(make_config(FEW), revision=revision, host=host)
            recorder.message(host, "config", encode(config))
            for _ in range(readings):
                seq += 1
                stats = msgspec.structs.replace(make_stats(seq, FEW), revision=revision)
                recorder.reading(host, stats)
        recorder.message(host, "event", encode(EVENTS[0]))
    return path


def test_a_recording_gives_its_configuration_its_readings_and_its_events(tmp_path: Path) -> None:
    measured = read_measured(record(tmp_path / "a.rec"))
    assert measured.config.revision == 7
    assert [one.seq for one in measured.readings] == [1, 2, 3, 4, 5]
    assert len(measured.events) == 1
    assert "a.rec" in measured.origin
    assert any("recording of a model" in one for one in measured.remarks)


def test_readings_are_those_of_the_newest_configuration_that_has_two(tmp_path: Path) -> None:
    measured = read_measured(record(tmp_path / "a.rec", 7, 8))
    assert measured.config.revision == 8
    assert [one.seq for one in measured.readings] == [6, 7, 8, 9, 10]
    assert "5 older readings left out: the configuration changed since" in measured.remarks

    with Recorder(tmp_path / "b.rec", limit_bytes=1 << 30) as recorder:
        recorder.message("hv01", "config", encode(make_config(FEW)))
        for seq in (1, 2, 3):
            recorder.reading("hv01", make_stats(seq, FEW))
        newer = make_config(FEW).revision + 1
        config = msgspec.structs.replace(make_config(FEW), revision=newer)
        recorder.message("hv01", "config", encode(config))
        recorder.reading("hv01", msgspec.structs.replace(make_stats(4, FEW), revision=newer))
    measured = read_measured(tmp_path / "b.rec")
    assert [one.seq for one in measured.readings] == [1, 2, 3]
    assert "1 newer reading left out: the configuration changed after it" in measured.remarks


def test_a_configuration_that_was_sent_again_is_the_same_one(tmp_path: Path) -> None:
    assert len(read_measured(record(tmp_path / "a.rec", 7, 7)).readings) == 10


def test_a_long_recording_is_thinned_evenly(tmp_path: Path) -> None:
    measured = read_measured(record(tmp_path / "a.rec", readings=MAX_READINGS + 300))
    seqs = [one.seq for one in measured.readings]
    assert len(seqs) == MAX_READINGS
    assert (seqs[0], seqs[-1]) == (1, MAX_READINGS + 300)
    assert {later - earlier for earlier, later in pairwise(seqs)} <= {1, 2}


def test_of_many_events_the_newest_are_taken(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.rec", limit_bytes=1 << 30) as recorder:
        recorder.message("hv01", "config", encode(make_config(FEW)))
        for seq in (1, 2):
            recorder.reading("hv01", make_stats(seq, FEW))
        for seq in range(MAX_EVENTS + 2):
            recorder.message("hv01", "event", encode(msgspec.structs.replace(EVENTS[0], seq=seq)))
    events = read_measured(tmp_path / "a.rec").events
    assert (len(events), events[0].seq) == (MAX_EVENTS, 2)


def test_a_cut_recording_is_read_up_to_the_cut_and_says_so(tmp_path: Path) -> None:
    path = record(tmp_path / "a.rec")
    path.write_bytes(path.read_bytes()[:-150])
    measured = read_measured(path)
    assert 2 <= len(measured.readings) <= 5
    assert any("what is before it is used" in one for one in measured.remarks)


def test_of_several_hosts_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with Recorder(path, limit_bytes=1 << 30) as recorder:
        for host in ("hv01", "hv02"):
            config = msgspec.structs.replace(make_config(FEW), host=host)
            recorder.message(host, "config", encode(config))
            for seq in (1, 2):
                recorder.reading(host, make_stats(seq, FEW))
    with pytest.raises(SourceError, match=r"a recording of 2 hosts: name one \(hv01, hv02 fits\)"):
        read_measured(path)
    with pytest.raises(SourceError, match='no reading of host "hv03"'):
        read_measured(path, "hv03")
    assert read_measured(path, "hv02").config.host == "hv02"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (PCAP, "a capture"),
        (b'[host]\nname = "a"\n', "a scenario"),
        (b"hello there\nmore", 'a text that begins with "hello there"'),
        (b"\x1f\x8b\x08\x00", "compressed with gzip"),
        (bytes(range(128, 256)) * 2, "neither text nor a recording"),
        ("é".encode() * 300, "a text that begins with"),
        (b"MZ\x90\x00", "a Windows program"),
    ],
)
def test_a_file_that_is_no_source_is_told_by_what_it_looks_like(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words) as raised:
        read_measured(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_directory_and_a_recording_without_readings_are_no_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a directory"):
        read_measured(tmp_path)
    with Recorder(tmp_path / "a.rec", limit_bytes=1 << 20) as recorder:
        recorder.message("hv01", "config", encode(make_config(FEW)))
    with pytest.raises(SourceError, match="without a reading"):
        read_measured(tmp_path / "a.rec")
    with Recorder(tmp_path / "b.rec", limit_bytes=1 << 20) as recorder:
        recorder.message("hv01", "config", encode(make_config(FEW)))
        recorder.reading("hv01", make_stats(1, FEW))
    with pytest.raises(SourceError, match="no two readings"):
        read_measured(tmp_path / "b.rec")
