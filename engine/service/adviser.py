"""What a live engine has to say of itself: looked at now and then, told when it is something else."""

from typing import Final

from engine.advice.evidence import Evidence
from engine.advice.finding import Advice
from engine.advice.registry import advice
from engine.advice.thresholds import AdviceThresholds
from engine.advice.trail import Trace, Trail
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats

EVERY_NS: Final = 2_000_000_000
"""Simulated time that is looked at; what is found in less may be chance."""


class Adviser:
    """Follows the configurations and readings of one engine. ``read`` gives what there is to tell, if it is
    not what was told last: other findings, or some that are worse or better."""

    def __init__(self, thresholds: AdviceThresholds | None = None) -> None:
        self._thresholds = thresholds or AdviceThresholds()
        self._trail = Trail()
        self._trace = Trace()
        self._config: Config | None = None
        self._now_ns = 0
        self._before: Stats | None = None
        self._told: frozenset[tuple[object, ...]] | None = None

    def configured(self, config: Config) -> None:
        """Take in a configuration."""
        self._config = config
        self._trace = self._trail.add(config, self._now_ns)

    def read(self, stats: Stats) -> Advice | None:
        """Take in a reading; what there is to tell of the time since one that is ``EVERY_NS`` old."""
        self._now_ns = stats.sim_time_ns
        before = self._before
        if before is None:
            self._before = stats
            return None
        config = self._config
        if stats.sim_time_ns - before.sim_time_ns < EVERY_NS or config is None:
            return None
        if config.revision != stats.revision:  # the next reading will be of it
            return None
        self._before = stats
        found = advice(Evidence(config, stats, before, self._trace), self._thresholds)
        tells = frozenset((one.identity, one.severity) for one in found.findings) | {(found.more > 0,)}
        if tells == self._told:
            return None
        self._told = tells
        return found
