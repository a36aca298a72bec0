"""The source: batches, breaks, loops, gaps, and files that are no captures."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.traffic import capture
from engine.traffic.batch import Filled
from engine.traffic.capture import CaptureError, CaptureSource
from tests.traffic.captures import (
    SECOND,
    arrivals,
    enhanced,
    ethernet,
    frame,
    interface,
    pcap,
    section,
)
from tests.traffic.reading import NO_LIMIT, frames_of, new_batch, read_all, read_bytes

WIRE_NS_60 = 64  # (60 + 20) * 8 / 10


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write_file(content: bytes) -> Path:
        path = tmp_path / "capture.pcap"
        path.write_bytes(content)
        return path

    return write_file


def open_source(path: Path, **options: Any) -> CaptureSource:
    return CaptureSource(path, adapter=3, **{"link_gbps": 10.0, **options})


def test_a_frame_arrives_at_the_later_of_its_stamp_and_the_end_of_the_one_before(
    write: Callable[[bytes], Path],
) -> None:
    stamps = [5 * SECOND, 5 * SECOND, 5 * SECOND + 1000, 4 * SECOND, 0, 5 * SECOND + 2000]
    source = open_source(write(pcap([frame(ns) for ns in stamps])))
    assert [one.arrival_ns for one in read_all(source)] == [0, 64, 1000, 1064, 1128, 2000]


def test_frame_times_do_not_add_up_rounding(write: Callable[[bytes], Path]) -> None:
    frames = [frame(0, ethernet(length=60 + n % 7)) for n in range(5000)]
    source = open_source(write(pcap(frames)), link_gbps=7.3)
    expected = arrivals([0] * 5000, [one.wire for one in frames], "7.3")
    assert [one.arrival_ns for one in read_all(source)] == expected


@pytest.mark.parametrize("link_gbps", [0.001, 0.3, 2.5, 10_000.0])
def test_frame_times_hold_at_every_link_speed(write: Callable[[bytes], Path], link_gbps: float) -> None:
    wires = [60, 2**32 - 1, 0, 1514, 2**31, 60]
    source = open_source(write(pcap([frame(0, wire=wire) for wire in wires])), link_gbps=link_gbps)
    assert [one.arrival_ns for one in read_all(source)] == arrivals([0] * 6, wires, str(link_gbps))


def test_runts_and_oversize_frames_occupy_the_wire(write: Callable[[bytes], Path]) -> None:
    frames = [frame(0, b""), frame(0, b"abc", 3), frame(0, ethernet(), 262_144), frame(0)]
    source = open_source(write(pcap(frames)))
    assert [one.arrival_ns for one in read_all(source)] == arrivals([0] * 4, [0, 3, 262_144, 60])


def test_gaps_of_years_keep_their_length(write: Callable[[bytes], Path]) -> None:
    stamps = [0, 4_294_967_295 * SECOND + 999_999_000]
    assert read_all(open_source(write(pcap([frame(ns) for ns in stamps]))))[1].arrival_ns == stamps[1]


def test_a_frame_more_than_146_years_after_the_first_is_a_break(write: Callable[[bytes], Path]) -> None:
    blocks = section() + interface(resolution=0)
    blocks += enhanced(0, ethernet()) + enhanced(2**32, ethernet()) + enhanced(2**33, ethernet())
    source = open_source(write(blocks))
    assert [one.arrival_ns for one in read_all(source)] == [0, 2**32 * SECOND]
    assert source.broken is not None
    assert "146 years" in source.broken


def test_fill_stops_before_the_first_frame_that_is_not_due(write: Callable[[bytes], Path]) -> None:
    source = open_source(write(pcap([frame(ns) for ns in (0, 5000, 9000)])))
    batch = new_batch()
    assert source.fill(batch, 0) == Filled(0, 0)
    assert source.fill(batch, 5000) == Filled(1, 5000)
    assert source.fill(batch, 5000) == Filled(0, 5000)
    assert source.fill(batch, 5001) == Filled(1, 9000)
    assert batch.arrival_ns[0] == 5000
    assert source.fill(batch, NO_LIMIT) == Filled(1, None)
    assert source.fill(batch, NO_LIMIT) == Filled(0, None)
    assert (source.frames, source.last_arrival_ns) == (3, 9000)


@pytest.mark.parametrize(("frames", "data_bytes"), [(1, 4096), (7, 4096), (1000, 61), (1000, 1000)])
def test_batches_of_any_size_give_the_same_frames(
    write: Callable[[bytes], Path], frames: int, data_bytes: int
) -> None:
    content = [frame(1000 * n, ethernet(length=14 + n % 47)) for n in range(200)]
    path = write(pcap(content))
    whole = read_all(open_source(path))
    assert [one.data for one in whole] == [one.data for one in content]
    assert read_all(open_source(path), new_batch(frames, data_bytes)) == whole


def test_the_adapter_is_written_beside_each_frame(write: Callable[[bytes], Path]) -> None:
    batch = new_batch()
    open_source(write(pcap([frame(), frame()]))).fill(batch, NO_LIMIT)
    assert batch.adapter[:3].tolist() == [3, 3, 0]


def test_a_batch_too_small_for_a_frame_is_refused(write: Callable[[bytes], Path]) -> None:
    source = open_source(write(pcap([frame()])))
    with pytest.raises(ValueError, match="holds no frame"):
        source.fill(new_batch(10, 59), NO_LIMIT)


def test_a_frame_captured_beyond_65535_bytes_keeps_its_lengths_and_64_bytes(
    write: Callable[[bytes], Path],
) -> None:
    long = frame(0, ethernet(length=65_536))
    batch = new_batch()
    filled = open_source(write(pcap([long, frame()]))).fill(batch, NO_LIMIT)
    first, second = frames_of(batch, filled.frames)
    assert (first.captured, first.wire, first.data) == (65_536, 65_536, long.data[:64])
    assert second.data == ethernet()
    assert batch.offset[1] == 64


def test_a_file_longer_than_the_buffer_is_read_in_pieces(write: Callable[[bytes], Path]) -> None:
    content = [frame(10_000 * n, ethernet(length=1000 + n % 514)) for n in range(3000)]
    source = open_source(write(pcap(content)))
    assert [one.data for one in read_all(source)] == [one.data for one in content]
    assert source.bytes_read == source.bytes_total == (24 + sum(16 + len(one.data) for one in content))


def test_a_block_longer_than_the_buffer_is_read(write: Callable[[bytes], Path]) -> None:
    options = b"\x01\x00\x00\x00" * (512 * 1024)
    blocks = section() + interface() + enhanced(0, ethernet(), options=options) + enhanced(9, ethernet())
    assert len(read_all(open_source(write(blocks)))) == 2


@pytest.mark.parametrize("cut", range(1, 76))
def test_a_file_cut_in_a_record_is_a_break_after_the_frames_before(tmp_path: Path, cut: int) -> None:
    content = pcap([frame(0), frame(1000), frame(2000)])
    frames, broken = read_bytes(content[:-cut], tmp_path)
    assert len(frames) == 2
    assert broken is not None
    assert "capture: at byte 176" in broken


def test_a_file_cut_between_records_ends_well(tmp_path: Path) -> None:
    frames, broken = read_bytes(pcap([frame(0), frame(1000)])[:-76], tmp_path)
    assert (len(frames), broken) == (1, None)


def test_a_captured_length_nobody_has_is_a_break(tmp_path: Path) -> None:
    content = pcap([frame()]) + bytes(8) + b"\x01\x00\x04\x00" * 2 + bytes(300_000)
    frames, broken = read_bytes(content, tmp_path)
    assert len(frames) == 1
    assert broken is not None
    assert "at byte 100 a frame claims 262145 captured bytes" in broken


def test_a_read_error_after_the_first_frame_is_a_break(
    write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(write(pcap([frame(ns) for ns in range(30_000)])))

    class Failing:
        def readinto(self, _into: memoryview) -> int:
            raise OSError(5, "Input/output error")

        def close(self) -> None:
            pass

        def place(self, position: int) -> str:
            return f"at byte {position}"

    monkeypatch.setattr(source, "_file", Failing())
    frames = read_all(source)
    assert 0 < len(frames) < 30_000
    assert source.broken is not None
    assert source.broken.endswith("reading fails: Input/output error")


def test_a_file_that_shrinks_while_read_is_a_break(write: Callable[[bytes], Path]) -> None:
    path = write(pcap([frame(ns) for ns in range(30_000)]))
    source = open_source(path)
    os.truncate(path, 1024 * 1024 + 10)
    frames = read_all(source)
    assert len(frames) == (1024 * 1024 + 10 - 24) // 76
    assert source.broken is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xd4\xc3", "begins with d4 c3"),
        (b"GIF8\0", "begins with 47 49 46 38"),
        (b"GIF89a" * 30, 'begins with the text "GIF89aGIF89aGIF8"'),
        (b"\x28\xb5\x2f\xfd" * 30, "is compressed with Zstandard; decompress it first"),
        (pcap([])[:20], "ends within its file header"),
        (pcap([]), "holds no frame"),
        (pcap([frame()])[:-1], "at byte 24 a record"),
        (pcap([frame()], version=(1, 0)), "version 1.0"),
        (pcap([frame()], version=(2, 5)), "version 2.5"),
        (pcap([frame()], link=127), "link type 127"),
        (section()[:10], "first section header"),
        (section()[:20], "cut short"),
        (section(version=(2, 0)) + interface() + enhanced(0, ethernet()), "version 2.0"),
        (section() + interface(), "holds no frame"),
        (section() + interface(link=113) + enhanced(0, ethernet()), "link type 113"),
        (
            pcap([frame()], link=113),
            "holds no Ethernet frame but Linux cooked, as `tcpdump -i any` writes it (link type 113)",
        ),
        (section() + interface() + interface(link=113) + enhanced(0, ethernet(), number=1), "link type 113"),
        (section() + enhanced(0, ethernet()), "interface 0"),
    ],
)
def test_what_cannot_be_used_at_all_is_one_sentence_that_names_the_file(
    write: Callable[[bytes], Path], content: bytes, says: str
) -> None:
    with pytest.raises(CaptureError) as error:
        open_source(write(content))
    assert "capture.pcap: " in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="absent: No such file"):
        open_source(tmp_path / "absent")
    with pytest.raises(CaptureError, match="directory"):
        open_source(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="every file is readable to root")
def test_an_unreadable_file_is_refused(write: Callable[[bytes], Path]) -> None:
    path = write(pcap([frame()]))
    path.chmod(0)
    with pytest.raises(CaptureError, match=r"capture\.pcap: Permission denied"):
        open_source(path)


def test_a_name_of_several_lines_still_makes_one_line(tmp_path: Path) -> None:
    with pytest.raises(CaptureError) as error:
        open_source(tmp_path / "two\nlines")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("frames", [4096, 3])
def test_frames_of_interfaces_that_are_not_ethernet_are_left_out_and_counted(
    write: Callable[[bytes], Path], frames: int
) -> None:
    """They take no time on the wire, set no clock, and may be longer than any Ethernet frame."""
    other = interface(link=220, resolution=9)
    content = section() + other + interface(resolution=9) + enhanced(7, bytes(400_000))
    for n in range(5):
        content += enhanced(1000 * n, ethernet(length=60 + n), number=1) + enhanced(50 * n, b"")
    source = open_source(write(content))
    got = read_all(source, new_batch(frames))
    assert [(one.arrival_ns, one.wire) for one in got] == [(1000 * n, 60 + n) for n in range(5)]
    assert (source.skipped_frames, source.broken) == (6, None)


def test_idle_gaps_over_a_second_are_shortened_to_one(write: Callable[[bytes], Path]) -> None:
    stamps = [0, SECOND + 64, 2 * SECOND + 130, 9 * SECOND, 9 * SECOND + 500, 3 * SECOND, 20 * SECOND]
    source = open_source(write(pcap([frame(ns) for ns in stamps], magic=0xA1B23C4D)), shorten_gaps=True)
    got = [one.arrival_ns for one in read_all(source)]
    skipped = 9 * SECOND - (2 * SECOND + 128 + 64) - SECOND  # the second gap is 2 ns over 1 s and cut too
    assert got[:3] == [0, SECOND + 64, 2 * SECOND + 128]
    assert got[3] == got[2] + 64 + SECOND
    assert got[4] == got[3] + 500
    assert got[5] == got[4] + 64
    assert got[6] == got[5] + 64 + SECOND
    assert source.skipped_ns == stamps[-1] - got[-1]
    assert source.skipped_ns > skipped


def test_gaps_are_kept_unless_asked(write: Callable[[bytes], Path]) -> None:
    source = open_source(write(pcap([frame(0), frame(9 * SECOND)])))
    assert read_all(source)[1].arrival_ns == 9 * SECOND
    assert source.skipped_ns == 0


def test_shortening_is_the_same_in_batches_of_one(write: Callable[[bytes], Path]) -> None:
    path = write(pcap([frame(n * n * SECOND // 3) for n in range(20)]))
    one_by_one, at_once = open_source(path, shorten_gaps=True), open_source(path, shorten_gaps=True)
    assert read_all(one_by_one, new_batch(1)) == read_all(at_once)
    assert one_by_one.skipped_ns == at_once.skipped_ns > 0


def looped(path: Path, count: int, **options: Any) -> tuple[list[int], CaptureSource]:
    source = open_source(path, loop=True, **options)
    batch = new_batch(5)
    times: list[int] = []
    while len(times) < count:
        filled = source.fill(batch, NO_LIMIT)
        assert filled.next_ns is not None
        times += batch.arrival_ns[: filled.frames].tolist()
    return times[:count], source


def test_a_loop_begins_again_right_after_the_end_of_the_last_frame(write: Callable[[bytes], Path]) -> None:
    times, _ = looped(write(pcap([frame(7000), frame(8000), frame(10_000)])), 7)
    again = 3000 + WIRE_NS_60
    assert times == [0, 1000, 3000, again, again + 1000, again + 3000, 2 * again]


def test_a_loop_carries_fractions_of_a_nanosecond_over(write: Callable[[bytes], Path]) -> None:
    times, _ = looped(write(pcap([frame(0), frame(0, ethernet(length=61))])), 999, link_gbps=7.3)
    assert times == arrivals([0] * 999, [60, 61] * 499 + [60], "7.3")


def test_a_loop_over_a_broken_file_takes_its_whole_frames(write: Callable[[bytes], Path]) -> None:
    times, source = looped(write(pcap([frame(0), frame(1000), frame(2000)])[:-1]), 5)
    assert times == [0, 1000, 1064, 2064, 2128]
    assert source.broken is None


def test_a_loop_whose_file_loses_its_frames_ends(write: Callable[[bytes], Path]) -> None:
    path = write(pcap([frame(0), frame(1000)]))
    source = open_source(path, loop=True)
    source.fill(new_batch(1), NO_LIMIT)
    path.write_bytes(pcap([]))
    assert len(read_all(source)) == 1
    assert source.broken is not None
    assert "holds no frame any more" in source.broken


def test_a_pcapng_loop_forgets_its_interfaces_and_first_stamp(write: Callable[[bytes], Path]) -> None:
    blocks = section() + interface(resolution=9) + enhanced(100, ethernet()) + enhanced(300, ethernet())
    times, _ = looped(write(blocks), 4)
    assert times == [0, 200, 264, 464]


def test_what_can_be_read_only_once_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"null: this is not a regular file"):
        open_source(Path(os.devnull))


def test_memory_for_a_block_is_bounded(write: Callable[[bytes], Path]) -> None:
    blocks = section() + interface() + enhanced(0, ethernet())
    blocks += b"\x06\x00\x00\x00" + (16 * 1024 * 1024 + 4).to_bytes(4, "little") + bytes(100)
    source = open_source(write(blocks))
    assert len(read_all(source)) == 1
    assert source.broken is not None
    assert "claims a length of 16777220 bytes" in source.broken
    assert len(source._buffer) == capture._CHUNK_BYTES


def test_link_speed_must_be_positive(write: Callable[[bytes], Path]) -> None:
    with pytest.raises(ValueError, match="link_gbps"):
        open_source(write(pcap([frame()])), link_gbps=0.0)


def test_the_batch_is_left_alone_beyond_its_frames(write: Callable[[bytes], Path]) -> None:
    batch = new_batch(4, 256)
    batch.data[:] = 0xEE
    filled = open_source(write(pcap([frame(0, ethernet(length=61))]))).fill(batch, NO_LIMIT)
    assert filled.frames == 1
    assert np.all(batch.data[61:] == 0xEE)
