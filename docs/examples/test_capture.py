"""Play a capture, made here with scapy, to its end: which frames which VM received, to the byte."""

from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

from vmqtui import Engine

WEB = "00:15:5d:00:00:01"

SCENARIO = f"""
[host]
cpus = 2

[[adapter]]

[[adapter.queue]]
vm = "web-01"
cpu = 1
[[adapter.queue.filter]]
mac = "{WEB}"
vlan = 10
"""


def frame(number: int, vlan: int) -> Packet:
    """A frame to the VM; frames are a millisecond apart."""
    made = Ether(dst=WEB, src="02:00:00:00:00:01") / Dot1Q(vlan=vlan) / IP(dst="192.0.2.1", id=number) / UDP()
    made.time = number / 1000
    return made


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """100 frames; each fifth is in another VLAN than the VM's."""
    path = tmp_path / "web.pcap"
    wrpcap(str(path), [frame(number, vlan=10 if number % 5 else 20) for number in range(100)])
    return path


async def test_a_vm_gets_the_frames_of_its_vlan(capture: Path) -> None:
    async with Engine(SCENARIO, capture=capture, clock="fast") as engine:
        await engine.ended()
        assert engine.adapter().port.offered_frames == 100
        assert engine.queue("web-01").received_frames == 80
        assert engine.adapter().default_queue.vlan_mismatch == 20


async def test_the_frames_arrive_whole_in_order_and_without_their_tag(capture: Path) -> None:
    async with Engine(SCENARIO, capture=capture, clock="manual") as engine:
        await engine.request("pause_vm", vm="web-01", check=True)  # it keeps what it receives
        await engine.advance(1.0)
        frames = [Ether(held) for held in await engine.memory("web-01")]
        assert [one[IP].id for one in frames] == [number for number in range(100) if number % 5]
        assert not any(Dot1Q in one for one in frames)
