"""An independent, slow model of the receive path: plain Python objects and one queue of events.

Written from the contract's "Time" and the design's "Simulated time decides"; it shares no code with
the kernels that it judges.
"""

import heapq
from collections import Counter, deque
from dataclasses import dataclass, field

FRAME, CHANGE, START = range(3)  # at equal times frames come first, and DPCs start last


@dataclass
class Costs:
    """Cycles, as the scenario's ``[cpu]`` has them."""

    mhz: int
    interrupt: int
    dpc: int
    frame: int
    byte_milli: int
    moderation_ns: int
    quota: int


@dataclass(eq=False)
class Dpc:
    """A DPC in progress."""

    taken: int
    cycles: int


@dataclass
class Queue:
    """A queue of the model; ``place`` is (adapter, queue id)."""

    place: tuple[int, int]
    cpu: int
    buffers: int
    delay_ns: int = 0
    limit: int = 65_535
    pending: deque[tuple[int, bool, int]] = field(default_factory=deque)
    latencies_ns: list[int] = field(default_factory=list)
    outstanding: int = 0
    overdue: int = 0  # of those outstanding, what a paused VM would have returned
    held: bool = False
    low_free: int = 65_536
    armed: tuple[int, bool] | None = None
    dpc: "Dpc | None" = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def free(self) -> int:
        """Buffers neither pending nor outstanding."""
        return self.buffers - len(self.pending) - self.outstanding


@dataclass
class Cpu:
    """A processor of the model."""

    busy: bool = False
    counts: Counter[str] = field(default_factory=Counter)


class Model:
    """Runs frames through queues. ``at`` schedules, ``run_before`` lets time pass."""

    def __init__(self, cpus: int, queues: list[Queue], costs: Costs) -> None:
        self.cpus = [Cpu() for _ in range(cpus)]
        self.queues = {queue.place: queue for queue in queues}
        self.costs = costs
        self.events: list[tuple[int, int, int, tuple[object, ...]]] = []
        self.scheduled = 0

    def at(self, time_ns: int, kind: int, *what: object) -> None:
        """Schedule something; things of one time and kind happen in the order scheduled."""
        self.scheduled += 1
        heapq.heappush(self.events, (time_ns, kind, self.scheduled, what))

    def frame(self, time_ns: int, place: tuple[int, int], wire: int, has_port: bool) -> None:
        """A frame that steering gave to a queue."""
        self.at(time_ns, FRAME, "frame", place, wire, has_port)

    def run_before(self, horizon_ns: float) -> None:
        """Do everything that happens before a time."""
        while self.events and self.events[0][0] < horizon_ns:
            now, _, _, (what, *details) = heapq.heappop(self.events)
            getattr(self, f"_{what}")(now, *details)

    def _frame(self, now: int, place: tuple[int, int], wire: int, has_port: bool) -> None:
        queue = self.queues[place]
        queue.counts["steered_frames"] += 1
        queue.counts["steered_bytes"] += wire
        if queue.free == 0:
            queue.counts["dropped_no_buffer"] += 1
            return
        queue.counts["received_frames"] += 1
        queue.pending.append((wire, has_port, now))
        queue.low_free = min(queue.low_free, queue.free)
        if queue.armed is None and queue.dpc is None:
            self._arm(now + self.costs.moderation_ns, queue, True)

    def _arm(self, time_ns: int, queue: Queue, interrupt: bool) -> None:
        queue.armed = (time_ns, interrupt)
        self.at(time_ns, START, "start", queue.cpu)

    def _start(self, now: int, number: int) -> None:
        cpu = self.cpus[number]
        ready = [
            (queue.armed[0], queue.place)
            for queue in self.queues.values()
            if queue.cpu == number and queue.armed is not None and queue.armed[0] <= now
        ]
        if cpu.busy or not ready:
            return
        queue = self.queues[min(ready)[1]]
        assert queue.armed is not None
        interrupt = queue.armed[1]
        queue.armed = None
        cpu.busy = True
        taken = min(len(queue.pending), self.costs.quota)
        copied = sum(min(wire, queue.limit) for wire, _, _ in list(queue.pending)[:taken])
        cycles = self.costs.dpc + taken * self.costs.frame + copied * self.costs.byte_milli // 1000
        if interrupt:
            cycles += self.costs.interrupt
        for counts in (queue.counts, cpu.counts):
            counts["interrupts"] += interrupt
            counts["dpcs"] += 1
        lasts = (cycles * 1000 + self.costs.mhz - 1) // self.costs.mhz
        queue.dpc = Dpc(taken, cycles)
        self.at(now + lasts, CHANGE, "end", number, queue.place, queue.dpc)

    def _end(self, now: int, number: int, place: tuple[int, int], dpc: Dpc) -> None:
        cpu, queue = self.cpus[number], self.queues[place]
        cpu.busy = False
        cpu.counts["busy_cycles"] += dpc.cycles
        self.at(now, START, "start", number)
        if queue.dpc is not dpc:
            return  # what it took is gone
        queue.dpc = None
        cpu.counts["indicated_frames"] += dpc.taken
        for _ in range(dpc.taken):
            _, has_port, arrived = queue.pending.popleft()
            queue.latencies_ns.append(now - arrived)
            queue.counts["indicated_frames"] += 1
            queue.counts["switch_dropped_frames"] += not has_port
            if has_port and (queue.delay_ns or queue.held):
                queue.outstanding += 1
                self.at(now + queue.delay_ns, CHANGE, "returned", place)
            else:
                queue.counts["returned_frames"] += 1
        if queue.pending:
            self._arm(now, queue, False)

    def _returned(self, now: int, place: tuple[int, int]) -> None:
        queue = self.queues[place]
        if queue.held:
            queue.overdue += 1
            return
        queue.outstanding -= 1
        queue.counts["returned_frames"] += 1

    def move(self, place: tuple[int, int], cpu: int, now: int) -> None:
        """Let another processor serve a queue from now on; a DPC in progress ends where it began."""
        queue = self.queues[place]
        if queue.cpu != cpu and queue.armed is not None:
            queue.armed = (max(queue.armed[0], now), queue.armed[1])
            self.at(queue.armed[0], START, "start", cpu)
        queue.cpu = cpu

    def hold(self, place: tuple[int, int], held: bool, now: int) -> None:
        """Pause or resume a queue's VM."""
        queue = self.queues[place]
        queue.held = held
        while not held and queue.overdue:
            queue.overdue -= 1
            self.at(now, CHANGE, "returned", place)

    def empty(self, place: tuple[int, int], why: str) -> None:
        """What is pending goes, counted as ``why``; a DPC in progress then hands up nothing."""
        queue = self.queues[place]
        queue.counts[why] += len(queue.pending)
        queue.pending.clear()
        queue.armed = queue.dpc = None

    def lose(self, place: tuple[int, int], wire: int) -> None:
        """A frame that went to a worker which then died."""
        queue = self.queues[place]
        queue.counts.update(steered_frames=1, steered_bytes=wire, received_frames=1, lost_frames=1)
