"""Frames of the default queue by pairs of MAC and VLAN: their rates, and the filters and ports that nearly
matched."""

from collections.abc import Hashable, Iterable, Sequence
from math import log2
from typing import Literal

import msgspec

from engine.telemetry.config import Vlan
from engine.telemetry.stats import TopPairs
from engine.view.index import AdapterIndex
from engine.view.rates import per_second, ratio


class NearMiss(msgspec.Struct, frozen=True, gc=False):
    """A filter or port that has the MAC of a frame, and another VLAN. ``filter_id`` None: a port."""

    vlan: Vlan
    filter_id: int | None
    queue_id: int | None
    owner: str
    """The VM, or the queue's name where there is none."""

    @property
    def place(self) -> str:
        """The filter or port, in words."""
        if self.filter_id is None:
            return f"port of {self.owner}"
        return f"filter {self.filter_id} of {self.owner}"


class PairView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A pair of MAC and VLAN whose frames the default queue took, from the engine's sketch.

    ``frames`` is an upper bound, and at most ``error`` of it belongs to another pair. ``pps`` is None where
    the sketch can't tell: the pair was not there before, or took another's place since. ``least_pps`` is a
    lower bound that is always known, so that no other pair's frames are counted.
    """

    adapter: str
    mac: str
    vlan: Vlan
    reason: str
    frames: int
    error: int
    pps: float | None
    least_pps: float
    share: float | None
    vm: str | None
    """The VM with this address; from a port or filter of another VLAN where none has both."""
    port_vm: str | None
    """The VM whose port accepts these frames."""
    near: Sequence[NearMiss]
    queue_id: int | None
    """The queue that takes its frames now, where one does since."""

    @property
    def identity(self) -> Hashable:
        return (self.adapter, self.mac, self.vlan)

    @property
    def label(self) -> str:
        return self.vm or self.mac

    @property
    def wanted(self) -> list[Vlan]:
        """The VLANs under which the MAC would have been taken."""
        return list(dict.fromkeys(one.vlan for one in self.near))

    @property
    def steerable(self) -> bool:
        """Whether a filter could take it: filters test unicast addresses."""
        return self.reason not in ("broadcast", "multicast")


class NearMissView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A pair that lands in the default queue for its VLAN alone, beside one thing that has its MAC."""

    pair: PairView
    near: NearMiss

    @property
    def adapter(self) -> str:
        return self.pair.adapter

    @property
    def identity(self) -> Hashable:
        return (self.pair.identity, self.near)

    @property
    def label(self) -> str:
        return self.near.owner

    @property
    def kind(self) -> Literal["filter", "port"]:
        return "port" if self.near.filter_id is None else "filter"


def near_misses(mac: str, vlan: Vlan, index: AdapterIndex | None) -> list[NearMiss]:
    """Filters, then ports without such a filter, that have the MAC and do not fit the VLAN."""
    if index is None:
        return []
    found: list[NearMiss] = []
    for one in index.filters_of_mac.get(mac, ()):
        queue = index.queues.get(one.queue_id)
        owner = (queue.vm or queue.name) if queue else f"queue {one.queue_id}"
        if one.vlan not in (vlan, None):
            found.append(NearMiss(one.vlan, one.filter_id, one.queue_id, owner))
    listed = {(near.vlan, near.owner) for near in found}
    found += [
        NearMiss(port.vlan, None, None, port.vm)
        for port in index.ports_of_mac.get(mac, ())
        if port.vlan not in (vlan, None) and (port.vlan, port.vm) not in listed
    ]
    return found


def pairs_of(
    adapter: str,
    now: TopPairs | None,
    before: TopPairs | None,
    seconds: float | None,
    index: AdapterIndex | None,
    default_rate: float | None,
) -> list[PairView]:
    """The pairs of one adapter, in the order of the sketch."""
    return [] if now is None else list(_pairs(adapter, now, before, seconds, index, default_rate))


def busiest_first(pairs: Iterable[PairView]) -> list[PairView]:
    """Pairs sorted by their present rate, then by frames.

    Rates within a factor of 1.4 count as the same, so that rows don't change places with every reading.
    """
    return sorted(pairs, key=lambda pair: (-_magnitude(pair.pps), -pair.frames))


def _magnitude(rate: float | None) -> int:
    """Half powers of two; an unknown rate is above none, and below any that is known."""
    return 0 if rate is None else -1 if rate <= 0 else 1 + max(0, round(2 * log2(rate)))


def _pairs(
    adapter: str,
    now: TopPairs,
    before: TopPairs | None,
    seconds: float | None,
    index: AdapterIndex | None,
    default_rate: float | None,
) -> Iterable[PairView]:
    old = {
        (mac, vlan): (frames, error)
        for mac, vlan, frames, error in (
            zip(before.mac, before.vlan, before.frames, before.error, strict=False) if before else ()
        )
    }
    for mac, vlan, reason, frames, error in zip(
        now.mac, now.vlan, now.reason, now.frames, now.error, strict=False
    ):
        frames_before, error_before = old.get((mac, vlan), (None, None))
        same = error_before == error
        # With another error it has taken another pair's row since, and what it inherited is not its own.
        base = frames_before if same and frames_before is not None else error
        pps = per_second(frames, frames_before if same else None, seconds)
        taker = index.taker(mac, vlan) if index is not None else None
        near = near_misses(mac, vlan, index) if reason == "vlan_mismatch" and taker is None else ()
        port_vm = index.vm_of_port(mac, vlan) if index is not None else None
        yield PairView(
            adapter,
            mac,
            vlan,
            reason,
            frames,
            error,
            pps,
            per_second(max(frames, base), base, seconds) or 0.0,
            ratio(pps, default_rate),
            port_vm or _nearest_vm(mac, index, near),
            port_vm,
            near,
            None if taker is None else taker.queue_id,
        )


def _nearest_vm(mac: str, index: AdapterIndex | None, near: Sequence[NearMiss]) -> str | None:
    """The VM that the switch knows by this address under another VLAN."""
    ports = index.ports_of_mac.get(mac, ()) if index else ()
    return next((port.vm for port in ports), None) or (near[0].owner if near else None)
