"""A comparison: runs of plans, with all combinations of varied settings, on the same traffic; and results.

A varied setting (``--sweep adapter.queue.buffers=64,256``) is an axis; the runs cover all combinations of
axes. An axis names a key as error messages do (``adapter[0].queue[3].buffers``); an array of tables without
an index means all its tables.
"""

import copy
import itertools
import re
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from engine import __version__
from engine.scenario.keys import Key, Tables, keys_of
from engine.scenario.load import ScenarioError, read_scenario, unknown_key
from engine.scenario.model import Scenario, TrafficSpec
from engine.scenario.relations import targets
from engine.scenario.values import show
from engine.service.compare.measures import MEASURES, best
from engine.service.compare.runs import Result, Run
from engine.service.sources import Caveats
from engine.traffic.capture_file import CaptureFile

MAX_RUNS: Final = 500

MAX_CHARACTERS: Final = 2000
"""Longest text of an axis."""

_PART: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[([0-9]{1,6})\])?")


class SweepError(Exception):
    """An axis is invalid; a sentence for exit status 2."""


@dataclass(frozen=True)
class Axis:
    """A key and the values it takes.

    ``parts`` are the names of the key's tables and its own, each with an index or None; ``values`` are pairs
    of the text as typed and the value.
    """

    name: str
    parts: tuple[tuple[str, int | None], ...]
    values: tuple[tuple[str, Any], ...]


def axis(text: str) -> Axis:
    """Parse ``KEY=VALUE,VALUE,…``; a value that is not valid TOML is a string. Raises SweepError."""
    key, equals, listed = text.partition("=")
    values = tuple((word, _value(word)) for word in _split(listed))
    if len(text) > MAX_CHARACTERS or not text.isprintable():
        raise SweepError(f"{show(text)} is not printable text of at most {MAX_CHARACTERS:,} characters")
    if not equals or not all(word for word, _ in values):
        raise SweepError(f"{show(text)} is not KEY=VALUE,VALUE,… (like cpu.moderation_us=10,50)")
    parts = []
    for part in key.strip().split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise SweepError(f"{show(key)} is not the path of a key (like adapter[0].queue[3].buffers)")
        parts.append((match[1], None if match[2] is None else int(match[2])))
    return Axis(key.strip(), tuple(parts), values)


def combinations(axes: Sequence[Axis]) -> list[list[tuple[Axis, str, Any]]]:
    """The Cartesian product of the axes' values; the last axis varies fastest. Raises SweepError."""
    count = 1
    for one in axes:
        count *= len(one.values)
    if count > MAX_RUNS:
        raise SweepError(f"{count:,} combinations are too many ({MAX_RUNS} at most)")
    return [
        [(one, word, value) for one, (word, value) in zip(axes, chosen, strict=True)]
        for chosen in itertools.product(*(one.values for one in axes))
    ]


def varied(document: Mapping[str, Any], chosen: Sequence[tuple[Axis, str, Any]]) -> dict[str, Any]:
    """Return a copy of a scenario's tables with the chosen values set. Raises SweepError."""
    changed = copy.deepcopy(dict(document))
    changed.setdefault("adapter", [{}])  # the default of a scenario without adapters
    for one, _, value in chosen:
        tables = _tables(changed, one)
        if not tables:
            raise SweepError(f"{one.name}: this scenario has none to change")
        for table in tables:
            table[one.parts[-1][0]] = value
    return changed


def _tables(document: dict[str, Any], one: Axis) -> list[dict[str, Any]]:
    """Return every table in which an axis sets its key; add single tables that are missing."""
    row: type[msgspec.Struct] = Scenario
    level: list[dict[str, Any]] = [document]
    *outer, (last, last_number) = one.parts
    for name, number in outer:
        key = keys_of(row).get(name)
        if not isinstance(key, Tables) or (key.most is None and number is not None):
            raise SweepError(f"{one.name}: {name} is no {'table' if number is None else 'array of tables'}")
        row = key.row
        if key.most is None:
            level = [table.setdefault(name, {}) for table in level]
            continue
        arrays = [table.get(name, []) for table in level]
        if number is not None and not any(number < len(array) for array in arrays):
            raise SweepError(f"{one.name}: there is no {name}[{number}]")
        level = [table for array in arrays for n, table in enumerate(array) if number in (None, n)]
    if last_number is not None or not isinstance(keys_of(row).get(last), Key):
        single = [name for name, key in keys_of(row).items() if isinstance(key, Key)]
        if last in keys_of(row) or not single:
            raise SweepError(f"{one.name}: not the path of a single value (like cpu.moderation_us)")
        raise SweepError(f"{one.name}: {unknown_key(last, single)}")
    return level


def _split(listed: str) -> list[str]:
    """Split a text at commas outside quotes."""
    words, quoted = [""], False
    for character in listed:
        quoted ^= character == '"'
        if character == "," and not quoted:
            words.append("")
        else:
            words[-1] += character
    return [word.strip() for word in words]


def _value(word: str) -> Any:
    try:
        return tomllib.loads(f"value = {word}")["value"]
    except (ValueError, RecursionError, KeyError):
        return word


@dataclass(frozen=True, eq=False)
class Plan:
    """A scenario to compare, as the tables of its file; ``name`` is unique among the plans."""

    name: str
    document: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs and their results, in the same order; ``where`` describes where they ran."""

    runs: Sequence[Run]
    results: Sequence[Result]
    wall_seconds: float
    where: str

    @property
    def traffic(self) -> str:
        """A description of the runs' traffic."""
        first = self.runs[0]
        return first.capture.name if first.capture is not None else "the plans' own traffic"

    def values(self, key: str) -> list[float | None]:
        """The values of a measure, in the order of the runs; None: unknown."""
        return [result.values[key] for result in self.results]

    @property
    def winners(self) -> dict[str, list[int]]:
        """Indices of the best runs, by key of the measure; see ``best``."""
        delivered = self.values("delivered")
        return {measure.key: best(measure, self.values(measure.key), delivered) for measure in MEASURES}

    @property
    def caveats(self) -> Caveats:
        """Parts of the capture that the runs did not cover."""
        broken = next((result.broken for result in self.results if result.broken is not None), None)
        return Caveats(broken, max(result.skipped_frames for result in self.results))

    def document(self) -> dict[str, Any]:
        """The comparison as ``vmqtui compare --json`` prints it."""
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
    """Return a run for each plan and combination of settings, plan by plan.

    Without a capture each plan uses its own traffic; a plan without traffic uses that of the first plan that
    has some. Raises ScenarioError, SweepError.
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
    """Return the runs; those without traffic get that of the first run that has some."""

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
    """Execute the runs with ``carry_out`` and measure their wall time."""
    began = time.monotonic()
    results = carry_out(runs)
    return Comparison(runs, results, time.monotonic() - began, where)
