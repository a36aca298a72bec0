"""The traffic of a measured adapter as flows of a scenario: each queue's measured rate and mean size."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.counted import counted
from engine.measure.calibration import burst_frames
from engine.measure.twin_text import OF_SOURCE, Known, Plain, Sheet, Value, toml
from engine.scenario.keys import MAX_FLOWS, MAX_MIXES
from engine.scenario.model import CpuSpec
from engine.scenario.values import BROADCAST, MAX_FRAME_BYTES, MAX_VLAN, Vlan, parse_address
from engine.telemetry.stats import Source
from engine.view.adapter import AdapterView
from engine.view.rows import CpuView, QueueView

Kind = Literal["unicast", "broadcast", "multicast", "unknown"]

LEAST_PPS: Final = 0.001
MOST_PPS: Final = 1e9
_LEAST_WEIGHT: Final = 1e-6
_TAG_BYTES: Final = 4
_LEAST_BYTES: Final = 60
_IMIX_BYTES: Final = (7 * 60 + 4 * 590 + 1514) / 12
_FULL_LOAD: Final = 0.97
_LOST_SHARE: Final = 0.001
"""Least part of a port's frames that counts as missing in its queues."""
_COST: Final = CpuSpec()
MOST_PAIRS: Final = 64
"""Most pairs of MAC and VLAN of an adapter's default queue that get flows of their own."""


@dataclass(frozen=True)
class Flow:
    """Frames per second to one destination. ``frame_bytes`` None: not known, a mix of sizes."""

    kind: Kind
    mac: str | None
    vlan: int | None
    pps: float
    frame_bytes: float | None
    known: Known
    why: str
    burst: int = 1
    """Frames that come back to back."""

    @property
    def size(self) -> int | None:
        """The ``frame_bytes`` of the scenario, to which a tag adds 4."""
        if self.frame_bytes is None:
            return None
        bare = round(self.frame_bytes) - (_TAG_BYTES if self.vlan is not None else 0)
        return min(max(bare, _LEAST_BYTES), MAX_FRAME_BYTES - _TAG_BYTES)

    @property
    def wire_bytes(self) -> float:
        """The length of a frame, tag included."""
        tag = _TAG_BYTES if self.vlan is not None else 0
        return (_IMIX_BYTES if self.size is None else self.size) + tag


@dataclass(frozen=True)
class Target:
    """A queue of the twin that is sent frames: the measured queue, and the filters it has in the twin."""

    queue: QueueView
    filters: Sequence[tuple[str, Vlan]]


class AdapterTraffic:
    """The flows of one adapter.

    ``unknown`` are the measured queues whose rate is not known; ``remarks`` are sentences about them.
    """

    def __init__(
        self,
        adapter: AdapterView,
        targets: Sequence[Target],
        free_macs: Sequence[str],
        cpus: Mapping[int, CpuView],
        link_gbps: float,
    ) -> None:
        self._cpus = cpus
        self._link_gbps = link_gbps
        self.remarks: list[str] = []
        self.unknown = [one for one in adapter.queues if one.pps is None]
        self.not_sent = 0.0
        """Frames per second that the port received and none of its queues can have had."""
        self._adapter = adapter
        self._sources: dict[str, Source] = adapter.now.sources or {}
        self._port_bytes = _mean(adapter.port.rate("offered_bytes", 0), adapter.pps)
        self._rest: dict[int, tuple[float, Known, str]] = {}
        self._dropped: dict[int, float] = {}
        self._share_rest()
        self.flows: list[Flow] = []
        served = {id(one.queue) for one in targets}
        for target in targets:
            self.flows += self._of_queue(target)
        for queue in adapter.queues:
            if queue.queue_id == 0:
                self.flows += self._of_default(queue, free_macs)
            elif id(queue) not in served and queue.pps:
                self.remarks.append(f"{adapter.name}: {queue.called}: its frames are left out with it")

    def _share_rest(self) -> None:
        """Share out the port's frames that no queue of known rate received.

        Queues of unknown rate get equal parts, but no more than the load of their processors allows. What is
        left was dropped by queues of full processors, if there are some whose drops are not known.
        """
        adapter = self._adapter
        taken = sum(one.pps or 0.0 for one in adapter.queues)
        left = max(0.0, (adapter.pps or 0.0) - (adapter.port_errors or 0.0) - taken)
        if adapter.pps is None:
            return
        full = [one for one in adapter.queues if one.pps and self._may_drop(one)]
        most = {id(one): self._most(one) for one in self.unknown}
        for place, queue in enumerate(sorted(self.unknown, key=lambda one: most[id(one)])):
            parts = len(self.unknown) - place
            pps = min(left / parts, most[id(queue)])
            left -= pps
            if len(self.unknown) > 1:
                self._rest[id(queue)] = pps, "assumed", "an equal share of the rest of the port's frames"
            elif pps < most[id(queue)]:
                self._rest[id(queue)] = pps, "derived", "what the port received and no other queue did"
            else:
                why = "the rest of the port's frames, as far as the load of its processor allows"
                self._rest[id(queue)] = pps, "assumed", why
        received = sum(one.pps or 0.0 for one in full)
        if left >= max(LEAST_PPS, _LOST_SHARE * adapter.pps):
            self._dropped = {id(one): left * (one.pps or 0.0) / received for one in full}
            if not full:
                self.not_sent = left

    def _may_drop(self, queue: QueueView) -> bool:
        """Return whether a queue may have dropped frames, which are not known: its processor is full."""
        cpu = None if queue.cpu is None else self._cpus.get(queue.cpu)
        return queue.count("steered_frames") is None and cpu is not None and (cpu.load or 0.0) >= _FULL_LOAD

    def _most(self, queue: QueueView) -> float:
        """Return the most frames per second that a queue can have had, by the load of its processor and what
        frames cost by default; no bound if that is not known."""
        cpu = None if queue.cpu is None else self._cpus.get(queue.cpu)
        if cpu is None or cpu.load is None or cpu.load >= _FULL_LOAD:
            return math.inf
        frame_bytes = self._size(queue)[0] or _IMIX_BYTES
        cycles = _COST.cycles_per_frame + frame_bytes * _COST.cycles_per_byte
        unknown = sum(one.pps is None for one in cpu.queues)
        others = sum(one.pps or 0.0 for one in cpu.queues)
        return max(0.0, cpu.load * _COST.clock_ghz * 1e9 / cycles - others) / unknown

    def _rate(self, queue: QueueView) -> tuple[float, Known, str] | None:
        pps = queue.pps
        if pps is None:
            return self._rest.get(id(queue))
        if queue.count("steered_frames") is not None:
            return pps, OF_SOURCE[self._sources.get("steered_frames", "exact")], ""
        dropped = self._dropped.get(id(queue), 0.0)
        if dropped:
            why = f"{dropped:,.6g} of them, of the rest of the port's, dropped since its processor is full"
            return pps + dropped, "assumed", why
        known = OF_SOURCE[self._sources.get("received_frames", "exact")]
        return pps, known, "without frames that were dropped, which are not known"

    def _size(self, queue: QueueView) -> tuple[float | None, str]:
        # Of a measured host, bytes are those of the frames received.
        counted = "steered_frames" if self._adapter.now.sources is None else "received_frames"
        of_queue = _mean(queue.bytes_rate, queue.rate(counted))
        if of_queue is not None:
            exact = self._sources.get("received_bytes", "exact") == "exact"
            return of_queue, "" if exact else "size: that of its virtual adapters' frames"
        if self._port_bytes is not None:
            return self._port_bytes, "size: the mean of the port"
        return None, "size assumed"

    def _of_queue(self, target: Target) -> Iterator[Flow]:
        """Yield the flows of a queue: one for each filter whose frames are known, else one for the first."""
        queue, rate = target.queue, self._rate(target.queue)
        if rate is None or rate[0] < LEAST_PPS or not target.filters:
            return
        pps, known, why = rate
        size, of_size = self._size(queue)
        parts = self._by_filter(queue, target.filters, pps)
        more = "all with its first filter's MAC and VLAN" if parts is None and len(target.filters) > 1 else ""
        named = f"{queue.called}, {pps:,.6g} frames/s"
        burst = self._burst(queue, size)
        if burst > 1:
            known = "assumed"
            why = f"{why}; " if why else ""
            why += "bursts that make it drop what was measured, though its processor is not full"
        for (mac, vlan), part in parts or [(target.filters[0], pps)]:
            words = "; ".join(filter(None, (named, why, of_size, more)))
            tag = vlan if isinstance(vlan, int) else None
            yield Flow("unicast", mac, tag, part, size, _weaker(known, of_size), words, burst)

    def _burst(self, queue: QueueView, size: float | None) -> int:
        """Return the frames of a queue that come back to back, as far as its drops tell."""
        cpu = None if queue.cpu is None else self._cpus.get(queue.cpu)
        frames = burst_frames(queue, cpu, size or _IMIX_BYTES, self._link_gbps)
        return 1 if frames is None else frames

    def _by_filter(
        self, queue: QueueView, filters: Sequence[tuple[str, Vlan]], pps: float
    ) -> list[tuple[tuple[str, Vlan], float]] | None:
        """Return the part of ``pps`` of each filter; None if one is not known, or none matched."""
        matched = {
            (one.mac, one.vlan): self._adapter.matched_pps(one.filter_id)
            for one in queue.filters
            if (one.mac, one.vlan) in filters
        }
        rates = [matched.get(one) for one in filters]
        known = [rate for rate in rates if rate is not None]
        total = sum(known)
        if len(known) < len(rates) or total <= 0:
            return None
        parts = [pps * rate / total for rate in known]
        return [(one, part) for one, part in zip(filters, parts, strict=True) if part >= LEAST_PPS]

    def _of_default(self, queue: QueueView, free_macs: Sequence[str]) -> Iterator[Flow]:
        """Yield the flows of the default queue: pairs of MAC and VLAN as far as known, then by reason."""
        rate = self._rate(queue)
        if rate is None or rate[0] < LEAST_PPS:
            return
        pps, known, why = rate
        size, of_size = self._size(queue)
        words = "; ".join(filter(None, (f"default queue, {pps:,.6g} frames/s", why, of_size)))
        known = _weaker(known, of_size)
        reasons = {
            name: self._adapter.reason(name)
            for name in ("broadcast", "multicast", "no_queue", "vlan_mismatch", "unknown_unicast")
        }
        by_reason = None not in reasons.values()
        left = {name: rate or 0.0 for name, rate in reasons.items()} if by_reason else {"no_queue": pps}
        for pair in list(self._adapter.pairs)[:MOST_PAIRS]:
            part = min(pair.least_pps if pair.pps is None else pair.pps, left.get(pair.reason, 0.0))
            kind = _kind(pair.mac)
            tag = pair.vlan if isinstance(pair.vlan, int) else None
            fits = kind is not None and (tag is None or 0 <= tag <= MAX_VLAN)
            if part < LEAST_PPS or not fits or pair.reason == "unknown_unicast":
                continue
            left[pair.reason] -= part
            how = known if by_reason or known == "assumed" else "derived"
            yield Flow(kind or "unknown", pair.mac, tag, part, size, how, f"{words}; {pair.reason}")
        if not by_reason:
            if (rest := left["no_queue"]) >= LEAST_PPS:
                yield Flow("unknown", None, None, rest, size, "assumed", f"{words}; destinations not known")
            return
        kinds: dict[str, tuple[Kind, str | None]] = {
            "broadcast": ("broadcast", None),
            "multicast": ("multicast", None),
            "no_queue": ("unicast", free_macs[0]) if free_macs else ("unknown", None),
            "vlan_mismatch": ("unknown", None),
            "unknown_unicast": ("unknown", None),
        }
        for name, rest in left.items():
            if rest >= LEAST_PPS:
                kind, mac = kinds[name]
                note = f"{name}, MACs not known" if name in ("no_queue", "vlan_mismatch") else name
                yield Flow(kind, mac, None, rest, size, known, f"{words}; {note}")


def _mean(byte_rate: float | None, frame_rate: float | None) -> float | None:
    return byte_rate / frame_rate if byte_rate and frame_rate else None


def _weaker(known: Known, size: str) -> Known:
    """Return how a flow is known, with a size that is not the queue's own."""
    if "assumed" in size:
        return "assumed"
    return "derived" if size and known == "measured" else known


def _kind(mac: str) -> Kind | None:
    """Return the kind of a flow to this MAC; None if it is no destination."""
    try:
        address = parse_address(mac)
    except ValueError:
        return None
    if not address:
        return None
    if address == BROADCAST:
        return "broadcast"
    return "multicast" if address >> 40 & 1 else "unicast"


def write_traffic(sheet: Sheet, of_targets: Mapping[str, Sequence[Flow]]) -> list[str]:
    """Write ``[traffic]``: for each adapter or team its flows; return sentences about what is left out."""
    remarks: list[str] = []
    sheet.table("[traffic]")
    if not of_targets:
        sheet.comments(["No mix: no frames came, or it is not known how many."])
        return remarks
    sheet.comments(
        [
            "Rates and sizes are means over the time that was measured; a queue's frames have its mean size.",
            "Bursts are not measured: frames are assumed to come at random times, unless a queue dropped",
            "some although its processor was not full.",
        ]
    )
    mixes = 0
    for target, flows in of_targets.items():
        for of_mix in _mixes(_bounded(flows)):
            if mixes == MAX_MIXES:
                remarks.append(f"{target}: {counted(len(of_mix), 'flow')} left out: too many")
                continue
            _write_mix(sheet, target, of_mix)
            mixes += 1
    return remarks


def _mixes(flows: Sequence[Flow]) -> Iterator[list[Flow]]:
    """Group flows into mixes: those at random times, then those of each length of bursts and queue."""
    steady = [one for one in flows if one.burst == 1]
    for first in range(0, len(steady), MAX_FLOWS):
        yield steady[first : first + MAX_FLOWS]
    yield from ([one] for one in flows if one.burst > 1)


def _bounded(flows: Sequence[Flow]) -> list[Flow]:
    """Return flows without those too slow for a weight beside the fastest of them."""
    fastest = max((one.pps for one in flows), default=0.0)
    return [one for one in flows if one.pps >= LEAST_PPS and one.pps / fastest >= _LEAST_WEIGHT]


def _write_mix(sheet: Sheet, target: str, flows: Sequence[Flow]) -> None:
    total = sum(one.pps for one in flows)
    fastest = max(one.pps for one in flows)
    known: Known = next(
        (kind for kind in ("assumed", "derived") if any(one.known == kind for one in flows)), "measured"
    )
    rate = float(f"{min(max(total, LEAST_PPS), MOST_PPS):.9g}")
    sheet.table("[[traffic.mix]]")
    sheet.lines.append(f"adapter = {toml(target)}")
    of_sum = "derived" if known == "measured" else known
    sheet.counts[of_sum] += 1
    sheet.lines.append(f"rate_pps = {rate!r}  # {of_sum}: the sum of its flows")
    burst = flows[0].burst
    sheet.put("pattern", Value("random" if burst == 1 else "bursts", "assumed"))
    if burst > 1:
        sheet.put("burst_frames", Value(burst, "assumed"))
    sheet.lines.append("flow = [")
    scale = min(1.0, 1e6 / fastest)
    for one in flows:
        pairs: dict[str, Plain] = {} if one.kind == "unicast" else {"kind": one.kind}
        if one.mac is not None:
            pairs["mac"] = one.mac
        if one.vlan is not None:
            pairs["vlan"] = one.vlan
        pairs["weight"] = max(_LEAST_WEIGHT, float(f"{one.pps * scale:.9g}"))
        pairs["frame_bytes"] = "imix" if one.size is None else one.size
        sheet.inline(pairs, one.known, one.why, indent=2)
    sheet.lines.append("]")
