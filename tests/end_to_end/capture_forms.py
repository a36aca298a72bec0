"""Writes capture files byte by byte, in the forms that are found in life and some that are not."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ByteOrder = Literal["<", ">"]
ETHERNET = 1
WIFI = 105


@dataclass(frozen=True)
class Packet:
    """A frame as a capture states it: ``time_ns`` since the epoch; ``wire``, its length when sent."""

    time_ns: int
    captured: bytes
    wire: int


def frame(
    mac: str,
    *tags: tuple[int, int],
    payload_type: int = 0x0800,
    size: int = 60,
    source: str = "02:00:00:00:00:01",
) -> bytes:
    """Ethernet frame of ``size`` bytes to ``mac``; ``tags`` are (TPID, TCI), the outermost first."""
    head = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("020000000001")
    for tpid, tci in tags:
        head += struct.pack(">HH", tpid, tci)
    head += struct.pack(">H", payload_type)
    return head + bytes(k & 0xFF for k in range(size - len(head)))


def packet(time_ns: int, captured: bytes, wire: int | None = None) -> Packet:
    """A packet; it was as long on the wire as what was captured of it, unless ``wire`` says otherwise."""
    return Packet(time_ns, captured, len(captured) if wire is None else wire)


def pcap(
    packets: list[Packet], order: ByteOrder = "<", *, nanoseconds: bool = False, link_type: int = ETHERNET
) -> bytes:
    """A classic capture file; without ``nanoseconds`` its times are cut to microseconds."""
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, link_type)]
    for each in packets:
        seconds, rest = divmod(each.time_ns, 10**9)
        out += [
            struct.pack(order + "IIII", seconds, rest // unit, len(each.captured), each.wire),
            each.captured,
        ]
    return b"".join(out)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def block(kind: int, body: bytes, order: ByteOrder = "<") -> bytes:
    """A pcapng block."""
    length = len(_padded(body)) + 12
    return struct.pack(order + "II", kind, length) + _padded(body) + struct.pack(order + "I", length)


def option(code: int, content: bytes, order: ByteOrder = "<") -> bytes:
    return struct.pack(order + "HH", code, len(content)) + _padded(content)


def section(order: ByteOrder = "<") -> bytes:
    """Section header of unknown section length."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    order: ByteOrder = "<",
    *,
    link_type: int = ETHERNET,
    snap: int = 0,
    resolution: int | None = None,
    offset_seconds: int | None = None,
) -> bytes:
    """Interface description; ``resolution`` as if_tsresol has it, ``offset_seconds`` as if_tsoffset."""
    options = b""
    if resolution is not None:
        options += option(9, bytes([resolution]), order)
    if offset_seconds is not None:
        options += option(14, struct.pack(order + "q", offset_seconds), order)
    if options:
        options += option(0, b"", order)
    return block(1, struct.pack(order + "HHI", link_type, 0, snap) + options, order)


def enhanced(
    ticks: int, captured: bytes, wire: int | None = None, *, of: int = 0, order: ByteOrder = "<"
) -> bytes:
    """Enhanced packet block of interface ``of``, its time in that interface's ticks."""
    head = struct.pack(
        order + "IIIII",
        of,
        ticks >> 32,
        ticks & 0xFFFFFFFF,
        len(captured),
        len(captured) if wire is None else wire,
    )
    return block(6, head + _padded(captured), order)


def simple(captured: bytes, wire: int | None = None, order: ByteOrder = "<") -> bytes:
    """Simple packet block: of the first interface, without a time."""
    return block(3, struct.pack(order + "I", len(captured) if wire is None else wire) + captured, order)


def obsolete(ticks: int, captured: bytes, *, of: int = 0, order: ByteOrder = "<") -> bytes:
    """The packet block that enhanced ones replaced."""
    head = struct.pack(order + "HHIIII", of, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(captured), len(captured))
    return block(2, head + _padded(captured), order)


def pcapng(packets: list[Packet], order: ByteOrder = "<") -> bytes:
    """One section, one interface, nanoseconds."""
    body = [enhanced(each.time_ns, each.captured, each.wire, order=order) for each in packets]
    return section(order) + interface(order, resolution=9) + b"".join(body)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
