"""Rounds: orders to the workers of a host, their replies, and recovery from their deaths.

A shard gets one order in a round: serve its frames of one batch, then help steer a later one. Only the
conductor's thread calls this.
"""

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from engine.dataplane.plane import Plane
from engine.kernels import layout
from engine.kernels.layout import CPU, I64
from engine.workers.pool import WorkerDiedError, WorkerPool
from engine.workers.shard import ORDER
from engine.workers.supervision import FallbackWorker, Incident, RestartPolicy

MOST_UNDER_WAY: Final = 2
"""Limit of rounds in progress: with two banks, published rows stay unchanged for only one further round."""
MOST_AHEAD: Final = layout.BATCHES - MOST_UNDER_WAY
"""Limit of batches steered, or being steered, that no round in progress serves."""
_CHECK_S: Final = 0.2


@dataclass(frozen=True)
class Part:
    """The first ``frames`` frames of a batch."""

    batch: int
    frames: int

    @property
    def blocks(self) -> int:
        """The number of blocks that these frames take."""
        return -(-self.frames // layout.BLOCK_FRAMES)


@dataclass(frozen=True, eq=False)
class _Steering:
    """A part that is steered or being steered: ``version`` of its tables, ``port`` counters to add later."""

    part: Part
    version: int
    port: I64


@dataclass(frozen=True, eq=False)
class _Round:
    """A round in progress: ``serving`` and ``steering`` are the processors whose workers have yet to reply.

    ``steered`` is the part they serve, ``ahead`` the part they steer. ``missed`` are workers that died before
    they received the order; ``to_serve`` is ``serving`` as it was at the round's start.
    """

    number: int
    horizon_ns: int
    steered: _Steering | None
    to_serve: frozenset[int]
    serving: set[int]
    ahead: _Steering | None
    steering: set[int]
    missed: set[int] = field(default_factory=set)


class Rounds:
    """Runs the rounds of a plane; ``deadline_s`` bounds a worker's round, None: no bound.

    Two rounds may be in progress, so that a shard that has finished one finds the order for the next in its
    pipe. During a round, only shards may read or write the published rows.

    While a processor has no worker, frames for its queues are lost; while no processor has one, the fallback
    worker steers.

    ``former`` are ``reusable`` rounds, which must not be used any more: these take their workers over.
    """

    def __init__(self, plane: Plane, deadline_s: float | None = None, former: "Rounds | None" = None) -> None:
        self.plane = plane
        self.held_apart = False  # True: rounds don't overlap, because the caller has work after each
        self.while_waiting: Callable[[], None] = lambda: None
        """Called a few times a second while a reply is late, so that the caller can report incidents."""
        if former is None:
            self._pool = WorkerPool(plane.sizes, plane.block_name, deadline_s)
        else:
            self._pool = former._pool
        self.restarts = RestartPolicy(self._pool)
        self._fallback = FallbackWorker(plane)
        self._next_check_s = math.inf  # workers are not supervised yet
        self._cpus = np.arange(plane.sizes.cpus)
        self._round = 0
        self._under_way: deque[_Round] = deque()
        self._steered: dict[int, _Steering] = {}  # by batch, until a round serves it

    @property
    def incidents(self) -> deque[Incident]:
        """Incidents of workers; the caller removes those that it has reported."""
        return self.restarts.incidents

    @property
    def down(self) -> Iterable[int]:
        """Processors without a worker."""
        return self.restarts.down

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, by processor."""
        return self._pool.pids

    @property
    def reusable(self) -> bool:
        """Whether each processor has a worker that waits for an order."""
        return not self._under_way and not list(self.down) and self._pool.all_reply()

    @property
    def under_way(self) -> int:
        """Number of rounds in progress."""
        return len(self._under_way)

    @property
    def apart(self) -> bool:
        """Whether each round must end before the next begins, because there is work to do between them."""
        is_check_due = time.monotonic() > self._next_check_s
        unsettled = self._fallback.has_orphans or self.incidents or self.plane.shrinking
        return bool(self.held_apart or unsettled or is_check_due)

    def has_steered(self, part: Part) -> bool:
        """Return whether a round that has ended steered this part with the current tables."""
        return self._found_steered(part) is not None

    def steer(self, part: Part) -> None:
        """Let shards steer a part; the caller must not modify its batch until ``end``."""
        self._hand_out(0, None, set(), part)

    def begin(self, part: Part, horizon_ns: int, ahead: Part | None = None) -> None:
        """Let shards serve the frames of a part up to a time, and steer the part ``ahead``.

        During another round the part must have been steered already; otherwise this steers it first. The
        caller must not modify either batch until ``end``.
        """
        while (steered := self._found_steered(part)) is None:
            self.steer(part)
            self.end()
        del self._steered[part.batch]
        # Shards of a round in progress may have work left after it; that is not known yet.
        serving = set[int]().union(*(one.serving for one in self._under_way))
        if len(serving) < self.plane.sizes.cpus:
            serving.update(self._have_work(part, horizon_ns))
        self._round += 1
        self._hand_out(horizon_ns, steered, serving, ahead)

    def _have_work(self, part: Part, horizon_ns: int) -> list[int]:
        """Return the processors with frames in a part, or with an event before a time."""
        bounds = self.plane.views.bounds[part.batch, : part.blocks]
        has_frames = (bounds[:, 1:] != bounds[:, :-1]).any(axis=0)
        has_work = self.plane.views.cpus[self.plane.bank, self._cpus, CPU.next_event_ns] < horizon_ns
        found: list[int] = (has_frames | has_work).nonzero()[0].tolist()
        return found

    def end(self) -> bool:
        """Wait for the shards to end the oldest round, and publish its counts together.

        Returns whether the round served a part; False: it only steered.
        """
        one = self._under_way[0]
        self._take_in(one)
        self._under_way.popleft()
        if not self._under_way:
            self._fallback.settle_orphans()
            self.plane.settle_shrinking()
        if one.steered is None:
            return False
        self.plane.port += one.steered.port
        part = one.steered.part
        last_arrival_ns = self.plane.batches[part.batch].arrival_ns[part.frames - 1] if part.frames else 0
        self.plane.settle_time(one.horizon_ns, int(last_arrival_ns))
        return True

    def supervise(self) -> None:
        """Restart dead workers, a few times a second at most; call it after every round."""
        now_s = time.monotonic()
        if not self._under_way and not now_s < self._next_check_s < math.inf:
            self._next_check_s = now_s + _CHECK_S
            self.replace_dead()

    def replace_dead(self) -> None:
        """Restart workers that died or hang while idle, and those whose restart delay has passed."""
        for death in self._pool.deaths(self.down):
            self._on_worker_death(death)
        for cpu in self.restarts.poll():
            self.plane.wake(cpu)
        self._fallback.settle_orphans()

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def _found_steered(self, part: Part) -> _Steering | None:
        """Return the steering of this part with the current tables, if its round has ended; else None."""
        one = self._steered.get(part.batch)
        if one is None or (one.part, one.version) != (part, self.plane.steering_version):
            return None
        return None if any(other.ahead is one for other in self._under_way) else one

    def _hand_out(
        self, horizon_ns: int, steered: _Steering | None, serving: set[int], ahead: Part | None
    ) -> None:
        """Start a round: send its orders."""
        following, steering = None, set[int]()
        if ahead is not None:
            following = _Steering(ahead, self.plane.steering_version, np.zeros_like(self.plane.port))
            steering = serving.union(range(min(self.plane.sizes.cpus, ahead.blocks))).difference(self.down)
            self.plane.views.next_block[ahead.batch] = 0
            self._steered[ahead.batch] = following
            if not steering:
                self._fallback.steer(ahead.batch, ahead.frames, following.port)
        one = _Round(self._round, horizon_ns, steered, frozenset(serving), serving, following, steering)
        self._under_way.append(one)
        for cpu in sorted(serving | steering):
            self._send(cpu, one)

    def _order(self, cpu: int, one: _Round) -> bytes:
        """Return the order of a shard in a round, packed."""
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
        """Send an order, if the processor has a worker. Its death is handled when its reply is awaited."""
        one.missed.discard(cpu)
        if cpu in self.down:
            return
        try:
            self._pool.send(cpu, self._order(cpu, one))
        except WorkerDiedError:
            one.missed.add(cpu)

    def _take_in(self, one: _Round) -> None:
        """Wait for all replies to the oldest round.

        A worker that died is restarted: the frames that it served are lost, parts that it helped to steer are
        steered again, and the new worker gets the orders that the old one had not begun. Without a new
        worker, others do its share of steering, and the fallback worker takes back its due buffers.
        """
        for cpu in sorted(one.to_serve | one.steering):
            while cpu not in self.down and (cpu in one.serving or cpu in one.steering):
                if self._pool.has_reply(cpu):
                    self._receive_reply(cpu, one)
                else:
                    self._supervise_others(cpu)
            if cpu in one.to_serve and cpu in self.down:
                if cpu in one.serving:
                    self._recover(cpu, one)
                self._fallback.return_due(cpu, one.horizon_ns)

    def _receive_reply(self, cpu: int, one: _Round) -> bool:
        """Receive a worker's reply for a round; return False if the worker has died."""
        try:
            self._count(self._pool.receive(cpu), cpu, one)
        except WorkerDiedError as death:
            self._follow_up(death, None if cpu in one.missed else one)
            return False
        return True

    def _supervise_others(self, awaited: int) -> None:
        """While a reply is awaited, restart other workers that died or hang."""
        for cpu in self._pool.unresponsive({*self.down, awaited}):
            owed = [one for one in self._under_way if cpu in one.serving or cpu in one.steering]
            if all(self._receive_reply(cpu, one) for one in owed):
                self._on_worker_death(self._pool.death(cpu))
        self.while_waiting()

    def _follow_up(self, death: WorkerDiedError, during: _Round | None) -> None:
        """Recover from a death, and resend the orders that the worker had not begun to its replacement."""
        cpu = death.cpu
        if during is not None:
            self._forget_steered(cpu, during)
        self._on_worker_death(death, during)
        for one in self._under_way:
            if cpu in self.down:
                self._forget_steered(cpu, one)
            elif cpu in one.serving or cpu in one.steering:
                self._send(cpu, one)

    def _forget_steered(self, cpu: int, one: _Round) -> None:
        """Mark a round's part as not steered, because the blocks that the dead worker steered are unknown."""
        if cpu in one.steering:
            one.steering.remove(cpu)
            if one.ahead is not None and self._steered.get(one.ahead.part.batch) is one.ahead:
                del self._steered[one.ahead.part.batch]

    def _count(self, reply: bytes, cpu: int, one: _Round) -> None:
        """Add a shard's counts; port counters of a part it steered take effect when that part is served."""
        counts = np.frombuffer(reply, np.int64)
        ports = self.plane.port.size
        if one.ahead is not None and cpu in one.steering:
            one.steering.remove(cpu)
            one.ahead.port.ravel()[:] += counts[:ports]
        if cpu in one.serving:
            one.serving.remove(cpu)
            self.plane.matched[counts[ports::2]] += counts[ports + 1 :: 2]
            self.plane.bank[cpu] ^= 1

    def _on_worker_death(self, death: WorkerDiedError, during: _Round | None = None) -> None:
        """Count a dead worker's frames as lost, and restart it, now or later."""
        self.restarts.died(death, self._recover(death.cpu, during))

    def _recover(self, cpu: int, during: _Round | None) -> int:
        """Count a processor's frames as lost, pending ones and those of its round; return their number."""
        if during is None or during.steered is None or cpu not in during.serving:
            return self._fallback.recover(cpu)
        during.serving.remove(cpu)
        part = during.steered.part
        return self._fallback.recover(cpu, during.number, part.batch, part.blocks)
