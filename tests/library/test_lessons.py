"""The library, run through the real model: each scenario raises its finding, which its fix clears."""

import tomllib
from itertools import islice, takewhile

import pytest

from engine.advice.rules import RULES
from engine.advice.window import AdviceWindow
from engine.scenario.load import loads
from engine.service.trial import TriedFix, diagnose
from tests.advice.windows_judge import host_of, judge
from tests.service.lab import lab
from tests.slow import slow_but
from vmqtui.cli.scenario import trial_of
from vmqtui.library.lessons import LESSONS


@pytest.fixture(scope="module", params=slow_but([*LESSONS][:1], LESSONS))
def tried(request: pytest.FixtureRequest) -> tuple[str, list[TriedFix]]:
    """A scenario's name, and what came of looking at it."""
    name: str = request.param
    return name, list(diagnose(trial_of(LESSONS[name])).tried)


def test_a_scenario_raises_its_finding_and_the_fix_clears_it(tried: tuple[str, list[TriedFix]]) -> None:
    name, found = tried
    wanted = [one for one in found if one.finding.rule == LESSONS[name].rule]
    assert wanted, f"found only {[one.finding.rule for one in found]}"
    for one in wanted:
        assert not one.refused
        assert one.finding.cleared, one.finding.says
        before, after = one.finding.value, one.finding.after
        assert before is not None
        assert after is not None
        better = RULES[one.finding.rule].better
        assert after < before if better == "lower" else after > before


def test_the_lines_are_right_on_a_windows_host(tried: tuple[str, list[TriedFix]]) -> None:
    name, found = tried
    lesson = LESSONS[name]
    gone = {str(one.params["vm"]) for one in lesson.interventions if one.op in ("migrate_vm", "remove_vm")}
    host = host_of(tomllib.loads(lesson.toml), gone=gone)
    faults = judge(host, [one.finding for one in found])
    assert [str(one) for one in faults] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
def test_the_advisor_of_a_dashboard_finds_it_too(name: str) -> None:
    lesson = LESSONS[name]
    window, listed = AdviceWindow(), set[str]()
    with lab(lesson.scenario) as running:
        todo = list(takewhile(lambda one: one.at_s < 40, lesson.on_screen()))
        for number in range(4 * 40):
            (stats,) = running.readings(0.25, 0.25)
            window.add(running.machine.config(), stats)
            listed = {one.rule for one in window.listed}
            if lesson.shown_rule in listed:
                break
            while todo and todo[0].at_s <= (number + 1) / 4:
                running.request(todo[0].op, todo.pop(0).params)
    assert lesson.shown_rule in listed


def test_nothing_is_found_beside_what_the_lesson_is_about(tried: tuple[str, list[TriedFix]]) -> None:
    name, found = tried
    beside = {one.finding.rule for one in found} - {LESSONS[name].rule}
    of_the_same_cause = {
        "base-processor": {"balancer-off"},  # which would help, too
        "piled-queues": {"balancer-off"},
        "set-with-holes": {"piled-queues", "balancer-off"},
        "uneven": {"balancer-off"},
        "shifted-load": {"piled-queues"},
        "team-overlap": {"balancer-off"},
        "shared-out-buffers": {"too-few-buffers"},  # which is what people notice of it
        "allocation-failed": {"fewer-than-suggested"},  # the others of the batch
    }
    assert beside == of_the_same_cause.get(name, set())


def test_a_lesson_counts_idle_processors_as_its_finding_does() -> None:
    """In the same words, because both are on one screen."""
    lesson = LESSONS["one-queue"]
    (found,) = diagnose(trial_of(lesson)).tried
    said = found.finding.says.split("; ")[1]
    assert said == f"{found.finding.numbers['idle_processors']} others that may serve it idle"
    assert said in " ".join(lesson.text.split())


def test_every_rule_and_every_row_has_a_scenario() -> None:
    assert {one.rule for one in LESSONS.values()} == set(RULES)
    rows = {row for one in LESSONS.values() for row in one.rows}
    assert rows == set(range(1, 11))


def test_what_is_done_is_done_once_on_a_screen_or_again_and_again() -> None:
    once, swings = LESSONS["paused-vm"], LESSONS["swinging-load"]
    assert list(once.on_screen()) == list(once.interventions)
    assert [one.at_s for one in islice(swings.on_screen(), 6)] == [3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_says_what_people_see_why_where_to_look_and_what_to_try(name: str) -> None:
    lesson = LESSONS[name]
    paragraphs = lesson.text.split("\n\n")
    assert [one.split(":")[0] for one in paragraphs[1:]] == ["What people see", "Why", "Look", "Try"]
    assert all(len(line) <= 120 for line in lesson.text.splitlines())
    assert loads(lesson.toml, name).host.name == "lab"
