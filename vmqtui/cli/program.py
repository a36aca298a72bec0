"""The program: its list of commands, running a command line, and sentences for usage errors."""

import os
import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from vmqtui.cli import (
    advise,
    bench,
    compare,
    config,
    controls,
    dashboard,
    doctor,
    engine,
    export,
    get,
    importing,
    logs,
    measured,
    recordings,
    replay,
    scenario,
    serve,
    topics,
    traffic,
)
from vmqtui.cli.failures import DONE, INTERRUPTED, UNUSABLE, conclude, not_one_of, say_error
from vmqtui.cli.options import grouped

NAME: Final = "vmqtui"
_COMPLETE_VARIABLE: Final = "_VMQTUI_COMPLETE"
_CHOICE: Final = re.compile(r"'([^']*)'")


class Commands(TyperGroup):
    """A group of commands; its help shows the whole first paragraph of each command's help."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, or None."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and not command.short_help:
            command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        return command


app: Final = typer.Typer(
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
app.add_typer(doctor.kernels, name="kernels", cls=Commands)
app.add_typer(scenario.scenario, name="scenario", cls=Commands)
app.add_typer(export.export, name="export", cls=Commands)

app.callback(invoke_without_command=True)(grouped(dashboard.dashboard))
for _command in (
    engine.engine,
    replay.replay,
    replay.plan,
    compare.compare,
    advise.advise,
    get.get,
    get.forget,
    measured.watch,
    measured.agent,
    recordings.record,
    recordings.play,
    serve.serve,
    doctor.doctor,
    engine.account,
    bench.bench,
):
    app.command()(grouped(_command))
app.command("import")(grouped(importing.import_))
app.command("help")(topics.help_)


@app.command()
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"], typer.Argument(metavar="bash|zsh|fish|powershell")
    ],
) -> None:
    """Print a script with which a shell completes commands, options and names.

    In bash: eval "$(vmqtui completion bash)", in its .bashrc.
    """
    # What typer's own --show-completion calls; that option would bring one that writes into the user's files.
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # not in its list of names

    print(get_completion_script(prog_name=NAME, complete_var=_COMPLETE_VARIABLE, shell=shell), flush=True)


def run(arguments: list[str]) -> int:
    """Run a command line; return its exit status. Users see sentences, not tracebacks."""
    if _COMPLETE_VARIABLE in os.environ:  # a shell asks what fits here
        from typer.completion import completion_init  # type: ignore[attr-defined]  # as above

        completion_init()
    return conclude(partial(_run, arguments))


def _run(arguments: list[str]) -> int:
    try:
        status = app(arguments, standalone_mode=False, prog_name=NAME)
    except TyperException as error:
        say_error(usage_sentence(error, app, arguments))
        return UNUSABLE
    except typer.Abort:
        return INTERRUPTED
    except typer.Exit as ended:
        return int(ended.exit_code)
    return int(status or DONE)


def usage_sentence(error: TyperException, app: typer.Typer, arguments: Sequence[str]) -> str:
    """Return a sentence that names the usage error and the ``--help`` to read."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else _command_of(app, arguments)
    return f"{_wrong(error)} ({path} --help shows what fits)"


def _wrong(error: Any) -> str:
    parameter = getattr(error, "param", None)
    mistakes = getattr(error.__cause__, "errors", None)
    if parameter is not None and mistakes is not None:
        named = parameter.param_type_name == "option"
        name = parameter.opts[-1] if named else parameter.name.rstrip("_").upper()
        return f"{name}: {_misfit(mistakes()[0])}"
    if (possible := getattr(error, "possibilities", None)) is not None or hasattr(error, "option_name"):
        option = error.option_name
        if type(error).__name__ == "NoSuchOption":
            hint = f" (did you mean {possible[0]}?)" if possible else ""
            return f"{option}: is not an option{hint}"
    sentence: str = getattr(error, "format_message", error.__str__)()
    commands = getattr(getattr(getattr(error, "ctx", None), "command", None), "commands", None)
    if sentence == "Missing command." and commands:
        return f"a command is missing: {', '.join(commands)} fit"
    return " ".join(sentence.split()).removesuffix(".")


def _misfit(mistake: dict[str, Any]) -> str:
    """Return why a value is invalid; ``mistake`` is an error of pydantic."""
    value, about = mistake["input"], mistake.get("ctx", {})
    match mistake["type"]:
        case "value_error" if "is not one of" in mistake["msg"]:
            choices = _CHOICE.findall(mistake["msg"].partition("is not one of")[2])
            return not_one_of(value, choices, "one of its values")
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"{value!r} is not a whole number"
        case "bool_parsing":
            return f"{value!r} is not yes or no (1 or 0 fits)"
        case "float_parsing":
            return f"{value!r} is not a number"
        case "greater_than_equal":
            return f"{value} is too small: {about['ge']:g} or more fits"
        case "less_than_equal" if value.strip().lower().lstrip("+-") == "nan":
            return f"{value!r} is not a number"
        case "less_than_equal":
            return f"{value} is too large: {about['le']:g} or less fits"
        case _:
            return f"{value!r}: {mistake['msg'].removeprefix('Value error, ')}"


def _command_of(app: typer.Typer, arguments: Sequence[str]) -> str:
    """Return the longest prefix of the command line that names a command or group."""
    path, command = "vmqtui", get_command(app)
    for word in arguments:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        path, command = f"{path} {word}", inner
    return path
