"""The sketch of what queue 0 takes against exact counts."""

from collections import Counter

import numpy as np
import pytest

from engine.kernels.layout import TOP, TOP_PAIRS, TOP_ROW
from engine.kernels.top import most_frequent, note_all

STRIDE = 18


def frames_of(pairs: list[tuple[int, int]]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Frames to (MAC, VID), one after another; VID 0 stands for no tag."""
    frames = b""
    for mac, vid in pairs:
        tag = b"\x81\0" + (0x2000 | vid).to_bytes(2, "big") if vid else b"\x08\0\0\0"
        frames += (mac.to_bytes(6, "big") + b"\2" * 6 + tag).ljust(STRIDE, b"\0")
    return np.frombuffer(frames, np.uint8).copy()


def sketch_of(pairs: list[tuple[int, int]]) -> list[list[int]]:
    top = np.zeros((TOP_PAIRS, TOP_ROW), np.int64)
    places = np.arange(len(pairs), dtype=np.int64) * STRIDE
    note_all(top, frames_of(pairs), places, np.array([vid % 5 for _, vid in pairs], np.int64))
    return [row.tolist() for row in most_frequent(top, TOP_PAIRS)]


def key_of(pair: tuple[int, int]) -> int:
    mac, vid = pair
    return int(np.array([mac << 16 | vid], np.uint64).view(np.int64)[0])


def test_few_pairs_are_counted_exactly_with_the_reason_of_the_last_frame() -> None:
    pairs = [(0xFFFFFFFFFFFF, 0)] * 3 + [(0, 0)] * 2 + [(0x0015_5D00_0001, 10)] * 5 + [(0x0015_5D00_0001, 0)]
    assert sketch_of(pairs) == [
        [key_of((0x0015_5D00_0001, 10)), 5, 0, 0],
        [key_of((0xFFFFFFFFFFFF, 0)), 3, 0, 0],
        [key_of((0, 0)), 2, 0, 0],
        [key_of((0x0015_5D00_0001, 0)), 1, 0, 0],
    ]


@pytest.mark.parametrize("seed", range(5))
def test_many_pairs_are_bounded_from_both_sides_and_none_is_forgotten_that_is_frequent(seed: int) -> None:
    random = np.random.default_rng(seed)
    ranks = random.zipf(1.3, 20_000) % 5_000
    pairs = [(0x0200_0000_0000 + int(rank) * 0x1_0001, int(rank) % 4094) for rank in ranks]
    exact = Counter(key_of(pair) for pair in pairs)
    rows = sketch_of(pairs)
    assert sum(row[TOP.frames] for row in rows) == len(pairs)
    assert len(rows) <= TOP_PAIRS
    for row in rows:
        assert row[TOP.frames] - row[TOP.error] <= exact[row[TOP.key]] <= row[TOP.frames]
        assert 0 <= row[TOP.reason] < 5
    found = {row[TOP.key] for row in rows}
    assert {key for key, count in exact.most_common(20)} <= found
    assert [row[TOP.frames] for row in rows] == sorted((row[TOP.frames] for row in rows), reverse=True)
