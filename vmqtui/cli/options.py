"""Options of several commands, and option groups: one parameter of a command for several options.

An option group is a frozen dataclass with fields annotated like Typer's parameters.
"""

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Final, Literal, TypeVar, get_type_hints

import typer

from vmqtui.cli.failures import unusable
from vmqtui.printable import printable

Command = TypeVar("Command", bound=Callable[..., Any])

_LARGEST_PORT: Final = 65_535

AdapterThatIsFed = Annotated[
    str | None,
    typer.Option("--adapter", metavar="NAME", help="The adapter that the capture or interface feeds."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else.")]
WorkerDeadline = Annotated[
    float | None,
    typer.Option(
        "--worker-deadline",
        metavar="S",
        min=0.5,
        max=600,
        help="Replace a worker that hangs for so long; default: 5.",
    ),
]
Theme = Annotated[str | None, typer.Option("--theme", metavar="T", help="One of the themes.")]
NoState = Annotated[
    bool,
    typer.Option(
        "--no-state",
        envvar="VMQTUI_NO_STATE",
        show_envvar=True,
        help="Begin with the configuration only, and keep nothing that is chosen on the screen.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
LogForm = Literal["json", "text"]
LogFormat = Annotated[
    LogForm, typer.Option("--log-format", help="How its log file is written (vmqtui logs path).")
]


def grouped(command: Command) -> Callable[..., Any]:
    """Wrap a command for Typer: each option group in its signature is replaced by the group's fields.

    The help lists keyword-only fields of groups last.
    """
    groups: dict[str, type[Any]] = {}
    shown: list[Parameter] = []
    last: list[Parameter] = []
    for parameter in signature(command, eval_str=True).parameters.values():
        group = parameter.annotation
        if not is_dataclass(group):
            shown.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
            continue
        assert isinstance(group, type)
        groups[parameter.name] = group
        hints = get_type_hints(group, include_extras=True)
        for field in fields(group):
            option = Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                annotation=hints[field.name],
                default=Parameter.empty if field.default is MISSING else field.default,
            )
            (last if field.kw_only else shown).append(option)

    def read(**given: Any) -> Any:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        return command(**given)

    read.__name__, read.__doc__ = command.__name__, command.__doc__
    read.__signature__ = Signature([*shown, *last])  # type: ignore[attr-defined]  # typer reads it
    return read


def address_of(listen: str, example: str) -> tuple[str, int]:
    """Parse ``--listen`` as host and port. Ends with status 2 if invalid; ``example`` is a valid address."""
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    digits = port.isascii() and port.isdigit() and len(port) <= len(str(_LARGEST_PORT))
    if not colon or not host or not digits or int(port) > _LARGEST_PORT:
        unusable(
            f"--listen: {printable(listen, 80)!r} is not HOST:PORT ({example}, or port 0 for a free one)"
        )
    return host, int(port)
