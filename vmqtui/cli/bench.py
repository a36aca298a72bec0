"""``vmqtui bench``: measure the whole receive path."""

import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import typer

from engine.counted import counted
from vmqtui.cli.failures import DONE, engine_sentences, failed, unusable
from vmqtui.cli.frames import prepare_kernels
from vmqtui.cli.options import Json
from vmqtui.cli.output import ProgressLine, print_json, print_texts

_SECONDS: Final = 6.0
_SWEEP_SECONDS: Final = 3.0
_QUIET_SHARE: Final = 0.1
_ENGINE: Final = (sys.executable, "-m", "vmqtui", "engine")


@dataclass(frozen=True)
class SettingOptions:
    """The setting to measure, with the fields of ``engine.service.bench.Settings``."""

    cpus: Annotated[
        int | None,
        typer.Option("--cpus", metavar="N", min=1, max=256, help="Simulated processors; default: 8."),
    ] = None
    queues: Annotated[
        int | None, typer.Option("--queues", metavar="N", min=1, max=4096, help="Default: 64.")
    ] = None
    filters: Annotated[
        int | None, typer.Option("--filters", metavar="N", min=1, max=65_536, help="Default: one a queue.")
    ] = None
    frame_bytes: Annotated[
        int | None, typer.Option("--frame-bytes", metavar="N", min=14, max=65_535, help="Default: 64.")
    ] = None


def bench(
    *,
    setting: SettingOptions,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="S",
            min=0.1,
            max=3600,
            help="For all runs of a setting; default: 6, with --sweep 3.",
        ),
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="A table over CPUs, queues, filters and frame sizes, and what is wanted."
        ),
    ] = False,
    json_: Json = False,
) -> int:
    """Measure the whole receive path in real worker processes, and how fast this machine copies memory."""
    given = {name: value for name, value in asdict(setting).items() if value is not None}
    if sweep and given:
        unusable(f"--{next(iter(given)).replace('_', '-')}: --sweep has settings of its own")
    given.setdefault("queues", 64)
    given.setdefault("filters", given["queues"])
    if given["filters"] < given["queues"]:
        unusable(f"--filters: {given['filters']} is less than one a queue (--queues {given['queues']})")
    prepare_kernels()
    with engine_sentences("bench"), ProgressLine() as line:
        from engine.service import bench_sweep
        from engine.service.bench import BenchFailedError, Settings

        try:
            if sweep:
                document = bench_sweep.sweep(seconds or _SWEEP_SECONDS, _ENGINE, line.show)
            else:
                document = bench_sweep.bench(Settings(**given), seconds or _SECONDS, line.show)
        except BenchFailedError as error:
            failed(error)
    if json_:
        print_json(document)
    elif sweep:
        _print_sweep(document)
    else:
        _print(document)
    return DONE


def _print(document: dict[str, Any]) -> None:
    print(
        f"{counted(document['cpus'], 'CPU')}, {counted(document['queues'], 'queue')},"
        f" {counted(document['filters'], 'filter')},"
        f" {document['frame_bytes']}-byte frames, on {counted(document['cores'], 'core')};"
        f" median of {counted(document['runs'], 'run')}, ± half their spread"
    )
    for title, text in (
        ("whole path", _rate(document["frames_per_second"], document["frames_per_second_spread"])),
        ("", f"{document['gbits_per_second']:.2f} Gbit/s"),
        ("", f"{document['line_rate_10g_ratio']:.2f} × 10 GbE line rate"),
        ("steering, a core", _rate(document["steer_frames_per_second_per_core"], document["steer_spread"])),
        ("memcpy", f"{document['memcpy_gbytes_per_second']:.2f} GB/s ± {document['memcpy_spread'] / 2:.0%}"),
        ("copied", f"{document['copied_gbytes_per_second']:.2f} GB/s"),
        ("", f"{document['copy_ratio']:.2f} of memcpy"),
        ("workers ready", f"{document['ready_seconds']:.2f} s"),
    ):
        print(f"  {title:<18}{text}")
    _print_baselines(document)
    _print_company(document)


def _print_company(document: dict[str, Any]) -> None:
    """Print a note if other programs kept the machine busy, which lowers every result."""
    busy, cores = document["busy_cores_before"], document["cores"]
    if busy > _QUIET_SHARE * cores:
        print(
            f"just before, other programs kept {busy:.1f} of {cores} cores busy: nothing here is at its best"
        )


def _print_baselines(document: dict[str, Any]) -> None:
    print("the same frames in Python, on one core: steered and counted, nothing more")
    for row in document["baselines"]:
        text = row["is_missing"] or (
            f"{_rate(row['frames_per_second'], row['frames_per_second_spread'])}; steering alone is"
            f" {row['times_slower_than_steering']:.0f} × as fast, the whole path {row['times_slower']:.1f} ×"
        )
        print(f"  {row['name']:<28}{text}")


def _print_sweep(document: dict[str, Any]) -> None:
    print(
        f"on {counted(document['cores'], 'core')}; median of {counted(document['runs'], 'run')},"
        " ± half their spread; rows of a group take turns, memcpy is measured before each run\n"
    )
    heads = (
        "group", "CPUs", "queues", "filters", "bytes", "frames/s", "±", "Gbit/s", "of memcpy", "× first"
    )  # fmt: skip
    print_texts(
        heads,
        [
            (
                row["group"],
                f"{row['cpus']}",
                f"{row['queues']:,}",
                f"{row['filters']:,}",
                f"{row['frame_bytes']:,}",
                f"{row['frames_per_second'] / 1e6:.2f} M",
                f"{row['frames_per_second_spread'] / 2:.0%}",
                f"{row['gbits_per_second']:.2f}",
                f"{row['copy_ratio']:.3f}",
                f"{row['over_first']:.2f}",
            )
            for row in document["rows"]
        ],
    )
    print()
    print_texts(
        ("wanted", "at least", "aim for", "measured", "reached"),
        [
            (
                row["what"],
                *(_amount(row[key], row["unit"]) for key in ("at_least", "aim", "measured")),
                row["reached"],
            )
            for row in document["targets"]
        ],
    )
    print()
    telemetry, start = document["telemetry"], document["start"]
    for title, text in (
        ("memcpy", f"{document['memcpy_gbytes_per_second']:.2f} GB/s ± {document['memcpy_spread'] / 2:.0%}"),
        (f"start, {start['cpus']} CPUs", f"{start['seconds']:.2f} s ± {start['seconds_spread'] / 2:.0%}"),
        (
            "telemetry",
            f"{telemetry['core_share']:.1%} of a core ({telemetry['core_share_least']:.1%} to"
            f" {telemetry['core_share_most']:.1%})",
        ),
        (
            "",
            f"the engine process takes {telemetry['engine_core_share_with']:.1%} with it,"
            f" {telemetry['engine_core_share_without']:.1%} without",
        ),
        *(
            (
                f"replay, {row['form']}",
                f"{_rate(row['frames_per_second'], row['frames_per_second_spread'])};"
                f" {counted(row['frames'], 'frame')} in {row['wall_seconds']:.2f} s with start and end",
            )
            for row in document["replays"]
        ),
    ):
        print(f"  {title:<18}{text}")
    _print_baselines(document)
    _print_company(document)


def _rate(frames_per_second: float, spread: float) -> str:
    return f"{frames_per_second / 1e6:.2f} M frames/s ± {spread / 2:.0%}"


def _amount(value: float, unit: str) -> str:
    match unit:
        case "frames/s":
            return f"{value / 1e6:.2f} M/s"
        case "times":
            return f"{value:.2f} ×"
        case "bytes":
            return f"{value / 1e6:.1f} MB"
        case "core":
            return f"{value:.1%}"
        case _:
            return f"{value:.2f} {unit}"
