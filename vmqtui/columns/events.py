"""Columns of events."""

from datetime import UTC, datetime
from typing import Any

from vmqtui.columns.column import Column, Level, plain
from vmqtui.numbers import UNKNOWN, clock
from vmqtui.state.rows import EventRow

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
        width=20,
        help="Why, in words.",
        value=lambda row: row.event.cause,
        prose=True,
    ),
)
