"""Who lands in the default queue of a real adapter: MAC, VLAN and reason, from a capture on it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.measure.default_queue import DefaultQueueCaptures, KnownAddresses
from engine.measure.facts import Machine
from engine.measure.host import Measured
from engine.measure.linux_host import LinuxHost, LinuxSource
from engine.ndis import counters
from tests.measure.machines import function, igb, machine, ring
from tests.traffic.captures import ethernet
from tests.veth import Veth
from vmqtui.testing import wait_until

REASONS = counters.names(counters.DEFAULT_QUEUE_REASONS)
OWN = "02:00:00:00:01:00"


def key(mac: str, vid: int = 0) -> int:
    return int(mac.replace(":", ""), 16) << 16 | vid


def known() -> KnownAddresses:
    """The addresses of an adapter with a function in VLAN 10 and one without a VLAN."""
    adapter = igb([ring(0)], [function(1, vlan=10), function(2)])
    measured = LinuxHost("lab", with_own_ports=True).read(machine(adapter))
    assert measured.config is not None
    return KnownAddresses(measured.config.adapters[0])


@pytest.mark.parametrize(
    ("mac", "vid", "reason"),
    [
        ("ff:ff:ff:ff:ff:ff", 10, "broadcast"),
        ("01:00:5e:00:00:01", 0, "multicast"),
        ("02:00:00:00:00:01", 10, "no_queue"),
        ("02:00:00:00:00:01", 11, "vlan_mismatch"),
        ("02:00:00:00:00:01", 0, "vlan_mismatch"),
        ("02:00:00:00:00:02", 0, "no_queue"),
        ("02:00:00:00:00:02", 5, "vlan_mismatch"),
        (OWN, 0, "no_queue"),
        (OWN, 77, "no_queue"),
        ("02:00:00:00:00:99", 0, "unknown_unicast"),
    ],
)
def test_the_reason_follows_the_ports_of_functions_and_the_adapters_own_address(
    mac: str, vid: int, reason: str
) -> None:
    assert REASONS[known().reason(key(mac, vid))] == reason


def test_many_addresses_leave_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.measure.default_queue._PAIRS_KEPT", 4)
    addresses = known()
    for number in range(100):
        assert REASONS[addresses.reason(key("02:00:00:00:00:99", number))] == "unknown_unicast"
    assert len(addresses._reasons) <= 4


class Fixed:
    """A probe that always reads the same machine."""

    def __init__(self, reading: Callable[[], Machine]) -> None:
        self.reading = reading
        self.closed = False

    def read(self) -> Machine:
        return self.reading()

    def close(self) -> None:
        self.closed = True


@pytest.mark.slow
def test_frames_that_an_adapter_receives_are_counted_by_pair_and_reason(cable: Veth) -> None:
    adapter = replace(igb([ring(0)], [function(1, vlan=10)], name=cable.near), mac=OWN)
    there = [adapter]
    probe = Fixed(lambda: machine(*there))
    source = LinuxSource(probe, "lab", DefaultQueueCaptures())
    first = source.read()
    assert first.config is not None
    assert [(one.vm, one.management_os) for one in first.config.adapters[0].ports] == [
        ("eth0v1", False),
        (cable.near, True),
    ]
    cable.send(
        [ethernet("ff:ff:ff:ff:ff:ff").ljust(60, b"\0")] * 2
        + [ethernet("02:00:00:00:00:01", vlan=11).ljust(60, b"\0")] * 3
        + [ethernet("02:00:00:00:00:99").ljust(1400, b"\0")] * 4
        + [ethernet(OWN).ljust(60, b"\0")] * 5
    )
    newest: list[Measured] = [first]

    def counted() -> dict[str, int | None]:
        newest.append(source.read())
        return newest[-1].stats.adapters[cable.near].default_queue

    wait_until(lambda: sum(one or 0 for one in counted().values()) == 14, what="14 frames")
    stats = newest[-1].stats.adapters[cable.near]
    assert stats.default_queue == {
        "broadcast": 2,
        "multicast": 0,
        "no_queue": 5,
        "vlan_mismatch": 3,
        "unknown_unicast": 4,
    }
    top = stats.default_queue_top
    assert top is not None
    assert list(zip(top.mac, top.vlan, top.reason, top.frames, strict=True)) == [
        (OWN, "untagged", "no_queue", 5),
        ("02:00:00:00:00:99", "untagged", "unknown_unicast", 4),
        ("02:00:00:00:00:01", 11, "vlan_mismatch", 3),
        ("ff:ff:ff:ff:ff:ff", "untagged", "broadcast", 2),
    ]
    assert stats.interface == {
        "kernel_received_frames": 14,
        "kernel_dropped_frames": 0,
        "interface_dropped_frames": 0,
    }
    assert stats.sources is not None
    assert (stats.sources["no_queue"], stats.sources["kernel_dropped_frames"]) == ("derived", "exact")
    there.clear()
    assert source.read().stats.adapters == {}
    there.append(adapter)
    again = source.read().stats.adapters[cable.near]
    assert sum(one or 0 for one in again.default_queue.values()) == 0
    source.close()
    assert probe.closed


def test_an_adapter_that_goes_while_it_is_captured_is_said_once_and_its_reasons_are_unknown(
    cable: Veth,
) -> None:
    source = LinuxSource(
        Fixed(lambda: machine(igb([ring(0)], name=cable.near))), "lab", DefaultQueueCaptures()
    )
    source.read()
    cable.remove()
    readings: list[Measured] = []

    def ended() -> bool:
        readings.append(source.read())
        return set(readings[-1].stats.adapters[cable.near].default_queue.values()) == {None}

    wait_until(ended, what="the capture's end")
    readings.append(source.read())
    (event,) = [one for reading in readings for one in reading.events]
    assert event.event == "reading_trouble"
    assert event.cause.startswith("the default queue can't be captured: ")
    source.close()
