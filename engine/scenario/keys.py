"""Descriptions of a file's keys: how a value is read, which values fit, and the key's meaning.

Tables are ``msgspec`` structs; each of their fields is ``Annotated`` with a ``Key``, a ``Tables`` or another
description (``Described``).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from types import NoneType
from typing import Any, Final, get_args

import msgspec

from engine.scenario import values
from engine.scenario.processor_set import MAX_GROUP_SIZE, parse_place

KeyPath = tuple[str | int, ...]
"""The path to a value: ("adapter", 0, "queue", 3) is ``adapter[0].queue[3]``."""

MAX_CPUS: Final = 256
MAX_QUEUES: Final = 4096
MAX_HOST_QUEUES: Final = 32_768
"""Limit of queues on all adapters of a host, default queues included; readers refuse a reading with more."""
MAX_FILTERS: Final = 65_536
MAX_ADAPTERS: Final = 256
MAX_MIXES: Final = 256
MAX_MEMBERS: Final = 32
MAX_FLOWS: Final = 4096


@dataclass(frozen=True)
class Key:
    """A key with a single value. ``read`` returns the value to use or raises ``ValueError``.

    ``default`` describes the default in words, if the field's own default does not show it.
    """

    read: Callable[[object], object]
    fits: str
    help: str
    default: str = ""


class Described(ABC):
    """A description that needs the field's type to make a ``Key``."""

    @abstractmethod
    def key(self, held: Any) -> Key:
        """Return the key for a field of type ``held``."""


@dataclass(frozen=True)
class Choice(Described):
    """A key whose value is one of the strings of the field's ``Literal``."""

    help: str
    default: str = ""

    def key(self, held: Any) -> Key:
        """Return a key whose values are those of the ``Literal`` ``held``."""
        choices: tuple[str, ...] = get_args(next((one for one in get_args(held) if get_args(one)), held))
        fits = ", ".join(f'"{one}"' for one in choices)
        return Key(partial(values.check_choice, choices=choices), fits, self.help, self.default)


@dataclass(frozen=True)
class Tables:
    """A key for an array of ``least`` to ``most`` tables, or for a single table if ``most`` is None.

    ``keys_of`` sets ``row``, the type of a table, from the field's type.
    """

    help: str
    most: int | None = None
    least: int = 0
    row: type[msgspec.Struct] = msgspec.Struct


@cache
def keys_of(row: type[msgspec.Struct]) -> Mapping[str, Key | Tables]:
    """Return the keys of a table by name, in the order of its fields."""
    return {field.name: _key_of(field.type) for field in msgspec.structs.fields(row)}


@cache
def required_keys(row: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the names of the keys that a table must have."""
    return tuple(field.name for field in msgspec.structs.fields(row) if field.required)


def given(table: msgspec.Struct) -> dict[str, object]:
    """Return the fields of a table that differ from their defaults, as a file would have them."""
    return {
        field.name: value
        for field in msgspec.structs.fields(table)
        if not _is_default(field, value := getattr(table, field.name))
    }


def _is_default(field: msgspec.structs.FieldInfo, value: object) -> bool:
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    # The fields of a table are compared one by one: True equals 1, so equal tables may differ.
    return not isinstance(value, msgspec.Struct) and type(value) is type(default) and value == default


def rows_of(row: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """Return ``row``, the type of a file's outermost table, and the types of all tables inside it."""
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
    """Return a key for an integer in low..high."""
    return Key(partial(values.check_whole, low=low, high=high), f"integer {low}..{high}", text, default)


def number(low: float, high: float, text: str, default: str = "") -> Key:
    """Return a key for a number in low..high."""
    return Key(
        partial(values.check_number, low=low, high=high), f"number {low:.12g}..{high:.12g}", text, default
    )


def flag(text: str) -> Key:
    """Return a key for true or false."""
    return Key(values.check_flag, "true, false", text)


def index(value: object) -> int:
    """Check that a value is an integer; ``relations`` checks its range, which depends on other values."""
    if isinstance(value, int) and values.is_whole(value):
        return value
    raise ValueError(f"{values.show(value)} is not a whole number")


def destination(value: object) -> str:
    """Check a MAC address of any kind; return it in lower case with colons."""
    return values.format_mac(values.parse_address(value))


def place(value: object) -> str:
    """Check the form of a processor's ``group:number``; ``relations`` checks that the host has it."""
    found = parse_place(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{values.show(value)} is not a processor as group:number (like "0:2")')
    return str(found)


def sizes(value: object) -> list[int]:
    """Check the sizes of a host's processor groups; ``relations`` checks their sum."""
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_CPUS:
        shown = f"an array of {len(value)}" if isinstance(value, list | tuple) else values.show(value)
        raise ValueError(f"{shown} is not an array of 1..{MAX_CPUS} groups' sizes")
    return [values.check_whole(one, 1, MAX_GROUP_SIZE) for one in value]


def members(value: object) -> list[str]:
    """Check the names of a team's adapters."""
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_MEMBERS:
        shown = f"an array of {len(value)}" if isinstance(value, list | tuple) else values.show(value)
        raise ValueError(f"{shown} is not an array of 1..{MAX_MEMBERS} adapters' names")
    return [values.check_adapter_name(one) for one in value]
