"""Writers of capture files for tests, and a slow reading of contract 1, "Time"; independent of the engine."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

SECOND = 10**9


@dataclass(frozen=True)
class Frame:
    """A frame to write: nanoseconds since the epoch, captured bytes, length on the wire."""

    ns: int
    data: bytes
    wire: int


def ethernet(
    dst: str = "00:15:5d:00:00:01", *, vlan: int | None = None, tpid: int = 0x8100, length: int = 60
) -> bytes:
    """An Ethernet frame of ``length`` bytes, tagged when ``vlan`` is given."""
    tag = b"" if vlan is None else struct.pack(">HH", tpid, vlan)
    start = bytes.fromhex(dst.replace(":", "")) + bytes.fromhex("02005e001001") + tag + b"\x08\x00"
    return (start + bytes(range(256)) * (length // 256 + 1))[:length]


def frame(ns: int = 0, data: bytes | None = None, wire: int | None = None) -> Frame:
    """A frame with what isn't said filled in."""
    content = ethernet() if data is None else data
    return Frame(ns, content, len(content) if wire is None else wire)


def pcap(
    frames: Iterable[Frame],
    *,
    order: str = "<",
    magic: int = 0xA1B2C3D4,
    version: tuple[int, int] = (2, 4),
    link: int = 1,
    snaplen: int = 65535,
    swap_lengths: bool = False,
) -> bytes:
    """A pcap file; ``magic`` decides the resolution and the length of the record headers."""
    out = bytearray(struct.pack(order + "IHHiIII", magic, *version, 0, 0, snaplen, link))
    tick = 1 if magic == 0xA1B23C4D else 1000
    for one in frames:
        lengths = (one.wire, len(one.data)) if swap_lengths else (len(one.data), one.wire)
        out += struct.pack(order + "IIII", one.ns // SECOND, one.ns % SECOND // tick, *lengths)
        if magic == 0xA1B2CD34:
            out += struct.pack(order + "IHBB", 7, 0x0800, 4, 0)
        out += one.data
    return bytes(out)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """A pcapng option, padded."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block, padded."""
    body += bytes(-len(body) % 4)
    total = len(body) + 12
    return struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total)


def section(order: str = "<", *, length: int = -1, version: tuple[int, int] = (1, 0)) -> bytes:
    """A section header block."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, length), order)


def interface(
    order: str = "<",
    *,
    link: int = 1,
    snaplen: int = 0,
    resolution: int | None = None,
    offset_s: int | None = None,
    options: bytes = b"",
) -> bytes:
    """An interface description block."""
    if resolution is not None:
        options += option(9, bytes([resolution]), order)
    if offset_s is not None:
        options += option(14, struct.pack(order + "q", offset_s), order)
    if resolution is not None or offset_s is not None:
        options += option(0, b"", order)
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def enhanced(
    ticks: int,
    data: bytes,
    wire: int | None = None,
    *,
    order: str = "<",
    number: int = 0,
    options: bytes = b"",
) -> bytes:
    """An enhanced packet block of interface ``number``."""
    wire = len(data) if wire is None else wire
    start = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire)
    return block(6, start + data + bytes(-len(data) % 4) + options, order)


def obsolete(ticks: int, data: bytes, *, order: str = "<", number: int = 0) -> bytes:
    """An obsolete packet block, with a count of drops."""
    start = struct.pack(order + "HHIIII", number, 3, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(2, start + data, order)


def simple(data: bytes, wire: int | None = None, *, order: str = "<") -> bytes:
    """A simple packet block: no interface, no time, no captured length."""
    return block(3, struct.pack(order + "I", len(data) if wire is None else wire) + data, order)


def units_per_second(resolution: int) -> int:
    """What an if_tsresol byte means."""
    return 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution


@dataclass
class Arrivals:
    """Contract 1, "Time", in exact fractions: ``times`` are the arrivals in ns."""

    link_gbps: Fraction
    times: list[Fraction] = field(default_factory=list)
    end: Fraction = Fraction(0)

    def add(self, since_first_ns: int | None, wire: int) -> None:
        """One more frame; None: it has no timestamp."""
        arrival = self.end if since_first_ns is None else max(Fraction(since_first_ns), self.end)
        self.times.append(arrival)
        self.end = arrival + (wire + 20) * 8 / self.link_gbps


def arrivals(stamps: Sequence[int | None], wires: Sequence[int], link_gbps: str = "10") -> list[int]:
    """Whole-ns arrivals of frames with these timestamps (ns, any origin) and lengths on the wire."""
    clock = Arrivals(Fraction(link_gbps))
    first = next((stamp for stamp in stamps if stamp is not None), 0)
    for stamp, wire in zip(stamps, wires, strict=True):
        clock.add(None if stamp is None else stamp - first, wire)
    return [time.__floor__() for time in clock.times]
