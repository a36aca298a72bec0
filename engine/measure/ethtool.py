"""The ethtool requests of Linux (``SIOCETHTOOL``), those that read and need no rights.

Structures: ``linux/ethtool.h``. A request that a driver doesn't know raises ``OSError`` (EOPNOTSUPP); an
interface that is gone, ENODEV.
"""

import ctypes
import errno
import os
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.measure.facts import Rule

_SIOCETHTOOL = 0x8946
_GDRVINFO, _GRINGPARAM, _GSTRINGS, _GSTATS, _GCHANNELS = 0x03, 0x10, 0x1B, 0x1D, 0x3C
_GRXCLSRLCNT, _GRXCLSRULE, _GRXCLSRLALL = 0x2E, 0x2F, 0x30
_STATISTICS = 1  # ETH_SS_STATS
_NAME_BYTES = 32
_DRIVER_INFO = struct.Struct("=I32s32s32s32s32s12s5I")
_WORDS = struct.Struct("=9I")
_RULE = struct.Struct("@2IQ I52s20s52s20sQI 0Q")  # ethtool_rxnfc up to its rule_cnt, as C aligns it
_ETHER_FLOW, _FLOW_EXT, _FLOW_RSS, _FLOW_MAC_EXT = 0x12, 0x80000000, 0x20000000, 0x40000000
_SLACK = 4096
"""Counters of room beyond the expected: older kernels write as many as there are, whatever was asked for."""

MAX_RULES = 1024
MAX_COUNTERS = 65536

Request = Callable[[str, int, int], None]
"""Send a request to an interface: its name, the address of the request, and the length in bytes."""


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """``counters`` is the number of ``ethtool -S`` lines."""

    driver: str
    version: str
    firmware: str
    bus_address: str
    counters: int


class EthtoolSocket:
    """Sends ethtool requests; ``request`` stands in for the kernel in tests."""

    def __init__(self, request: Request | None = None) -> None:
        self._socket = None if request else socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._request = request or self._ioctl

    def close(self) -> None:
        """Close the socket. Closing twice is harmless."""
        if self._socket is not None:
            self._socket.close()

    def driver(self, name: str) -> DriverInfo:
        """Read what ``ethtool -i`` shows."""
        answer = self._exchange(name, _DRIVER_INFO.pack(_GDRVINFO, *[b""] * 6, *[0] * 5))
        fields = _DRIVER_INFO.unpack(answer)
        driver, version, firmware, bus = (_text(field) for field in fields[1:5])
        return DriverInfo(driver, _unless_empty(version), _unless_empty(firmware), bus, fields[8])

    def ring_size(self, name: str) -> int:
        """Read how many descriptors a receive ring has."""
        return int(_WORDS.unpack(self._exchange(name, _WORDS.pack(_GRINGPARAM, *[0] * 8)))[5])

    def channels(self, name: str) -> tuple[int, int]:
        """Read the number of receive rings in use, and of the most that there can be."""
        answer = _WORDS.unpack(self._exchange(name, _WORDS.pack(_GCHANNELS, *[0] * 8)))
        _, max_receive, _, _, max_combined, receive, _, _, combined = answer
        return receive + combined, max(max_receive, max_combined, receive + combined)

    def counter_names(self, name: str, count: int) -> list[str]:
        """Read the names of ``count`` counters; fewer, or none, when their number has changed."""
        head = struct.pack("=3I", _GSTRINGS, _STATISTICS, count)
        answer = self._exchange(name, head.ljust(12 + (count + _SLACK) * _NAME_BYTES, b"\0"))
        there = min(struct.unpack_from("=I", answer, 8)[0], count)
        return [
            _text(answer[at : at + _NAME_BYTES]) for at in range(12, 12 + there * _NAME_BYTES, _NAME_BYTES)
        ]

    def counters(self, name: str, count: int) -> Sequence[int] | None:
        """Read ``count`` counters in one request; None when their number has changed."""
        words = array("Q", bytes((1 + count + _SLACK) * 8))
        struct.pack_into("=2I", words, 0, _GSTATS, count)
        self._request(name, words.buffer_info()[0], len(words) * 8)
        (there,) = struct.unpack_from("=I", words, 4)
        return words[1 : 1 + count] if there == count else None

    def rules(self, name: str) -> tuple[list[Rule], int]:
        """Read the ntuple rules that send a MAC to a ring, and how many rules of any kind there are.

        At most ``MAX_RULES`` are read.
        """
        count = self._rule(name, _GRXCLSRLCNT, 0)[1]
        if not count:
            return [], 0
        locations = self._rule(name, _GRXCLSRLALL, min(count, MAX_RULES))[2]
        rules = [self._rule_at(name, location) for location in locations]
        return [rule for rule in rules if rule is not None], count

    def _rule_at(self, name: str, location: int) -> Rule | None:
        try:
            return _mac_rule(self._rule(name, _GRXCLSRULE, 0, location)[0])
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return None  # it was deleted since the locations were read
            raise

    def _rule(
        self, name: str, command: int, count: int, location: int = 0
    ) -> tuple[tuple[Any, ...], int, list[int]]:
        """Send an ``ethtool_rxnfc``; return the rule, the number of rules, and their locations."""
        blank = bytes(52), bytes(20)
        head = _RULE.pack(command, 0, 0, 0, *blank, *blank, 0, location)
        answer = self._exchange(name, head + struct.pack("=I", count) + bytes(4 * max(count, 1)))
        (there,) = struct.unpack_from("=I", answer, _RULE.size)
        locations = struct.unpack_from(f"={min(there, count)}I", answer, _RULE.size + 4)
        return _RULE.unpack_from(answer), there, list(locations)

    def _exchange(self, name: str, question: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(question, len(question))
        self._request(name, ctypes.addressof(buffer), len(question))
        return buffer.raw

    def _ioctl(self, name: str, address: int, length: int) -> None:
        from fcntl import ioctl

        assert self._socket is not None
        ioctl(self._socket, _SIOCETHTOOL, struct.pack("@16sP16x", os.fsencode(name)[:15], address))


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", "replace")


def _unless_empty(text: str) -> str:
    return "" if text.strip() in ("", "N/A") else text.strip()


def _mac_rule(fields: tuple[Any, ...]) -> Rule | None:
    """Return a rule that sends one MAC, perhaps with one VLAN, to a ring; None for other rules."""
    _, _, _, flow, match, extension, mask, extension_mask, cookie, location = fields
    if flow & ~(_FLOW_EXT | _FLOW_MAC_EXT) != _ETHER_FLOW or cookie >> 32:
        return None  # another kind of rule, one that spreads over a context, drops, or names a VF
    if mask[:6] != b"\xff" * 6 or any(mask[6:14]):
        return None
    vlan = None
    if flow & _FLOW_EXT:
        (tag, tag_mask) = (int.from_bytes(each[10:12], "big") for each in (extension, extension_mask))
        if any(extension_mask[12:20]) or tag_mask & 0xFFF not in (0, 0xFFF):
            return None
        vlan = tag & 0xFFF if tag_mask & 0xFFF else None
    return Rule(location, match[:6].hex(":"), vlan, cookie)
