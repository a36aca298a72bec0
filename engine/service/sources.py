"""Which frames a host receives: those of a capture or interface, on one adapter, or of its own mixes."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.scenario.model import Scenario
from engine.traffic.capture import CaptureSource
from engine.traffic.synthetic import SyntheticSource

if TYPE_CHECKING:
    from engine.traffic.interface import InterfaceSource


class ChoiceError(Exception):
    """The adapter that a capture or an interface shall feed is not clear; a sentence for status 2."""


def fed_adapter(scenario: Scenario, name: str | None) -> int:
    """The index of the adapter that a capture or an interface feeds: the only one, or the one named."""
    names = [adapter.name for adapter in scenario.adapter]
    fitting = ", ".join(names)
    if name is None:
        if len(names) > 1:
            raise ChoiceError(f"--adapter: the scenario has {len(names)} adapters; one of {fitting} fits")
        return 0
    if name not in names:
        raise ChoiceError(f"--adapter: {name!r} is not an adapter of the scenario; {fitting} fits")
    return names.index(name)


def capture_source(
    capture: Path, scenario: Scenario, adapter: str | None, *, loop: bool = False, shorten_gaps: bool = False
) -> CaptureSource:
    """The frames of a capture. Raises ChoiceError, CaptureError."""
    index = fed_adapter(scenario, adapter)
    return CaptureSource(
        capture,
        adapter=index,
        link_gbps=scenario.adapter[index].link_gbps,
        loop=loop,
        shorten_gaps=shorten_gaps,
    )


def interface_source(
    name: str, scenario: Scenario, adapter: str | None, *, promiscuous: bool = False
) -> "InterfaceSource":
    """The frames of a live interface. Raises ChoiceError, InterfaceError."""
    from engine.traffic.interface import InterfaceSource  # compiles kernels that most engines never use

    index = fed_adapter(scenario, adapter)
    link_gbps = scenario.adapter[index].link_gbps
    return InterfaceSource(name, adapter=index, link_gbps=link_gbps, promiscuous=promiscuous)


def synthetic_source(scenario: Scenario) -> SyntheticSource | None:
    """The frames of a scenario's own traffic, if it has any."""
    if scenario.traffic is None or not scenario.traffic.mix:
        return None
    return SyntheticSource(scenario)
