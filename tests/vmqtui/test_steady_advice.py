"""Findings that stay: the default lab's, as its readings come, while time is held, and on a recording."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot

from engine.advice.thresholds import AdviceThresholds
from engine.bus.codec import encode
from engine.bus.messages import Status
from engine.telemetry.config import Config
from engine.telemetry.recorder import Recorder
from engine.telemetry.recording import Recording
from engine.telemetry.stats import Stats, known
from tests.vmqtui.conftest import LAB_INTERVAL_S as INTERVAL_S
from tests.vmqtui.conftest import Running, Seen, screen_text
from tests.vmqtui.scripted import SECOND, ScriptedHost, ScriptedLink, with_queue
from vmqtui.app import VmqApp
from vmqtui.recorded import RecordedLink
from vmqtui.state.model import Model
from vmqtui.state.rows import FindingRow
from vmqtui.tasks.advice import apply_fix
from vmqtui.tasks.task import Task
from vmqtui.views.tables import AdviceView
from vmqtui.widgets.table import LiveTable

BURST_S = 3


def watching(config: Config, window_s: float = 30) -> tuple[Model, ScriptedLink]:
    link = ScriptedLink(connection="connected")
    link.views["hv01"] = ScriptedHost(status=Status(state="online", started_at=1.0), config=config)
    model = Model(link, "hv01", thresholds=AdviceThresholds(window_s=window_s))
    model.take()
    return model, link


def publish(link: ScriptedLink, readings: Sequence[Stats]) -> None:
    for stats in readings:
        link.publish("hv01", stats=stats)


async def open_advice(app: VmqApp, pilot: Pilot[None]) -> LiveTable:
    """Open the view of findings; its table."""
    await pilot.press("8")
    app.draw_now()
    await pilot.pause()
    return app.screen.query_one(AdviceView).table


def queue_of_chosen(table: LiveTable) -> int:
    """The queue that the finding under the cursor is about."""
    row = table.row
    assert isinstance(row, FindingRow)
    assert row.finding.queue_id is not None
    return row.finding.queue_id


def listed(model: Model) -> list[str]:
    return [row.label for row in model.snapshot.advised.rows]


def backup(model: Model) -> FindingRow:
    return next(row for row in model.snapshot.advised.rows if "backup-01" in row.label)


@pytest.mark.slow
def test_the_worst_loser_is_listed_first_from_when_it_is_found_and_its_fix_is_its_own(seen: Seen) -> None:
    config, readings = seen
    model, link = watching(config)
    found_s, chosen = None, None
    for stats in readings:
        link.publish("hv01", stats=stats)
        model.take()
        if found_s is None and any("backup-01" in label for label in listed(model)):
            found_s, chosen = stats.sim_time_ns / 1e9, backup(model).identity
        if found_s is not None:
            assert "backup-01" in listed(model)[0]
            row = backup(model)
            assert row.identity == chosen
            assert row.unseen_s <= BURST_S
            task = apply_fix(row.finding, model.newest)
            assert isinstance(task, Task)
            assert row.finding.queue_id is not None
            assert {step.about for step in task.plan({})} == {
                ("nic0", row.finding.queue_id, row.finding.generation)
            }
    assert found_s is not None
    assert found_s <= 5
    lost = backup(model).finding.lost_frames
    columns = readings[-1].adapters["nic0"].queues
    dropped = dict(zip(columns["id"], known(columns["dropped_no_buffer"]), strict=True))
    assert lost > 1000
    assert lost <= dropped[backup(model).finding.queue_id or 0]


@pytest.mark.parametrize("window_s", [6, 30])
def test_a_moment_of_the_past_shows_what_it_showed(seen: Seen, window_s: int) -> None:
    config, readings = seen
    model, link = watching(config, window_s)
    shown = {}
    for stats in readings:
        link.publish("hv01", stats=stats)
        model.take()
        shown[stats.seq] = [(row.identity, row.unseen_s, row.finding.lost_frames) for row in rows(model)]
    model.pause()
    for back in range(60):
        assert model.snapshot.stats is not None
        assert [(row.identity, row.unseen_s, row.finding.lost_frames) for row in rows(model)] == shown[
            model.snapshot.stats.seq
        ], back
        model.step(-1)
    for _ in range(60):
        model.step(1)
        assert model.snapshot.stats is not None
        assert [(row.identity, row.unseen_s, row.finding.lost_frames) for row in rows(model)] == shown[
            model.snapshot.stats.seq
        ]


def rows(model: Model) -> tuple[FindingRow, ...]:
    return model.snapshot.advised.rows


def test_a_restart_of_the_engine_is_seen_in_the_past_too(seen: Seen) -> None:
    config, readings = seen
    model, link = watching(config)
    restarted = [msgspec.structs.replace(one, time_ns=one.time_ns + 60 * SECOND) for one in readings[:30]]
    shown = []
    for stats in [*readings[:60], *restarted]:
        link.publish("hv01", stats=stats)
        model.take()
        shown.append([row.identity for row in rows(model)])
    assert shown[59]
    assert not shown[60]
    model.pause()
    for number in reversed(range(20, 90)):
        assert [row.identity for row in rows(model)] == shown[number], number
        model.step(-1)


@pytest.mark.parametrize("skip_s", [0.25, 1.0, 11.0])
def test_a_recording_shows_what_was_shown_at_any_speed_and_wherever_it_is_entered(
    seen: Seen, tmp_path: Path, skip_s: float
) -> None:
    config, readings = seen
    with Recorder(tmp_path / "lab.vmqrec", limit_bytes=1 << 30) as recorder:
        recorder.message("hv01", "config", encode(config))
        for stats in readings:
            recorder.reading("hv01", stats)
    link = RecordedLink(Recording(tmp_path / "lab.vmqrec"))
    played = Model(link, "hv01", link.tape)
    live, scripted = watching(config)
    shown = {}
    for stats in readings:
        scripted.publish("hv01", stats=stats)
        live.take()
        shown[stats.seq] = [row.identity for row in rows(live)]
    while played.snapshot.stats is not None:
        seq = played.snapshot.stats.seq
        assert [row.identity for row in rows(played)] == shown[seq]
        played.skip(skip_s)
        if played.snapshot.stats.seq == seq:
            break


@pytest.mark.slow
async def test_f_opens_the_fix_of_the_finding_that_was_chosen_whenever_it_is_pressed(
    dashboard: Running, seen: Seen
) -> None:
    config, readings = seen
    _, link = watching(config)
    async with dashboard(link, size=(140, 40)) as (app, pilot, _):
        publish(link, readings[: round(5 / INTERVAL_S)])
        table = await open_advice(app, pilot)
        table.move_to(next(n for n, row in enumerate(table.rows) if "backup-01" in getattr(row, "label", "")))
        for stats in readings[round(5 / INTERVAL_S) : round(12 / INTERVAL_S)]:
            link.publish("hv01", stats=stats)
            app.draw_now()
            await pilot.press("f")
            await pilot.pause()
            assert "(backup-01)" in screen_text(app) or "queue set 8" in screen_text(app)
            assert len(app.screen_stack) == 2
            await pilot.press("escape")
            await pilot.pause()


async def test_f_while_time_is_held_acts_on_now_if_what_it_is_about_is_still_there(
    dashboard: Running, seen: Seen
) -> None:
    config, readings = seen
    _, link = watching(config)
    async with dashboard(link, size=(140, 40)) as (app, pilot, _):
        publish(link, readings[:40])
        queue_id = queue_of_chosen(await open_advice(app, pilot))
        await pilot.press("space")
        publish(link, readings[40:60])
        await pilot.press("f")
        await pilot.pause()
        assert len(app.screen_stack) == 2
        await pilot.press("escape")
        again = with_queue(config, queue_id, generation=99)
        link.publish("hv01", config=again)
        await pilot.press("f")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert [note.message for note in app._notifications][-1] == (
            f"this fix is outdated: queue {queue_id} was freed"
        )


@pytest.mark.slow
async def test_the_cursor_is_on_no_finding_when_its_own_is_gone_until_it_is_moved(
    dashboard: Running, seen: Seen
) -> None:
    config, readings = seen
    _, link = watching(config)
    async with dashboard(link, size=(140, 40)) as (app, pilot, _):
        publish(link, readings[:60])
        table = await open_advice(app, pilot)
        queue_id = queue_of_chosen(table)
        again = with_queue(config, queue_id, generation=99)
        for stats in readings[60:75]:
            stats = msgspec.structs.replace(stats, revision=again.revision)
            link.publish("hv01", config=again, stats=stats)
        app.draw_now()
        await pilot.pause()
        assert len(table.rows) > 1
        assert table.row is None
        assert "the finding that the cursor was on is gone" in screen_text(app)
        await pilot.press("f")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await pilot.press("down", "f")
        await pilot.pause()
        assert table.row is table.rows[0]
