"""Judges a fix by the evidence before and after it, and lets the findings of one output agree.

A fix is offered only if it makes the host better: it raises no finding as bad, loses no more frames, and
saves frames where its finding is about frames.

Findings that agree never tell one adapter, VM or queue different things. They are ranked by order, and of
changes of one setting the first stands: a later finding with the same line refers to it, and one with another
line or request offers no fix until the first is applied. Nor does one that an earlier fix makes pointless.
The receive buffers of an adapter are an exception: all its findings have the line with the most of them, as
more for one queue takes none from another.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from engine.advice import powershell
from engine.advice.evidence import Evidence
from engine.advice.finding import MOST_REQUESTS, Finding, Request
from engine.advice.rules import RULES, makes_moot
from engine.view.rates import whole_sum

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
    """Return the totals of a host; one with an unknown part is unknown."""
    return Totals(
        whole_sum(one.pps for one in evidence.adapters),
        evidence.rate("indicated_frames"),
        evidence.rate("dropped_no_buffer"),
        whole_sum(one.default_pps for one in evidence.adapters),
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


def to_type(finding: Finding) -> Finding:
    """Return a finding of a host that takes no requests: its fix is what an administrator types."""
    return msgspec.structs.replace(finding, requests=[])


# --- agreement ----------------------------------------------------------------------------------------

_Key = tuple[str, ...]
_OBJECTS: Final = ("adapter", "queue_id", "filter_id", "mac", "vlan", "vm")
"""Parameters that select the object of a request; the others are its settings."""


def agreed(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings, of which none contradicts an earlier one, and none repeats a line."""
    lines: dict[str, tuple[str, Finding]] = {}
    asked: dict[_Key, tuple[object, Finding]] = {}
    result: list[Finding] = []
    blocks = powershell.with_most_buffers([one.commands for one in found])
    for finding in map(_with_commands, found, blocks):
        settings = dict(_settings(finding.requests))
        changes = {subject: line for group in _groups(finding.commands) for subject, line in _changes(group)}
        moot = next((one for one in result if not one.withheld and makes_moot(one, finding)), None)
        if moot is not None and (settings or changes):
            result.append(_after(finding, moot, "makes this pointless"))
            continue
        first = next(
            (asked[key][1] for key, value in settings.items() if key in asked and asked[key][0] != value),
            None,
        ) or next(
            (lines[one][1] for one, text in changes.items() if one in lines and lines[one][0] != text), None
        )
        if first is not None:
            result.append(_after(finding, first, "changes the same"))
            continue
        commands = [line for group in _groups(finding.commands) for line in _once(group, lines)]
        asked |= {key: (value, finding) for key, value in settings.items() if key not in asked}
        lines |= {one: (text, finding) for one, text in changes.items() if one not in lines}
        result.append(_with_commands(finding, commands))
    return result


def _with_commands(finding: Finding, commands: list[str]) -> Finding:
    return msgspec.structs.replace(finding, commands=commands)


def _after(finding: Finding, first: Finding, does: str) -> Finding:
    """Return a finding that offers no fix, because of what that of ``first`` does."""
    why = f"{first.rule}, {first.where}, {does}: do that first, then look again"
    return msgspec.structs.replace(finding, requests=[], commands=[], withheld=why[:1024], fix=why[:1024])


def _once(group: Sequence[str], lines: dict[str, tuple[str, Finding]]) -> Sequence[str]:
    """Return a group of lines, or if an earlier finding has its change, comments that tell that line: a
    finding may be read by itself."""
    for subject, _ in _changes(group):
        if subject in lines:
            line, first = lines[subject]
            if not (first.rule.isascii() and line.isprintable()):
                return []
            about = f"{first.rule}, queue {first.queue_id}" if first.queue_id is not None else first.rule
            said = f"One line is enough for this and another finding ({about}), which has it:"
            return [powershell.note(said), powershell.note(line)]
    return group


def _groups(commands: Sequence[str]) -> Iterator[list[str]]:
    """Cut a block into groups: each has one change, the lines before it, and the check after it."""
    group: list[str] = []
    changed = False
    for line in commands:
        is_change = powershell.subject(line) is not None
        if changed and (is_change or (line.startswith("# ") and not line.startswith("# Check"))):
            yield group
            group, changed = [], False
        group.append(line)
        changed = changed or is_change
    if group:
        yield group


def _changes(group: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in group:
        subject = powershell.subject(line)
        if subject is not None:
            yield subject, line


def _settings(requests: Sequence[Request]) -> Iterator[tuple[_Key, object]]:
    """Yield the settings that requests change, with their values."""
    for one in requests:
        if one.queue_from is not None or one.op in ("allocate_queue", "complete_allocation"):
            continue  # of a queue that is not there yet
        objects = tuple(str(one.params.get(name)) for name in _OBJECTS)
        settings = {name: value for name, value in one.params.items() if name not in _OBJECTS}
        for name, value in settings.items() or {"": True}.items():
            yield (one.op, *objects, name), value


def joined(fixes: Sequence[Sequence[Request]]) -> list[Request]:
    """Return the requests of several fixes as one list, each equal setting once; [] if they are too many."""
    requests: list[Request] = []
    known: set[bytes] = set()
    for fix in fixes:
        places: dict[int, int] = {}
        for place, one in enumerate(fix):
            encoded = msgspec.msgpack.encode(one)
            if one.op in ("set_adapter", "set_queue_parameters", "set_balancer") and encoded in known:
                continue
            known.add(encoded)
            places[place] = len(requests)
            requests.append(_pointing(one, places))
    return requests if len(requests) <= MOST_REQUESTS else []


def _pointing(request: Request, places: dict[int, int]) -> Request:
    changes: dict[str, Any] = {}
    if request.queue_from is not None:
        changes["queue_from"] = places[request.queue_from]
    return msgspec.structs.replace(request, **changes)
