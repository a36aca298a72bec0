"""Columns of the (MAC, VLAN) pairs that land in the default queue, and of near misses."""

from engine.view.pairs import NearMissView, PairView
from vmqtui.columns.column import (
    Column,
    Level,
    adapter_column,
    mac_column,
    plain,
    rate_column,
    share_column,
    vlan_column,
    vlan_text,
    vm_column,
)
from vmqtui.numbers import UNKNOWN, grouped
from vmqtui.printable import printable

REASON_LEVELS: dict[str, Level] = {"vlan_mismatch": "bad", "no_queue": "warn"}
"""Levels of the reasons that a filter or port could fix."""


class _WantedColumn(Column[PairView]):
    """The first VLAN that would match, the number of others, and the filter or port that has the first."""

    def text(self, row: PairView) -> str:
        if not row.near:
            return UNKNOWN
        more = f" +{len(row.near) - 1}" if len(row.near) > 1 else ""
        return f"VLAN {vlan_text(row.near[0].vlan)}{more}: {printable(row.near[0].place)}"


TOP: tuple[Column[PairView], ...] = (
    adapter_column(),
    mac_column("The destination MAC of the frames.", lambda row: row.mac, settled=False),
    vlan_column("The VLAN of the frames, or untagged.", lambda row: row.vlan, settled=False),
    vm_column(
        "The VM that a switch port or a filter has this MAC for.",
        lambda row: row.vm,
        settled=False,
        priority=1,
        level=lambda row: "" if row.vm else "dim",
    ),
    Column(
        key="reason",
        title="Reason",
        heading="Reason",
        width=15,
        help="Why the default queue took them.",
        value=lambda row: row.reason,
        format=lambda reason: plain(reason).replace("_", " "),
        level=lambda row: REASON_LEVELS.get(row.reason, "dim"),
    ),
    Column(
        key="queue_id",
        title="Queue",
        heading="QueueID",
        width=5,
        help="The queue that takes them now: they landed here before it did. – while they land here.",
        value=lambda row: row.queue_id,
        right=True,
        priority=1,
        level=lambda row: "dim" if row.queue_id is None else "good",
    ),
    rate_column(
        "Frames a second; unknown where the pair took another's place in the sketch.",
        "Δ frames / Δ sim_time_ns, while error stays",
        lambda row: row.pps,
        facts=("default_queue_top",),
    ),
    share_column(
        "Share of the frames of the default queue.",
        "its frames a second / the default queue's",
        lambda row: row.share,
        3,
    ),
    Column(
        key="share_bar",
        title="",
        width=6,
        help="Share of the frames of the default queue.",
        value=lambda row: None,
        sort=lambda row: row.share,
        gauge=lambda row: None if row.share is None else [(row.share, "bar")],
        priority=5,
        grow=12,
    ),
    Column(
        key="frames",
        title="≤ frames",
        heading="frames",
        width=11,
        unit="frames",
        help=(
            "Frames so far, at most: the engine counts the busiest pairs in a table of bounded size (a "
            "sketch), where a pair that takes another's place begins with its count. So never too few, and "
            "± of it may be too many."
        ),
        computed="frames",
        facts=("default_queue_top",),
        value=lambda row: row.frames,
        format=grouped,
        right=True,
        priority=3,
    ),
    Column(
        key="error",
        title="± of it",
        heading="error",
        width=9,
        unit="frames",
        help="So many of ≤ frames may be another pair's; exact: none.",
        computed="error",
        value=lambda row: row.error,
        format=lambda value: "exact" if value == 0 else grouped(value),
        right=True,
        priority=6,
        level=lambda row: "dim" if (row.error or 0) * 10 < (row.frames or 0) else "warn",
    ),
    _WantedColumn(
        key="wanted_vlan",
        title="would fit",
        heading="WantedVlan",
        width=14,
        help="VLANs under which a filter or port has this MAC: a near miss.",
        value=lambda row: row.wanted,
        priority=4,
        prose=True,
        level=lambda row: "warn" if row.near else "dim",
    ),
)

NEAR_MISSES: tuple[Column[NearMissView], ...] = (
    adapter_column(),
    mac_column("The MAC, which fits.", lambda row: row.pair.mac, settled=False),
    vlan_column(
        "The VLAN of the frames, which does not.",
        lambda row: row.pair.vlan,
        settled=False,
        title="frame's",
        right=False,
        level=lambda row: "bad",
    ),
    Column(
        key="sign",
        title="",
        width=1,
        help="Is not the VLAN of the filter.",
        value=lambda row: "≠",
        level=lambda row: "bad",
        picture=True,
    ),
    Column(
        key="wanted_vlan",
        title="filter's",
        heading="WantedVlan",
        width=8,
        help="The VLAN that the filter, or port, has.",
        value=lambda row: row.near.vlan,
        format=vlan_text,
        level=lambda row: "warn",
    ),
    Column(
        key="place",
        title="of",
        heading="Place",
        width=14,
        help="The filter or port that has the MAC.",
        value=lambda row: row.near.place,
    ),
    Column(
        key="queue_id",
        title="Queue",
        heading="QueueID",
        width=5,
        help="The queue of that filter.",
        value=lambda row: row.near.queue_id,
        right=True,
        priority=1,
    ),
    rate_column(
        "Frames a second that miss it.",
        "Δ frames / Δ sim_time_ns, while error stays",
        lambda row: row.pair.pps,
        priority=2,
    ),
    Column(
        key="frames",
        title="≤ frames",
        heading="frames",
        width=10,
        unit="frames",
        help="Frames so far, at most, as under Who lands here.",
        computed="frames",
        value=lambda row: row.pair.frames,
        format=grouped,
        right=True,
        priority=3,
    ),
)
