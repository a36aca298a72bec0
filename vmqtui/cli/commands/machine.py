"""Commands about this machine: ``doctor``, ``account``, ``bench``."""

from typing import Annotated

import typer

from vmqtui.cli.options import Broker, Json
from vmqtui.cli.reach import reaches


@reaches
def doctor(
    broker: Broker = None,
    clean: Annotated[bool, typer.Option("--clean", help="Remove what crashed engines left behind.")] = False,
    json_: Json = False,
) -> None:
    """Check this installation, and say what to do where something is wrong."""
    from vmqtui.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(broker=broker, clean=clean, as_json=json_))


def account(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")],
    role: Annotated[str, typer.Argument(metavar="viewer|operator|engine", help="What it may do.")],
) -> None:
    """Print a line for the file that engine --accounts takes. It asks for the password, or reads a pipe."""
    from vmqtui.cli.account import run_account

    raise typer.Exit(run_account(name, role))


def bench(
    cpus: Annotated[
        int | None,
        typer.Option("--cpus", metavar="N", min=1, max=256, help="Simulated processors; default: 8."),
    ] = None,
    queues: Annotated[
        int | None, typer.Option("--queues", metavar="N", min=1, max=4096, help="Default: 64.")
    ] = None,
    filters: Annotated[
        int | None, typer.Option("--filters", metavar="N", min=1, max=65_536, help="Default: one a queue.")
    ] = None,
    frame_bytes: Annotated[
        int | None, typer.Option("--frame-bytes", metavar="N", min=14, max=65_535, help="Default: 64.")
    ] = None,
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
) -> None:
    """Measure the whole receive path in real worker processes, and how fast this machine copies memory."""
    from vmqtui.cli.bench import run_bench

    raise typer.Exit(run_bench(cpus, queues, filters, frame_bytes, seconds, sweep=sweep, as_json=json_))
