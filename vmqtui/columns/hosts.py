"""Columns of adapters and of hosts."""

from datetime import UTC, datetime
from typing import Any

from engine.view.adapter import AdapterView
from vmqtui.columns.column import Column, Level, plain
from vmqtui.columns.shared import drops_level
from vmqtui.numbers import UNKNOWN, age, clock, compact, decimal, grouped, percent, size
from vmqtui.state.rows import HostRow

ADAPTERS: tuple[Column[AdapterView], ...] = (
    Column(
        key="adapter",
        title="Adapter",
        heading="Name",
        width=10,
        help="The adapter.",
        value=lambda row: row.adapter,
    ),
    Column(
        key="team",
        title="Team",
        heading="Team",
        width=9,
        help="The team it is a member of, and whether a VM's queues are summed or on every member (min).",
        value=lambda row: row.team,
        priority=5,
        level=lambda row: "" if row.team else "dim",
    ),
    Column(
        key="ndis_version",
        title="NDIS",
        heading="NdisVersion",
        width=5,
        help="The NDIS version it keeps to.",
        value=lambda row: row.config.ndis_version if row.config else None,
        priority=3,
    ),
    Column(
        key="link_gbps",
        title="Link",
        heading="Gbit/s",
        width=6,
        unit="Gbit/s",
        help="Its link speed.",
        value=lambda row: row.config.link_gbps if row.config else None,
        format=decimal,
        right=True,
        priority=2,
    ),
    Column(
        key="queues",
        title="Queues",
        heading="Queues",
        width=6,
        unit="queues",
        help="Its queues, without the default queue.",
        value=lambda row: len(row.config.queues) - 1 if row.config else None,
        right=True,
    ),
    Column(
        key="max_queues",
        title="of",
        heading="MaxQueues",
        width=5,
        unit="queues",
        help="The queues it has, without the default queue.",
        value=lambda row: row.config.max_queues if row.config else None,
        right=True,
        priority=2,
    ),
    Column(
        key="filters",
        title="Filters",
        heading="Filters",
        width=7,
        unit="filters",
        help="Filters set.",
        value=lambda row: len(row.config.filters) if row.config else None,
        right=True,
        priority=2,
    ),
    Column(
        key="max_filters",
        title="of",
        heading="MaxFilters",
        width=5,
        unit="filters",
        help="The filters it has.",
        value=lambda row: row.config.max_filters if row.config else None,
        right=True,
        priority=4,
    ),
    Column(
        key="buffers_given",
        title="Buffers",
        heading="BuffersInQueues",
        width=8,
        unit="buffers",
        help="Receive buffers its queues own.",
        computed="sum of total_buffers",
        value=lambda row: row.buffers_given,
        format=grouped,
        right=True,
        priority=3,
    ),
    Column(
        key="buffers",
        title="of",
        heading="MaxBuffers",
        width=8,
        unit="buffers",
        help="Receive buffers it has in all.",
        value=lambda row: row.config.buffers if row.config else None,
        format=grouped,
        right=True,
        priority=4,
    ),
    Column(
        key="pps",
        title="pkt/s",
        heading="Packets/s",
        width=6,
        unit="frames/s",
        help="Frames a second that arrived at the port.",
        computed="Δ offered_frames / Δ sim_time_ns",
        value=lambda row: row.pps,
        format=compact,
        right=True,
    ),
    Column(
        key="mbits",
        title="Mbit/s",
        heading="Mbit/s",
        width=6,
        unit="Mbit/s",
        help="The same in megabits a second.",
        computed="8 × Δ offered_bytes / Δ sim_time_ns",
        value=lambda row: row.mbits,
        format=decimal,
        right=True,
    ),
    Column(
        key="link_use",
        title="Use",
        heading="LinkUse",
        width=6,
        help="Of the link's speed.",
        computed="Mbit/s / (1000 × link_gbps)",
        value=lambda row: row.link_use,
        format=percent,
        right=True,
        priority=1,
    ),
    Column(
        key="drops_per_second",
        title="Drop/s",
        heading="Drops/s",
        width=6,
        unit="frames/s",
        help="Frames a second that found no free receive buffer in their queue.",
        computed="sum of the queues'",
        value=lambda row: row.drops,
        format=compact,
        right=True,
        level=lambda row: drops_level(row.drops),
    ),
    *(
        Column[AdapterView](
            key=name,
            title=name.replace("_", " "),
            heading=name,
            width=14,
            unit=unit,
            help=help_,
            computed=name,
            value=lambda row, name=name: row.count(name),  # type: ignore[misc]
            since=lambda row, name=name: row.since(name),  # type: ignore[misc]
            format=size if unit == "bytes" else grouped,
            right=True,
            priority=6,
        )
        for name, unit, help_ in (
            ("offered_frames", "frames", "Frames that arrived at the port."),
            ("offered_bytes", "bytes", "Their length on the wire."),
            ("runt", "frames", "Too short for an Ethernet header or their tag; not steered."),
            ("oversize", "frames", "Longer than max_frame_bytes; not steered."),
        )
    ),
    *(
        Column[AdapterView](
            key=name,
            title=title,
            heading=name,
            width=14,
            unit="frames",
            help=help_,
            computed=name,
            value=lambda row, name=name: row.interface and row.interface.count(name, 0),  # type: ignore[misc]
            since=lambda row, name=name: row.interface and row.interface.since(name, 0),  # type: ignore[misc]
            format=grouped,
            right=True,
            priority=6,
        )
        for name, title, help_ in (
            (
                "kernel_received_frames",
                "kernel recv",
                "Frames the kernel had from its live interface.",
            ),
            ("kernel_dropped_frames", "kernel drops", "Of those, frames the engine did not read in time."),
            ("interface_dropped_frames", "if drops", "Frames that interface says it dropped."),
        )
    ),
)


def _when(seconds: Any) -> str:
    if not seconds:
        return UNKNOWN
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return UNKNOWN


_STATES: dict[str, tuple[str, Level]] = {
    "online": ("●", "good"),
    "live": ("●", "good"),
    "stale": ("◍", "warn"),
    "unreadable": ("◍", "bad"),
    "silent": ("○", "bad"),
    "offline": ("■", "bad"),
}

HOSTS: tuple[Column[HostRow], ...] = (
    Column(
        key="host",
        title="Host",
        heading="Host",
        width=12,
        help="The host, as its topics name it.",
        value=lambda row: row.host,
    ),
    Column(
        key="state",
        title="State",
        heading="State",
        width=9,
        help=(
            "online (on the screen live), stale (its newest message is older than three intervals), silent "
            "(older than 30 s), unreadable (its readings can't be decoded), offline (it has ended), unknown "
            "or empty (it has no status, no reading yet)."
        ),
        value=lambda row: row.state,
        format=lambda state: _STATES.get(state, ("○", ""))[0] + " " + plain(state),
        level=lambda row: _STATES.get(row.state, ("", "dim"))[1],
    ),
    Column(
        key="age_s",
        title="Age",
        heading="LastMessage",
        width=6,
        unit="s",
        help="How old its newest message is.",
        value=lambda row: None if row.age_s is None else round(row.age_s, 3),
        format=lambda seconds: UNKNOWN if seconds is None else age(seconds),
        right=True,
        priority=2,
    ),
    Column(
        key="kind",
        title="Kind",
        heading="Kind",
        width=8,
        help="model, or measured: the numbers are those of a real host.",
        value=lambda row: row.kind,
        priority=5,
    ),
    Column(
        key="version",
        title="Version",
        heading="Version",
        width=8,
        help="The engine's version.",
        value=lambda row: row.version,
        priority=4,
    ),
    Column(
        key="started_at",
        title="Started",
        heading="Started",
        width=20,
        unit="s",
        help="When the engine started (Unix time; shown in UTC).",
        value=lambda row: row.started_at or None,
        format=_when,
        priority=5,
    ),
    *(
        Column[HostRow](
            key=key,
            title=title,
            heading=title,
            width=8,
            unit="processors" if key.startswith("cpus") else key,
            help=help_,
            value=lambda row, key=key: getattr(row, key),  # type: ignore[misc]
            right=True,
            priority=3,
        )
        for key, title, help_ in (
            ("cpus", "CPUs", "Simulated processors."),
            ("cpus_down", "Down", "Of these, processors without a worker."),
            ("adapters", "Adapters", "Adapters."),
            ("queues", "Queues", "Queues of all adapters, default queues included."),
            ("filters", "Filters", "Filters set."),
        )
    ),
    Column(
        key="sim_time_ns",
        title="Sim time",
        heading="SimTime",
        width=9,
        unit="ns",
        help="Simulated time since the engine started.",
        value=lambda row: row.sim_time_ns,
        format=clock,
        right=True,
        priority=4,
    ),
    Column(
        key="pps",
        title="pkt/s",
        heading="Packets/s",
        width=6,
        unit="frames/s",
        help="Frames a second that arrived, all adapters together.",
        computed="Δ offered_frames / Δ sim_time_ns",
        value=lambda row: row.pps,
        format=compact,
        right=True,
        priority=1,
    ),
    Column(
        key="mbits",
        title="Mbit/s",
        heading="Mbit/s",
        width=6,
        unit="Mbit/s",
        help="The same in megabits a second.",
        computed="8 × Δ offered_bytes / Δ sim_time_ns",
        value=lambda row: row.mbits,
        format=decimal,
        right=True,
        priority=1,
    ),
    Column(
        key="drops_per_second",
        title="Drop/s",
        heading="Drops/s",
        width=6,
        unit="frames/s",
        help=(
            "Frames a second that were dropped: in `vmqtui get hosts` at any stage (`dropped_frames` of its "
            "summary), on the screen those that found no free receive buffer."
        ),
        value=lambda row: row.drops,
        format=compact,
        right=True,
        level=lambda row: drops_level(row.drops),
        priority=2,
    ),
    Column(
        key="default_pps",
        title="Default/s",
        heading="Default/s",
        width=9,
        unit="frames/s",
        help="Frames a second that default queues took.",
        value=lambda row: row.default_pps,
        format=compact,
        right=True,
        priority=4,
    ),
    Column(
        key="busiest_load",
        title="Busiest",
        heading="Busiest",
        width=7,
        help="Load of its busiest processor over the last second.",
        value=lambda row: row.busiest_load,
        format=percent,
        right=True,
        priority=2,
    ),
    Column(
        key="busiest_cpu",
        title="CPU",
        heading="BusiestCPU",
        width=5,
        help="That processor.",
        value=lambda row: row.busiest_cpu,
        right=True,
        priority=4,
    ),
    *(
        Column[HostRow](
            key=key,
            title=title,
            heading=title,
            width=5,
            unit="findings",
            help=help_,
            value=lambda row, key=key: getattr(row, key),  # type: ignore[misc]
            right=True,
            level=(lambda row: "bad" if row.bad else "") if key == "bad" else None,
            priority=3,
        )
        for key, title, help_ in (
            ("bad", "Bad", "Findings of its advisor that cost frames."),
            ("cost", "Cost", "Findings that cost something else."),
            ("note", "Note", "Findings worth knowing."),
        )
    ),
    Column(
        key="worst",
        title="Worst",
        heading="WorstFinding",
        width=24,
        help="The worst finding.",
        value=lambda row: row.worst,
        prose=True,
        priority=5,
    ),
)
