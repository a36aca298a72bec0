"""A link that changes its speed, and traffic that begins later than the engine: nothing overlaps."""

from fractions import Fraction
from pathlib import Path

from engine.traffic.capture import CaptureSource
from engine.traffic.synthetic import SyntheticSource
from tests.traffic.captures import ethernet, frame, pcap
from tests.traffic.reading import NO_LIMIT, frames_of, new_batch
from tests.traffic.test_synthetic import TWO_ADAPTERS, Frame, batch, one_flow, read, scenario

START_NS = 123_456_789_012
MIXED = 'rate_pps = 1e6\npattern = "random"\nflow = [{ mac = "00:15:5d:00:00:01" }, { kind = "unknown" }]'


def test_traffic_that_begins_later_is_the_same_traffic_later() -> None:
    made = scenario(MIXED)
    early = read(SyntheticSource(made), batch(2000, 4_000_000))
    late = read(SyntheticSource(made, start_ns=START_NS), batch(2000, 4_000_000))

    assert len(early) == 2000
    assert late == [Frame(one.content, one.arrival_ns + START_NS, one.adapter) for one in early]


def test_a_slower_link_holds_from_the_next_frame_on_and_the_last_keeps_its_time() -> None:
    source = SyntheticSource(one_flow("rate_pps = 1e9"))  # 60 bytes take 64 ns at 10 Gbit/s
    before = read(source, batch(3, 4096))

    source.set_link(0, 5.0)
    after = read(source, batch(3, 4096))

    assert [one.arrival_ns for one in before] == [0, 64, 128]
    assert [one.arrival_ns for one in after] == [192, 320, 448]


def test_a_link_of_another_adapter_changes_nothing() -> None:
    flow = 'flow = [{ mac = "00:15:5d:00:00:01", frame_bytes = 60 }]'
    source = SyntheticSource(scenario(f'adapter = "nic0"\nrate_pps = 1e9\n{flow}', adapters=TWO_ADAPTERS))

    source.set_link(1, 0.001)

    assert [one.arrival_ns for one in read(source, batch(3, 4096))] == [0, 64, 128]


def test_the_end_of_a_frame_is_exact_at_any_speeds() -> None:
    source = SyntheticSource(one_flow("rate_pps = 1e9", "frame_bytes = 61"))
    ends = Fraction(0)
    for link in ("10", "3", "7.3", "0.001", "10000", "9.9"):
        source.set_link(0, float(link))
        frames = read(source, batch(50, 50 * 61))
        for one in frames:
            # Up to a 1/denominator of a ns is let go of at a change.
            assert int(ends) - 1 <= one.arrival_ns <= ends
            ends = max(Fraction(one.arrival_ns), ends) + 81 * 8 / Fraction(link)
        assert 0 <= ends - source.wire_free()[0] < 6


def test_new_traffic_waits_for_the_frame_that_is_on_the_wire() -> None:
    slow = one_flow(
        "rate_pps = 1000", "frame_bytes = 1514", adapters='[[adapter]]\nname = "nic0"\nlink_gbps = 0.001'
    )
    old = SyntheticSource(slow)
    assert [one.arrival_ns for one in read(old, batch(1, 4096))] == [0]
    assert old.wire_free() == {0: 1534 * 8000}

    new = SyntheticSource(slow, start_ns=1_000_000, wire_free=old.wire_free())

    assert [one.arrival_ns for one in read(new, batch(2, 4096))] == [1534 * 8000, 2 * 1534 * 8000]


def test_a_capture_goes_on_at_another_speed_too(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap([frame(0, ethernet(length=60))] * 6))
    source = CaptureSource(path, adapter=2, link_gbps=10.0)
    into = new_batch(frames=3)
    arrivals = []
    for adapter, link in ((0, 1.0), (2, 5.0)):
        arrivals += [one.arrival_ns for one in frames_of(into, source.fill(into, NO_LIMIT).frames)]
        source.set_link(adapter, link)
        if adapter == 0:
            source.set_link(2, 2.5)
    source.close()

    assert arrivals == [0, 64, 128, 192, 448, 704]
