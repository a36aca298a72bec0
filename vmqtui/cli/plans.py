"""The commands ``plan`` and ``compare``: their options."""

from pathlib import Path
from typing import Annotated

import typer

from vmqtui.cli.options import CaptureArgument, FedAdapter, Json


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
