"""A replay: one capture through the model, from its first frame until nothing is pending."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from engine.balance.decide import REASONS, Reason
from engine.kernels.layout import I64
from engine.scenario.model import Scenario
from engine.service.balancing import Balancing
from engine.service.course import Course
from engine.service.interrupts import whole
from engine.service.machine import WORKER_DEADLINE_S, Machine
from engine.service.sources import CaptureFrames, Caveats, capture_source
from engine.telemetry.config import Config
from engine.telemetry.report import replay_report
from engine.telemetry.stats import Stats
from engine.traffic.batch import Source
from engine.traffic.capture import CaptureSource
from engine.traffic.capture_file import CaptureFile
from engine.traffic.plan import Hardware, Plan, plan
from engine.workers.conductor import Conductor

Pace = Literal["max", "real"]

_STEP_NS: Final = 20_000_000
_DEATHS: Final = ("worker_died", "worker_down")


@dataclass(frozen=True, eq=False)
class Ended:
    """What a run left: its state, how long frames waited to be indicated (by adapter and queue id, a
    histogram (LATENCY_BUCKETS,)), sentences on workers that died, how far behind the clock it was, if it had
    one, and what its balancer did: None where it was off."""

    config: Config
    stats: Stats
    latency: dict[str, dict[int, I64]]
    deaths: list[str]
    late_ns: int
    moves: "Moves | None"


@dataclass(frozen=True)
class Moves:
    """What a balancer did: the first moves, as a replay's document has them, and how many of each reason."""

    first: list[dict[str, Any]]
    by_reason: dict[Reason, int]

    @property
    def total(self) -> int:
        """How many there were in all."""
        return sum(self.by_reason.values())


@dataclass(frozen=True)
class Replayed:
    """What a replay found: its document, the state it left, what it does not cover of the capture, and
    sentences on workers that died; ``late_ns``, how far behind the clock it ended, if it had one to keep."""

    document: dict[str, Any]
    config: Config
    stats: Stats
    caveats: Caveats
    deaths: list[str]
    late_ns: int


def plan_capture(capture: CaptureFile | Path, hardware: Hardware | None = None) -> tuple[Plan, Caveats]:
    """A plan for a capture. Raises CaptureError, NoProcessorError."""
    hardware = hardware or Hardware()
    source = CaptureSource(capture, adapter=0, link_gbps=hardware.link_gbps)
    try:
        return plan(source, hardware), Caveats.of(source)
    finally:
        source.close()


def replay(
    capture: CaptureFile | Path,
    scenario: Scenario,
    adapter: str | None = None,
    *,
    pace: Pace = "max",
    worker_deadline_s: float = WORKER_DEADLINE_S,
    progress: Callable[[CaptureFrames], None] = lambda source: None,
) -> Replayed:
    """Run a capture through a scenario; ``progress`` is called between rounds. At pace "real" a
    worker that hangs for ``worker_deadline_s`` is killed and replaced; at "max" none hangs.

    Raises CaptureError, ChoiceError, NotEnoughMemoryError, ValueError for a scenario that can't be.
    """
    began = time.monotonic()
    source = capture_source(capture, scenario, adapter, shorten_gaps=pace == "real")
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
    return Replayed(document, ended.config, ended.stats, Caveats.of(source), ended.deaths, ended.late_ns)


def run(
    scenario: Scenario,
    source: Source,
    played: str | None,
    *,
    pace: Pace = "max",
    worker_deadline_s: float = WORKER_DEADLINE_S,
    progress: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a source's frames through a scenario until nothing is pending or outstanding.

    ``played`` says in words what feeds it in place of the scenario's traffic; the source is closed by who
    made it. Raises what the source does, NotEnoughMemoryError, ValueError for a scenario that can't be.
    """
    with ExitStack() as stack:
        with whole():
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

        course = Course(conductor, machine, after_round)
        late_ns = 0
        if pace == "real":
            clock = _Clock()
            course.go_to_end(count(0, _STEP_NS), clock.wait_for_next_step)
            late_ns = clock.behind_ns
        else:
            course.go_to_end()
        machine.rounds.replace_dead()  # it may have been too short to notice
        machine.settle()
        return Ended(
            config=machine.config(),
            stats=machine.stats(skipped_ns=source.skipped_ns),
            latency=machine.latency(),
            deaths=[one.cause for one in machine.take_events() if one.event in _DEATHS],
            late_ns=late_ns,
            moves=_moves(machine.balancing) if scenario.balancer.mode != "off" else None,
        )


def _without_spare_buffers(scenario: Scenario) -> Scenario:
    """The scenario for a run in which no queue comes later."""
    replace = msgspec.structs.replace
    adapters = [
        replace(adapter, buffers=adapter.asked_buffers) if adapter.buffers is None else adapter
        for adapter in scenario.adapter
    ]
    return replace(scenario, adapter=adapters)


class _Clock:
    """The wall clock, in steps of ``_STEP_NS``: a step is simulated when its time has passed."""

    def __init__(self) -> None:
        self._due_ns = time.monotonic_ns()

    @property
    def behind_ns(self) -> int:
        """How long ago the time of the last step passed."""
        return max(0, time.monotonic_ns() - self._due_ns)

    def wait_for_next_step(self) -> None:
        """Sleep until the time of the next step has passed."""
        self._due_ns += _STEP_NS
        time.sleep(max(0, self._due_ns - time.monotonic_ns()) / 1e9)


def _moves(balancing: Balancing) -> Moves:
    return Moves(balancing.moves, {reason: balancing.by_reason[reason] for reason in REASONS})


def _close(machine: Machine) -> None:
    with whole():
        machine.close()
