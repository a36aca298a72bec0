"""Frames of the default queue by MAC and VLAN pair: their rates, and the filters and ports that nearly
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
    """A filter or port with the MAC of a frame but another VLAN. ``filter_id`` is None for a port."""

    vlan: Vlan
    filter_id: int | None
    queue_id: int | None
    owner: str
    """The VM, or the name of the queue if it has no VM."""

    @property
    def place(self) -> str:
        """The filter or port, in words."""
        if self.filter_id is None:
            return f"port of {self.owner}"
        return f"filter {self.filter_id} of {self.owner}"


class PairView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A MAC and VLAN pair whose frames the default queue took, from the engine's Space-Saving sketch.

    ``frames`` is an upper bound: up to ``error`` of them belong to other pairs. Both are None if unknown.
    ``pps`` is None if the sketch can't tell, because the pair is new or replaced another pair since.
    ``least_pps`` is a lower bound, which is always known and counts no frames of other pairs.
    """

    adapter: str
    mac: str
    vlan: Vlan
    reason: str
    frames: int | None
    error: int | None
    pps: float | None
    least_pps: float
    share: float | None
    vm: str | None
    """The VM with this MAC; from a port or filter of another VLAN if no port has both."""
    port_vm: str | None
    """The VM whose port accepts these frames."""
    near: Sequence[NearMiss]
    queue_id: int | None
    """The queue that takes its frames now, if a filter matches them."""

    @property
    def identity(self) -> Hashable:
        return (self.adapter, self.mac, self.vlan)

    @property
    def label(self) -> str:
        return self.vm or self.mac

    @property
    def wanted(self) -> list[Vlan]:
        """The VLANs with which a filter or port would have matched the MAC."""
        return list(dict.fromkeys(one.vlan for one in self.near))

    @property
    def steerable(self) -> bool:
        """Whether a filter could match it: filters test unicast addresses only."""
        return self.reason not in ("broadcast", "multicast")


class NearMissView(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A pair that lands in the default queue because of its VLAN, with one filter or port of its MAC."""

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
    """Return the filters, then the ports without such a filter, that match the MAC but not the VLAN."""
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
    """Return the pairs of one adapter, in the order of the sketch."""
    return [] if now is None else list(_pairs(adapter, now, before, seconds, index, default_rate))


def busiest_first(pairs: Iterable[PairView]) -> list[PairView]:
    """Return the pairs sorted by current rate, then by frames.

    Rates are rounded to half powers of two, so that rows don't change places with every reading.
    """
    return sorted(pairs, key=lambda pair: (-_magnitude(pair.pps), -(pair.frames or 0)))


def _magnitude(rate: float | None) -> int:
    """Return the rate in half powers of two; an unknown rate sorts between 0 and any known positive one."""
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
        same = error is not None and error_before == error
        # A changed error means that the pair replaced another one and inherited its count as ``error``.
        base = frames_before if same and frames_before is not None else error
        pps = per_second(frames, frames_before if same else None, seconds)
        taker = index.taker(mac, vlan) if index is not None else None
        near = near_misses(mac, vlan, index) if reason == "vlan_mismatch" and taker is None else ()
        port_vm = index.vm_of_port(mac, vlan) if index is not None else None
        share = ratio(pps, default_rate)
        yield PairView(
            adapter,
            mac,
            vlan,
            reason,
            frames,
            error,
            pps,
            (None if frames is None or base is None else per_second(max(frames, base), base, seconds)) or 0.0,
            None if share is None or share > 1 else share,  # if above, other members of a team have a part
            port_vm or _nearest_vm(mac, index, near),
            port_vm,
            near,
            None if taker is None else taker.queue_id,
        )


def _nearest_vm(mac: str, index: AdapterIndex | None, near: Sequence[NearMiss]) -> str | None:
    """Return the VM that has this MAC with another VLAN, from a port or else a filter."""
    ports = index.ports_of_mac.get(mac, ()) if index else ()
    return next((port.vm for port in ports), None) or (near[0].owner if near else None)
