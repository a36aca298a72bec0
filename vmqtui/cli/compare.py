"""``vmqtui compare``."""

import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.scenario.load import load_document
from vmqtui.cli.captures import kept_capture, warn_of
from vmqtui.cli.failures import engine_sentences, failed, sentences, unusable
from vmqtui.cli.output import print_json
from vmqtui.cli.start import prepare_kernels
from vmqtui.printable import printable

if TYPE_CHECKING:
    from engine.service.compare.comparison import Comparison, Plan
    from engine.service.compare.runners import Progress
    from engine.service.compare.runs import Result, Run
    from engine.traffic.capture_file import CaptureFile

_SUFFIXES: Final = (".html", ".md", ".json")
_PLAN: Final = "plan"


def run_compare(
    files: Sequence[Path],
    *,
    adapter: str | None,
    planned: bool,
    sweep: Sequence[str],
    seconds: float | None,
    jobs: int | None,
    dask: str | None,
    reports: Sequence[Path],
    as_json: bool,
) -> int:
    """Compare and print; the exit status."""
    capture, scenarios = _sort(files)
    for report in reports:
        if report.suffix.lower() not in _SUFFIXES:
            unusable(f"--report: {report} ends in none of {', '.join(_SUFFIXES)}")
        if not report.absolute().parent.is_dir():
            unusable(f"--report: {report.absolute().parent} is no directory")
    if capture is None and (planned or not scenarios):
        unusable("a capture is missing: it is what plans are made from")
    if dask is not None and jobs is not None:
        unusable("--jobs: a cluster decides itself how much runs at a time (without --dask it fits)")
    if capture is not None and seconds is not None:
        unusable("--seconds: a capture is replayed to its end (without one it fits)")
    with sentences():
        documents = [load_document(path) for path in scenarios]
    prepare_kernels("engine.service.compare.runs")
    held_capture = nullcontext() if capture is None else kept_capture(capture)
    with engine_sentences("compare"), held_capture as held:
        from engine.service.compare.comparison import SweepError, axis, compare, runs_of
        from engine.service.compare.runners import RunFailedError

        try:
            axes = [axis(one) for one in sweep]
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
            with _Progress() as progress:
                comparison = compare(runs, *_means(jobs, dask, progress))
        except RunFailedError as error:
            (unusable if error.unusable else failed)(error)
    for report in reports:
        _write(comparison, report)
    if as_json:
        print_json(comparison.document())
    else:
        _print(comparison)
    return warn_of(comparison.caveats, "the comparison")


def _sort(files: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """The capture, if there is one, which comes first; and the scenarios."""
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
    """The plans to compare, under names of their own."""
    from engine.service.compare.comparison import Plan
    from engine.service.replay import plan_capture
    from engine.traffic.plan_text import to_toml

    names = told_apart(paths, [_PLAN] * planned)
    plans = [Plan(name, document) for name, document in zip(names, documents, strict=True)]
    if planned:
        assert capture is not None
        plans.append(Plan(_PLAN, tomllib.loads(to_toml(plan_capture(capture)[0]))))
    return plans


def told_apart(paths: Sequence[Path], taken: Sequence[str] = ()) -> list[str]:
    """A name for each file: its stem, with as many of its directories as tell it from the others."""
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


def _means(
    jobs: int | None, dask: str | None, progress: "_Progress"
) -> "tuple[Callable[[Sequence[Run]], list[Result]], str]":
    """How runs are carried out, and that in words."""
    from engine.service.compare.runners import run_here, run_on

    if dask is not None:
        return lambda runs: run_on(dask, runs, progress.tell), f"(on {dask})"
    at_a_time = jobs or os.cpu_count() or 1
    return lambda runs: run_here(runs, at_a_time, progress.tell), f"({at_a_time} at a time)"


class _Progress:
    """What goes on, in one line of a terminal's stderr that is gone at the end; nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def tell(self, progress: "Progress") -> None:
        """Say how far it is."""
        if not self._shown:
            return
        parts = [f"{progress.done} of {progress.total} done"]
        parts += [f"{printable(label)} {share:.0%}" for label, share in progress.under_way.items()]
        room = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        print(f"\r\x1b[K{'; '.join(parts)[: room - 1]}", end="", file=sys.stderr, flush=True)


def _print(comparison: "Comparison") -> None:
    from vmqtui.compare.text import lines

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(lines(comparison, width)))


def _write(comparison: "Comparison", path: Path) -> None:
    """Write a report in the form that its name says."""
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
