"""The live loop: a thread that keeps a machine's simulated time on the wall clock.

It is the conductor's thread, so everything that touches the machine happens in it: rounds, requests,
readings. At each interval of simulated time, and each second of it for summaries, it hands over the counters
as they stand at that time; where simulated time is too slow for that, one and a half intervals of wall time
after the last ones.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from engine.service.feed import Feed
from engine.service.machine import Machine
from engine.service.pace import Pace
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from engine.telemetry.summary import SUMMARY_EVERY_NS
from engine.traffic.batch import LiveSource
from engine.workers.conductor import Conductor

T = TypeVar("T")

_IDLE_STEP_NS: Final = 250_000_000
_SKIP_TOLD_NS: Final = 1_000_000


class LoopEndedError(Exception):
    """What was submitted was not run: simulated time has ended."""


@dataclass(frozen=True)
class Listener:
    """Receivers of what the engine reports, called in the loop's thread; they must return at once.

    ``summary`` is given the reading that a summary is made from.
    """

    stats: Callable[[Stats], None]
    summary: Callable[[Stats], None]
    config: Callable[[Config], None]
    event: Callable[[Event], None]
    failed: Callable[[BaseException], None]


class _Ticks:
    """When readings of one kind are due: at each interval of simulated time, and at the latest one and a half
    intervals of wall time after the last one."""

    def __init__(self, interval_ns: int, wall_ns: int) -> None:
        self._interval_ns = interval_ns
        self._taken_wall_ns = wall_ns
        self.at_ns = interval_ns

    def take(self, sim_ns: int, wall_ns: int) -> bool:
        """Whether a reading is due now; then the next is an interval later."""
        on_time = sim_ns >= self.at_ns
        due = on_time or 2 * (wall_ns - self._taken_wall_ns) >= 3 * self._interval_ns
        if due:
            self._taken_wall_ns = wall_ns
        if on_time:
            self.at_ns += self._interval_ns
        return due


class LiveLoop:
    """Runs until ``stop``. ``interval_ns`` is the time between readings, of the simulated clock.

    ``Pace`` says what becomes of a machine that is too slow for its traffic.
    """

    def __init__(self, machine: Machine, feed: Feed, interval_ns: int, listener: Listener) -> None:
        self.machine = machine
        self._feed = feed
        self._source = feed.source  # what the conductor was given
        self._conductor = Conductor(machine.rounds, feed.source)
        machine.rounds.while_waiting = self._meanwhile
        self._interval_ns = interval_ns
        self._listener = listener
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmq-conductor", daemon=True)
        self._revision = machine.host.revision
        self._skipped_ns = 0
        self._pace = Pace(0)
        self._rounds = 0

    def start(self) -> None:
        """Let simulated time begin."""
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Run something in the loop's thread, between two rounds; LoopEndedError when there is none more."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        if self._ended.is_set():
            self._refuse_calls()
        return future

    def stop(self) -> Stats | None:
        """End simulated time and the machine's workers; the last counters, if it had not ended before."""
        last: list[Stats] = []

        def finish() -> None:
            self._stopping.set()
            self.machine.stop()
            last.append(self._read())
            self._tell()

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
            self._listener.failed(error)
        finally:
            self._close()

    def _close(self) -> None:
        self._ended.set()
        self._refuse_calls()
        self.machine.close()
        self._feed.close()

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
        pace = self._pace = Pace(started_ns)
        stats_ticks = _Ticks(self._interval_ns, started_ns)
        summary_ticks = _Ticks(SUMMARY_EVERY_NS, started_ns)
        first = self._read()
        self._listener.stats(first)
        self._listener.summary(first)
        while not self._stopping.is_set():
            step_ns = _IDLE_STEP_NS if self._conductor.source is None else pace.step_ns
            horizon_ns = min(
                machine.plane.now_ns + step_ns,
                stats_ticks.at_ns,
                summary_ticks.at_ns,
                machine.balancing.due_ns,
            )
            self._answer_until(pace.due_ns(horizon_ns))
            if self._stopping.is_set():
                return
            fed = self._conductor.source is not None
            self._rounds = 0
            began_ns = time.monotonic_ns()
            self._conductor.run_to(horizon_ns, self._after_round)
            now_ns = time.monotonic_ns()
            pace.stepped(horizon_ns, now_ns, now_ns - began_ns, self._rounds)
            machine.balancing.settle()
            if fed and self._conductor.source is None:
                self._tell_of_end()
            for_stats = stats_ticks.take(horizon_ns, now_ns)
            for_summary = summary_ticks.take(horizon_ns, now_ns)
            if for_stats or for_summary:
                reading = self._read(numbered=for_stats)
                if for_stats:
                    self._listener.stats(reading)
                if for_summary:
                    self._listener.summary(reading)
            self._tell()

    def _after_round(self) -> None:
        self._rounds += 1
        self.machine.settle()

    def _meanwhile(self) -> None:
        """While a worker hangs: tell of others."""
        self.machine.tell_of_workers()
        self._tell_events()

    def _answer_until(self, due_ns: int) -> None:
        """Run what was submitted; wait for more until a time. Past it, run what waits then and no more.

        So requests, however many come, don't keep simulated time from going on.
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
            self._tell()

    def _take_source(self) -> None:
        """A request may have put another source in the feed."""
        if self._feed.source is not self._source:
            self._source = self._conductor.source = self._feed.source
            self._pace.start_over()

    def _read(self, *, numbered: bool = True) -> Stats:
        skipped_ns = self._source.skipped_ns if self._source is not None else 0
        if skipped_ns - self._skipped_ns > _SKIP_TOLD_NS:
            skipped_s = (skipped_ns - self._skipped_ns) / 1e9
            self.machine.tell("gap_shortened", f"{skipped_s:.3f} s were cut out of gaps of over 1 s")
            self._skipped_ns = skipped_ns
        sim_ns, wall_ns = self.machine.plane.now_ns, time.monotonic_ns()
        return msgspec.structs.replace(
            self.machine.stats(
                behind_ns=self._pace.behind_ns(sim_ns, wall_ns), skipped_ns=skipped_ns, numbered=numbered
            ),
            given_up_ns=self._pace.given_up_ns,
            real_time_ratio=self._pace.real_time_ratio(sim_ns, wall_ns),
        )

    def _tell_of_end(self) -> None:
        broken: Any = getattr(self._source, "broken", None)
        skipped: Any = getattr(self._source, "skipped_frames", 0)
        event = "interface_ended" if isinstance(self._source, LiveSource) else "capture_ended"
        cause = broken or "the capture has ended; the engine goes on without frames"
        left_out = f"; frames of interfaces that are not Ethernet, left out: {skipped}" if skipped else ""
        self.machine.tell(event, cause + left_out)

    def _tell(self) -> None:
        if self.machine.host.revision != self._revision:
            self._revision = self.machine.host.revision
            self._listener.config(self.machine.config())
        self._tell_events()

    def _tell_events(self) -> None:
        for event in self.machine.take_events():
            self._listener.event(event)
