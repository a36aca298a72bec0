"""Reading a scenario file: from TOML to a checked ``Scenario``, or the one sentence that says why not."""

import platform
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.scenario.document import Document, dotted
from engine.scenario.model import BalancerSpec, Scenario, TrafficSpec
from engine.scenario.relations import MisfitError, check_balancer, check_relations, check_traffic, targets
from engine.scenario.values import one_line


class ScenarioError(Exception):
    """A scenario that can't be used: ``FILE: KEY PATH: the value and what would fit``, on one line."""


_SCENARIO: Final = Document("a scenario", ScenarioError)


def load(path: Path | str) -> Scenario:
    """The scenario in a TOML file. Raises ``ScenarioError``, its FILE being ``path`` as given."""
    return loads(_SCENARIO.read_text(path), str(path))


def load_traffic(path: Path | str) -> dict[str, Any]:
    """The table ``[traffic]`` of a TOML file, as ``loads_traffic`` has it of a text."""
    return loads_traffic(_SCENARIO.read_text(path), str(path))


def loads_traffic(text: str, name: str) -> dict[str, Any]:
    """The table ``[traffic]`` of a TOML text as it stands there, its values checked one by one.

    What they must be to each other and to the host is ``read_traffic``'s. ``name`` stands for the file in
    the ``ScenarioError`` it may raise.
    """
    source = one_line(name)
    document = _SCENARIO.parse(text, name)
    if "traffic" not in document:
        raise ScenarioError(f"{source}: traffic: missing (a table [traffic] fits)")
    return traffic_table(document["traffic"], name)


def traffic_table(table: object, name: str) -> dict[str, Any]:
    """``table`` itself, when it is a table ``[traffic]``, its values checked one by one.

    ``name`` stands for where it is from in the ``ScenarioError`` it may raise.
    """
    try:
        _SCENARIO.read_table(TrafficSpec, table, ("traffic",))
    except MisfitError as misfit:
        raise _SCENARIO.misfit(name, misfit) from None
    assert isinstance(table, dict)
    return table


def loads(text: str, name: str) -> Scenario:
    """The scenario in a TOML text; ``name`` stands for the file in the ``ScenarioError`` it may raise.

    Of several problems the first in file order is reported; single values come before what they must
    be to each other.
    """
    return read_scenario(_SCENARIO.parse(text, name), name)


def load_document(path: Path | str) -> dict[str, Any]:
    """A TOML file's tables, as they stand there. Raises ``ScenarioError``."""
    return _SCENARIO.parse(_SCENARIO.read_text(path), str(path))


def read_scenario(document: object, name: str) -> Scenario:
    """The scenario that a file's tables are, as ``loads`` has it of a text."""
    try:
        scenario: Scenario = _SCENARIO.read_table(Scenario, document, ())
        check_relations(scenario)
    except MisfitError as misfit:
        raise _SCENARIO.misfit(name, misfit) from None
    return _with_names(scenario)


def read_traffic(given: Mapping[str, object], before: TrafficSpec, adapters: list[str]) -> TrafficSpec:
    """``before`` with the keys of ``[traffic]`` that are given in place of its own, for these adapters.

    Raises ``ScenarioError``: ``KEY PATH: the value and what would fit``, the path without "traffic".
    """
    try:
        read: TrafficSpec = _SCENARIO.read_table(TrafficSpec, dict(given), ("traffic",))
        traffic = msgspec.structs.replace(before, **{key: getattr(read, key) for key in given})
        check_traffic(traffic, adapters)
    except MisfitError as misfit:
        raise ScenarioError(f"{dotted(misfit.path[1:])}: {misfit}") from None
    return _with_adapter(traffic, adapters[0])


def read_balancer(given: Mapping[str, object], before: BalancerSpec) -> BalancerSpec:
    """``before`` with the keys of ``[balancer]`` that are given in place of its own.

    Raises ``ScenarioError``: ``KEY: the value and what would fit``.
    """
    try:
        read: BalancerSpec = _SCENARIO.read_table(BalancerSpec, dict(given), ("balancer",))
        balancer = msgspec.structs.replace(before, **{key: getattr(read, key) for key in given})
        check_balancer(balancer)
    except MisfitError as misfit:
        raise ScenarioError(f"{dotted(misfit.path[1:])}: {misfit}") from None
    return balancer


def default_scenario() -> Scenario:
    """The scenario that ships with the package: what runs when none is named."""
    resource = resources.files("engine.scenario").joinpath("default.toml")
    return loads(resource.read_text(encoding="utf-8"), "default.toml")


def machine_name() -> str:
    """This machine's host name as a scenario's: unfit characters replaced by "-", at most 64."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", platform.node())[:64] or "host"


def _with_names(scenario: Scenario) -> Scenario:
    """Fill in what a file may leave out and what depends on its surroundings: host, queue, mix names."""
    replace = msgspec.structs.replace
    host = scenario.host if scenario.host.name else replace(scenario.host, name=machine_name())
    adapters = [
        replace(
            adapter,
            queue=[
                queue if queue.name else replace(queue, name=queue.vm or f"queue {queue_id}")
                for queue_id, queue in enumerate(adapter.queue, start=1)
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
