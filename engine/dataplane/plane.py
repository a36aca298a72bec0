"""The data plane of a host between two rounds: its shared memory, effects of requests, and readings.

Call everything here from the conductor's thread, and only while no shard runs: during a round
(``workers.rounds``) the published rows must not be accessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.dataplane import ownership
from engine.dataplane.costs import Costs
from engine.dataplane.guests import Guests, read
from engine.dataplane.memory import Block
from engine.kernels import layout
from engine.kernels.jit import places_of
from engine.kernels.layout import (
    ADAPTER,
    BUFFER,
    CPU,
    I32,
    I64,
    NEVER_NS,
    NONE,
    PORT_COUNTERS,
    TABLE,
    AdapterSizes,
    Q,
    Sizes,
)
from engine.kernels.steer import Rows, write_table
from engine.ndis.effects import (
    CloseQueue,
    DiscardPending,
    Effect,
    ForgetVm,
    HoldBuffers,
    MoveQueue,
    NewFilter,
    OpenQueue,
    QueueGauges,
    ReturnBuffers,
    SetBuffers,
    SplitBuffers,
)
from engine.ndis.steering import SteeringRows
from engine.scenario.model import Scenario
from engine.traffic.batch import FrameBatch

_CHAINS: Final = (
    Q.free_head,
    Q.pending_head,
    Q.pending_tail,
    Q.outstanding_head,
    Q.outstanding_tail,
    Q.surrendered_head,
)


@dataclass(frozen=True)
class AdapterNeeds:
    """Upper bounds for one adapter: the numbers of steering rows and of VMs."""

    steering_rows: int
    vms: int


@dataclass(frozen=True, eq=False)
class Reading:
    """Counters of a host at one simulated time: copies, in the layout's columns.

    ``queues`` (slots, QUEUE_ROW), ``latency`` (slots, LATENCY_BUCKETS), ``freed`` (adapters, QUEUE_ROW) the
    sums of freed queues, ``cpus`` (cpus, CPU_ROW), ``top`` (adapters, TOP_PAIRS, TOP_ROW) the sketches of
    queue 0, ``budget_cycles`` by processor (they saturate at 2**64 - 1, 224 years at 2.6 GHz), ``owner``
    (slots,) processor or NONE, ``port`` (adapters, PORT_COUNTERS), ``matched`` (filters,) frames.
    """

    sim_time_ns: int
    queues: I64
    latency: I64
    freed: I64
    cpus: I64
    top: I64
    budget_cycles: list[int]
    owner: I32
    port: I64
    matched: I64


class Plane:
    """The state of the receive path between two rounds, and the effects of requests on it.

    ``former`` is a plane of the same scenario, which must not be used any more once this one has taken
    its shared memory over. Raises NotEnoughMemoryError before it allocates anything.
    """

    def __init__(
        self, scenario: Scenario, needs: Sequence[AdapterNeeds], former: "Plane | None" = None
    ) -> None:
        self.sizes = Sizes(
            scenario.host.cpus,
            tuple(
                AdapterSizes(
                    adapter.max_queues + 1,
                    adapter.max_filters + 1,
                    1 << (2 * need.steering_rows).bit_length(),
                    adapter.total_buffers,
                    adapter.max_frame_bytes,
                    need.vms,
                )
                for adapter, need in zip(scenario.adapter, needs, strict=True)
            ),
            layout.batch_frames_for(scenario.host.cpus),
        )
        self.now_ns = 0
        self.steering_version = 0  # incremented when steered batches must be steered again
        if former is None:
            self._block = Block(self.sizes)
        else:
            self._block = former._block
        try:
            self._prepare(scenario, new=former is None)
        except BaseException:
            if former is None:
                self._block.close()
            raise
        if former is not None:
            former._forget_views()

    def _prepare(self, scenario: Scenario, *, new: bool) -> None:
        """Fill the block and make the objects that refer to it."""
        if not new:
            self._block.clear()
        self.views = self._block.views
        self.places = places_of(self.views)
        cpus, adapters = self.sizes.cpus, len(self.sizes.adapters)
        self.bank = np.zeros(cpus, np.int64)
        self.port = np.zeros((adapters, PORT_COUNTERS), np.int64)
        self._freed = np.zeros((adapters, layout.QUEUE_ROW), np.int64)
        self.matched = np.zeros(self.sizes.filters, np.int64)
        self._shrinking: set[int] = set()
        try:
            self._describe(scenario)
            self._costs = Costs(scenario.cpu, scenario.host, self.views.costs)
        except BaseException:  # a scenario that nothing has checked
            del self.views
            self._block.close()
            raise
        self._guests = Guests(self.sizes, self.views)
        self.batches = tuple(
            FrameBatch(
                self.views.data[number],
                self.views.offset[number],
                self.views.captured[number],
                self.views.wire[number],
                self.views.arrival_ns[number],
                self.views.adapter[number],
            )
            for number in range(layout.BATCHES)
        )

    def _describe(self, scenario: Scenario) -> None:
        """Write the constant rows of adapters, and initialize the other tables."""
        views = self.views
        views.owner[:] = NONE
        views.belongs[:] = NONE
        views.buffer_rows[:, BUFFER.due_ns] = NONE
        views.buffer_rows[:, BUFFER.returned_round] = NONE
        slot = filters = table = buffers = octets = vms = 0
        for a, (spec, sizes) in enumerate(zip(scenario.adapter, self.sizes.adapters, strict=True)):
            row = views.adapters[a]
            row[ADAPTER.slot_base] = slot
            row[ADAPTER.filter_base] = filters
            row[ADAPTER.table_base] = table
            row[ADAPTER.max_frame_bytes] = sizes.max_frame_bytes
            row[ADAPTER.buffer_base] = buffers
            row[ADAPTER.bytes_base] = octets
            row[ADAPTER.stride] = sizes.stride
            row[ADAPTER.takes_tag_out] = spec.ndis_minor >= 30
            row[ADAPTER.numa_node] = spec.numa_node
            row[ADAPTER.vm_base] = vms
            views.table[table, TABLE.key] = layout.EMPTY_KEY
            slot += sizes.queues
            filters += sizes.filters
            table += sizes.table_rows
            buffers += sizes.buffers
            octets += sizes.bytes
            vms += sizes.vms
        views.cpus[:, :, CPU.dpc_slot] = NONE
        views.cpus[:, :, CPU.next_event_ns] = NEVER_NS

    # --- between rounds ------------------------------------------------------------------------

    def slot(self, adapter: int, queue_id: int) -> int:
        """Return the slot of a queue."""
        return int(self.views.adapters[adapter, ADAPTER.slot_base]) + queue_id

    def filter_base(self, adapter: int) -> int:
        """Return the index of an adapter's first filter in ``Reading.matched``."""
        return int(self.views.adapters[adapter, ADAPTER.filter_base])

    def row(self, slot: int) -> I64:
        """Return the published row of an allocated queue, as a view."""
        row: I64 = self.views.queues[self.bank[self.views.owner[slot]], slot]
        return row

    def latency(self, slot: int) -> I64:
        """Return the published latency histogram of an allocated queue, as a view."""
        latency: I64 = self.views.latency[self.bank[self.views.owner[slot]], slot]
        return latency

    def top(self, adapter: int) -> I64:
        """Return the published sketch of destinations in an adapter's queue 0, as a view."""
        top: I64 = self.views.top[self.bank[self.views.owner[self.slot(adapter, 0)]], adapter]
        return top

    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        """Return the gauges of an allocated queue, as of the last round."""
        row = self.row(self.slot(adapter, queue_id))
        return QueueGauges(int(row[Q.pending]), int(row[Q.outstanding]), int(row[Q.total_buffers]))

    def last_return_ns(self, adapter: int, queue_id: int) -> int:
        """Return when a queue's last outstanding buffer is due; NONE: it has none, or its VM is paused."""
        row = self.row(self.slot(adapter, queue_id))
        if row[Q.held] or row[Q.outstanding_tail] == NONE:
            return NONE
        return int(self.views.buffer_rows[row[Q.outstanding_tail], BUFFER.due_ns])

    def carry_out(self, effect: Effect) -> None:
        """Apply an effect of the control plane; the caller handles SteeringChanged and speeds."""
        match effect:
            case OpenQueue():
                self._open(effect)
            case SplitBuffers():
                row = self.row(self.slot(effect.adapter, effect.queue_id))
                row[[Q.copied_bytes_limit, Q.lookahead_bytes]] = effect.lookahead_bytes
            case SetBuffers():
                self._resize(self.slot(effect.adapter, effect.queue_id), effect.adapter, effect.count)
            case MoveQueue():
                self._move(self.slot(effect.adapter, effect.queue_id), effect.cpu)
            case DiscardPending():
                self._discard(self.slot(effect.adapter, effect.queue_id))
            case HoldBuffers():
                self._hold(self.slot(effect.adapter, effect.queue_id), effect.held)
            case ReturnBuffers():
                self._return(self.slot(effect.adapter, effect.queue_id))
            case ForgetVm():
                self._forget(effect.adapter, effect.vm)
            case CloseQueue():
                self._close_queue(effect.adapter, self.slot(effect.adapter, effect.queue_id))
            case NewFilter():
                self.matched[self.filter_base(effect.adapter) + effect.filter_id] = 0

    def _open(self, effect: OpenQueue) -> None:
        slot = self.slot(effect.adapter, effect.queue_id)
        self.views.owner[slot] = effect.cpu
        self.steering_version += 1
        row = self.row(slot)
        row[:] = 0
        self.views.latency[:, slot] = 0
        row[Q.latency_from] = layout.LATENCY_BUCKETS
        row[list(_CHAINS)] = NONE
        row[[Q.armed_ns, Q.dpc_cpu]] = NONE
        sizes, adapter = self.sizes.adapters[effect.adapter], self.views.adapters[effect.adapter]
        row[Q.adapter] = effect.adapter
        row[Q.stride] = sizes.stride
        row[Q.host_at] = adapter[ADAPTER.bytes_base] - adapter[ADAPTER.buffer_base] * sizes.stride
        row[Q.return_delay_ns] = effect.return_delay_ns
        row[Q.copied_bytes_limit] = effect.copied_bytes_limit
        row[Q.vm] = NONE if effect.vm is None else effect.vm
        if effect.vm is not None:
            self._guests.open(slot, effect.adapter, effect.vm)

    def _resize(self, slot: int, adapter: int, count: int) -> None:
        views = self.views
        first = int(views.adapters[adapter, ADAPTER.buffer_base])
        last = first + self.sizes.adapters[adapter].buffers
        spare = first + np.flatnonzero(views.belongs[first:last] == NONE)
        row = self.row(slot)
        taken, given_up = ownership.resize(row, views.buffer_rows, views.belongs, slot, count, spare)
        self._guests.take_back(slot, given_up)
        self._guests.give(slot, taken)
        self._shrinking.add(slot)

    def _move(self, slot: int, cpu: int) -> None:
        """Move a queue to another processor."""
        old = self.row(slot).copy()
        adapter = int(old[Q.adapter])
        latency, top = self.latency(slot).copy(), self.top(adapter).copy()
        self.views.owner[slot] = cpu
        self.steering_version += 1
        row = self.row(slot)
        row[:] = old
        if row[Q.armed_ns] >= 0:  # the new processor can't serve it earlier than now
            row[Q.armed_ns] = max(row[Q.armed_ns], self.now_ns)
        self.latency(slot)[:] = latency
        self.top(adapter)[:] = top
        self.wake(cpu)

    def wake(self, cpu: int) -> None:
        """Make a shard run in the next round and compute its next event."""
        self.views.cpus[self.bank[cpu], cpu, CPU.next_event_ns] = 0

    def abort_dpc(self, slot: int) -> None:
        """Make a queue's DPC in progress indicate no frames; its processor still spends the cycles."""
        cpu = int(self.row(slot)[Q.dpc_cpu])
        if cpu != NONE:
            self.views.cpus[self.bank[cpu], cpu, CPU.dpc_frames] = 0

    def collect(self, slot: int) -> None:
        """Make the buffers that a queue surrendered spare ones of the adapter."""
        given_up = ownership.collect(self.row(slot), self.views.buffer_rows, self.views.belongs)
        self._guests.take_back(slot, given_up)

    def _discard(self, slot: int) -> None:
        self.abort_dpc(slot)
        ownership.discard_pending(self.row(slot), self.views.buffer_rows, self.views.belongs, slot)
        self.collect(slot)

    def _hold(self, slot: int, held: bool) -> None:
        row = self.row(slot)
        if row[Q.held] and not held:
            ownership.let_go(row, self.views.buffer_rows, self.now_ns)
        row[Q.held] = held
        self.wake(int(self.views.owner[slot]))

    def _return(self, slot: int) -> None:
        ownership.return_all(self.row(slot), self.views.buffer_rows, self.views.belongs, slot)
        self.collect(slot)

    def _forget(self, adapter: int, vm: int) -> None:
        """Remove a VM: the switch will drop frames for it that are still pending."""
        first = int(self.views.adapters[adapter, ADAPTER.buffer_base])
        last = first + self.sizes.adapters[adapter].buffers
        port_vm = self.views.buffer_rows[first:last, BUFFER.port_vm]
        port_vm[port_vm == vm] = NONE
        self._guests.forget(adapter, vm)

    def _close_queue(self, adapter: int, slot: int) -> None:
        row = self.row(slot)
        counted = list(layout.QUEUE_COUNTERS)
        self._freed[adapter, counted] += row[counted]
        own = np.flatnonzero(self.views.belongs == slot)
        self._guests.close(slot, own)
        self.views.belongs[own] = NONE
        self.views.owner[slot] = NONE
        self.steering_version += 1
        self._shrinking.discard(slot)

    def set_speeds(self, serving: set[int]) -> None:
        """Set the processors that serve a running queue; they slow their sibling hyper-threads."""
        self._costs.set_speeds(serving, self.now_ns)

    def write_steering(self, adapter: int, rows: SteeringRows) -> None:
        """Publish an adapter's compiled filters for the next round."""
        self._guests.connect(adapter, np.unique(rows.port_vm[rows.port_vm != NONE]).tolist())
        used = min(self.sizes.adapters[adapter].table_rows, 1 << (4 * len(rows.key) | 15).bit_length())
        self.views.adapters[adapter, ADAPTER.table_mask] = used - 1
        columns = Rows(rows.key, rows.queue, rows.filter, rows.default_filter, rows.port_vm)
        write_table(self.places, adapter, columns)
        self.steering_version += 1

    def read(self) -> Reading:
        """Return a copy of the counters as of the last round."""
        views = self.views
        allocated = views.owner != NONE
        bank_of_slot = np.where(allocated, self.bank[views.owner], 0)
        return Reading(
            sim_time_ns=self.now_ns,
            queues=views.queues[bank_of_slot, np.arange(self.sizes.slots)],
            latency=views.latency[bank_of_slot, np.arange(self.sizes.slots)],
            freed=self._freed.copy(),
            cpus=views.cpus[self.bank, np.arange(self.sizes.cpus)],
            top=np.stack([self.top(a) for a in range(len(self.sizes.adapters))]),
            budget_cycles=self._costs.budgets(self.now_ns),
            owner=views.owner.copy(),
            port=self.port.copy(),
            matched=self.matched.copy(),
        )

    def guest_memory(self, adapter: int, vm: int) -> dict[int, bytes]:
        """Return the memory that a VM (an index) can see, as of the last round: bytes by address."""
        return {extent.start: read(self.views, extent) for extent in self._guests.of(adapter, vm)}

    def held(self, adapter: int, queue_id: int) -> list[bytes]:
        """Return the frames that a queue's VM has yet to return, from its memory, in order of indication.

        After a worker's death, frames with the same due time may be in any order.
        """
        views = self.views
        frames = []
        buffer = int(self.row(self.slot(adapter, queue_id))[Q.outstanding_head])
        while buffer != NONE:
            start = int(views.buffer_rows[buffer, BUFFER.guest_at])
            size = int(views.buffer_rows[buffer, BUFFER.frame]) & layout.LENGTH_MASK
            frames.append(views.guest_bytes[start : start + size].tobytes())
            buffer = int(views.buffer_rows[buffer, BUFFER.next])
        return frames

    @property
    def next_event_ns(self) -> int:
        """A lower bound of the time of the next event on any processor."""
        cpus = np.arange(self.sizes.cpus)
        return int(self.views.cpus[self.bank, cpus, CPU.next_event_ns].min())

    @property
    def block_name(self) -> str:
        """The name of the shared memory, for workers."""
        return self._block.name

    @property
    def shrinking(self) -> bool:
        """Whether any queue has yet to give up buffers."""
        return bool(self._shrinking)

    def settle_shrinking(self) -> None:
        """After a round, make the buffers that shrinking queues surrendered in it spare ones."""
        for slot in list(self._shrinking):
            row = self.row(slot)
            self.collect(slot)
            if row[Q.total_buffers] <= row[Q.target_buffers]:
                self._shrinking.discard(slot)

    def settle_time(self, horizon_ns: int, last_arrival_ns: int = 0) -> None:
        """After a round, set the time to ``horizon_ns``, or, without a horizon, to the last arrival or the
        end of the last DPC (contract 1, "Time"), so that later buffer returns add no idle time."""
        if horizon_ns < NEVER_NS:
            self.now_ns = horizon_ns
        else:
            ends = self.views.cpus[self.bank, np.arange(self.sizes.cpus), CPU.free_ns]
            self.now_ns = max(self.now_ns, last_arrival_ns, int(ends.max()))

    def close(self) -> None:
        """Remove the shared memory; end all workers first."""
        self._forget_views()
        self._block.close()

    def _forget_views(self) -> None:
        """Drop what refers to the shared memory, which would stay mapped."""
        self.batches = ()
        for name in ("_guests", "_costs", "views", "places"):
            self.__dict__.pop(name, None)
