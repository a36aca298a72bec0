"""The registry of rules, with one module per subject. The command, the page and the topic read ``RULES``."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from engine.advice.evidence import Evidence, Rule
from engine.advice.finding import MOST_REQUESTS, SEVERITIES, Finding, Request, Unchecked
from engine.advice.linux import told
from engine.advice.needs import Known
from engine.advice.rules import buffers, filters, full, moves, processors, queues, teams, unserved
from engine.advice.thresholds import AdviceThresholds

RULES: Final[dict[str, Rule]] = {
    rule.id: rule
    for rule in (
        *processors.RULES,
        *full.RULES,
        *moves.RULES,
        *teams.RULES,
        *unserved.RULES,
        *queues.RULES,
        *filters.RULES,
        *buffers.RULES,
    )
}
_BAD_LOSS: Final = 0.01
"""A finding whose queues drop more than this part of the host's frames is bad, whatever its rule says."""
_ORDER = {rule: place for place, rule in enumerate(RULES)}


def findings(evidence: Evidence, thresholds: AdviceThresholds | None = None) -> list[Finding]:
    """Return the findings of all rules, worst first; none if reading and configuration don't match.

    Rules look only where what they need is known; ``unchecked`` tells where they could not.
    """
    if not evidence.usable:
        return []
    known = Known(evidence)
    found = (
        _complete(told(one, evidence), evidence)
        for rule in RULES.values()
        if known.can_look(rule)
        for one in rule.look(evidence, thresholds or AdviceThresholds())
        if known.can_look_at(rule, evidence.by_name[one.adapter])
    )
    return in_order(found)


def unchecked(evidence: Evidence) -> list[Unchecked]:
    """Return which rules could not look at a host, or at parts of it, and why."""
    return Known(evidence).unchecked(RULES.values())


def in_order(found: Iterable[Finding]) -> list[Finding]:
    """Sort findings, worst first: by lost frames, then severity, rule and adapter.

    One whose fix makes others pointless comes before the first of them, whatever it is itself.
    """
    ordered = sorted(found, key=_place)
    for one in [one for one in ordered if RULES[one.rule].moots]:
        at = ordered.index(one)
        first = (number for number, other in enumerate(ordered[:at]) if makes_moot(one, other))
        ordered.insert(next(first, at), ordered.pop(at))
    return ordered


def makes_moot(finding: Finding, other: Finding) -> bool:
    """Return whether the fix of a finding makes another one pointless."""
    rule = RULES.get(finding.rule)
    return rule is not None and other.rule in rule.moots and finding.adapter in _adapters(other)


def _place(finding: Finding) -> tuple[int, int, int, str]:
    return (-finding.lost_frames, SEVERITIES.index(finding.severity), _ORDER[finding.rule], finding.adapter)


def _adapters(finding: Finding) -> set[object]:
    """Return the adapters that a finding is about, or that its fix changes."""
    return {finding.adapter} | {one.params.get("adapter") for one in finding.requests}


def _complete(finding: Finding, evidence: Evidence) -> Finding:
    """Fill in the times, lost frames, revision and generations of a finding; drop a fix that is too long."""
    lost_pps = finding.numbers.get("drops_pps")
    offered = [one.steered_rate if one.pps is None else one.pps for one in evidence.adapters]
    at_ns = evidence.stats.sim_time_ns
    known: dict[str, Any] = {}
    if len(finding.requests) > MOST_REQUESTS:
        known = {"requests": [], "after": None}
    elif finding.requests:
        known = {"requests": [_meant(one, evidence) for one in finding.requests]}
    if evidence.is_measured and "load" in finding.numbers:
        known["cause"] = f"{finding.cause} The load is that of all devices' interrupts."
    if finding.queue_id is not None:
        known["generation"] = _generation(evidence, finding.adapter, finding.queue_id)
    if isinstance(lost_pps, (int, float)):
        known["lost_frames"] = round(lost_pps * evidence.span_s)
        if None not in offered and lost_pps > _BAD_LOSS * (sum(one or 0.0 for one in offered) or lost_pps):
            known["severity"] = "bad"
    return msgspec.structs.replace(
        finding, revision=evidence.stats.revision, first_seen_ns=at_ns, last_seen_ns=at_ns, **known
    )


def _generation(evidence: Evidence, adapter: object, queue_id: object) -> int | None:
    queue = evidence.queue(adapter, queue_id)
    return None if queue is None else queue.generation


def _meant(request: Request, evidence: Evidence) -> Request:
    """Add the generation and MAC behind a request's ids, unless an earlier allocation supplies its id."""
    params = request.params
    if "queue_id" not in params or request.queue_from is not None:
        return request
    generation = _generation(evidence, params.get("adapter"), params["queue_id"])
    mac = None
    if "filter_id" in params:
        filters = evidence.by_name[params["adapter"]].known.filters
        mac = next((one.mac for one in filters if one.filter_id == params["filter_id"]), None)
    return msgspec.structs.replace(request, generation=generation, mac=mac)
