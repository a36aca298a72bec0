"""What a live engine has to say of itself, and when it publishes that."""

from typing import Final

from engine.advice.finding import Advice
from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import AdviceWindow
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats

AGAIN_NS: Final = 10_000_000_000
"""While anything is found, the message is sent again after this much simulated time, as its numbers age."""


class Adviser:
    """Follows the configurations and readings of one engine. ``read`` gives what there is to publish: when
    findings came or went, or one became worse or better; and every ``AGAIN_NS`` while there are any."""

    def __init__(self, thresholds: AdviceThresholds | None = None) -> None:
        self._window = AdviceWindow(thresholds)
        self._published: frozenset[tuple[object, ...]] | None = None
        self._published_ns = 0

    def configured(self, config: Config) -> None:
        """Take in a configuration."""
        self._window.configured(config)

    def read(self, stats: Stats) -> Advice | None:
        """Take in a reading."""
        window = self._window
        if not window.add(None, stats):
            return None
        found = window.advice()
        content = frozenset((one.identity, one.severity) for one in found.findings) | {(found.more > 0,)}
        old = found.findings and stats.sim_time_ns - self._published_ns >= AGAIN_NS
        if content == self._published and not old:
            return None
        self._published, self._published_ns = content, stats.sim_time_ns
        return found
