"""Findings as rows of a table."""

from collections.abc import Hashable

import msgspec

from engine.advice.evidence import Evidence
from engine.advice.finding import SEVERITIES, Finding
from engine.advice.registry import findings
from engine.advice.thresholds import AdviceThresholds
from engine.advice.trail import Trace
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats


class FindingRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A finding on the screen."""

    finding: Finding

    @property
    def identity(self) -> Hashable:
        return self.finding.identity

    @property
    def adapter(self) -> str:
        return self.finding.adapter

    def concerns(self, adapter: str) -> bool:
        """Whether it is about an adapter: its own, one that the fix changes, or all of a host."""
        changed = {request.params.get("adapter") for request in self.finding.requests}
        return adapter == self.adapter or bool(changed & {adapter, None})

    @property
    def label(self) -> str:
        return self.finding.where

    @property
    def rank(self) -> int:
        """How bad it is; 0 is worst."""
        return SEVERITIES.index(self.finding.severity)


def finding_rows(
    config: Config | None,
    stats: Stats | None,
    before: Stats | None,
    trace: Trace,
    thresholds: AdviceThresholds,
) -> tuple[FindingRow, ...]:
    """What is found between two readings, worst first; nothing before there are two."""
    if config is None or stats is None or before is None:
        return ()
    return tuple(FindingRow(one) for one in findings(Evidence(config, stats, before, trace), thresholds))
