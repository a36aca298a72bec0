"""The probe on the machine that runs the tests, whatever its adapters are, and on a cable of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.measure.facts import Adapter
from engine.measure.linux import LinuxProbe
from tests.veth import veth

NET = Path("/sys/class/net")
NOBODY = 65534

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's netlink and ioctls")


@pytest.fixture
def probe() -> Iterator[LinuxProbe]:
    """A probe of this machine's adapters."""
    probe = LinuxProbe()
    yield probe
    probe.close()


def received(name: str, counter: str) -> int:
    return int((NET / name / "statistics" / counter).read_text())


def only(probe: LinuxProbe) -> Adapter:
    (adapter,) = probe.read().adapters
    return adapter


def test_this_machine_s_adapters_agree_with_its_own_statistics(probe: LinuxProbe) -> None:
    names = [name.name for name in NET.iterdir() if (name / "device").exists()]
    before = {name: (received(name, "rx_packets"), received(name, "rx_bytes")) for name in names}
    adapters = probe.read().adapters
    assert {adapter.name for adapter in adapters} <= set(names)
    assert bool(adapters) == bool(names)
    for adapter in adapters:
        after = received(adapter.name, "rx_packets"), received(adapter.name, "rx_bytes")
        assert adapter.port_frames is not None
        assert adapter.port_bytes is not None
        assert before[adapter.name][0] <= adapter.port_frames <= after[0]
        assert before[adapter.name][1] <= adapter.port_bytes <= after[1]
        assert adapter.index == int((NET / adapter.name / "ifindex").read_text())
        assert adapter.mac == (NET / adapter.name / "address").read_text().strip()
        assert len(adapter.rings) == len(list((NET / adapter.name / "queues").glob("rx-*")))


def test_counters_and_times_of_this_machine_never_go_back(probe: LinuxProbe) -> None:
    first, second = probe.read(), probe.read()
    assert second.monotonic_ns > first.monotonic_ns
    for one, two in zip(first.processors, second.processors, strict=True):
        assert two.busy_ns >= one.busy_ns
        assert two.total_ns >= one.total_ns
    for before, after in zip(first.adapters, second.adapters, strict=True):
        for ring, again in zip(before.rings, after.rings, strict=True):
            assert (ring.frames is None) == (again.frames is None)
            assert (again.frames or 0) >= (ring.frames or 0)
            assert (again.interrupts or 0) >= (ring.interrupts or 0)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_reads_the_same(probe: LinuxProbe) -> None:
    as_root = probe.read()
    os.seteuid(NOBODY)
    try:
        other = LinuxProbe()
        as_nobody = other.read()
        other.close()
    finally:
        os.seteuid(0)
    assert not [trouble for trouble in as_nobody.troubles if "can't be read" in trouble]
    for ours, theirs in zip(as_root.adapters, as_nobody.adapters, strict=True):
        assert (ours.name, ours.driver, ours.sources) == (theirs.name, theirs.driver, theirs.sources)
        assert [ring.irq for ring in ours.rings] == [ring.irq for ring in theirs.rings]


def test_what_is_sent_over_a_cable_is_what_its_interface_received() -> None:
    frames = [bytes.fromhex("00155d00000a 00155d0000ff 88b5") + bytes(46 + each) for each in range(200)]
    with veth() as cable:
        probe = LinuxProbe([cable.near])
        before = only(probe)
        cable.send(frames)
        after = only(probe)
        subprocess.run(["ip", "link", "set", cable.near, "down"], check=True)
        down = only(probe)
        cable.remove()
        gone = probe.read()
        probe.close()
    assert (before.driver, before.link_up, down.link_up) == ("veth", True, False)
    assert (before.ring_size, before.link_mbps) == (None, 10_000)  # what a veth says of itself
    (ring,), (then,) = after.rings, before.rings
    assert ring.frames is not None
    assert then.frames is not None
    assert ring.bytes is not None
    assert then.bytes is not None
    assert ring.frames - then.frames == len(frames)
    assert ring.bytes - then.bytes == sum(map(len, frames))
    assert (ring.dropped, ring.irq, after.sources["frames"]) == (None, None, "derived")
    assert gone.adapters == ()
    assert gone.troubles == ()


def test_several_queues_of_an_interface_that_counts_none_are_unknown() -> None:
    with veth() as cable:
        name, far = f"{cable.near}q", f"{cable.near}r"
        queues = "numrxqueues 3 numtxqueues 3"
        command = f"ip link add {name} {queues} type veth peer name {far} {queues}"
        subprocess.run(command.split(), check=True)
        try:
            probe = LinuxProbe([name])
            adapter = only(probe)
            probe.close()
        finally:
            subprocess.run(["ip", "link", "del", name], check=True)
    assert len(adapter.rings) == 3
    assert {(ring.frames, ring.bytes, ring.dropped) for ring in adapter.rings} == {(None, None, None)}


def test_a_tap_interface_has_one_ring_and_no_link() -> None:
    with veth() as cable:
        name = f"{cable.near}t"
        made = subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], check=False)
        if made.returncode:
            pytest.skip("no tun driver here")
        try:
            probe = LinuxProbe([name])
            adapter = only(probe)
            probe.close()
        finally:
            subprocess.run(["ip", "link", "del", name], check=True)
    assert (adapter.driver, adapter.link_up, adapter.rings[0].frames) == ("tun", False, 0)
