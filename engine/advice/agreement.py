"""Lets the findings of one output agree: two never tell one adapter, VM or queue different things.

Findings are ranked by their order. Of changes of one setting the first stands; a later finding with the same
line refers to it, and one with another line or request offers no fix until the first is applied.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from engine.advice import powershell
from engine.advice.finding import MOST_REQUESTS, Finding, Request

_Key = tuple[str, ...]
_OBJECTS: Final = ("adapter", "queue_id", "filter_id", "mac", "vlan", "vm")
"""Parameters that select the object of a request; the others are its settings."""


def agreed(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings, of which none contradicts an earlier one, and none repeats a line."""
    lines: dict[str, tuple[str, Finding]] = {}
    asked: dict[_Key, tuple[object, Finding]] = {}
    result = []
    for finding in found:
        settings = dict(_settings(finding.requests))
        changes = {subject: line for group in _groups(finding.commands) for subject, line in _changes(group)}
        first = next(
            (asked[key][1] for key, value in settings.items() if key in asked and asked[key][0] != value),
            None,
        ) or next(
            (lines[one][1] for one, text in changes.items() if one in lines and lines[one][0] != text), None
        )
        if first is not None:
            result.append(_after(finding, first))
            continue
        commands = [line for group in _groups(finding.commands) for line in _once(group, lines)]
        asked |= {key: (value, finding) for key, value in settings.items() if key not in asked}
        lines |= {one: (text, finding) for one, text in changes.items() if one not in lines}
        result.append(msgspec.structs.replace(finding, commands=commands))
    return result


def _after(finding: Finding, first: Finding) -> Finding:
    """Return a finding that offers no fix, because ``first`` changes the same."""
    why = f"{first.rule}, {first.where}, changes the same: do that first, then look again"
    return msgspec.structs.replace(finding, requests=[], commands=[], withheld=why[:1024], fix=why[:1024])


def _once(group: Sequence[str], lines: dict[str, tuple[str, Finding]]) -> Sequence[str]:
    """Return a group of lines, or if an earlier finding has its change, a comment that refers to that."""
    for subject, _ in _changes(group):
        if subject in lines:
            rule = lines[subject][1].rule
            return [powershell.note(f"The line for this is that of {rule}, above.")] if rule.isascii() else []
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
