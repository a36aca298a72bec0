"""``vmqtui replay``: run a capture through the model. ``vmqtui plan``: print a scenario for a capture."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from engine.counted import counted
from vmqtui.cli.failures import engine_sentences, sentences, unusable, warn
from vmqtui.cli.frames import CaptureArgument, kept_capture, prepare_kernels, reading, warn_of
from vmqtui.cli.options import AdapterThatIsFed, Json, WorkerDeadline
from vmqtui.cli.output import ProgressLine, folded, print_json, print_table, write_in_utf8

if TYPE_CHECKING:
    from engine.service.replay import ReplayResult
    from engine.telemetry.config import Config

_LATE_NS: Final = 500_000_000
_MOVES: Final = 20
_COUNTED: Final = {
    "queues": frozenset({"steered_frames", "dropped_no_buffer"}),
    "filters": frozenset({"matched_frames"}),
    "cpus": frozenset({"indicated_frames"}),
}
"""Columns of each table that a narrow terminal leaves out last: what a replay counts."""


def replay(
    capture: CaptureArgument,
    scenario: Annotated[
        Path | None,
        typer.Option(
            "--scenario", metavar="F", help="Scenario file (TOML); default: a plan for the capture."
        ),
    ] = None,
    adapter: AdapterThatIsFed = None,
    json_: Json = False,
    pace: Annotated[
        Literal["max", "real"], typer.Option("--pace", help="As fast as it goes, or by the capture's clock.")
    ] = "max",
    worker_deadline: WorkerDeadline = None,
) -> int:
    """Run a capture through the model to its end, and print every counter."""
    from engine.scenario.load import load

    if worker_deadline is not None and pace == "max":
        unusable("--worker-deadline: no worker has one at --pace max (--pace real fits)")
    with sentences():
        given = load(scenario) if scenario is not None else None
    prepare_kernels()
    with (
        engine_sentences(str(scenario or "the plan")),
        kept_capture(capture) as held,
        ProgressLine() as line,
    ):
        from engine.service.machine import WORKER_DEADLINE_S
        from engine.service.replay import plan_capture
        from engine.service.replay import replay as replay_capture

        if given is None:
            given = plan_capture(held, progress=reading(line, "planning"))[0].scenario
        done = replay_capture(
            held,
            given,
            adapter,
            pace=pace,
            worker_deadline_s=worker_deadline or WORKER_DEADLINE_S,
            progress=reading(line, "replaying"),
        )
    if done.stats.skipped_ns:
        warn(f"{done.stats.skipped_ns / 1e9:.3f} s were cut out of gaps of over 1 s")
    if done.late_ns > _LATE_NS:
        warn(
            f"the last frames came {done.late_ns / 1e9:.1f} s late: too many for this machine at --pace real"
        )
    for sentence in done.deaths:
        warn(sentence)
    if json_:
        print_json(done.document)
    else:
        _print_report(done)
    return warn_of(done.caveats, "the report")


@dataclass(frozen=True)
class HardwareOptions:
    """The hardware of the host to plan for, with the fields of ``engine.traffic.plan.Hardware``."""

    cpus: Annotated[
        int, typer.Option("--cpus", metavar="N", min=1, max=256, help="Processors of the host.")
    ] = 8
    hyperthreading: Annotated[
        bool, typer.Option("--hyperthreading", help="Two share a core: only even ones serve queues.")
    ] = False
    numa_nodes: Annotated[
        int, typer.Option("--numa-nodes", metavar="N", min=1, max=256, help="NUMA nodes of the host.")
    ] = 1
    numa_node: Annotated[
        int,
        typer.Option(
            "--numa-node", metavar="N", min=0, max=255, help="The adapter's: its processors serve the queues."
        ),
    ] = 0
    base_cpu: Annotated[
        int,
        typer.Option(
            "--base-cpu", metavar="N", min=0, max=255, help="First processor that serves VMs' queues."
        ),
    ] = 0
    max_cpus: Annotated[
        int | None,
        typer.Option("--max-cpus", metavar="N", min=1, max=256, help="How many processors serve them."),
    ] = None
    max_queues: Annotated[
        int | None,
        typer.Option(
            "--max-queues", metavar="N", min=0, max=4096, help="Queues the adapter has; default: as needed."
        ),
    ] = None
    max_filters: Annotated[
        int | None,
        typer.Option(
            "--max-filters", metavar="N", min=0, max=65_536, help="Filters it has; default: as needed."
        ),
    ] = None
    max_buffers: Annotated[
        int | None,
        typer.Option(
            "--buffers", metavar="N", min=1, max=65_536, help="Receive buffers it has; default: as needed."
        ),
    ] = None
    link_gbps: Annotated[
        float, typer.Option("--link-gbps", metavar="G", min=0.001, max=10_000, help="Speed of its link.")
    ] = 10.0
    adapters: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter", metavar="A", help="Its name; again for each port of a team. Default: nic0, nic1."
        ),
    ] = None
    team: Annotated[
        Literal["sum", "min", "primary"] | None,
        typer.Option(
            "--team",
            help="Plan ports of one switch in this mode: sum (switch independent), min (static, LACP),"
            " primary (switch independent, address hash).",
        ),
    ] = None


def plan(capture: CaptureArgument, hardware: HardwareOptions) -> int:
    """Print a scenario that gives each destination seen in a capture its queue, and says why it is so."""
    prepare_kernels()
    with engine_sentences(str(capture)), kept_capture(capture) as held, ProgressLine() as line:
        from engine.advice.powershell import set_line
        from engine.scenario.relations import MisfitError
        from engine.service.replay import plan_capture
        from engine.traffic.plan import Hardware
        from engine.traffic.plan_text import to_toml

        try:
            given = asdict(hardware) | {"adapters": tuple(hardware.adapters or ())}
            planned, caveats = plan_capture(held, Hardware(**given), reading(line, "planning"))
        except MisfitError as misfit:
            unusable(f"--{str(misfit.path[-1]).replace('_', '-')}: {misfit}")
    write_in_utf8()
    print(to_toml(planned, held.name, set_line), end="")
    return warn_of(caveats, "the plan")


def _print_report(done: "ReplayResult") -> None:
    from vmqtui.columns import COLUMNS
    from vmqtui.state.snapshot import WholeRun

    document = done.document
    simulated, wall = document["sim_seconds"], document["wall_seconds"]
    print(f"{document['capture']}: {simulated:.6f} s of traffic in {wall:.3f} s")
    if simulated:
        print(f"rates and loads are means over the {simulated:.6f} s")
    snapshot = WholeRun.over(document["capture"], done.config, done.stats, simulated)
    for adapter in document["adapters"]:
        print(f"\nadapter {adapter['name']}{_of_team(done.config, adapter['name'])}")
        _print_counts("port", adapter["port"])
        _print_counts("default queue", adapter["default_queue"])
        name = adapter["name"]
        for noun in ("queues", "filters"):
            print()
            print_table(COLUMNS[noun], snapshot.rows(noun, name), always=_COUNTED[noun])
    print()
    print_table(COLUMNS["cpus"], snapshot.rows("cpus"), always=_COUNTED["cpus"])
    if "balancer" in document:
        _print_moves(document["balancer"])


def _of_team(config: "Config", name: str) -> str:
    """Return the adapter's team and its mode as text; "" if it is in no team."""
    adapter = next((one for one in config.adapters if one.name == name and one.team is not None), None)
    if adapter is None:
        return ""
    of_queues = "" if adapter.team_mode == "primary" else " of queues"
    return f", member of {adapter.team} ({adapter.team_mode}{of_queues})"


def _print_moves(told: dict[str, Any]) -> None:
    """Print the balancer's moves, up to the first ``_MOVES`` in full."""
    total, moves = told["total_moves"], told["moves"][:_MOVES]
    print(f"\nbalancer: {counted(total, 'move')}")
    for one in moves:
        cause = one["cause"].removeprefix("balancer, ")
        when = f"{one['sim_time_ns'] / 1e9:,.3f} s"
        print("\n".join(folded(f"  {when} adapter {one['adapter']}, queue {one['queue_id']}: {cause}", 6)))
    if total > len(moves):
        print(f"  and {total - len(moves):,} more (--json has them)")


def _print_counts(title: str, counts: dict[str, int]) -> None:
    line = f"  {title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
    print("\n".join(folded(line)))
