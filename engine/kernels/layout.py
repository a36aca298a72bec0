"""The layout of the receive path in shared memory.

Both sides compute the same offsets from the same ``Sizes``, so a worker needs a few names and sizes and
nothing else. A *slot* is a (adapter, queue id) pair: ``slot_base[adapter] + queue_id``, so that slots
sort as (adapter, queue id). Buffers and filters of all adapters are numbered the same way.

Rows of queues and processors are kept in two *banks*. A shard reads its rows from the published bank,
works on the other, and the conductor switches when the shard has replied: a shard that dies leaves
the published rows as they were.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from engine.ndis import counters

# Columns are fields of a named tuple, which kernels read as constants: ``queue[Q.pending]``.


class QueueColumns(NamedTuple):
    """A queue's row (int64)."""

    # One cache line: what every arriving frame touches.
    steered_frames: int
    steered_bytes: int
    received_frames: int
    pending: int
    pending_tail: int
    free_buffers: int
    free_head: int  # stack of free buffers
    armed_ns: int  # when its DPC was armed; NONE: idle; IN_SERVICE: in a DPC
    # What it reads besides.
    pending_bytes: int  # bytes that DPCs will copy for what is pending
    copied_bytes_limit: int  # most bytes of a frame a DPC copies
    low_free_buffers: int  # fewest free since total_buffers last changed
    host_at: int  # buffer b lies at host_at + b * stride
    stride: int
    lookahead_bytes: int  # split at this many bytes, the rest in guest memory; 0: no split
    outstanding_head: int  # buffers with the VM, in order of return
    dropped_no_buffer: int
    # What a DPC touches.
    pending_head: int  # frames received, in order
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
    vm: int  # the VM that has the queue, an index of the adapter's; NONE: no VM has it
    total_buffers: int
    target_buffers: int  # what total_buffers shrinks to
    adapter: int
    # The rest.
    outstanding: int
    latency_max_ns: int  # longest that a frame waited to be indicated
    latency_from: int  # the buckets of ``latency`` that are in use: from this one
    latency_to: int  # up to this one, exclusive
    outstanding_tail: int
    surrendered_head: int  # buffers given up by a queue that shrinks, for the conductor to collect
    discarded_frames: int
    lost_frames: int
    # Frames that the default queue has, by reason: ``counters.DEFAULT_QUEUE_REASONS``, in its order.
    broadcast: int
    multicast: int
    no_queue: int
    vlan_mismatch: int
    unknown_unicast: int


Q: Final = QueueColumns(*range(len(QueueColumns._fields)))
QUEUE_COLUMNS: Final = Q._fields
QUEUE_COUNTERS: Final = tuple(QUEUE_COLUMNS.index(name) for name in counters.names(counters.QUEUE))
"""Where the counters of the registry are, in its order."""
FIRST_REASON: Final = Q.broadcast
assert QUEUE_COLUMNS[FIRST_REASON:] == counters.names(counters.DEFAULT_QUEUE_REASONS)
QUEUE_ROW: Final = 48  # whole cache lines
IN_SERVICE: Final = -2


class ReasonCodes(NamedTuple):
    """Why the default queue has a frame: the columns of ``counters.DEFAULT_QUEUE_REASONS`` from the first."""

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
    next_event_ns: int  # nothing of this shard happens before


CPU: Final = CpuColumns(*range(len(CpuColumns._fields)))
CPU_COLUMNS: Final = CPU._fields
CPU_ROW: Final = 16


class PortColumns(NamedTuple):
    """Counters of an adapter's port (int64), those of ``counters.PORT``."""

    offered_frames: int
    offered_bytes: int
    runt: int
    oversize: int


PORT: Final = PortColumns(*range(len(PortColumns._fields)))
PORT_COUNTERS: Final = len(PORT)
assert PORT._fields == counters.names(counters.PORT)


class BufferColumns(NamedTuple):
    """A receive buffer's row (int64)."""

    next: int = 0  # next buffer of the list it is in
    frame: int = 1  # bits 0-15: bytes held; 16-31: bytes on the wire; 32-48: tag taken out of it, plus one
    port_vm: int = 2  # VM the switch gives the frame to, or NONE
    guest_at: int = 3  # where in guest memory its VM sees the frame; NONE: the queue has no VM
    due_ns: int = 4  # outstanding until; NONE: not outstanding
    indicated_round: int = 5  # of an outstanding one
    arrived_ns: int = 5  # of a pending one: when its frame arrived
    returned_round: int = 6  # last round that returned a buffer indicated in an earlier round,
    returned_due_ns: int = 7  # and its due time: what undoes that round


BUFFER: Final = BufferColumns()
BUFFER_ROW: Final = 8
FRAME_WIRE_SHIFT: Final = 16
FRAME_TAG_SHIFT: Final = 32


class FrameColumns(NamedTuple):
    """A steered frame (int64): what its shard needs to know of it."""

    arrival_ns: int = 0
    place: int = 1  # bits 0-31: offset in the batch's data; 32-47: bytes captured; 48-63: on the wire
    target: int = 2  # a target, as below
    switch: int = 3  # a switch word, as below, and: bit 40: take the tag out; 48-63: owning processor


FRAME: Final = FrameColumns()
FRAME_ROW: Final = 4  # half a cache line
CAPTURED_SHIFT: Final = 32
WIRE_SHIFT: Final = 48
OFFSET_MASK: Final = 0xFFFFFFFF
LENGTH_MASK: Final = 0xFFFF
TARGET_SLOT_SHIFT: Final = 32  # of a target: the queue's slot; below it the filter credited, plus one
TARGET_FILTER_MASK: Final = 0xFFFFFFFF
SWITCH_VM_MASK: Final = 0xFFFFFFFF  # of a switch word: the VM whose port fits, plus one
SWITCH_REASON_SHIFT: Final = 32  # why the default queue has it, plus one; 0: another queue has it
SWITCH_REASON_MASK: Final = 0xFF
SWITCH_TAKE_TAG_OUT: Final = 1 << 40
SWITCH_OWNER_SHIFT: Final = 48
BLOCK_FRAMES: Final = 8192
"""Frames are steered, and sorted by owner, so many at a time: their data stays in a core's cache,
and with many shards each still gets a run of frames, whose bytes can be prefetched."""


class TableColumns(NamedTuple):
    """A steering table's row (int64): a MAC, or a MAC and a test when it has several."""

    key: int = 0
    test: int = 1  # a row of a MAC: the only test of its own, or that it has none, or more than one
    target: int = 2  # frames that pass that test: target and switch word
    switch: int = 3
    other_target: int = 4  # frames of the MAC that don't
    other_switch: int = 5


TABLE: Final = TableColumns()
TABLE_ROW: Final = 8  # one cache line a probe
EMPTY_KEY: Final = -1


class TopColumns(NamedTuple):
    """A row of the sketch of what queue 0 takes (int64)."""

    key: int = 0  # MAC << 16 | VID
    frames: int = 1  # 0: the row is free
    error: int = 2
    reason: int = 3  # of the last frame


TOP: Final = TopColumns()
TOP_ROW: Final = len(TOP)
TOP_PAIRS: Final = 512


class AdapterColumns(NamedTuple):
    """An adapter's row (int64): what shards need to know of it."""

    slot_base: int = 0
    filter_base: int = 1
    table_base: int = 2
    table_mask: int = 3
    max_frame_bytes: int = 4
    buffer_base: int = 5
    bytes_base: int = 6
    stride: int = 7
    takes_tag_out: int = 8  # 1: NDIS 6.30 and later
    numa_node: int = 9
    vm_base: int = 10


ADAPTER: Final = AdapterColumns()
ADAPTER_ROW: Final = 16


class CostColumns(NamedTuple):
    """The cost of serving, a row a processor (int64)."""

    interrupt: int = 0
    dpc: int = 1
    frame: int = 2
    byte: int = 3  # copying a byte takes byte / byte_divisor cycles,
    remote_byte: int = 4  # one of another node remote_byte / byte_divisor
    byte_divisor: int = 5
    ns: int = 6  # a cycle takes ns / ns_divisor ns of what the sibling leaves of the clock
    ns_divisor: int = 7
    numa_node: int = 8
    moderation_ns: int = 9
    quota: int = 10


COST: Final = CostColumns()
COST_ROW: Final = 16

LATENCY_BUCKETS: Final = 144  # of ``latency``: whole cache lines
NONE: Final = -1
NEVER_NS: Final = 2**62
PAGE_BYTES: Final = 4096
SWITCH_PLACES: Final = 8
"""Places a VM has for frames that the switch brings from queues without a VM, by processor, modulo this.

Queue 0 alone needs one; the others keep more such queues, on other processors, apart from it.
"""
BATCHES: Final = 4
"""Frame batches: two rounds under way serve one each, the next is steered, one more is filled and steered."""


@dataclass(frozen=True)
class AdapterSizes:
    """How many rows and buffers one adapter has."""

    queues: int  # ids 0..queues-1
    filters: int  # ids 0..filters-1; 0 is never given out
    table_rows: int  # a power of two
    buffers: int
    max_frame_bytes: int
    vms: int  # indices 0..vms-1

    @property
    def stride(self) -> int:
        """Bytes from one receive buffer to the next: an odd number of cache lines, so that their first
        lines, which every frame touches, spread over all sets of a cache."""
        return (-(-self.max_frame_bytes // 64) | 1) * 64

    @property
    def bytes(self) -> int:
        """Bytes of all receive buffers, in whole pages."""
        return -(-self.buffers * self.stride // PAGE_BYTES) * PAGE_BYTES


def batch_frames_for(cpus: int) -> int:
    """Frames a batch has room for: more for many shards, as a hand-over costs each of them the same; few for
    few, so that the batches under way stay in a cache of some 32 MiB."""
    return 32_768 * min(8, max(1, cpus // 8 * 2))


@dataclass(frozen=True)
class Sizes:
    """How many rows and buffers a whole host has."""

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
        """Pages of guest memory: enough that no pattern of frees leaves a gap too small (``extents``)."""
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
        """How many of SWITCH_PLACES can be in use."""
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
    """Every array of the receive path, as views of shared memory; kernels take it whole."""

    queues: I64  # (2, slots, QUEUE_ROW)
    latency: I64  # (2, slots, LATENCY_BUCKETS) frames indicated, by how long they had waited
    cpus: I64  # (2, cpus, CPU_ROW)
    top: I64  # (2, adapters, TOP_PAIRS, TOP_ROW) banks as of the processor of queue 0
    costs: I64  # (cpus, COST_ROW)
    adapters: I64  # (adapters, ADAPTER_ROW)
    owner: I32  # (slots,) processor of each queue, NONE when not allocated
    belongs: I32  # (buffers,) slot that owns each buffer, NONE: the adapter's spare
    table: I64  # (rows, TABLE_ROW)
    buffer_rows: I64  # (buffers, BUFFER_ROW)
    buffer_bytes: NDArray[np.uint8]  # the management OS's memory
    guest_bytes: NDArray[np.uint8]  # the VMs', in extents of whole pages
    switch_at: I64  # (vms,) where the switch puts frames from queues without a VM
    data: NDArray[np.uint8]  # (BATCHES, batch_bytes), and so on: the batches of traffic.batch
    offset: I64
    captured: NDArray[np.uint32]
    wire: NDArray[np.uint32]
    arrival_ns: I64
    adapter: NDArray[np.uint16]
    steered: I64  # (BATCHES, batch_frames, FRAME_ROW) frames of each block, by owning shard, in wire order
    next_block: I64  # (BATCHES, 8) first of a cache line: the first block that no shard has taken to steer
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
    """The dtype each view is annotated with: one home for shape's other half."""
    return {name: np.dtype(_scalar(kind)) for name, kind in Views.__annotations__.items()}


def _scalar(kind: Any) -> Any:
    """The scalar type of an ``NDArray``, an alias that NumPy 2.5 no longer spells out."""
    last = get_args(kind)[-1]
    return get_args(last)[0] if get_args(last) else last
