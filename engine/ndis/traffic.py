"""What a host receives, and the requests about it: ``query_traffic`` and ``set_traffic``."""

from typing import Any, Literal

import msgspec

from engine.ndis.effects import Observe, SetTraffic
from engine.ndis.outcome import Outcome, answer, done
from engine.ndis.statuses import NdisError, NdisStatus, invalid
from engine.scenario.load import ScenarioError, read_traffic
from engine.scenario.model import TrafficSpec

_DOES = {"capture": "plays a capture", "interface": "reads a live interface"}


class Traffic:
    """Where the frames of all adapters of a host come from.

    ``spec`` is the host's own traffic, None for none; ``played`` says in words what feeds it instead, such as
    a capture, and is None otherwise. ``adapters`` are their names.
    """

    def __init__(self, spec: TrafficSpec | None, adapters: list[str], played: str | None = None) -> None:
        self.spec = spec
        self.adapters = adapters
        self.played = played

    @property
    def source(self) -> Literal["capture", "interface", "synthetic", "none"]:
        """What kind of source it is."""
        if self.played is not None:
            return "interface" if self.played.startswith("interface ") else "capture"
        return "synthetic" if self.spec is not None and self.spec.mix else "none"

    @property
    def words(self) -> str:
        """Where the frames come from, as the config message says it."""
        return self.source if self.played is None else self.played

    def copy(self) -> "Traffic":
        """One that can be changed without changing this one."""
        return Traffic(self.spec, self.adapters, self.played)


def query_traffic(traffic: Traffic, observe: Observe, driver: str) -> Outcome:
    """The traffic with the keys of a scenario, defaults filled in, as ``set_traffic`` takes them."""
    own = None if traffic.played is not None or traffic.spec is None else _plain(traffic.spec)
    return answer(f"frames come from: {traffic.words}", {"source": traffic.source, "traffic": own})


def set_traffic(traffic: Traffic, observe: Observe, driver: str, **given: Any) -> Outcome:
    """Let other traffic begin; each key replaces what was there, an empty ``mix`` ends the frames."""
    if traffic.played is not None:
        raise NdisError(
            NdisStatus.NOT_SUPPORTED,
            f"op: set_traffic does not fit an engine that {_DOES[traffic.source]}"
            " (one started without it fits)",
        )
    if not given:
        raise invalid("params: nothing to change (seed and mix fit)")
    before = traffic.spec or TrafficSpec()
    try:
        after = read_traffic(given, before, traffic.adapters)
    except ScenarioError as error:
        raise invalid(str(error)) from None
    if after == before:
        return done("the traffic is as it was", changed=False)
    traffic.spec = after
    flows = sum(len(mix.flow) for mix in after.mix)
    what = f"{_count(len(after.mix), 'mix', 'mixes')} of {_count(flows, 'flow', 'flows')}, seed {after.seed}"
    return done(
        f"the traffic is {what}, from the next round on"
        if after.mix
        else "the traffic has no mix, so no frames come",
        effects=[SetTraffic(after)],
    )


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _plain(traffic: TrafficSpec) -> dict[str, Any]:
    """As plain data; a key without a value is left out, as a file leaves it out."""
    plain: dict[str, Any] = _without_nothing(msgspec.to_builtins(traffic))
    return plain


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nothing(one) for key, one in value.items() if one is not None}
    return [_without_nothing(one) for one in value] if isinstance(value, list) else value
