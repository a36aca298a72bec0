"""The live loop: a thread that advances a machine's simulated time with the wall clock.

Rounds, requests and readings all run in this thread. It takes a reading at each interval of simulated time,
and another each second for summaries. If simulated time runs too slowly for that, it takes the reading one
and a half intervals of wall time after the previous one.
"""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from engine.service.machine import Machine
from engine.service.sources import ActiveSource
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from engine.telemetry.summary import SUMMARY_EVERY_NS
from engine.traffic.batch import LiveSource
from engine.workers.conductor import Conductor

MOST_BEHIND_NS: Final = 1_000_000_000
"""Largest delay that simulated time catches up with; any further delay is given up."""

FIRST_STEP_NS: Final = 100_000
LONGEST_STEP_NS: Final = 20_000_000
_LONG_NS: Final = 50_000_000
_RATIO_OVER_NS: Final = 1_000_000_000
_MARKS: Final = 1024


class RealTimePacer:
    """Maps simulated time to the wall clock. All times are in ns; ``wall_ns`` is monotonic time.

    If the machine is too slow for its traffic, simulated time runs as fast as it can. It catches up with up
    to a second of delay and gives up the rest, so that the elapsed wall time always equals simulated time +
    ``behind_ns`` + ``given_up_ns``.

    ``step_ns`` is how far to advance simulated time in one step: at most 50 ms of wall time, so that requests
    and readings are not delayed, but at least a whole round, because a shorter one costs nearly as much.
    """

    def __init__(self, wall_ns: int) -> None:
        self.given_up_ns = 0
        self.step_ns = FIRST_STEP_NS
        self._zero_ns = wall_ns  # due time of simulated time 0, plus given_up_ns
        self._marks: deque[tuple[int, int]] = deque(maxlen=_MARKS)

    def due_ns(self, sim_ns: int) -> int:
        """The wall time at which a simulated time is due."""
        return self._zero_ns + sim_ns

    def behind_ns(self, sim_ns: int, wall_ns: int) -> int:
        """Delay of simulated time behind the wall clock, 0 if it is on time."""
        return max(0, wall_ns - self.due_ns(sim_ns))

    def stepped(self, sim_ns: int, wall_ns: int, took_ns: int, rounds: int) -> None:
        """Record a step to ``sim_ns`` that took ``rounds`` rounds; adapt ``step_ns`` and ``given_up_ns``."""
        if took_ns > _LONG_NS and rounds > 1:
            self.step_ns = max(self.step_ns * _LONG_NS // took_ns, self.step_ns // rounds, 1)
        elif took_ns < _LONG_NS // 2 or rounds <= 1:  # even a slow round may not have been full
            self.step_ns = min(2 * self.step_ns, LONGEST_STEP_NS)
        late_ns = wall_ns - self.due_ns(sim_ns) - MOST_BEHIND_NS
        if late_ns > 0:
            self.given_up_ns += late_ns
            self._zero_ns += late_ns

    def start_over(self) -> None:
        """Reset the step length because the traffic has changed."""
        self.step_ns = FIRST_STEP_NS

    def real_time_ratio(self, sim_ns: int, wall_ns: int) -> float | None:
        """Simulated time / wall time over about the last second; None at the first call."""
        while len(self._marks) > 1 and wall_ns - self._marks[1][0] >= _RATIO_OVER_NS:
            self._marks.popleft()
        self._marks.append((wall_ns, sim_ns))
        since_wall_ns, since_sim_ns = self._marks[0]
        elapsed_ns = wall_ns - since_wall_ns
        return (sim_ns - since_sim_ns) / elapsed_ns if elapsed_ns else None


T = TypeVar("T")

_IDLE_STEP_NS: Final = 250_000_000
_SKIP_REPORTED_NS: Final = 1_000_000


class LoopEndedError(Exception):
    """A submitted call was not run because the loop has ended."""


@dataclass(frozen=True)
class LoopCallbacks:
    """Callbacks of the loop, called in its thread; they must not block.

    ``summary`` gets the reading to summarize, ``failed`` the error that ended the loop.
    """

    stats: Callable[[Stats], None]
    summary: Callable[[Stats], None]
    config: Callable[[Config], None]
    event: Callable[[Event], None]
    failed: Callable[[BaseException], None]


class _Ticks:
    """Due times of one kind of reading: each interval of simulated time, and at the latest one and a half
    intervals of wall time after the previous reading."""

    def __init__(self, interval_ns: int, wall_ns: int) -> None:
        self._interval_ns = interval_ns
        self._taken_wall_ns = wall_ns
        self.at_ns = interval_ns

    def take(self, sim_ns: int, wall_ns: int) -> bool:
        """Return whether a reading is due now; if so, schedule the next one."""
        on_time = sim_ns >= self.at_ns
        due = on_time or 2 * (wall_ns - self._taken_wall_ns) >= 3 * self._interval_ns
        if due:
            self._taken_wall_ns = wall_ns
        if on_time:
            self.at_ns += self._interval_ns
        return due


class LiveLoop:
    """Runs a machine until ``stop``; ``interval_ns`` is the simulated time between readings.

    ``RealTimePacer`` handles a machine that is too slow for its traffic.
    """

    def __init__(
        self, machine: Machine, active: ActiveSource, interval_ns: int, callbacks: LoopCallbacks
    ) -> None:
        self.machine = machine
        self._active = active
        self._source = active.source  # the conductor's current source
        self._conductor = Conductor(machine.rounds, active.source)
        machine.rounds.while_waiting = self._meanwhile
        self._interval_ns = interval_ns
        self._callbacks = callbacks
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmq-conductor", daemon=True)
        self._revision = machine.host.revision
        self._skipped_ns = 0
        self._pacer = RealTimePacer(0)
        self._rounds = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Run a call in the loop's thread, between two rounds; the future fails with LoopEndedError if the
        loop has ended."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        if self._ended.is_set():
            self._refuse_calls()
        return future

    def stop(self) -> Stats | None:
        """Stop the loop and the machine's workers; return the last reading, None if the loop did not start or
        had failed."""
        last: list[Stats] = []

        def finish() -> None:
            self._stopping.set()
            self.machine.stop()
            last.append(self._read())
            self._report()

        if self._thread.ident is None:
            self._close()
            return None
        with contextlib.suppress(LoopEndedError):
            self.submit(finish).result()
        self._thread.join()
        return last[0] if last else None

    def _run(self) -> None:
        try:
            self._keep_time()
        except BaseException as error:
            self._callbacks.failed(error)
        finally:
            self._close()

    def _close(self) -> None:
        self._ended.set()
        self._refuse_calls()
        self.machine.close()
        self._active.close()

    def _refuse_calls(self) -> None:
        while True:
            try:
                future, _ = self._calls.get_nowait()
            except queue.Empty:
                return
            if future.set_running_or_notify_cancel():
                future.set_exception(LoopEndedError("the engine is stopping and takes no more requests"))

    def _keep_time(self) -> None:
        machine = self.machine
        started_ns = time.monotonic_ns()
        pacer = self._pacer = RealTimePacer(started_ns)
        stats_ticks = _Ticks(self._interval_ns, started_ns)
        summary_ticks = _Ticks(SUMMARY_EVERY_NS, started_ns)
        first = self._read()
        self._callbacks.stats(first)
        self._callbacks.summary(first)
        while not self._stopping.is_set():
            step_ns = _IDLE_STEP_NS if self._conductor.source is None else pacer.step_ns
            horizon_ns = min(
                machine.plane.now_ns + step_ns,
                stats_ticks.at_ns,
                summary_ticks.at_ns,
                machine.balancing.due_ns,
            )
            self._answer_until(pacer.due_ns(horizon_ns))
            if self._stopping.is_set():
                return
            fed = self._conductor.source is not None
            self._rounds = 0
            began_ns = time.monotonic_ns()
            self._conductor.run_to(horizon_ns, self._after_round)
            now_ns = time.monotonic_ns()
            pacer.stepped(horizon_ns, now_ns, now_ns - began_ns, self._rounds)
            machine.balancing.settle()
            if fed and self._conductor.source is None:
                self._report_end()
            for_stats = stats_ticks.take(horizon_ns, now_ns)
            for_summary = summary_ticks.take(horizon_ns, now_ns)
            if for_stats or for_summary:
                reading = self._read(numbered=for_stats)
                if for_stats:
                    self._callbacks.stats(reading)
                if for_summary:
                    self._callbacks.summary(reading)
            self._report()

    def _after_round(self) -> None:
        self._rounds += 1
        self.machine.settle()

    def _meanwhile(self) -> None:
        """Report incidents of other workers; called while a worker hangs."""
        self.machine.report_workers()
        self._report_events()

    def _answer_until(self, due_ns: int) -> None:
        """Run submitted calls until a wall time; if it has passed, run only the calls already in the queue.

        This keeps a flood of requests from stopping simulated time.
        """
        waiting: int | None = None
        while not self._stopping.is_set():
            left_ns = due_ns - time.monotonic_ns()
            if left_ns <= 0:
                waiting = (self._calls.qsize() if waiting is None else waiting) - 1
                if waiting < 0:
                    return
            try:
                future, call = self._calls.get(block=left_ns > 0, timeout=max(left_ns, 0) / 1e9)
            except queue.Empty:
                continue
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
                self._take_source()
            self._report()

    def _take_source(self) -> None:
        """Give the conductor the active source, which a request may have replaced."""
        if self._active.source is not self._source:
            self._source = self._conductor.source = self._active.source
            self._pacer.start_over()

    def _read(self, *, numbered: bool = True) -> Stats:
        skipped_ns = self._source.skipped_ns if self._source is not None else 0
        if skipped_ns - self._skipped_ns > _SKIP_REPORTED_NS:
            skipped_s = (skipped_ns - self._skipped_ns) / 1e9
            self.machine.add_event("gap_shortened", f"{skipped_s:.3f} s were cut out of gaps of over 1 s")
            self._skipped_ns = skipped_ns
        sim_ns, wall_ns = self.machine.plane.now_ns, time.monotonic_ns()
        return msgspec.structs.replace(
            self.machine.stats(
                behind_ns=self._pacer.behind_ns(sim_ns, wall_ns), skipped_ns=skipped_ns, numbered=numbered
            ),
            given_up_ns=self._pacer.given_up_ns,
            real_time_ratio=self._pacer.real_time_ratio(sim_ns, wall_ns),
        )

    def _report_end(self) -> None:
        broken: Any = getattr(self._source, "broken", None)
        skipped: Any = getattr(self._source, "skipped_frames", 0)
        event = "interface_ended" if isinstance(self._source, LiveSource) else "capture_ended"
        cause = broken or "the capture has ended; the engine goes on without frames"
        left_out = f"; frames of interfaces that are not Ethernet, left out: {skipped}" if skipped else ""
        self.machine.add_event(event, cause + left_out)

    def _report(self) -> None:
        if self.machine.host.revision != self._revision:
            self._revision = self.machine.host.revision
            self._callbacks.config(self.machine.config())
        self._report_events()

    def _report_events(self) -> None:
        for event in self.machine.take_events():
            self._callbacks.event(event)
