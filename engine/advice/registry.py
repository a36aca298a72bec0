"""Every rule, once: the command, the view, the topic and the reference page read this."""

from typing import Final

import msgspec

from engine.advice.evidence import Evidence
from engine.advice.finding import MOST_FINDINGS, MOST_REQUESTS, SEVERITIES, Advice, Finding
from engine.advice.rules import buffers, filters, full, moves, processors, queues, swings, teams
from engine.advice.rules.rule import Rule
from engine.advice.thresholds import AdviceThresholds

RULES: Final[dict[str, Rule]] = {
    rule.id: rule
    for rule in (
        *processors.RULES,
        *full.RULES,
        *moves.RULES,
        *swings.RULES,
        *teams.RULES,
        *queues.RULES,
        *filters.RULES,
        *buffers.RULES,
    )
}
_ORDER = {rule: place for place, rule in enumerate(RULES)}


def findings(evidence: Evidence, thresholds: AdviceThresholds | None = None) -> list[Finding]:
    """What every rule finds, worst first; nothing where the reading is of another configuration."""
    if not evidence.usable:
        return []
    found = [
        one if len(one.requests) <= MOST_REQUESTS else msgspec.structs.replace(one, requests=[], after=None)
        for rule in RULES.values()
        for one in rule.look(evidence, thresholds or AdviceThresholds())
    ]
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), _ORDER[one.rule], one.adapter))


def advice(evidence: Evidence, thresholds: AdviceThresholds | None = None) -> Advice:
    """The same as a message, at most ``MOST_FINDINGS`` of them."""
    found = findings(evidence, thresholds)
    return Advice(
        sim_time_ns=evidence.stats.sim_time_ns,
        time_ns=evidence.stats.time_ns,
        revision=evidence.stats.revision,
        findings=found[:MOST_FINDINGS],
        more=max(0, len(found) - MOST_FINDINGS),
    )
