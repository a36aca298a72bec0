"""A comparison: the runs that a few scenarios, settings and one traffic make, and all that came of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine import __version__
from engine.scenario.load import ScenarioError, read_scenario
from engine.scenario.model import Scenario, TrafficSpec
from engine.scenario.relations import targets
from engine.service.compare.measures import MEASURES, best
from engine.service.compare.runs import Result, Run
from engine.service.compare.sweep import MAX_RUNS, Axis, SweepError, combinations, varied
from engine.service.sources import Caveats
from engine.traffic.capture_file import CaptureFile


@dataclass(frozen=True, eq=False)
class Plan:
    """A scenario to compare, as its file's tables; ``name`` tells it from the others."""

    name: str
    document: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs and what came of each, in order. ``jobs`` says in words where they ran."""

    runs: Sequence[Run]
    results: Sequence[Result]
    wall_seconds: float
    where: str

    @property
    def traffic(self) -> str:
        """What went through each, in words."""
        first = self.runs[0]
        return first.capture.name if first.capture is not None else "the plans' own traffic"

    def values(self, key: str) -> list[float | None]:
        """One measure, by run."""
        return [result.values[key] for result in self.results]

    @property
    def winners(self) -> dict[str, list[int]]:
        """Which runs are best at each measure; none where all are alike, or nobody can win."""
        delivered = self.values("delivered")
        return {measure.key: best(measure, self.values(measure.key), delivered) for measure in MEASURES}

    @property
    def caveats(self) -> Caveats:
        """What the runs did not cover of the capture."""
        broken = next((result.broken for result in self.results if result.broken is not None), None)
        return Caveats(broken, max(result.skipped_frames for result in self.results))

    def document(self) -> dict[str, Any]:
        """As ``vmqtui compare --json`` prints it."""
        first = self.runs[0]
        return {
            "schema": "vmq.compare/1",
            "version": __version__,
            "capture": None if first.capture is None else first.capture.name,
            "seconds": None if first.capture is not None else first.seconds,
            "wall_seconds": self.wall_seconds,
            "where": self.where,
            "runs": [
                {"label": run.label, "plan": run.name, "settings": run.settings} | msgspec.to_builtins(result)
                for run, result in zip(self.runs, self.results, strict=True)
            ],
            "measures": [
                {key: getattr(measure, key) for key in ("key", "title", "unit", "better", "help")}
                for measure in MEASURES
            ],
            "best": {
                key: [self.runs[n].label for n in winners] for key, winners in self.winners.items() if winners
            },
        }


def runs_of(
    plans: Sequence[Plan],
    axes: Sequence[Axis],
    *,
    capture: CaptureFile | None,
    adapter: str | None,
    seconds: float,
) -> list[Run]:
    """Every plan with every combination of settings, plan by plan.

    Without a capture each plan is fed by its own traffic, and one that has none by the first's that has.
    Raises ScenarioError, SweepError.
    """
    ways = combinations(axes)
    if (count := len(plans) * len(ways)) > MAX_RUNS:
        raise SweepError(f"{count:,} are too many runs ({MAX_RUNS:,} at most)")
    runs = []
    for plan in plans:
        read_scenario(plan.document, plan.name)
        for chosen in ways:
            try:
                document = varied(plan.document, chosen)
            except SweepError as error:
                raise SweepError(f"{plan.name}: {error}") from None
            runs.append(
                Run(
                    name=plan.name,
                    settings={one.name: word for one, word, _ in chosen},
                    scenario=read_scenario(document, plan.name),
                    capture=capture,
                    adapter=adapter,
                    seconds=0.0 if capture is not None else seconds,
                )
            )
    return runs if capture is not None else _fed(runs)


def _fed(runs: list[Run]) -> list[Run]:
    """The same, each with traffic of its own."""

    def has(scenario: Scenario) -> bool:
        return scenario.traffic is not None and bool(scenario.traffic.mix)

    given: TrafficSpec | None = next((run.scenario.traffic for run in runs if has(run.scenario)), None)
    if given is None:
        raise ScenarioError(f"{runs[0].name}: traffic: missing (a capture, or a table [traffic], fits)")
    fed = []
    for run in runs:
        if has(run.scenario):
            fed.append(run)
            continue
        for mix in given.mix:
            if mix.adapter not in targets(run.scenario):
                raise ScenarioError(
                    f"{run.name}: traffic: missing, and that of another plan is for {mix.adapter}"
                    f" ({', '.join(targets(run.scenario))} fits)"
                )
        fed.append(
            msgspec.structs.replace(run, scenario=msgspec.structs.replace(run.scenario, traffic=given))
        )
    return fed


def compare(
    runs: Sequence[Run], carry_out: Callable[[Sequence[Run]], list[Result]], where: str
) -> Comparison:
    """Have runs carried out, and keep how long that took."""
    began = time.monotonic()
    results = carry_out(runs)
    return Comparison(runs, results, time.monotonic() - began, where)
