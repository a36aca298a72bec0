"""What feeds a live machine's adapters, and how requests change it while it runs."""

from fractions import Fraction

import msgspec

from engine.ndis.effects import SetLink, SetTraffic
from engine.scenario.model import Scenario
from engine.service.sources import CaptureFrames, Synthetic, synthetic_source
from engine.traffic.batch import LiveSource

AnySource = CaptureFrames | Synthetic | LiveSource


class Feed:
    """The source in use, None for none; changed by the loop's thread, between two rounds.

    ``scenario`` is what the source was made of, and what the next one will be made of but for its changes.
    """

    def __init__(self, scenario: Scenario, source: AnySource | None) -> None:
        self.source = source
        self._scenario = scenario
        self._wire_free: dict[int, Fraction] = {}

    def carry_out(self, effect: SetTraffic | SetLink, now_ns: int) -> None:
        """Do what the control plane decided, from the simulated time ``now_ns`` on."""
        match effect:
            case SetTraffic():
                self._scenario = msgspec.structs.replace(self._scenario, traffic=effect.traffic)
                self._begin(now_ns)
            case SetLink():
                adapters = list(self._scenario.adapter)
                adapters[effect.adapter] = msgspec.structs.replace(
                    adapters[effect.adapter], link_gbps=effect.link_gbps
                )
                self._scenario = msgspec.structs.replace(self._scenario, adapter=adapters)
                if self.source is not None:
                    self.source.set_link(effect.adapter, effect.link_gbps)

    def interface_counters(self) -> dict[int, dict[str, int]]:
        """What the kernel counts of a live interface, by the index of the adapter that it feeds."""
        source = self.source
        return {source.adapter: source.counters()} if isinstance(source, LiveSource) else {}

    def close(self) -> None:
        """Let go of the source."""
        if self.source is not None:
            self.source.close()

    def _begin(self, now_ns: int) -> None:
        """A new synthetic source in place of the one in use, whose last frame may still be on the wire."""
        old = self.source
        if old is not None and hasattr(old, "wire_free"):
            self._wire_free |= old.wire_free()
        self.source = synthetic_source(self._scenario, start_ns=now_ns, wire_free=self._wire_free)
        if old is not None:
            old.close()
