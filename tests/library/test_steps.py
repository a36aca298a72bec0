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
            progress.fixed(LESSONS[name].rule)
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


class Trying:
    """Does one step of a lesson after the other, each time in a new run of the model."""

    def __init__(self, name: str) -> None:
        self._rule = LESSONS[name].rule
        self._trial: Trial = trial_of(LESSONS[name])
        self._done: list[Request] = []

    def found(self) -> list[Finding]:
        return [one for one in findings(self._trial.run(self._done)) if one.rule == self._rule]

    def do(self, what: list[Asked] | str) -> None:
        if isinstance(what, list):
            self._done += requests_of(what)
        elif what == FIX:
            left = self.found()
            for _ in left:  # the fix of each, as the one before leaves it
                if left:
                    self._done += moved(left[0].requests, len(self._done))
                    left = self.found()


@pytest.mark.parametrize("name", slow_but(["few-buffers"], LESSONS))
def test_what_a_lesson_says_to_try_clears_its_finding(name: str) -> None:
    steps = [LESSONS[name].steps[place] for place in recognised(name)]
    by_hand = Trying(name)
    for step, what in zip(steps, TRIED[name], strict=True):
        if not step.instead:
            by_hand.do(what)
    assert by_hand.found() == []


INSTEAD: Final = [
    (name, place)
    for name, lesson in LESSONS.items()
    for place, what in enumerate(recognised(name))
    if lesson.steps[what].instead
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), INSTEAD)
def test_what_it_says_to_try_instead_clears_it_too(name: str, place: int) -> None:
    other = Trying(name)
    other.do(TRIED[name][place])
    assert other.found() == []
