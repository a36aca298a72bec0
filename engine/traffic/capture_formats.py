"""The headers of capture files: the pcap header, pcapng section headers and interface descriptions."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.scenario.values import show
from engine.traffic import capture_kernels as k

ETHERNET = 1
"""LINKTYPE_ETHERNET, the only supported link type."""

GZIP = b"\x1f\x8b"
"""The first bytes of gzip data."""

MAX_INTERFACES = 65_536
"""Limit of interfaces in one pcapng section."""

PCAP_HEADER_BYTES = 24
SECTION_HEADER_BYTES = 28
_INTERFACE_BYTES = 20
_LINK_TYPE_MASK = 0x03FFFFFF  # the other bits describe the FCS
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_MICROSECONDS, _NANOSECONDS, _KUZNETZOV = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
_LEAST_TEXT = 4  # printable characters; fewer may be a coincidence
_OPTION_END, _OPTION_RESOLUTION, _OPTION_OFFSET = 0, 9, 14


class FormatError(Exception):
    """A header or block violates its format; the message does not name the file."""


class LinkTypeError(Exception):
    """The frames of the file are of link type ``link``, not Ethernet."""

    def __init__(self, link: int) -> None:
        super().__init__(no_ethernet([link]))


_LINK_TYPES = {
    0: "BSD loopback",
    6: "Token Ring",
    9: "PPP",
    10: "FDDI",
    12: "raw IP",
    14: "raw IP",
    50: "PPP",
    51: "PPP over Ethernet",
    101: "raw IP",
    104: "Cisco HDLC",
    105: "Wi-Fi (IEEE 802.11)",
    107: "frame relay",
    108: "OpenBSD loopback",
    113: "Linux cooked, as `tcpdump -i any` writes it",
    119: "Wi-Fi with Prism headers",
    127: "Wi-Fi with radiotap headers",
    147: "a user's own link type",
    163: "Wi-Fi with AVS headers",
    187: "Bluetooth",
    189: "Linux USB",
    192: "packets with PPI headers",
    195: "IEEE 802.15.4",
    201: "Bluetooth",
    220: "Linux USB",
    227: "CAN",
    228: "raw IPv4",
    229: "raw IPv6",
    230: "IEEE 802.15.4",
    239: "Linux netfilter log messages",
    247: "InfiniBand",
    249: "USBPcap",
    253: "Linux netlink messages",
    276: "Linux cooked, as `tcpdump -i any` writes it",
}
"""Names of link types; numbers: https://www.tcpdump.org/linktypes.html."""


def link_type(link: int) -> str:
    """Return a link type's name, if known, and number for messages."""
    words = _LINK_TYPES.get(link)
    return f"link type {link}" if words is None else f"{words} (link type {link})"


def no_ethernet(links: Iterable[int]) -> str:
    """Return the message for a capture that has only frames of these link types."""
    return (
        f"holds no Ethernet frame but {' and '.join(map(link_type, sorted(links)))}; an Ethernet capture fits"
    )


_OTHER_FILES = {
    GZIP: "gzip data within gzip data; decompress it once",
    b"(\xb5/\xfd": "compressed with Zstandard; decompress it first",
    b'\x04"M\x18': "compressed with LZ4; decompress it first",
    b"\xfd7zXZ": "compressed with xz; decompress it first",
    b"BZh": "compressed with bzip2; decompress it first",
    b"PK\x03\x04": "a ZIP archive; a capture from it fits",
    b"snoop": "a snoop capture; editcap turns it into pcap",
    b"GMBU": "a Network Monitor capture; editcap turns it into pcap",
    b"RTSS": "a Network Monitor capture; editcap turns it into pcap",
    b"TRSNIFF": "a Sniffer capture; editcap turns it into pcap",
}


def not_a_capture(start: bytes) -> str:
    """Return the message for a file that begins with these bytes and is neither pcap nor pcapng."""
    if not start:
        return "is empty; a pcap or pcapng file fits"
    known = next((words for magic, words in _OTHER_FILES.items() if start.startswith(magic)), "")
    if known:
        return f"is {known}"
    text = start.split(b"\n")[0].rstrip(b"\r").decode("latin-1")
    if text.isascii() and text.isprintable() and len(text) >= _LEAST_TEXT:
        return f"begins with the text {show(text)}; a pcap or pcapng file fits"
    return f"begins with {start[:4].hex(' ')}; a pcap or pcapng file fits"


@dataclass(frozen=True)
class PcapFormat:
    """The record format of a pcap file, as columns of the walk's state."""

    big: bool
    header_bytes: int
    tick_ns: int
    lengths: int


@dataclass(frozen=True)
class Section:
    """A pcapng section header block."""

    big: bool
    total_bytes: int


def is_pcapng(magic: bytes) -> bool:
    """Return whether these 4 bytes begin a pcapng section header."""
    return magic == b"\n\r\r\n"


def is_pcap(magic: bytes) -> bool:
    """Return whether these 4 bytes begin a pcap file of any variant and byte order."""
    known = (_MICROSECONDS, _NANOSECONDS, _KUZNETZOV)
    return int.from_bytes(magic, "big") in known or int.from_bytes(magic, "little") in known


def is_capture(start: bytes) -> bool:
    """Return whether these bytes may begin a capture, plain or compressed with gzip."""
    return is_pcap(start[:4]) or is_pcapng(start[:4]) or start[:2] == GZIP


def pcap_format(header: bytes) -> PcapFormat:
    """Parse a 24-byte pcap file header, which passed ``is_pcap``; accepts the same versions as libpcap."""
    big = int.from_bytes(header[:4], "big") in (_MICROSECONDS, _NANOSECONDS, _KUZNETZOV)
    magic, major, minor, _, _, _, link = struct.unpack(">IHHIIII" if big else "<IHHIIII", header)
    if (major, minor) == (543, 0) or (major == 2 and minor < 3):
        lengths = k.SWAPPED
    elif (major, minor) == (2, 3):
        lengths = k.MAYBE_SWAPPED
    elif (major, minor) == (2, 4):
        lengths = k.IN_ORDER
    else:
        raise FormatError(f"is a pcap file of version {major}.{minor}; 2.0 to 2.4 and 543.0 fit")
    if link & _LINK_TYPE_MASK != ETHERNET:
        raise LinkTypeError(link & _LINK_TYPE_MASK)
    return PcapFormat(
        big=big,
        header_bytes=24 if magic == _KUZNETZOV else 16,
        tick_ns=1 if magic == _NANOSECONDS else 1000,
        lengths=lengths,
    )


def section_header(start: bytes) -> Section:
    """Parse the first 12 bytes of a section header block: its byte order and length."""
    if int.from_bytes(start[8:12], "big") == _BYTE_ORDER_MAGIC:
        big = True
    elif int.from_bytes(start[8:12], "little") == _BYTE_ORDER_MAGIC:
        big = False
    else:
        raise FormatError(f"a section header has the byte-order magic {start[8:12].hex(' ')}")
    total = int.from_bytes(start[4:8], "big" if big else "little")
    if total < SECTION_HEADER_BYTES or total % 4 or total > k.MAX_BLOCK_BYTES:
        raise FormatError(f"a section header claims a length of {total} bytes")
    return Section(big, total)


def check_section(block: bytes, section: Section) -> None:
    """Check the trailer and the version of a complete section header block."""
    order = ">" if section.big else "<"
    major, minor = struct.unpack_from(order + "HH", block, 12)
    (trailer,) = struct.unpack_from(order + "I", block, section.total_bytes - 4)
    if trailer != section.total_bytes:
        raise FormatError(f"a section header of {section.total_bytes} bytes ends saying {trailer}")
    if major != 1 or minor not in (0, 2):
        raise FormatError(f"a section is of pcapng version {major}.{minor}; 1.0 and 1.2 fit")


def interface_row(block: bytes, big: bool) -> tuple[int, NDArray[np.uint64]]:
    """Return the link type and the interface table's row for a complete interface description block.

    Options after the first malformed one are ignored, and so are time options of the wrong length.
    """
    if len(block) < _INTERFACE_BYTES:
        raise FormatError(f"an interface description of {len(block)} bytes is too short")
    order = ">" if big else "<"
    link, _, snaplen = struct.unpack_from(order + "HHI", block, 8)
    resolution, offset_s = 6, 0
    at, end = 16, len(block) - 4
    while at + 4 <= end:
        code, length = struct.unpack_from(order + "HH", block, at)
        if code == _OPTION_END or at + 4 + length > end:
            break
        if code == _OPTION_RESOLUTION and length == 1:
            resolution = block[at + 4]
        elif code == _OPTION_OFFSET and length == 8:
            (offset_s,) = struct.unpack_from(order + "q", block, at + 4)
        at += 4 + (length + 3) // 4 * 4
    row = np.zeros(k.COLUMNS, np.uint64)
    row[k.FOREIGN] = link != ETHERNET
    row[k.SNAPLEN] = snaplen
    exponent = resolution & 0x7F
    if resolution & 0x80:
        row[k.BINARY] = exponent + 1
        row[k.UNITS] = _fitting(2**exponent)
    else:
        row[k.UNITS] = _fitting(10**exponent)
        row[k.SCALE] = 10 ** (9 - exponent) if exponent <= 9 else 0
        row[k.DIVISOR] = _fitting(10 ** (exponent - 9)) if exponent > 9 else 0
    row[k.OFFSET_S] = max(-k.MAX_SECONDS, min(k.MAX_SECONDS, offset_s)) & (2**64 - 1)
    return link, row


def _fitting(number: int) -> int:
    return number if number < 2**64 else 0
