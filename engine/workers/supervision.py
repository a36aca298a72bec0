"""Supervision: restarts of dead workers with backoff, and a fallback while a processor has no worker.

After the first death the worker restarts immediately, after further deaths with growing delays. A worker that
keeps dying restarts after growing pauses, up to minutes, or on request.
"""

import math
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from engine.counted import counted
from engine.dataplane import ownership
from engine.dataplane.plane import Plane
from engine.kernels import layout
from engine.kernels.jit import places_of
from engine.kernels.layout import CPU, FRAME, I64, NEVER_NS, NONE, Q
from engine.kernels.steer import scratch_for_block, steer
from engine.kernels.top import note_all
from engine.workers.pool import WorkerDiedError, WorkerPool

DELAYS_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Delays of the first, second, … restart within a window."""
WINDOW_S: Final = 60.0
PAUSES_S: Final = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Delays of restarts after more than ``len(DELAYS_S)`` deaths in a window; the last one repeats."""

_STARTING_S: Final = -math.inf
_READY_WITHIN_S: Final = 20.0
_AT_ONCE_S: Final = 3.0  # a round waits this long for a new worker, then treats its processor as down
_NO_ROUND: Final = -2


@dataclass
class _Record:
    """Recent deaths of a processor's workers: their times, the number of ``PAUSES_S`` used so far, and the
    due time of the last restart after a pause."""

    deaths: "deque[float]" = field(default_factory=lambda: deque(maxlen=len(DELAYS_S)))
    pauses: int = 0
    due_s: float = 0.0


class RestartBackoff:
    """Restart delays by processor, without I/O. ``now_s`` is monotonic time."""

    def __init__(self) -> None:
        self._records: defaultdict[int, _Record] = defaultdict(_Record)

    def died(self, cpu: int, now_s: float) -> float:
        """Record a death; return the seconds until the restart."""
        record = self._records[cpu]
        if record.pauses and now_s - record.due_s > WINDOW_S:  # the last worker lived that long
            record.pauses = 0
            record.deaths.clear()
        while record.deaths and now_s - record.deaths[0] > WINDOW_S:
            record.deaths.popleft()
        if not record.pauses and len(record.deaths) < len(DELAYS_S):
            record.deaths.append(now_s)
            return DELAYS_S[len(record.deaths) - 1]
        delay_s = PAUSES_S[min(record.pauses, len(PAUSES_S) - 1)]
        record.pauses += 1
        record.due_s = now_s + delay_s
        return delay_s

    def keeps_dying(self, cpu: int) -> bool:
        """Return whether a processor's worker died so often that restarts use ``PAUSES_S``."""
        return self._records[cpu].pauses > 0

    def forgive(self, cpu: int | None = None) -> None:
        """Forget the deaths of a processor's workers, or of all workers."""
        if cpu is None:
            self._records.clear()
        else:
            self._records.pop(cpu, None)


@dataclass(frozen=True)
class Incident:
    """A death or restart of a worker; ``kind`` is the name of the event, ``cause`` a sentence."""

    kind: Literal["worker_died", "worker_replaced", "worker_down"]
    cpu: int
    cause: str
    lost_frames: int = 0


class RestartPolicy:
    """Restarts workers of a pool, in the conductor's thread. The caller reports and removes ``incidents``."""

    def __init__(self, pool: WorkerPool) -> None:
        self.incidents: deque[Incident] = deque(maxlen=1024)
        self._pool = pool
        self._backoff = RestartBackoff()
        self._down: dict[int, float] = {}  # start time of the next worker, by processor
        self._ready_by: dict[int, float] = {}

    @property
    def down(self) -> Iterable[int]:
        """Processors without a worker."""
        return self._down.keys()

    def died(self, death: WorkerDiedError, lost_frames: int) -> None:
        """Handle a worker's death: restart it now, or mark its processor as down."""
        while True:
            cpu, now_s = death.cpu, time.monotonic()
            was_dying = self._backoff.keeps_dying(cpu)
            delay_s = self._backoff.died(cpu, now_s)
            after = f"; the next one starts in {delay_s:g} s" if delay_s else ""
            cause = f"{death}; {counted(lost_frames, 'frame is', 'frames are')} lost with it{after}"
            self.incidents.append(Incident("worker_died", cpu, cause, lost_frames))
            self._down[cpu] = now_s + delay_s
            if self._backoff.keeps_dying(cpu) and not was_dying:
                self.incidents.append(Incident("worker_down", cpu, keeps_dying(cpu)))
            if delay_s != 0.0:
                return
            try:
                self._start(cpu)
                if self._pool.is_ready(cpu, _AT_ONCE_S):
                    self._is_up(cpu)
            except WorkerDiedError as another:
                death, lost_frames = another, 0
                continue
            return

    def poll(self) -> list[int]:
        """Start the workers that are due; return the processors that have a worker again. Call it often."""
        back = []
        for cpu, due_s in list(self._down.items()):
            now_s = time.monotonic()
            try:
                if due_s == _STARTING_S:
                    if self._pool.is_ready(cpu):
                        self._is_up(cpu)
                        back.append(cpu)
                    elif now_s > self._ready_by[cpu]:
                        raise WorkerDiedError(cpu, f"was not ready within {_READY_WITHIN_S:.0f} s")
                elif now_s >= due_s:
                    self._start(cpu)
            except WorkerDiedError as death:
                self.died(death, 0)
        return back

    def restart(self, cpu: int) -> None:
        """Schedule a worker for a processor that is down at the next ``poll``, and forget its deaths."""
        self._backoff.forgive(cpu)
        if self._down.get(cpu, _STARTING_S) != _STARTING_S:
            self._down[cpu] = time.monotonic()

    def forgive(self) -> None:
        """Forget all deaths so far."""
        self._backoff.forgive()

    def _start(self, cpu: int) -> None:
        self._pool.start(cpu)
        self._down[cpu] = _STARTING_S
        self._ready_by[cpu] = time.monotonic() + _READY_WITHIN_S

    def _is_up(self, cpu: int) -> None:
        del self._down[cpu]
        self.incidents.append(Incident("worker_replaced", cpu, f"CPU {cpu} has a new worker"))


def keeps_dying(cpu: int) -> str:
    """Return the operator's message about a processor whose workers keep dying."""
    deaths = f"{len(DELAYS_S) + 1} times within {WINDOW_S:.0f} s"
    first, last = PAUSES_S[0], PAUSES_S[-1]
    return (
        f"CPU {cpu} is down: its worker died {deaths}; frames for its queues are lost until they are moved"
        f" away or a worker stays: the next one starts in {first:g} s, later ones after up to {last:g} s, or"
        " when restart_worker asks for it"
    )


@dataclass(frozen=True)
class _Orphan:
    """A DPC in progress on ``cpu`` whose frames are lost: its queue has moved to a worker that died."""

    cpu: int
    slot: int
    end_ns: int
    frames: int


class FallbackWorker:
    """The conductor's work for processors without a worker, whose rows no shard uses meanwhile.

    It steers if no worker is left. It serves no queue: frames for queues of a processor that is down are
    counted as lost (``lost_frames``), and buffers that VMs hold are taken back when due.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._port = np.zeros_like(plane.port)
        self._scratch = scratch_for_block(plane.sizes.cpus, self._port)
        self._scratch_places = places_of(self._scratch)
        self._orphans: list[_Orphan] = []

    @property
    def has_orphans(self) -> bool:
        """Whether ``settle_orphans`` has work to do."""
        return bool(self._orphans)

    def steer(self, batch: int, frames: int, port: I64) -> None:
        """Steer the first ``frames`` frames of a batch; add the counts to ``port``."""
        self._port[:] = 0
        steer(self._plane.places, batch, frames, self._scratch_places)
        port += self._port

    def return_due(self, cpu: int, horizon_ns: int) -> None:
        """Take back a processor's buffers that are due before a time; its queues have no pending frames."""
        plane, views = self._plane, self._plane.views
        next_ns = NONE
        for slot in np.flatnonzero(views.owner == cpu).tolist():
            row = plane.row(slot)
            if row[Q.held]:
                continue
            due_ns = ownership.take_back(row, views.buffer_rows, views.belongs, slot, horizon_ns)
            next_ns = due_ns if next_ns == NONE else min(next_ns, due_ns)
            plane.collect(slot)
        own = views.cpus[plane.bank[cpu], cpu]
        own[CPU.next_event_ns] = NEVER_NS if next_ns == NONE else next_ns

    def recover(self, cpu: int, round_number: int = _NO_ROUND, batch: int = 0, blocks: int = 0) -> int:
        """Count a dead worker's frames as lost, and free their buffers; return the number of frames.

        ``round_number`` is the round that the worker died in, if it served one: its frames in the first
        ``blocks`` blocks of ``batch`` are lost, too.
        """
        plane, views = self._plane, self._plane.views
        steered, bounds = views.steered[batch], views.bounds[batch]
        parts = [steered[bounds[k, cpu] : bounds[k, cpu + 1]] for k in range(blocks)]
        frames = np.concatenate([np.empty((0, layout.FRAME_ROW), np.int64), *parts])
        credit = (frames[:, FRAME.target] & layout.TARGET_FILTER_MASK) - 1
        np.add.at(plane.matched, credit[credit != NONE], 1)
        lost = 0
        for slot in np.flatnonzero(views.owner == cpu).tolist():
            row = plane.row(slot)
            self._abort_dpc(cpu, slot, row)
            mine = frames[frames[:, FRAME.target] >> layout.TARGET_SLOT_SHIFT == slot]
            lost += len(mine) + int(row[Q.pending])
            self._count_lost(row, mine, views.data[batch])
            ownership.recover(row, views.buffer_rows, views.belongs, slot, round_number)
            views.latency[1 - plane.bank[cpu], slot] = 0  # the dead worker may have counted there
            plane.collect(slot)
        plane.wake(cpu)
        return lost

    def _abort_dpc(self, cpu: int, slot: int, row: I64) -> None:
        """Abort a queue's DPC in progress: now if it runs on the dead worker's processor, else later."""
        dpc_cpu = int(row[Q.dpc_cpu])
        if dpc_cpu == cpu:
            self._plane.abort_dpc(slot)
        elif dpc_cpu != NONE:
            self._orphans.append(_Orphan(dpc_cpu, slot, int(row[Q.dpc_end_ns]), int(row[Q.dpc_frames])))

    def _count_lost(self, row: I64, frames: I64, data: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> None:
        """Count a queue's steered frames (n, FRAME_ROW) that no worker served."""
        row[[Q.steered_frames, Q.received_frames, Q.lost_frames]] += len(frames)
        wire = frames[:, FRAME.place] >> layout.WIRE_SHIFT & layout.LENGTH_MASK
        row[Q.steered_bytes] += int(wire.sum())
        reason = frames[:, FRAME.switch] >> layout.SWITCH_REASON_SHIFT & layout.SWITCH_REASON_MASK
        reasons = len(layout.REASON)
        counts = np.bincount(reason, minlength=reasons + 1)[1:]
        row[layout.FIRST_REASON : layout.FIRST_REASON + reasons] += counts
        of_default = frames[reason > 0]
        places = of_default[:, FRAME.place] & layout.OFFSET_MASK
        note_all(self._plane.top(int(row[Q.adapter])), data, places, reason[reason > 0] - 1)

    def settle_orphans(self) -> None:
        """Remove the lost frames of orphaned DPCs from the counts of the processors that run them.

        Those processors have live shards, so call this only while no shard runs.
        """
        for dpc in self._orphans:
            row = self._plane.views.cpus[self._plane.bank[dpc.cpu], dpc.cpu]
            if row[CPU.dpc_slot] == dpc.slot and row[CPU.free_ns] == dpc.end_ns:
                row[CPU.dpc_frames] = 0
            else:
                row[CPU.indicated_frames] -= dpc.frames
        self._orphans.clear()
