"""What the library of command lines has to say, in the words of this program."""

import re
from collections.abc import Sequence
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from vmqtui.cli.failures import not_one_of

_CHOICE: Final = re.compile(r"'([^']*)'")


class Commands(TyperGroup):
    """A group of commands whose help lists the first paragraph of each, whole."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and not command.short_help:
            command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        return command


def usage_sentence(error: TyperException, app: typer.Typer, arguments: Sequence[str]) -> str:
    """What is wrong with a command line, and which help shows what fits."""
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
    """Why a value does not fit: a mistake as pydantic has it."""
    value, about = mistake["input"], mistake.get("ctx", {})
    match mistake["type"]:
        case "value_error" if "is not one of" in mistake["msg"]:
            choices = _CHOICE.findall(mistake["msg"].partition("is not one of")[2])
            return not_one_of(value, choices, "one of its values")
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"{value!r} is not a whole number"
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
    """The command that a command line is about, as far as it is one."""
    path, command = "vmqtui", get_command(app)
    for word in arguments:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        path, command = f"{path} {word}", inner
    return path
