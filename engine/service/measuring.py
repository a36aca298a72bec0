"""A real host on a bus: it is read again and again, and published with an engine's messages.

    async with Agent(source, host="lab") as agent:
        ...  # dashboards and commands connect to agent.url.with_password()

Nothing here needs kernels or workers.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final

from engine.advice.thresholds import AdviceThresholds
from engine.bus.accounts import Listen
from engine.bus.urls import BrokerUrl
from engine.counted import counted
from engine.measure.host import Measured, MeasuredSource
from engine.service.drop_episodes import DropEpisodes
from engine.service.ending import Ending, in_thread, to_its_end
from engine.service.engine_log import EngineLog
from engine.service.host_bus import Announce, HostBus
from engine.service.publishing import AdvicePublisher, SummaryBuilder
from engine.telemetry.config import Config
from engine.telemetry.events import Event, NewEvent
from engine.telemetry.stats import Stats
from engine.telemetry.summary import SUMMARY_EVERY_NS

LATE_EVERY_S: Final = 10.0
"""Shortest time between two events about late readings."""
HANGS_AFTER_S: Final = 3.0
"""A reading that takes this long, and three intervals, is reported while it is under way."""
_FAREWELL_S: Final = 2.0
"""How long the end waits for a reading that is under way."""

_log = logging.getLogger(__name__)


class ReadingThread:
    """Reads a source at a steady pace, in a thread of its own: a reading may block.

    Readings are due at multiples of the interval. One that takes longer than that leaves out those that were
    due meanwhile: ``left_out`` counts them. ``on_read`` and ``on_failure`` are called in the thread.
    """

    def __init__(
        self,
        source: MeasuredSource,
        interval_s: float,
        on_read: Callable[[Measured], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self.left_out = 0
        self.began_s: float | None = None
        """When the reading under way began (monotonic); None between readings."""
        self._source = source
        self._interval_s = interval_s
        self._on_read = on_read
        self._on_failure = on_failure
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmq-reading", daemon=True)

    def start(self) -> None:
        """Start reading; the first reading is due an interval from now."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and close the source. A reading that hangs is left behind: the thread is a daemon."""
        self._ended.set()
        if self._thread.ident is None:
            self._source.close()
        else:
            self._thread.join(_FAREWELL_S)

    def _run(self) -> None:
        started_s, reading = time.monotonic(), 1
        while not self._ended.wait(max(0.0, started_s + reading * self._interval_s - time.monotonic())):
            self.began_s = time.monotonic()
            try:
                measured = self._source.read()
            except Exception as error:
                self._on_failure(error)
            else:
                self._on_read(measured)
            self.began_s = None
            due = int((time.monotonic() - started_s) / self._interval_s) + 1
            self.left_out += due - reading - 1
            reading = due
        self._source.close()


class Agent:
    """Publishes a real host: the readings of ``source``, every ``interval_s``, as an engine's messages.

    The host takes no requests (status ``measured``, no controls). ``broker`` is the URL of a broker; without
    it the agent starts its own, at ``listen``. ``host`` is the host's name in topics. ``announce``,
    ``viewers``, ``thresholds``, ``progress`` and ``reachable`` are as those of ``Engine``. Readings that fail
    or come late are events, and counted in them.

    Entering the context reads once and raises what that raises, and BusError (``HostTaken`` if an engine or
    agent of that name is there).
    """

    def __init__(
        self,
        source: MeasuredSource,
        *,
        host: str,
        broker: BrokerUrl | None = None,
        listen: Listen | None = None,
        interval_s: float = 0.25,
        announce: Announce = "no",
        viewers: Sequence[str] = (),
        thresholds: AdviceThresholds | None = None,
        progress: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.host = host
        self.config: Config | None = None
        self.stats: Stats | None = None
        self.failure: BaseException | None = None
        self.stopped = asyncio.Event()
        self._source = source
        self._interval_s = interval_s
        self._host_bus = HostBus(
            host,
            broker=broker,
            listen=listen,
            announce=announce,
            viewers=viewers,
            interval_ns=round(interval_s * 1e9),
            on_bad_request=self._on_bad_request,
            on_restart=self._on_broker,
            unannounced=lambda error: progress(
                f"other commands need VMQTUI_BROKER set to find this agent: {error}"
            ),
        )
        self.reachable = self._host_bus.reachable
        self._log = EngineLog(host)
        self._advice = AdvicePublisher(thresholds)
        self._summaries = SummaryBuilder("measured")
        self._summary_due_ns = 0
        self._drops = DropEpisodes(from_zero=False)
        self._troubles = _ReadingTroubles()
        self._event_seq = 0
        self._bad_request_s = -LATE_EVERY_S
        self._thread: ReadingThread | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def url(self) -> BrokerUrl:
        """The broker's URL; for the agent's own broker it includes the owner's credential."""
        return self._host_bus.url

    @property
    def public_url(self) -> BrokerUrl | None:
        """URL of its own broker for other machines, without credential; None if they can't connect."""
        return self._host_bus.public_url

    async def __aenter__(self) -> "Agent":
        try:
            await self._start()
        except BaseException as error:
            await to_its_end(self._end(error))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_its_end(self._end())

    async def _start(self) -> None:
        event_loop = asyncio.get_running_loop()

        def relay(call: Callable[..., None]) -> Callable[..., None]:
            def in_loop(argument: object) -> None:
                with suppress(RuntimeError):  # the loop has ended, and the agent with it
                    event_loop.call_soon_threadsafe(call, argument)

            return in_loop

        self._thread = ReadingThread(
            self._source, self._interval_s, relay(self._on_read), relay(self._on_failed_reading)
        )
        first = await self._first_reading()
        assert first.config is not None
        await self._host_bus.connect(first.config)
        self._on_read(first)
        self._thread.start()
        self._watching = asyncio.create_task(self._watch_for_hangs(self._thread))
        self._log.started(
            self.url,
            own_broker=self._host_bus.broker is not None,
            cpus=len(first.config.cpus),
            adapters=[one.name for one in first.config.adapters],
        )

    async def _first_reading(self) -> Measured:
        """Read while the broker starts. What keeps that from starting is raised at once; the end then closes
        the source, and nobody waits for its reading."""
        reading = asyncio.create_task(asyncio.to_thread(self._source.read))
        try:
            await self._host_bus.start_broker()
            return await reading
        except BaseException:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            raise

    def _on_read(self, measured: Measured) -> None:
        stats, bus = measured.stats, self._host_bus.bus
        if measured.config is not None:
            self.config = measured.config
            self._advice.configured(measured.config)
            bus.publish_config(measured.config)
        self.stats = stats
        bus.publish_stats(stats)
        left_out = 0 if self._thread is None else self._thread.left_out
        for event in (*measured.events, *self._drops.take(stats), *self._troubles.read(left_out)):
            self._add_event(event)
        lost, _ = self._host_bus.take_losses()
        if lost:
            what = counted(lost, "event or answer", "events and answers")
            self._add_event(NewEvent("messages_dropped", f"no room for {what}"))
        if (advice := self._advice.read(stats)) is not None:
            bus.publish_advice(advice)
            self._summaries.advised(advice)
        if stats.sim_time_ns >= self._summary_due_ns:
            self._summary_due_ns = stats.sim_time_ns - stats.sim_time_ns % SUMMARY_EVERY_NS + SUMMARY_EVERY_NS
            bus.publish_summary(self._summaries.read(stats))

    def _on_failed_reading(self, error: Exception) -> None:
        for event in self._troubles.failed(error):
            self._add_event(event)

    async def _watch_for_hangs(self, thread: ReadingThread) -> None:
        limit_s = max(HANGS_AFTER_S, 3 * self._interval_s)
        while True:
            await asyncio.sleep(limit_s / 4)
            began_s = thread.began_s
            if began_s is not None and time.monotonic() - began_s >= limit_s:
                for event in self._troubles.hangs(began_s, limit_s):
                    self._add_event(event)

    def _on_bad_request(self, client: str, reason: str) -> None:
        self._log.not_decoded(client, reason)
        if time.monotonic() - self._bad_request_s >= LATE_EVERY_S:
            self._bad_request_s = time.monotonic()
            self._add_event(NewEvent("bad_request", f"not decoded: {reason}"))

    def _on_broker(self, sentence: str) -> None:
        self._add_event(NewEvent("broker_restarted", sentence))

    def _add_event(self, new: NewEvent) -> None:
        """Number, date, log and publish an event."""
        self._event_seq += 1
        event = Event(
            seq=self._event_seq,
            sim_time_ns=0 if self.stats is None else self.stats.sim_time_ns,
            time_ns=time.time_ns(),
            **new._asdict(),
        )
        self._log.happened(event)
        self._host_bus.bus.publish_event(event)

    async def _end(self, cause: BaseException | None = None) -> None:
        """Carry out every step of the end; then raise the first error, unless ``cause`` is why it ends."""
        end = Ending()
        await self._host_bus.stop_supervising(end)
        if self._watching is not None:
            with end.step("stopping the watch for hangs"):
                self._watching.cancel()
                await asyncio.gather(self._watching, return_exceptions=True)
        self._host_bus.withdraw(end)
        if self._thread is not None:
            with end.step("stopping the readings"):
                await in_thread(self._thread.stop)
        await self._host_bus.leave(None, end)
        if self._host_bus.connected:
            self._log.ended(self.stats)
        self.stopped.set()
        end.finish(cause)


class _ReadingTroubles:
    """Counts readings that fail, hang or are left out, and makes few events of them."""

    def __init__(self) -> None:
        self._failed = 0
        self._left_out = 0
        self._late_s = -LATE_EVERY_S
        self._hanging_s: float | None = None

    def failed(self, error: Exception) -> list[NewEvent]:
        """A reading failed; the first of a row is an event."""
        self._failed += 1
        _log.warning("reading_failed", exc_info=error if self._failed == 1 else None)
        why = str(error) or type(error).__name__
        return [NewEvent("reading_failed", f"the host can't be read: {why}")] if self._failed == 1 else []

    def read(self, left_out: int) -> list[NewEvent]:
        """A reading arrived; ``left_out`` have been left out so far."""
        events = []
        if self._failed:
            readings = counted(self._failed, "reading")
            events.append(NewEvent("reading_resumed", f"the host is read again, after {readings} failed"))
            self._failed = 0
        now_s = time.monotonic()
        if left_out > self._left_out and now_s - self._late_s >= LATE_EVERY_S:
            new = counted(left_out - self._left_out, "reading was", "readings were")
            cause = f"{new} left out, because others took longer than the interval ({left_out} so far)"
            events.append(NewEvent("reading_late", cause))
            self._left_out, self._late_s = left_out, now_s
        return events

    def hangs(self, began_s: float, limit_s: float) -> list[NewEvent]:
        """The reading that began then is not done; the first call for it is an event."""
        if began_s == self._hanging_s:
            return []
        self._hanging_s = began_s
        return [NewEvent("reading_late", f"a reading has taken {limit_s:g} s and is not done")]
