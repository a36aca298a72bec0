"""A replay: runs a capture through the model until no frame is pending; and its document (contract 4)."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from engine.balance.decide import REASONS, Reason
from engine.kernels.layout import I64
from engine.kernels.prepare import prepare
from engine.scenario.load import ScenarioSource, load_scenario
from engine.scenario.model import Scenario
from engine.service import arguments
from engine.service.balancing import BalancerDriver
from engine.service.machine import WORKER_DEADLINE_S, Machine, SimClock
from engine.service.sources import Caveats, ReadCapture, capture_source
from engine.signals import interrupts_deferred
from engine.telemetry.config import AdapterConfig, Config
from engine.telemetry.stats import AdapterStats, Columns, Stats
from engine.traffic.batch import Filled, FrameBatch, Source
from engine.traffic.capture import CaptureSource
from engine.traffic.capture_file import CaptureFile
from engine.traffic.plan import Hardware, Plan
from engine.traffic.plan import plan as plan_source
from engine.workers.conductor import Conductor


def _rows(columns: Columns) -> list[dict[str, int]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _adapter(config: AdapterConfig, stats: AdapterStats) -> dict[str, Any]:
    counters = {row["id"]: row for row in _rows(stats.queues)}
    matched = {row["id"]: row["matched_frames"] for row in _rows(stats.filters)}
    return {
        "name": config.name,
        "port": stats.port,
        "queues": [
            {
                "id": queue.queue_id,
                "name": queue.name,
                "vm": queue.vm,
                "cpu": queue.cpu,
                "state": queue.state,
                **counters[queue.queue_id],
            }
            for queue in config.queues
        ],
        "freed": stats.freed,
        "filters": [
            {
                "id": one.filter_id,
                "queue": one.queue_id,
                "mac": one.mac,
                "vlan": one.vlan,
                "matched_frames": matched[one.filter_id],
            }
            for one in config.filters
        ],
        "default_queue": stats.default_queue,
    }


def replay_report(
    config: Config,
    stats: Stats,
    *,
    capture: str,
    sim_seconds: float,
    wall_seconds: float,
    truncated: bool,
    skipped_frames: int,
) -> dict[str, Any]:
    """Build the document of a finished replay; ``stats`` and ``config`` must have the same revision."""
    names = {cpu.id: cpu for cpu in config.cpus}
    report: dict[str, Any] = {
        "schema": "vmq.replay/1",
        "capture": capture,
        "sim_seconds": sim_seconds,
        "wall_seconds": wall_seconds,
        "cpus": [msgspec.to_builtins(names[row["id"]]) | row for row in _rows(stats.cpus)],
        "adapters": [_adapter(one, stats.adapters[one.name]) for one in config.adapters],
    }
    if stats.skipped_ns:
        report["skipped_seconds"] = stats.skipped_ns / 1e9
    if skipped_frames:
        report["skipped_frames"] = skipped_frames
    if truncated:
        report["truncated"] = True
    return report


Pace = Literal["max", "real"]

_STEP_NS: Final = 20_000_000
_DEATHS: Final = ("worker_died", "worker_down")


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run: its final configuration and counters.

    ``latency`` has a histogram (LATENCY_BUCKETS,) by adapter and queue id; ``deaths`` sentences on workers
    that died; ``late_ns`` the delay behind the wall clock at pace "real"; ``moves`` is None if the balancer
    was off.
    """

    config: Config
    stats: Stats
    latency: dict[str, dict[int, I64]]
    deaths: list[str]
    late_ns: int
    moves: "Moves | None"


@dataclass(frozen=True)
class Moves:
    """A balancer's moves: the first ones in the form of a replay's document, and all counted by reason."""

    first: list[dict[str, Any]]
    by_reason: dict[Reason, int]

    @property
    def total(self) -> int:
        """Number of all moves."""
        return sum(self.by_reason.values())


@dataclass(frozen=True)
class ReplayResult:
    """A replay's document, final state and caveats.

    ``deaths`` are sentences on workers that died; ``late_ns`` is the delay behind the wall clock at pace
    "real".
    """

    document: dict[str, Any]
    config: Config
    stats: Stats
    caveats: Caveats
    deaths: list[str]
    late_ns: int


class _Reported:
    """A capture that reports after each batch how far it was read."""

    def __init__(self, source: CaptureSource, progress: Callable[[ReadCapture], None]) -> None:
        self._source = source
        self._progress = progress

    @property
    def skipped_ns(self) -> int:
        return self._source.skipped_ns

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        filled = self._source.fill(batch, until_ns)
        self._progress(self._source)
        return filled

    def close(self) -> None:
        self._source.close()


def plan_capture(
    capture: CaptureFile | Path | str,
    hardware: Hardware | None = None,
    progress: Callable[[ReadCapture], None] = lambda source: None,
) -> tuple[Plan, Caveats]:
    """Plan queues for a capture's traffic; call ``progress`` while it is read.

    Raises CaptureError, NoProcessorError, MisfitError for an impossible host, and ValueError for another bad
    argument.
    """
    hardware = hardware or Hardware()
    arguments.check_hardware(hardware)
    prepare()
    source = CaptureSource(_capture(capture), adapter=0, link_gbps=hardware.link_gbps)
    try:
        return plan_source(_Reported(source, progress), hardware), Caveats.of(source)
    finally:
        source.close()


def plan(capture: CaptureFile | Path | str, hardware: Hardware | None = None) -> Plan:
    """Plan queues for a capture's traffic: ``scenario`` of the result can be run or replayed.

    Its ``notes`` also say which frames of the capture it does not cover. Raises as ``plan_capture``.
    """
    planned, caveats = plan_capture(capture, hardware)
    notes = [*planned.notes]
    if caveats.skipped_frames:
        notes.append(f"frames of interfaces that are not Ethernet are left out: {caveats.skipped_frames:,}")
    if caveats.broken is not None:
        notes.append(f"{caveats.broken}; the plan covers the frames before it")
    return replace(planned, notes=notes)


def _capture(capture: object) -> CaptureFile | Path:
    given = arguments.capture(capture)
    if given is None:
        raise ValueError("capture: nothing is not a capture (a path fits)")
    return given


def replay(
    capture: CaptureFile | Path | str,
    scenario: ScenarioSource = None,
    adapter: str | None = None,
    *,
    pace: Pace = "max",
    worker_deadline_s: float = WORKER_DEADLINE_S,
    progress: Callable[[ReadCapture], None] = lambda source: None,
) -> ReplayResult:
    """Run a capture through a scenario (any source that ``load_scenario`` reads); call ``progress`` between
    rounds. Without a scenario, the plan of the capture is used.

    At pace "real" a worker that hangs for ``worker_deadline_s`` is killed and replaced; at "max" there is no
    deadline. Raises ScenarioError, CaptureError, ChoiceError, NotEnoughMemoryError, and ValueError for
    another bad argument or an impossible scenario.
    """
    began = time.monotonic()
    given = _capture(capture)
    arguments.choice("pace", pace, ("max", "real"))
    arguments.deadline_s(worker_deadline_s)
    arguments.an("adapter", adapter, str, "an adapter's name")
    scenario = plan_capture(given)[0].scenario if scenario is None else load_scenario(scenario)
    prepare()
    source = capture_source(given, scenario, adapter, shorten_gaps=pace == "real")
    try:
        ended = run(
            scenario,
            source,
            f"capture {capture}",
            pace=pace,
            worker_deadline_s=worker_deadline_s,
            progress=lambda: progress(source),
        )
    finally:
        source.close()
    document = replay_report(
        ended.config,
        ended.stats,
        capture=str(capture),
        sim_seconds=source.last_arrival_ns / 1e9,
        wall_seconds=time.monotonic() - began,
        truncated=source.broken is not None,
        skipped_frames=source.skipped_frames,
    )
    if ended.moves is not None:
        document["balancer"] = {"total_moves": ended.moves.total, "moves": ended.moves.first}
    return ReplayResult(document, ended.config, ended.stats, Caveats.of(source), ended.deaths, ended.late_ns)


def run(
    scenario: Scenario,
    source: Source,
    played: str | None,
    *,
    pace: Pace = "max",
    worker_deadline_s: float = WORKER_DEADLINE_S,
    progress: Callable[[], None] = lambda: None,
) -> FinishedRun:
    """Run a source's frames through a scenario until no frame is pending or outstanding.

    ``played`` describes the source that replaces the scenario's traffic; the caller closes the source. Raises
    the source's errors, NotEnoughMemoryError, ValueError for an impossible scenario.
    """
    with ExitStack() as stack:
        with interrupts_deferred():
            machine = Machine(
                _without_spare_buffers(scenario),
                played,
                deadline_s=worker_deadline_s if pace == "real" else None,
            )
            stack.callback(_close, machine)
        conductor = Conductor(machine.rounds, source)

        def after_round() -> None:
            machine.settle()
            progress()

        sim_clock = SimClock(conductor, machine, after_round)
        late_ns = 0
        if pace == "real":
            clock = _WallClock()
            sim_clock.advance_to_end(count(0, _STEP_NS), clock.wait_for_next_step)
            late_ns = clock.behind_ns
        else:
            sim_clock.advance_to_end()
        machine.rounds.replace_dead()  # in a short run no death may have been noticed
        machine.settle()
        return FinishedRun(
            config=machine.config(),
            stats=machine.stats(skipped_ns=source.skipped_ns),
            latency=machine.latency(),
            deaths=[one.cause for one in machine.take_events() if one.event in _DEATHS],
            late_ns=late_ns,
            moves=_moves(machine.balancing) if scenario.balancer.mode != "off" else None,
        )


def _without_spare_buffers(scenario: Scenario) -> Scenario:
    """The scenario without spare buffers, because no queue is allocated during the run."""
    replace = msgspec.structs.replace
    adapters = [
        replace(adapter, buffers=adapter.asked_buffers) if adapter.buffers is None else adapter
        for adapter in scenario.adapter
    ]
    return replace(scenario, adapter=adapters)


class _WallClock:
    """Paces a run by the wall clock: each step of ``_STEP_NS`` is simulated once its time has passed."""

    def __init__(self) -> None:
        self._due_ns = time.monotonic_ns()

    @property
    def behind_ns(self) -> int:
        """Wall time since the current step was due, at least 0."""
        return max(0, time.monotonic_ns() - self._due_ns)

    def wait_for_next_step(self) -> None:
        """Sleep until the next step's time has passed."""
        self._due_ns += _STEP_NS
        time.sleep(max(0, self._due_ns - time.monotonic_ns()) / 1e9)


def _moves(balancing: BalancerDriver) -> Moves:
    return Moves(balancing.moves, {reason: balancing.by_reason[reason] for reason in REASONS})


def _close(machine: Machine) -> None:
    with interrupts_deferred():
        machine.close()
