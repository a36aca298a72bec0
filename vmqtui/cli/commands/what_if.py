"""Commands that run the model to its end, or plan for it: ``replay``, ``plan``, ``compare``, ``advise``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vmqtui.cli.options import (
    Broker,
    CaptureArgument,
    CaptureFile,
    FedAdapter,
    HostName,
    Json,
    WorkerDeadline,
)
from vmqtui.cli.reach import reaches


def replay(
    capture: CaptureArgument,
    scenario: Annotated[
        Path | None,
        typer.Option(
            "--scenario", metavar="F", help="Scenario file (TOML); default: a plan for the capture."
        ),
    ] = None,
    adapter: FedAdapter = None,
    json_: Json = False,
    pace: Annotated[
        Literal["max", "real"], typer.Option("--pace", help="As fast as it goes, or by the capture's clock.")
    ] = "max",
    worker_deadline: WorkerDeadline = None,
) -> None:
    """Run a capture through the model to its end, and print every counter."""
    from vmqtui.cli.replay import run_replay

    raise typer.Exit(
        run_replay(capture, scenario, adapter, as_json=json_, pace=pace, worker_deadline=worker_deadline)
    )


def plan(
    capture: CaptureArgument,
    cpus: Annotated[
        int, typer.Option("--cpus", metavar="N", min=1, max=256, help="Processors of the host.")
    ] = 8,
    hyperthreading: Annotated[
        bool, typer.Option("--hyperthreading", help="Two share a core: only even ones serve queues.")
    ] = False,
    numa_nodes: Annotated[
        int, typer.Option("--numa-nodes", metavar="N", min=1, max=256, help="NUMA nodes of the host.")
    ] = 1,
    numa_node: Annotated[
        int,
        typer.Option(
            "--numa-node", metavar="N", min=0, max=255, help="The adapter's: its processors serve the queues."
        ),
    ] = 0,
    base_cpu: Annotated[
        int,
        typer.Option(
            "--base-cpu", metavar="N", min=0, max=255, help="First processor that serves VMs' queues."
        ),
    ] = 0,
    max_cpus: Annotated[
        int | None,
        typer.Option("--max-cpus", metavar="N", min=1, max=256, help="How many processors serve them."),
    ] = None,
    max_queues: Annotated[
        int | None,
        typer.Option(
            "--max-queues", metavar="N", min=0, max=4096, help="Queues the adapter has; default: as needed."
        ),
    ] = None,
    max_filters: Annotated[
        int | None,
        typer.Option(
            "--max-filters", metavar="N", min=0, max=65_536, help="Filters it has; default: as needed."
        ),
    ] = None,
    buffers: Annotated[
        int | None,
        typer.Option(
            "--buffers", metavar="N", min=1, max=65_536, help="Receive buffers it has; default: as needed."
        ),
    ] = None,
    link_gbps: Annotated[
        float, typer.Option("--link-gbps", metavar="G", min=0.001, max=10_000, help="Speed of its link.")
    ] = 10.0,
) -> None:
    """Print a scenario that gives each destination seen in a capture its queue, and says why it is so."""
    from vmqtui.cli.replay import run_plan

    raise typer.Exit(
        run_plan(
            capture,
            cpus=cpus,
            hyperthreading=hyperthreading,
            numa_nodes=numa_nodes,
            numa_node=numa_node,
            base_cpu=base_cpu,
            max_cpus=max_cpus,
            max_queues=max_queues,
            max_filters=max_filters,
            max_buffers=buffers,
            link_gbps=link_gbps,
        )
    )


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[CAPTURE] [PLAN.toml]...",
            help="A capture, and scenarios; without a capture, each scenario's own traffic.",
        ),
    ],
    adapter: FedAdapter = None,
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
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, max=256, help="Runs at a time; default: one a core."),
    ] = None,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="URL", help="Run on a Dask cluster: tcp://host:8786")
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report", metavar="FILE", help="Also write it: .html (with plots), .md or .json; several fit."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Put the same frames through several plans, and say which wins at what."""
    from vmqtui.cli.compare import run_compare

    raise typer.Exit(
        run_compare(
            files,
            adapter=adapter,
            planned=planned,
            sweep=sweep or [],
            seconds=seconds,
            jobs=jobs,
            dask=dask,
            reports=report or [],
            as_json=json_,
        )
    )


@reaches
def advise(
    scenario: Annotated[
        Path | None,
        typer.Option("--scenario", metavar="F", help="Run this scenario file; default: a running engine."),
    ] = None,
    capture: CaptureFile = None,
    adapter: FedAdapter = None,
    broker: Broker = None,
    host: HostName = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", metavar="S", min=0.1, max=3600, help="How long to look; a capture: to its end."
        ),
    ] = 2.0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Another threshold, as in docs/advice.md; repeatable."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Say what is wrong with a host, what shows it, what to change, and what that would change."""
    from vmqtui.cli.advise import run_advise

    raise typer.Exit(
        run_advise(
            scenario=scenario,
            capture=capture,
            adapter=adapter,
            broker=broker,
            host=host,
            seconds=seconds,
            settings=set_ or (),
            as_json=json_,
        )
    )
