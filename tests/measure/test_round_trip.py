"""The library there and back: a lesson runs, its readings lose what a real host lacks, are recorded and
imported, and the twin runs beside them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.bus.codec import encode
from engine.measure.sources import read_measured
from engine.measure.twin import Twin, make_twin
from engine.scenario.model import Scenario
from engine.service.machine import Machine, SimClock
from engine.service.sources import ActiveSource, synthetic_source
from engine.service.twin_check import TwinCheck, check_twin
from engine.telemetry.recorder import Recorder
from engine.workers.conductor import Conductor
from tests.measure.taken_away import AS_A_MODEL, AS_LINUX, AS_WINDOWS, TakenAway
from tests.slow import slow_but
from vmqtui.library.lessons import LESSONS, Intervention

SECONDS = 1.0
READINGS = 20
KINDS = {"model": AS_A_MODEL, "linux": AS_LINUX, "windows": AS_WINDOWS}
FAR = {
    ("swinging-load", "windows"): "what frames cost",
    ("few-buffers", "windows"): "drops by queue",
    ("shared-out-buffers", "windows"): "drops by queue",
    ("team-differs", "model"): "which member",
    ("team-differs", "windows"): "which member",
}
"""Where loads can't be near, and what is not known: what the import says of it."""
QUICK = [("uneven", "linux")]
CASES = [*QUICK, *((name, "all") for name in LESSONS)]


def record(
    path: Path, scenario: Scenario, taken: TakenAway, interventions: tuple[Intervention, ...] = ()
) -> None:
    """Run a scenario and record it as such a host would be."""
    record_as({path: taken}, scenario, interventions)


def record_as(
    paths: Mapping[Path, TakenAway], scenario: Scenario, interventions: tuple[Intervention, ...]
) -> None:
    """Run a scenario once, and record it as each of several hosts would be."""
    active = ActiveSource(scenario, synthetic_source(scenario))
    machine = Machine(scenario, None, active=active)
    try:
        conductor = Conductor(machine.rounds, active.source)
        clock = SimClock(conductor, machine, machine.settle)
        marks = {round(n * SECONDS * 1e9 / READINGS) for n in range(1, READINGS + 1)}
        todo: dict[int, list[Intervention]] = {}
        for one in interventions:
            if one.at_s < SECONDS:
                todo.setdefault(round(one.at_s * 1e9), []).append(one)
        revision = -1
        with ExitStack() as stack:
            recorders = [
                (stack.enter_context(Recorder(path, limit_bytes=1 << 30)), taken)
                for path, taken in paths.items()
            ]
            for mark_ns in sorted(marks | set(todo)):
                clock.advance_to(mark_ns)
                for one in todo.get(mark_ns, ()):
                    machine.request(one.op, dict(one.params))
                    conductor.source = active.source
                config = machine.config()
                if config.revision != revision:
                    revision = config.revision
                    for recorder, taken in recorders:
                        recorder.message("lab", "config", encode(taken.config(config)))
                if mark_ns in marks:
                    stats = machine.stats()
                    for recorder, taken in recorders:
                        recorder.reading("lab", taken.stats(config, stats))
    finally:
        machine.close()
        active.close()


def there_and_back(name: str, kinds: Sequence[str], directory: Path) -> Iterator[tuple[str, Twin, TwinCheck]]:
    """The twin of a lesson and its check, for each kind of host."""
    lesson = LESSONS[name]
    paths = {directory / f"{kind}.rec": KINDS[kind] for kind in kinds}
    record_as(paths, lesson.scenario, tuple(lesson.interventions))
    for kind, path in zip(kinds, paths, strict=True):
        measured = read_measured(path)
        twin = make_twin(measured)
        yield kind, twin, check_twin(measured, twin, SECONDS)


@pytest.mark.parametrize(("name", "kinds"), slow_but(QUICK, CASES, unpack=True))
def test_loads_of_the_twin_are_near_the_measured_ones_or_the_check_says_how_far(
    name: str, kinds: str, tmp_path: Path
) -> None:
    for kind, twin, check in there_and_back(name, [*KINDS] if kinds == "all" else [kinds], tmp_path):
        loads = sorted(check.of("load"), key=lambda one: abs(one.difference or 0.0))
        worst = loads[-1] if loads else None
        print(f"{name:24} {kind:8} {'calibrated' if twin.calibrated else 'defaults':10}", end=" ")
        if worst is not None and worst.difference is not None:
            print(f"{worst.where}: {worst.measured:.1%} measured, {worst.twin:.1%} twin")
        assert check.compared_loads, kind
        if (name, kind) in FAR:
            assert check.worst_load is not None, kind
            assert any(FAR[name, kind] in one for one in twin.unknown), twin.unknown
        else:
            assert check.worst_load is None, kind
