"""Commands that start engines or screens: the dashboard, ``engine``, ``serve``."""

from pathlib import Path
from typing import Annotated

import typer

from vmqtui.cli.options import (
    Broker,
    CaptureFile,
    FedAdapter,
    HostName,
    Interface,
    LogForm,
    LogFormat,
    Loop,
    Promiscuous,
    ScenarioFile,
    Theme,
    WorkerDeadline,
)
from vmqtui.cli.reach import reaches


def _show_version(wanted: bool) -> None:
    if wanted:
        from engine import __version__

        print(f"vmqtui {__version__}")
        raise typer.Exit


@reaches
def dashboard(
    context: typer.Context,
    scenario: ScenarioFile = None,
    capture: CaptureFile = None,
    loop: Loop = False,
    interface: Interface = None,
    promiscuous: Promiscuous = False,
    adapter: FedAdapter = None,
    broker: Broker = None,
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
    with --broker (or VMQTUI_BROKER) it attaches to engines that run already.
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
