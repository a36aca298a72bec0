"""The data plane of a host: its shared memory, its workers, and one round after another.

Everything here is called from one thread, the conductor's. Between rounds no shard runs, and the
published rows may be read and changed; during a round they may not.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.dataplane import layout, ownership
from engine.dataplane.crew import Crew, WorkerDiedError
from engine.dataplane.guests import Guests, read
from engine.dataplane.layout import I32, I64, NEVER_NS, NONE, AdapterSizes, Sizes, Views
from engine.dataplane.memory import Block
from engine.dataplane.shard import ORDER, SERVE, STEER
from engine.dataplane.steer import PORT_COUNTERS, Rows, write_table
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

_SLICE_BLOCKS: Final = 4
_MOST_DEATHS: Final = 5
_DEATHS_WITHIN_S: Final = 10.0
_NO_ROUND: Final = -2
_MOST_CYCLES: Final = 2**64 - 1  # what a message can hold
_CHAINS: Final = (
    layout.FREE_HEAD,
    layout.PENDING_HEAD,
    layout.PENDING_TAIL,
    layout.OUTSTANDING_HEAD,
    layout.OUTSTANDING_TAIL,
    layout.SURRENDERED_HEAD,
)


@dataclass(frozen=True, eq=False)
class Reading:
    """Counters of a host at one simulated time: copies, in the layout's columns.

    ``queues`` (slots, QUEUE_ROW), ``freed`` (adapters, QUEUE_ROW), ``cpus`` (cpus, CPU_ROW),
    ``budget_cycles`` by processor (they end at 2**64 - 1, 224 years at 2.6 GHz), ``owner`` (slots,)
    processor or NONE, ``port`` (adapters, PORT_COUNTERS), ``matched`` (filters,).
    """

    sim_time_ns: int
    queues: I64
    freed: I64
    cpus: I64
    budget_cycles: list[int]
    owner: I32
    port: I64
    matched: I64


@dataclass(frozen=True)
class AdapterNeeds:
    """What the control plane may come to need of one adapter: steering rows, and VMs with indices below."""

    steering_rows: int
    vms: int


@dataclass(frozen=True)
class Incident:
    """A worker that died, and what was done."""

    cpu: int
    cause: str
    lost_frames: int


@dataclass(frozen=True)
class _Orphan:
    """A DPC in progress on ``cpu`` whose frames are lost: its queue had moved to a worker that died."""

    cpu: int
    slot: int
    end_ns: int
    frames: int


class Plane:
    """Shared memory, workers and rounds; ``deadline_s`` bounds a worker's round, None: it may take long.

    Raises NotEnoughMemoryError before anything is allocated.
    """

    def __init__(
        self, scenario: Scenario, needs: Sequence[AdapterNeeds], deadline_s: float | None = None
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
        )
        self.now_ns = 0
        self.incidents: deque[Incident] = deque(maxlen=1024)
        self._block = Block(self.sizes)
        self._views = self._block.views
        cpus, adapters = self.sizes.cpus, len(self.sizes.adapters)
        self._bank = np.zeros(cpus, np.int64)
        self._port = np.zeros((adapters, PORT_COUNTERS), np.int64)
        self._freed = np.zeros((adapters, layout.QUEUE_ROW), np.int64)
        self._matched = np.zeros(self.sizes.filters, np.int64)
        self._budget_mhz_ns = [0] * cpus
        self._budget_at_ns = 0
        self._shrinking: set[int] = set()
        self._round = 0
        self._half = 0
        self._blocks = 0
        self._serving: list[int] = []
        self._orphans: list[_Orphan] = []
        self._deaths: deque[float] = deque(maxlen=_MOST_DEATHS)
        self._describe(scenario)
        self._guests = Guests(self.sizes, self._views)
        self.batches = tuple(
            FrameBatch(
                self._views.data[half],
                self._views.offset[half],
                self._views.captured[half],
                self._views.wire[half],
                self._views.arrival_ns[half],
                self._views.adapter[half],
            )
            for half in range(layout.HALVES)
        )
        try:
            self._crew = Crew(self.sizes, self._block.name, deadline_s)
        except BaseException:
            self._drop_views()
            raise

    def _describe(self, scenario: Scenario) -> None:
        """Write what never changes: the rows of adapters and the costs of processors."""
        views = self._views
        views.owner[:] = NONE
        views.belongs[:] = NONE
        views.buffer_rows[:, layout.DUE_NS] = NONE
        views.buffer_rows[:, layout.RETURNED_ROUND] = NONE
        slot = filters = table = buffers = octets = vms = 0
        for a, (spec, sizes) in enumerate(zip(scenario.adapter, self.sizes.adapters, strict=True)):
            row = views.adapters[a]
            row[layout.ADAPTER_SLOT_BASE] = slot
            row[layout.ADAPTER_FILTER_BASE] = filters
            row[layout.ADAPTER_TABLE_BASE] = table
            row[layout.ADAPTER_MAX_FRAME_BYTES] = sizes.max_frame_bytes
            row[layout.ADAPTER_BUFFER_BASE] = buffers
            row[layout.ADAPTER_BYTES_BASE] = octets
            row[layout.ADAPTER_STRIDE] = sizes.stride
            row[layout.ADAPTER_TAKES_TAG_OUT] = spec.ndis_minor >= 30
            row[layout.ADAPTER_NUMA_NODE] = spec.numa_node
            row[layout.ADAPTER_VM_BASE] = vms
            views.table[table, layout.ROW_KEY] = layout.EMPTY_KEY
            slot += sizes.queues
            filters += sizes.filters
            table += sizes.table_rows
            buffers += sizes.buffers
            octets += sizes.bytes
            vms += sizes.vms
        cpu, host = scenario.cpu, scenario.host
        costs = views.costs
        costs[:, layout.COST_INTERRUPT] = cpu.cycles_per_interrupt
        costs[:, layout.COST_DPC] = cpu.cycles_per_dpc
        costs[:, layout.COST_FRAME] = cpu.cycles_per_frame
        costs[:, layout.COST_BYTE_MILLI] = round(cpu.cycles_per_byte * 1000)
        costs[:, layout.COST_REMOTE_BYTE_MILLI] = round(cpu.cycles_per_byte * cpu.remote_copy_factor * 1000)
        costs[:, layout.COST_MODERATION_NS] = round(cpu.moderation_us * 1000)
        costs[:, layout.COST_QUOTA] = cpu.quota
        costs[:, layout.COST_NUMA_NODE] = np.arange(host.cpus) // (host.cpus // host.numa_nodes)
        views.cpus[:, :, layout.CPU_DPC_SLOT] = NONE
        views.cpus[:, :, layout.CPU_NEXT_EVENT_NS] = NEVER_NS
        self._full_mhz = max(1, round(cpu.clock_ghz * 1000))
        self._shared_mhz = max(1, round(cpu.clock_ghz * cpu.smt_share * 1000))
        self._hyperthreading = host.hyperthreading
        costs[:, layout.COST_MHZ] = self._full_mhz

    # --- between rounds ------------------------------------------------------------------------

    def slot(self, adapter: int, queue_id: int) -> int:
        """The slot of a queue."""
        return int(self._views.adapters[adapter, layout.ADAPTER_SLOT_BASE]) + queue_id

    def filter_base(self, adapter: int) -> int:
        """Where an adapter's filters begin in ``Reading.matched``."""
        return int(self._views.adapters[adapter, layout.ADAPTER_FILTER_BASE])

    def _row(self, slot: int) -> I64:
        """The published row of an allocated queue."""
        row: I64 = self._views.queues[self._bank[self._views.owner[slot]], slot]
        return row

    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        """The gauges of an allocated queue, as of the last round."""
        row = self._row(self.slot(adapter, queue_id))
        return QueueGauges(int(row[layout.PENDING]), int(row[layout.OUTSTANDING]), int(row[layout.TOTAL]))

    def carry_out(self, effect: Effect) -> None:
        """Do what the control plane decided; SteeringChanged and speeds are the caller's to follow up."""
        match effect:
            case OpenQueue():
                self._open(effect)
            case SplitBuffers():
                row = self._row(self.slot(effect.adapter, effect.queue_id))
                row[[layout.COPIED_BYTES_LIMIT, layout.LOOKAHEAD_BYTES]] = effect.lookahead_bytes
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
                self._matched[self.filter_base(effect.adapter) + effect.filter_id] = 0

    def _open(self, effect: OpenQueue) -> None:
        slot = self.slot(effect.adapter, effect.queue_id)
        self._views.owner[slot] = effect.cpu
        row = self._row(slot)
        row[:] = 0
        row[list(_CHAINS)] = NONE
        row[[layout.ARMED_NS, layout.DPC_CPU]] = NONE
        sizes, adapter = self.sizes.adapters[effect.adapter], self._views.adapters[effect.adapter]
        row[layout.ADAPTER] = effect.adapter
        row[layout.STRIDE] = sizes.stride
        row[layout.HOST_AT] = (
            adapter[layout.ADAPTER_BYTES_BASE] - adapter[layout.ADAPTER_BUFFER_BASE] * sizes.stride
        )
        row[layout.RETURN_DELAY_NS] = effect.return_delay_ns
        row[layout.COPIED_BYTES_LIMIT] = effect.copied_bytes_limit
        row[layout.VM] = NONE if effect.vm is None else effect.vm
        if effect.vm is not None:
            self._guests.open(slot, effect.adapter, effect.vm)

    def _resize(self, slot: int, adapter: int, count: int) -> None:
        views = self._views
        first = int(views.adapters[adapter, layout.ADAPTER_BUFFER_BASE])
        last = first + self.sizes.adapters[adapter].buffers
        spare = first + np.flatnonzero(views.belongs[first:last] == NONE)
        row = self._row(slot)
        taken, given_up = ownership.resize(row, views.buffer_rows, views.belongs, slot, count, spare)
        self._guests.take_back(slot, given_up)
        self._guests.give(slot, taken)
        self._shrinking.add(slot)

    def _move(self, slot: int, cpu: int) -> None:
        old = self._row(slot).copy()
        self._views.owner[slot] = cpu
        self._row(slot)[:] = old
        self._wake(cpu)

    def _wake(self, cpu: int) -> None:
        """Make a shard look for itself what happens next."""
        self._views.cpus[self._bank[cpu], cpu, layout.CPU_NEXT_EVENT_NS] = 0

    def _abort_dpc(self, slot: int) -> None:
        """The DPC in progress on a queue indicates nothing; its processor still spends the cycles."""
        cpu = int(self._row(slot)[layout.DPC_CPU])
        if cpu != NONE:
            self._views.cpus[self._bank[cpu], cpu, layout.CPU_DPC_FRAMES] = 0

    def _collect(self, slot: int) -> None:
        """What a queue has given up is the adapter's spare from now on."""
        given_up = ownership.collect(self._row(slot), self._views.buffer_rows, self._views.belongs)
        self._guests.take_back(slot, given_up)

    def _discard(self, slot: int) -> None:
        self._abort_dpc(slot)
        ownership.discard_pending(self._row(slot), self._views.buffer_rows, self._views.belongs, slot)
        self._collect(slot)

    def _hold(self, slot: int, held: bool) -> None:
        row = self._row(slot)
        if row[layout.HELD] and not held:
            ownership.let_go(row, self._views.buffer_rows, self.now_ns)
        row[layout.HELD] = held
        self._wake(int(self._views.owner[slot]))

    def _return(self, slot: int) -> None:
        ownership.return_all(self._row(slot), self._views.buffer_rows, self._views.belongs, slot)
        self._collect(slot)

    def _forget(self, adapter: int, vm: int) -> None:
        """A VM is gone: what queue 0 still holds for it finds no port any more."""
        first = int(self._views.adapters[adapter, layout.ADAPTER_BUFFER_BASE])
        last = first + self.sizes.adapters[adapter].buffers
        port_vm = self._views.buffer_rows[first:last, layout.PORT_VM]
        port_vm[port_vm == vm] = NONE
        self._guests.forget(adapter, vm)

    def _close_queue(self, adapter: int, slot: int) -> None:
        row = self._row(slot)
        counted = list(layout.QUEUE_COUNTERS)
        self._freed[adapter, counted] += row[counted]
        own = np.flatnonzero(self._views.belongs == slot)
        self._guests.close(slot, own)
        self._views.belongs[own] = NONE
        self._views.owner[slot] = NONE
        self._shrinking.discard(slot)

    def set_speeds(self, serving: set[int]) -> None:
        """Say which processors serve a running queue: a hyper-thread next to one is slower."""
        self._settle_budgets()
        mhz = self._views.costs[:, layout.COST_MHZ]
        mhz[:] = self._full_mhz
        if self._hyperthreading:
            for cpu in serving:
                mhz[cpu ^ 1] = self._shared_mhz

    def _settle_budgets(self) -> None:
        elapsed = self.now_ns - self._budget_at_ns
        self._budget_at_ns = self.now_ns
        for cpu, mhz in enumerate(self._views.costs[:, layout.COST_MHZ].tolist()):
            self._budget_mhz_ns[cpu] += elapsed * mhz

    def write_steering(self, adapter: int, rows: SteeringRows) -> None:
        """Publish an adapter's compiled filters for the next round."""
        self._guests.connect(adapter, np.unique(rows.port_vm[rows.port_vm != NONE]).tolist())
        row = self._views.adapters[adapter]
        used = min(self.sizes.adapters[adapter].table_rows, 1 << (4 * len(rows.key) | 15).bit_length())
        row[layout.ADAPTER_TABLE_MASK] = used - 1
        columns = Rows(rows.key, rows.queue, rows.filter, rows.default_filter, rows.port_vm)
        write_table(self._views.table, row, columns)

    def read(self) -> Reading:
        """The counters as of the last round."""
        self._settle_budgets()
        views = self._views
        allocated = views.owner != NONE
        bank_of_slot = np.where(allocated, self._bank[views.owner], 0)
        return Reading(
            sim_time_ns=self.now_ns,
            queues=views.queues[bank_of_slot, np.arange(self.sizes.slots)],
            freed=self._freed.copy(),
            cpus=views.cpus[self._bank, np.arange(self.sizes.cpus)],
            budget_cycles=[min(spent // 1000, _MOST_CYCLES) for spent in self._budget_mhz_ns],
            owner=views.owner.copy(),
            port=self._port.copy(),
            matched=self._matched.copy(),
        )

    def guest_memory(self, adapter: int, vm: int) -> dict[int, bytes]:
        """What a VM (its index) can see, as of the last round: bytes by where they begin."""
        return {extent.start: read(self._views, extent) for extent in self._guests.of(adapter, vm)}

    def held(self, adapter: int, queue_id: int) -> list[bytes]:
        """The frames that the VM of a queue holds, as it sees them, in the order they were indicated.

        After a worker's death, those due back at one time come in any order.
        """
        views = self._views
        frames = []
        buffer = int(self._row(self.slot(adapter, queue_id))[layout.OUTSTANDING_HEAD])
        while buffer != NONE:
            start = int(views.buffer_rows[buffer, layout.GUEST_AT])
            size = int(views.buffer_rows[buffer, layout.FRAME]) & layout.LENGTH_MASK
            frames.append(views.guest_bytes[start : start + size].tobytes())
            buffer = int(views.buffer_rows[buffer, layout.NEXT])
        return frames

    @property
    def next_event_ns(self) -> int:
        """A time before which nothing is armed, under way or due on any processor."""
        cpus = np.arange(self.sizes.cpus)
        return int(self._views.cpus[self._bank, cpus, layout.CPU_NEXT_EVENT_NS].min())

    @property
    def views(self) -> Views:
        """The arrays themselves, for who measures; not to be kept."""
        return self._views

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, by processor."""
        return self._crew.pids

    def replace_dead(self) -> None:
        """Replace workers that ended while they had nothing to do."""
        for cpu in self._crew.dead():
            self._bury(WorkerDiedError(cpu, "died"))
        self._settle_orphans()

    # --- a round ---------------------------------------------------------------------------------

    def begin_round(self, half: int, frames: int, horizon_ns: int) -> None:
        """Steer the first ``frames`` frames of a batch, and let shards serve up to ``horizon_ns``.

        Until ``end_round``, the other batch may be filled; nothing else may be touched.
        """
        self._round += 1
        self._half = half
        self._horizon_ns = horizon_ns
        self._frames = frames
        self._blocks = -(-frames // layout.BLOCK_FRAMES)
        slices = min(self.sizes.cpus, -(-self._blocks // _SLICE_BLOCKS))
        cuts = [self._blocks * k // slices for k in range(slices + 1)] if frames else []
        orders = [ORDER.pack(STEER, half, cuts[k], cuts[k + 1], frames, 0) for k in range(slices)]
        for k, order in enumerate(orders):
            self._order(k, order)
        for k, order in enumerate(orders):
            reply = self._reply(k, order)
            self._port += np.frombuffer(reply, np.int64).reshape(self._port.shape)
        cpus = np.arange(self.sizes.cpus)
        bounds = self._views.bounds[half, : self._blocks]
        busy = np.any(bounds[:, 1:] > bounds[:, :-1], axis=0)
        due = self._views.cpus[self._bank, cpus, layout.CPU_NEXT_EVENT_NS] < horizon_ns
        self._serving = np.flatnonzero(busy | due).tolist()
        for cpu in self._serving:
            self._order(cpu, self._serve_order(cpu))

    def _serve_order(self, cpu: int) -> bytes:
        bank = int(self._bank[cpu])
        return ORDER.pack(SERVE, self._half, self._blocks, bank, self._round, self._horizon_ns)

    def end_round(self) -> None:
        """Wait for the shards; their counters take effect together."""
        for cpu in self._serving:
            try:
                credited = np.frombuffer(self._crew.receive(cpu), np.int64).reshape(-1, 2)
            except WorkerDiedError as death:
                self._bury(death, handed_out=True)
                continue
            self._matched[credited[:, 0]] += credited[:, 1]
            self._bank[cpu] ^= 1
        self._serving = []
        self._settle_orphans()
        for slot in list(self._shrinking):
            row = self._row(slot)
            self._collect(slot)
            if row[layout.TOTAL] <= row[layout.TARGET]:
                self._shrinking.discard(slot)
        if self._horizon_ns < NEVER_NS:
            self.now_ns = self._horizon_ns
        else:
            last = self._views.cpus[self._bank, np.arange(self.sizes.cpus), layout.CPU_LAST_EVENT_NS]
            self.now_ns = max(self.now_ns, int(last.max()))

    def _order(self, cpu: int, order: bytes) -> None:
        """Send an order; a worker found dead is replaced first, its pending frames lost."""
        while True:
            try:
                self._crew.send(cpu, order)
            except WorkerDiedError as death:
                self._bury(death)
                continue
            return

    def _reply(self, cpu: int, order: bytes) -> bytes:
        """The reply to a steering order; a worker that died is replaced and its slice done again."""
        while True:
            try:
                return self._crew.receive(cpu)
            except WorkerDiedError as death:
                self._bury(death)
                self._order(cpu, order)

    def _bury(self, death: WorkerDiedError, *, handed_out: bool = False) -> None:
        """Count what a dead worker held as lost, free its buffers, and replace it.

        With ``handed_out`` it died while it served this round, whose frames for it are lost too.
        """
        views, cpu = self._views, death.cpu
        lost = 0
        undone = _NO_ROUND
        frames = np.empty((0, layout.FRAME_ROW), np.int64)
        if handed_out:
            undone = self._round
            steered, bounds = views.steered[self._half], views.bounds[self._half]
            parts = [steered[bounds[k, cpu] : bounds[k, cpu + 1]] for k in range(self._blocks)]
            frames = np.concatenate([frames, *parts])
            credit = (frames[:, layout.FRAME_TARGET] & layout.TARGET_FILTER_MASK) - 1
            np.add.at(self._matched, credit[credit != NONE], 1)
        for slot in np.flatnonzero(views.owner == cpu).tolist():
            row = self._row(slot)
            dpc_cpu = int(row[layout.DPC_CPU])
            if dpc_cpu == cpu:
                self._abort_dpc(slot)
            elif dpc_cpu != NONE:
                dpc = _Orphan(dpc_cpu, slot, int(row[layout.DPC_END_NS]), int(row[layout.DPC_FRAMES]))
                self._orphans.append(dpc)
            mine = frames[frames[:, layout.FRAME_TARGET] >> layout.TARGET_SLOT_SHIFT == slot]
            lost += len(mine) + int(row[layout.PENDING])
            row[[layout.STEERED_FRAMES, layout.RECEIVED, layout.LOST]] += len(mine)
            wire = mine[:, layout.FRAME_PLACE] >> layout.WIRE_SHIFT & layout.LENGTH_MASK
            row[layout.STEERED_BYTES] += int(wire.sum())
            reason = mine[:, layout.FRAME_SWITCH] >> layout.SWITCH_REASON_SHIFT & layout.SWITCH_REASON_MASK
            row[layout.FIRST_REASON : layout.FIRST_REASON + 5] += np.bincount(reason, minlength=6)[1:]
            ownership.recover(row, views.buffer_rows, views.belongs, slot, undone)
            self._collect(slot)
        self.incidents.append(Incident(cpu, str(death), lost))
        self._deaths.append(time.monotonic())
        if len(self._deaths) == _MOST_DEATHS and self._deaths[-1] - self._deaths[0] < _DEATHS_WITHIN_S:
            raise death
        self._crew.replace(cpu)
        self._wake(cpu)

    def _settle_orphans(self) -> None:
        """Take from processors the frames of DPCs whose queue had moved on to a worker that died.

        They run on another processor, so this waits until no shard runs.
        """
        for dpc in self._orphans:
            row = self._views.cpus[self._bank[dpc.cpu], dpc.cpu]
            if row[layout.CPU_DPC_SLOT] == dpc.slot and row[layout.CPU_FREE_NS] == dpc.end_ns:
                row[layout.CPU_DPC_FRAMES] = 0
            else:
                row[layout.CPU_INDICATED] -= dpc.frames
        self._orphans.clear()

    # --- the end -----------------------------------------------------------------------------------

    def _drop_views(self) -> None:
        self.batches = ()
        del self._guests
        del self._views
        self._block.close()

    def close(self) -> None:
        """End the workers and remove the shared memory."""
        self._crew.close()
        self._drop_views()
