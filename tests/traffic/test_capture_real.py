"""Real captures, held against three independent readers: libpcap, scapy and tshark."""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from scapy.utils import RawPcapReader

from engine.traffic.capture import CaptureError, CaptureSource
from tests.slow import slow_but
from tests.traffic.captures import SECOND, arrivals
from tests.traffic.reading import Read, read_all

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"


def trimmed(frames: list[Read]) -> list[tuple[bytes, int, int]]:
    """As libpcap and scapy give them, which cut frames to 65,535 bytes; ours say what the file says.

    Of those only the first 64 bytes are compared.
    """
    return [(comparable(one.data), min(one.captured, 65_535), one.wire) for one in frames]


def comparable(data: bytes) -> bytes:
    return data if len(data) < 65_535 else data[:64]


def sample(name: str) -> Path:
    path = CAPTURES / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


ETHERNET_SAMPLES = [
    "many-protocols.pcap", "nhrp.pcapng", "oversize-claim.pcap", "pim-assortment.pcap", "qinq-8021ad.pcapng",
    "trunk-native-vlan5.pcap", "various-gre.pcap", "vlan-packets.pcap", "zero-length-frames.pcap",
]  # fmt: skip


@pytest.mark.parametrize("name", ETHERNET_SAMPLES)
def test_real_captures_read_as_libpcap_reads_them(name: str) -> None:
    pcapy = pytest.importorskip("pcapy")
    path = sample(name)
    reader = pcapy.open_offline(str(path))
    expected, stamps = [], []
    while True:
        header, data = reader.next()
        if header is None:
            break
        seconds, fraction = header.getts()
        stamps.append(seconds % 2**32 * SECOND + fraction * 1000)
        expected.append((comparable(data), header.getcaplen(), header.getlen() % 2**32))
    frames = read_all(CaptureSource(path, adapter=0, link_gbps=10.0))
    assert expected
    assert trimmed(frames) == expected
    assert [one.arrival_ns for one in frames] == arrivals(stamps, [wire for _, _, wire in expected])


@pytest.mark.parametrize("name", ETHERNET_SAMPLES)
def test_real_captures_read_as_scapy_reads_them(name: str) -> None:
    path = sample(name)
    with RawPcapReader(str(path)) as reader:
        expected = [(comparable(bytes(data)), len(data), meta.wirelen) for data, meta in reader]
    frames = read_all(CaptureSource(path, adapter=0, link_gbps=10.0))
    assert trimmed(frames) == expected


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not here")
@pytest.mark.parametrize("name", slow_but(ETHERNET_SAMPLES[:3], ETHERNET_SAMPLES))
def test_real_captures_read_as_tshark_reads_them(name: str) -> None:
    fields = ["frame.time_epoch", "frame.len", "frame.cap_len"]
    command = [
        "tshark",
        "-r",
        str(sample(name)),
        "-T",
        "fields",
        *(word for f in fields for word in ("-e", f)),
    ]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    expected = [row.split("\t") for row in rows]
    stamps = [int(Fraction(time) * SECOND) for time, _, _ in expected]
    frames = read_all(CaptureSource(sample(name), adapter=0, link_gbps=10.0))
    assert [(one.wire, one.captured) for one in frames] == [(int(wire), int(c)) for _, wire, c in expected]
    assert [one.arrival_ns for one in frames] == arrivals(stamps, [one.wire for one in frames])


def test_the_real_capture_that_is_not_ethernet_is_refused() -> None:
    with pytest.raises(CaptureError, match="link type 127"):
        CaptureSource(sample("not-ethernet.pcap"), adapter=0, link_gbps=10.0)
