"""The library with columns taken away, as Linux and Windows have them: which rules still find, and which say
that they can't look. None raises what the whole host has not, or prints a line that the whole host would not.
"""

from typing import Final, Literal

import pytest

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding
from engine.advice.rules import findings, unchecked
from tests.advice.blanks import as_linux, as_windows
from tests.slow import slow_but
from vmqtui.cli.scenario import trial_of
from vmqtui.library.lessons import LESSONS

Answer = Literal["finds", "blind", "other host", "silent"]

EXPECTED: Final = """
lesson                 its rule                   Linux, drops  Linux         Windows
base-processor         shared-with-default        other host    other host    finds
piled-queues           piled-queues               finds         finds         finds
set-with-holes         shared-with-default        other host    other host    finds
uneven                 full-processor             silent        blind         blind
shifted-load           balancer-off               other host    other host    blind
swinging-load          load-swings                other host    other host    blind
without-queue          vm-without-queue           other host    other host    blind
more-vms-than-queues   more-vms-than-queues       other host    other host    blind
live-migration         vm-without-queue           other host    other host    blind
idle-queue-held        idle-queue-held            other host    other host    blind
team-overlap           team-overlap               other host    other host    finds
fresh-team             team-overlap               other host    other host    finds
overlapping-switches   sets-overlap               other host    other host    finds
team-differs           team-differs               other host    other host    finds
odd-processors         odd-processors             other host    other host    finds
one-queue              one-queue-one-processor    finds         finds         finds
numa-span              numa-span                  finds         finds         finds
two-groups             numa-span                  finds         finds         finds
churn                  affinity-churn             finds         finds         finds
vlan-near-miss         near-miss-vlan             blind         blind         blind
trunk-vm               near-miss-vlan             blind         blind         blind
second-port            missing-filter             other host    other host    blind
shadowed-filter        shadowed-filter            other host    other host    finds
forgotten-filter       paused-queue               other host    other host    blind
few-buffers            too-few-buffers            finds         blind         blind
shared-out-buffers     fewer-than-suggested       other host    other host    blind
allocation-failed      never-completed            other host    other host    blind
paused-vm              vm-paused                  other host    other host    blind
stuck-free             free-pending               other host    other host    finds
after-migration        vm-left                    other host    other host    blind
slow-link              slow-link                  finds         finds         finds
broadcom-1g            vmq-on-slow-link           other host    other host    finds
"""
"""The answer of each rule on a Linux host whose driver tells drops by ring, on one whose driver
does not, and on a Windows host. ``blind``: it says that it can't look; ``other host``: it is not about Linux.
"""

EXPLAINED: Final = {
    ("base-processor", "piled-queues"): "on Linux the default queue is a ring like the others",
    ("uneven", "piled-queues"): "on Linux the default queue's processor is one for rings, and it idles",
    ("swinging-load", "too-few-buffers"): "without the balancer's settings a swing looks like a burst",
    ("team-overlap", "piled-queues"): "a Linux host's teams are not read: members' queues share a processor",
    ("paused-vm", "too-few-buffers"): "nothing tells that a VM is paused; the fix is to look at the guest",
}
"""Findings that a host gains by what it does not tell, and why they are no lies."""
HOSTS: Final = ("Linux, drops", "Linux", "Windows")
CHANGING: Final = ("Set-", "Resume-", "Stop-", "New-", "ethtool -G")


def rows() -> dict[str, list[str]]:
    lines = [line for line in EXPECTED.splitlines() if line][1:]
    cut = (0, 23, 50, 64, 78)
    cells = [
        [line[start:end].strip() for start, end in zip(cut, (*cut[1:], None), strict=True)] for line in lines
    ]
    return {name: rest for name, *rest in cells}


def answer(seen: Evidence, found: list[Finding], rule: str) -> Answer:
    gaps = [gap for gap in unchecked(seen) if rule in gap.rules]
    if any(one.rule == rule for one in found):
        return "finds"
    if not all(gap.applies for gap in gaps):
        return "other host"
    return "blind" if any(not gap.left_out for gap in gaps) else "silent"


def changing(found: list[Finding]) -> set[str]:
    return {line for one in found for line in one.commands if line.startswith(CHANGING)}


def test_the_table_has_each_lesson_with_its_rule() -> None:
    assert {name: row[0] for name, row in rows().items()} == {one.name: one.rule for one in LESSONS.values()}


@pytest.mark.parametrize("name", slow_but(["few-buffers", "stuck-free"], LESSONS))
def test_of_a_lesson_a_real_host_tells_what_it_can_and_no_more(name: str) -> None:
    rule, *expected = rows()[name]
    whole = trial_of(LESSONS[name]).run()
    known = {one.rule for one in findings(whole)}
    assert rule in known
    assert unchecked(whole) == []
    hosts = (as_linux(whole, drops=True), as_linux(whole, drops=False), as_windows(whole))
    answers = []
    for host, seen in zip(HOSTS, hosts, strict=True):
        found = findings(seen)
        answers.append(answer(seen, found, rule))
        gained = {one.rule for one in found} - known
        assert gained <= {rule for lesson, rule in EXPLAINED if lesson == name}, host
        if host == HOSTS[0]:
            assert gained == {rule for lesson, rule in EXPLAINED if lesson == name}
        if host == "Windows":
            assert changing(found) <= changing(findings(whole))
        else:
            assert not [line for line in changing(found) if not line.startswith("ethtool -G")]
    assert answers == expected
