"""The live loop: a thread that advances a machine's simulated time, with the wall clock or on demand.

Rounds, requests and readings all run in this thread. It takes a reading at each interval of simulated time,
and another each second for summaries. If the wall clock drives simulated time and that runs too slowly, it
takes the reading one and a half intervals of wall time after the previous one. While simulated time stands
still, it takes a reading after each change of the configuration.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from engine.kernels.layout import NEVER_NS
from engine.service.machine import Machine
from engine.service.pacing import ClockName, Pacer, Ticks, pacer
from engine.service.sources import ActiveSource, is_synthetic
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from engine.telemetry.summary import SUMMARY_EVERY_NS
from engine.traffic.batch import LiveSource
from engine.workers.conductor import Conductor

T = TypeVar("T")

_ENDED: Final = "the engine is stopping and takes no more requests"

_IDLE_STEP_NS: Final = 250_000_000
_SKIP_REPORTED_NS: Final = 1_000_000
_CHECK_S: Final = 0.2
"""Workers are supervised this often while simulated time stands still."""
_REST_NS: Final = 3_000_000_000
"""A fast clock stands still when nothing has happened for this long: episodes of drops have ended by then."""


class LoopEndedError(Exception):
    """A submitted call was not run because the loop has ended."""


class ClockRunsError(Exception):
    """Simulated time was not advanced because it passes by itself."""


@dataclass(frozen=True)
class LoopCallbacks:
    """Callbacks of the loop, called in its thread; they must not block.

    ``summary`` gets the reading to summarize, ``failed`` the error that ended the loop; ``at_rest`` is called
    a few times a second while simulated time stands still.
    """

    stats: Callable[[Stats], None]
    summary: Callable[[Stats], None]
    config: Callable[[Config], None]
    event: Callable[[Event], None]
    failed: Callable[[BaseException], None]
    at_rest: Callable[[], None]


class LiveLoop:
    """Runs a machine until ``stop``; ``interval_ns`` is the simulated time between readings.

    The pacer of the ``clock`` handles a machine that is too slow for its traffic. Simulated time advances to
    ``_goal_ns`` and stands still there; ``advance`` sets the next goal. A fast clock's first goal is
    ``run_to``, a time in ns or a condition on a reading; a manual clock's is 0. ``unfed_since_ns`` is the
    simulated time at which the last source, or the last frame from memory, ended; None before that.
    """

    def __init__(
        self,
        machine: Machine,
        active: ActiveSource,
        interval_ns: int,
        callbacks: LoopCallbacks,
        clock: ClockName = "real",
        run_to: int | Callable[[Stats], bool] = NEVER_NS,
    ) -> None:
        self.machine = machine
        self.kept: Machine | None = None
        self._close_error: BaseException | None = None
        self._active = active
        self._source = active.source  # the conductor's current source
        self._conductor = Conductor(machine.rounds, active.source, active.injected)
        machine.rounds.while_waiting = self._meanwhile
        self._interval_ns = interval_ns
        self._callbacks = callbacks
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmq-conductor", daemon=True)
        self._revision = machine.host.revision
        self._skipped_ns = 0
        self._clock: ClockName = clock
        self._pacer: Pacer = pacer(clock, 0)
        self._goal_ns = 0 if clock == "manual" else NEVER_NS if callable(run_to) else run_to
        self._goal_reached: Callable[[Stats], bool] | None = run_to if callable(run_to) else None
        self._arriving: Future[Stats] | None = None
        """The advance under way."""
        self._interrupted = threading.Event()
        self.unfed_since_ns: int | None = 0 if active.source is None else None
        self._busy_ns = 0  # last simulated time with a source, or an event to come
        self._summary_due = False
        self._unpublished = False  # whether time has advanced since the last published reading
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

    @property
    def is_synthetic(self) -> bool:
        """Whether the frames come from the scenario's traffic, which never ends."""
        return is_synthetic(self._active.source)

    @property
    def interrupted(self) -> bool:
        """Whether ``stop`` was called; an advance under way then ends early."""
        return self._interrupted.is_set()

    def advance(self, time_ns: int) -> "Future[Stats]":
        """Advance a clock that stands still by ``time_ns``; the future has the reading at that moment.

        Calls submitted meanwhile run after it. If the future is cancelled, time stands still at once. It
        fails with ClockRunsError if time passes by itself.
        """
        arriving: Future[Stats] = Future()

        def begin() -> None:
            if self.machine.plane.now_ns < self._goal_ns:
                raise ClockRunsError
            self._goal_ns = self.machine.plane.now_ns + time_ns
            self._arriving = arriving
            if not time_ns:
                self._arrive(self._take_reading())

        def begun(call: "Future[None]") -> None:
            error = call.exception()
            if error is not None and arriving.set_running_or_notify_cancel():
                arriving.set_exception(error)

        self.submit(begin).add_done_callback(begun)
        return arriving

    def receive(self, frames: Sequence[bytes], adapter: str | None, at_s: float | None) -> None:
        """Send frames from memory; run this in the loop's thread (``submit``). Raises as ``ActiveSource``."""
        self._active.receive(frames, adapter, at_s, self.machine.plane.now_ns)
        if self._conductor.is_fed:
            self.unfed_since_ns = None

    def stop(self, *, keep_machine: bool = False) -> Stats | None:
        """Stop the loop and the machine's workers; return the last reading, None if the loop did not start or
        had failed.

        ``keep_machine``: if the machine is reusable then, ``kept`` is that machine, for another one to take
        over.
        """
        self._interrupted.set()
        last: list[Stats] = []

        def finish() -> None:
            self._stopping.set()
            self.machine.stop()
            last.append(self._read())
            self._report()
            if keep_machine and self.machine.reusable:
                self.kept = self.machine

        if self._thread.ident is None:
            self._close()
            return None
        try:
            with contextlib.suppress(LoopEndedError):
                self.submit(finish).result()
        finally:
            self._thread.join()
        if self._close_error is not None:
            error, self._close_error = self._close_error, None
            raise error
        return last[0] if last else None

    def _run(self) -> None:
        try:
            self._keep_time()
        except BaseException as error:
            self._callbacks.failed(error)
        finally:
            try:
                self._close()
            except BaseException as error:
                self._close_error = error

    def _close(self) -> None:
        self._ended.set()
        self._abandon()
        self._refuse_calls()
        try:
            if self.kept is None:
                self.machine.close()
        finally:
            self._active.close()

    def _refuse_calls(self) -> None:
        while True:
            try:
                future, _ = self._calls.get_nowait()
            except queue.Empty:
                return
            if future.set_running_or_notify_cancel():
                future.set_exception(LoopEndedError(_ENDED))

    def _keep_time(self) -> None:
        machine = self.machine
        started_ns = time.monotonic_ns()
        pace = self._pacer = pacer(self._clock, started_ns)
        stats_ticks = Ticks(self._interval_ns, started_ns, pace.paced)
        summary_ticks = Ticks(SUMMARY_EVERY_NS, started_ns, pace.paced)
        first = self._read()
        self._callbacks.stats(first)
        self._callbacks.summary(first)
        while not self._stopping.is_set():
            if self._stands():
                self._stand_still()
                continue
            step_ns = pace.step_ns if self._conductor.is_fed else _IDLE_STEP_NS
            horizon_ns = min(
                machine.plane.now_ns + step_ns,
                stats_ticks.at_ns,
                summary_ticks.at_ns,
                machine.balancing.due_ns,
                self._goal_ns,
                NEVER_NS if pace.paced else machine.next_free_ns,
            )
            if self._arriving is None:
                self._answer_until(pace.due_ns(horizon_ns))
            elif self._arriving.cancelled() or self._interrupted.is_set():
                self._abandon()
                continue
            if self._stopping.is_set():
                return
            fed, has_source = self._conductor.is_fed, self._conductor.source is not None
            self._rounds = 0
            began_ns = time.monotonic_ns()
            self._conductor.run_to(horizon_ns, self._after_round)
            now_ns = time.monotonic_ns()
            pace.stepped(horizon_ns, now_ns, now_ns - began_ns, self._rounds)
            machine.balancing.settle()
            if fed and not self._conductor.is_fed:
                self.unfed_since_ns = horizon_ns
            if has_source and self._conductor.source is None:
                self._report_end()
            for_stats = stats_ticks.take(horizon_ns, now_ns)
            self._after_step(now_ns, for_stats, summary_ticks.take(horizon_ns, now_ns))

    def _after_step(self, wall_ns: int, for_stats: bool, for_summary: bool) -> None:
        """Take the reading that is due after a step, if any, publish it, and report everything else."""
        has_arrived = self.machine.plane.now_ns >= self._goal_ns
        self._unpublished = True
        self._summary_due |= for_summary
        if for_stats or for_summary or has_arrived:
            published = has_arrived or (for_stats and self._pacer.may_publish(wall_ns))
            reading = self._read(numbered=published)
            if self._goal_reached is not None and self._goal_reached(reading):
                self._goal_reached, self._goal_ns = None, self.machine.plane.now_ns
            if published:
                self._publish(reading)
            elif self._clock != "fast":
                self._publish_summary(reading)
        self._report()
        if has_arrived:
            self._arrive(reading)

    def _publish(self, reading: Stats) -> None:
        self._unpublished = False
        self._callbacks.stats(reading)
        self._publish_summary(reading)

    def _publish_summary(self, reading: Stats) -> None:
        if self._summary_due:
            self._summary_due = False
            self._callbacks.summary(reading)

    def _stands(self) -> bool:
        """Whether simulated time stands still until a call sets a goal, or gives a fast clock work."""
        plane = self.machine.plane
        if plane.now_ns >= self._goal_ns:
            return True
        if self._clock != "fast":
            return False
        if self._conductor.is_fed or plane.next_event_ns < NEVER_NS:
            self._busy_ns = plane.now_ns
        return plane.now_ns - self._busy_ns >= _REST_NS

    def _stand_still(self) -> None:
        """Run the next submitted call, or supervise the workers if none comes."""
        if self._unpublished:
            self._take_reading()
        try:
            future, call = self._calls.get(timeout=_CHECK_S)
        except queue.Empty:
            self.machine.settle()
            self._report()
            self._callbacks.at_rest()
        else:
            self._run_call(future, call, at_rest=True)

    def _take_reading(self) -> Stats:
        """Take a reading, and report it and everything before it."""
        reading = self._read()
        self._publish(reading)
        self._report()
        return reading

    def _arrive(self, reading: Stats) -> None:
        """End the advance under way."""
        arriving, self._arriving = self._arriving, None
        if arriving is not None and arriving.set_running_or_notify_cancel():
            arriving.set_result(reading)

    def _abandon(self) -> None:
        """End the advance under way, if any, before its goal."""
        arriving, self._arriving = self._arriving, None
        if arriving is None:
            return
        self._goal_ns = self.machine.plane.now_ns
        if arriving.set_running_or_notify_cancel():
            arriving.set_exception(LoopEndedError(_ENDED))
        elif not self._ended.is_set():
            self._take_reading()

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
            self._run_call(future, call)

    def _run_call(self, future: Future[Any], call: Callable[[], Any], *, at_rest: bool = False) -> None:
        """Run a submitted call; ``at_rest``: its effects are reported before its result."""
        if not future.set_running_or_notify_cancel():
            self._report()
            return
        revision = self.machine.host.revision
        result, failure = None, None
        try:
            result = call()
        except BaseException as error:
            failure = error
        self._take_source()
        if at_rest:
            if self.machine.host.revision != revision and not self._stopping.is_set():
                self._take_reading()
            self._report()
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
        self._report()

    def _take_source(self) -> None:
        """Give the conductor the active source, which a request may have replaced."""
        if self._active.source is not self._source:
            self._source = self._conductor.source = self._active.source
            self.unfed_since_ns = None if self._conductor.is_fed else self.machine.plane.now_ns
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
