"""The registry of the contract's counters: names, units and meanings.

The shared-memory layout, the messages, the reports, the screen and the reference pages all read this
registry; no other module has a list of counter names.
"""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["frames", "bytes", "count", "cycles", "buffers", "queues", "ns", "0 or 1"]


@dataclass(frozen=True)
class Counter:
    """One counter or gauge: its name in messages, its unit, and a help sentence."""

    name: str
    unit: Unit
    help: str
    gauge: bool = False


PORT = (
    Counter("offered_frames", "frames", "Frames that arrived at the port."),
    Counter("offered_bytes", "bytes", "Their length on the wire."),
    Counter("runt", "frames", "Shorter than an Ethernet header (or than its VLAN tag); not steered."),
    Counter("oversize", "frames", "Longer than the adapter's max_frame_bytes; not steered."),
)

INTERFACE = (
    Counter("kernel_received_frames", "frames", "Frames the kernel had for the engine."),
    Counter("kernel_dropped_frames", "frames", "Of those, frames not read in time, and lost."),
    Counter("interface_dropped_frames", "frames", "Frames the interface, or its driver, says it dropped."),
)
"""The kernel's counts for an adapter fed by a live interface, since the engine began to read from it."""

QUEUE = (
    Counter("steered_frames", "frames", "Frames the filters gave to this queue."),
    Counter("steered_bytes", "bytes", "Their length on the wire."),
    Counter("received_frames", "frames", "Frames moved by DMA into a receive buffer."),
    Counter("dropped_no_buffer", "frames", "Frames that found every buffer pending or outstanding."),
    Counter("indicated_frames", "frames", "Frames handed up the stack by a DPC."),
    Counter("discarded_frames", "frames", "Frames pending when the queue's last filter was cleared."),
    Counter("lost_frames", "frames", "Frames in a worker that died, or for a processor that is down."),
    Counter("returned_frames", "frames", "Frames whose buffer the VM, or the switch, gave back."),
    Counter(
        "switch_dropped_frames",
        "frames",
        "Indicated frames that were given to no VM: no port has their MAC and VLAN, as none has those of "
        "broadcast and multicast.",
    ),
    Counter("interrupts", "count", "Interrupts raised for this queue."),
    Counter("dpcs", "count", "Deferred procedure calls that served this queue."),
)

QUEUE_OF_MEASURED = (Counter("received_bytes", "bytes", "Length of what a real adapter received for it."),)
"""What is sent of a queue of a measured host only; the model counts bytes as frames arrive."""

QUEUE_GAUGES = (
    Counter("pending", "frames", "Received, not yet indicated.", gauge=True),
    Counter("outstanding", "frames", "Indicated, not yet returned.", gauge=True),
    Counter("free_buffers", "buffers", "Receive buffers ready for a frame.", gauge=True),
    Counter(
        "low_free_buffers", "buffers", "Fewest that were free since the queue's buffers changed.", gauge=True
    ),
    Counter("total_buffers", "buffers", "Receive buffers the queue owns.", gauge=True),
)

QUEUE_LATENCY = (
    Counter("latency_p50_ns", "ns", "Half of the frames indicated had waited no longer.", gauge=True),
    Counter("latency_p99_ns", "ns", "99 % of the frames indicated had waited no longer.", gauge=True),
    Counter("latency_max_ns", "ns", "The longest that one had waited; 0: none was indicated.", gauge=True),
)
"""Time from arrival to indication, over all frames indicated so far. A percentile is the highest
value of a histogram bucket, up to 25 % above the exact percentile."""

FILTER = (Counter("matched_frames", "frames", "Frames credited to this filter."),)

CPU = (
    Counter("busy_cycles", "cycles", "Cycles spent in interrupts and DPCs."),
    Counter("budget_cycles", "cycles", "Cycles the processor had to spend."),
    Counter("interrupts", "count", "Interrupts this processor took."),
    Counter("dpcs", "count", "Deferred procedure calls it ran."),
    Counter("indicated_frames", "frames", "Frames those indicated."),
)

CPU_GAUGES = (
    Counter("queues", "queues", "Queues whose affinity is this processor.", gauge=True),
    Counter("down", "0 or 1", "1: it has no worker now, and frames for its queues are lost.", gauge=True),
)

DEFAULT_QUEUE_REASONS = (
    Counter("broadcast", "frames", "Sent to the broadcast address."),
    Counter("multicast", "frames", "Sent to a group address."),
    Counter("no_queue", "frames", "A switch port has this MAC and VLAN, but no queue takes it."),
    Counter("vlan_mismatch", "frames", "The MAC is known; the VLAN is not the one its filter or port has."),
    Counter("unknown_unicast", "frames", "No filter and no port has this MAC."),
)


def names(counters: tuple[Counter, ...]) -> tuple[str, ...]:
    """Return the names of ``counters``, in the same order."""
    return tuple(counter.name for counter in counters)
