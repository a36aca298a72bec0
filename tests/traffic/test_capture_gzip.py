"""Captures compressed with gzip are read as they are; hostile ones end in a sentence, in bounded memory."""

import gzip
import zlib
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest

from engine.traffic import capture_file
from engine.traffic.capture import CaptureError, CaptureSource
from tests.traffic.captures import ethernet, frame, pcap
from tests.traffic.reading import NO_LIMIT, Read, new_batch, read_all

FRAMES = [frame(1000 * n, ethernet(length=60 + n * 7919 % 1400)) for n in range(400)]
PLAIN = pcap(FRAMES)
WHOLE = gzip.compress(PLAIN, mtime=0)

ReadFile = Callable[[bytes], tuple[list[Read], str | None]]


@pytest.fixture
def read(tmp_path: Path) -> ReadFile:
    def read_file(content: bytes) -> tuple[list[Read], str | None]:
        path = tmp_path / "capture.pcap.gz"
        path.write_bytes(content)
        source = CaptureSource(path, adapter=0, link_gbps=10.0)
        try:
            return read_all(source), source.broken
        finally:
            source.close()

    return read_file


@pytest.mark.parametrize(
    "content",
    [
        WHOLE,
        gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:]),
        gzip.compress(b"") + WHOLE + gzip.compress(b"") + bytes(1000),
        WHOLE + bytes(3),
    ],
    ids=["one member", "two members", "empty members and padding", "padding"],
)
def test_the_frames_are_those_of_the_decompressed_file(content: bytes, read: ReadFile) -> None:
    assert read(content) == read(PLAIN)
    assert read(content)[1] is None


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 200, len(WHOLE) // 2])
def test_a_cut_compressed_file_is_a_break_after_the_frames_before_it(cut: int, read: ReadFile) -> None:
    whole, _ = read(PLAIN)
    frames, broken = read(WHOLE[:-cut])
    decompressed = len(zlib.decompressobj(31).decompress(WHOLE[:-cut]))
    ends = list(accumulate((16 + len(one.data) for one in FRAMES), initial=24))
    count = bisect_right(ends, decompressed) - 1
    assert frames == whole[:count]
    assert broken is not None
    assert broken.endswith(f": at decompressed byte {ends[count]} the compressed data are cut short")


def test_a_damaged_checksum_is_a_break_after_all_frames(read: ReadFile) -> None:
    damaged = bytearray(WHOLE)
    damaged[-6] ^= 1
    frames, broken = read(bytes(damaged))
    assert len(frames) == len(FRAMES)
    assert broken is not None
    assert "the compressed data are damaged (incorrect data check)" in broken


def test_damage_in_the_middle_is_a_break_after_the_frames_before_it(read: ReadFile) -> None:
    middle = len(WHOLE) // 2
    frames, broken = read(WHOLE[:middle] + b"\xff" * 40 + WHOLE[middle:])
    assert 100 < len(frames) < len(FRAMES)
    assert broken is not None


def test_what_follows_the_last_member_is_a_break_after_all_frames(read: ReadFile) -> None:
    frames, broken = read(WHOLE + b"trailing garbage")
    assert len(frames) == len(FRAMES)
    assert broken is not None
    assert broken.endswith("what follows the compressed data is no gzip member")


def test_what_it_decompresses_to_is_bounded(read: ReadFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_file, "DECOMPRESSED_LIMIT", 1 << 30)
    monkeypatch.setattr("engine.traffic.capture._CHUNK_BYTES", 1 << 16)
    assert len(read(WHOLE)[0]) == len(FRAMES)
    monkeypatch.setattr(capture_file, "DECOMPRESSED_LIMIT", 100_000)
    frames, broken = read(WHOLE)
    assert 0 < len(frames) < len(FRAMES)
    assert broken is not None
    assert "decompresses to more than 0 GiB" in broken


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(b""), "is empty"),
        (gzip.compress(WHOLE), "is gzip data within gzip data; decompress it once"),
        (gzip.compress(b"no capture"), 'begins with the text "no capture"'),
        (gzip.compress(bytes(1 << 24)), "begins with 00 00 00 00"),
        (b"\x1f\x8b\x08\x00" * 30, "the compressed data are damaged"),
        (WHOLE[:12], "the compressed data are cut short"),
    ],
)
def test_what_holds_no_capture_is_refused_in_a_sentence(content: bytes, says: str, read: ReadFile) -> None:
    with pytest.raises(CaptureError, match=r"capture\.pcap\.gz: ") as error:
        read(content)
    assert says in str(error.value)


def test_a_compressed_capture_can_be_looped(tmp_path: Path) -> None:
    path = tmp_path / "loop.pcap.gz"
    path.write_bytes(gzip.compress(pcap([frame(7000), frame(8000), frame(10_000)])))
    source = CaptureSource(path, adapter=0, link_gbps=10.0, loop=True)
    batch = new_batch(5)
    times: list[int] = []
    while len(times) < 7:
        times += batch.arrival_ns[: source.fill(batch, NO_LIMIT).frames].tolist()
    assert times[:7] == [0, 1000, 3000, 3064, 4064, 6064, 6128]
    assert source.bytes_total == path.stat().st_size
    source.close()
