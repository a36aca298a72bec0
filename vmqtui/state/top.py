"""Who lands in the default queue: pairs of MAC and VLAN, their rates, and what nearly took them."""

from collections.abc import Hashable, Iterator, Sequence
from math import log2
from typing import Literal

import msgspec

from engine.telemetry.config import Vlan
from engine.telemetry.stats import TopPairs
from vmqtui.state.joined import JoinedAdapter

Pair = tuple[str, Vlan]


class NearMiss(msgspec.Struct, frozen=True, gc=False):
    """A filter or port that has the MAC of a frame, and another VLAN. ``filter_id`` None: a port."""

    vlan: Vlan
    filter_id: int | None
    queue_id: int | None
    owner: str
    """The VM, or the queue's name where there is none."""

    @property
    def place(self) -> str:
        """What it is, in words."""
        if self.filter_id is None:
            return f"port of {self.owner}"
        return f"filter {self.filter_id} of {self.owner}"


class TopRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A pair of MAC and VLAN whose frames the default queue took, as the engine's sketch has it.

    ``frames`` is an upper bound, and at most ``error`` of it are another pair's. ``pps`` is None where the
    sketch can't tell: the pair was not there before, or took another's place since.
    """

    adapter: str
    mac: str
    vlan: Vlan
    reason: str
    frames: int
    error: int
    pps: float | None
    share: float | None
    vm: str | None
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


class NearMissRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A pair that lands in the default queue for its VLAN alone, beside one thing that has its MAC."""

    pair: TopRow
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


def near_misses(mac: str, vlan: Vlan, index: JoinedAdapter | None) -> list[NearMiss]:
    """What has the MAC and does not fit the VLAN: filters first, then ports without such a filter."""
    if index is None:
        return []
    found: list[NearMiss] = []
    for one in index.filters_of_mac.get(mac, ()):
        queue = index.queues.get(one.queue_id)
        owner = (queue.vm or queue.name) if queue else f"queue {one.queue_id}"
        if one.vlan not in (vlan, None):
            found.append(NearMiss(one.vlan, one.filter_id, one.queue_id, owner))
    told = {(near.vlan, near.owner) for near in found}
    found += [
        NearMiss(port.vlan, None, None, port.vm)
        for port in index.ports_of_mac.get(mac, ())
        if port.vlan not in (vlan, None) and (port.vlan, port.vm) not in told
    ]
    return found


def top_rows(
    adapter: str,
    now: TopPairs | None,
    before: TopPairs | None,
    seconds: float | None,
    index: JoinedAdapter | None,
    default_rate: float | None,
) -> Iterator[TopRow]:
    """The pairs of one adapter: those first of which most frames come now, then those of which most came.

    Rates within a factor of 1.4 count as the same here, so that rows don't change places with every reading.
    """
    rows = _rows(adapter, now, before, seconds, index, default_rate) if now is not None else ()
    yield from sorted(rows, key=lambda row: (-_magnitude(row.pps), -row.frames))


def _magnitude(rate: float | None) -> int:
    """Half powers of two; an unknown rate is above none, and below any that is known."""
    return 0 if rate is None else -1 if rate <= 0 else 1 + max(0, round(2 * log2(rate)))


def _rows(
    adapter: str,
    now: TopPairs,
    before: TopPairs | None,
    seconds: float | None,
    index: JoinedAdapter | None,
    default_rate: float | None,
) -> Iterator[TopRow]:
    old: dict[Pair, tuple[int, int]] = {}
    if before is not None and seconds:
        old = {
            (mac, vlan): (frames, error)
            for mac, vlan, frames, error in zip(
                before.mac, before.vlan, before.frames, before.error, strict=False
            )
        }
    for mac, vlan, reason, frames, error in zip(
        now.mac, now.vlan, now.reason, now.frames, now.error, strict=False
    ):
        was = old.get((mac, vlan))
        known = was is not None and was[1] == error and frames >= was[0] and seconds
        pps = (frames - was[0]) / seconds if known and was is not None and seconds else None
        taker = index.taker(mac, vlan) if index is not None else None
        near = near_misses(mac, vlan, index) if reason == "vlan_mismatch" and taker is None else ()
        yield TopRow(
            adapter,
            mac,
            vlan,
            reason,
            frames,
            error,
            pps,
            pps / default_rate if pps is not None and default_rate else None,
            _vm(mac, vlan, index, near),
            near,
            None if taker is None else taker.queue_id,
        )


def _vm(mac: str, vlan: Vlan, index: JoinedAdapter | None, near: Sequence[NearMiss]) -> str | None:
    """The VM that the switch knows by this address."""
    ports = index.ports_of_mac.get(mac, ()) if index else ()
    fitting = next((port.vm for port in ports if port.vlan in (vlan, None)), None)
    return fitting or next((port.vm for port in ports), None) or (near[0].owner if near else None)
