"""Where everything of the receive path lies in shared memory.

Both sides compute the same offsets from the same ``Sizes``, so a worker needs a few names and sizes and
nothing else. A *slot* is a (adapter, queue id) pair: ``slot_base[adapter] + queue_id``, so that slots
sort as (adapter, queue id). Buffers and filters of all adapters are numbered the same way.

Rows of queues and processors are kept in two *banks*. A shard reads its rows from the published bank,
works on the other, and the conductor switches when the shard has replied: a shard that dies leaves
the published rows as they were.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from engine.ndis import counters

# --- a queue's row (int64) ---------------------------------------------------------------------
QUEUE_COLUMNS: Final = (
    # One cache line: what every arriving frame touches.
    "steered_frames",
    "steered_bytes",
    "received_frames",
    "pending",
    "pending_tail",
    "free_buffers",
    "free_head",  # stack of free buffers
    "armed_ns",  # when its DPC was armed; NONE: idle; IN_SERVICE: in a DPC
    # What it reads besides.
    "pending_bytes",  # bytes that DPCs will copy for what is pending
    "copied_bytes_limit",  # most bytes of a frame a DPC copies
    "low_free_buffers",  # fewest free since total_buffers last changed
    "host_at",  # buffer b lies at host_at + b * stride
    "stride",
    "lookahead_bytes",  # split at this many bytes, the rest in guest memory; 0: no split
    "outstanding_head",  # buffers with the VM, in order of return
    "dropped_no_buffer",
    # What a DPC touches.
    "pending_head",  # frames received, in order
    "indicated_frames",
    "returned_frames",
    "switch_dropped_frames",
    "dpc_end_ns",
    "dpc_frames",  # frames that DPC will indicate
    "armed_by_interrupt",  # 1: a frame armed it; 0: its last DPC left frames behind
    "interrupts",
    "dpcs",
    "dpc_cpu",  # processor of the DPC in progress; NONE: none
    "return_delay_ns",
    "held",  # 1: its VM is paused and returns nothing
    "vm",  # whose queue it is, an index of the adapter's; NONE: nobody's
    "total_buffers",
    "target_buffers",  # what total_buffers shrinks to
    "adapter",
    # The rest.
    "outstanding",
    "latency_max_ns",  # longest that a frame waited to be indicated
    "latency_from",  # the buckets of ``latency`` that are in use: from this one
    "latency_to",  # up to this one, exclusive
    "outstanding_tail",
    "surrendered_head",  # buffers given up by a queue that shrinks, for the conductor to collect
    "discarded_frames",
    "lost_frames",
    *counters.names(counters.DEFAULT_QUEUE_REASONS),
)
(
    STEERED_FRAMES,
    STEERED_BYTES,
    RECEIVED,
    PENDING,
    PENDING_TAIL,
    FREE,
    FREE_HEAD,
    ARMED_NS,
    PENDING_BYTES,
    COPIED_BYTES_LIMIT,
    LOW_FREE,
    HOST_AT,
    STRIDE,
    LOOKAHEAD_BYTES,
    OUTSTANDING_HEAD,
    DROPPED,
    PENDING_HEAD,
    INDICATED,
    RETURNED,
    SWITCH_DROPPED,
    DPC_END_NS,
    DPC_FRAMES,
    ARMED_BY_INTERRUPT,
    INTERRUPTS,
    DPCS,
    DPC_CPU,
    RETURN_DELAY_NS,
    HELD,
    VM,
    TOTAL,
    TARGET,
    ADAPTER,
    OUTSTANDING,
    LATENCY_MAX_NS,
    LATENCY_FROM,
    LATENCY_TO,
    OUTSTANDING_TAIL,
    SURRENDERED_HEAD,
    DISCARDED,
    LOST,
    BROADCAST,
    MULTICAST,
    NO_QUEUE,
    VLAN_MISMATCH,
    UNKNOWN_UNICAST,
) = range(len(QUEUE_COLUMNS))
QUEUE_COUNTERS: Final = tuple(QUEUE_COLUMNS.index(name) for name in counters.names(counters.QUEUE))
"""Where the counters of the registry are, in its order."""
FIRST_REASON: Final = BROADCAST
QUEUE_ROW: Final = 48  # whole cache lines
IN_SERVICE: Final = -2

# --- a processor's row (int64) -----------------------------------------------------------------
CPU_COLUMNS: Final = (
    "busy_cycles",
    "interrupts",
    "dpcs",
    "indicated_frames",
    "free_ns",  # end of the DPC in progress, or of the last one
    "dpc_slot",  # queue of the DPC in progress; NONE: none
    "dpc_frames",
    "dpc_cycles",
    "next_event_ns",  # nothing of this shard happens before
)
(
    CPU_BUSY_CYCLES,
    CPU_INTERRUPTS,
    CPU_DPCS,
    CPU_INDICATED,
    CPU_FREE_NS,
    CPU_DPC_SLOT,
    CPU_DPC_FRAMES,
    CPU_DPC_CYCLES,
    CPU_NEXT_EVENT_NS,
) = range(len(CPU_COLUMNS))
CPU_ROW: Final = 16

# --- a receive buffer's row (int64) --------------------------------------------------------------
NEXT: Final = 0  # next buffer of the list it is in
FRAME: Final = 1  # bits 0-15: bytes held; 16-31: bytes on the wire; 32-48: tag taken out of it, plus one
PORT_VM: Final = 2  # VM the switch gives the frame to, or NONE
GUEST_AT: Final = 3  # where in guest memory its VM sees the frame; NONE: the queue is nobody's
DUE_NS: Final = 4  # outstanding until; NONE: not outstanding
INDICATED_ROUND: Final = 5  # of an outstanding one
ARRIVED_NS: Final = 5  # of a pending one: when its frame arrived
RETURNED_ROUND: Final = 6  # last round that returned a buffer indicated in an earlier round,
RETURNED_DUE_NS: Final = 7  # and its due time: what undoes that round
BUFFER_ROW: Final = 8
FRAME_WIRE_SHIFT: Final = 16
FRAME_TAG_SHIFT: Final = 32

# --- a steered frame (int64): what its shard needs to know of it ----------------------------------
FRAME_ARRIVAL_NS: Final = 0
FRAME_PLACE: Final = 1  # bits 0-31: offset in the batch's data; 32-47: bytes captured; 48-63: on the wire
FRAME_TARGET: Final = 2  # a target, as below
FRAME_SWITCH: Final = 3  # a switch word, as below, and: bit 40: take the tag out; 48-63: owning processor
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
"""Frames are steered, and sorted by owner, so many at a time: what is noted of them stays in a core's cache,
and with many shards each still gets a run of frames, whose bytes can be asked for ahead."""

# --- a steering table's row (int64): a MAC, or a MAC and a test when it has several ----------------
ROW_KEY: Final = 0
ROW_TEST: Final = 1  # a row of a MAC: the only test of its own, or TEST_NONE, or TEST_MORE
ROW_TARGET: Final = 2  # frames that pass that test: target and switch word
ROW_SWITCH: Final = 3
ROW_OTHER_TARGET: Final = 4  # frames of the MAC that don't
ROW_OTHER_SWITCH: Final = 5
TABLE_ROW: Final = 8  # one cache line a probe
EMPTY_KEY: Final = -1

# --- a row of the sketch of what queue 0 takes (int64) ---------------------------------------------
TOP_KEY: Final = 0  # MAC << 16 | VID
TOP_FRAMES: Final = 1  # 0: the row is free
TOP_ERROR: Final = 2
TOP_REASON: Final = 3  # of the last frame
TOP_ROW: Final = 4
TOP_PAIRS: Final = 512

# --- an adapter's row (int64): what shards need to know of it ------------------------------------
ADAPTER_SLOT_BASE: Final = 0
ADAPTER_FILTER_BASE: Final = 1
ADAPTER_TABLE_BASE: Final = 2
ADAPTER_TABLE_MASK: Final = 3
ADAPTER_MAX_FRAME_BYTES: Final = 4
ADAPTER_BUFFER_BASE: Final = 5
ADAPTER_BYTES_BASE: Final = 6
ADAPTER_STRIDE: Final = 7
ADAPTER_TAKES_TAG_OUT: Final = 8  # 1: NDIS 6.30 and later
ADAPTER_NUMA_NODE: Final = 9
ADAPTER_VM_BASE: Final = 10
ADAPTER_ROW: Final = 16

# --- the cost of serving, a row a processor (int64) -----------------------------------------------
COST_INTERRUPT: Final = 0
COST_DPC: Final = 1
COST_FRAME: Final = 2
COST_BYTE: Final = 3  # copying a byte takes COST_BYTE / COST_BYTE_DIVISOR cycles,
COST_REMOTE_BYTE: Final = 4  # one of another node COST_REMOTE_BYTE / COST_BYTE_DIVISOR
COST_BYTE_DIVISOR: Final = 5
COST_NS: Final = 6  # a cycle takes COST_NS / COST_NS_DIVISOR ns of what the sibling leaves of the clock
COST_NS_DIVISOR: Final = 7
COST_NUMA_NODE: Final = 8
COST_MODERATION_NS: Final = 9
COST_QUOTA: Final = 10
COST_ROW: Final = 16

LATENCY_BUCKETS: Final = 144  # of ``latency``: whole cache lines
NONE: Final = -1
NEVER_NS: Final = 2**62
PAGE_BYTES: Final = 4096
SWITCH_PLACES: Final = 8
"""Places a VM has for frames that the switch brings from nobody's queues, by processor, modulo this.

Queue 0 alone needs one; the others keep more such queues, on other processors, apart from it.
"""
BATCHES: Final = 4
"""Frame batches: two rounds under way serve one each, the next is steered, one more is filled and steered."""


@dataclass(frozen=True)
class AdapterSizes:
    """What one adapter needs room for."""

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
    """What a whole host needs room for."""

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
        """How many of them can be in use."""
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
    switch_at: I64  # (vms,) where in guest memory the switch puts what comes from nobody's queues
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


def total_bytes(sizes: Sizes) -> int:
    """Bytes of shared memory a host of these sizes takes."""
    kinds = dtypes()
    return sum(
        -(-prod(shape) * kinds[name].itemsize // PAGE_BYTES) * PAGE_BYTES
        for name, shape in shapes(sizes).items()
    )


def lay_out(memory: memoryview, sizes: Sizes) -> Views:
    """The views of a block of ``total_bytes(sizes)`` bytes; each starts on a page of its own."""
    kinds = dtypes()
    views: dict[str, NDArray[np.generic]] = {}
    offset = 0
    for name, shape in shapes(sizes).items():
        dtype = kinds[name]
        size = prod(shape)
        views[name] = np.frombuffer(memory, dtype, size, offset).reshape(shape)
        offset += -(-size * dtype.itemsize // PAGE_BYTES) * PAGE_BYTES
    return Views(**views)  # type: ignore[arg-type]  # the dtypes are the annotations' own
