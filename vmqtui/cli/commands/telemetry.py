"""Commands about what engines report: ``get``, ``forget``, ``record``, ``play``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vmqtui.cli.options import RECORDING_MB, Broker, HostName, HostOrAll, Json, OnlyAdapter, Theme
from vmqtui.cli.reach import reaches

Noun = Literal["hosts", "adapters", "queues", "filters", "buffers", "cpus", "ports"]


@reaches
def get(
    noun: Annotated[Noun, typer.Argument(metavar="hosts|adapters|queues|filters|buffers|cpus|ports")],
    broker: Broker = None,
    host: HostOrAll = None,
    adapter: OnlyAdapter = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B,…", help="These columns only; default: all that fit."),
    ] = None,
    json_: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Print again with every reading.")] = False,
) -> None:
    """Print a table of what a running engine reports."""
    from vmqtui.cli.get import run_get

    raise typer.Exit(
        run_get(noun, broker=broker, host=host, adapter=adapter, columns=columns, as_json=json_, watch=watch)
    )


@reaches
def forget(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host that is gone.")],
    broker: Broker = None,
) -> None:
    """Clear what a host that is gone left retained on the broker."""
    from vmqtui.cli.forget import run_forget

    raise typer.Exit(run_forget(host, broker))


@reaches
def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording to write.")],
    broker: Broker = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="H", help="Only this host; default: every host there is.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", min=0, help="End after so many seconds.")
    ] = None,
    max_mb: Annotated[
        float, typer.Option("--max-mb", metavar="N", min=0.1, help="How large the recording may become.")
    ] = RECORDING_MB,
    at_limit: Annotated[
        Literal["stop", "keep-newest"],
        typer.Option("--at-limit", help="Then: end, or move the older half to FILE.old and go on."),
    ] = "stop",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Record what running engines report, until Ctrl-C."""
    from vmqtui.cli.record import run_record

    raise typer.Exit(
        run_record(
            file,
            broker=broker,
            host=host,
            duration=duration,
            limit_bytes=int(max_mb * 1e6),
            at_limit=at_limit,
            force=force,
        )
    )


def play(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording.")],
    host: HostName = None,
    theme: Theme = None,
    speed: Annotated[
        float, typer.Option("--speed", metavar="X", min=0.01, max=1000, help="Times as fast as it was.")
    ] = 1.0,
    json_: Annotated[
        bool, typer.Option("--json", help="Print what the recording holds as one JSON document instead.")
    ] = False,
) -> None:
    """Open a recording in the dashboard: play, pause, step, scrub."""
    from vmqtui.cli.play import run_play

    raise typer.Exit(run_play(file, host=host, theme=theme, speed=speed, as_json=json_))
