"""Descriptions of the keys of a file, at their fields: how a value is read, which values fit, the meaning.

The tables are ``msgspec`` structs; a field of one is ``Annotated`` with a ``Key``, ``Tables`` or
another description (``Described``).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from types import NoneType
from typing import Any, Final, get_args

import msgspec

from engine.scenario import values

KeyPath = tuple[str | int, ...]
"""Where a value stands: ("adapter", 0, "queue", 3) is ``adapter[0].queue[3]``."""

MAX_CPUS: Final = 256
MAX_QUEUES: Final = 4096
MAX_HOST_QUEUES: Final = 32_768
"""Queues of all adapters of a host, default queues included. A reader refuses a reading of more."""
MAX_FILTERS: Final = 65_536
MAX_ADAPTERS: Final = 256
MAX_MIXES: Final = 256
MAX_MEMBERS: Final = 32
MAX_FLOWS: Final = 4096


@dataclass(frozen=True)
class Key:
    """A key with a single value. ``read`` returns the value to use or raises ``ValueError``.

    ``default`` describes the value of a key that is left out, where the field's default does not show it.
    """

    read: Callable[[object], object]
    fits: str
    help: str
    default: str = ""


class Described(ABC):
    """A description that makes a ``Key`` with the field's type."""

    @abstractmethod
    def key(self, held: Any) -> Key:
        """The key of a field that holds the type ``held``."""


@dataclass(frozen=True)
class Choice(Described):
    """A key whose value is one of the strings of the field's ``Literal``."""

    help: str

    def key(self, held: Any) -> Key:
        """The key whose values are those of a ``Literal``."""
        choices: tuple[str, ...] = get_args(held)
        fits = ", ".join(f'"{one}"' for one in choices)
        return Key(partial(values.check_choice, choices=choices), fits, self.help)


@dataclass(frozen=True)
class Tables:
    """A key that holds tables: an array of at most ``most``, or a single one where that is None.

    ``row``, the type of a table, is that of the field; ``keys_of`` fills it in.
    """

    help: str
    most: int | None = None
    least: int = 0
    row: type[msgspec.Struct] = msgspec.Struct


@cache
def keys_of(row: type[msgspec.Struct]) -> Mapping[str, Key | Tables]:
    """The keys of a table in the order of its fields, as the fields describe them."""
    return {field.name: _key_of(field.type) for field in msgspec.structs.fields(row)}


def rows_of(row: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The type of a file's outermost table, and those of all tables in it."""
    within = [key.row for key in keys_of(row).values() if isinstance(key, Tables)]
    return list(dict.fromkeys([row, *(one for inner in within for one in rows_of(inner))]))


def _key_of(annotation: Any) -> Key | Tables:
    held, key = get_args(annotation)
    match key:
        case Described():
            return key.key(held)
        case Tables():
            (row,) = (one for one in get_args(held) or (held,) if one is not NoneType)
            return replace(key, row=row)
        case Key():
            return key
    raise TypeError(f"{annotation} describes no key")


def whole(low: int, high: int, text: str, default: str = "") -> Key:
    """A key for an integer."""
    return Key(partial(values.check_whole, low=low, high=high), f"integer {low}..{high}", text, default)


def number(low: float, high: float, text: str, default: str = "") -> Key:
    """A key for a number."""
    return Key(
        partial(values.check_number, low=low, high=high), f"number {low:.12g}..{high:.12g}", text, default
    )


def flag(text: str) -> Key:
    """A key for true or false."""
    return Key(values.check_flag, "true, false", text)


def index(value: object) -> int:
    """Any integer; ``relations`` checks it against the number of things it counts."""
    if isinstance(value, int) and values.is_whole(value):
        return value
    raise ValueError(f"{values.show(value)} is not a whole number")


def destination(value: object) -> str:
    """Any MAC address, in lower case with colons."""
    return values.format_mac(values.parse_address(value))


def members(value: object) -> list[str]:
    """The adapters' names of a team."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MEMBERS:
        shown = f"an array of {len(value)}" if isinstance(value, list) else values.show(value)
        raise ValueError(f"{shown} is not an array of 1..{MAX_MEMBERS} adapters' names")
    return [values.check_adapter_name(one) for one in value]
