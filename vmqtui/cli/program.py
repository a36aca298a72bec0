"""The program: the list of its commands, and how a command line is run."""

from typing import Final

import typer
from typer.exceptions import TyperException

from vmqtui.cli import config, controls, export, logs, traffic
from vmqtui.cli import scenario as library
from vmqtui.cli.commands import engines, machine, telemetry, what_if
from vmqtui.cli.failures import DONE, FAILED, INTERRUPTED, UNUSABLE, CommandError, internal, say_error
from vmqtui.cli.grammar import Commands, usage_sentence

NAME: Final = "vmqtui"

app = typer.Typer(
    name=NAME,
    cls=Commands,
    help="Live dashboard for Virtual Machine Queues (VMQ), and the engine it watches.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(controls.queue, name="queue", cls=Commands)
app.add_typer(controls.filter_, name="filter", cls=Commands)
app.add_typer(controls.vm, name="vm", cls=Commands)
app.add_typer(controls.adapter_, name="adapter", cls=Commands)
app.add_typer(controls.balancer, name="balancer", cls=Commands)
app.add_typer(controls.worker, name="worker", cls=Commands)
app.add_typer(traffic.traffic, name="traffic", cls=Commands)
app.add_typer(config.config, name="config", cls=Commands)
app.add_typer(logs.logs, name="logs", cls=Commands)
app.add_typer(library.scenario, name="scenario", cls=Commands)
app.add_typer(export.export, name="export", cls=Commands)

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
        status = app(arguments, standalone_mode=False, prog_name=NAME)
    except CommandError as error:
        for sentence in error.sentences:
            say_error(sentence)
        return error.status
    except TyperException as error:
        say_error(usage_sentence(error, app, arguments))
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
