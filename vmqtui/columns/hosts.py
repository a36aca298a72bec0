"""Columns of processors, ports, adapters, hosts and events."""

from datetime import UTC, datetime
from typing import Any

from vmqtui.columns.column import Column, Level, plain
from vmqtui.columns.queues import drops_level, quiet, vlan_text
from vmqtui.numbers import UNKNOWN, clock, compact, decimal, grouped, percent, size
from vmqtui.printable import printable
from vmqtui.state.rows import AdapterRow, CpuRow, EventRow, HostRow, PortRow


def load_level(load: float | None) -> Level:
    """Of a processor: from 80 % worth a look, from 95 % saturated."""
    if load is None:
        return "dim"
    return "bad" if load >= 0.95 else "warn" if load >= 0.8 else ""


def _names(names: Any) -> str:
    return "  ".join(printable(name) for name in names) if names else UNKNOWN


def _cpu_rate(key: str, title: str, counter: str, help_: str, priority: int) -> Column[CpuRow]:
    return Column(
        key=key,
        title=title,
        heading=title,
        width=7,
        unit="per second",
        help=help_,
        computed=f"Δ {counter} / Δ sim_time_ns",
        value=lambda row: row.rate(counter),
        format=compact,
        right=True,
        priority=priority,
        level=lambda row: quiet(row.rate(counter)),
    )


def _cpu_total(name: str, help_: str, priority: int) -> Column[CpuRow]:
    return Column(
        key=name,
        title=name.removesuffix("_frames").replace("_", " "),
        heading=name,
        width=13,
        help=help_,
        computed=name,
        value=lambda row: row.count(name),
        format=grouped,
        right=True,
        priority=priority,
    )


CPUS: tuple[Column[CpuRow], ...] = (
    Column(
        key="processor",
        title="Proc",
        heading="Processor",
        width=5,
        help="The processor as group:number.",
        value=lambda row: row.processor,
        sort=lambda row: row.cpu,
        right=True,
    ),
    Column(
        key="cpu",
        title="CPU",
        heading="CPU",
        width=3,
        help="Its number on the host.",
        value=lambda row: row.cpu,
        right=True,
        priority=8,
        level=lambda row: "dim",
    ),
    Column(
        key="core",
        title="Core",
        heading="Core",
        width=4,
        help="Its core; hyper-threads share one.",
        value=lambda row: row.config.core if row.config else None,
        right=True,
        priority=6,
        level=lambda row: "dim",
    ),
    Column(
        key="numa_node",
        title="NUMA",
        heading="NumaNode",
        width=4,
        help="Its NUMA node.",
        value=lambda row: row.config.numa_node if row.config else None,
        right=True,
        priority=6,
        level=lambda row: "dim",
    ),
    Column(
        key="load_bar",
        title="",
        width=10,
        help="Its load.",
        value=lambda row: None,
        sort=lambda row: row.load,
        gauge=lambda row: None if row.load is None else [(row.load, load_level(row.load) or "bar")],
        grow=14,
        priority=1,
    ),
    Column(
        key="load",
        title="Load",
        heading="Load",
        width=6,
        help="Cycles spent in interrupts and DPCs, of those there were.",
        computed="Δ busy_cycles / Δ budget_cycles",
        value=lambda row: row.load,
        format=percent,
        right=True,
        level=lambda row: load_level(row.load) or quiet(row.load),
    ),
    Column(
        key="trend",
        title="trend",
        width=18,
        help="Load, one cell a second, newest right.",
        value=lambda row: None,
        trend=lambda row: ("cpu", row.cpu),
        top=1.0,
        priority=5,
        grow=18,
    ),
    _cpu_rate("pps", "pkt/s", "indicated_frames", "Frames a second that its DPCs indicated.", 2),
    _cpu_rate("dpcs_per_second", "DPC/s", "dpcs", "Deferred procedure calls a second.", 3),
    _cpu_rate("interrupts_per_second", "Intr/s", "interrupts", "Interrupts a second.", 4),
    Column(
        key="queues",
        title="Qs",
        heading="Queues",
        width=3,
        unit="queues",
        help="Queues whose affinity it is.",
        value=lambda row: len(row.queues),
        right=True,
        level=lambda row: quiet(len(row.queues)),
    ),
    Column(
        key="queue_names",
        title="Queues",
        heading="QueueNames",
        width=14,
        help="Their names.",
        value=lambda row: row.queue_names,
        format=_names,
        priority=2,
        grow=60,
        level=lambda row: "" if row.queues else "dim",
    ),
    _cpu_total("indicated_frames", "Frames its DPCs indicated.", 10),
    _cpu_total("dpcs", "Deferred procedure calls it ran.", 11),
    _cpu_total("interrupts", "Interrupts it took.", 12),
    _cpu_total("busy_cycles", "Cycles spent in interrupts and DPCs.", 13),
    _cpu_total("budget_cycles", "Cycles it had to spend.", 14),
)

PORTS: tuple[Column[PortRow], ...] = (
    Column(
        key="adapter",
        title="Adapter",
        heading="Name",
        width=7,
        help="The adapter.",
        value=lambda row: row.adapter,
        priority=1,
        level=lambda row: "dim",
    ),
    Column(
        key="vm",
        title="VM",
        heading="VmFriendlyName",
        width=10,
        help="The VM behind the switch port.",
        value=lambda row: row.config.vm,
        grow=14,
    ),
    Column(
        key="mac",
        title="MAC",
        heading="MacAddress",
        width=17,
        help="The port's MAC address.",
        value=lambda row: row.config.mac,
    ),
    Column(
        key="vlan",
        title="VLAN",
        heading="VlanID",
        width=8,
        help="The port's VLAN: an id, untagged, or any.",
        value=lambda row: row.config.vlan,
        format=vlan_text,
        right=True,
    ),
    Column(
        key="queue_id",
        title="Queue",
        heading="QueueID",
        width=6,
        help="The queue with a filter for it; – when its frames fall to the default queue.",
        value=lambda row: row.queue.queue_id if row.queue else None,
        right=True,
        level=lambda row: "warn" if row.queue is None else "",
    ),
)

ADAPTERS: tuple[Column[AdapterRow], ...] = (
    Column(
        key="adapter",
        title="Adapter",
        heading="Name",
        width=10,
        help="The adapter.",
        value=lambda row: row.adapter,
        grow=10,
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
        Column[AdapterRow](
            key=name,
            title=name.replace("_", " "),
            heading=name,
            width=14,
            unit=unit,
            help=help_,
            computed=name,
            value=lambda row, name=name: row.count(name),  # type: ignore[misc]
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
)


def _when(seconds: Any) -> str:
    if not seconds:
        return UNKNOWN
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return UNKNOWN


HOSTS: tuple[Column[HostRow], ...] = (
    Column(
        key="host",
        title="Host",
        heading="Host",
        width=12,
        help="The host, as its topics name it.",
        value=lambda row: row.host,
        grow=20,
    ),
    Column(
        key="state",
        title="State",
        heading="State",
        width=9,
        help="online, offline, or unknown.",
        value=lambda row: row.state,
        format=lambda state: ("● " if state == "online" else "○ ") + plain(state),
        level=lambda row: "good" if row.state == "online" else "dim",
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
            help=help_,
            value=lambda row, key=key: getattr(row, key),  # type: ignore[misc]
            right=True,
            priority=3,
        )
        for key, title, help_ in (
            ("cpus", "CPUs", "Simulated processors."),
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
        help="Frames a second that found no free receive buffer.",
        value=lambda row: row.drops,
        format=compact,
        right=True,
        level=lambda row: drops_level(row.drops),
        priority=2,
    ),
)

EVENT_LEVELS: dict[str, Level] = {
    "drops_begin": "bad",
    "worker_died": "bad",
    "queue_free_aborted": "bad",
    "bad_request": "warn",
    "gap_shortened": "dim",
    "drops_end": "good",
    "worker_replaced": "good",
}


def _event_time(value: Any) -> str:
    try:
        return datetime.fromtimestamp(value / 1e9, UTC).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return UNKNOWN


EVENTS: tuple[Column[EventRow], ...] = (
    Column(
        key="time_ns",
        title="UTC",
        heading="Time",
        width=8,
        unit="ns",
        help="When it was published (Unix time; shown in UTC).",
        value=lambda row: row.event.time_ns,
        format=_event_time,
        level=lambda row: "dim",
    ),
    Column(
        key="sim_time_ns",
        title="Sim",
        heading="SimTime",
        width=8,
        unit="ns",
        help="When it happened in simulated time.",
        value=lambda row: row.event.sim_time_ns,
        format=clock,
        right=True,
        priority=3,
        level=lambda row: "dim",
    ),
    Column(
        key="event",
        title="Event",
        heading="Event",
        width=16,
        help="What happened.",
        value=lambda row: row.event.event,
        format=lambda name: plain(name).replace("_", " "),
        level=lambda row: EVENT_LEVELS.get(row.event.event, ""),
    ),
    Column(
        key="adapter",
        title="Adapter",
        heading="Name",
        width=7,
        help="The adapter.",
        value=lambda row: row.event.adapter,
        priority=2,
        level=lambda row: "dim",
    ),
    Column(
        key="queue_id",
        title="Queue",
        heading="QueueID",
        width=5,
        help="The queue.",
        value=lambda row: row.event.queue_id,
        right=True,
        priority=1,
    ),
    Column(
        key="queue",
        title="VM",
        heading="VmFriendlyName",
        width=10,
        help="What that queue is called now.",
        value=lambda row: row.queue,
        priority=2,
        grow=4,
    ),
    Column(
        key="state",
        title="State",
        heading="State",
        width=9,
        help="The queue's state after it.",
        value=lambda row: row.event.state,
        priority=4,
    ),
    Column(
        key="cause",
        title="Cause",
        heading="Cause",
        width=36,
        help="Why, in words.",
        value=lambda row: row.event.cause,
        grow=160,
    ),
)
