"""The traffic of a measured adapter as flows of a scenario: each queue's measured rate and mean size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.counted import counted
from engine.measure.twin_text import OF_SOURCE, Known, Plain, Sheet, toml
from engine.scenario.keys import MAX_FLOWS, MAX_MIXES
from engine.scenario.values import BROADCAST, MAX_FRAME_BYTES, MAX_VLAN, Vlan, parse_address
from engine.telemetry.stats import Source
from engine.view.adapter import AdapterView
from engine.view.rows import QueueView

Kind = Literal["unicast", "broadcast", "multicast", "unknown"]

LEAST_PPS: Final = 0.001
MOST_PPS: Final = 1e9
_LEAST_WEIGHT: Final = 1e-6
_TAG_BYTES: Final = 4
_LEAST_BYTES: Final = 60
_IMIX_BYTES: Final = (7 * 60 + 4 * 590 + 1514) / 12
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

    def __init__(self, adapter: AdapterView, targets: Sequence[Target], free_macs: Sequence[str]) -> None:
        self.remarks: list[str] = []
        self.unknown: list[QueueView] = []
        self._adapter = adapter
        self._sources: dict[str, Source] = adapter.now.sources or {}
        self._port_bytes = _mean(adapter.port.rate("offered_bytes", 0), adapter.pps)
        rates = {id(one): one.pps for one in adapter.queues}
        left, parts = self._left_over(rates)
        known: Known = "derived" if parts == 1 else "assumed"
        of_rest = (
            "what the port received and no other queue did" if parts == 1 else "an equal share of the rest"
        )
        self._rest = None if left is None else (left / max(parts, 1), known, of_rest)
        self.flows: list[Flow] = []
        served = {id(one.queue) for one in targets}
        for target in targets:
            self.flows += self._of_queue(target)
        for queue in adapter.queues:
            if queue.queue_id == 0:
                self.flows += self._of_default(queue, free_macs)
            elif id(queue) not in served and rates[id(queue)]:
                self.remarks.append(f"{adapter.name}: {queue.called}: its frames are left out with it")

    def _left_over(self, rates: dict[int, float | None]) -> tuple[float | None, int]:
        """Return the port's frames per second that no queue of known rate has, and how many have none."""
        self.unknown = [one for one in self._adapter.queues if rates[id(one)] is None]
        offered = self._adapter.pps
        if not self.unknown or offered is None:
            return None, len(self.unknown)
        errors = self._adapter.port_errors or 0.0
        taken = sum(rate for rate in rates.values() if rate is not None)
        return max(0.0, offered - errors - taken), len(self.unknown)

    def _rate(self, queue: QueueView) -> tuple[float, Known, str] | None:
        pps = queue.pps
        if pps is None:
            return self._rest
        if queue.count("steered_frames") is not None:
            return pps, OF_SOURCE[self._sources.get("steered_frames", "exact")], ""
        known = OF_SOURCE[self._sources.get("received_frames", "exact")]
        return pps, known, "without frames that were dropped, which are not known"

    def _size(self, queue: QueueView) -> tuple[float | None, str]:
        # Of a measured host, bytes are those of the frames received.
        counted = "steered_frames" if self._adapter.now.sources is None else "received_frames"
        of_queue = _mean(queue.rate("steered_bytes"), queue.rate(counted))
        if of_queue is not None:
            return of_queue, ""
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
        for (mac, vlan), part in parts or [(target.filters[0], pps)]:
            words = "; ".join(filter(None, (named, why, of_size, more)))
            tag = vlan if isinstance(vlan, int) else None
            yield Flow("unicast", mac, tag, part, size, _weaker(known, of_size), words)

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
        if None in reasons.values():
            yield Flow("unknown", None, None, pps, size, "assumed", f"{words}; destinations not known")
            return
        left = {name: rate or 0.0 for name, rate in reasons.items()}
        for pair in list(self._adapter.pairs)[:MOST_PAIRS]:
            part = min(pair.least_pps if pair.pps is None else pair.pps, left.get(pair.reason, 0.0))
            kind = _kind(pair.mac)
            tag = pair.vlan if isinstance(pair.vlan, int) else None
            fits = kind is not None and (tag is None or 0 <= tag <= MAX_VLAN)
            if part < LEAST_PPS or not fits or pair.reason == "unknown_unicast":
                continue
            left[pair.reason] -= part
            yield Flow(kind or "unknown", pair.mac, tag, part, size, known, f"{words}; {pair.reason}")
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
    remarks = []
    sheet.table("[traffic]")
    sheet.comments(
        [
            "Rates and sizes are means over the time that was measured; each frame of a queue has its mean",
            "size. Bursts are not known: frames are assumed to come at random times.",
        ]
    )
    mixes = 0
    for target, flows in of_targets.items():
        wanted = _bounded(flows)
        for first in range(0, len(wanted), MAX_FLOWS):
            if mixes == MAX_MIXES:
                remarks.append(f"{target}: {counted(len(wanted) - first, 'flow')} left out: too many")
                break
            _write_mix(sheet, target, wanted[first : first + MAX_FLOWS])
            mixes += 1
    return remarks


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
    sheet.lines += [f"rate_pps = {rate!r}  # {of_sum}: the sum of its flows", 'pattern = "random"  # assumed']
    sheet.counts["assumed"] += 1
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
