"""The lesson of ``scenario run`` on the dashboard: its pane, what is ticked, when its finding has cleared."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.advice.finding import Finding, Unchecked
from engine.bus.messages import Status
from engine.ndis.counters import DEFAULT_QUEUE_REASONS
from tests.vmqtui.conftest import Running, same_as_snapshot, screen_text
from tests.vmqtui.scripted import SECOND, ScriptedHost, ScriptedLink, make_config, play, with_queue
from vmqtui.app import VmqApp
from vmqtui.library.lessons import LESSONS
from vmqtui.preferences.kept import StateFile
from vmqtui.state.lesson import LessonProgress
from vmqtui.state.rows import Advised

VMS = (("default", None, 0, 20), ("web-01", "web-01", 2, 9000), ("sql-01", "sql-01", 3, 9000))
LESSON = LESSONS["paused-vm"]
SIZES = {"small": (80, 24), "middle": (120, 40), "large": (200, 60)}


def paused(**changes: Any) -> ScriptedLink:
    """A host whose sql-01 is paused, or has the changes given."""
    link = ScriptedLink(connection="connected")
    config = with_queue(make_config(VMS), 2, **(changes or {"vm_paused": True}))
    link.views["hv01"] = ScriptedHost(
        status=Status(state="online", started_at=1.0, interval_ns=SECOND // 4),
        config=msgspec.structs.replace(config, revision=7),
    )
    play(link, 1, 9, vms=VMS)
    return link


def finding(seen_s: int) -> Finding:
    return Finding(
        rule=LESSON.rule,
        severity="bad",
        adapter="nic0",
        key="2",
        where="queue 2 (sql-01)",
        says="sql-01 is paused",
        cause="",
        fix="resume it",
        numbers={},
        measure="frames",
        last_seen_ns=seen_s * SECOND,
    )


def judged(at_s: int, *seen_s: int, unchecked: tuple[Unchecked, ...] = ()) -> Advised:
    found = tuple(map(finding, seen_s))
    return Advised(found, judged_ns=at_s * SECOND, seconds=30.0, unchecked=unchecked)


def test_a_finding_has_cleared_when_it_was_listed_and_is_not_any_more_and_may_come_back() -> None:
    progress = LessonProgress(LESSON)
    states = []
    for advised in (
        Advised(),
        judged(2),
        judged(4, 4),
        judged(6, 4),
        judged(8),
        judged(10),
        judged(12, 12),
        judged(14),
    ):
        progress.judge(advised)
        states.append((progress.state, progress.times_cleared))
    assert states == [
        ("unknown", 0),
        ("awaited", 0),
        ("seen", 0),
        ("unseen", 0),
        ("cleared", 1),
        ("cleared", 1),
        ("seen", 1),
        ("cleared", 2),
    ]


def test_a_finding_of_another_run_of_the_engine_has_not_cleared() -> None:
    progress = LessonProgress(LESSON)
    progress.judge(judged(4, 4))
    progress.judge(judged(2))
    assert progress.state == "awaited"


def test_a_finding_whose_rule_could_not_look_has_not_cleared() -> None:
    progress = LessonProgress(LESSON)
    progress.judge(judged(4, 4))
    blind = (Unchecked(why="nothing tells that a VM is paused", rules=[LESSON.rule]),)
    progress.judge(judged(40, unchecked=blind))
    assert progress.state == "unknown"


def test_a_view_counts_only_after_the_steps_before_it() -> None:
    progress = LessonProgress(LESSONS["stuck-free"])
    progress.shown("events")
    progress.shown("queues")
    progress.answered("resume_vm", {"vm": "file-01"})
    assert progress.done(0)
    assert not progress.done(1)
    progress.shown("events")
    assert progress.done(1)


def ticks(app: VmqApp) -> int:
    return screen_text(app).count("✓")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_the_lesson_leaves_room_for_the_tables(dashboard: Running, size: str) -> None:
    async with dashboard(paused(), size=SIZES[size], lesson=LESSON) as (app, pilot, link):
        play(link, 10, 16, vms=VMS)
        app.draw_now()
        await pilot.pause()
        same_as_snapshot(f"lesson-{size}", screen_text(app))
        await pilot.press("2")
        await pilot.pause()
        assert "sql-01" in screen_text(app)
        if size != "small":
            await pilot.press("L")
            await pilot.pause()
            assert "What would more buffers" not in screen_text(app)
            assert "L all of it" in screen_text(app)
        await pilot.press("L")
        await pilot.pause()
        assert "what would more buffers have" in " ".join(screen_text(app).split())


@pytest.mark.parametrize("size", [(100, 32), (120, 40), (200, 60)])
async def test_the_overview_beside_a_lesson_has_every_reason(
    dashboard: Running, size: tuple[int, int]
) -> None:
    async with dashboard(paused(), size=size, lesson=LESSON) as (app, _, _):
        text = screen_text(app)
        for reason in DEFAULT_QUEUE_REASONS:
            assert reason.name.replace("_", " ") in text


async def test_a_lesson_that_was_folded_is_folded_at_the_next_start(
    dashboard: Running, tmp_path: Path
) -> None:
    path = tmp_path / "config.state.json"
    for folded in (True, False):
        async with dashboard(paused(), lesson=LESSON, state=StateFile(path)) as (app, pilot, _):
            assert ("L folds it" in screen_text(app)) == folded
            await pilot.press("L")
            await pilot.pause()
            assert ("L all of it" in screen_text(app)) == folded
            assert await app.keep_choices() == ""


@pytest.mark.slow
async def test_a_step_is_ticked_by_the_engine_s_answer_not_by_a_refusal_or_an_undo(
    dashboard: Running,
) -> None:
    link = paused()
    async with dashboard(link, lesson=LESSON) as (app, pilot, _):
        play(link, 10, 16, vms=VMS)
        await pilot.press("2", "end", "v", "enter")
        await pilot.pause()
        link.answer("NDIS_STATUS_FAILURE", "not now")
        await pilot.press("enter")
        await pilot.pause()
        assert link.asked[-1][1] == "resume_vm"
        await pilot.press("escape")
        await pilot.pause()
        assert ticks(app) == 0
        await pilot.press("v", "enter")
        await pilot.pause()
        link.answer()
        await pilot.press("enter")
        await pilot.pause()
        assert ticks(app) == 1


@pytest.mark.slow
async def test_what_is_undone_was_not_tried(dashboard: Running) -> None:
    link = paused(vm_paused=False)
    async with dashboard(link, lesson=LESSON) as (app, pilot, _):
        play(link, 10, 16, vms=VMS)
        await pilot.press("2", "end", "v", "enter")  # pauses it
        await pilot.pause()
        link.answer()
        await pilot.press("enter")
        await pilot.pause()
        link.answer()
        await pilot.press("u")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert [op for _, op, _ in link.asked] == ["pause_vm", "resume_vm"]
        assert ticks(app) == 0


@pytest.mark.slow
async def test_another_dashboard_has_no_lesson_and_no_key_for_one(dashboard: Running) -> None:
    async with dashboard(paused()) as (app, pilot, _):
        before = screen_text(app)
        await pilot.press("L")
        await pilot.pause()
        assert "Lesson" not in before
        assert len(app.screen_stack) == 1
