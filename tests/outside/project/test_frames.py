"""Frames in and out: from memory, from a capture, and as a VM's memory has them."""

from pathlib import Path

from lab import QUIET, WEB
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from vmqtui import Engine


def tagged(number: int) -> Packet:
    return Ether(dst=WEB, src="02:00:00:00:00:01") / Dot1Q(vlan=10) / datagram(number)


def datagram(number: int) -> Packet:
    return IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=53, dport=53) / Raw(f"number {number}".encode())


async def test_a_vm_gets_the_bytes_that_scapy_made_without_the_tag() -> None:
    async with Engine(QUIET, clock="manual") as engine:
        await engine.request("pause_vm", vm="web-01", check=True)  # it keeps what it receives
        await engine.receive([tagged(0), bytes(tagged(1))], at=0.5)
        await engine.advance(1.0)
        assert engine.queue("web-01").received_frames == 2
        untagged = [bytes(Ether(dst=WEB, src="02:00:00:00:00:01") / datagram(number)) for number in (0, 1)]
        assert await engine.memory("web-01") == untagged


async def test_the_end_of_a_capture_needs_no_counting(tmp_path: Path) -> None:
    wrpcap(str(tmp_path / "web.pcap"), [tagged(number) for number in range(500)])
    async with Engine(QUIET, capture=tmp_path / "web.pcap", clock="fast") as engine:
        await engine.ended(timeout_s=60)
        row = engine.queue("web-01")
        assert row.received_frames + row.dropped_no_buffer == engine.adapter().port.offered_frames == 500
        assert (row.pending, row.outstanding) == (0, 0)
