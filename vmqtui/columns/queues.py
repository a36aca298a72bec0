"""Columns of queues and of their receive buffers."""

from collections.abc import Sequence

from engine.ndis.counters import QUEUE, QUEUE_LATENCY, Counter
from engine.view.rows import QueueView
from vmqtui.columns.column import (
    RATE,
    Column,
    Level,
    adapter_column,
    drops_column,
    gauge,
    low_level,
    plain,
    queue_id_column,
    quiet,
    rate_column,
    several,
    share_column,
    use_level,
    vlans_text,
)
from vmqtui.numbers import UNKNOWN, decimal, grouped, percent, size, wait
from vmqtui.printable import printable

STATE_GLYPHS = {
    "undefined": "◌",
    "allocated": "○",
    "set": "◔",
    "running": "●",
    "paused": "‖",
    "dma_stopped": "■",
    "freeing": "◍",
}


def state_level(row: QueueView) -> Level:
    """Level of a queue's state: dim if running or unknown, else a warning."""
    return "dim" if row.state in (None, "running") else "warn"


def _vm_text(row: QueueView) -> str:
    return printable(row.vm) if row.vm else f"({plain(row.name)})" if row.name else UNKNOWN


class _VmColumn(Column[QueueView]):
    """The VM; a queue without one is shown by its own name, in brackets."""

    def text(self, row: QueueView) -> str:
        return _vm_text(row)


def _gauge(name: str, title: str, help_: str, priority: int) -> Column[QueueView]:
    """A column of a queue's current gauge ``name``."""
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


def _buffer_parts(row: QueueView) -> Sequence[tuple[float, str]] | None:
    pending, outstanding = row.pending_share, row.outstanding_share
    if pending is None or outstanding is None:
        return None
    level = use_level(pending + outstanding)
    return [(outstanding, level or "bar2"), (pending, level or "bar")]


def _latency(counter: Counter, title: str) -> Column[QueueView]:
    name = counter.name
    return Column(
        key=name.removesuffix("_ns"),
        title=title,
        heading=name,
        width=7,
        unit="ns",
        help=f"From arrival to indication. {counter.help}",
        computed=name,
        value=lambda row: row.count(name) if row.count("indicated_frames") else None,
        format=wait,
        right=True,
        priority=30,
    )


def _counter(counter: Counter) -> Column[QueueView]:
    name = counter.name
    return Column(
        key=name,
        title=name.removesuffix("_frames").removesuffix("_no_buffer").replace("_", " "),
        heading=name,
        width=11,
        unit=counter.unit,
        help=counter.help,
        computed=name,
        value=lambda row: row.count(name),
        since=lambda row: row.since(name),
        format=grouped,
        right=True,
        priority=20 + QUEUE.index(counter),
        level=lambda row: quiet(row.count(name)),
    )


def _processor(priority: int = 0) -> Column[QueueView]:
    return Column(
        key="processor",
        settled=True,
        title="Proc",
        heading="Processor",
        width=4,
        help="Processor affinity as group:number: its DPC serves the queue.",
        value=lambda row: row.processor,
        facts=("cpu",),
        sort=lambda row: row.cpu,
        right=True,
        priority=priority,
    )


def _vm() -> Column[QueueView]:
    return _VmColumn(
        key="vm",
        settled=True,
        title="VM",
        heading="VmFriendlyName",
        width=10,
        help="The VM the queue belongs to; the queue's own name in brackets where there is none.",
        value=lambda row: row.vm,
        sort=_vm_text,
    )


def _state() -> tuple[Column[QueueView], Column[QueueView]]:
    """The columns of the state, as a glyph and in words; the words are dropped first if room is short."""
    glyph = Column[QueueView](
        key="state_glyph",
        settled=True,
        title="",
        width=1,
        help=" ".join(f"{sign} {state}" for state, sign in STATE_GLYPHS.items()),
        value=lambda row: row.state,
        format=lambda state: STATE_GLYPHS.get(state, UNKNOWN),
        level=lambda row: "good" if row.state == "running" else state_level(row),
        picture=True,
    )
    words = Column[QueueView](
        key="state",
        settled=True,
        title="State",
        heading="State",
        width=11,
        help="One of undefined, allocated, set, running, paused, dma_stopped, freeing.",
        value=lambda row: row.state,
        level=state_level,
        priority=5,
    )
    return glyph, words


_USE = Column[QueueView](
    key="buffer_use",
    title="Use",
    heading="BufferUse",
    width=6,
    help="Receive buffers that are not free.",
    computed="(pending + outstanding) / total_buffers",
    value=lambda row: row.buffer_use,
    format=percent,
    right=True,
    level=lambda row: use_level(row.buffer_use) or quiet(row.buffer_use),
    priority=2,
)

QUEUES: tuple[Column[QueueView], ...] = (
    adapter_column(),
    queue_id_column(),
    Column(
        key="mac",
        settled=True,
        title="MAC",
        heading="MacAddress",
        width=20,
        help="MAC addresses its filters test; the first, and how many more.",
        value=lambda row: row.macs,
        format=several,
        priority=4,
        level=lambda row: "" if row.filters else "dim",
    ),
    Column(
        key="vlan",
        settled=True,
        title="VLAN",
        heading="VlanID",
        width=8,
        help="VLAN tests of its filters: an id, untagged, or any.",
        value=lambda row: row.vlans,
        format=vlans_text,
        right=True,
        priority=3,
        level=lambda row: "" if row.filters else "dim",
    ),
    _processor(),
    _vm(),
    *_state(),
    rate_column(
        "Frames a second that the filters gave to the queue; those it received, where that is unknown.",
        f"{RATE.format('steered_frames')}, or of received_frames",
        lambda row: row.pps,
    ),
    Column(
        key="mbits",
        title="Mbit/s",
        heading="Mbit/s",
        width=6,
        unit="Mbit/s",
        help="The same in megabits a second, by length on the wire.",
        computed="8 × Δ steered_bytes / Δ sim_time_ns, or of received_bytes",
        value=lambda row: row.mbits,
        format=decimal,
        right=True,
        level=lambda row: quiet(row.mbits),
        priority=1,
    ),
    drops_column(),
    Column(
        key="trend",
        title="trend",
        width=10,
        help="How frames a second changed: a line while steady, newest right.",
        value=lambda row: None,
        sort=lambda row: row.pps,
        beside="pps",
        trend=lambda row: ("queue", row.adapter, row.queue_id, row.generation),
        priority=8,
        grow=18,
    ),
    Column(
        key="use_bar",
        title="Buffers",
        width=7,
        help="Receive buffers outstanding, then pending, of all.",
        value=lambda row: None,
        sort=lambda row: row.buffer_use,
        gauge=_buffer_parts,
        priority=6,
        grow=5,
    ),
    _USE,
    Column(
        key="share_bar",
        title="",
        width=6,
        help="Share of the frames steered on the adapter.",
        computed="the queue's frames a second (Δ steered_frames, or received_frames) / the adapter's",
        value=lambda row: None,
        sort=lambda row: row.share,
        gauge=lambda row: gauge(row.share),
        priority=9,
        grow=6,
    ),
    share_column(
        "Share of all frames steered on the adapter.",
        "the queue's frames a second (Δ steered_frames, or received_frames) / the adapter's",
        lambda row: row.share,
        7,
    ),
    Column(
        key="name",
        settled=True,
        title="Queue",
        heading="QueueName",
        width=9,
        help="The queue's own name.",
        value=lambda row: row.name,
        priority=12,
        level=lambda row: "dim",
    ),
    *(_counter(counter) for counter in QUEUE),
    _gauge("pending", "pending", "Received, not yet indicated.", 16),
    _gauge("outstanding", "outst.", "Indicated, not yet returned by the VM.", 17),
    _gauge("free_buffers", "free", "Receive buffers ready for a frame.", 18),
    _gauge("total_buffers", "total", "Receive buffers the queue owns.", 15),
    *(_latency(counter, title) for counter, title in zip(QUEUE_LATENCY, ("p50", "p99", "max"), strict=True)),
    Column(
        key="generation",
        settled=True,
        title="gen",
        heading="Generation",
        width=4,
        help="Tells queues apart that had the same id.",
        value=lambda row: row.generation,
        right=True,
        priority=40,
        level=lambda row: "dim",
    ),
)

BUFFERS: tuple[Column[QueueView], ...] = (
    adapter_column(),
    queue_id_column(),
    _vm(),
    *_state(),
    _processor(priority=8),
    Column(
        key="use_bar",
        title="Buffers",
        width=16,
        help="Receive buffers outstanding █, then pending ▓, of all; ┃ the most there ever were.",
        value=lambda row: None,
        sort=lambda row: row.buffer_use,
        gauge=_buffer_parts,
        mark=lambda row: row.high_water,
        priority=1,
        grow=60,
    ),
    _USE,
    _gauge("free_buffers", "free", "Receive buffers ready for a frame.", 2),
    Column(
        key="low_free_buffers",
        title="low",
        heading="low_free_buffers",
        width=6,
        unit="buffers",
        help="Low-water mark: the fewest that were free since the queue's buffers changed.",
        computed="low_free_buffers",
        value=lambda row: row.count("low_free_buffers"),
        format=grouped,
        right=True,
        priority=2,
        level=lambda row: low_level(row.count("low_free_buffers"), row.count("total_buffers")),
    ),
    _gauge("pending", "pending", "Received, not yet indicated.", 3),
    _gauge("outstanding", "outst.", "Indicated, not yet returned by the VM.", 3),
    _gauge("total_buffers", "total", "Receive buffers the queue owns.", 1),
    Column(
        key="suggested_buffers",
        title="asked",
        heading="suggested_buffers",
        width=7,
        unit="buffers",
        help="Buffers the queue asked for; it may have got fewer.",
        value=lambda row: row.config.buffers if row.config else None,
        format=grouped,
        right=True,
        priority=6,
        level=lambda row: (
            "warn"
            if (total := row.count("total_buffers"))
            and row.config
            and (asked := row.config.buffers)
            and total < asked
            else "dim"
        ),
    ),
    Column(
        key="memory_bytes",
        title="memory",
        heading="memory_bytes",
        width=9,
        unit="bytes",
        help="Shared memory of its buffers.",
        computed="total_buffers × max_frame_bytes",
        value=lambda row: row.memory_bytes,
        format=size,
        right=True,
        priority=5,
    ),
    drops_column(),
    Column(
        key="dropped_no_buffer",
        title="dropped",
        heading="dropped_no_buffer",
        width=10,
        unit="frames",
        help="Frames that found every buffer pending or outstanding.",
        computed="dropped_no_buffer",
        value=lambda row: row.count("dropped_no_buffer"),
        since=lambda row: row.since("dropped_no_buffer"),
        format=grouped,
        right=True,
        priority=4,
        level=lambda row: quiet(row.count("dropped_no_buffer")),
    ),
)
