"""Which frames a host receives: those of a capture or interface, on one adapter, or of its own mixes."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Union

from engine.counted import counted
from engine.scenario.model import Scenario, TeamSpec
from engine.traffic.capture import CaptureSource
from engine.traffic.capture_file import CaptureFile
from engine.traffic.synthetic import SyntheticSource

if TYPE_CHECKING:
    from engine.traffic.interface import InterfaceSource
    from engine.traffic.team import TeamCapture, TeamSource

CaptureFrames = Union[CaptureSource, "TeamCapture"]
Synthetic = Union[SyntheticSource, "TeamSource"]


@dataclass(frozen=True)
class Caveats:
    """What a report does not cover of a capture: what comes after its break (a sentence on that, if there is
    one), and frames of interfaces that are not Ethernet."""

    broken: str | None = None
    skipped_frames: int = 0

    @classmethod
    def of(cls, source: CaptureFrames) -> "Caveats":
        """Those of a source that has ended."""
        return cls(source.broken, source.skipped_frames)


class ChoiceError(Exception):
    """The adapter that a capture or an interface shall feed is not clear; a sentence for status 2."""


def fed(scenario: Scenario, name: str | None, *, teams: bool = True) -> int | TeamSpec:
    """What a capture feeds: the index of an adapter, or a team; the only one there is, or the one named."""
    names = [adapter.name for adapter in scenario.adapter]
    known = {team.name: team for team in scenario.team if teams}
    fitting = ", ".join([*names, *known])
    if name is None:
        if len(names) > 1:
            raise ChoiceError(
                f"--adapter: the scenario has {counted(len(names), 'adapter')}; one of {fitting} fits"
            )
        return 0
    if name in known:
        return known[name]
    if name not in names:
        raise ChoiceError(f"--adapter: {name!r} is not an adapter of the scenario; {fitting} fits")
    return names.index(name)


def capture_source(
    capture: CaptureFile | Path,
    scenario: Scenario,
    adapter: str | None,
    *,
    loop: bool = False,
    shorten_gaps: bool = False,
) -> CaptureFrames:
    """The frames of a capture, of a team's on its members. Raises ChoiceError, CaptureError."""
    target = fed(scenario, adapter)
    if isinstance(target, TeamSpec):
        from engine.traffic.team import TeamCapture  # compiles kernels that most engines never use

        return TeamCapture(scenario, target, capture, loop=loop, shorten_gaps=shorten_gaps)
    return CaptureSource(
        capture,
        adapter=target,
        link_gbps=scenario.adapter[target].link_gbps,
        loop=loop,
        shorten_gaps=shorten_gaps,
    )


def interface_source(
    name: str, scenario: Scenario, adapter: str | None, *, promiscuous: bool = False
) -> "InterfaceSource":
    """The frames of a live interface. Raises ChoiceError, InterfaceError."""
    from engine.traffic.interface import InterfaceSource  # compiles kernels that most engines never use

    team = next((one for one in scenario.team if one.name == adapter), None)
    if team is not None:
        raise ChoiceError(
            f"--adapter: {team.name} is a team, and a live interface is the wire of one adapter"
            f" ({', '.join(team.members)} fits)"
        )
    index = fed(scenario, adapter, teams=False)
    assert isinstance(index, int)
    link_gbps = scenario.adapter[index].link_gbps
    return InterfaceSource(name, adapter=index, link_gbps=link_gbps, promiscuous=promiscuous)


def synthetic_source(
    scenario: Scenario, *, start_ns: int = 0, wire_free: Mapping[int, Fraction] | None = None
) -> Synthetic | None:
    """The frames of a scenario's own traffic, if it has any, as of ``SyntheticSource``."""
    if scenario.traffic is None or not scenario.traffic.mix:
        return None
    fed_by_mix = {mix.adapter for mix in scenario.traffic.mix}
    teams = [team for team in scenario.team if team.name in fed_by_mix]

    def opened() -> SyntheticSource:
        return SyntheticSource(scenario, start_ns=start_ns, wire_free=wire_free)

    if not teams:
        return opened()
    from engine.traffic.team import TeamSource  # likewise

    beside = len(fed_by_mix) > len(teams)
    return TeamSource(scenario, teams, opened, beside=beside, wire_free=wire_free)
