"""Where everything of the receive path lies in shared memory.

Both sides compute the same offsets from the same ``Sizes``, so a worker needs a few names and sizes and
nothing else. A *slot* is a (adapter, queue id) pair: ``slot_base[adapter] + queue_id``, so that slots
sort as (adapter, queue id). Buffers and filters of all adapters are numbered the same way.

Rows of queues and processors are kept in two *banks*. A shard reads its rows from the published bank,
works on the other, and the conductor switches when the shard has replied: a shard that dies leaves
the published rows as they were.
"""

from dataclasses import dataclass, fields
from math import prod
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from engine.ndis import counters

# --- a queue's row (int64) ---------------------------------------------------------------------
QUEUE_COLUMNS: Final = (
    # What every frame touches comes first: two cache lines.
    "steered_frames",
    "steered_bytes",
    "received_frames",
    "indicated_frames",
    "returned_frames",
    "switch_dropped_frames",
    "dropped_no_buffer",
    "outstanding",
    "pending",
    "free_buffers",
    "free_head",  # stack of free buffers
    "pending_head",  # frames received, in order
    "pending_tail",
    "armed_ns",  # when its DPC was armed; NONE: idle or in service
    "dpc_cpu",  # processor of the DPC in progress; NONE: none
    "lookahead_bytes",  # split at this many bytes, the rest in guest memory; 0: no split
    "armed_by_interrupt",  # 1: a frame armed it; 0: its last DPC left frames behind
    "interrupts",
    "dpcs",
    "dpc_end_ns",
    "dpc_frames",  # frames that DPC will indicate
    "copied_bytes_limit",  # most bytes of a frame a DPC copies
    "return_delay_ns",
    "held",  # 1: its VM is paused and returns nothing
    "vm",  # whose queue it is, an index of the adapter's; NONE: nobody's
    "total_buffers",
    "target_buffers",  # what total_buffers shrinks to
    "outstanding_head",  # buffers with the VM, in order of return
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
    INDICATED,
    RETURNED,
    SWITCH_DROPPED,
    DROPPED,
    OUTSTANDING,
    PENDING,
    FREE,
    FREE_HEAD,
    PENDING_HEAD,
    PENDING_TAIL,
    ARMED_NS,
    DPC_CPU,
    LOOKAHEAD_BYTES,
    ARMED_BY_INTERRUPT,
    INTERRUPTS,
    DPCS,
    DPC_END_NS,
    DPC_FRAMES,
    COPIED_BYTES_LIMIT,
    RETURN_DELAY_NS,
    HELD,
    VM,
    TOTAL,
    TARGET,
    OUTSTANDING_HEAD,
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
QUEUE_ROW: Final = 40  # whole cache lines

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
    "last_event_ns",
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
    CPU_LAST_EVENT_NS,
) = range(len(CPU_COLUMNS))
CPU_ROW: Final = 16

# --- a receive buffer's row (int64) --------------------------------------------------------------
NEXT: Final = 0  # next buffer of the list it is in
FRAME: Final = 1  # bits 0-15: bytes held; 16-31: bytes on the wire; 32-48: tag taken out of it, plus one
PORT_VM: Final = 2  # VM the switch gives the frame to, or NONE
GUEST_AT: Final = 3  # where in guest memory its VM sees the frame; NONE: the queue is nobody's
DUE_NS: Final = 4  # outstanding until; NONE: not outstanding
INDICATED_ROUND: Final = 5
RETURNED_ROUND: Final = 6  # last round that returned a buffer indicated in an earlier round,
RETURNED_DUE_NS: Final = 7  # and its due time: what undoes that round
BUFFER_ROW: Final = 8
FRAME_WIRE_SHIFT: Final = 16
FRAME_TAG_SHIFT: Final = 32
FRAME_LENGTH_MASK: Final = 0xFFFF

# --- a steering table's row (int64) ---------------------------------------------------------------
ROW_KEY: Final = 0
ROW_QUEUE: Final = 1
ROW_FILTER: Final = 2
ROW_DEFAULT_FILTER: Final = 3
ROW_PORT_VM: Final = 4
TABLE_ROW: Final = 8  # one cache line a probe
EMPTY_KEY: Final = -1

# --- an adapter's row (int64): what shards need to know of it ------------------------------------
ADAPTER_SLOT_BASE: Final = 0
ADAPTER_FILTER_BASE: Final = 1
ADAPTER_TABLE_BASE: Final = 2
ADAPTER_TABLE_MASK: Final = 3
ADAPTER_HAS_ANY: Final = 4  # 1: some row tests the MAC alone
ADAPTER_MAX_FRAME_BYTES: Final = 5
ADAPTER_BUFFER_BASE: Final = 6
ADAPTER_BYTES_BASE: Final = 7
ADAPTER_STRIDE: Final = 8
ADAPTER_TAKES_TAG_OUT: Final = 9  # 1: NDIS 6.30 and later
ADAPTER_NUMA_NODE: Final = 10
ADAPTER_VM_BASE: Final = 11
ADAPTER_ROW: Final = 16

# --- the cost of serving, a row a processor (int64) -----------------------------------------------
COST_INTERRUPT: Final = 0
COST_DPC: Final = 1
COST_FRAME: Final = 2
COST_BYTE_MILLI: Final = 3  # thousandths of a cycle
COST_REMOTE_BYTE_MILLI: Final = 4
COST_MHZ: Final = 5  # what the sibling leaves of the clock
COST_NUMA_NODE: Final = 6
COST_MODERATION_NS: Final = 7
COST_QUOTA: Final = 8
COST_ROW: Final = 16

NONE: Final = -1
NEVER_NS: Final = 2**62
PAGE_BYTES: Final = 4096
SWITCH_PLACES: Final = 8
"""Places a VM has for frames that the switch brings from nobody's queues, by processor, modulo this.

Queue 0 alone needs one; the others keep more such queues, on other processors, apart from it.
"""
HALVES: Final = 2
"""Frame batches: while shards work on one, the source fills the other."""


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


@dataclass(frozen=True)
class Sizes:
    """What a whole host needs room for."""

    cpus: int
    adapters: tuple[AdapterSizes, ...]
    batch_frames: int = 65_536
    batch_bytes: int = 16 << 20

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


@dataclass(frozen=True, eq=False)
class Views:
    """Every array of the receive path, as views of shared memory."""

    queues: I64  # (2, slots, QUEUE_ROW)
    cpus: I64  # (2, cpus, CPU_ROW)
    costs: I64  # (cpus, COST_ROW)
    adapters: I64  # (adapters, ADAPTER_ROW)
    owner: I32  # (slots,) processor of each queue, NONE when not allocated
    belongs: I32  # (buffers,) slot that owns each buffer, NONE: the adapter's spare
    table: I64  # (rows, TABLE_ROW)
    buffer_rows: I64  # (buffers, BUFFER_ROW)
    buffer_bytes: NDArray[np.uint8]  # the management OS's memory
    guest_bytes: NDArray[np.uint8]  # the VMs', in extents of whole pages
    switch_at: I64  # (vms,) where in guest memory the switch puts what comes from nobody's queues
    data: NDArray[np.uint8]  # (2, batch_bytes), and so on: the batches of traffic.batch
    offset: I64
    captured: NDArray[np.uint32]
    wire: NDArray[np.uint32]
    arrival_ns: I64
    adapter: NDArray[np.uint16]
    slot: I32  # (2, batch_frames) what steering found: the queue's slot, NONE for a port error
    credit: I32  # filter credited, NONE: none
    port_vm: I32  # VM whose port fits, NONE: none
    reason: NDArray[np.uint8]  # why the default queue has it
    order: I32  # frame numbers of each slice, by owning shard, in wire order
    bounds: I32  # (2, cpus, cpus + 1) where each shard's part of each slice begins in ``order``


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    per_frame = (HALVES, sizes.batch_frames)
    return {
        "queues": (2, sizes.slots, QUEUE_ROW),
        "cpus": (2, sizes.cpus, CPU_ROW),
        "costs": (sizes.cpus, COST_ROW),
        "adapters": (len(sizes.adapters), ADAPTER_ROW),
        "owner": (sizes.slots,),
        "belongs": (sizes.buffers,),
        "table": (sum(adapter.table_rows for adapter in sizes.adapters), TABLE_ROW),
        "buffer_rows": (sizes.buffers, BUFFER_ROW),
        "buffer_bytes": (sum(adapter.bytes for adapter in sizes.adapters),),
        "guest_bytes": (sizes.guest_pages * PAGE_BYTES,),
        "switch_at": (sizes.vms,),
        "data": (HALVES, sizes.batch_bytes),
        "bounds": (HALVES, sizes.cpus, sizes.cpus + 1),
        **dict.fromkeys(
            ("offset", "captured", "wire", "arrival_ns", "adapter", "slot", "credit", "port_vm"), per_frame
        ),
        "reason": per_frame,
        "order": per_frame,
    }


def _dtypes() -> dict[str, np.dtype[np.generic]]:
    """The dtype each view is annotated with: one home for shape's other half."""
    return {field.name: np.dtype(get_args(get_args(field.type)[1])[0]) for field in fields(Views)}


def total_bytes(sizes: Sizes) -> int:
    """Bytes of shared memory a host of these sizes takes."""
    dtypes = _dtypes()
    return sum(
        -(-prod(shape) * dtypes[name].itemsize // PAGE_BYTES) * PAGE_BYTES
        for name, shape in _shapes(sizes).items()
    )


def lay_out(memory: memoryview, sizes: Sizes) -> Views:
    """The views of a block of ``total_bytes(sizes)`` bytes; each starts on a page of its own."""
    dtypes = _dtypes()
    views: dict[str, NDArray[np.generic]] = {}
    offset = 0
    for name, shape in _shapes(sizes).items():
        dtype = dtypes[name]
        size = prod(shape)
        views[name] = np.frombuffer(memory, dtype, size, offset).reshape(shape)
        offset += -(-size * dtype.itemsize // PAGE_BYTES) * PAGE_BYTES
    return Views(**views)  # type: ignore[arg-type]  # the dtypes are the annotations' own
