"""Columns of processors."""

from typing import Any

from engine.view.rows import CpuView
from vmqtui.columns.column import Column
from vmqtui.columns.shared import load_level, quiet
from vmqtui.numbers import UNKNOWN, compact, grouped, percent
from vmqtui.printable import printable


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
