"""``vmqtui import``: a scenario from a real host, checked against what was measured."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from engine.counted import counted
from engine.files import put_in_place
from vmqtui.cli.failures import (
    DONE,
    FAILED,
    CommandError,
    engine_sentences,
    failed,
    unusable,
    warn,
)
from vmqtui.cli.frames import prepare_kernels
from vmqtui.cli.options import Force, Json
from vmqtui.cli.output import ProgressLine, print_json, write_in_utf8
from vmqtui.numbers import compact, percent
from vmqtui.printable import printable

if TYPE_CHECKING:
    from engine.measure.host import MeasuredHost
    from engine.measure.twin import Twin
    from engine.service.twin_check import Compared, TwinCheck

HostOfSource = Annotated[
    str | None, typer.Option("--host", metavar="H", help="The host, where a recording has several.")
]
_SHARES: Final = 8
"""Most shares of queues in the table: those that differ most."""
_LOADS: Final = 64


def import_(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="A recording of a watched host (vmqtui record), or a file or folder from a Windows host.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the scenario to this file.")
    ] = None,
    force: Force = False,
    host: HostOfSource = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", metavar="S", min=0.1, max=3600, help="How long the twin runs for its check."
        ),
    ] = 1.0,
    script: Annotated[
        Literal["windows"] | None,
        typer.Option(
            "--script", help="Print the script that collects a SOURCE on a Windows host (PowerShell)."
        ),
    ] = None,
    json_: Json = False,
) -> int:
    """Write a scenario from a real host: its twin, which runs and is compared with what was measured."""
    if script is not None:
        return _print_script(source)
    if source is None:
        unusable("SOURCE is missing: a recording, or what `vmqtui import --script windows` collected")
    if output is not None and output.exists() and not force:
        unusable(f"{output}: is there already; another name, or --force to replace it")
    from engine.measure.twin import make_twin

    with ProgressLine() as line:
        line.show(f"reading {source}")
        measured = read_source(source, host)
        twin = make_twin(measured)
    if output is not None:
        _write(output, twin.text)
    elif not json_:
        write_in_utf8()
        print(twin.text, end="", flush=True)
    for remark in (*measured.remarks, *twin.remarks):
        warn(remark)
    timed = is_timed(measured)
    check, why_not = (
        _checked(measured, twin, seconds) if timed else (None, "no time passed between its readings")
    )
    if check is not None:
        _print_check(check, twin, measured)
    elif timed:
        warn(f"the twin could not be run to compare it with the host: {why_not}")
    else:
        warn(
            f"{why_not}, so no rate is known: the scenario has no traffic, and is not compared with the host"
        )
    if json_:
        print_json(_document(measured, twin, check, why_not))
    return FAILED if check is None and timed else DONE


def _print_script(source: Path | None) -> int:
    from engine.measure.windows_tables import script

    if source is not None:
        unusable("--script: prints a script, and takes no SOURCE")
    print(script(), end="", flush=True)
    return DONE


def read_source(path: Path, host: str | None) -> "MeasuredHost":
    """Read a measured host from a file. Ends with status 2 if it holds none."""
    from engine.measure.host import SourceError
    from engine.measure.sources import read_measured

    try:
        return read_measured(path, host)
    except SourceError as error:
        unusable(error)
    except OSError as error:
        unusable(f"{path}: {error.strerror or error}")


def is_timed(measured: "MeasuredHost") -> bool:
    """Whether time passed between its readings, so that rates are known."""
    return measured.readings[-1].sim_time_ns > measured.readings[0].sim_time_ns


def _write(path: Path, text: str) -> None:
    try:
        with put_in_place(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        failed(f"{path}: {error.strerror or error}")


def _checked(measured: "MeasuredHost", twin: "Twin", seconds: float) -> "tuple[TwinCheck | None, str]":
    """Run the twin and compare it; or return why that failed."""
    try:
        prepare_kernels()
        with engine_sentences("the twin"), ProgressLine() as line:
            from engine.service.twin_check import check_twin

            return check_twin(measured, twin, seconds, lambda share: line.show("running the twin", share)), ""
    except CommandError as error:
        return None, "; ".join(error.sentences)


def _document(
    measured: "MeasuredHost", twin: "Twin", check: "TwinCheck | None", why_not: str
) -> dict[str, Any]:
    readings = measured.readings
    newest = readings[-1]
    return {
        "schema": "vmq.import/1",
        "source": measured.origin,
        "host": measured.config.host,
        "seconds": (newest.sim_time_ns - readings[0].sim_time_ns) / 1e9,
        "readings": len(readings),
        "remarks": [*measured.remarks, *twin.remarks],
        "unknown": list(twin.unknown),
        "sources": {
            "cpus": newest.sources,
            "adapters": {name: one.sources for name, one in newest.adapters.items()},
        },
        "values": dict(twin.counts),
        "calibrated": twin.calibrated,
        "scenario": twin.text,
        "check": None
        if check is None
        else {
            "seconds": check.seconds,
            "rows": [
                {
                    "measure": one.measure,
                    "where": one.where,
                    "measured": one.measured,
                    "twin": one.twin,
                    "error": one.error,
                }
                for one in check.rows
            ],
        },
        "check_failed": why_not or None,
    }


def _print_check(check: "TwinCheck", twin: "Twin", measured: "MeasuredHost") -> None:
    """Print on stderr the numbers of the host and the twin side by side."""
    readings = measured.readings
    seconds = (readings[-1].sim_time_ns - readings[0].sim_time_ns) / 1e9
    shares = sorted(check.of("share"), key=lambda one: -abs(one.difference or 0.0))
    rows = [*check.of("load")[:_LOADS], *check.of("drops"), *shares[:_SHARES]]
    lines = [
        ("", "", "measured", "twin", "error"),
        *((one.measure, one.where, *_numbers(one), _error(one)) for one in rows),
    ]
    widths = [max(len(printable(line[column])) for line in lines) for column in range(5)]
    say = [f"the twin ran for {check.seconds:.3g} s, beside {seconds:.3g} s measured:"]
    for line in lines:
        words = [f"{printable(text):<{width}}" for text, width in zip(line[:2], widths, strict=False)]
        numbers = [f"{text:>{width}}" for text, width in zip(line[2:], widths[2:], strict=True)]
        say.append("  " + "  ".join(words + numbers))
    more = len(check.rows) - len(rows)
    say += [f"  and {counted(more, 'more row')} (--json has them)"] if more else []
    told = ", ".join(f"{twin.counts.get(kind, 0)} {kind}" for kind in ("measured", "derived", "assumed"))
    say += [verdict(check), f"values of the scenario: {told}"]
    say += [f"not measured: {printable(one)}" for one in twin.unknown]
    print("\n".join(say), file=sys.stderr)


def verdict(check: "TwinCheck") -> str:
    """Return in a sentence how near the twin's loads are."""
    worst, loads = check.worst_load, counted(check.compared_loads, "load")
    if not check.compared_loads:
        return "no load is known of the host, so the twin's loads can't be compared"
    if worst is None:
        return f"{loads} compared, each within 10 % of what was measured, or half a percent of a processor"
    numbers = f"{percent(worst.measured)} measured, {percent(worst.twin)} in the model"
    return f"{loads} compared, not all within 10 %: {worst.where} differs most ({numbers})"


def _numbers(one: "Compared") -> tuple[str, str]:
    words = compact if one.measure == "drops" else percent
    return words(one.measured), words(one.twin)


def _error(one: "Compared") -> str:
    if one.difference is None:
        return "unknown"
    if one.error is None:
        return "new"
    return f"{one.error:+.1%}" if one.error else "0%"
