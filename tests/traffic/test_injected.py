"""Frames from memory: on the wire as any frame, among those of a source, in order of arrival."""

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scenario.load import parse_scenario
from engine.traffic import injected as module
from engine.traffic.batch import FrameBatch, Source
from engine.traffic.capture import CaptureSource
from engine.traffic.injected import Injected, frames_of
from engine.traffic.synthetic import SyntheticSource
from tests.slow import examples
from tests.traffic import captures

TRAFFIC = """
[[adapter]]
name = "a"
link_gbps = 1
[[adapter]]
name = "b"
link_gbps = 10
[[traffic.mix]]
adapter = "a"
rate_gbps = {rate}
  [[traffic.mix.flow]]
  kind = "broadcast"
[[traffic.mix]]
adapter = "b"
rate_pps = 200_000
pattern = "random"
  [[traffic.mix.flow]]
  kind = "broadcast"
"""
LINKS = (1.0, 10.0)
Sent = tuple[int, int, bytes]  # arrival, adapter, content


def batch_for(frames: int) -> FrameBatch:
    return FrameBatch(
        np.zeros(1 << 20, np.uint8),
        np.zeros(frames, np.int64),
        np.zeros(frames, np.uint32),
        np.zeros(frames, np.uint32),
        np.zeros(frames, np.int64),
        np.zeros(frames, np.uint16),
    )


def read(injected: Injected, source: Source | None, until_ns: int, batch: FrameBatch) -> Iterator[Sent]:
    """Every frame that arrives before a time, as the conductor reads them."""
    while True:
        filled = injected.fill(source, batch, until_ns)
        for row in range(filled.frames):
            start, size = int(batch.offset[row]), int(batch.captured[row])
            assert batch.wire[row] == size
            content = batch.data[start : start + size].tobytes()
            yield int(batch.arrival_ns[row]), int(batch.adapter[row]), content
        if filled.next_ns is None or filled.next_ns >= until_ns:
            return


def test_frames_alone_arrive_back_to_back_at_link_rate() -> None:
    injected = Injected(LINKS)
    assert not injected
    injected.add(1, [bytes(60), bytes(61), bytes(0)], 1000)
    assert injected
    assert [one[0] for one in read(injected, None, 10_000, batch_for(100))] == [1000, 1064, 1128]
    assert not injected
    assert injected.wire_free() == {1: Fraction("1144.8")}


def test_runs_are_sent_by_time_and_those_of_one_time_in_the_order_of_the_calls() -> None:
    injected = Injected(LINKS)
    for content, at_ns in ((b"third", 900), (b"first", 100), (b"fourth", 900), (b"second", 100)):
        injected.add(0, [content], at_ns)
    sent = list(read(injected, None, 5000, batch_for(100)))
    assert [one[2] for one in sent] == [b"first", b"second", b"third", b"fourth"]
    assert [one[0] for one in sent] == [100, 300, 900, 1100]


def test_nothing_before_its_time_and_the_source_says_when() -> None:
    injected = Injected(LINKS)
    injected.add(0, [b"x" * 60], 5000)
    filled = injected.fill(None, batch_for(10), 5000)
    assert (filled.frames, filled.next_ns) == (0, 5000)
    filled = injected.fill(None, batch_for(10), 5001)
    assert (filled.frames, filled.next_ns) == (1, None)


runs = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 400_000), st.lists(st.integers(0, 1514), min_size=1, max_size=20)
    ),
    max_size=8,
)


@settings(max_examples=examples(200), deadline=None)
@given(runs, st.sampled_from(["0.1", "0.9", "5"]), st.integers(1, 40), st.integers(1, 400_000))
def test_frames_share_the_wire_with_a_source(
    given_runs: list[tuple[int, int, list[int]]], rate: str, room: int, pause_ns: int
) -> None:
    scenario = parse_scenario(TRAFFIC.format(rate=rate))
    alone = list(read(Injected(LINKS), SyntheticSource(scenario), 500_000, batch_for(4096)))
    injected, source = Injected(LINKS), SyntheticSource(scenario)
    mine: list[Sent] = []
    for number, (adapter, at_ns, sizes) in enumerate(given_runs):
        frames = [f"{number:04}{i:04}".encode().ljust(size, b"\xfe")[:size] for i, size in enumerate(sizes)]
        injected.add(adapter, frames, at_ns)
        mine += [(at_ns, adapter, frame) for frame in frames]
    batch = batch_for(room)
    sent = [*read(injected, source, pause_ns, batch), *read(injected, source, 800_000, batch)]

    assert [one[0] for one in sent] == sorted(one[0] for one in sent)
    for adapter, link_gbps in enumerate(LINKS):
        own = [one for one in sent if one[1] == adapter]
        for (before_ns, _, frame), (now_ns, *_) in pairwise(own):
            assert now_ns - before_ns >= int((len(frame) + 20) * 8 / Fraction(str(link_gbps)))
        # Frames of the source lose no place: each arrives no earlier than it would alone.
        theirs = [one for one in own if one[2][:6] == b"\xff" * 6 and len(one[2]) >= 60]
        for (late_ns, _, frame), (ns, _, expected) in zip(
            theirs, (one for one in alone if one[1] == adapter), strict=False
        ):
            assert frame == expected
            assert late_ns >= ns
    found = [one[2] for one in sent if not (one[2][:6] == b"\xff" * 6 and len(one[2]) >= 60)]
    assert sorted(found) == sorted(frame for *_, frame in mine)
    assert not injected


def by_hand(base: list[tuple[int, int]], calls: list[tuple[int, list[int]]], link_gbps: str) -> list[int]:
    """The arrivals on one wire: of a source's frames (time, size) and those of calls (time, sizes)."""
    free = Fraction(0)
    arrivals: list[int] = []

    def send(ns: int, size: int) -> None:
        nonlocal free
        start = max(Fraction(ns), free)
        arrivals.append(int(start))
        free = start + (size + 20) * 8 / Fraction(link_gbps)

    left = list(base)
    in_order: list[tuple[int, list[int]]] = sorted(calls, key=lambda call: call[0])
    for at_ns, sizes in in_order:
        while left and left[0][0] < at_ns and free < at_ns:
            send(*left.pop(0))
        for size in sizes:
            send(at_ns, size)
    for one in left:
        send(*one)
    return arrivals


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(60, 1514)), min_size=1, max_size=40),
    st.lists(
        st.tuples(st.integers(0, 40_000), st.lists(st.integers(0, 1514), min_size=1, max_size=10)), max_size=6
    ),
    st.sampled_from(["3", "7.7", "100"]),
)
def test_frames_share_the_wire_with_a_capture_as_by_hand(
    gaps: list[tuple[int, int]], calls: list[tuple[int, list[int]]], link_gbps: str
) -> None:
    times = [sum(gap for gap, _ in gaps[1 : i + 1]) for i in range(len(gaps))]
    base = [(ns, size) for ns, (_, size) in zip(times, gaps, strict=True)]
    injected = Injected([float(link_gbps)])
    for at_ns, sizes in calls:
        injected.add(0, [bytes(size) for size in sizes], at_ns)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x.pcap")
        path.write_bytes(
            captures.pcap([captures.frame(ns, b"\xff" * size) for ns, size in base], magic=0xA1B23C4D)
        )
        source = CaptureSource(path, adapter=0, link_gbps=float(link_gbps))
        sent = [*read(injected, source, 17_000, batch_for(7)), *read(injected, source, 10**9, batch_for(7))]
        source.close()
    assert [one[0] for one in sent] == by_hand(base, calls, link_gbps)


def test_the_room_in_a_batch_changes_nothing() -> None:
    scenario = parse_scenario(TRAFFIC.format(rate="0.5"))
    results = []
    for room in (3, 4096):
        injected, source = Injected(LINKS), SyntheticSource(scenario)
        injected.add(0, [bytes(100)] * 50, 10_000)
        injected.add(1, [bytes(1000)] * 50, 10_500)
        results.append(list(read(injected, source, 200_000, batch_for(room))))
    assert results[0] == results[1]


def test_a_slower_link_holds_for_frames_that_are_not_on_the_wire_yet() -> None:
    injected = Injected(LINKS)
    injected.add(0, [bytes(80)] * 2, 0)
    injected.set_link(0, 0.1)
    assert [one[0] for one in read(injected, None, 10**6, batch_for(10))] == [0, 8000]


class Packet:
    """As a library of packets has them."""

    def __init__(self, content: bytes | Exception) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        if isinstance(self._content, Exception):
            raise self._content
        return self._content


def test_a_frame_is_bytes_or_has_bytes() -> None:
    frames: Any = [b"a", bytearray(b"b"), memoryview(b"c"), Packet(b"d")]
    assert frames_of(frames) == frames_of(iter(frames)) == [b"a", b"b", b"c", b"d"]
    assert frames_of(b"abc") == [b"abc"]
    assert frames_of(Packet(b"abc")) == [b"abc"]
    assert frames_of([]) == []


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ("text", "frames: str is no list of frames (bytes, or packets of scapy, fit)"),
        (7, "frames: int is no list of frames (bytes, or packets of scapy, fit)"),
        ([b"", 7], "frames[1]: int is no frame (bytes, or a packet of scapy, fits)"),
        ([Packet(ValueError("no MAC"))], "frames[0]: its bytes can't be built: no MAC"),
        ([bytes(65_536)], "frames[0]: 65,536 bytes (up to 65,535 fit)"),
    ],
)
def test_what_is_no_frame_is_refused_in_a_sentence(frames: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^frames") as caught:
        frames_of(frames)
    assert str(caught.value) == sentence


def test_frames_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT_BYTES", 1 << 20)
    endless = (bytes(1000) for _ in iter(int, 1))
    with pytest.raises(ValueError, match=r"^frames: more than 1 MiB \(hand them over in parts\)$"):
        frames_of(endless)
    injected = Injected(LINKS)
    injected.add(0, [bytes(936)] * 1000, 0)
    with pytest.raises(
        ValueError, match=r"^frames: 100 frames beside those that wait would take more than 1 MiB"
    ):
        injected.add(0, [bytes(936)] * 100, 0)
    assert len(list(read(injected, None, 10**9, batch_for(5000)))) == 1000
    injected.add(0, [bytes(936)] * 100, 10**9)
