"""The program's commands and options."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from vmqtui.cli import config, controls, export, logs, plans, traffic
from vmqtui.cli import scenario as library
from vmqtui.cli.failures import DONE, FAILED, INTERRUPTED, UNUSABLE, CommandError, internal, say_error
from vmqtui.cli.options import (
    RECORDING_MB,
    Broker,
    CaptureArgument,
    CaptureFile,
    FedAdapter,
    HostName,
    Interface,
    Json,
    LogForm,
    LogFormat,
    Loop,
    OnlyAdapter,
    Promiscuous,
    ScenarioFile,
    Theme,
    WorkerDeadline,
)
from vmqtui.cli.reach import reaches

app = typer.Typer(
    name="vmqtui",
    help="Live dashboard for Virtual Machine Queues (VMQ), and the engine it watches.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(controls.queue, name="queue")
app.add_typer(controls.filter_, name="filter")
app.add_typer(controls.vm, name="vm")
app.add_typer(controls.adapter_, name="adapter")
app.add_typer(controls.balancer, name="balancer")
app.add_typer(controls.worker, name="worker")
app.add_typer(traffic.traffic, name="traffic")
app.add_typer(config.config, name="config")
app.add_typer(logs.logs, name="logs")
app.add_typer(library.scenario, name="scenario")
app.add_typer(export.export, name="export")

Noun = Literal["hosts", "adapters", "queues", "filters", "buffers", "cpus", "ports"]


def run(arguments: list[str]) -> int:
    """Run a command line; its exit status. Nothing raised here reaches a user as a traceback."""
    try:
        status = app(arguments, standalone_mode=False)
    except CommandError as error:
        say_error(error)
        return error.status
    except TyperException as error:
        describe = getattr(error, "format_message", error.__str__)
        say_error(f"{' '.join(describe().split())} (vmqtui --help shows what fits)")
        return UNUSABLE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.Exit as ended:
        return int(ended.exit_code)
    except BrokenPipeError:  # whoever read our output has gone
        return DONE
    except OSError as error:
        say_error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return FAILED
    except Exception as error:
        return internal(error)
    return int(status or DONE)


def _show_version(wanted: bool) -> None:
    if wanted:
        from engine import __version__

        print(f"vmqtui {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
@reaches
def dashboard(
    context: typer.Context,
    scenario: ScenarioFile = None,
    capture: CaptureFile = None,
    loop: Loop = False,
    interface: Interface = None,
    promiscuous: Promiscuous = False,
    adapter: FedAdapter = None,
    broker: Annotated[
        str | None, typer.Option("--broker", metavar="URL", help="Attach to the engines of this MQTT broker.")
    ] = None,
    host: HostName = None,
    theme: Theme = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Watch; offer no control.")] = False,
    log_format: LogFormat = "text",
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Live dashboard for Virtual Machine Queues (VMQ), and the engine it watches.

    Without a command: the dashboard. It starts a private broker and engine, and ends them with itself;
    with --broker it attaches to engines that run already.
    """
    if context.invoked_subcommand is not None:
        return
    from vmqtui.cli.dashboard import show_dashboard

    raise typer.Exit(
        show_dashboard(
            scenario=scenario,
            capture=capture,
            loop=loop,
            interface=interface,
            promiscuous=promiscuous,
            adapter=adapter,
            broker=broker,
            host=host,
            theme=theme,
            read_only=read_only,
            log_form=log_format,
        )
    )


@app.command()
@reaches
def engine(
    scenario: ScenarioFile = None,
    capture: CaptureFile = None,
    loop: Loop = False,
    interface: Interface = None,
    promiscuous: Promiscuous = False,
    adapter: FedAdapter = None,
    broker: Broker = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where its own broker listens.")
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Its own broker lets everyone in, beyond loopback too."),
    ] = False,
    accounts: Annotated[
        Path | None,
        typer.Option("--accounts", metavar="F", help="Who else may use its own broker (vmqtui account)."),
    ] = None,
    viewer: Annotated[
        list[str] | None,
        typer.Option("--viewer", metavar="ID", help="A client, or pattern (view-*), that asks for nothing."),
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", min=0, help="End after so many seconds.")
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="S", min=0.02, max=60, help="Seconds between stats.")
    ] = 0.25,
    worker_deadline: WorkerDeadline = None,
    log_format: Annotated[
        LogForm | None,
        typer.Option("--log-format", help="Log to standard error (or FILE); default: a file, as text."),
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option("--log-file", metavar="FILE", help="Log there; default: see vmqtui logs path."),
    ] = None,
    tied: Annotated[
        bool, typer.Option("--tied", hidden=True, help="End when standard input closes.")
    ] = False,
) -> None:
    """Run the engine headless. Its first line is the URL of its broker."""
    from vmqtui.cli.engine import run_engine

    raise typer.Exit(
        run_engine(
            scenario=scenario,
            capture=capture,
            loop=loop,
            interface=interface,
            promiscuous=promiscuous,
            adapter=adapter,
            broker=broker,
            listen=listen,
            insecure=insecure,
            accounts=accounts,
            viewers=viewer or [],
            duration=duration,
            interval=interval,
            worker_deadline=worker_deadline,
            log_form=log_format,
            log_file=log_file,
            tied=tied,
        )
    )


@app.command()
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


app.command()(plans.plan)
app.command()(plans.compare)


@app.command()
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


@app.command()
@reaches
def get(
    noun: Annotated[Noun, typer.Argument(metavar="hosts|adapters|queues|filters|buffers|cpus|ports")],
    broker: Broker = None,
    host: HostName = None,
    adapter: OnlyAdapter = None,
    json_: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Print again with every reading.")] = False,
) -> None:
    """Print a table of what a running engine reports."""
    from vmqtui.cli.get import run_get

    raise typer.Exit(run_get(noun, broker=broker, host=host, adapter=adapter, as_json=json_, watch=watch))


@app.command()
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


@app.command()
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


@app.command()
@reaches
def serve(
    scenario: ScenarioFile = None,
    capture: CaptureFile = None,
    loop: Loop = False,
    adapter: FedAdapter = None,
    broker: Broker = None,
    host: HostName = None,
    theme: Theme = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where it listens; port 0: a free one.")
    ] = "127.0.0.1:0",
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="How browsers reach it, where that is another way."),
    ] = None,
    allow_control: Annotated[
        bool, typer.Option("--allow-control", help="Let browsers change things; else they only look.")
    ] = False,
    log_format: LogFormat = "text",
) -> None:
    """Serve the dashboard to browsers. Its first line is the address to open, which holds a secret."""
    from vmqtui.cli.serve import run_serve

    raise typer.Exit(
        run_serve(
            scenario=scenario,
            capture=capture,
            loop=loop,
            adapter=adapter,
            broker=broker,
            host=host,
            theme=theme,
            listen=listen,
            public_url=public_url,
            allow_control=allow_control,
            log_form=log_format,
        )
    )


@app.command()
@reaches
def doctor(
    broker: Broker = None,
    clean: Annotated[bool, typer.Option("--clean", help="Remove what crashed engines left behind.")] = False,
    json_: Json = False,
) -> None:
    """Check this installation, and say what to do where something is wrong."""
    from vmqtui.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(broker=broker, clean=clean, as_json=json_))


@app.command()
def account(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")],
    role: Annotated[str, typer.Argument(metavar="viewer|operator|engine", help="What it may do.")],
) -> None:
    """Print a line for the file that engine --accounts takes. It asks for the password, or reads a pipe."""
    from vmqtui.cli.account import run_account

    raise typer.Exit(run_account(name, role))


@app.command()
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
