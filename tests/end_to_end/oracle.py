"""What a replay must print, worked out slowly and apart from the program: read, port checks, ordered scan.

Sources: CONTRACT 1 (steering, time) and 2 (reasons of the default queue).
"""

import struct
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Frame:
    """A frame of a capture: ``seconds`` is None where the capture gives it no time."""

    seconds: Fraction | None
    captured: bytes
    wire: int

    @property
    def mac(self) -> str:
        return self.captured[:6].hex(":")

    @property
    def vid(self) -> int | None:
        """VID of the outermost customer tag; None: not tagged."""
        if self.captured[12:14] != b"\x81\x00":
            return None
        return int.from_bytes(self.captured[14:16]) & 0xFFF

    def is_runt(self) -> bool:
        return len(self.captured) < 14 or (self.captured[12:14] == b"\x81\x00" and len(self.captured) < 16)

    def is_oversize(self, max_frame_bytes: int) -> bool:
        return not self.is_runt() and max(self.wire, len(self.captured)) > max_frame_bytes


def read(content: bytes) -> list[Frame]:
    """Every whole frame of a pcap or pcapng file."""
    return _read_pcapng(content) if content[:4] == b"\x0a\x0d\x0d\x0a" else _read_pcap(content)


def _read_pcap(content: bytes) -> list[Frame]:
    forms = {0xA1B2C3D4: 10**6, 0xA1B23C4D: 10**9}
    order = next(order for order in "<>" if struct.unpack_from(order + "I", content)[0] in forms)
    per_second = forms[struct.unpack_from(order + "I", content)[0]]
    frames, at = [], 24
    while at + 16 <= len(content):
        seconds, rest, captured, wire = struct.unpack_from(order + "IIII", content, at)
        if at + 16 + captured > len(content):
            break
        frames.append(
            Frame(seconds + Fraction(rest, per_second), content[at + 16 : at + 16 + captured], wire)
        )
        at += 16 + captured
    return frames


@dataclass(frozen=True)
class _Interface:
    snap: int
    tick: Fraction
    offset: int


def _read_interface(body: bytes, order: str) -> _Interface:
    snap = struct.unpack_from(order + "I", body, 4)[0]
    tick, offset, at = Fraction(1, 10**6), 0, 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if code == 9:
            base, power = (2, value[0] & 0x7F) if value[0] & 0x80 else (10, value[0])
            tick = Fraction(1, base**power)
        elif code == 14:
            offset = struct.unpack(order + "q", value)[0]
        elif code == 0:
            break
        at += 4 + length + -length % 4
    return _Interface(snap, tick, offset)


def _read_pcapng(content: bytes) -> list[Frame]:
    frames: list[Frame] = []
    interfaces: list[_Interface] = []
    order, at = "<", 0
    while at + 12 <= len(content):
        if content[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if content[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, length = struct.unpack_from(order + "II", content, at)
        if at + length > len(content):
            break
        body = content[at + 8 : at + length - 4]
        if kind == 1:
            interfaces.append(_read_interface(body, order))
        elif kind in (2, 6):
            form = order + ("IIIII" if kind == 6 else "HxxIIII")
            of, high, low, captured, wire = struct.unpack_from(form, body)
            source = interfaces[of]
            seconds = source.offset + ((high << 32) | low) * source.tick
            frames.append(Frame(seconds, body[20 : 20 + captured], wire))
        elif kind == 3:
            wire = struct.unpack_from(order + "I", body)[0]
            captured = min(wire, interfaces[0].snap or wire)
            frames.append(Frame(None, body[4 : 4 + captured], wire))
        at += length
    return frames


def stamps_ns(frames: list[Frame]) -> list[Fraction]:
    """The time of each frame, from the first one's; one without a time has the time before."""
    out: list[Fraction] = []
    stamp = first = next((each.seconds for each in frames if each.seconds is not None), Fraction(0))
    for each in frames:
        stamp = stamp if each.seconds is None else each.seconds
        out.append((stamp - first) * 10**9)
    return out


def arrivals_ns(frames: list[Frame], link_gbps: Fraction) -> list[Fraction]:
    """When each frame has come in over a wire of this speed."""
    out: list[Fraction] = []
    free = Fraction(0)
    for stamp, each in zip(stamps_ns(frames), frames, strict=True):
        arrival = max(stamp, free)
        free = arrival + Fraction((each.wire + 20) * 8) / link_gbps
        out.append(arrival)
    return out


Vlan = int | str | None


@dataclass(frozen=True)
class Test:
    """What a filter or a switch port asks of a frame."""

    __test__ = False
    mac: str
    vlan: Vlan

    def passes(self, frame: Frame) -> bool:
        if self.mac != frame.mac:
            return False
        if self.vlan is None:
            return True
        return frame.vid in (None, 0) if self.vlan == "untagged" else frame.vid == self.vlan


def _test(table: dict[str, Any]) -> Test:
    return Test(table["mac"].lower().replace("-", ":"), table.get("vlan"))


@dataclass
class Adapter:
    """As much of an adapter as steering asks about: its running queues' filters, by id, and its ports."""

    name: str = "nic0"
    max_frame_bytes: int = 1518
    link_gbps: Fraction = Fraction(10)
    filters: dict[int, tuple[int, Test]] = field(default_factory=dict)
    ports: list[Test] = field(default_factory=list)
    queue_vms: dict[int, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, table: dict[str, Any]) -> "Adapter":
        adapter = cls(
            table.get("name", "nic0"),
            table.get("max_frame_bytes", 1518),
            Fraction(str(table.get("link_gbps", 10))),
        )
        adapter.ports = [_test(port) for port in table.get("port", [])]
        for queue_id, queue in enumerate(table.get("queue", []), 1):
            adapter.queue_vms[queue_id] = queue.get("vm")
            for each in queue.get("filter", []):
                adapter.filters[len(adapter.filters) + 1] = (queue_id, _test(each))
                if "vm" in queue:
                    adapter.ports.append(_test(each))
        return adapter

    def steer(self, frame: Frame) -> tuple[int, int | None]:
        """Queue that takes the frame, and the filter credited."""
        passing = sorted(
            (queue, number) for number, (queue, test) in self.filters.items() if test.passes(frame)
        )
        return passing[0] if passing else (0, None)

    def reason(self, frame: Frame) -> str:
        if frame.mac == "ff:ff:ff:ff:ff:ff":
            return "broadcast"
        if frame.captured[0] & 1:
            return "multicast"
        if any(port.passes(frame) for port in self.ports):
            return "no_queue"
        known = {test.mac for _, test in self.filters.values()} | {port.mac for port in self.ports}
        return "vlan_mismatch" if frame.mac in known else "unknown_unicast"


@dataclass
class Expected:
    """What a replay of some frames must have counted on one adapter."""

    port: dict[str, int]
    frames: Counter[int]
    bytes: Counter[int]
    matched: Counter[int]
    reasons: Counter[str]
    switch_dropped: int
    """Frames of queue 0 that no port accepts."""
    sim_seconds: Fraction


def expect(frames: list[Frame], adapter: Adapter) -> Expected:
    port = Counter({"offered_frames": len(frames), "offered_bytes": sum(each.wire for each in frames)})
    out = Expected({}, Counter(), Counter(), Counter(), Counter(), 0, Fraction(0))
    for each in frames:
        if each.is_runt() or each.is_oversize(adapter.max_frame_bytes):
            port["runt" if each.is_runt() else "oversize"] += 1
            continue
        queue, credited = adapter.steer(each)
        out.frames[queue] += 1
        out.bytes[queue] += each.wire
        if credited is not None:
            out.matched[credited] += 1
        if queue == 0:
            out.reasons[adapter.reason(each)] += 1
            out.switch_dropped += not any(test.passes(each) for test in adapter.ports)
    out.port = {key: port[key] for key in ("offered_frames", "offered_bytes", "runt", "oversize")}
    arrivals = arrivals_ns(frames, adapter.link_gbps)
    out.sim_seconds = (arrivals[-1] - arrivals[0]) / 10**9 if arrivals else Fraction(0)
    return out


def adapters_of(scenario: str) -> dict[str, Adapter]:
    """The adapters of a scenario's text, by name."""
    tables = tomllib.loads(scenario).get("adapter", [{}])
    return {each.name: each for each in map(Adapter.of, tables)}


def scenario_adapters(path: Path) -> dict[str, Adapter]:
    return adapters_of(path.read_text(encoding="utf-8"))
