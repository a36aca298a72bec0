"""Settings to vary: ``--sweep adapter.queue.buffers=64,256`` as an axis, axes as all their combinations.

An axis names a key as an error message does (``adapter[0].queue[3].buffers``); an array of tables without a
number means each of them.
"""

import copy
import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from engine.scenario.keys import Key, Tables, keys_of
from engine.scenario.load import unknown_key
from engine.scenario.model import Scenario
from engine.scenario.values import show

MAX_RUNS: Final = 500

MAX_CHARACTERS: Final = 2000
"""Of an axis."""

_PART: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[([0-9]{1,6})\])?")


class SweepError(Exception):
    """Something that can't be varied so; a sentence for status 2."""


@dataclass(frozen=True)
class Axis:
    """A key, as the tables it is in (with a number, of an array) and at last its name; and the values it is
    to have in turn, with the words they were typed in."""

    name: str
    parts: tuple[tuple[str, int | None], ...]
    values: tuple[tuple[str, Any], ...]


def axis(text: str) -> Axis:
    """``KEY=VALUE,VALUE,…``; values as in TOML, or bare words. Raises SweepError."""
    key, equals, listed = text.partition("=")
    values = tuple((word, _value(word)) for word in _split(listed))
    if len(text) > MAX_CHARACTERS or not text.isprintable():
        raise SweepError(f"{show(text)} is not printable text of at most {MAX_CHARACTERS:,} characters")
    if not equals or not all(word for word, _ in values):
        raise SweepError(f"{show(text)} is not KEY=VALUE,VALUE,… (like cpu.moderation_us=10,50)")
    parts = []
    for part in key.strip().split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise SweepError(f"{show(key)} is not the path of a key (like adapter[0].queue[3].buffers)")
        parts.append((match[1], None if match[2] is None else int(match[2])))
    return Axis(key.strip(), tuple(parts), values)


def combinations(axes: Sequence[Axis]) -> list[list[tuple[Axis, str, Any]]]:
    """Every way to take one value of each axis, the last axis varying fastest. Raises SweepError."""
    count = 1
    for one in axes:
        count *= len(one.values)
    if count > MAX_RUNS:
        raise SweepError(f"{count:,} combinations are too many ({MAX_RUNS} at most)")
    return [
        [(one, word, value) for one, (word, value) in zip(axes, chosen, strict=True)]
        for chosen in itertools.product(*(one.values for one in axes))
    ]


def varied(document: Mapping[str, Any], chosen: Sequence[tuple[Axis, str, Any]]) -> dict[str, Any]:
    """A copy of a scenario's tables with the values that were chosen. Raises SweepError."""
    changed = copy.deepcopy(dict(document))
    changed.setdefault("adapter", [{}])  # as a scenario has it that says nothing of any
    for one, _, value in chosen:
        tables = _tables(changed, one)
        if not tables:
            raise SweepError(f"{one.name}: this scenario has none to change")
        for table in tables:
            table[one.parts[-1][0]] = value
    return changed


def _tables(document: dict[str, Any], one: Axis) -> list[dict[str, Any]]:
    """Every table that an axis changes a key of; those that may be left out are made."""
    row: type[msgspec.Struct] = Scenario
    level: list[dict[str, Any]] = [document]
    *outer, (last, last_number) = one.parts
    for name, number in outer:
        key = keys_of(row).get(name)
        if not isinstance(key, Tables) or (key.most is None and number is not None):
            raise SweepError(f"{one.name}: {name} is no {'table' if number is None else 'array of tables'}")
        row = key.row
        if key.most is None:
            level = [table.setdefault(name, {}) for table in level]
            continue
        arrays = [table.get(name, []) for table in level]
        if number is not None and not any(number < len(array) for array in arrays):
            raise SweepError(f"{one.name}: there is no {name}[{number}]")
        level = [table for array in arrays for n, table in enumerate(array) if number in (None, n)]
    if last_number is not None or not isinstance(keys_of(row).get(last), Key):
        single = [name for name, key in keys_of(row).items() if isinstance(key, Key)]
        if last in keys_of(row) or not single:
            raise SweepError(f"{one.name}: not the path of a single value (like cpu.moderation_us)")
        raise SweepError(f"{one.name}: {unknown_key(last, single)}")
    return level


def _split(listed: str) -> list[str]:
    """At commas outside quotes."""
    words, quoted = [""], False
    for character in listed:
        quoted ^= character == '"'
        if character == "," and not quoted:
            words.append("")
        else:
            words[-1] += character
    return [word.strip() for word in words]


def _value(word: str) -> Any:
    try:
        return tomllib.loads(f"value = {word}")["value"]
    except (ValueError, RecursionError, KeyError):
        return word
