"""The engine: a live machine on a bus, as an async context manager.

    async with Engine(scenario) as engine:
        ...  # dashboards, scripts and tests connect to engine.url.with_password()

``vmqtui engine`` and the pytest fixture ``vmq_engine`` use the same class. Importing it compiles nothing: the
first engine compiles the kernels, once. Workers do not import the main module, so a script that starts an
engine needs no ``if __name__ == "__main__":`` guard.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from engine.advice.thresholds import AdviceThresholds
from engine.bus import discovery
from engine.bus.accounts import Listen
from engine.bus.errors import BrokerFailed
from engine.bus.messages import Request, Response
from engine.bus.urls import BrokerUrl
from engine.counted import counted
from engine.kernels.prepare import of_engine, prepare, tell
from engine.ndis.outcome import NdisStatus, Outcome
from engine.scenario.load import ScenarioSource, load_scenario
from engine.scenario.model import Scenario
from engine.service import arguments, ending, leftovers
from engine.service.ending import Ending, in_thread, to_its_end
from engine.service.engine_api import EngineApi, EngineEndedError
from engine.service.engine_log import EngineLog
from engine.service.host_bus import Announce, HostBus
from engine.service.live import ClockRunsError, LiveLoop, LoopCallbacks, LoopEndedError
from engine.service.machine import WORKER_DEADLINE_S, Machine
from engine.service.pacing import CLOCKS, ClockName
from engine.service.publishing import AdvicePublisher, SummaryBuilder
from engine.service.rows import Latest
from engine.service.sources import ActiveSource, TrafficOverride
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from engine.traffic.capture_file import CaptureFile
from engine.workers.start import warm_up

_NOT_ACCEPTED: Final = str(NdisStatus.NOT_ACCEPTED)
UNREAD_LIMIT: Final = 64
"""Readings that the event loop has yet to process, before a manual or fast clock waits for it."""

_UNREAD_CHECK_S: Final = 0.1

T = TypeVar("T")


class Engine(EngineApi):
    """A host's engine: broker (its own, or one by URL), machine, publisher and request server.

    ``scenario`` is any source that ``load_scenario`` reads; None: the default scenario. ``capture``, or the
    frames that the network ``interface`` receives, replace the scenario's traffic on ``adapter``.
    ``interval_s`` is the simulated time between stats messages. A "manual" ``clock`` stands still but while
    ``advance`` runs; a "fast" one runs as quickly as the machine computes, up to ``run_to`` (simulated
    seconds, or a condition on a reading, called in another thread), else while there is anything to do. A
    worker that hangs for ``worker_deadline_s`` is killed and replaced. ``announce`` gives this user's
    commands the credentials of the engine's own broker: with "found" they connect to the newest engine by
    default, with "named" only if they name this one. ``viewers`` are patterns of client ids whose requests
    are refused. ``thresholds`` are the advisor's; ``advised`` is set once its advice is published, and
    ``reachable`` once the engine's own broker listens, before the engine has started. ``progress`` gets
    sentences while kernels are compiled, by default on standard error.

    Raises ScenarioError, BadUrl, or ValueError for another bad argument. Entering the context raises
    ValueError, NotEnoughMemoryError, CaptureError, InterfaceError, ChoiceError, BusError or KernelError for
    an impossible scenario, a bad capture or broker, after stopping what it had started.
    """

    def __init__(
        self,
        scenario: ScenarioSource = None,
        *,
        capture: CaptureFile | Path | str | None = None,
        loop: bool = False,
        interface: str | None = None,
        promiscuous: bool = False,
        adapter: str | None = None,
        broker: BrokerUrl | str | None = None,
        listen: Listen | None = None,
        clock: ClockName = "real",
        run_to: float | Callable[[Stats], bool] | None = None,
        interval_s: float = 0.25,
        worker_deadline_s: float = WORKER_DEADLINE_S,
        announce: Announce = "no",
        viewers: Sequence[str] = (),
        thresholds: AdviceThresholds | None = None,
        progress: Callable[[str], None] = tell,
    ) -> None:
        super().__init__()
        self.scenario: Scenario = load_scenario(scenario)
        self._engine_log = EngineLog(self.scenario.host.name)
        self.advised: asyncio.Event = asyncio.Event()
        arguments.an("thresholds", thresholds, AdviceThresholds, "AdviceThresholds")
        self._thresholds = thresholds
        self._advice_publisher = AdvicePublisher(thresholds)
        self._summary_builder = SummaryBuilder()
        self._first_reading = asyncio.Event()
        self._override = TrafficOverride.checked(
            capture=capture, loop=loop, interface=interface, promiscuous=promiscuous, adapter=adapter
        )
        self._loop_capture = loop
        url = BrokerUrl.parse(broker) if isinstance(broker, str) else broker
        arguments.an("broker", broker, (str, BrokerUrl), "a broker's URL")
        arguments.an("listen", listen, Listen, "a Listen")
        self._clock = arguments.choice("clock", clock, CLOCKS)
        self._interval_ns = arguments.interval_ns(interval_s)
        self._run_to = arguments.run_to(self._clock, run_to)
        if interface is not None and clock != "real":
            raise ValueError(f'clock: "{clock}" does not drive the frames of an interface ("real" fits)')
        self._unread = threading.Semaphore(UNREAD_LIMIT)
        self._worker_deadline_s = arguments.deadline_s(worker_deadline_s)
        arguments.choice("announce", announce, ("no", "found", "named"))
        patterns = arguments.patterns("viewers", viewers)
        self._progress: Callable[[str], None] = arguments.function("progress", progress)
        self._host_bus = HostBus(
            self.host,
            broker=url,
            listen=listen,
            announce=announce,
            viewers=patterns,
            interval_ns=self._interval_ns,
            on_bad_request=self._note_bad_request,
            on_restart=self._note_broker,
            unannounced=lambda error: self._progress(
                f"other commands need VMQTUI_BROKER set to find this engine: {error}"
            ),
            handler=self._handle,
        )
        self.reachable: asyncio.Event = self._host_bus.reachable
        self._listed: Path | None = None
        self._reporting: Future[None] | None = None
        self._ending = threading.Lock()  # taken when the engine begins to end, for good

    @property
    def host(self) -> str:
        """The host's name, as it appears in topics."""
        return self.scenario.host.name

    @property
    def url(self) -> BrokerUrl:
        """The broker's URL; for the engine's own broker it includes the owner's credential."""
        try:
            return self._host_bus.url
        except BrokerFailed:
            raise EngineEndedError(self._why_ended()) from None

    @property
    def public_url(self) -> BrokerUrl | None:
        """URL of its own broker for other machines, without credential; None if they can't connect."""
        return self._host_bus.public_url

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, indexed by processor."""
        return self._running().machine.rounds.worker_pids

    async def request(self, op: str, *, check: bool = False, **params: Any) -> Response:
        """Carry out a request, without the bus. With ``check``, raises RequestError if it is refused.

        Raises EngineEndedError.
        """
        self._usable()
        response = await self._handle("", Request(id="-", op=op, params=params))
        return response.checked(op) if check else response

    def __repr__(self) -> str:
        name = f"Engine {self.host!r}"
        try:
            url = str(self.url)
        except EngineEndedError:
            url = "its broker is away"
        if self._live is None or self.stopped.is_set():
            return f"<{name}: {self._why_ended().partition(':')[0].removeprefix('the engine ')}>"
        adapters = ", ".join(one.name for one in self.scenario.adapter)
        processors = counted(self.scenario.host.cpus, "processor")
        return f"<{name} at {self.now_s:.6f} s ({self._clock} clock): {processors}, {adapters}, {url}>"

    async def advance(self, seconds: float = 0.0, *, ns: int = 0) -> Stats:
        """Advance the manual clock by ``seconds`` plus ``ns``; return the reading taken at that moment.

        Frames and events before that moment have happened; a request made then takes effect at it. Readings,
        events and MQTT messages come as with any clock, and another reading at the end; requests made while
        time advances take effect at its end. With 0 it takes a reading. Cancelled, it ends once time stands
        still. A fast clock can be advanced, too, once it stands at ``run_to``. Raises ValueError for a clock
        that runs by itself or a time that does not fit, EngineEndedError.
        """
        live = self._usable()
        time_ns = round(arguments.seconds("seconds", seconds, 0.0, arguments.ADVANCE_LIMIT_S) * 1e9)
        time_ns += arguments.whole("ns", ns, 0, arguments.ADVANCE_LIMIT_S * 10**9)
        advancing = live.advance(time_ns)
        try:
            return await asyncio.wrap_future(advancing)
        except asyncio.CancelledError:
            advancing.cancel()
            with suppress(EngineEndedError):  # once the next call has run, time stands still
                await to_its_end(self._in_loop(live, lambda: None))
            raise
        except ClockRunsError:
            raise ValueError(
                f'advance: the {self._clock} clock runs by itself (Engine(…, clock="manual") fits)'
            ) from None
        except LoopEndedError as error:
            raise self._over(live) from self.failure or error

    async def __aenter__(self) -> "Engine":
        if self._event_loop is not None:
            state = "runs" if self._live is not None and not self.stopped.is_set() else "has ended"
            raise EngineEndedError(f"an engine starts once, and this one {state}: make another Engine(…)")
        ending.started(self)
        try:
            await self._start()
        except BaseException as error:
            await to_its_end(self._end(error))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        own = self._event_loop
        if own is None or own is asyncio.get_running_loop():
            await to_its_end(self._end())
        else:
            await to_its_end(in_thread(self.close))

    async def _start(self) -> None:
        self._event_loop = asyncio.get_running_loop()
        broker = asyncio.create_task(self._host_bus.start_broker())
        building = asyncio.create_task(asyncio.to_thread(self._build))
        try:
            live = self._live = await asyncio.shield(building)
        except BaseException:
            # Wait until the thread has built the machine: only then can it be closed.
            await to_its_end(asyncio.wait({building, broker}))
            self._live = building.result() if not building.cancelled() and not building.exception() else None
            raise
        await broker
        self.config = live.machine.config()
        self._advice_publisher.configured(self.config)
        await self._host_bus.connect(self.config)
        live.start()
        await self._first_reading.wait()
        if self.failure is not None:
            raise self.failure
        self._engine_log.started(
            self.url,
            own_broker=self._host_bus.broker is not None,
            cpus=self.scenario.host.cpus,
            adapters=[one.name for one in self.scenario.adapter],
        )

    @property
    def _kernels(self) -> Sequence[str]:
        """The modules of the kernels that its frames need."""
        return of_engine(
            capture=self._override.capture is not None,
            interface=self._override.interface is not None,
            teams=bool(self.scenario.team),
        )

    def _build(self) -> LiveLoop:
        """Build kernels, source and machine. It blocks, so it runs in a thread."""
        self._engine_log.cleared(leftovers.clear())
        prepare(self._progress, self._kernels)
        warm_up()
        return self._build_live()

    def _build_live(self, former: Machine | None = None) -> LiveLoop:
        """Build source and machine; the machine takes over the workers of a ``former`` one."""
        source, played = self._override.open(self.scenario)
        active = ActiveSource(self.scenario, source)
        try:
            machine = Machine(
                self.scenario,
                played,
                active=active,
                deadline_s=self._worker_deadline_s,
                former=former,
                kernels=self._kernels,
            )
        except BaseException:
            active.close()
            raise
        if former is None:
            self._listed = leftovers.enlist(machine.plane.block_name)
        return LiveLoop(machine, active, self._interval_ns, self._callbacks(), self._clock, self._run_to)

    def _callbacks(self) -> LoopCallbacks:
        """Callbacks that the live loop's thread can call; each one runs in the event loop."""

        def relay(call: Callable[[T], None]) -> Callable[[T], None]:
            return lambda argument: self._call_in_event_loop(call, argument)

        return LoopCallbacks(
            stats=relay(self._on_stats) if self._clock == "real" else self._relay_bounded,
            summary=relay(self._on_summary),
            config=relay(self._on_config),
            event=relay(self._on_event),
            failed=relay(self._on_failure),
            at_rest=lambda: self._call_in_event_loop(lambda nothing: None, None),
        )

    def _relay_bounded(self, stats: Stats) -> None:
        """Call ``_on_stats`` in the event loop; at ``UNREAD_LIMIT`` readings, wait until it has caught up."""
        while not self._unread.acquire(timeout=_UNREAD_CHECK_S):
            if self._live is not None and self._live.interrupted:
                break

        def read(stats: Stats) -> None:
            self._unread.release()
            self._on_stats(stats)

        self._call_in_event_loop(read, stats)

    def _call_in_event_loop(self, call: Callable[[T], None], argument: T) -> None:
        assert self._event_loop is not None
        try:
            self._event_loop.call_soon_threadsafe(call, argument)
        except RuntimeError:
            ending.close_abandoned(self, "its event loop is closed")

    def _on_stats(self, stats: Stats) -> None:
        self.stats: Stats | None = stats
        self._latest.take(stats)
        self._changed()
        self._engine_log.read(stats)
        self._first_reading.set()
        bus = self._host_bus.bus
        bus.publish_stats(stats)
        self._report_losses()
        if (advice := self._advice_publisher.read(stats)) is not None:
            bus.publish_advice(advice)
            self._summary_builder.advised(advice)
            self.advised.set()

    def _on_summary(self, stats: Stats) -> None:
        self._host_bus.bus.publish_summary(self._summary_builder.read(stats))

    def _on_config(self, config: Config) -> None:
        self.config: Config | None = config
        self._changed()
        self._advice_publisher.configured(config)
        self._host_bus.bus.publish_config(config)

    def _on_event(self, event: Event) -> None:
        self._happened(event)
        self._engine_log.happened(event)
        self._host_bus.bus.publish_event(event)

    def _on_failure(self, failure: BaseException) -> None:
        self._engine_log.failed(failure)
        self.failure: BaseException | None = failure
        self._first_reading.set()
        self.stopped.set()
        self._changed()

    def _note_bad_request(self, client: str, reason: str) -> None:
        """Log a request that could not be decoded; publish an event without the client's id.

        While the previous such event waits to be published, no other is added: a flood of bad requests must
        not cause a flood of events.
        """
        self._engine_log.not_decoded(client, reason)
        if self._live is None or (self._reporting is not None and not self._reporting.done()):
            return
        machine = self._live.machine
        self._reporting = self._live.submit(
            lambda: machine.add_event("bad_request", f"not decoded: {reason}")
        )

    def _report_losses(self) -> None:
        """Add an event on newly dropped messages; while the broker is disconnected, wait."""
        messages, requests = self._host_bus.take_losses()
        if self._live is None or not (messages or requests):
            return
        machine = self._live.machine
        lost = counted(messages, "event or answer", "events and answers"), counted(requests, "request")
        cause = f"no room for {', '.join(lost)}"
        self._live.submit(lambda: machine.add_event("messages_dropped", cause))

    def _note_broker(self, sentence: str) -> None:
        if self._live is not None:
            machine = self._live.machine
            self._live.submit(lambda: machine.add_event("broker_restarted", sentence))

    async def reset(self) -> None:
        """Start over with the scenario: the same broker, workers and shared memory, and everything else as in
        a new engine: simulated time 0, counters 0, ids and generations from 1, events and readings from 1.

        On the bus it is an engine that has restarted (``started_at``). Requests that have not been carried
        out are refused. Raises EngineEndedError, and what entering the context raises.
        """
        live, own = self._usable(), self._event_loop
        if own is None or own is asyncio.get_running_loop():
            await to_its_end(self._start_over(live))
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.reset(), own))

    async def _start_over(self, live: LiveLoop) -> None:
        self._starting_over = True
        self._changed()
        try:
            await self._replace(live)
        finally:
            self._starting_over = False

    async def _replace(self, live: LiveLoop) -> None:
        await in_thread(lambda: live.stop(keep_machine=True))
        former = live.kept
        if former is None and self._listed is not None:
            discovery.withdraw(self._listed)
        try:
            live = await in_thread(lambda: self._build_live(former))
        except BaseException:
            if former is not None:
                await in_thread(former.close)
            raise
        self._live = live
        self.stats = None
        self._latest = Latest()
        self._events.clear()
        self._events_dropped = 0
        self.config = live.machine.config()
        self.advised.clear()
        self._first_reading.clear()
        self._advice_publisher = AdvicePublisher(self._thresholds)
        self._advice_publisher.configured(self.config)
        self._summary_builder = SummaryBuilder()
        self._host_bus.bus.start_over(self.config)
        live.start()
        await self._first_reading.wait()

    def close(self) -> None:
        """End the engine from outside its event loop: one that is closed, is not running, or runs in another
        thread; for a fixture or a program whose loop ends first. It does nothing if the engine has ended.

        Raises RuntimeError in the engine's own event loop, which has ``async with`` for that.
        """
        loop = self._event_loop
        if loop is None or self._ending.locked():
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if loop is running:
            raise RuntimeError(
                "close: the engine's event loop runs here; leave its context (async with) instead"
            )
        if loop.is_closed():
            self._close()
        elif loop.is_running():
            asyncio.run_coroutine_threadsafe(self._end(), loop).result()
        elif running is None:
            loop.run_until_complete(self._end())
        else:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(loop.run_until_complete, self._end()).result()

    async def _end(self, cause: BaseException | None = None) -> None:
        """Carry out every step of the end; then raise the first error, unless ``cause`` is why it ends."""
        if not self._ending.acquire(blocking=False):
            return
        end = Ending()
        await self._host_bus.stop_supervising(end)
        last: Stats | None = None
        with end.step("stopping the machine"):
            last = await in_thread(lambda: self._stop_machine(end))
        await self._host_bus.leave(last, end)
        self._finish(end, last, cause)

    def _close(self) -> None:
        """Carry out the steps of the end without the event loop, which is closed."""
        if not self._ending.acquire(blocking=False):
            return
        end = Ending()
        last = self._stop_machine(end)
        self._host_bus.close(end)
        self._finish(end, last, None)

    def _stop_machine(self, end: Ending) -> Stats | None:
        last: Stats | None = None
        self._host_bus.withdraw(end)
        if self._live is not None:
            with end.step("stopping the workers"):
                last = self._live.stop()
        if self._listed is not None:
            with end.step("withdrawing the record of its shared memory"):
                discovery.withdraw(self._listed)
        return last

    def _finish(self, end: Ending, last: Stats | None, cause: BaseException | None) -> None:
        ending.ended(self)
        if self._host_bus.connected:
            self._engine_log.ended(last)
        with suppress(RuntimeError):  # what waits in a closed event loop is not woken
            self.stopped.set()
        end.finish(cause)

    async def _handle(self, client: str, request: Request) -> Response:
        assert self._live is not None
        machine = self._live.machine

        def apply() -> tuple[Outcome, int]:
            return machine.request(request.op, request.params), machine.host.revision

        try:
            outcome, revision = await asyncio.wrap_future(self._live.submit(apply))
        except LoopEndedError as error:
            return Response(id=request.id, status="error", ndis_status=_NOT_ACCEPTED, message=str(error))
        self._engine_log.answered(client, request.op, bool(request.params.get("what_if")), outcome)
        return Response(
            id=request.id,
            status=outcome.status,
            ndis_status=str(outcome.ndis_status),
            message=outcome.message,
            result=outcome.result,
            revision=revision,
        )
