"""Every form of pcap and pcapng, held against writers of our own and libpcap."""

import struct
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.traffic.capture import CaptureError, CaptureSource
from tests.slow import examples
from tests.traffic.captures import (
    SECOND,
    Frame,
    arrivals,
    block,
    enhanced,
    ethernet,
    frame,
    interface,
    obsolete,
    option,
    pcap,
    section,
    simple,
    units_per_second,
)
from tests.traffic.reading import Read, read_all, read_bytes

ORDERS = ("<", ">")
MAGICS = {"us": 0xA1B2C3D4, "ns": 0xA1B23C4D, "kuznetzov": 0xA1B2CD34}
BRISK = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])


def plain(frames: list[Read]) -> list[tuple[bytes, int, int]]:
    return [(one.data, one.captured, one.wire) for one in frames]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("magic", MAGICS)
def test_every_pcap_magic_in_both_byte_orders(tmp_path: Path, order: str, magic: str) -> None:
    content = [frame(3 * SECOND, wire=99), frame(3 * SECOND + 123_456_789, ethernet(length=61))]
    frames, broken = read_bytes(pcap(content, order=order, magic=MAGICS[magic]), tmp_path)
    assert broken is None
    assert plain(frames) == [(one.data, len(one.data), one.wire) for one in content]
    assert frames[1].arrival_ns == (123_456_789 if magic == "ns" else 123_456_000)


def test_pcap_seconds_are_unsigned(tmp_path: Path) -> None:
    frames, _ = read_bytes(pcap([frame(0x7FFFFFFF * SECOND), frame(0x80000001 * SECOND)]), tmp_path)
    assert frames[1].arrival_ns == 2 * SECOND


def test_a_fraction_over_a_second_carries(tmp_path: Path) -> None:
    content = pcap([frame()]) + struct.pack("<IIII", 1, 2**32 - 1, 60, 60) + ethernet()
    assert read_bytes(content, tmp_path)[0][1].arrival_ns == SECOND + (2**32 - 1) * 1000


@pytest.mark.parametrize("link", [0x00000001, 0x10000001, 0xF4000001])
def test_fcs_bits_beside_the_link_type_are_ignored(tmp_path: Path, link: int) -> None:
    assert len(read_bytes(pcap([frame()], link=link), tmp_path)[0]) == 1


def test_a_link_type_is_more_than_its_low_16_bits(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="link type 65537"):
        read_bytes(pcap([frame()], link=0x10001), tmp_path)


@pytest.mark.parametrize("version", [(2, 0), (2, 2), (543, 0)])
def test_old_versions_have_their_lengths_the_other_way_round(
    tmp_path: Path, version: tuple[int, int]
) -> None:
    content = pcap([frame(0, wire=99), frame(9, wire=60)], version=version, swap_lengths=True)
    frames, _ = read_bytes(content, tmp_path)
    assert [(one.captured, one.wire) for one in frames] == [(60, 99), (60, 60)]


def test_version_2_3_has_them_either_way(tmp_path: Path) -> None:
    for swap in (False, True):
        content = pcap([frame(0, wire=99)], version=(2, 3), swap_lengths=swap)
        assert plain(read_bytes(content, tmp_path)[0]) == [(ethernet(), 60, 99)]


def test_lengths_are_as_the_file_states_them(tmp_path: Path) -> None:
    content = [frame(0, wire=0), frame(9, wire=2**32 - 1), frame(10, b"", 60), frame(20, ethernet(length=99))]
    frames, _ = read_bytes(pcap(content, snaplen=64), tmp_path)
    assert plain(frames) == [(one.data, len(one.data), one.wire) for one in content]


@pytest.mark.parametrize("order", ORDERS)
def test_enhanced_simple_and_obsolete_packets(tmp_path: Path, order: str) -> None:
    blocks = section(order) + interface(order, snaplen=50)
    blocks += enhanced(2_000_000, ethernet(length=61), 99, order=order)
    blocks += simple(ethernet(length=50), 1000, order=order)
    blocks += obsolete(2_000_500, ethernet(length=77), order=order) + simple(ethernet(length=33), order=order)
    frames, broken = read_bytes(blocks, tmp_path)
    assert broken is None
    assert [(len(one.data), one.captured, one.wire) for one in frames] == [
        (61, 61, 99), (50, 50, 1000), (77, 77, 77), (33, 33, 33),
    ]  # fmt: skip
    assert [one.arrival_ns for one in frames] == arrivals([0, None, 500_000, None], [99, 1000, 77, 33])


def test_a_simple_packet_without_a_snapshot_length_is_whole(tmp_path: Path) -> None:
    frames, _ = read_bytes(section() + interface() + simple(ethernet(length=999)), tmp_path)
    assert plain(frames) == [(ethernet(length=999), 999, 999)]


def test_time_counts_from_the_first_frame_that_has_one(tmp_path: Path) -> None:
    blocks = section() + interface() + simple(ethernet()) + enhanced(77_000_000, ethernet())
    blocks += enhanced(77_000_001, ethernet())
    assert [one.arrival_ns for one in read_bytes(blocks, tmp_path)[0]] == [0, 64, 1000]


def test_sections_of_either_byte_order_follow_each_other(tmp_path: Path) -> None:
    second = interface(">", resolution=9) + enhanced(5_000_000_000, ethernet(length=70), order=">")
    blocks = section() + interface() + interface() + enhanced(4_000_000, ethernet(), number=1)
    blocks += section(">", length=len(second)) + second
    frames, broken = read_bytes(blocks, tmp_path)
    assert broken is None
    assert [(one.captured, one.arrival_ns) for one in frames] == [(60, 0), (70, SECOND)]


def test_interfaces_do_not_outlive_their_section(tmp_path: Path) -> None:
    blocks = section() + interface() + interface() + enhanced(0, ethernet(), number=1)
    blocks += section() + interface() + enhanced(0, ethernet(), number=1)
    frames, broken = read_bytes(blocks, tmp_path)
    assert len(frames) == 1
    assert broken is not None
    assert "names interface 1" in broken


def test_each_interface_has_its_own_clock(tmp_path: Path) -> None:
    blocks = section() + interface(resolution=6) + interface(resolution=0x80 | 10) + interface(offset_s=-100)
    blocks += enhanced(50_000_000, ethernet(), number=0) + enhanced(51 * 1024 + 512, ethernet(), number=1)
    blocks += enhanced(152_000_000, ethernet(), number=2)
    frames, _ = read_bytes(blocks, tmp_path)
    assert [one.arrival_ns for one in frames] == [0, 1_500_000_000, 2_000_000_000]


LAST_NS = 2**62 - 2**50  # 146 years


@given(
    resolution=st.integers(0, 255),
    first=st.integers(0, 2**64 - 1),
    second=st.integers(0, 2**64 - 1),
    offset_s=st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**9), 10**9),
    order=st.sampled_from(ORDERS),
)
@BRISK
def test_any_resolution_and_offset_gives_the_exact_nanosecond(
    tmp_path: Path, resolution: int, first: int, second: int, offset_s: int, order: str
) -> None:
    blocks = section(order) + interface(order, resolution=resolution, offset_s=offset_s)
    blocks += interface(order, resolution=resolution)
    blocks += enhanced(first, ethernet(), order=order) + enhanced(second, ethernet(), order=order, number=0)
    frames, broken = read_bytes(blocks, tmp_path)
    ns = [Fraction(ticks * SECOND, units_per_second(resolution)).__floor__() for ticks in (first, second)]
    if ns[1] - ns[0] < LAST_NS:
        assert frames[1].arrival_ns == max(ns[1] - ns[0], 64)
    else:
        assert len(frames) == 1
        assert broken is not None


@given(
    seconds=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=9),
    offset_s=st.integers(-(2**63), 2**63 - 1),
)
@BRISK
def test_absurd_times_end_the_capture_and_never_run_backward(
    tmp_path: Path, seconds: list[int], offset_s: int
) -> None:
    blocks = section() + interface(resolution=0) + interface(resolution=0, offset_s=offset_s)
    blocks += b"".join(enhanced(value, ethernet(), number=n % 2) for n, value in enumerate(seconds))
    frames, broken = read_bytes(blocks, tmp_path)
    times = [one.arrival_ns for one in frames]
    assert (len(times) < len(seconds)) == (broken is not None)
    assert times == sorted(times)
    assert times[-1] < LAST_NS


def test_other_blocks_are_skipped(tmp_path: Path) -> None:
    other = block(0xA, b"secrets") + block(4, b"names") + block(0x0BAD, b"") + block(5, bytes(12))
    blocks = section() + other + interface() + other + enhanced(0, ethernet()) + other
    frames, broken = read_bytes(blocks, tmp_path)
    assert (len(frames), broken) == (1, None)


@pytest.mark.parametrize(
    "options",
    [
        b"\x09",
        b"\x09\x00\x01",
        option(9, b"\x03\x03"),
        option(9, b""),
        option(14, b"\x01\x02\x03\x04"),
        struct.pack("<HH", 9, 60_000),
        struct.pack("<HH", 2, 65_535) + b"abcd",
        option(2, b"eth0") * 50,
        struct.pack("<HH", 0, 4) + b"abcd",
    ],
)
def test_malformed_and_unterminated_options_leave_the_defaults(tmp_path: Path, options: bytes) -> None:
    blocks = section() + interface(options=options)
    blocks += enhanced(0, ethernet(), options=options) + enhanced(1_000_000, ethernet())
    frames, broken = read_bytes(blocks, tmp_path)
    assert broken is None
    assert [one.arrival_ns for one in frames] == [0, SECOND]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (struct.pack("<II", 6, 8) + bytes(20), "length of 8"),
        (struct.pack("<II", 6, 33) + bytes(40), "length of 33"),
        (struct.pack("<III", 99, 12, 16), "closing length, 16"),
        (block(6, bytes(16)), "length of 28"),
        (block(3, b""), "length of 12"),
        (enhanced(0, ethernet(), number=1), "interface 1"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 41, 41) + bytes(40)), "claims 41"),
        (block(3, struct.pack("<I", 41) + bytes(40)), "claims 41"),
        (enhanced(0, bytes(262_145)), "claims 262145"),
        (block(1, b"\x01\x00\x00\x00"), "too short"),
        (block(0x0A0D0D0A, b"\x00" * 16), "byte-order magic"),
        (section()[:-4] + b"\x00\x00\x00\x00", "ends saying 0"),
        (section(version=(1, 7)), "version 1.7"),
        (section()[:20], "cut short"),
        (b"\x06\x00", "ends after 2"),
    ],
)
def test_a_bad_block_is_a_break_that_says_where(tmp_path: Path, bad: bytes, says: str) -> None:
    good = section() + interface() + enhanced(0, ethernet())
    frames, broken = read_bytes(good + bad, tmp_path)
    assert len(frames) == 1
    assert broken is not None
    assert f"at byte {len(good)} " in broken
    assert says in broken


def test_too_many_interfaces_are_a_break(tmp_path: Path) -> None:
    blocks = section() + interface() + enhanced(0, ethernet()) + interface() * 65_536
    frames, broken = read_bytes(blocks, tmp_path)
    assert len(frames) == 1
    assert broken is not None
    assert "more than 65536 interfaces" in broken


frames_strategy = st.lists(
    st.builds(
        Frame,
        ns=st.integers(0, 2**32 * SECOND - 1) | st.integers(0, 10_000),
        data=st.binary(max_size=90),
        wire=st.integers(0, 2000) | st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=30,
)


@given(
    content=frames_strategy,
    order=st.sampled_from(ORDERS),
    magic=st.sampled_from(sorted(MAGICS)),
    link_gbps=st.sampled_from(["10", "7.3", "0.001", "40", "100.0"]),
)
@BRISK
def test_any_pcap_reads_as_written(
    tmp_path: Path, content: list[Frame], order: str, magic: str, link_gbps: str
) -> None:
    written = pcap(content, order=order, magic=MAGICS[magic])
    frames, broken = read_bytes(written, tmp_path, float(link_gbps))
    assert broken is None
    assert plain(frames) == [(one.data, len(one.data), one.wire) for one in content]
    tick = 1 if magic == "ns" else 1000
    stamps = [one.ns // tick * tick for one in content]
    assert [one.arrival_ns for one in frames] == arrivals(stamps, [one.wire for one in content], link_gbps)


@given(content=frames_strategy, cut=st.integers(0, 4000), magic=st.sampled_from(sorted(MAGICS)))
@BRISK
def test_a_cut_file_gives_the_frames_before_the_cut(
    tmp_path: Path, content: list[Frame], cut: int, magic: str
) -> None:
    written = pcap(content, magic=MAGICS[magic])
    whole = read_bytes(written, tmp_path)[0]
    try:
        frames, broken = read_bytes(written[: max(len(written) - cut, 0)], tmp_path)
    except CaptureError:
        return
    assert frames == whole[: len(frames)]
    assert (len(frames) < len(whole)) or (broken is None and cut == 0)


def a_pcapng(order: str) -> bytes:
    blocks = section(order) + interface(order, resolution=9, offset_s=3) + interface(order, snaplen=40)
    for n in range(5):
        blocks += enhanced(1000 * n, ethernet(length=60 + n), order=order, number=n % 2)
        blocks += obsolete(1000 * n, ethernet(), order=order) + simple(ethernet(), order=order)
        blocks += block(4, b"names", order)
    return blocks + section() + interface() + enhanced(9, ethernet())


@given(
    start=st.sampled_from([pcap([frame(n) for n in range(9)]), a_pcapng("<"), a_pcapng(">")]),
    changes=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 100),
)
@settings(BRISK, max_examples=examples(300))
def test_corrupted_bytes_never_crash_and_spare_the_frames_before(
    tmp_path: Path, start: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    whole = read_bytes(start, tmp_path)[0]
    content = bytearray(start)
    for at, value in changes:
        content[at % len(content)] = value
    touched = min((n for n in range(len(start)) if content[n] != start[n]), default=len(start))
    try:
        frames, _ = read_bytes(bytes(content[: len(content) - cut]), tmp_path)
    except CaptureError:
        return
    assert [one.arrival_ns for one in frames] == sorted(one.arrival_ns for one in frames)
    intact, end = 0, 0
    for one in whole:
        end = start.index(one.data, end) + len(one.data)
        if end + 8 > min(touched, len(start) - cut):
            break
        intact += 1
    assert frames[:intact] == whole[:intact]


@given(
    data=st.binary(max_size=400),
    start=st.sampled_from([b"", pcap([]), section(), section(">") + interface(">")]),
)
@settings(BRISK, max_examples=examples(200))
def test_noise_never_crashes(tmp_path: Path, data: bytes, start: bytes) -> None:
    try:
        frames, _ = read_bytes(start + data, tmp_path)
    except CaptureError:
        return
    assert frames


@pytest.mark.parametrize("order", ORDERS)
def test_a_written_pcapng_reads_as_libpcap_reads_it(tmp_path: Path, order: str) -> None:
    pcapy = pytest.importorskip("pcapy")
    blocks = section(order) + interface(order, snaplen=65_535)
    blocks += interface(order, snaplen=65_535, resolution=9, offset_s=2)
    for n in range(20):
        blocks += enhanced(1_000_000 + 10 * n, ethernet(length=60 + n), order=order)
        blocks += enhanced(10_000 * n, ethernet(vlan=n), 99, order=order, number=1)
    path = tmp_path / "written.pcapng"
    path.write_bytes(blocks)
    reader = pcapy.open_offline(str(path))
    expected = []
    header, data = reader.next()
    while header is not None:
        expected.append((data, header.getcaplen(), header.getlen()))
        header, data = reader.next()
    assert plain(read_all(CaptureSource(path, adapter=0, link_gbps=10.0))) == expected
    assert len(expected) == 40
