"""Columns of adapters and of processors."""

from typing import Any

from engine.view.adapter import AdapterView
from engine.view.rows import CpuView
from vmqtui.columns.column import Column, drops_level, load_level, quiet
from vmqtui.numbers import UNKNOWN, compact, decimal, grouped, percent, size
from vmqtui.printable import printable


def _port_counter(name: str, help_: str, unit: str) -> Column[AdapterView]:
    return Column(
        key=name,
        title=name.replace("_", " "),
        heading=name,
        width=14,
        unit=unit,
        help=help_,
        computed=name,
        value=lambda row: row.count(name),
        since=lambda row: row.since(name),
        format=size if unit == "bytes" else grouped,
        right=True,
        priority=6,
    )


def _interface_counter(name: str, title: str, help_: str) -> Column[AdapterView]:
    return Column(
        key=name,
        title=title,
        heading=name,
        width=14,
        unit="frames",
        help=help_,
        computed=name,
        value=lambda row: None if row.interface is None else row.interface.count(name, 0),
        since=lambda row: None if row.interface is None else row.interface.since(name, 0),
        format=grouped,
        right=True,
        priority=6,
    )


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
        _port_counter(name, help_, "bytes" if name.endswith("_bytes") else "frames")
        for name, help_ in (
            ("offered_frames", "Frames that arrived at the port."),
            ("offered_bytes", "Their length on the wire."),
            ("runt", "Too short for an Ethernet header or their tag; not steered."),
            ("oversize", "Longer than max_frame_bytes; not steered."),
        )
    ),
    *(
        _interface_counter(name, title, help_)
        for name, title, help_ in (
            ("kernel_received_frames", "kernel recv", "Frames the kernel had from its live interface."),
            ("kernel_dropped_frames", "kernel drops", "Of those, frames the engine did not read in time."),
            ("interface_dropped_frames", "if drops", "Frames that interface says it dropped."),
        )
    ),
)


def _names(names: Any) -> str:
    return "  ".join(printable(name) for name in names) if names else UNKNOWN


def _worker(row: CpuView) -> str | None:
    return None if row.down is None else "down" if row.down else "up"


def _bar(row: CpuView) -> list[tuple[float, str]] | None:
    if row.down:
        return []
    return None if row.load is None else [(row.load, load_level(row.load) or "bar")]


def _cpu_rate(key: str, title: str, counter: str, help_: str, priority: int) -> Column[CpuView]:
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


def _cpu_total(name: str, unit: str, help_: str, priority: int) -> Column[CpuView]:
    return Column(
        key=name,
        title=name.removesuffix("_frames").replace("_", " "),
        heading=name,
        width=13,
        unit=unit,
        help=help_,
        computed=name,
        value=lambda row: row.count(name),
        since=lambda row: row.since(name),
        format=grouped,
        right=True,
        priority=priority,
    )


CPUS: tuple[Column[CpuView], ...] = (
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
        computed="Δ busy_cycles / Δ budget_cycles",
        value=lambda row: None,
        sort=lambda row: row.load,
        gauge=_bar,
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
        instead=lambda row: "down" if row.down else None,
        right=True,
        level=lambda row: "bad" if row.down else load_level(row.load) or quiet(row.load),
    ),
    Column(
        key="worker",
        title="Worker",
        heading="Worker",
        width=6,
        help="Its worker process: up, or down (it kept dying; frames for its queues are lost).",
        computed="down",
        value=_worker,
        priority=9,
        level=lambda row: "bad" if row.down else "dim",
    ),
    Column(
        key="trend",
        title="trend",
        width=18,
        help="Load, one cell a second, newest right.",
        value=lambda row: None,
        sort=lambda row: row.load,
        trend=lambda row: ("cpu", row.cpu),
        top=1.0,
        priority=5,
        grow=18,
    ),
    _cpu_rate("pps", "pkt/s", "indicated_frames", "Frames a second that its DPCs indicated.", 2),
    _cpu_rate("dpcs_per_second", "DPC/s", "dpcs", "Deferred procedure calls a second.", 3),
    _cpu_rate("interrupts_per_second", "Intr/s", "interrupts", "Interrupts a second.", 4),
    Column(
        key="backlog",
        title="backlog",
        heading="Backlog",
        width=7,
        unit="frames",
        help="Frames received and not yet indicated, of all its queues.",
        computed="sum of pending",
        value=lambda row: row.backlog,
        format=compact,
        right=True,
        priority=2,
        level=lambda row: quiet(row.backlog),
    ),
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
        prose=True,
        level=lambda row: "" if row.queues else "dim",
    ),
    _cpu_total("indicated_frames", "frames", "Frames its DPCs indicated.", 10),
    _cpu_total("dpcs", "DPCs", "Deferred procedure calls it ran.", 11),
    _cpu_total("interrupts", "interrupts", "Interrupts it took.", 12),
    _cpu_total("busy_cycles", "cycles", "Cycles spent in interrupts and DPCs.", 13),
    _cpu_total("budget_cycles", "cycles", "Cycles it had to spend.", 14),
)
