"""Whether and how a host's queues are balanced over its processors: the request ``set_balancer``.

Which queues are moved, and when, is decided in ``engine.balance``.
"""

from typing import Any

from engine.ndis.effects import Observe, SetBalancer
from engine.ndis.outcome import Outcome, done
from engine.ndis.statuses import invalid
from engine.scenario.keys import KEYS
from engine.scenario.load import ScenarioError, read_balancer
from engine.scenario.model import BalancerSpec


class Balancing:
    """The host's ``[balancer]`` as it is now."""

    def __init__(self, spec: BalancerSpec) -> None:
        self.spec = spec

    def copy(self) -> "Balancing":
        """One that can be changed without changing this one."""
        return Balancing(self.spec)


def set_balancer(balancing: Balancing, observe: Observe, driver: str, **given: Any) -> Outcome:
    """Turn the balancer on or off, or change what it goes by; queues stay where they are."""
    if not given:
        raise invalid(f"params: nothing to change ({', '.join(KEYS[BalancerSpec])} fit)")
    try:
        after = read_balancer(given, balancing.spec)
    except ScenarioError as error:
        raise invalid(str(error)) from None
    if after == balancing.spec:
        return done("the balancer is as it was", changed=False)
    balancing.spec = after
    if after.mode == "off":
        words = "the balancer is off; queues stay where they are"
    else:
        words = (
            f"the balancer looks every {after.interval_ms} ms: from {after.scale_out:.0%} load on queues move"
            f" to other processors, up to {after.scale_in:.0%} they move home"
        )
    return done(words, effects=[SetBalancer(after)])
