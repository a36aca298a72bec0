"""The interface of an engine for programs: waits, rows, the memory of VMs, and frames to receive.

Every wait that ends without success raises an error that names what the engine reported last.
"""

import asyncio
import inspect
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar, overload

from engine.counted import counted
from engine.service import arguments
from engine.service.live import LiveLoop, LoopEndedError
from engine.service.pacing import ClockName
from engine.service.rows import AdapterRow, CpuRow, Latest, NoSuchRowError, QueueRow, Rows
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats, known
from engine.traffic.injected import Frame, frames_of
from engine.waiting import WaitTimeoutError, last_seen, source_of, wait_timeout

EVENTS_KEPT: Final = 10_000
"""Events that an engine keeps for ``event``, from its start on; then the oldest are dropped and counted."""
STEP_S: Final = 0.01
TIMEOUT_S: Final = 5.0
ENDED_STEP_S: Final = 0.25
ENDED_TIMEOUT_S: Final = 60.0

_POLL_S: Final = 0.05
"""A condition is checked at least this often (wall time), because it may depend on other things, too."""
_SHOWN_EVENTS: Final = 5
_SHOWN_HOLDS: Final = 4

T = TypeVar("T")


class EngineEndedError(Exception):
    """The engine has failed, has ended or has not started; the text is a sentence."""


class EngineApi:
    """The part of an engine that programs use: it keeps what the engine has reported, and waits for more."""

    def __init__(self) -> None:
        self.stats: Stats | None = None
        self.failure: BaseException | None = None
        self.stopped: asyncio.Event = asyncio.Event()
        self.config: Config | None = None
        self._clock: ClockName = "real"
        self._loop_capture = False
        self._live: LiveLoop | None = None
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._starting_over = False
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._events_dropped = 0
        self._waiting: set[asyncio.Event] = set()
        self._latest = Latest()

    @property
    def events(self) -> list[Event]:
        """The events so far, oldest first; at most the last 10,000."""
        return list(self._events)

    @property
    def now_s(self) -> float:
        """The simulated time, in seconds; with a fast clock, that of the newest reading."""
        live = self._running()
        if self._clock == "fast" and self.stats is not None:
            return self.stats.sim_time_ns / 1e9
        return live.machine.plane.now_ns / 1e9

    async def advance(self, seconds: float = 0.0, *, ns: int = 0) -> Stats:
        """Advance a manual clock; return the reading taken at that moment."""
        raise NotImplementedError

    @overload
    async def until(
        self,
        condition: Callable[[], Awaitable[T]],
        timeout_s: float = ...,
        *,
        step_s: float = ...,
        what: str = ...,
    ) -> T: ...

    @overload
    async def until(
        self, condition: Callable[[], T], timeout_s: float = ..., *, step_s: float = ..., what: str = ...
    ) -> T: ...

    async def until(
        self,
        condition: Callable[[], Any],
        timeout_s: float = TIMEOUT_S,
        *,
        step_s: float = STEP_S,
        what: str = "",
    ) -> Any:
        """Wait until ``condition()`` is true, or what it returns is once awaited; return that value.

        It is checked after each reading, event and configuration, and several times a second; NoSuchRowError
        in it means "not yet". With a manual clock, simulated time advances in steps of ``step_s`` between the
        checks, and ``timeout_s`` is simulated time.

        Raises WaitTimeoutError, which calls the condition ``what`` (default: its source) and names what was
        last seen; EngineEndedError at once if the engine fails or ends.
        """
        return await self._until(condition, timeout_s, step_s, what)

    async def _until(self, condition: Callable[[], Any], timeout_s: float, step_s: float, what: str) -> Any:
        """Do what ``until`` does."""
        arguments.seconds("timeout_s", timeout_s, 0.0, math.inf)
        arguments.seconds("step_s", step_s, 1e-9, math.inf)
        live = self._usable()
        within = f"{timeout_s:g} s" + (" of simulated time" if self._clock == "manual" else "")
        start_ns, deadline_s = live.machine.plane.now_ns, time.monotonic() + timeout_s
        with self._changes() as changed:
            while True:
                changed.clear()
                if self._live is not live or self._starting_over:
                    raise self._over(live)
                timed_out = time.monotonic() >= deadline_s
                value, no_row = None, ""
                try:
                    value = condition()
                    if inspect.isawaitable(value):
                        value = await self._awaited(value)
                except NoSuchRowError as error:
                    no_row = str(error)
                if value:
                    return value
                self._running()
                if self._clock == "manual":
                    left_s = timeout_s - (live.machine.plane.now_ns - start_ns) / 1e9
                    timed_out = left_s <= 0
                if timed_out:
                    seen = "" if what else last_seen(condition, value)
                    seen = ", ".join(filter(None, [no_row, seen, self._last_seen()]))
                    raise wait_timeout(what or source_of(condition), within, seen)
                if self._clock == "manual":
                    await self.advance(min(step_s, left_s))
                else:
                    await _wait(changed, min(_POLL_S, max(0.0, deadline_s - time.monotonic())))

    async def _awaited(self, value: Awaitable[T]) -> T:
        """Await what a condition has returned."""
        return await value

    async def event(
        self,
        name: str,
        *,
        adapter: str | None = None,
        queue_id: int | None = None,
        state: str | None = None,
        cause: str = "",
        after: int = 0,
        timeout_s: float = TIMEOUT_S,
        step_s: float = STEP_S,
    ) -> Event:
        """Return the first event of this name since the engine started, or wait for it as ``until`` does.

        ``adapter``, ``queue_id`` and ``state`` must be equal where given, and the event's cause must contain
        ``cause``. ``after`` is the ``seq`` of the last event to skip. Raises the errors of ``until``.
        """
        wanted = {"adapter": adapter, "queue_id": queue_id, "state": state}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        searched = after

        def found() -> Event | None:
            nonlocal searched
            for event in self._events_after(searched):
                searched = event.seq
                matches = all(getattr(event, key) == value for key, value in wanted.items())
                if event.event == name and matches and cause in event.cause:
                    return event
            return None

        what = ", ".join(
            [f"the event {name}"]
            + [f"{key} {value}" for key, value in wanted.items()]
            + ([f"a cause with {cause!r}"] if cause else [])
            + ([f"after event {after}"] if after else [])
        )
        event: Event = await self._until(found, timeout_s, step_s, what)
        return event

    async def reading(self, *, revision: int | None = None, timeout_s: float = TIMEOUT_S) -> Stats:
        """Return the first reading, from now on, of a configuration with this revision or a later one.

        With a manual clock the reading is taken now, and time stands still. Without ``revision``, wait for
        the next reading. Raises WaitTimeoutError, EngineEndedError.
        """
        before = self.stats
        what = "the next reading" if revision is None else f"a reading of revision {revision}"

        def found() -> Stats | None:
            stats = self.stats
            is_it = stats is not before if revision is None else stats and stats.revision >= revision
            return stats if is_it else None

        if self._clock == "manual" and not found():
            stats = await self.advance()
            if revision is not None and stats.revision < revision:
                raise WaitTimeoutError(
                    f"the manual clock stands still before {what}; last seen: {self._last_seen()}"
                )
        reading: Stats = await self._until(found, timeout_s, STEP_S, what)
        return reading

    async def ended(self, timeout_s: float = ENDED_TIMEOUT_S, *, step_s: float = ENDED_STEP_S) -> Stats:
        """Wait until all frames of the capture and of ``receive`` are in, and none is pending or outstanding;
        return the reading.

        Raises WaitTimeoutError, which names the VMs that hold buffers, EngineEndedError, and ValueError if
        the engine's frames never end.
        """
        live = self._usable()
        endless = self._endless(live)
        if endless:
            raise ValueError(f"ended: {endless}; until, event and reading wait for something else")
        try:
            reading: Stats = await self._until(
                lambda: self._ended_reading(live), timeout_s, step_s, "the end of the frames"
            )
        except WaitTimeoutError as error:
            raise WaitTimeoutError(f"{error}; {self._held(live)}") from None
        return reading

    def _endless(self, live: LiveLoop) -> str:
        """Why there is no end to wait for; "" if there is one."""
        if live.is_synthetic:
            return "the scenario's traffic has no end"
        if live.unfed_since_ns == 0:
            return "the engine receives no frames"
        return "a looped capture has no end" if self._loop_capture else ""

    def _ended_reading(self, live: LiveLoop) -> Stats | None:
        since_ns, stats = live.unfed_since_ns, self.stats
        if since_ns is None or stats is None or stats.sim_time_ns < since_ns:
            return None
        return None if any(one[2] for one in _in_buffers(stats)) else stats

    def _held(self, live: LiveLoop) -> str:
        """Describe what keeps a capture from its end: frames to come, or in buffers, and paused VMs."""
        if live.unfed_since_ns is None or self.stats is None or self.config is None:
            return "frames are still to come"
        paused = {
            (adapter.name, queue.queue_id): f', whose VM "{queue.vm}" is paused'
            for adapter in self.config.adapters
            for queue in adapter.queues
            if queue.vm_paused
        }
        holding = [
            f"queue {queue_id} of {name}{paused.get((name, queue_id), '')}, holds {counted(frames, 'frame')}"
            for name, queue_id, frames in _in_buffers(self.stats)
            if frames
        ]
        more = [f"{len(holding) - _SHOWN_HOLDS} more queues"] if len(holding) > _SHOWN_HOLDS else []
        return "; ".join([*holding[:_SHOWN_HOLDS], *more]) or "the reading after the last frame is to come"

    def _happened(self, event: Event) -> None:
        """Keep an event, and wake what waits."""
        self._events_dropped += len(self._events) == EVENTS_KEPT
        self._events.append(event)
        self._changed()

    def _changed(self) -> None:
        """Wake what waits."""
        for one in self._waiting:
            one.set()

    @contextmanager
    def _changes(self) -> Iterator[asyncio.Event]:
        """An event that each change sets."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            yield changed
        finally:
            self._waiting.discard(changed)

    def _running(self) -> LiveLoop:
        """The live loop. Raises EngineEndedError."""
        if self._live is None or self.stopped.is_set():
            raise EngineEndedError(self._why_ended()) from self.failure
        return self._live

    def _usable(self) -> LiveLoop:
        """The live loop, for a coroutine. Raises EngineEndedError, also if its own event loop does not
        run: then no reading and no event would come."""
        live, own = self._running(), self._event_loop
        if own is not None and not own.is_running():
            state = "is closed" if own.is_closed() else "stands"
            raise EngineEndedError(
                f"the engine runs in another event loop, which {state}: use it in the loop that entered it"
                " (with pytest-asyncio, one loop_scope for a fixture and its tests), or take an engine of the"
                " fixture vmq, which any loop may use"
            )
        return live

    def _over(self, live: LiveLoop) -> EngineEndedError:
        """The error of a call that a live loop does not complete."""
        reset = self._starting_over or self._live is not live
        if reset and self.failure is None and not self.stopped.is_set():
            return EngineEndedError("the engine was reset meanwhile, and runs from its start again")
        return EngineEndedError(self._why_ended())

    def _why_ended(self) -> str:
        if self.failure is not None:
            return f"the engine failed: {self.failure or type(self.failure).__name__}"
        if self._live is None:
            return "the engine has not started: enter it first, with async with Engine(…) as engine"
        return "the engine has ended"

    def _last_seen(self) -> str:
        """Describe the simulated time, the last reading and the last events."""
        stats = self.stats
        parts = [f"simulated time {self.now_s:g} s"]
        parts.append("no reading" if stats is None else f"reading {stats.seq} of revision {stats.revision}")
        last = [
            f"{one.event} at {one.sim_time_ns / 1e9:g} s"
            + (f" (queue {one.queue_id})" if one.queue_id is not None else "")
            for one in list(self._events)[-_SHOWN_EVENTS:]
        ]
        parts.append(f"last events: {', '.join(last)}" if last else "no event")
        if self._events_dropped:
            parts.append(f"{counted(self._events_dropped, 'earlier event')} no longer kept")
        return ", ".join(parts)

    def _events_after(self, seq: int) -> list[Event]:
        """The events that are kept and have a higher ``seq``, oldest first."""
        found = []
        for event in reversed(self._events):
            if event.seq <= seq:
                break
            found.append(event)
        return found[::-1]

    def queue(self, which: int | str, adapter: str | None = None) -> QueueRow:
        """A queue at the newest reading, by its id, its VM or its name; ``adapter`` where several have one.

        Raises NoSuchRowError, which names what fits; NotReadYetError if its first reading is yet to come.
        """
        return self._rows().queue_row(which, adapter)

    def cpu(self, cpu: int) -> CpuRow:
        """A processor at the newest reading. Raises NoSuchRowError."""
        return self._rows().cpu_row(cpu)

    def adapter(self, name: str | None = None) -> AdapterRow:
        """An adapter at the newest reading; None: the host's only one. Raises NoSuchRowError."""
        return self._rows().adapter_row(name)

    def _rows(self) -> Rows:
        self._running()
        return self._latest.rows(self.config)

    async def memory(self, vm: str, adapter: str | None = None) -> list[bytes]:
        """The frames that a VM holds now, from its memory: those of its own queues, indicated to it and not
        returned yet, by adapter and queue id, in order of indication.

        From NDIS 6.30 on the adapter has taken an outer 802.1Q tag out of a frame; an older one leaves it in.
        A VM with ``return_delay_us`` 0 returns each frame at once, and holds none unless it is paused. Frames
        of queue 0 are not held by a VM. Raises NoSuchRowError, ValueError for more than 256 MiB.
        """
        live = self._usable()
        return await self._in_loop(live, lambda: live.machine.frames_held(vm, adapter))

    async def receive(
        self, frames: Iterable[Frame] | Frame, *, at: float | None = None, adapter: str | None = None
    ) -> None:
        """Send frames to an adapter's wire: ``bytes`` (without FCS), or objects with ``__bytes__``, such as
        packets of scapy. They arrive back to back, at link rate, from the simulated time ``at`` on (seconds;
        None: now), or from when the wire is free after it.

        This returns when the frames are handed over, not when they have arrived. Frames of the scenario's
        traffic, of a capture or of an interface arrive as well, on the same wire, behind a call's frames if
        they would overlap. Raises ValueError (a frame above 65,535 bytes, over 64 MiB waiting, a time in the
        past, no frames, traffic to a team), NoSuchRowError for the adapter, EngineEndedError.
        """
        live = self._usable()
        at_s = None if at is None else arguments.seconds("at", at, 0, arguments.ADVANCE_LIMIT_S)
        given = frames_of(frames)
        await self._in_loop(live, lambda: live.receive(given, adapter, at_s))

    async def _in_loop(self, live: LiveLoop, call: Callable[[], T]) -> T:
        """Run a call in the loop's thread, between two rounds. Raises EngineEndedError."""
        try:
            return await asyncio.wrap_future(live.submit(call))
        except LoopEndedError as error:
            raise self._over(live) from self.failure or error


def _in_buffers(stats: Stats) -> Iterator[tuple[str, int, int]]:
    """Yield each queue's adapter, id, and number of frames pending or outstanding."""
    for name, adapter in stats.adapters.items():
        columns = (known(adapter.queues[one]) for one in ("id", "pending", "outstanding"))
        for queue_id, pending, outstanding in zip(*columns, strict=True):
            yield name, queue_id, pending + outstanding


async def _wait(changed: asyncio.Event, within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await changed.wait()
