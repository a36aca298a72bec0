"""Columns of the pairs that land in the default queue, and of near misses."""

from vmqtui.columns.column import Column, Level, plain
from vmqtui.columns.shared import adapter_column, quiet, vlan_text
from vmqtui.numbers import UNKNOWN, compact, grouped, percent
from vmqtui.printable import printable
from vmqtui.state.top import NearMissRow, TopRow

REASON_LEVELS: dict[str, Level] = {"vlan_mismatch": "bad", "no_queue": "warn"}
"""What somebody could do something about."""


class _WantedColumn(Column[TopRow]):
    """The VLANs that would have fitted, and whose the first is."""

    def text(self, row: TopRow) -> str:
        if not row.near:
            return UNKNOWN
        more = f" +{len(row.near) - 1}" if len(row.near) > 1 else ""
        return f"VLAN {vlan_text(row.near[0].vlan)}{more}: {printable(row.near[0].place)}"


TOP: tuple[Column[TopRow], ...] = (
    adapter_column(),
    Column(
        key="mac",
        title="MAC",
        heading="MacAddress",
        width=17,
        help="The destination MAC of the frames.",
        value=lambda row: row.mac,
    ),
    Column(
        key="vlan",
        title="VLAN",
        heading="VlanID",
        width=8,
        help="The VLAN of the frames, or untagged.",
        value=lambda row: row.vlan,
        format=vlan_text,
        right=True,
    ),
    Column(
        key="vm",
        title="VM",
        heading="VmFriendlyName",
        width=10,
        help="The VM that a switch port or a filter has this MAC for.",
        value=lambda row: row.vm,
        priority=2,
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
        key="pps",
        title="pkt/s",
        heading="Packets/s",
        width=6,
        unit="frames/s",
        help="Frames a second; unknown where the pair took another's place in the sketch.",
        computed="Δ frames / Δ sim_time_ns, while error stays",
        value=lambda row: row.pps,
        format=compact,
        right=True,
        level=lambda row: quiet(row.pps),
    ),
    Column(
        key="share",
        title="Share",
        heading="Share",
        width=6,
        help="Share of the frames of the default queue.",
        computed="its frames a second / the default queue's",
        value=lambda row: row.share,
        format=percent,
        right=True,
        priority=3,
        level=lambda row: quiet(row.share),
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
        help="Frames so far, at most: an upper bound from a sketch of bounded size.",
        computed="frames",
        value=lambda row: row.frames,
        format=grouped,
        right=True,
        priority=1,
    ),
    Column(
        key="error",
        title="± of it",
        heading="error",
        width=9,
        unit="frames",
        help="So many of them may be another pair's.",
        computed="error",
        value=lambda row: row.error,
        format=lambda value: "exact" if value == 0 else grouped(value),
        right=True,
        priority=6,
        level=lambda row: "dim" if row.error * 10 < row.frames else "warn",
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

NEAR_MISSES: tuple[Column[NearMissRow], ...] = (
    adapter_column(),
    Column(
        key="mac",
        title="MAC",
        heading="MacAddress",
        width=17,
        help="The MAC, which fits.",
        value=lambda row: row.pair.mac,
    ),
    Column(
        key="vlan",
        title="frame's",
        heading="VlanID",
        width=8,
        help="The VLAN of the frames, which does not.",
        value=lambda row: row.pair.vlan,
        format=vlan_text,
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
        priority=4,
    ),
    Column(
        key="pps",
        title="pkt/s",
        heading="Packets/s",
        width=6,
        unit="frames/s",
        help="Frames a second that miss it.",
        computed="Δ frames / Δ sim_time_ns, while error stays",
        value=lambda row: row.pair.pps,
        format=compact,
        right=True,
        priority=1,
        level=lambda row: quiet(row.pair.pps),
    ),
    Column(
        key="frames",
        title="≤ frames",
        heading="frames",
        width=10,
        unit="frames",
        help="Frames so far, at most.",
        computed="frames",
        value=lambda row: row.pair.frames,
        format=grouped,
        right=True,
        priority=3,
    ),
)
