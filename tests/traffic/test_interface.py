"""A live interface as a source, at the end of a cable, held against pcapy and the kernel's own counts."""

import time

import numpy as np
import pytest

from engine.ndis import counters
from engine.traffic.batch import FrameBatch
from engine.traffic.interface import InterfaceSource
from engine.traffic.libpcap import InterfaceError
from tests.traffic.captures import ethernet
from tests.veth import Veth
from vmqtui.testing import wait_until

FRAMES = [
    ethernet("00:15:5d:00:00:01", vlan=vid) + bytes([number]) * 60
    for number, vid in enumerate((None, 7, 0, 9))
]


class Reading:
    """A source read as a live engine does: for as much simulated time as wall time has passed."""

    def __init__(self, interface: str, **options: object) -> None:
        # Options of any of its types.
        self.source = InterfaceSource(interface, adapter=2, link_gbps=10.0, **options)  # type: ignore[arg-type]
        self.frames: list[bytes] = []
        self.arrivals: list[int] = []
        self.counted = 0
        self.ended = False
        self._room = FrameBatch(
            np.empty(1 << 20, np.uint8), np.empty(4096, np.int64), np.empty(4096, np.uint32),
            np.empty(4096, np.uint32), np.empty(4096, np.int64), np.empty(4096, np.uint16),
        )  # fmt: skip
        self.source.counters()
        self.begun_ns = time.monotonic_ns()
        self.step()

    def step(self) -> None:
        room, until_ns = self._room, time.monotonic_ns() - self.begun_ns
        next_ns: int | None = 0
        while next_ns is not None and next_ns < until_ns:
            filled = self.source.fill(room, until_ns)
            next_ns = filled.next_ns
            self.ended |= next_ns is None
            assert (room.adapter[: filled.frames] == 2).all()
            assert (room.captured[: filled.frames] == room.wire[: filled.frames]).all()
            for at, size in zip(room.offset[: filled.frames], room.captured[: filled.frames], strict=True):
                self.frames.append(room.data[at : at + size].tobytes())
            self.arrivals += room.arrival_ns[: filled.frames].tolist()

    def read(self, frames: int) -> None:
        """Read on until there are so many frames, or no more come."""
        wait_until(
            lambda: len(self.frames) >= frames or self.ended,
            what=f"{frames} frames",
            seen=lambda: len(self.frames),
            between=self.step,
        )


def test_frames_come_byte_for_byte_and_tags_that_the_kernel_took_off_are_put_back(cable: Veth) -> None:
    reading = Reading(cable.near)
    cable.send(FRAMES)
    reading.read(len(FRAMES))
    assert reading.frames == FRAMES
    assert reading.source.counters() == {
        "kernel_received_frames": len(FRAMES),
        "kernel_dropped_frames": 0,
        "interface_dropped_frames": 0,
    }
    assert list(reading.source.counters()) == list(counters.names(counters.INTERFACE))
    reading.source.close()


def test_frames_arrive_as_far_apart_as_the_kernel_stamped_them(cable: Veth) -> None:
    pcapy = pytest.importorskip("pcapy")
    witness = pcapy.open_live(cable.near, 65_535, 0, 10)
    reading = Reading(cable.near)
    cable.send(FRAMES[:1])
    reading.read(1)
    cable.send(FRAMES[:2])
    reading.read(3)
    stamps: list[int] = []
    while len(stamps) < 3:
        header, _ = witness.next()
        if header is not None:
            seconds, microseconds = header.getts()
            stamps.append(seconds * 10**6 + microseconds)
    apart_us = np.diff(reading.arrivals) / 1000
    assert apart_us == pytest.approx(np.diff(stamps), abs=1.5)
    assert apart_us[0] > 1000  # a program was started in between
    reading.source.close()


def test_frames_of_before_the_start_and_frames_that_the_machine_sends_are_left_out(cable: Veth) -> None:
    early = InterfaceSource(cable.near, adapter=2, link_gbps=10.0)
    cable.send(FRAMES)
    deadline = time.monotonic() + 10
    while early._interface.counters() != (len(FRAMES), 0, 0):
        assert time.monotonic() < deadline
    assert early.counters()["kernel_received_frames"] == 0
    early.close()

    reading = Reading(cable.near)
    cable.send_outwards(FRAMES)
    cable.send(FRAMES[:1])
    reading.read(1)
    assert reading.frames == FRAMES[:1]
    reading.source.close()


def test_what_the_kernel_drops_is_counted(cable: Veth) -> None:
    reading = Reading(cable.near, kernel_bytes=1 << 20)
    cable.send([FRAMES[1]] * 20_000)
    lost = reading.source.counters()
    assert lost["kernel_received_frames"] == 20_000
    assert 0 < lost["kernel_dropped_frames"] < 20_000
    reading.read(20_000 - lost["kernel_dropped_frames"])
    assert set(reading.frames) == {FRAMES[1]}
    assert reading.arrivals == sorted(reading.arrivals)
    assert reading.source.counters() == lost
    reading.source.close()


def test_when_the_model_gave_up_time_or_the_clock_is_set_frames_are_not_late_for_ever(
    cable: Veth, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(cable.near)
    with monkeypatch.context() as patch:
        now = time.time_ns
        patch.setattr("engine.traffic.interface.time.time_ns", lambda: now() + 5_000_000_000)
        reading.step()
        cable.send(FRAMES)
        reading.read(4)
    reading.step()
    cable.send(FRAMES)
    reading.read(8)
    assert reading.arrivals[-1] < time.monotonic_ns() - reading.begun_ns
    reading.source.close()


def test_when_the_interface_goes_away_the_source_ends_and_says_why(cable: Veth) -> None:
    reading = Reading(cable.near)
    cable.send(FRAMES)
    reading.read(4)
    counted = reading.source.counters()
    cable.remove()
    reading.read(5)
    assert reading.ended
    assert reading.source.broken is not None
    assert reading.source.broken.startswith(f"{cable.near}: ")
    assert reading.source.broken.endswith("no more frames come from it")
    assert reading.source.counters() == counted
    reading.source.close()


@pytest.mark.parametrize(
    ("name", "wrong"), [("no-such-if", "there is no such interface"), ("any", "is not an Ethernet interface")]
)
def test_an_interface_that_can_not_be_read_is_refused_in_a_sentence(
    name: str, wrong: str, cable: Veth
) -> None:
    with pytest.raises(InterfaceError, match=f"^interface: {name}: {wrong}.*fits"):
        InterfaceSource(name, adapter=0, link_gbps=10.0)
