"""A Linux kernel in place of this machine's, for tests: it answers ethtool and netlink requests in bytes.

The structures are written here from the kernel's headers again, with no code of the reader's.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.measure.ethtool import EthtoolSocket
from engine.measure.linux import LinuxProbe
from engine.measure.netlink import NetlinkSocket

FIXTURES = Path(__file__).parent / "ethtool"
FAMILY = 29


def read_ethtool(name: str) -> tuple[list[str], list[int]]:
    """Names and numbers of a file of ``ethtool -S``."""
    lines = (FIXTURES / f"{name}.txt").read_text().splitlines()
    pairs = [line[5:].rpartition(": ") for line in lines if line.startswith("     ")]
    return [name for name, _, _ in pairs], [int(value) for _, _, value in pairs]


@dataclass
class Function:
    """A virtual function; ``stats`` are its received frames, bytes and drops."""

    mac: str
    vlan: int = 0
    stats: tuple[int, int, int] = (0, 0, 0)


@dataclass
class Interface:
    """What the kernel knows of an interface. ``failures``: errno by ethtool command."""

    index: int
    driver: str = "igb"
    names: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    ring_size: int | None = 256
    channels: tuple[int, int] | None = (4, 8)
    mac: str = "52:54:00:00:00:01"
    mtu: int = 1500
    up: bool = True
    received: tuple[int, int, int] = (4006, 360_006, 2)
    functions: list[Function] = field(default_factory=list)
    napi_irqs: dict[int, int] = field(default_factory=dict)
    queue_counters: dict[int, dict[int, int]] = field(default_factory=dict)
    rules: dict[int, bytes] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)


def ether_rule(
    mac: str, ring: int, location: int, vlan: int | None = None, mask: bytes = b"\xff" * 6, flow: int = 0x12
) -> bytes:
    """A struct ethtool_rx_flow_spec of an ETHER_FLOW rule."""
    tag, tag_mask = (0, 0) if vlan is None else (vlan, 0xFFFF)
    flow |= 0 if vlan is None else 0x80000000
    head = bytes.fromhex(mac.replace(":", ""))
    return (
        struct.pack("=I", flow)
        + head.ljust(52, b"\0")
        + struct.pack(">8xHH8x", 0, tag)
        + mask.ljust(52, b"\0")
        + struct.pack(">8xHH8x", 0, tag_mask)
        + bytes(4)
        + struct.pack("=QI4x", ring, location)
    )


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, sequence: int, payload: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, 0, sequence, 0) + payload + bytes(-len(payload) % 4)


@dataclass
class Kernel:
    """Interfaces by name, and the requests that came: ``(name, command)``."""

    interfaces: dict[str, Interface]
    asked: list[tuple[str, int]] = field(default_factory=list)
    netdev: bool = True
    most_functions_with_stats: int = 100
    cut_functions_after: int | None = None
    always_cut: bool = False

    def probe(self, root: Path, names: Sequence[str] = ()) -> LinuxProbe:
        return LinuxProbe(names, root, EthtoolSocket(self.request), NetlinkSocket(self.exchange))

    def request(self, name: str, address: int, length: int) -> None:
        """An ethtool ioctl."""
        buffer = (ctypes.c_char * length).from_address(address)
        (command,) = struct.unpack_from("=I", buffer)
        self.asked.append((name, command))
        interface = self.interfaces.get(name)
        if interface is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if command in interface.failures:
            raise OSError(interface.failures[command], os.strerror(interface.failures[command]))
        answer = self._answer(interface, command, bytes(buffer))
        assert len(answer) <= length, "the kernel would write beyond the buffer"
        ctypes.memmove(address, answer, len(answer))

    def _answer(self, interface: Interface, command: int, question: bytes) -> bytes:
        unsupported = OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        if command == 0x03:
            words = interface.driver.encode(), b"6.12.9", b"3.25", b"0000:03:00.0", b"", b""
            return struct.pack("=I32s32s32s32s32s12s5I", 3, *words, 0, len(interface.names), 0, 0, 0)
        if command == 0x10:
            if interface.ring_size is None:
                raise unsupported
            return struct.pack("=9I", command, 4096, 0, 0, 4096, interface.ring_size, 0, 0, 512)
        if command == 0x3C:
            if interface.channels is None:
                raise unsupported
            used, most = interface.channels
            return struct.pack("=9I", command, 0, 0, 1, most, 0, 0, 1, used)
        if command == 0x1B:
            names = b"".join(name.encode().ljust(32, b"\0") for name in interface.names)
            return struct.pack("=3I", command, 1, len(interface.names)) + names
        if command == 0x1D:
            count = len(interface.numbers)
            return struct.pack(f"=2I{count}Q", command, count, *interface.numbers)
        if command in (0x2E, 0x2F, 0x30) and interface.rules:
            return self._rules(interface, command, question)
        raise unsupported

    def _rules(self, interface: Interface, command: int, question: bytes) -> bytes:
        if command == 0x2F:
            (location,) = struct.unpack_from("=I", question, 16 + 160)
            if not interface.rules[location]:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            return question[:16] + interface.rules[location] + question[184:]
        if command == 0x2E:
            return question[:184] + struct.pack("=I", len(interface.rules))
        (room,) = struct.unpack_from("=I", question, 184)
        locations = list(interface.rules)[:room]
        return question[:184] + struct.pack(f"=I{len(locations)}I", len(locations), *locations)

    def exchange(self, protocol: int, request: bytes) -> Iterator[bytes]:
        """A netlink request; each message of the answer comes in a datagram of its own."""
        _, kind, _, sequence, _ = struct.unpack_from("=IHHII", request)
        try:
            payloads = self._link(request[32:]) if protocol == 0 else self._generic(kind, request[16:])
        except OSError as error:
            yield message(2, sequence, struct.pack("=i", -(error.errno or 0)) + request[:16])
            return
        for payload in payloads:
            yield message(kind, sequence, payload)
        yield message(3, sequence, bytes(4))

    def _link(self, attributes: bytes) -> list[bytes]:
        (length,) = struct.unpack_from("=H", attributes)
        name = os.fsdecode(attributes[4:length].rstrip(b"\0"))
        (mask,) = struct.unpack_from("=I", attributes, (length + 3 & ~3) + 4)
        interface = self.interfaces.get(name)
        if interface is None:
            raise OSError(errno.ENODEV, "")
        functions = interface.functions if mask & 1 else []
        with_stats = not mask & 8
        if with_stats and len(functions) > self.most_functions_with_stats:
            raise OSError(errno.EMSGSIZE, "")
        frames, received, errors = interface.received
        stats = struct.pack("=24Q", frames, 1, received, 1, errors, *[0] * 19)
        flags = 0x1 if interface.up else 0
        payload = struct.pack("=BxHiII", 0, 1, interface.index, flags, 0)
        payload += attribute(3, os.fsencode(name) + b"\0")
        payload += attribute(1, bytes.fromhex(interface.mac.replace(":", "")))
        payload += attribute(4, struct.pack("=I", interface.mtu)) + attribute(33, bytes([interface.up]))
        payload += attribute(23, stats)
        if functions:
            payload += attribute(21, struct.pack("=I", len(functions)))
        if self.cut_functions_after is not None and (with_stats or self.always_cut):
            functions = functions[: self.cut_functions_after]  # as kernels before 6.4 do
        infos = b""
        for vf, function in enumerate(functions):
            mac = bytes.fromhex(function.mac.replace(":", ""))
            info = attribute(1, struct.pack("=I32s", vf, mac))
            info += attribute(2, struct.pack("=III", vf, function.vlan, 0))
            if with_stats:
                counts = zip((0, 2, 7), function.stats, strict=True)
                info += attribute(8, b"".join(attribute(each, struct.pack("=Q", n)) for each, n in counts))
            infos += attribute(1, info)
        return [payload + (attribute(22, infos) if functions else b"")]

    def _generic(self, kind: int, body: bytes) -> list[bytes]:
        command, attributes = body[0], body[4:]
        head = bytes([command, 1, 0, 0])
        if kind == 16:
            if not self.netdev:
                raise OSError(errno.ENOENT, "")
            return [head + attribute(2, b"netdev\0") + attribute(1, struct.pack("=H", FAMILY))]
        assert kind == FAMILY
        index = int.from_bytes(attributes[4:8], "little")
        interface = next(each for each in self.interfaces.values() if each.index == index)

        def u32(number: int) -> bytes:
            return struct.pack("=I", number)

        if command == 10:
            queues = range(max(interface.napi_irqs, default=-1) + 1)
            return [
                head + attribute(1, u32(ring)) + attribute(3, u32(direction)) + attribute(4, u32(8000 + ring))
                for direction in (0, 1)
                for ring in queues
            ]
        if command == 11:
            napis = interface.napi_irqs.items()
            return [head + attribute(2, u32(8000 + ring)) + attribute(3, u32(irq)) for ring, irq in napis]
        assert command == 12
        return [
            head
            + attribute(2, u32(direction))
            + attribute(3, u32(ring))
            + b"".join(attribute(each, struct.pack("=Q", n)) for each, n in counters.items())
            for direction in (0, 1)
            for ring, counters in interface.queue_counters.items()
        ]


def write(root: Path, path: str, content: str = "") -> None:
    """A file under ``root``, with its folders."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def write_machine(
    root: Path, cpus: Sequence[int] = range(4), irqs: Mapping[int, tuple[str, Sequence[int]]] | None = None
) -> None:
    """``/proc`` and ``/sys`` of a machine with these processors online, two hyper-threads a core.

    ``irqs``: the name of each interrupt, and its counts by processor.
    """
    write(root, "/proc/sys/kernel/osrelease", "6.12.9\n")
    write(root, "/proc/sys/kernel/hostname", "lab\n")
    lines = "".join(f"cpu{cpu} 100 0 50 800 10 {cpu} 20 0 0 0\n" for cpu in cpus)
    write(root, "/proc/stat", f"cpu  1 2 3 4 5 6 7 8 9 10\n{lines}intr 12 0 0\nctxt 5\n")
    rest = "00000000 " * 11
    frames = "".join(f"{cpu + 16:08x} {rest}{cpu:08x} 00000000 00000000\n" for cpu in cpus)
    write(root, "/proc/net/softnet_stat", frames)
    head = " " * 12 + "".join(f"CPU{cpu:<8}" for cpu in cpus)
    rows = [
        f"{irq:4d}: {' '.join(f'{count:10d}' for count in counts)}  IR-PCI-MSI  {irq}-edge  {name}"
        for irq, (name, counts) in (irqs or {}).items()
    ]
    write(root, "/proc/interrupts", "\n".join([head, *rows, "NMI:   1   2   Non-maskable interrupts", ""]))
    for irq, (_, counts) in (irqs or {}).items():
        place = max(range(len(counts)), key=counts.__getitem__)
        write(root, f"/proc/irq/{irq}/effective_affinity_list", f"{cpus[place]}\n")
    for cpu in cpus:
        topology = f"/sys/devices/system/cpu/cpu{cpu}/topology"
        write(root, f"{topology}/core_cpus_list", f"{cpu & ~1}-{cpu | 1}\n")
    middle = len(cpus) // 2
    for node, part in enumerate((cpus[:middle], cpus[middle:])):
        write(root, f"/sys/devices/system/node/node{node}/cpulist", ",".join(map(str, part)) + "\n")


def write_interface(
    root: Path, name: str, rings: int, irqs: Sequence[int] = (), driver: str = "igb", device: bool = True
) -> None:
    """``/sys/class/net`` of one interface."""
    folder = f"/sys/class/net/{name}"
    for ring in range(rings):
        write(root, f"{folder}/queues/rx-{ring}/rps_cpus", "0\n")
        write(root, f"{folder}/queues/tx-{ring}/xps_cpus", "0\n")
    write(root, f"{folder}/speed", "10000\n")
    if device:
        write(root, f"{folder}/device/numa_node", "1\n")
        link = root / f"sys/class/net/{name}/device/driver"
        if not link.is_symlink():
            link.symlink_to(f"../../../bus/pci/drivers/{driver}")
        for irq in irqs:
            write(root, f"{folder}/device/msi_irqs/{irq}", "msix\n")
