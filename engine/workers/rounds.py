"""Rounds: the workers of a host, what is handed out to them, and what becomes of those that die.

One order a shard and round: serve your frames of this batch, then help steer a later one. Everything is
called from the conductor's thread.
"""

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from engine.dataplane import ownership
from engine.dataplane.plane import Plane
from engine.kernels import layout
from engine.kernels.layout import CPU, FRAME, I64, NONE, Q
from engine.kernels.top import note_all
from engine.workers.pool import Crew, WorkerDiedError
from engine.workers.shard import ORDER
from engine.workers.stand_in import StandIn
from engine.workers.supervision import Incident, Relief

MOST_UNDER_WAY: Final = 2
"""Rounds under way at a time: published rows stay as they are for one round more, and no longer."""
MOST_AHEAD: Final = layout.BATCHES - MOST_UNDER_WAY
"""Batches steered, or being steered, that no round under way serves."""
_LOOK_S: Final = 0.2
_NO_ROUND: Final = -2


@dataclass(frozen=True)
class Part:
    """The first ``frames`` frames of a batch."""

    batch: int
    frames: int

    @property
    def blocks(self) -> int:
        """Blocks these frames are steered in."""
        return -(-self.frames // layout.BLOCK_FRAMES)


@dataclass(frozen=True, eq=False)
class _Steering:
    """A part that is steered, or being steered: by which tables, and what is counted of it on the port."""

    part: Part
    version: int
    port: I64


@dataclass(frozen=True, eq=False)
class _Round:
    """A round under way: who has yet to say that it served what was steered, or helped to steer meanwhile.

    ``missed`` have died before their order reached them. ``to_serve`` were to serve when it began.
    """

    number: int
    horizon_ns: int
    steered: _Steering | None
    to_serve: frozenset[int]
    serving: set[int]
    ahead: _Steering | None
    steering: set[int]
    missed: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Orphan:
    """A DPC in progress on ``cpu`` whose frames are lost: its queue had moved to a worker that died."""

    cpu: int
    slot: int
    end_ns: int
    frames: int


class Rounds:
    """Moves a plane on; ``deadline_s`` bounds a worker's round, None: it may take long.

    Two rounds may be under way at a time, so that a shard that has done with one finds the order for the next
    in its pipe. While any is, the published rows may be neither read nor written by anyone else.

    While a processor has no worker, frames for its queues are lost; while none has, they are steered here.
    """

    def __init__(self, plane: Plane, deadline_s: float | None = None) -> None:
        self.plane = plane
        self.held_apart = False  # the caller has something to settle after every round
        self.meanwhile: Callable[[], None] = lambda: None
        """Called a few times a second while a reply is late: there may be incidents to tell of."""
        self._crew = Crew(plane.sizes, plane.block_name, deadline_s)
        self.relief = Relief(self._crew)
        self._stand_in = StandIn(plane)
        self._next_look_s = math.inf  # nobody looks after the workers yet
        self._cpus = np.arange(plane.sizes.cpus)
        self._round = 0
        self._under_way: deque[_Round] = deque()
        self._steered: dict[int, _Steering] = {}  # by batch, until it is served
        self._orphans: list[_Orphan] = []

    @property
    def incidents(self) -> deque[Incident]:
        """What happened to workers and has not been taken note of."""
        return self.relief.incidents

    @property
    def down(self) -> Iterable[int]:
        """Processors without a worker."""
        return self.relief.down

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, by processor."""
        return self._crew.pids

    @property
    def under_way(self) -> int:
        """How many rounds have begun and not ended."""
        return len(self._under_way)

    @property
    def apart(self) -> bool:
        """Whether a round has to end before the next one begins: something is to be settled between them."""
        is_look_due = time.monotonic() > self._next_look_s
        return bool(self.held_apart or self._orphans or self.incidents or self.plane.shrinking or is_look_due)

    def has_steered(self, part: Part) -> bool:
        """Whether a round that has ended steered this part, by the tables of now."""
        return self._found_steered(part) is not None

    def steer(self, part: Part) -> None:
        """Let shards steer a part; until ``end`` it may not be touched."""
        self._hand_out(0, None, set(), part)

    def begin(self, part: Part, horizon_ns: int, ahead: Part | None = None) -> None:
        """Let shards serve the frames of a part up to a time, and meanwhile steer another one.

        With a round under way the part must have been steered; without, that is done now. Until ``end``,
        neither part may be touched.
        """
        while (steered := self._found_steered(part)) is None:
            self.steer(part)
            self.end()
        del self._steered[part.batch]
        # What a round under way leaves its shards to do nobody knows yet.
        serving = set[int]().union(*(one.serving for one in self._under_way))
        if len(serving) < self.plane.sizes.cpus:
            serving.update(self._have_work(part, horizon_ns))
        self._round += 1
        self._hand_out(horizon_ns, steered, serving, ahead)

    def _have_work(self, part: Part, horizon_ns: int) -> list[int]:
        """Processors with frames in a part, or something to do before a time."""
        bounds = self.plane.views.bounds[part.batch, : part.blocks]
        has_frames = (bounds[:, 1:] != bounds[:, :-1]).any(axis=0)
        has_work = self.plane.views.cpus[self.plane.bank, self._cpus, CPU.next_event_ns] < horizon_ns
        found: list[int] = (has_frames | has_work).nonzero()[0].tolist()
        return found

    def end(self) -> bool:
        """Wait for the shards to end the oldest round; what they counted takes effect together.

        Whether it was one in which they served frames or time.
        """
        one = self._under_way[0]
        self._take_in(one)
        self._under_way.popleft()
        if not self._under_way:
            self._settle_orphans()
            self.plane.settle_shrinking()
        if one.steered is None:
            return False
        self.plane.port += one.steered.port
        part = one.steered.part
        last_arrival_ns = self.plane.batches[part.batch].arrival_ns[part.frames - 1] if part.frames else 0
        self.plane.settle_time(one.horizon_ns, int(last_arrival_ns))
        return True

    def look_after(self) -> None:
        """After every round: see to the workers, a few times a second, when no round is under way."""
        now_s = time.monotonic()
        if not self._under_way and not now_s < self._next_look_s < math.inf:
            self._next_look_s = now_s + _LOOK_S
            self.replace_dead()

    def replace_dead(self) -> None:
        """Replace workers that ended or hang without an order, and those whose time has come."""
        for death in self._crew.deaths(self.down):
            self._bury(death)
        for cpu in self.relief.look():
            self.plane.wake(cpu)
        self._settle_orphans()

    def close(self) -> None:
        """End the workers."""
        self._crew.close()

    def _found_steered(self, part: Part) -> _Steering | None:
        """What a round that has ended steered of this part, by the tables of now."""
        one = self._steered.get(part.batch)
        if one is None or (one.part, one.version) != (part, self.plane.steering_version):
            return None
        return None if any(other.ahead is one for other in self._under_way) else one

    def _hand_out(
        self, horizon_ns: int, steered: _Steering | None, serving: set[int], ahead: Part | None
    ) -> None:
        """Send everyone's orders."""
        following, steering = None, set[int]()
        if ahead is not None:
            following = _Steering(ahead, self.plane.steering_version, np.zeros_like(self.plane.port))
            steering = serving.union(range(min(self.plane.sizes.cpus, ahead.blocks))).difference(self.down)
            self.plane.views.next_block[ahead.batch] = 0
            self._steered[ahead.batch] = following
            if not steering:
                self._stand_in.steer(ahead.batch, ahead.frames, following.port)
        one = _Round(self._round, horizon_ns, steered, frozenset(serving), serving, following, steering)
        self._under_way.append(one)
        for cpu in sorted(serving | steering):
            self._send(cpu, one)

    def _order(self, cpu: int, one: _Round) -> bytes:
        """What a shard is to do in a round."""
        serve = (-1, 0, 0, 0, 0)
        if one.steered is not None and cpu in one.serving:
            part = one.steered.part
            before = itertools.takewhile(lambda other: other is not one, self._under_way)
            bank = int(self.plane.bank[cpu]) ^ sum(cpu in other.serving for other in before) & 1
            serve = (part.batch, part.blocks, bank, one.number, one.horizon_ns)
        steer = (-1, 0)
        if one.ahead is not None and cpu in one.steering:
            steer = (one.ahead.part.batch, one.ahead.part.frames)
        return ORDER.pack(*serve, *steer)

    def _send(self, cpu: int, one: _Round) -> None:
        """Send an order, if there is a worker. That it is dead is heard of where its reply is awaited."""
        one.missed.discard(cpu)
        if cpu in self.down:
            return
        try:
            self._crew.send(cpu, self._order(cpu, one))
        except WorkerDiedError:
            one.missed.add(cpu)

    def _take_in(self, one: _Round) -> None:
        """Wait for everyone's replies to the oldest round.

        A worker that died is replaced. What it served is lost, and what was steered with its help is to be
        steered again; its successor gets the orders that it had not come to. Where there is none, others do
        its share of steering, and we stand in for the rest.
        """
        for cpu in sorted(one.to_serve | one.steering):
            while cpu not in self.down and (cpu in one.serving or cpu in one.steering):
                if self._crew.has_word(cpu):
                    self._hear(cpu, one)
                else:
                    self._see_to_others(cpu)
            if cpu in one.to_serve and cpu in self.down:
                if cpu in one.serving:
                    self._lose(cpu, one)
                self._stand_in.return_due(cpu, one.horizon_ns)

    def _hear(self, cpu: int, one: _Round) -> bool:
        """Take in a worker's reply for a round; False: it had died instead."""
        try:
            self._count(self._crew.receive(cpu), cpu, one)
        except WorkerDiedError as death:
            self._follow_up(death, None if cpu in one.missed else one)
            return False
        return True

    def _see_to_others(self, awaited: int) -> None:
        """While one worker keeps everyone waiting: replace others that died, or hang."""
        for cpu in self._crew.gone({*self.down, awaited}):
            owed = [one for one in self._under_way if cpu in one.serving or cpu in one.steering]
            if all(self._hear(cpu, one) for one in owed):
                self._bury(self._crew.death(cpu))
        self.meanwhile()

    def _follow_up(self, death: WorkerDiedError, during: _Round | None) -> None:
        """Bury a worker, and pass on the orders that it had not come to."""
        cpu = death.cpu
        if during is not None:
            self._forget_steered(cpu, during)
        self._bury(death, during)
        for one in self._under_way:
            if cpu in self.down:
                self._forget_steered(cpu, one)
            elif cpu in one.serving or cpu in one.steering:
                self._send(cpu, one)

    def _forget_steered(self, cpu: int, one: _Round) -> None:
        """Nobody can tell which blocks a worker that died had steered: they all are to be steered again."""
        if cpu in one.steering:
            one.steering.remove(cpu)
            if one.ahead is not None and self._steered.get(one.ahead.part.batch) is one.ahead:
                del self._steered[one.ahead.part.batch]

    def _count(self, reply: bytes, cpu: int, one: _Round) -> None:
        """Let what a shard counted take effect: of what it steered, when that is served."""
        counts = np.frombuffer(reply, np.int64)
        ports = self.plane.port.size
        if one.ahead is not None and cpu in one.steering:
            one.steering.remove(cpu)
            one.ahead.port.ravel()[:] += counts[:ports]
        if cpu in one.serving:
            one.serving.remove(cpu)
            self.plane.matched[counts[ports::2]] += counts[ports + 1 :: 2]
            self.plane.bank[cpu] ^= 1

    def _bury(self, death: WorkerDiedError, during: _Round | None = None) -> None:
        """Count what a dead worker held as lost, and replace it, now or later."""
        self.relief.died(death, self._lose(death.cpu, during))

    def _lose(self, cpu: int, during: _Round | None) -> int:
        """Count what a processor has pending as lost, and free its buffers; how many frames that is.

        Its frames of the round it was to serve, if any, are lost too.
        """
        plane, views = self.plane, self.plane.views
        lost = 0
        undone = _NO_ROUND
        frames = np.empty((0, layout.FRAME_ROW), np.int64)
        data = views.data[0]
        if during is not None and during.steered is not None and cpu in during.serving:
            during.serving.remove(cpu)
            undone = during.number
            part = during.steered.part
            steered, bounds, data = (
                views.steered[part.batch],
                views.bounds[part.batch],
                views.data[part.batch],
            )
            parts = [steered[bounds[k, cpu] : bounds[k, cpu + 1]] for k in range(part.blocks)]
            frames = np.concatenate([frames, *parts])
            credit = (frames[:, FRAME.target] & layout.TARGET_FILTER_MASK) - 1
            np.add.at(plane.matched, credit[credit != NONE], 1)
        for slot in np.flatnonzero(views.owner == cpu).tolist():
            row = plane.row(slot)
            dpc_cpu = int(row[Q.dpc_cpu])
            if dpc_cpu == cpu:
                plane.abort_dpc(slot)
            elif dpc_cpu != NONE:
                dpc = _Orphan(dpc_cpu, slot, int(row[Q.dpc_end_ns]), int(row[Q.dpc_frames]))
                self._orphans.append(dpc)
            mine = frames[frames[:, FRAME.target] >> layout.TARGET_SLOT_SHIFT == slot]
            lost += len(mine) + int(row[Q.pending])
            row[[Q.steered_frames, Q.received_frames, Q.lost_frames]] += len(mine)
            wire = mine[:, FRAME.place] >> layout.WIRE_SHIFT & layout.LENGTH_MASK
            row[Q.steered_bytes] += int(wire.sum())
            reason = mine[:, FRAME.switch] >> layout.SWITCH_REASON_SHIFT & layout.SWITCH_REASON_MASK
            row[layout.FIRST_REASON : layout.FIRST_REASON + 5] += np.bincount(reason, minlength=6)[1:]
            of_default = mine[reason > 0]
            places = of_default[:, FRAME.place] & layout.OFFSET_MASK
            note_all(plane.top(int(row[Q.adapter])), data, places, reason[reason > 0] - 1)
            ownership.recover(row, views.buffer_rows, views.belongs, slot, undone)
            views.latency[1 - plane.bank[cpu], slot] = 0  # what the dead worker counted there
            plane.collect(slot)
        plane.wake(cpu)
        return lost

    def _settle_orphans(self) -> None:
        """Take from processors the frames of DPCs whose queue had moved on to a worker that died.

        They run on another processor, so this waits until no shard runs.
        """
        for dpc in self._orphans:
            row = self.plane.views.cpus[self.plane.bank[dpc.cpu], dpc.cpu]
            if row[CPU.dpc_slot] == dpc.slot and row[CPU.free_ns] == dpc.end_ns:
                row[CPU.dpc_frames] = 0
            else:
                row[CPU.indicated_frames] -= dpc.frames
        self._orphans.clear()
