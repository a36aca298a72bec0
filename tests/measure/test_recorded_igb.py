"""The probe on the files and answers of a kernel with a real igb driver, as recorded in a guest of QEMU."""

import ctypes
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.measure.ethtool import EthtoolSocket
from engine.measure.facts import Adapter, Machine, Ring, VirtualFunction
from engine.measure.linux import LinuxProbe
from engine.measure.netlink import NetlinkSocket
from engine.telemetry.stats import Source
from tests.measure.linux_kernel import write

COMMANDS = {0x03: "GDRVINFO", 0x10: "GRINGPARAM", 0x3C: "GCHANNELS", 0x2E: "GRXCLSRLCNT"}
DUMPS = {10: ("queue-get", 2), 11: ("napi-get", 1), 12: ("qstats-get queue", 1)}
"""The recorded dump of a command, and the attribute that is the interface."""


class Recorded:
    """A kernel that answers what was recorded."""

    def __init__(self, name: str) -> None:
        path = Path(__file__).parent / f"fixtures/{name}.json"
        self.facts: dict[str, Any] = json.loads(path.read_text())

    def probe(self, root: Path, *names: str) -> LinuxProbe:
        self._write(root)
        return LinuxProbe(names, root, EthtoolSocket(self._request), NetlinkSocket(self._exchange))

    def _write(self, root: Path) -> None:
        facts = self.facts
        for path in ("interrupts", "stat", "net/softnet_stat"):
            write(root, f"/proc/{path}", facts[path.rpartition("/")[2]])
        write(root, "/proc/sys/kernel/osrelease", facts["uname"].split()[2] + "\n")
        for irq, cpus in facts["affinity"].items():
            write(root, f"/proc/irq/{irq}/effective_affinity_list", f"{cpus}\n")
        for name, interface in facts["interfaces"].items():
            folder = f"/sys/class/net/{name}"
            for queue in interface["queues"]:
                write(root, f"{folder}/queues/{queue}/x")
            for irq in interface["msi_irqs"]:
                write(root, f"{folder}/device/msi_irqs/{irq}")
            for file, content in interface["sysfs"].items():
                if not str(content).startswith("errno"):
                    write(root, f"{folder}/{file}", f"{content}\n")
            (root / f"sys/class/net/{name}/device/driver").symlink_to(f"../drivers/{interface['driver']}")
            for function, (own, *_) in interface["virtfns"].items():
                write(root, f"{folder}/device/{function}/net/{own}/ifindex")
                write(root, f"/sys/class/net/{own}/device/physfn/net/{name}/ifindex")

    def _request(self, name: str, address: int, length: int) -> None:
        (command,) = struct.unpack("=I", ctypes.string_at(address, 4))
        interface = self.facts["interfaces"][name]
        if command == 0x1B:
            names = b"".join(each.encode().ljust(32, b"\0") for each in interface["GSTRINGS"])
            answer = struct.pack("=3I", command, 1, len(interface["GSTRINGS"])) + names
        elif command == 0x1D:
            numbers = interface["GSTATS"]
            answer = struct.pack(f"=2I{len(numbers)}Q", command, len(numbers), *numbers)
        else:
            recorded = interface[COMMANDS[command]]
            if recorded.startswith("errno"):
                raise OSError(int(recorded.split()[1]), recorded)
            answer = bytes.fromhex(recorded)[:length]
        assert len(answer) <= length
        ctypes.memmove(address, answer, len(answer))

    def _exchange(self, protocol: int, request: bytes) -> Iterator[bytes]:
        """The recorded messages of one interface, and the end of each dump, with the request's sequence."""
        _, kind, _, sequence, _ = struct.unpack_from("=IHHII", request)
        if protocol == 0:
            recorded, place = self.facts["getlink"], 32
            wanted = 3, request[36:].split(b"\0")[0] + b"\0"
        elif kind == 16:
            recorded, place, wanted = [self.facts["netdev_family"]], 20, (2, b"netdev\0")
        else:
            (name, interface), place = DUMPS[request[16]], 20
            recorded, wanted = self.facts[name], (interface, request[24:28])
        for message in messages(b"".join(map(bytes.fromhex, recorded))):
            end = message[4:6] == b"\3\0"
            if end or attributes(message[place:]).get(wanted[0]) == wanted[1]:
                yield message[:8] + struct.pack("=I", sequence) + message[12:]


def messages(content: bytes) -> Iterator[bytes]:
    while content:
        (length,) = struct.unpack_from("=I", content)
        yield content[:length]
        content = content[length + 3 & ~3 :]


def attributes(content: bytes) -> dict[int, bytes]:
    found = {}
    while len(content) >= 4:
        length, kind = struct.unpack_from("=HH", content)
        found[kind & 0x3FFF] = content[4:length]
        content = content[max(length, 4) + 3 & ~3 :]
    return found


def read(root: Path, name: str) -> tuple[Machine, Adapter]:
    machine = Recorded(name).probe(root).read()
    (adapter,) = machine.adapters  # not the virtio and e1000e adapters, and not those of virtual functions
    assert (machine.troubles, adapter.name) == ((), "eth1")
    return machine, adapter


def test_rings_of_a_real_adapter(tmp_path: Path) -> None:
    machine, adapter = read(tmp_path, "igb-rings")
    assert adapter.rings == (
        Ring(0, 96, 9600, 0, 31, "guessed", 40, (1,)),
        Ring(1, 104, 10400, 0, 32, "guessed", 48, (0,)),
    )
    assert (adapter.port_frames, adapter.port_bytes, adapter.port_dropped) == (200, 20000, 0)  # without FCS
    assert (adapter.driver, adapter.firmware, adapter.bus_address) == ("igb", "2.1.0", "0000:01:00.0")
    assert (adapter.link_mbps, adapter.link_up, adapter.ring_size, adapter.max_rings) == (1000, True, 256, 8)
    assert (adapter.numa_node, adapter.functions, adapter.rules) == (None, (), ())
    assert [each.interrupts for each in machine.processors] == [48, 40]
    assert [each.soft_frames for each in machine.processors] == [0xA0, 0x60]
    assert machine.kernel == "6.12.95+deb12-amd64"


def test_virtual_functions_of_a_real_adapter(tmp_path: Path) -> None:
    recorded = Recorded("igb-vfs").facts["interfaces"]
    counters = [recorded[own]["statistics"] for own in ("eth3", "eth4", "eth5")]
    frames = [(each["rx_packets"], each["rx_bytes"]) for each in counters]
    _, adapter = read(tmp_path, "igb-vfs")
    interrupts = [one.interrupts for one in adapter.functions]
    by_name: dict[str, Source] = {"interrupts": "guessed", "cpus": "guessed"}

    def of_device(
        vf: int, mac: str, vlan: int, own: str, packets: int, octets: int, cpu: int
    ) -> VirtualFunction:
        counts = packets, octets, None
        return VirtualFunction(vf, mac, vlan, own, *counts, "exact", (cpu,), interrupts[vf], 1024, by_name)

    assert all(interrupts)
    assert adapter.functions == (
        of_device(0, "02:00:00:00:01:01", 10, "eth3", *frames[0], 1),
        of_device(1, "02:00:00:00:01:02", 20, "eth4", *frames[1], 0),
        of_device(2, "02:00:00:00:01:03", 0, "eth5", *frames[2], 1),
    )
    assert min(count for pair in frames for count in pair) > 0
    assert [(ring.frames, ring.irq) for ring in adapter.rings] == [(500, 31), (0, 32)]


def test_after_a_change_of_channels_one_ring_counts_from_zero(tmp_path: Path) -> None:
    _, adapter = read(tmp_path, "igb-channels")
    assert adapter.rings == (Ring(0, 0, 0, 0, 31, "guessed", 8, (1,)),)
    assert [each.vlan for each in adapter.functions] == [10, 20, 0]


def test_a_virtio_adapter_beside_it_has_frames_from_the_kernel(tmp_path: Path) -> None:
    probe = Recorded("igb-rings").probe(tmp_path, "eth0", "eth2")
    virtio, e1000e = probe.read().adapters
    assert virtio.rings == (Ring(0, 62, 14174, 0, 26, "guessed", 16, (0,)),)
    assert (virtio.sources["frames"], virtio.sources["dropped"]) == ("exact", "guessed")
    assert e1000e.rings == (Ring(0, 0, 0, None, 35, "guessed", 8, (1,)),)
    assert e1000e.sources["frames"] == "derived"
