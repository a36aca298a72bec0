"""Judges a fix by the evidence before and after it.

A fix is offered only if it makes the host better: it raises no finding as bad, loses no more frames, and
saves frames where its finding is about frames.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding
from engine.advice.rules import RULES

_LEAST_SAVED: Final = 0.01
"""The least part of all lost frames that a fix must save, and the most by which they may grow by chance."""
_LEAST_FREED: Final = 0.05
"""The least part of the frames of a finding that its fix must take away from the default queues."""
_NOISE: Final = 0.001
"""Losses below this part of all offered frames don't count as more losses."""


class Totals(NamedTuple):
    """Rates of a host, in frames per second, and the load of its busiest processor; None is unknown."""

    offered_pps: float | None
    delivered_pps: float | None
    drops_pps: float | None
    default_queue_pps: float | None
    busiest_load: float | None


def totals(evidence: Evidence) -> Totals:
    """Return the totals of a host."""
    offered = [one.pps for one in evidence.adapters if one.pps is not None]
    default = [one.default_pps for one in evidence.adapters if one.default_pps is not None]
    return Totals(
        sum(offered) if offered else None,
        evidence.rate("indicated_frames"),
        evidence.rate("dropped_no_buffer"),
        sum(default) if default else None,
        evidence.busiest,
    )


def judged(
    finding: Finding, before: Evidence, after: Evidence, found: Sequence[Finding], left: Sequence[Finding]
) -> Finding:
    """Return a finding with what its fix does: ``after``, ``cleared``, ``raises``; without a fix that is no
    better.

    ``found`` are the findings of ``before``, ``left`` those of ``after``.
    """
    raises = raised(before, found, left)
    why = _why_not(finding, totals(before), totals(after), raises)
    tried = msgspec.structs.replace(
        finding,
        after=RULES[finding.rule].measure(after, finding),
        estimated=False,
        cleared=not why and finding.identity not in {one.identity for one in left},
        raises=[f"{one.rule}, {one.where}"[:256] for one in raises][:_MOST_RAISED],
    )
    return withheld(tried, why) if why else tried


_MOST_RAISED: Final = 16


def raised(before: Evidence, found: Sequence[Finding], left: Sequence[Finding]) -> list[Finding]:
    """Return the findings that are bad after a fix and were not bad before it.

    A finding of a queue or processor that drops no more frames than before is another name of an old loss.
    """
    bad = {one.identity for one in found if one.severity == "bad"}
    return [
        one
        for one in left
        if one.severity == "bad" and one.identity not in bad and not _lost_before(before, one)
    ]


def _lost_before(before: Evidence, finding: Finding) -> bool:
    """Return whether the queue or processor of a finding dropped as many frames before."""
    lost, adapter = finding.numbers.get("drops_pps"), before.by_name.get(finding.adapter)
    if not isinstance(lost, (int, float)) or not lost:
        return False
    if finding.queue_id is not None:
        queue = adapter.by_id.get(finding.queue_id) if adapter is not None else None
        return queue is not None and (queue.drops or 0.0) >= lost
    cpu = before.cpu.get(finding.cpu) if finding.cpu is not None else None
    return cpu is not None and (cpu.drops or 0.0) >= lost


def worse_together(
    before: Evidence, found: Sequence[Finding], left: Sequence[Finding], first: Evidence, after: Evidence
) -> str:
    """Return why all fixes together are worse than the first one alone; "" if they are not.

    ``found`` are the findings ``before`` any fix, ``left`` those ``after`` all.
    """
    raises = raised(before, found, left)
    if raises:
        return f"together with other fixes it makes {raises[0].rule}, {raises[0].where}, bad"
    alone, every = totals(first), totals(after)
    drops = alone.drops_pps or 0.0
    if (every.drops_pps or 0.0) > drops + max(_LEAST_SAVED * drops, _NOISE * (every.offered_pps or 0.0)):
        return "together with other fixes more frames are dropped"
    return ""


def withheld(finding: Finding, why: str) -> Finding:
    """Return a finding without its fix, and with the reason."""
    return msgspec.structs.replace(
        finding, requests=[], commands=[], withheld=why, fix=f"No change that helps was found: {why}"
    )


def _why_not(finding: Finding, before: Totals, after: Totals, raises: Sequence[Finding]) -> str:
    """Return why a fix is not offered; "" if it is."""
    drops, drops_after = before.drops_pps or 0.0, after.drops_pps or 0.0
    most = drops + max(_LEAST_SAVED * drops, _NOISE * (before.offered_pps or 0.0))
    tried = f"the one that was tried ({finding.fix[:1].lower()}{finding.fix[1:]})"
    if raises:
        return f"{tried} makes {raises[0].rule}, {raises[0].where}, bad"
    if drops_after > most:
        return f"with {tried} {drops_after:,.0f} frames/s are dropped, and {drops:,.0f} without"
    if not _saves(finding, before, after):
        return f"{tried} saves no frames"
    return ""


def _saves(finding: Finding, before: Totals, after: Totals) -> bool:
    """Return whether a fix saves frames; True for a finding that is not about frames."""
    drops, drops_after = before.drops_pps or 0.0, after.drops_pps or 0.0
    if drops and drops_after <= (1 - _LEAST_SAVED) * drops:
        return True
    rule = RULES[finding.rule]
    if finding.numbers.get("drops_pps"):
        return False
    if rule.unit != "frames/s" or rule.better != "lower" or not finding.value:
        return True
    freed = (before.default_queue_pps or 0.0) - (after.default_queue_pps or 0.0)
    return freed >= _LEAST_FREED * finding.value
