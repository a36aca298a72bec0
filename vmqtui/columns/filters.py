"""Columns of filters and of switch ports."""

from collections.abc import Callable
from typing import Final

from engine.view.rows import FilterView, PortView, Trouble
from vmqtui.columns.column import (
    RATE,
    Column,
    Level,
    Value,
    adapter_column,
    gauge,
    mac_column,
    plain,
    quiet,
    rate_column,
    share_column,
    vlan_column,
    vm_column,
)
from vmqtui.numbers import grouped

SWITCH_DRIVER: Final = "vsp"
"""The overlying driver of the virtual switch (``engine.ndis.adapter.DEFAULT_DRIVER``, which needs NumPy)."""


def _filter_value(read: Callable[[FilterView], Value]) -> Callable[[FilterView], Value]:
    return lambda row: read(row) if row.config else None


_MARKS: dict[Trouble, tuple[str, str]] = {
    "shadowed": ("▲", "shadowed by another filter"),
    "stopped": ("‖", "its queue does not run"),
    "unmatched": ("△", "never matched"),
}


def _trouble_level(row: FilterView) -> Level:
    trouble = row.trouble
    return "bad" if trouble == "shadowed" else "warn" if trouble else "dim"


FILTERS: tuple[Column[FilterView], ...] = (
    adapter_column(),
    Column(
        key="filter_id",
        settled=True,
        title="ID",
        heading="FilterID",
        width=5,
        help="The filter's id on its adapter.",
        value=lambda row: row.filter_id,
        right=True,
    ),
    Column(
        key="mark",
        title="",
        width=1,
        help=" ".join(f"{sign} {words}" for sign, words in _MARKS.values()),
        value=lambda row: row.trouble,
        format=lambda trouble: _MARKS[trouble][0] if trouble else " ",
        level=_trouble_level,
        picture=True,
    ),
    Column(
        key="queue_id",
        settled=True,
        title="Queue",
        heading="QueueID",
        width=5,
        help="The queue it is set on.",
        value=lambda row: row.queue_id,
        right=True,
    ),
    vm_column(
        "The VM of that queue; the queue's own name where there is none.", lambda row: row.label, priority=1
    ),
    mac_column(
        "The destination MAC it tests.", _filter_value(lambda row: row.config.mac if row.config else None)
    ),
    vlan_column(
        "Its VLAN test: an id, untagged, or any (no test).",
        _filter_value(lambda row: row.config.vlan if row.config else None),
    ),
    rate_column(
        "Frames a second credited to the filter.",
        RATE.format("matched_frames"),
        lambda row: row.pps,
        key="matches_per_second",
        title="match/s",
        heading="Matches/s",
        width=7,
    ),
    Column(
        key="share_bar",
        title="",
        width=6,
        help="Share of the frames steered on the adapter.",
        value=lambda row: None,
        sort=lambda row: row.share,
        gauge=lambda row: gauge(row.share),
        priority=5,
        grow=24,
    ),
    share_column(
        "Share of all frames steered on the adapter.",
        "Δ matched_frames / the adapter's frames a second (Δ steered_frames, or received_frames)",
        lambda row: row.share,
        4,
    ),
    Column(
        key="matched_frames",
        title="matched",
        heading="matched_frames",
        width=11,
        unit="frames",
        help="Frames credited to the filter since it was set.",
        computed="matched_frames",
        value=lambda row: row.matched,
        since=lambda row: row.since("matched_frames"),
        format=grouped,
        right=True,
        priority=2,
        level=lambda row: quiet(row.matched),
    ),
    Column(
        key="note",
        title="Note",
        heading="Note",
        width=13,
        help="Never matched, shadowed by another filter, or on a queue that does not run.",
        value=lambda row: row.note,
        priority=3,
        level=_trouble_level,
    ),
    Column(
        key="driver",
        settled=True,
        title="Driver",
        heading="Driver",
        width=7,
        help=(
            "The overlying driver that set it, and alone may clear it: a driver above the adapter's, as vsp, "
            "the virtual switch (virtualization service provider), which has the scenario's."
        ),
        value=lambda row: row.config.driver if row.config else None,
        priority=7,
        level=lambda row: "dim",
    ),
)


def driver_words(driver: str) -> str:
    """Return the name of an overlying driver, and of the switch's what it is: ``vsp (the switch)``."""
    return f"{driver} (the switch)" if driver == SWITCH_DRIVER else plain(driver)


PORTS: tuple[Column[PortView], ...] = (
    adapter_column(),
    vm_column("The VM behind the switch port.", lambda row: row.config.vm),
    mac_column("The port's MAC address.", lambda row: row.config.mac),
    vlan_column("The port's VLAN: an id, untagged, or any.", lambda row: row.config.vlan),
    Column(
        key="queue_id",
        title="Queue",
        heading="QueueID",
        width=6,
        help="The queue with a filter for it; – where there is none: its frames fall to the default queue.",
        value=lambda row: row.queue.queue_id if row.queue else None,
        right=True,
        level=lambda row: "warn" if row.queue is None else "",
    ),
)
