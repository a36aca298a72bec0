"""``vmqtui compare``: run the same frames through several plans."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from engine.counted import counted
from vmqtui.cli.failures import engine_sentences, failed, sentences, unusable
from vmqtui.cli.frames import kept_capture_if, prepare_kernels, reading, warn_of
from vmqtui.cli.options import AdapterThatIsFed, Json
from vmqtui.cli.output import ProgressLine, print_json, terminal_columns

if TYPE_CHECKING:
    from engine.service.compare.comparison import Comparison, Plan
    from engine.service.compare.runners import Progress
    from engine.service.compare.runs import Result, Run
    from engine.traffic.capture_file import CaptureFile

_SUFFIXES: Final = (".html", ".md", ".json")
_PLAN: Final = "plan"


@dataclass(frozen=True)
class Means:
    """The options for executing runs: their place, and their number at a time."""

    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, max=256, help="Runs at a time; default: one a core."),
    ] = None
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="URL", help="Run on a Dask cluster: tcp://host:8786")
    ] = None

    def check(self) -> None:
        """End with status 2 if these options conflict."""
        if self.dask is not None and self.jobs is not None:
            unusable("--jobs: a cluster decides itself how much runs at a time (without --dask it fits)")

    def carry_out(
        self, tell: "Callable[[Progress], None]"
    ) -> "tuple[Callable[[Sequence[Run]], list[Result]], str]":
        """Return a function that executes runs, and its description for the report."""
        from engine.service.compare.runners import run_here, run_on

        if (url := self.dask) is not None:
            return lambda runs: run_on(url, runs, tell), f"(on {url})"
        at_a_time = self.jobs or os.cpu_count() or 1
        return lambda runs: run_here(runs, at_a_time, tell), f"({at_a_time} at a time)"


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[CAPTURE] [PLAN.toml]...",
            help="A capture, and scenarios; without a capture, each scenario's own traffic.",
        ),
    ],
    *,
    adapter: AdapterThatIsFed = None,
    planned: Annotated[
        bool, typer.Option("--plan", help="Also what `vmqtui plan` makes of the capture.")
    ] = False,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep", metavar="KEY=A,B", help="Vary a key of the scenarios; several: all combinations."
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", metavar="S", min=0.001, max=86_400, help="Of own traffic, simulated; default: 10."
        ),
    ] = None,
    means: Means,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report", metavar="FILE", help="Also write it: .html (with plots), .md or .json; several fit."
        ),
    ] = None,
    json_: Json = False,
) -> int:
    """Put the same frames through several plans, and say which wins at what."""
    from engine.scenario.load import load_document

    capture, scenarios = _sort(files)
    reports = report or []
    for one in reports:
        if one.suffix.lower() not in _SUFFIXES:
            unusable(f"--report: {one} ends in none of {', '.join(_SUFFIXES)}")
        if not one.absolute().parent.is_dir():
            unusable(f"--report: {one.absolute().parent} is no directory")
    if capture is None and (planned or not scenarios):
        unusable("a capture is missing: it is what plans are made from")
    means.check()
    if capture is not None and seconds is not None:
        unusable("--seconds: a capture is replayed to its end (without one it fits)")
    with sentences():
        documents = [load_document(path) for path in scenarios]
    prepare_kernels("engine.service.compare.runs")
    with engine_sentences("compare"), kept_capture_if(capture) as held:
        from engine.service.compare.comparison import SweepError, axis, runs_of
        from engine.service.compare.comparison import compare as compare_runs
        from engine.service.compare.runners import RunFailedError

        try:
            axes = [axis(one) for one in sweep or ()]
            runs = runs_of(
                _plans(scenarios, documents, held, planned=planned or not scenarios),
                axes,
                capture=held,
                adapter=adapter,
                seconds=10.0 if seconds is None else seconds,
            )
        except SweepError as error:
            unusable(f"--sweep: {error}")
        try:
            with ProgressLine() as line:
                comparison = compare_runs(runs, *means.carry_out(lambda progress: _tell(line, progress)))
        except RunFailedError as error:
            (unusable if error.unusable else failed)(error)
    for one in reports:
        _write(comparison, one)
    if json_:
        print_json(comparison.document())
    else:
        _print(comparison)
    return warn_of(comparison.caveats, "the comparison")


def _sort(files: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """Split the files into the capture, or None, and the scenarios (files that end in .toml)."""
    scenarios = [path for path in files if path.suffix.lower() == ".toml"]
    others = [path for path in files if path not in scenarios]
    if len(others) > 1:
        unusable(f"{others[1]}: a second capture (scenarios end in .toml)")
    return (others[0] if others else None), scenarios


def _plans(
    paths: Sequence[Path],
    documents: Sequence[dict[str, Any]],
    capture: "CaptureFile | None",
    *,
    planned: bool,
) -> "list[Plan]":
    """Return the plans to compare, with unique names."""
    import tomllib

    from engine.service.compare.comparison import Plan
    from engine.service.replay import plan_capture
    from engine.traffic.plan_text import to_toml

    names = told_apart(paths, [_PLAN] * planned)
    plans = [Plan(name, document) for name, document in zip(names, documents, strict=True)]
    if planned:
        assert capture is not None
        with ProgressLine() as line:
            made = plan_capture(capture, progress=reading(line, "planning"))[0]
        plans.append(Plan(_PLAN, tomllib.loads(to_toml(made))))
    return plans


def told_apart(paths: Sequence[Path], taken: Sequence[str] = ()) -> list[str]:
    """Return a unique name for each file: its stem, preceded by as many parent directories as needed."""
    parts = [path.absolute().with_suffix("").parts[1:] for path in paths]
    lengths = [1] * len(paths)
    while True:
        names = ["/".join(one[-length:]) for one, length in zip(parts, lengths, strict=True)]
        longer = [
            n
            for n, name in enumerate(names)
            if [*names, *taken].count(name) > 1 and lengths[n] < len(parts[n])
        ]
        if not longer:
            return names
        for n in longer:
            lengths[n] += 1


def _tell(line: ProgressLine, progress: "Progress") -> None:
    """Show the number of finished runs, which ones run now, and the share of all that is done."""
    share = (progress.done + sum(progress.under_way.values())) / progress.total
    now = f" ({', '.join(progress.under_way)})" if progress.under_way else ""
    line.show(f"{progress.done} of {counted(progress.total, 'run')} done{now}", share)


def _print(comparison: "Comparison") -> None:
    from vmqtui.compare.text import lines

    print("\n".join(lines(comparison, terminal_columns())))


def _write(comparison: "Comparison", path: Path) -> None:
    """Write a report in the format of the path's suffix; HTML for any other."""
    from vmqtui.compare.page import page
    from vmqtui.compare.text import markdown
    from vmqtui.printable import as_json

    match path.suffix.lower():
        case ".json":
            text = as_json(comparison.document(), indent=2) + "\n"
        case ".md":
            text = markdown(comparison)
        case _:
            text = page(comparison)
    path.write_text(text, encoding="utf-8", newline="\n")
