"""What lessons say to try: a step is recognised once it was done, not before, and they clear the finding."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest

from engine.advice.finding import Finding, Request
from engine.advice.rules import findings
from engine.ndis.operations import decode
from engine.service.trial import Trial
from tests.slow import slow_but
from vmqtui.actions import VIEWS
from vmqtui.cli.scenario import trial_of
from vmqtui.library.lessons import LESSONS, Condition
from vmqtui.state.lesson import LessonProgress

Asked = tuple[str, dict[str, Any]]
FIX: Final = "the fix of the finding"


def move(queue_id: int, cpu: int, adapter: str = "nic0") -> Asked:
    return "set_queue_parameters", {"adapter": adapter, "queue_id": queue_id, "cpu": cpu}


def resize(queue_id: int, buffers: int) -> Asked:
    return "set_queue_parameters", {"adapter": "nic0", "queue_id": queue_id, "buffers": buffers}


def set_filter(queue_id: int, mac: str, vlan: int | str, adapter: str = "nic0") -> Asked:
    params = {"adapter": adapter, "queue_id": queue_id, "mac": f"00:15:5d:00:{mac}", "vlan": vlan}
    return "set_filter", params


def give(queue_id: int, vm: str, mac: str, vlan: int, cpu: int, adapter: str = "nic0") -> list[Asked]:
    new = {"adapter": adapter, "name": vm, "vm": vm, "cpu": cpu, "buffers": 512}
    return [
        ("allocate_queue", new),
        set_filter(queue_id, mac, vlan, adapter),
        ("complete_allocation", {"adapter": adapter, "queue_ids": [queue_id]}),
    ]


def of_queue(op: str, queue_id: int, **more: int) -> Asked:
    return op, {"adapter": "nic0", "queue_id": queue_id, **more}


def vm(op: str, name: str) -> list[Asked]:
    return [(op, {"adapter": "nic0", "vm": name})]


BALANCER: Final[list[Asked]] = [("set_balancer", {"mode": "dynamic"})]

TRIED: Final[dict[str, list[list[Asked] | str]]] = {
    "base-processor": [[move(1, 3)], FIX],
    "piled-queues": [[move(2, 5)]],
    "set-with-holes": [FIX],
    "uneven": [[move(2, 2)]],
    "shifted-load": [[move(2, 2)], BALANCER],
    "swinging-load": [[resize(1, 1024)], BALANCER],
    "without-queue": [give(3, "bulk-01", "00:01", 10, 1)],
    "more-vms-than-queues": [FIX],
    "live-migration": [give(2, "management OS", "00:09", 90, 2, "Ethernet 1")],
    "idle-queue-held": [
        [of_queue("clear_filter", 2, filter_id=2), of_queue("free_queue", 2)],
        give(2, "sql-01", "00:04", 20, 2),
        FIX,
    ],
    "team-overlap": [[move(1, 3, "nic1")], [move(2, 4, "nic1")], FIX],
    "fresh-team": [FIX],
    "overlapping-switches": [FIX],
    "team-differs": [[move(1, 1, "nic1")], FIX],
    "odd-processors": [[move(2, 6)], [move(4, 0)]],
    "one-queue": [FIX],
    "numa-span": [[move(1, 2)], FIX],
    "two-groups": [FIX],
    "churn": [[move(1, 4)]],
    "vlan-near-miss": [[set_filter(1, "00:01", 40)]],
    "trunk-vm": [[set_filter(1, "00:01", 40, "Ethernet 1")]],
    "second-port": [[set_filter(1, "01:01", 20)]],
    "shadowed-filter": [[of_queue("clear_filter", 1, filter_id=1)], [set_filter(1, "00:01", "untagged")]],
    "forgotten-filter": [[set_filter(1, "00:01", 10)]],
    "few-buffers": [[resize(1, 512)]],
    "shared-out-buffers": [[resize(2, 256)], [resize(1, 1000)]],
    "allocation-failed": [
        [resize(0, 512)],
        [("complete_allocation", {"adapter": "nic0", "queue_ids": [3]})],
    ],
    "paused-vm": [vm("resume_vm", "sql-01")],
    "stuck-free": [vm("resume_vm", "file-01"), "events"],
    "after-migration": [FIX],
    "slow-link": [[("set_adapter", {"adapter": "nic0", "link_gbps": 10.0})]],
    "broadcom-1g": [FIX],
}
"""By lesson, for each step that can be recognised: the requests that do it, ``FIX``, or the view to show."""


def recognised(name: str) -> list[int]:
    """The places of the steps that can be recognised."""
    return [place for place, step in enumerate(LESSONS[name].steps) if step.conditions]


@pytest.mark.parametrize("name", LESSONS)
def test_a_step_is_ticked_when_it_was_done_and_no_other_is(name: str) -> None:
    progress = LessonProgress(LESSONS[name])
    done: set[int] = set()
    for place, what in zip(recognised(name), TRIED[name], strict=True):
        assert progress.next == place or LESSONS[name].steps[place].instead
        if what == FIX:
            progress.fixed("another-rule")
            assert not progress.done(place)
            progress.fixed(LESSONS[name].shown_rule)
        elif isinstance(what, str):
            progress.shown(what)
        else:
            for op, params in what:
                assert not progress.done(place)
                progress.answered(op, params)
        done.add(place)
        assert {one for one in range(len(LESSONS[name].steps)) if progress.done(one)} == done
    assert progress.next is None


@pytest.mark.parametrize("name", LESSONS)
def test_what_the_lesson_itself_asks_for_is_no_step_of_it(name: str) -> None:
    progress = LessonProgress(LESSONS[name])
    for one in LESSONS[name].interventions:
        if one.op != "set_queue_parameters":  # a move: what "give it a home" means too
            progress.answered(one.op, one.params)
    assert not any(progress.done(place) for place in recognised(name))


@pytest.mark.parametrize("name", LESSONS)
def test_conditions_are_of_requests_and_views_that_there_are(name: str) -> None:
    lesson = LESSONS[name]
    assert recognised(name), "nothing in it can be ticked"
    assert "{" not in lesson.text
    for step in lesson.steps:
        assert step.text
        for one in step.conditions:
            assert one.kind != "view" or one.name in VIEWS
    for what in TRIED[name]:
        for op, params in what if isinstance(what, list) else ():
            decode(op, params)


def test_a_condition_that_cannot_be_read_is_refused() -> None:
    for text in ("set_filter vlan=", "set_filter =4", "fix it", "view", ""):
        with pytest.raises(ValueError, match="is not a condition"):
            Condition.read(text)


def requests_of(what: Sequence[Asked]) -> list[Request]:
    return [Request(op=op, params=params) for op, params in what]


def moved(fix: Sequence[Request], by: int) -> list[Request]:
    """A fix whose requests come after ``by`` others."""
    return [
        one if one.queue_from is None else msgspec.structs.replace(one, queue_from=one.queue_from + by)
        for one in fix
    ]


def found(trial: Trial, rule: str, done: Sequence[Request]) -> list[Finding]:
    """The findings of a rule, once the requests were carried out."""
    return [one for one in findings(trial.run(done)) if one.rule == rule]


BY_HAND: Final = [name for name, what in TRIED.items() if what != [FIX] or name == "more-vms-than-queues"]
"""Lessons with steps other than to apply one fix, which ``test_lessons`` tries."""


@pytest.mark.parametrize("name", slow_but(["few-buffers"], BY_HAND))
def test_what_a_lesson_says_to_try_clears_its_finding(name: str) -> None:
    trial, rule = trial_of(LESSONS[name]), LESSONS[name].rule
    steps = [LESSONS[name].steps[place] for place in recognised(name)]
    done: list[Request] = []
    left: list[Finding] | None = None
    for step, what in zip(steps, TRIED[name], strict=True):
        if step.instead:  # the fix of the finding: ``test_lessons`` tries it
            continue
        if isinstance(what, list):
            done, left = done + requests_of(what), None
        elif what == FIX:
            left = found(trial, rule, done)
            for _ in tuple(left):  # that of each, as the one before leaves it
                if left:
                    done += moved(left[0].requests, len(done))
                    left = found(trial, rule, done)
    assert (found(trial, rule, done) if left is None else left) == []


def test_what_it_says_to_try_instead_is_the_fix_of_its_finding() -> None:
    for name, lesson in LESSONS.items():
        for place, what in zip(recognised(name), TRIED[name], strict=True):
            assert not lesson.steps[place].instead or what in (FIX, BALANCER)
