"""Read TOML files into tables whose fields describe their keys; report in one sentence why a file is refused.

Scenarios and the configuration of the dashboard are such files.
"""

import difflib
import os
import platform
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.scenario.keys import KeyPath, Tables, given, keys_of, required_keys
from engine.scenario.model import BalancerSpec, Scenario, TrafficSpec
from engine.scenario.relations import MisfitError, check_balancer, check_relations, check_traffic, targets
from engine.scenario.values import one_line, show

MAX_FILE_BYTES: Final = 16 * 1024 * 1024

_TEXT = re.compile(r"[=\[#\n]")
"""What any TOML text has, unless it is blank."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


class ScenarioError(Exception):
    """A scenario is refused: ``FILE: KEY PATH: the value and the values that fit``, on one line."""


@dataclass(frozen=True)
class Document:
    """A kind of file. ``what`` names it, like "a scenario"; ``error`` is raised if a file is refused."""

    what: str
    error: type[Exception]

    def read_text(self, path: Path | str) -> str:
        """Read a file of UTF-8 text, with or without a BOM. Raises ``error``, which names the file."""
        source = one_line(str(path))
        try:
            if Path(path).is_dir():
                raise self.error(f"{source}: a directory, not {self.what} file")
            with Path(path).open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            raise self.error(f"{source}: no such file") from None
        except (OSError, ValueError) as error:
            reason = one_line(getattr(error, "strerror", None) or str(error))
            raise self.error(f"{source}: cannot be read: {reason}") from None
        if len(content) > MAX_FILE_BYTES:
            raise self.error(
                f"{source}: larger than {MAX_FILE_BYTES} bytes, the most {self.what} file may have"
            )
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise self.error(f"{source}: not UTF-8 text (line {line}, byte {error.start})") from None

    def parse(self, text: str, name: str) -> dict[str, Any]:
        """Parse a TOML text into plain data. Raises ``error``, in which ``name`` stands for the file."""
        source = one_line(name)
        try:
            return tomllib.loads(text)
        except RecursionError:
            raise self.error(f"{source}: not {self.what}: nested too deeply") from None
        except ValueError as error:
            raise self.error(f"{source}: not TOML: {_syntax_sentence(str(error), text)}") from None

    def read_table(self, row: type[msgspec.Struct], table: object, path: KeyPath) -> Any:
        """Convert a table to the type ``row``, with the checks of its fields. Raises ``MisfitError``.

        A table is a dict or, from a Python program, a value of the type ``row``, which is checked too.
        """
        if isinstance(table, row):
            table = given(table)
        if not isinstance(table, dict):
            raise MisfitError(path, f"{show(table)} is not a table")
        keys = keys_of(row)
        fields: dict[str, object] = {}
        for word, value in table.items():
            name = word if isinstance(word, str) else show(word)  # a message's map may have other keys
            key = keys.get(name)
            here = (*path, name)
            if key is None:
                raise MisfitError(here, unknown_key(name, list(keys)))
            if isinstance(key, Tables):
                fields[name] = self._read_tables(key, value, here)
            else:
                try:
                    fields[name] = key.read(value)
                except ValueError as error:
                    raise MisfitError(here, str(error)) from None
        for name in required_keys(row):
            if name not in fields:
                key = keys[name]
                assert not isinstance(key, Tables)
                raise MisfitError((*path, name), f"missing ({key.fits})")
        return row(**fields)

    def _read_tables(self, key: Tables, value: object, path: KeyPath) -> object:
        if key.most is None:
            return self.read_table(key.row, value, path)
        if not isinstance(value, list | tuple):
            headings = tuple(part for part in path if isinstance(part, str))
            raise MisfitError(path, f"{show(value)} is not an array of tables ([[{dotted(headings)}]])")
        if not key.least <= len(value) <= key.most:
            raise MisfitError(path, f"{len(value)} tables, where {key.least}..{key.most} fit")
        return [self.read_table(key.row, table, (*path, index)) for index, table in enumerate(value)]

    def misfit(self, name: str, misfit: MisfitError) -> Exception:
        """Return the error to raise for a value that does not fit; ``name`` stands for the file."""
        place = (one_line(name), dotted(misfit.path))
        return self.error(": ".join(filter(None, (*place, str(misfit)))))


ScenarioSource = os.PathLike[str] | str | Mapping[str, Any] | Scenario | None
"""A source of a scenario, for ``load_scenario``."""

_SCENARIO: Final = Document("a scenario", ScenarioError)


def load(path: Path | str) -> Scenario:
    """Read a scenario from a TOML file. Raises ``ScenarioError``, with ``path`` as its FILE."""
    return loads(_SCENARIO.read_text(path), str(path))


def load_scenario(source: ScenarioSource) -> Scenario:
    """Read a scenario from any source, with the checks and the errors of ``load``. Raises ``ScenarioError``.

    A source is a path; a string, which is a path if it is one line that ends in ".toml", else the text of a
    TOML file; a file's plain data (dict); or a ``Scenario`` that a program built. None is the default one.
    """
    if source is None:
        return default_scenario()
    if isinstance(source, os.PathLike):
        return load(Path(source))
    if isinstance(source, str) and source.endswith(".toml") and "\n" not in source:
        return load(source)
    return parse_scenario(source)


def parse_scenario(source: "str | Mapping[str, Any] | Scenario", name: str = "scenario") -> Scenario:
    """Read a scenario from a TOML text, a file's plain data or a ``Scenario``; like ``load``, without a file.

    Raises ``ScenarioError``, in which ``name`` stands for the file.
    """
    if isinstance(source, str):
        if source.strip() and not _TEXT.search(source):
            fits = "a path ends in .toml, or is a pathlib.Path"
            raise ScenarioError(
                f"{one_line(name)}: {show(source)} is neither a TOML text nor a path ({fits})"
            )
        return loads(source, name)
    anything: object = source  # a program that calls this may not be type-checked
    if not isinstance(anything, Mapping | Scenario):
        fits = "a path, a TOML text, a dict or a Scenario fits"
        raise ScenarioError(f"{one_line(name)}: {show(anything)} is not a scenario ({fits})")
    return read_scenario(source if isinstance(source, Scenario) else dict(source), name)


def load_traffic(path: Path | str) -> dict[str, Any]:
    """Read the table ``[traffic]`` of a TOML file, as ``loads_traffic`` does from a text."""
    return loads_traffic(_SCENARIO.read_text(path), str(path))


def loads_traffic(text: str, name: str) -> dict[str, Any]:
    """Return the table ``[traffic]`` of a TOML text as plain data, after a check of each value by itself.

    ``read_traffic`` checks the values against each other and the host. Raises ``ScenarioError``, in which
    ``name`` stands for the file.
    """
    source = one_line(name)
    document = _SCENARIO.parse(text, name)
    if "traffic" not in document:
        raise ScenarioError(f"{source}: traffic: missing (a table [traffic] fits)")
    return traffic_table(document["traffic"], name)


def traffic_table(table: object, name: str) -> dict[str, Any]:
    """Check each value of a table ``[traffic]`` by itself; return the table.

    Raises ``ScenarioError``, in which ``name`` stands for the table's origin.
    """
    try:
        _SCENARIO.read_table(TrafficSpec, table, ("traffic",))
    except MisfitError as misfit:
        raise _SCENARIO.misfit(name, misfit) from None
    assert isinstance(table, dict)
    return table


def loads(text: str, name: str) -> Scenario:
    """Read a scenario from a TOML text. Raises ``ScenarioError``, in which ``name`` stands for the file.

    The error is about the first problem in file order; problems of single values come before conflicts
    between values.
    """
    return read_scenario(_SCENARIO.parse(text, name), name)


def load_document(path: Path | str) -> dict[str, Any]:
    """Read a TOML file into plain data. Raises ``ScenarioError``."""
    return _SCENARIO.parse(_SCENARIO.read_text(path), str(path))


def read_scenario(document: object, name: str) -> Scenario:
    """Convert a file's plain data to a scenario, with the checks and errors of ``loads``."""
    try:
        scenario: Scenario = _SCENARIO.read_table(Scenario, document, ())
        check_relations(scenario)
    except MisfitError as misfit:
        raise _SCENARIO.misfit(name, misfit) from None
    return _with_names(scenario)


def read_traffic(given: Mapping[str, object], before: TrafficSpec, adapters: list[str]) -> TrafficSpec:
    """Replace the given keys of ``[traffic]`` in ``before``; traffic may name these adapters.

    Raises ``ScenarioError``: ``KEY PATH: the value and the values that fit``; the path omits "traffic".
    """
    try:
        read: TrafficSpec = _SCENARIO.read_table(TrafficSpec, dict(given), ("traffic",))
        traffic = msgspec.structs.replace(before, **{key: getattr(read, key) for key in given})
        check_traffic(traffic, adapters)
    except MisfitError as misfit:
        raise ScenarioError(f"{dotted(misfit.path[1:])}: {misfit}") from None
    return _with_adapter(traffic, adapters[0])


def read_balancer(given: Mapping[str, object], before: BalancerSpec) -> BalancerSpec:
    """Replace the given keys of ``[balancer]`` in ``before``.

    Raises ``ScenarioError``: ``KEY: the value and the values that fit``.
    """
    try:
        read: BalancerSpec = _SCENARIO.read_table(BalancerSpec, dict(given), ("balancer",))
        balancer = msgspec.structs.replace(before, **{key: getattr(read, key) for key in given})
        check_balancer(balancer)
    except MisfitError as misfit:
        raise ScenarioError(f"{dotted(misfit.path[1:])}: {misfit}") from None
    return balancer


def default_scenario() -> Scenario:
    """Read the default scenario, which is part of the package."""
    resource = resources.files("engine.scenario").joinpath("default.toml")
    return loads(resource.read_text(encoding="utf-8"), "default.toml")


def machine_name() -> str:
    """Return this machine's host name in up to 64 characters, with invalid ones replaced by "-"."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", platform.node())[:64] or "host"


def _with_names(scenario: Scenario) -> Scenario:
    """Fill in what a file may omit: names of the host, of queues, of a mix's adapter; queues' processors."""
    replace = msgspec.structs.replace
    host = scenario.host if scenario.host.name else replace(scenario.host, name=machine_name())
    adapters = [
        replace(
            adapter,
            queue=[
                queue if queue.name else replace(queue, name=queue.owner or f"queue {queue_id}")
                for queue_id, queue in enumerate(host.placed(adapter).queue, start=1)
            ],
        )
        for adapter in scenario.adapter
    ]
    traffic = scenario.traffic
    if traffic is not None:
        traffic = _with_adapter(traffic, targets(scenario)[0])
    return replace(scenario, host=host, adapter=adapters, traffic=traffic)


def _with_adapter(traffic: TrafficSpec, only: str) -> TrafficSpec:
    replace = msgspec.structs.replace
    return replace(traffic, mix=[mix if mix.adapter else replace(mix, adapter=only) for mix in traffic.mix])


def dotted(path: KeyPath) -> str:
    """Format a key's path: ``adapter[0].queue[3]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else show(part))
    return text


def unknown_key(name: str, known: Sequence[str]) -> str:
    """Return the message for an unknown key, with the most similar known key, else all known keys."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if nearest:
        return f'unknown key (did you mean "{nearest[0]}"?)'
    return f"unknown key (known here: {', '.join(known)})"


def _syntax_sentence(message: str, text: str) -> str:
    """Return a TOML parser's message on one line, with line and column in place of "end of document"."""
    lines = text.split("\n")
    end = f"line {len(lines)}, column {len(lines[-1]) + 1}"
    return one_line(message.replace("end of document)", f"{end}, the end of the file)"))
