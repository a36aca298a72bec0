"""Links with their virtual functions, and receive queues with their interrupts and counters, by netlink.

Formats: ``linux/rtnetlink.h``, ``linux/if_link.h``, ``linux/genetlink.h``, ``linux/netdev.h`` (kernel 6.12).
An interface that is gone raises ``OSError`` (ENODEV); a request that the kernel doesn't know, EOPNOTSUPP.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

_ROUTE, _GENERIC = 0, 16  # NETLINK_ROUTE, NETLINK_GENERIC
_HEAD = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_ERROR, _DONE, _REQUEST, _DUMP = 2, 3, 0x1, 0x300
_GETLINK = 18
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, changed
_UP = 0x1
_LINK_ADDRESS, _LINK_NAME, _LINK_MTU, _LINK_VFS = 1, 3, 4, 22
_LINK_VF_COUNT, _LINK_STATS, _LINK_MASK, _LINK_CARRIER = 21, 23, 29, 33
_WITH_VFS, _WITHOUT_VF_STATS = 1, 8
_VF_MAC, _VF_VLAN, _VF_STATS = 1, 2, 8
_VF_RX_PACKETS, _VF_RX_BYTES, _VF_RX_DROPPED = 0, 2, 7
_CONTROL_FAMILY, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_QUEUE_GET, _NAPI_GET, _QSTATS_GET = 10, 11, 12
_RECEIVE_QUEUE = 0
_TYPE_BITS = 0x3FFF
_RECEIVE_BYTES = 1 << 18

Exchange = Callable[[int, bytes], Iterator[bytes]]
"""Send one message to a netlink protocol; yield the datagrams that come, as long as more are asked for."""


@dataclass(frozen=True, slots=True)
class VfLink:
    """A virtual function as its PF's driver tells it; counters are zeros if the driver has none.

    ``vlan`` 0: none. ``mac`` None: not set by this machine.
    """

    vf: int
    mac: str | None
    vlan: int | None
    frames: int | None = None
    bytes: int | None = None
    dropped: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An interface: ``up`` means that it is enabled and has a carrier. Counters are those of IFLA_STATS64."""

    name: str
    index: int
    mac: str
    mtu: int
    up: bool | None
    frames: int | None = None
    bytes: int | None = None
    errors: int | None = None
    functions: tuple[VfLink, ...] = ()
    function_count: int = 0
    """Virtual functions that there are: ``functions`` may be fewer, where they don't fit into an answer."""
    without_vf_counters: bool = False
    """So many virtual functions that their counters don't fit into one answer."""


@dataclass(frozen=True, slots=True)
class QueueCounters:
    """Counters of one receive queue, by attribute of ``netdev`` qstats; absent: not counted by the driver."""

    frames: int | None = None
    bytes: int | None = None
    hardware_drops: int | None = None
    overruns: int | None = None


@dataclass(slots=True)
class NetlinkSocket:
    """Sends netlink requests; ``exchange`` stands in for the kernel in tests."""

    exchange: Exchange | None = None
    _sockets: dict[int, socket.socket] = field(default_factory=dict)
    _sequence: int = 0
    _family: int | None = None

    def close(self) -> None:
        """Close the sockets. Closing twice is harmless."""
        while self._sockets:
            self._sockets.popitem()[1].close()

    def link(self, name: str) -> Link:
        """Read one interface, with its virtual functions and their counters."""
        try:
            link = self._link(name, _WITH_VFS)
            if len(link.functions) >= link.function_count:
                return link  # older kernels cut the list, newer ones say that it is too long
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
        short = self._link(name, _WITH_VFS | _WITHOUT_VF_STATS)
        return replace(
            self._link(name, 0),
            functions=short.functions,
            function_count=short.function_count,
            without_vf_counters=True,
        )

    def queue_interrupts(self, index: int) -> dict[int, int]:
        """Map receive queues to interrupts, where their NAPI instances tell them."""
        napis = {}
        for message in self._netdev(_QUEUE_GET, {2: index}):
            queue = dict(_attributes(message))
            if _number(queue.get(3)) == _RECEIVE_QUEUE and 4 in queue:
                napis[_number(queue.get(1))] = _number(queue[4])
        interrupts = {}
        for message in self._netdev(_NAPI_GET, {1: index}) if napis else ():
            napi = dict(_attributes(message))
            if 3 in napi:
                interrupts[_number(napi.get(2))] = _number(napi[3])
        return {queue: interrupts[napi] for queue, napi in napis.items() if napi in interrupts}

    def queue_counters(self, index: int) -> dict[int, QueueCounters]:
        """Read the counters of receive queues; empty if the driver has none by queue."""
        counters = {}
        for message in self._netdev(_QSTATS_GET, {1: index, 4: 1}):
            queue = dict(_attributes(message))
            if _number(queue.get(2), -1) == _RECEIVE_QUEUE and 3 in queue:
                known = (_number(queue[each]) if each in queue else None for each in (8, 9, 13, 14))
                counters[_number(queue[3])] = QueueCounters(*known)
        return counters

    def _link(self, name: str, mask: int) -> Link:
        question = _LINK.pack(0, 0, 0, 0, 0)
        question += _attribute(_LINK_NAME, os.fsencode(name) + b"\0")
        question += _attribute(_LINK_MASK, struct.pack("=I", mask))
        for message in self._ask(_ROUTE, _GETLINK, _REQUEST, question):
            try:
                return _read_link(message)
            except struct.error:
                raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG), name) from None
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)

    def _netdev(self, command: int, attributes: dict[int, int]) -> Iterator[bytes]:
        """Dump a command of the generic family ``netdev``; its messages without their heads."""
        if self._family is None:
            self._family = self._find_family()
        question = struct.pack("=BBxx", command, 1)
        for kind, value in attributes.items():
            question += _attribute(kind, struct.pack("=I", value))
        for message in self._ask(_GENERIC, self._family, _REQUEST | _DUMP, question):
            yield message[4:]

    def _find_family(self) -> int:
        question = struct.pack("=BBxx", _GET_FAMILY, 1) + _attribute(_FAMILY_NAME, b"netdev\0")
        for message in self._ask(_GENERIC, _CONTROL_FAMILY, _REQUEST, question):
            return _number(dict(_attributes(message[4:])).get(_FAMILY_ID))
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), "netdev")

    def _ask(self, protocol: int, kind: int, flags: int, question: bytes) -> Iterator[bytes]:
        """Send a request and yield the payload of each message of its answer; raise the kernel's error."""
        self._sequence += 1
        request = _HEAD.pack(_HEAD.size + len(question), kind, flags, self._sequence, 0) + question
        for datagram in (self.exchange or self._through_socket)(protocol, request):
            place = 0
            while place + _HEAD.size <= len(datagram):
                length, answer, _, sequence, _ = _HEAD.unpack_from(datagram, place)
                if length < _HEAD.size:
                    raise OSError(errno.EBADMSG, "a netlink message shorter than its head")
                payload = datagram[place + _HEAD.size : place + length]
                place += length + 3 & ~3
                if sequence != self._sequence:
                    continue  # what is left of an answer that was given up
                if answer in (_DONE, _ERROR):  # of a dump that failed, too
                    code = -int.from_bytes(payload[:4], sys.byteorder, signed=True)
                    if code == 0 and answer == _DONE:
                        return
                    code = code or errno.EBADMSG
                    raise OSError(code, os.strerror(code))
                yield payload
                if not flags & _DUMP:
                    return

    def _through_socket(self, protocol: int, request: bytes) -> Iterator[bytes]:
        sender = self._sockets.get(protocol)
        if sender is None:
            sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
            sender.settimeout(2.0)
            self._sockets[protocol] = sender
        try:
            sender.send(request)
            while True:
                yield sender.recv(_RECEIVE_BYTES)
        except OSError:
            self.close()  # what is left of the answer goes with the socket
            raise


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 4 <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, place)
        if length < 4 or place + length > len(content):
            return
        yield kind & _TYPE_BITS, content[place + 4 : place + length]
        place += length + 3 & ~3


def _number(value: bytes | None, missing: int = 0) -> int:
    return missing if value is None else int.from_bytes(value, sys.byteorder)


def _read_link(message: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(message)
    link = dict(_attributes(message[_LINK.size :]))
    stats = link.get(_LINK_STATS, b"")
    frames, _, received, _, errors = struct.unpack_from("=5Q", stats) if len(stats) >= 40 else [None] * 5
    carrier = link.get(_LINK_CARRIER)
    return Link(
        os.fsdecode(link.get(_LINK_NAME, b"").rstrip(b"\0")),
        index,
        link.get(_LINK_ADDRESS, b"").hex(":"),
        _number(link.get(_LINK_MTU)),
        None if carrier is None else bool(carrier[0]) and bool(flags & _UP),
        frames,
        received,
        errors,
        tuple(_functions(link.get(_LINK_VFS, b""))),
        _number(link.get(_LINK_VF_COUNT)),
    )


def _functions(content: bytes) -> Iterator[VfLink]:
    for _, function in _attributes(content):
        facts = dict(_attributes(function))
        if len(facts.get(_VF_MAC, b"")) < 10:
            continue
        vf, mac = struct.unpack_from("=I6s", facts[_VF_MAC])
        vlan = facts.get(_VF_VLAN)
        counters = dict(_attributes(facts.get(_VF_STATS, b"")))
        frames, octets, dropped = (
            _number(counters[each]) if each in counters else None
            for each in (_VF_RX_PACKETS, _VF_RX_BYTES, _VF_RX_DROPPED)
        )
        yield VfLink(
            vf,
            mac.hex(":") if any(mac) else None,
            None if vlan is None or len(vlan) < 8 else struct.unpack_from("=II", vlan)[1],
            frames,
            octets,
            dropped,
        )
