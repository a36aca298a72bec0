"""Columns of hosts and of events."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from vmqtui.columns.column import Column, Level, drops_level, plain
from vmqtui.numbers import UNKNOWN, age, clock, compact, decimal, percent
from vmqtui.state.rows import EventRow, HostRow


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


def _bad_level(row: HostRow) -> Level:
    return "bad" if row.bad else ""


def _amount(
    key: str,
    title: str,
    help_: str,
    unit: str,
    *,
    width: int,
    level: Callable[[HostRow], Level] | None = None,
) -> Column[HostRow]:
    """A column of a host's count in the attribute ``key``."""
    return Column(
        key=key,
        title=title,
        heading=title,
        width=width,
        unit=unit,
        help=help_,
        value=lambda row: getattr(row, key),
        right=True,
        level=level,
        priority=3,
    )


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
        priority=2,
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
        _amount(key, title, help_, "processors" if key.startswith("cpus") else key, width=8)
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
        help="Simulated time since the engine started; of a measured host, the time that it is up.",
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
        heading="AllDrops/s",
        width=6,
        unit="frames/s",
        help=(
            "In `vmqtui get hosts` frames a second dropped or lost at any stage (`dropped_frames` of its "
            "summary), also those that the switch had no VM for, as broadcast and multicast; on the screen "
            "those that found no free receive buffer, as Drops/s of adapters and queues."
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
        _amount(key, title, help_, "findings", width=5, level=_bad_level if key == "bad" else None)
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
        help="The worst finding so far: another may take its place until the host was watched for 30 s.",
        value=lambda row: row.worst,
        prose=True,
        priority=5,
    ),
)


EVENT_LEVELS: dict[str, Level] = {
    "drops_begin": "bad",
    "drops_unreported": "bad",
    "interface_drops_begin": "bad",
    "interface_ended": "bad",
    "worker_died": "bad",
    "worker_down": "bad",
    "broker_restarted": "warn",
    "queue_free_aborted": "bad",
    "bad_request": "warn",
    "messages_dropped": "warn",
    "adapter_gone": "warn",
    "adapter_restarted": "warn",
    "channels_changed": "warn",
    "counters_restarted": "warn",
    "link_down": "bad",
    "reading_trouble": "warn",
    "reading_failed": "bad",
    "reading_late": "warn",
    "reading_resumed": "good",
    "link_up": "good",
    "gap_shortened": "dim",
    "drops_end": "good",
    "interface_drops_end": "good",
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
        width=11,
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
        width=7,
        help="What that queue is called now.",
        value=lambda row: row.queue,
        priority=2,
    ),
    Column(
        key="state",
        title="State",
        heading="State",
        width=7,
        help="The queue's state after it.",
        value=lambda row: row.event.state,
        priority=10,
    ),
    Column(
        key="cause",
        title="Cause",
        heading="Cause",
        width=20,
        help="Why, in words.",
        value=lambda row: row.event.cause,
        prose=True,
    ),
)
