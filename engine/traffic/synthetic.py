"""Synthetic traffic: the mixes of a scenario as real Ethernet frames with IPv4 and UDP.

Frame i of a mix, with its flow, size and timestamp, depends only on (seed, mix index, i). A frame's
payload begins with its flow's sequence number, 8 bytes big-endian; after it, byte k of the frame is
k mod 256.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from engine.scenario.model import FlowSpec, MixSpec, Scenario
from engine.scenario.values import BROADCAST, parse_address
from engine.traffic import synthetic_kernel as k
from engine.traffic.batch import RATE_DENOMINATOR, Filled, FrameBatch, byte_time_ns

IMIX: Final = ((60, 7), (590, 4), (1514, 1))
"""(bytes without FCS and tag, share) of the simple Internet mix."""

_PATTERNS = {"steady": k.STEADY, "random": k.RANDOM, "bursts": k.BURSTS}
_BYTES = np.arange(k.HEADER_BYTES * 1024, dtype=np.uint64).astype(np.uint8)
_WORDS_BEFORE = np.concatenate(([0], np.cumsum(_BYTES.view(">u2"), dtype=np.int64)))
_IPV4_HEADER = struct.Struct(">BBHHHBBHII")
_UDP_HEADER = struct.Struct(">HHHH")
_DEFAULT_GROUP = 0x0100_5E00_00FB  # mDNS
_DISCARD_PORT = 9
_UNKNOWN_PREFIX = 0x0A76_0000_0000
_SOURCE_PREFIX = 0x0276_0000_0000


@dataclass(frozen=True)
class _Row:
    """A kind of frame: one flow of a mix at one size; ``weight`` is relative to the other rows of the mix."""

    length: int
    flow: int
    payload_at: int
    udp_sum: int
    any_host: bool
    header: bytes
    weight: Fraction


class SyntheticSource:
    """An endless source of the frames of a scenario's mixes, for all adapters, in order of arrival.

    ``scenario`` must have traffic. ``batch.data`` must have space for the longest frame. Rates are rounded to
    fractions (``RATE_DENOMINATOR``); ``rate_gbps`` counts the bits of frames without FCS, preamble and gap,
    and is converted to a frame rate with the mix's mean frame length. The link limits higher rates.

    Frames for a team have an index above those of the adapters, and wait for no wire (``team``).

    The source begins at ``start_ns``. ``wire_free`` has, by adapter, the exact ns at which the last frame of
    a previous source ends.
    """

    def __init__(
        self, scenario: Scenario, *, start_ns: int = 0, wire_free: Mapping[int, Fraction] | None = None
    ) -> None:
        assert scenario.traffic is not None
        traffic = scenario.traffic
        adapters = [
            *(adapter.name for adapter in scenario.adapter),
            *(team.name for team in scenario.team),
        ]
        links = [adapter.link_gbps for adapter in scenario.adapter] + [math.inf] * len(scenario.team)
        fed = [adapters.index(mix.adapter) if mix.adapter else 0 for mix in traffic.mix]
        order = sorted(range(len(fed)), key=fed.__getitem__)
        unknown = _free_prefix(scenario)

        rows: list[_Row] = []
        self._mixes = np.zeros(len(order), k.MIX)
        alias: list[tuple[int, int]] = []
        flows = 0
        for plan, index in zip(self._mixes, order, strict=True):
            mix = traffic.mix[index]
            own = [row for f, flow in enumerate(mix.flow, start=flows) for row in _rows(flow, f, unknown)]
            flows += len(mix.flow)
            _plan_mix(plan, mix, own, _mix_key(traffic.seed, index), first_row=len(rows))
            plan["slot_ns"] = start_ns
            alias += [(coin, len(rows) + other) for coin, other in _alias([row.weight for row in own])]
            rows += own
        self._rows = np.array(
            [
                (row.length, row.flow, row.payload_at, row.udp_sum, row.any_host, coin, other)
                for row, (coin, other) in zip(rows, alias, strict=True)
            ],
            k.ROW,
        )
        self._headers = np.frombuffer(bytearray().join(row.header for row in rows), np.uint8)
        self._sequences = np.zeros(flows, np.int64)

        lanes = sorted(set(fed))
        self._lanes = np.zeros(len(lanes), k.LANE)
        for lane, a in zip(self._lanes, lanes, strict=True):
            lane["adapter"] = a
            _set_link(lane, links[a], (wire_free or {}).get(a, Fraction(0)))
            lane["first_mix"] = [fed[index] for index in order].index(a)
            lane["mixes"] = fed.count(a)
            lane["next_mix"] = -1

    @property
    def skipped_ns(self) -> int:
        """Always 0: synthetic mixes have no gaps to cut."""
        return 0

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames that arrive before ``until_ns``, as many as fit.

        Raises ValueError if not even one frame fits the batch.
        """
        if not len(self._lanes):
            return Filled(0, None)
        frames, next_ns = k.generate(
            batch.data,
            batch.offset,
            batch.captured,
            batch.wire,
            batch.arrival_ns,
            batch.adapter,
            until_ns,
            self._lanes,
            self._mixes,
            self._rows,
            self._headers,
            _BYTES,
            self._sequences,
        )
        if frames == 0 and next_ns < until_ns:
            raise ValueError(f"a batch of {batch.data.size} bytes has no room for the next frame")
        return Filled(frames, next_ns)

    def wire_free(self) -> dict[int, Fraction]:
        """Return the exact ns at which the last frame so far ends, by adapter."""
        return {int(lane["adapter"]): _wire_free(lane) for lane in self._lanes}

    def hold_wire(self, adapter: int, until: Fraction) -> None:
        """Send the adapter's next frame at the exact ns ``until`` or later."""
        for lane in self._lanes:
            if lane["adapter"] == adapter:
                lane["end_ns"], part = divmod(until, 1)
                lane["end_part"] = int(part * int(lane["byte_parts"]))
                if lane["next_mix"] >= 0:
                    timestamp_ns = self._mixes[lane["next_mix"]]["timestamp_ns"]
                    lane["arrival_ns"] = max(timestamp_ns, lane["end_ns"])

    def set_link(self, adapter: int, link_gbps: float) -> None:
        """Change the speed of an adapter's link from the next frame on; the last frame's end stays."""
        for lane in self._lanes:
            if lane["adapter"] == adapter:
                _set_link(lane, link_gbps, _wire_free(lane))

    def close(self) -> None:
        """Do nothing: there are no files."""


def _set_link(lane: np.void, link_gbps: float, wire_free: Fraction) -> None:
    """Set the time of a byte on a lane's wire, and the time when the wire is free."""
    byte_ns = byte_time_ns(link_gbps)
    lane["byte_ns"] = byte_ns.numerator
    lane["byte_parts"] = byte_ns.denominator
    lane["end_ns"], part = divmod(wire_free, 1)
    lane["end_part"] = int(part * byte_ns.denominator)


def _wire_free(lane: np.void) -> Fraction:
    return int(lane["end_ns"]) + (Fraction(int(lane["end_part"]), int(lane["byte_parts"])))


def _plan_mix(plan: np.void, mix: MixSpec, rows: list[_Row], key: int, first_row: int) -> None:
    """Fill in a mix's row of the kernel's table."""
    if mix.rate_pps is not None:
        rate = Fraction(str(mix.rate_pps))
    else:
        mean_bytes = Fraction(sum(row.weight * row.length for row in rows)) / sum(row.weight for row in rows)
        rate = Fraction(str(mix.rate_gbps)) * 1_000_000_000 / (8 * mean_bytes)
    slot_ns = 1_000_000_000 / rate.limit_denominator(RATE_DENOMINATOR)
    plan["key"] = key
    plan["first_row"] = first_row
    plan["rows"] = len(rows)
    plan["pattern"] = _PATTERNS[mix.pattern]
    plan["burst_frames"] = mix.burst_frames
    plan["step_ns"], plan["step_part"] = divmod(slot_ns.numerator, slot_ns.denominator)
    plan["step_parts"] = slot_ns.denominator


def _mix_key(seed: int, index: int) -> int:
    """Return the hash key of a mix as a signed 64-bit number; keys with the same seed are far apart."""
    key = (seed * 0xD1342543DE82EF95 + (index + 1) * 0x2545F4914F6CDD1D) & (2**64 - 1)
    key ^= key >> 32
    return key - 2**64 if key >> 63 else key


def _free_prefix(scenario: Scenario) -> int:
    """Return a locally administered MAC whose first five bytes no filter, port or flow uses."""
    named = (
        [
            *(port.mac for adapter in scenario.adapter for port in adapter.port),
            *(spec.mac for adapter in scenario.adapter for queue in adapter.queue for spec in queue.filter),
            *(flow.mac for mix in scenario.traffic.mix for flow in mix.flow if flow.mac),
        ]
        if scenario.traffic
        else []
    )
    taken = {parse_address(mac) & ~0xFF for mac in named}
    prefix = _UNKNOWN_PREFIX
    while prefix in taken:
        prefix += 0x100
    return prefix


def _rows(flow: FlowSpec, index: int, unknown: int) -> list[_Row]:
    """Return the kinds of frames of a flow; ``index`` counts the flows of all mixes."""
    sizes = IMIX if flow.frame_bytes == "imix" else ((flow.frame_bytes, 1),)
    shares = sum(share for _, share in sizes)
    if flow.mac is not None:
        destination = parse_address(flow.mac)
    else:
        destination = {"broadcast": BROADCAST, "multicast": _DEFAULT_GROUP, "unknown": unknown}[flow.kind]
    ethernet = destination.to_bytes(6, "big") + (_SOURCE_PREFIX | index).to_bytes(6, "big")
    if flow.vlan is not None:
        ethernet += struct.pack(">HH", 0x8100, flow.vlan)
    ethernet += b"\x08\x00"
    rows = []
    for size, share in sizes:
        length = size if flow.vlan is None else size + 4
        headers, udp_sum = _ip_and_udp(length - len(ethernet), destination, index)
        payload_at = len(ethernet) + len(headers)
        udp_sum += _words(payload_at + 8, length)
        template = ethernet + headers + bytes(8) + _BYTES[payload_at + 8 : k.HEADER_BYTES].tobytes()
        rows.append(
            _Row(
                length=length,
                flow=index,
                payload_at=payload_at,
                udp_sum=udp_sum,
                any_host=flow.kind == "unknown" and flow.mac is None,
                header=template,
                weight=Fraction(str(flow.weight)) * share / shares,
            )
        )
    return rows


def _words(first: int, last: int) -> int:
    """Return the sum of the payload pattern's 16-bit words from byte ``first`` (even) to before ``last``."""
    total = int(_WORDS_BEFORE[last // 2] - _WORDS_BEFORE[first // 2])
    return total + (int(_BYTES[last - 1]) << 8 if last % 2 else 0)


def _ip_and_udp(ip_bytes: int, destination: int, flow: int) -> tuple[bytes, int]:
    """Return a packet's IPv4 and UDP headers, and the sum for its UDP checksum without the payload."""
    source_ip = 0x0A00_0000 | (flow + 1) & 0xFF_FFFF
    if destination == BROADCAST:
        destination_ip = 0xFFFF_FFFF
    elif destination >> 40 & 1:
        destination_ip = 0xE000_0000 | destination & 0x7F_FFFF  # RFC 1112, 6.4
    else:
        destination_ip = 0xAC10_0000 | destination & 0xF_FFFF
    # The identification may be 0, because "don't fragment" is set (RFC 6864).
    fields = (0x45, 0, ip_bytes, 0, 0x4000, 64, 17, 0, source_ip, destination_ip)
    checksum = _checksum(_IPV4_HEADER.pack(*fields))
    ip = _IPV4_HEADER.pack(*fields[:7], checksum, *fields[8:])
    udp_bytes = ip_bytes - len(ip)
    udp = _UDP_HEADER.pack(49_152 + flow % 16_384, _DISCARD_PORT, udp_bytes, 0)
    return ip + udp, _sum_words(udp) + _sum_words(ip[12:20]) + 17 + udp_bytes


def _sum_words(content: bytes) -> int:
    return sum(struct.unpack(f">{len(content) // 2}H", content))


def _checksum(content: bytes) -> int:
    total = _sum_words(content)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _alias(weights: list[Fraction]) -> list[tuple[int, int]]:
    """Return (coin, other) for each weight: Vose's alias method.

    To sample by weight: draw an index uniformly, keep it with probability coin / 2^32, else use ``other``.
    The method uses integers, so that results are the same on every machine.
    """
    scale = math.lcm(*(weight.denominator for weight in weights))
    shares = [int(weight * scale) * len(weights) for weight in weights]
    full = sum(shares) // len(shares)
    table = [(1 << 32, index) for index in range(len(shares))]
    small = [index for index, share in enumerate(shares) if share < full]
    large = [index for index, share in enumerate(shares) if share >= full]
    while small and large:
        index = small.pop()
        table[index] = ((shares[index] << 32) // full, large[-1])
        shares[large[-1]] -= full - shares[index]
        if shares[large[-1]] < full:
            small.append(large.pop())
    return table
