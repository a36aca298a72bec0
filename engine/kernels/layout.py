"""The layout of the receive path in shared memory.

The engine and its workers compute the same offsets from the same ``Sizes``, so a worker needs only the name
of the shared block and the sizes. A *slot* numbers an (adapter, queue id) pair: ``slot_base[adapter] +
queue_id``, so slots sort by adapter, then queue id. Buffers and filters are numbered the same way.

Rows of queues and processors are double-buffered in two *banks*. A shard reads its rows from the published
bank and writes the other; the conductor switches banks after the shard's reply. So a shard that dies
leaves the published rows unchanged.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from engine.ndis import counters

# Columns are fields of a named tuple: ``queue[Q.pending]``, and in kernels, where rows are records,
# ``queue.pending``.


class QueueColumns(NamedTuple):
    """A queue's row (int64)."""

    # One cache line: columns that every arriving frame touches.
    steered_frames: int
    steered_bytes: int
    received_frames: int
    pending: int
    pending_tail: int
    free_buffers: int
    free_head: int  # stack of free buffers
    armed_ns: int  # when its DPC was armed; NONE: idle; IN_SERVICE: in a DPC
    # Other columns that an arriving frame reads.
    pending_bytes: int  # bytes that DPCs will copy for the pending frames
    copied_bytes_limit: int  # maximum of bytes that a DPC copies of a frame
    low_free_buffers: int  # fewest free since total_buffers last changed
    host_at: int  # buffer b begins at host_at + b * stride
    stride: int
    lookahead_bytes: int  # split at this many bytes, the rest in guest memory; 0: no split
    outstanding_head: int  # FIFO of buffers that the VM has yet to return
    dropped_no_buffer: int
    # Columns that a DPC touches.
    pending_head: int  # FIFO of received frames
    indicated_frames: int
    returned_frames: int
    switch_dropped_frames: int
    dpc_end_ns: int
    dpc_frames: int  # frames that DPC will indicate
    armed_by_interrupt: int  # 1: a frame armed it; 0: its last DPC left frames behind
    interrupts: int
    dpcs: int
    dpc_cpu: int  # processor of the DPC in progress; NONE: none
    return_delay_ns: int
    held: int  # 1: its VM is paused and returns nothing
    vm: int  # the VM that owns the queue, an index within its adapter; NONE: no VM
    total_buffers: int
    target_buffers: int  # the number that total_buffers shrinks to
    adapter: int
    # Other columns.
    outstanding: int
    latency_max_ns: int  # longest time from a frame's arrival to its indication
    latency_from: int  # first bucket of ``latency`` in use
    latency_to: int  # end of the buckets in use, exclusive
    outstanding_tail: int
    surrendered_head: int  # buffers given up by a queue that shrinks, for the conductor to collect
    discarded_frames: int
    lost_frames: int
    # Frames steered to the default queue, by reason, in the order of ``counters.DEFAULT_QUEUE_REASONS``.
    broadcast: int
    multicast: int
    no_queue: int
    vlan_mismatch: int
    unknown_unicast: int


Q: Final = QueueColumns(*range(len(QueueColumns._fields)))
QUEUE_COLUMNS: Final = Q._fields
QUEUE_COUNTERS: Final = tuple(QUEUE_COLUMNS.index(name) for name in counters.names(counters.QUEUE))
"""Column of each queue counter of the registry, in its order."""
FIRST_REASON: Final = Q.broadcast
assert QUEUE_COLUMNS[FIRST_REASON:] == counters.names(counters.DEFAULT_QUEUE_REASONS)
QUEUE_ROW: Final = 48  # whole cache lines
IN_SERVICE: Final = -2


class ReasonCodes(NamedTuple):
    """Why a frame goes to the default queue, as an index into ``counters.DEFAULT_QUEUE_REASONS``."""

    broadcast: int
    multicast: int
    no_queue: int
    vlan_mismatch: int
    unknown_unicast: int


REASON: Final = ReasonCodes(*range(len(ReasonCodes._fields)))
assert REASON._fields == QUEUE_COLUMNS[FIRST_REASON:]


class CpuColumns(NamedTuple):
    """A processor's row (int64)."""

    busy_cycles: int
    interrupts: int
    dpcs: int
    indicated_frames: int
    free_ns: int  # end of the DPC in progress, or of the last one
    dpc_slot: int  # queue of the DPC in progress; NONE: none
    dpc_frames: int
    dpc_cycles: int
    next_event_ns: int  # this shard has no event before this time


CPU: Final = CpuColumns(*range(len(CpuColumns._fields)))
CPU_COLUMNS: Final = CPU._fields
CPU_ROW: Final = 16


class PortColumns(NamedTuple):
    """Counters of an adapter's port (int64), in the order of ``counters.PORT``."""

    offered_frames: int
    offered_bytes: int
    runt: int
    oversize: int


PORT: Final = PortColumns(*range(len(PortColumns._fields)))
PORT_COUNTERS: Final = len(PORT)
assert PORT._fields == counters.names(counters.PORT)


class BufferColumns(NamedTuple):
    """A receive buffer's row (int64)."""

    next: int = 0  # next buffer in the same linked list
    frame: int = 1  # bits 0-15: bytes stored; 16-31: bytes on the wire; 32-48: removed VLAN tag plus one
    port_vm: int = 2  # VM that the switch delivers the frame to, or NONE
    guest_at: int = 3  # offset in guest memory where the VM sees the frame; NONE: the queue has no VM
    due_ns: int = 4  # time of its return; NONE: not outstanding
    indicated_round: int = 5  # if outstanding: the round that indicated it
    arrived_ns: int = 5  # if pending: its frame's arrival time
    returned_round: int = 6  # last round that returned this buffer after an earlier round indicated it,
    returned_due_ns: int = 7  # and its due time then: needed to undo that round


BUFFER: Final = BufferColumns()
BUFFER_ROW: Final = 8
FRAME_WIRE_SHIFT: Final = 16
FRAME_TAG_SHIFT: Final = 32


class FrameColumns(NamedTuple):
    """A steered frame's row (int64), as its shard reads it."""

    arrival_ns: int = 0
    place: int = 1  # bits 0-31: offset in the batch's data; 32-47: bytes captured; 48-63: on the wire
    target: int = 2  # a target word, as below
    switch: int = 3  # a switch word, as below, with bit 40: remove the VLAN tag; 48-63: owning processor


FRAME: Final = FrameColumns()
FRAME_ROW: Final = 4  # half a cache line
CAPTURED_SHIFT: Final = 32
WIRE_SHIFT: Final = 48
OFFSET_MASK: Final = 0xFFFFFFFF
LENGTH_MASK: Final = 0xFFFF
TARGET_SLOT_SHIFT: Final = 32  # target word: the queue's slot; below it the credited filter plus one
TARGET_FILTER_MASK: Final = 0xFFFFFFFF
SWITCH_VM_MASK: Final = 0xFFFFFFFF  # switch word: the VM whose port matches, plus one
SWITCH_REASON_SHIFT: Final = 32  # the reason for the default queue, plus one; 0: not the default queue
SWITCH_REASON_MASK: Final = 0xFF
SWITCH_TAKE_TAG_OUT: Final = 1 << 40
SWITCH_OWNER_SHIFT: Final = 48
BLOCK_FRAMES: Final = 8192
"""Frames that are steered and sorted by owner at a time: few enough that their data stays in a core's cache,
many enough that each of many shards gets a run of frames, whose bytes can be prefetched."""


class TableColumns(NamedTuple):
    """A steering table's row (int64) for a MAC, or for a MAC and one of its several VLAN tests."""

    key: int = 0
    test: int = 1  # in a MAC's row: its only test, or a negative code for "no test" or "several tests"
    target: int = 2  # target and switch word of frames that pass that test
    switch: int = 3
    other_target: int = 4  # the same for frames of the MAC that pass no test
    other_switch: int = 5


TABLE: Final = TableColumns()
TABLE_ROW: Final = 8  # one cache line, so that a probe reads one
EMPTY_KEY: Final = -1


class TopColumns(NamedTuple):
    """A row of the sketch of destinations in queue 0 (int64, ``engine.kernels.top``)."""

    key: int = 0  # MAC << 16 | VID
    frames: int = 1  # 0: the row is free
    error: int = 2  # frames that may belong to other keys
    reason: int = 3  # reason of the last frame


TOP: Final = TopColumns()
TOP_ROW: Final = len(TOP)
TOP_PAIRS: Final = 512


class AdapterColumns(NamedTuple):
    """An adapter's row (int64), read by shards."""

    slot_base: int = 0
    filter_base: int = 1
    table_base: int = 2
    table_mask: int = 3
    max_frame_bytes: int = 4
    buffer_base: int = 5
    bytes_base: int = 6
    stride: int = 7
    takes_tag_out: int = 8  # 1: removes VLAN tags (NDIS 6.30 and later)
    numa_node: int = 9
    vm_base: int = 10


ADAPTER: Final = AdapterColumns()
ADAPTER_ROW: Final = 16


class CostColumns(NamedTuple):
    """A processor's row of the CPU model's parameters (int64); costs are in cycles."""

    interrupt: int = 0
    dpc: int = 1
    frame: int = 2
    byte: int = 3  # copying a byte takes byte / byte_divisor cycles,
    remote_byte: int = 4  # from another NUMA node remote_byte / byte_divisor
    byte_divisor: int = 5
    ns: int = 6  # a cycle takes ns / ns_divisor ns, with the SMT sibling's share of the clock subtracted
    ns_divisor: int = 7
    numa_node: int = 8
    moderation_ns: int = 9
    quota: int = 10


COST: Final = CostColumns()
COST_ROW: Final = 16

LATENCY_BUCKETS: Final = 144  # buckets of a histogram, whole cache lines
NONE: Final = -1
NEVER_NS: Final = 2**62
PAGE_BYTES: Final = 4096
SWITCH_PLACES: Final = 8
"""Places in a VM's memory for frames that the switch copies from queues without a VM; index: cpu modulo this.

Queue 0 alone needs one place; the others separate further such queues, which run on other processors.
"""
BATCHES: Final = 4
"""Frame batches: two rounds in progress serve one each, the next is steered, one more is filled."""


@dataclass(frozen=True)
class AdapterSizes:
    """Numbers of rows and buffers of one adapter."""

    queues: int  # ids 0..queues-1
    filters: int  # ids 0..filters-1; 0 is never assigned
    table_rows: int  # a power of two
    buffers: int
    max_frame_bytes: int
    vms: int  # indices 0..vms-1

    @property
    def stride(self) -> int:
        """Bytes from one receive buffer to the next: an odd number of cache lines, so that the first lines
        of the buffers, which every frame touches, spread over all sets of a cache."""
        return (-(-self.max_frame_bytes // 64) | 1) * 64

    @property
    def bytes(self) -> int:
        """Bytes of all receive buffers, in whole pages."""
        return -(-self.buffers * self.stride // PAGE_BYTES) * PAGE_BYTES


def batch_frames_for(cpus: int) -> int:
    """Return a batch's capacity in frames: larger for many shards, because each round costs a shard the same;
    small for few shards, so that the batches in progress fit a cache of about 32 MiB."""
    return 32_768 * min(8, max(1, cpus // 8 * 2))


@dataclass(frozen=True)
class Sizes:
    """Numbers of rows and buffers of a whole host."""

    cpus: int
    adapters: tuple[AdapterSizes, ...]
    batch_frames: int = 65_536
    batch_bytes: int = 16 << 20

    @property
    def blocks(self) -> int:
        """Blocks of frames in a batch."""
        return -(-self.batch_frames // BLOCK_FRAMES)

    @property
    def guest_pages(self) -> int:
        """Pages of guest memory: twice the pages in use, so that no allocation fails (``Extents``)."""
        per_buffer = max(-(-adapter.stride // PAGE_BYTES) for adapter in self.adapters)
        used = sum(
            adapter.bytes // PAGE_BYTES
            + adapter.queues * per_buffer
            + adapter.vms * -(-self.switch_places * adapter.stride // PAGE_BYTES)
            for adapter in self.adapters
        )
        return 2 * used + per_buffer

    @property
    def switch_places(self) -> int:
        """The number of SWITCH_PLACES in use: fewer if there are fewer processors."""
        return min(self.cpus, SWITCH_PLACES)

    @property
    def vms(self) -> int:
        """VMs of all adapters."""
        return sum(adapter.vms for adapter in self.adapters)

    @property
    def slots(self) -> int:
        """Queues of all adapters."""
        return sum(adapter.queues for adapter in self.adapters)

    @property
    def filters(self) -> int:
        """Filters of all adapters."""
        return sum(adapter.filters for adapter in self.adapters)

    @property
    def buffers(self) -> int:
        """Receive buffers of all adapters."""
        return sum(adapter.buffers for adapter in self.adapters)


Int = int | np.int64
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]


class Views(NamedTuple):
    """All arrays of the receive path, as views of shared memory; kernels take it as one argument."""

    queues: I64  # (2, slots, QUEUE_ROW)
    latency: I64  # (2, slots, LATENCY_BUCKETS) indicated frames by waiting time
    cpus: I64  # (2, cpus, CPU_ROW)
    top: I64  # (2, adapters, TOP_PAIRS, TOP_ROW) the bank is that of queue 0's processor
    costs: I64  # (cpus, COST_ROW)
    adapters: I64  # (adapters, ADAPTER_ROW)
    owner: I32  # (slots,) processor of each queue, NONE when not allocated
    belongs: I32  # (buffers,) slot that owns each buffer, NONE: a spare one of the adapter
    table: I64  # (rows, TABLE_ROW)
    buffer_rows: I64  # (buffers, BUFFER_ROW)
    buffer_bytes: NDArray[np.uint8]  # the management OS's memory
    guest_bytes: NDArray[np.uint8]  # the VMs', in extents of whole pages
    switch_at: I64  # (vms,) guest memory offset of frames from queues without a VM
    data: NDArray[np.uint8]  # (BATCHES, batch_bytes), and so on: the batches of traffic.batch
    offset: I64
    captured: NDArray[np.uint32]
    wire: NDArray[np.uint32]
    arrival_ns: I64
    adapter: NDArray[np.uint16]
    steered: I64  # (BATCHES, batch_frames, FRAME_ROW) frames of each block, by owning shard, in wire order
    next_block: I64  # (BATCHES, 8) [:, 0]: the next block to steer; the rest pads a cache line
    bounds: I32  # (BATCHES, blocks, cpus + 1) where each shard's part of each block begins in ``steered``


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """The shape of each view."""
    per_frame = (BATCHES, sizes.batch_frames)
    return {
        "queues": (2, sizes.slots, QUEUE_ROW),
        "latency": (2, sizes.slots, LATENCY_BUCKETS),
        "cpus": (2, sizes.cpus, CPU_ROW),
        "top": (2, len(sizes.adapters), TOP_PAIRS, TOP_ROW),
        "costs": (sizes.cpus, COST_ROW),
        "adapters": (len(sizes.adapters), ADAPTER_ROW),
        "owner": (sizes.slots,),
        "belongs": (sizes.buffers,),
        "table": (sum(adapter.table_rows for adapter in sizes.adapters), TABLE_ROW),
        "buffer_rows": (sizes.buffers, BUFFER_ROW),
        "buffer_bytes": (sum(adapter.bytes for adapter in sizes.adapters),),
        "guest_bytes": (sizes.guest_pages * PAGE_BYTES,),
        "switch_at": (sizes.vms,),
        "data": (BATCHES, sizes.batch_bytes),
        **dict.fromkeys(("offset", "captured", "wire", "arrival_ns", "adapter"), per_frame),
        "steered": (*per_frame, FRAME_ROW),
        "next_block": (BATCHES, 8),
        "bounds": (BATCHES, sizes.blocks, sizes.cpus + 1),
    }


def dtypes() -> dict[str, np.dtype[np.generic]]:
    """Return the dtype of each view, from its annotation in ``Views``."""
    return {name: np.dtype(_scalar(kind)) for name, kind in Views.__annotations__.items()}


def _scalar(kind: Any) -> Any:
    """Return the scalar type of an ``NDArray``, whose type arguments differ from NumPy 2.5 on."""
    last = get_args(kind)[-1]
    return get_args(last)[0] if get_args(last) else last
