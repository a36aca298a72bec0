"""The program: the list of its commands, and how a command line is run."""

import typer
from typer.exceptions import TyperException

from vmqtui.cli import config, controls, export, logs, traffic
from vmqtui.cli import scenario as library
from vmqtui.cli.commands import engines, machine, telemetry, what_if
from vmqtui.cli.failures import DONE, FAILED, INTERRUPTED, UNUSABLE, CommandError, internal, say_error

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

app.callback(invoke_without_command=True)(engines.dashboard)
for command in (
    engines.engine,
    what_if.replay,
    what_if.plan,
    what_if.compare,
    what_if.advise,
    telemetry.get,
    telemetry.forget,
    telemetry.record,
    telemetry.play,
    engines.serve,
    machine.doctor,
    machine.account,
    machine.bench,
):
    app.command()(command)


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
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # the reader of our output has gone
            return DONE
        raise
    except OSError as error:
        say_error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return FAILED
    except Exception as error:
        return internal(error)
    return int(status or DONE)
