"""What columns of several tables have in common: how values are written, levels, shared columns."""

from collections.abc import Sequence
from typing import Any

from engine.view.rows import QueueView
from vmqtui.columns.column import Column, Level, plain
from vmqtui.numbers import UNKNOWN, compact, grouped
from vmqtui.preferences.model import Thresholds

RATE = "Δ {} / Δ sim_time_ns"


_limits = [Thresholds()]


def use_thresholds(thresholds: Thresholds) -> None:
    """Mark values by these from now on. They are the process's: one person looks at one screen."""
    _limits[0] = thresholds


def several(values: Any) -> str:
    """A list in little room: the first, and how many more."""
    if not values:
        return UNKNOWN
    first = "any" if values[0] is None else plain(values[0])
    return first if len(values) == 1 else f"{first} +{len(values) - 1}"


def vlan_text(vlan: Any) -> str:
    """A VLAN test: an id, "untagged", or any."""
    return "any" if vlan is None else plain(vlan)


def vlans_text(vlans: Any) -> str:
    """The VLAN tests of a queue's filters: distinct ones, as far as there is room."""
    return UNKNOWN if not vlans else ",".join(dict.fromkeys(vlan_text(vlan) for vlan in vlans))


def use_level(fraction: float | None) -> Level:
    """Of buffers in use: worth a look, or about to drop."""
    if fraction is None:
        return "dim"
    limits = _limits[0]
    return "bad" if fraction >= limits.buffers_bad else "warn" if fraction >= limits.buffers_warn else ""


def low_level(low: float | None, total: float | None) -> Level:
    """Of the fewest free buffers: none left is bad, under 5 % worth a look."""
    if low is None or not total:
        return "dim"
    return "bad" if low <= 0 else "warn" if low < 0.05 * total else ""


def drops_level(rate: float | None) -> Level:
    """Any drop is bad, unless some are put up with."""
    if not rate:
        return "dim"
    return "bad" if rate > _limits[0].drops_bad else ""


def quiet(rate: float | None) -> Level:
    """A rate of zero, or unknown, steps back."""
    return "" if rate else "dim"


def load_level(load: float | None) -> Level:
    """Of a processor: worth a look, or saturated."""
    if load is None:
        return "dim"
    limits = _limits[0]
    return "bad" if load >= limits.load_bad else "warn" if load >= limits.load_warn else ""


def gauge(fraction: float | None) -> Sequence[tuple[float, str]] | None:
    """A bar of one part, or unknown."""
    return None if fraction is None else [(fraction, "bar")]


def gauge_column(name: str, title: str, help_: str, priority: int) -> Column[QueueView]:
    """A gauge of a queue, as it stands."""
    return Column(
        key=name,
        title=title,
        heading=name,
        width=7,
        unit="buffers" if name.endswith("buffers") else "frames",
        help=help_,
        computed=name,
        value=lambda row: row.count(name),
        format=grouped,
        right=True,
        priority=priority,
        level=lambda row: quiet(row.count(name)),
    )


def adapter_column() -> Column[Any]:
    """The adapter of any row that has one."""
    return Column(
        key="adapter",
        settled=True,
        title="Adapter",
        heading="Name",
        width=7,
        help="The adapter.",
        value=lambda row: row.adapter,
        priority=1,
        level=lambda row: "dim",
    )


def queue_id_column() -> Column[Any]:
    """The id of a queue's row."""
    return Column(
        key="queue_id",
        settled=True,
        title="ID",
        heading="QueueID",
        width=4,
        help="The queue's id on its adapter; 0 is the default queue.",
        value=lambda row: row.queue_id,
        right=True,
    )


def drops_column() -> Column[QueueView]:
    """A queue's drops a second."""
    return Column(
        key="drops_per_second",
        title="Drop/s",
        heading="Drops/s",
        width=6,
        unit="frames/s",
        help="Frames a second that found no free receive buffer.",
        computed=RATE.format("dropped_no_buffer"),
        value=lambda row: row.drops,
        format=compact,
        right=True,
        level=lambda row: drops_level(row.drops),
    )
