"""Rounds: the workers of a host, what is handed out to them, and what becomes of those that die.

One order a shard and round: serve your frames of this batch, then steer a slice of the next one. Everything
is called from the conductor's thread.
"""

import itertools
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.dataplane import layout, ownership
from engine.dataplane.crew import Crew, WorkerDiedError, WorkerNotReadyError
from engine.dataplane.layout import I64, NONE
from engine.dataplane.plane import Plane
from engine.dataplane.shard import ORDER
from engine.dataplane.top import note_all

_MOST_DEATHS: Final = 5
_DEATHS_WITHIN_S: Final = 10.0
_NO_ROUND: Final = -2


@dataclass(frozen=True)
class Incident:
    """A worker that died, and what was done."""

    cpu: int
    cause: str
    lost_frames: int


@dataclass(frozen=True)
class Part:
    """The first ``frames`` frames of a batch."""

    batch: int
    frames: int

    @property
    def blocks(self) -> int:
        """Blocks these frames are steered in."""
        return -(-self.frames // layout.BLOCK_FRAMES)


@dataclass(frozen=True)
class _Steering:
    """A part that is steered, or being steered: by which tables, and who does which blocks."""

    part: Part
    version: int
    slices: tuple[tuple[int, int], ...]
    port: I64


@dataclass(frozen=True)
class _Orphan:
    """A DPC in progress on ``cpu`` whose frames are lost: its queue had moved to a worker that died."""

    cpu: int
    slot: int
    end_ns: int
    frames: int


class Rounds:
    """Moves a plane on; ``deadline_s`` bounds a worker's round, None: it may take long."""

    def __init__(self, plane: Plane, deadline_s: float | None = None) -> None:
        self.plane = plane
        self.incidents: deque[Incident] = deque(maxlen=1024)
        self._crew = Crew(plane.sizes, plane.block_name, deadline_s)
        self._cpus = np.arange(plane.sizes.cpus)
        self._round = 0
        self._horizon_ns = 0
        self._part = Part(0, 0)
        self._serving: set[int] = set()
        self._steered: _Steering | None = None
        self._orphans: list[_Orphan] = []
        self._deaths: deque[float] = deque(maxlen=_MOST_DEATHS)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, by processor."""
        return self._crew.pids

    def begin(self, part: Part, horizon_ns: int, following: Part | None = None) -> None:
        """Let shards serve frames up to a time, and meanwhile steer those of the next round.

        Until ``end``, a third batch may be filled; nothing else may be touched.
        """
        plane = self.plane
        steered = self._steered
        if steered is None or (steered.part, steered.version) != (part, plane.steering_version):
            steered = self._new_steering(part)
            self._hand_out(steered, set())
            self._take_in(steered, set())
        plane.port += steered.port.reshape(plane.port.shape)
        self._round += 1
        self._part = part
        self._horizon_ns = horizon_ns
        bounds = plane.views.bounds[part.batch, : part.blocks]
        has_frames = (bounds[:, 1:] != bounds[:, :-1]).any(axis=0)
        has_work = plane.views.cpus[plane.bank, self._cpus, layout.CPU_NEXT_EVENT_NS] < horizon_ns
        self._serving = set((has_frames | has_work).nonzero()[0].tolist())
        self._steered = None if following is None else self._new_steering(following)
        self._hand_out(self._steered, self._serving)

    def end(self) -> None:
        """Wait for the shards; their counters take effect together."""
        self._take_in(self._steered, self._serving)
        self._settle_orphans()
        self.plane.settle_shrinking()
        self.plane.settle_time(self._horizon_ns)

    def replace_dead(self) -> None:
        """Replace workers that ended while they had nothing to do."""
        for cpu in self._crew.dead():
            self._bury(WorkerDiedError(cpu, "died"))
        self._settle_orphans()

    def close(self) -> None:
        """End the workers."""
        self._crew.close()

    def _new_steering(self, part: Part) -> _Steering:
        count = min(self.plane.sizes.cpus, part.blocks)
        cuts = [part.blocks * k // count for k in range(count + 1)] if count else []
        slices = tuple(itertools.pairwise(cuts))
        return _Steering(part, self.plane.steering_version, slices, np.zeros(self.plane.port.size, np.int64))

    def _order(self, cpu: int, steering: _Steering | None, serves: bool) -> bytes:
        """What a shard is to do in this phase: to serve no blocks up to time 0 is to serve nothing."""
        serve = (-1, 0, 0, 0, 0)
        if serves:
            bank = int(self.plane.bank[cpu])
            serve = (self._part.batch, self._part.blocks, bank, self._round, self._horizon_ns)
        steer = (-1, 0, 0, 0)
        if steering is not None and cpu < len(steering.slices):
            steer = (steering.part.batch, *steering.slices[cpu], steering.part.frames)
        return ORDER.pack(*serve, *steer)

    def _hand_out(self, steering: _Steering | None, serving: set[int]) -> None:
        """Send everyone's orders."""
        for cpu in self._busy(steering, serving):
            self._send(cpu, self._order(cpu, steering, cpu in serving))

    def _send(self, cpu: int, order: bytes) -> None:
        """Send an order; a worker found dead is replaced first, its pending frames lost."""
        while True:
            try:
                self._crew.send(cpu, order)
            except WorkerDiedError as death:
                self._bury(death)
                continue
            return

    def _take_in(self, steering: _Steering | None, serving: set[int]) -> None:
        """Wait for everyone's replies; the slice of a worker that died is steered again by the next one."""
        for cpu in self._busy(steering, serving):
            serves = cpu in serving
            while True:
                try:
                    self._count(self._crew.receive(cpu), cpu, steering, serves)
                except WorkerDiedError as death:
                    self._bury(death, handed_out=serves)
                    serves = False
                    if steering is not None and cpu < len(steering.slices):
                        self._send(cpu, self._order(cpu, steering, False))
                        continue
                break

    def _count(self, reply: bytes, cpu: int, steering: _Steering | None, served: bool) -> None:
        """Let what a shard counted take effect: of what it steered, when that is served."""
        counts = np.frombuffer(reply, np.int64)
        ports = self.plane.port.size
        if steering is not None:
            steering.port[:] += counts[:ports]
        if served:
            self.plane.matched[counts[ports::2]] += counts[ports + 1 :: 2]
            self.plane.bank[cpu] ^= 1

    def _busy(self, steering: _Steering | None, serving: set[int]) -> list[int]:
        """Who has something to do, in order."""
        return sorted(serving | set(range(len(steering.slices) if steering else 0)))

    def _bury(self, death: WorkerDiedError, *, handed_out: bool = False) -> None:
        """Count what a dead worker held as lost, free its buffers, and replace it.

        With ``handed_out`` it died while it served this round, whose frames for it are lost too.
        """
        plane, cpu = self.plane, death.cpu
        views = plane.views
        lost = 0
        undone = _NO_ROUND
        frames = np.empty((0, layout.FRAME_ROW), np.int64)
        if handed_out:
            undone = self._round
            steered, bounds = views.steered[self._part.batch], views.bounds[self._part.batch]
            parts = [steered[bounds[k, cpu] : bounds[k, cpu + 1]] for k in range(self._part.blocks)]
            frames = np.concatenate([frames, *parts])
            credit = (frames[:, layout.FRAME_TARGET] & layout.TARGET_FILTER_MASK) - 1
            np.add.at(plane.matched, credit[credit != NONE], 1)
        for slot in np.flatnonzero(views.owner == cpu).tolist():
            row = plane.row(slot)
            dpc_cpu = int(row[layout.DPC_CPU])
            if dpc_cpu == cpu:
                plane.abort_dpc(slot)
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
            of_default = mine[reason > 0]
            places = of_default[:, layout.FRAME_PLACE] & layout.OFFSET_MASK
            data = views.data[self._part.batch]
            note_all(plane.top(int(row[layout.ADAPTER])), data, places, reason[reason > 0] - 1)
            ownership.recover(row, views.buffer_rows, views.belongs, slot, undone)
            plane.collect(slot)
        self._replace(Incident(cpu, str(death), lost), death)
        plane.wake(cpu)

    def _replace(self, incident: Incident, death: WorkerDiedError) -> None:
        """Put a new worker in the place of a dead one; if it dies before it is ready, another."""
        while True:
            self.incidents.append(incident)
            self._deaths.append(time.monotonic())
            if len(self._deaths) == _MOST_DEATHS and self._deaths[-1] - self._deaths[0] < _DEATHS_WITHIN_S:
                raise death
            try:
                self._crew.replace(death.cpu)
            except WorkerNotReadyError:
                raise
            except WorkerDiedError as another:
                death = another
                incident = Incident(death.cpu, str(death), 0)
                continue
            return

    def _settle_orphans(self) -> None:
        """Take from processors the frames of DPCs whose queue had moved on to a worker that died.

        They run on another processor, so this waits until no shard runs.
        """
        for dpc in self._orphans:
            row = self.plane.views.cpus[self.plane.bank[dpc.cpu], dpc.cpu]
            if row[layout.CPU_DPC_SLOT] == dpc.slot and row[layout.CPU_FREE_NS] == dpc.end_ns:
                row[layout.CPU_DPC_FRAMES] = 0
            else:
                row[layout.CPU_INDICATED] -= dpc.frames
        self._orphans.clear()
