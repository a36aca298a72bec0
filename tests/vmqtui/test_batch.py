"""Marked rows, and changes of all of them: a preview, a confirmation, an undo, a reason for each refusal."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from engine.bus.messages import Response
from engine.scenario.model import AdapterSpec, FilterSpec, HostSpec, QueueSpec, Scenario
from engine.telemetry.config import Config
from engine.view.rows import CpuView, QueueView
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, notes, opened, shown, told, type_into
from tests.vmqtui.hosts import link_to
from tests.vmqtui.scripted import ScriptedLink, live_link, make_config, make_stats, with_queue
from vmqtui.app import VmqApp
from vmqtui.link import BusLink
from vmqtui.pytest_plugin import StartEngine
from vmqtui.state import placement
from vmqtui.state.choices import MOST_MARKED, Marks
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks import batch
from vmqtui.tasks.queues import move_queue
from vmqtui.tasks.submission import Submission
from vmqtui.tasks.task import Ending, Step, Task, Values
from vmqtui.tasks.undo import Changes, change_of, hindrance, undo
from vmqtui.testing import until

HERE = {"queues": {1, 2}, "filters": set()}


def snapshot(config: Config | None = None) -> Snapshot:
    """The host of the scripted link."""
    return Snapshot("hv01", config=config or make_config(), stats=make_stats(9), before=make_stats(5))


def marked(of: Snapshot, *queue_ids: int) -> batch.Marked:
    """Some of its queues, marked."""
    return {row.identity: batch.name_of(row) for row in of.queues if row.queue_id in queue_ids}


def planned(task: Task, **values: object) -> Sequence[Step]:
    """The steps of a task with these values."""
    fields: Values = dict(values)
    return task.plan(fields)


def test_marks_are_bounded_and_say_what_is_left() -> None:
    marks = Marks()
    assert marks.set("queues", {n: str(n) for n in range(MOST_MARKED + 5)}) == 5
    assert len(marks.of("queues")) == MOST_MARKED
    assert marks.set("queues", {0: "again"}) == 0
    assert marks.set("filters", {0: "another kind"}) == 0


def test_a_mark_goes_with_its_row_and_its_name_is_kept_until_it_is_told() -> None:
    marks = Marks()
    marks.follow("hv01", 1.0, HERE)
    marks.set("queues", {1: "one", 2: "two", 3: "three"})
    marks.follow("hv01", 1.0, HERE)
    assert (list(marks.of("queues")), marks.gone) == ([1, 2], {"queues": {3: "three"}})
    marks.follow("hv01", 0.0, HERE)  # no status for a moment
    assert list(marks.of("queues")) == [1, 2]
    marks.follow("hv01", 2.0, HERE)  # the engine was started again: its queue 1 is another one
    assert not marks.of("queues")
    assert marks.gone["queues"].keys() == {1, 2, 3}
    marks.set("queues", {1: "one"})
    marks.follow("hv02", 2.0, HERE)
    assert not marks.of("queues")
    assert not marks.gone


def test_rows_that_a_change_took_away_are_not_told_as_gone() -> None:
    marks = Marks()
    marks.follow("hv01", 1.0, HERE)
    marks.set("queues", {1: "one", 3: "three"})
    marks.follow("hv01", 1.0, HERE)
    marks.drop([1, 3])
    assert not marks.of("queues")
    assert not marks.gone["queues"]


def other_filter(config: Config, **changed: Any) -> Config:
    """The configuration with filter 2 of its first adapter changed; as if its id had been given out again."""
    first = config.adapters[0]
    filters = [
        msgspec.structs.replace(one, **changed) if one.filter_id == 2 else one for one in first.filters
    ]
    return msgspec.structs.replace(
        config, adapters=[msgspec.structs.replace(first, filters=filters), *config.adapters[1:]]
    )


@pytest.mark.parametrize(
    "later",
    [
        other_filter(make_config(), vlan=77),
        other_filter(make_config(), queue_id=4),
        with_queue(make_config(), 2, generation=99),
    ],
    ids=["VLAN", "queue", "generation"],
)
def test_filter_that_got_the_id_of_a_marked_one_is_not_marked(later: Config) -> None:
    before, now = snapshot(), snapshot(later)
    row = next(one for one in before.filters if (one.adapter, one.filter_id) == ("nic0", 2))
    of_mark = {row.identity: batch.name_of(row)}
    assert not of_mark.keys() & {one.identity for one in now.filters}
    (refused,) = planned(batch.clear_marked(of_mark, lambda: now))
    assert refused.hindered is not None
    assert refused.hindered() == "it is gone since it was marked"


@pytest.mark.parametrize(
    "make",
    [batch.move_marked, batch.resize_marked, batch.complete_marked, batch.free_marked, batch.clear_queues],
)
def test_marked_rows_are_called_by_their_present_names(
    make: Callable[[batch.Marked, batch.Now], Task],
) -> None:
    rows = marked(snapshot(), 1, 2)
    renamed = snapshot(with_queue(make_config(), 1, vm=None, name="renamed"))
    asked = make(rows, lambda: renamed).explanation
    assert "queue 1 (renamed), queue 2 (web-02)" in asked


def test_default_queue_is_refused_before_anything_is_sent() -> None:
    now = snapshot()
    steps = planned(batch.free_marked(marked(now, 0, 1), lambda: now))
    assert [step.op for step in steps] == ["", "clear_filter", "free_queue"]
    first = steps[0]
    assert first.hindered is not None
    assert first.hindered() == "the default queue can't be freed"
    assert len({step.key for step in steps}) == 3


def test_queue_that_is_there_already_is_not_moved() -> None:
    now = snapshot()
    steps = planned(batch.move_marked(marked(now, 1, 4, 5), lambda: now), cpu=1)
    assert [step.title for step in steps] == ["move queue 1 (web-01) from 0:2 to 0:1"]


def test_load_of_each_source_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = snapshot()
    moving = [row for row in now.queues if row.cpu != 7]
    target = next(cpu for cpu in now.cpus if cpu.cpu == 7)
    added = [move.target.after for row in moving if (move := placement.forecast(now, row, 7)) is not None]
    assert target.load is not None
    assert None not in added
    expected = target.load + sum(after - target.load for after in added if after is not None)
    computed: list[int] = []

    def counted(cpu: CpuView, model: dict[str, Any]) -> dict[Hashable, float | None]:
        computed.append(cpu.cpu)
        return loads_of(cpu, model)

    loads_of = placement.loads_of
    monkeypatch.setattr(placement, "loads_of", counted)
    assert placement.load_with(now, moving, target) == pytest.approx(min(1.0, expected))
    assert sorted(computed) == sorted({row.cpu for row in moving if row.cpu is not None})
    assert len(computed) < len(moving)


def test_queue_that_went_between_mark_and_plan_is_refused() -> None:
    now = snapshot()
    rows = {("nic0", 40, 41): "queue 40 (old)", **marked(now, 1)}
    task = batch.resize_marked(rows, lambda: now)
    steps = planned(task, buffers=600)
    assert [step.hindered() for step in steps if step.hindered is not None] == [
        "it is gone since it was marked",
        "",
    ]


def test_buffers_of_all_are_compared_with_what_is_left() -> None:
    now = snapshot()
    remark = batch.resize_marked(marked(now, 1, 2, 3), lambda: now).remark
    assert remark is not None
    assert remark({"buffers": 512}) == "nic0: 0 buffers given back"
    assert remark({"buffers": 612}).startswith("nic0: 300 buffers more of ")
    assert remark({"buffers": 60_000}).endswith("which is not enough for all")


def test_verb_is_for_each_vm_of_marked_queues_once() -> None:
    now = snapshot()
    steps = planned(batch.change_vms(marked(now, 0, 1, 2), lambda: now, "pause"))
    assert [(step.op, step.group.name if step.group else "") for step in steps] == [
        ("", "queue 0 (default)"),
        ("pause_vm", "VM web-01"),
        ("pause_vm", "VM web-02"),
    ]


def scripted() -> ScriptedLink:
    link = live_link()
    link.publish("hv01", stats=make_stats(2))
    return link


async def sent(steps: Sequence[Step], link: ScriptedLink) -> tuple[Submission, str]:
    """Send steps whose answers are there; return the submission and its summary."""
    submission = Submission(link, "hv01")
    await submission.send(steps, lambda words: None)
    return submission, "\n".join(submission.summary())


async def test_a_refusal_in_the_middle_stops_only_its_row_and_is_told() -> None:
    now, link = snapshot(), scripted()
    link.answer()  # queue 1: its filter
    link.answer()  # and the queue
    link.answer()  # queue 2: its filter
    link.answer("NDIS_STATUS_INVALID_PARAMETER", "queue 2 belongs to another driver")
    link.answer()
    link.answer("NDIS_STATUS_PENDING")
    steps = planned(batch.free_marked(marked(now, 0, 1, 2, 3), lambda: now))
    submission, summary = await sent(steps, link)
    assert len(link.asked) == 6
    assert summary.startswith("2 done (1 of them pending until their buffers are returned): queue 1 (web-01)")
    assert "2 refused: queue 0 (default): the default queue can't be freed" in summary
    assert "queue 2 (web-02): queue 2 belongs to another driver (NDIS_STATUS_INVALID_PARAMETER)" in summary
    assert "(done before: clear filter 2" in summary
    change = change_of(ended(submission), "hv01", 0.0, 0.0, now.config)
    assert change is not None
    assert [step.title for step in change.steps] == [
        "set filter 00:15:5d:00:00:02, VLAN 20 on queue 2 (web-02)"
    ]
    assert "queue 1 (web-01): a freed queue is gone" in change.stays


async def test_lost_answer_ends_a_batch_and_the_rest_is_not_sent() -> None:
    now, link = snapshot(), scripted()
    link.answer()
    link.leave_unanswered()
    steps = planned(batch.resize_marked(marked(now, 1, 2, 3), lambda: now), buffers=600)
    submission, summary = await sent(steps, link)
    assert summary == (
        "1 done: queue 1 (web-01)\nqueue 2 (web-02): no answer; it may still take effect\n1 not sent"
    )
    change = change_of(ended(submission), "hv01", 0.0, 0.0, now.config)
    assert change is not None
    assert [step.title for step in change.steps] == ["change queue 1 (web-01): give it 512 buffers"]
    assert "queue 2 (web-02): change queue 2 (web-02): give it 600 buffers was not answered" in change.stays


async def test_stopped_batch_sends_no_more() -> None:
    now, link = snapshot(), scripted()
    steps = planned(batch.resize_marked(marked(now, 1, 2, 3), lambda: now), buffers=600)
    submission = Submission(link, "hv01")
    link.answer()
    link.answer()

    def waits(words: str) -> None:
        if "queue 2" in words:
            submission.stop()

    summary = await submission.send(steps, waits)
    assert [params["queue_id"] for _, _, params in link.asked] == [1, 2]
    assert summary.endswith(" · 1 not sent (stopped)")


async def test_undo_takes_back_the_rows_that_are_there_and_refuses_those_that_are_gone() -> None:
    now, link = snapshot(), scripted()
    for _ in range(3):
        link.answer()
    steps = planned(batch.resize_marked(marked(now, 1, 2, 3), lambda: now), buffers=600)
    submission, _ = await sent(steps, link)
    change = change_of(ended(submission), "hv01", 0.0, 0.0, now.config)
    assert change is not None
    later = snapshot(with_queue(make_config(), 2, generation=99))
    assert hindrance(change, 0.0, later) is None
    taken = planned(undo(change, None, 1.0, lambda: later.config))
    assert [step.hindered() for step in taken if step.hindered is not None] == ["", "that queue is gone", ""]

    changes = Changes()
    changes.made(change)
    link.answer()
    link.answer()
    back, summary = await sent(taken, link)
    assert "1 refused: queue 2 (web-02): that queue is gone" in summary
    changes.taken_back(change, ended(back), change_of(ended(back), "hv01", 0.0, 2.0, later.config))
    again = changes.last("hv01", undone=True)
    assert again is not None
    assert len(again.steps) == 2
    rest = changes.last("hv01")
    assert rest is not None
    gone = hindrance(rest, 0.0, later)
    assert gone is not None
    assert gone.lasting


def ended(submission: Submission) -> Ending:
    ending = submission.ending()
    assert ending is not None
    return ending


async def mark(pilot: Pilot[None], *places: int) -> None:
    """In the view of queues, mark the rows at these places."""
    await pilot.press("2")
    for place in places:
        await pilot.press("home", *["down"] * place, "i")


@pytest.mark.slow
async def test_in_a_table_without_rows_the_keys_of_marks_say_that_there_are_none(dashboard: Running) -> None:
    async with dashboard(ScriptedLink(connection="connected")) as (app, pilot, _):
        for key in ("i", "asterisk"):
            await pilot.press("2", key)
            await told(pilot, app, "no row is shown to be marked")
            app.clear_notifications()
        assert "can be marked" not in notes(app)


@pytest.mark.slow
async def test_marked_queues_move_and_come_back_with_one_key_each(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2")
        await pilot.pause()
        heading = screen_text(app).splitlines()[4]
        await mark(pilot, 1, 4)
        assert "◆ 2 marked" in screen_text(app)
        assert "◆ 1 " in screen_text(app)
        assert screen_text(app).splitlines()[4] == heading, "no column moves or goes for the marks"
        await pilot.press("m")
        await shown(pilot, app, "Move 2 marked queues", "sends 2 requests for 2 rows")
        link.answer()
        link.answer()
        await pilot.press("end", "enter")
        await closed(pilot, app)
        assert [(params["queue_id"], params["cpu"]) for _, _, params in link.asked] == [(1, 7), (4, 7)]
        assert "Move 2 marked queues: 2 done: queue 1 (web-01), queue 4 (sql-02)" in notes(app)
        assert "marked" not in screen_text(app)
        link.publish("hv01", config=with_queue(with_queue(make_config(), 1, cpu=7), 4, cpu=7))
        app.draw_now()
        await pilot.press("u")
        await shown(pilot, app, "Undo the last change", "sends 2 requests for 2 rows")
        link.answer()
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        link.publish("hv01", config=make_config(revision=9))
        app.draw_now()
        await pilot.press("ctrl+y")
        await shown(pilot, app, "Make the last change again")
        link.answer()
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert [(params["queue_id"], params["cpu"]) for _, _, params in link.asked[2:]] == [
            *[(4, 1), (1, 2)],
            *[(1, 7), (4, 7)],
        ]


@pytest.mark.slow
async def test_a_move_is_planned_again_only_for_another_reading_or_processor(
    dashboard: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[None] = []

    def counted(row: QueueView, cpu: int) -> Step:
        planned.append(None)
        return move_queue(row, cpu)

    monkeypatch.setattr(batch, "move_queue", counted)
    async with dashboard() as (app, pilot, link):
        await mark(pilot, 1)
        await pilot.press("m", "end")
        await shown(pilot, app, "Move 1 marked queue", "sends 1 request for 1 row")
        app.draw_now()
        before = len(planned)
        app.draw_now()
        app.draw_now()
        assert len(planned) == before
        link.publish("hv01", stats=make_stats(12))
        app.draw_now()
        assert len(planned) == before + 1


@pytest.mark.slow
async def test_marks_survive_sorting_and_filters_and_escape_removes_them_first(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await mark(pilot, 1, 4)
        await pilot.press("s", "r", "slash", *"sql", "enter")
        await shown(pilot, app, "2 marked, 1 not shown", "/sql")
        await pilot.press("asterisk")
        await shown(pilot, app, "3 marked, 1 not shown")
        await pilot.press("asterisk")
        await shown(pilot, app, "1 marked, 1 not shown")  # only marks that are shown are removed
        await pilot.press("slash", *"nothing", "enter", "asterisk")
        await told(pilot, app, "no row is shown to be marked; other marks stay")
        assert list(app.model.choices.marks.of("queues").values()) == ["queue 1 (web-01)"]
        await pilot.press("slash", *["backspace"] * 10, *"sql", "enter", "asterisk", "4")
        await shown(pilot, app, "3 marked")  # the table of buffers has the same queues
        await pilot.press("2", "escape")
        assert not app.model.choices.marks.of("queues")
        assert "/sql" in screen_text(app)
        await pilot.press("escape")
        assert "/sql" not in screen_text(app)


@pytest.mark.slow
async def test_rows_marked_and_gone_are_told_and_no_other_row_is_changed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await mark(pilot, 1)
        link.publish("hv01", config=with_queue(make_config(), 1, generation=99), stats=None)
        app.draw_now()
        await pilot.press("d")
        await told(pilot, app, "queue 1 (web-01): gone since marked; nothing was done")
        assert len(app.screen_stack) == 1
        await pilot.press("d")
        await opened(pilot, app)


@pytest.mark.slow
async def test_escape_stops_a_batch_and_what_was_done_stays_told(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await mark(pilot, 1, 2, 3)
        await pilot.press("e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "600")
        await shown(pilot, app, "sends 3 requests for 3 rows")
        link.answer()
        await pilot.press("enter")
        await shown(pilot, app, "1 of 3 done", "queue 2 (web-02)", "waiting for hv01", "Stop")
        await pilot.press("escape")
        await shown(pilot, app, "stopping")
        link.answer()
        await shown(pilot, app, "2 done", "1 not sent (stopped)", "Close")
        await pilot.press("escape")
        await closed(pilot, app)
        await told(pilot, app, "1 not sent (stopped)")
        assert list(app.model.choices.marks.of("queues").values()) == ["queue 3 (sql-01)"]
        link.publish("hv01", config=with_queue(with_queue(make_config(), 1, buffers=600), 2, buffers=600))
        app.draw_now()
        await pilot.press("u")
        await shown(pilot, app, "sends 2 requests for 2 rows")


@pytest.mark.slow
async def test_effects_of_a_large_batch_are_asked_for_in_part(dashboard: Running) -> None:
    async with dashboard(link_to("1,024 queues")) as (app, pilot, link):
        await pilot.press("2", "asterisk", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "600")
        await shown(pilot, app, "sends 1,024 requests for 1,024 rows", "992 requests not foreseen")
        assert len(link.wondered) == 32


@pytest.mark.slow
async def test_refusals_known_here_are_told_without_the_engine(dashboard: Running) -> None:
    def unanswered(op: str, params: dict[str, Any]) -> Response:
        raise TimeoutError

    async with dashboard() as (app, pilot, link):
        link.foresee = unanswered
        await mark(pilot, 0, 1)
        await pilot.press("d")
        await shown(pilot, app, "sends 2 requests for 1 of 2 rows", "△ queue 0 (default)", "no preview")


@pytest.mark.slow
async def test_marked_filters_are_cleared(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("3", "i", "i", "x")
        await shown(pilot, app, "Clear 2 marked filters", "sends 2 requests for 2 rows")
        link.answer()
        link.answer("NDIS_STATUS_FILE_NOT_FOUND")
        await pilot.press("y")
        await shown(pilot, app, "1 done", "1 refused: filter 2", "NDIS_STATUS_FILE_NOT_FOUND")
        await pilot.press("enter")
        await closed(pilot, app)


@pytest.mark.slow
async def test_nothing_is_marked_where_nothing_can_be_changed(dashboard: Running) -> None:
    async with dashboard(read_only=True) as (app, pilot, link):
        await pilot.press("2", "i", "asterisk", "d")
        await told(pilot, app, "read-only")
        assert not app.model.choices.marks.of("queues")
    async with dashboard() as (app, pilot, link):
        await mark(pilot, 1)
        await pilot.press("space", "d")
        await told(pilot, app, "this is the past")
        assert len(app.screen_stack) == 1
        assert link.asked == []


COUNT = 24
SCENARIO = Scenario(
    host=HostSpec(name="hv-many", cpus=2),
    adapter=[
        AdapterSpec(
            buffers=16384,
            queue=[
                QueueSpec(
                    name=f"vm-{n:02}",
                    vm=f"vm-{n:02}",
                    cpu=0,
                    buffers=256,
                    filter=[FilterSpec(mac=f"00:15:5d:00:01:{n:02x}", vlan=10)],
                )
                for n in range(1, COUNT + 1)
            ],
        )
    ],
)


@pytest.mark.slow
async def test_many_queues_of_a_real_engine_move_come_back_and_are_freed(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO)
    async with BusLink() as link:
        app = VmqApp(link)
        async with app.run_test(size=(120, 40)) as pilot:

            async def count(cpu: int, expected: int) -> None:
                await until(
                    lambda: sum(row.cpu == cpu for row in app.model.snapshot.queues) == expected,
                    what=f"{expected} queues on processor {cpu}",
                    between=lambda: pilot.pause(0.02),
                )

            await link.connect(engine.url)
            await count(0, COUNT + 1)
            await pilot.press("2", "asterisk", "home", "i")  # all but the default queue
            await pilot.press("m", "end")
            await shown(pilot, app, f"sends {COUNT} requests for {COUNT} rows", "≈ queue 1 (vm-01)")
            await pilot.press("enter")
            await closed(pilot, app)
            await count(1, COUNT)
            await pilot.press("u")
            await shown(pilot, app, f"sends {COUNT} requests for {COUNT} rows")
            await pilot.press("enter")
            await closed(pilot, app)
            await count(1, 0)
            await pilot.press("ctrl+y")
            await shown(pilot, app, f"sends {COUNT} requests for {COUNT} rows")
            await pilot.press("enter")
            await closed(pilot, app)
            await count(1, COUNT)

            # Buffers are left for some of them: the others are refused, and the undo is of those done.
            await pilot.press("asterisk", "home", "i", "e")
            await opened(pilot, app)
            await type_into(pilot, app, "buffers", "1024")
            await shown(pilot, app, "which is not enough for all", f"for {COUNT} rows")
            await pilot.press("enter")
            done = await shown(pilot, app, "done:", "refused:", "NDIS_STATUS_RESOURCES")
            grown = int(done.split(" done:")[0].split()[-1])
            assert 0 < grown < COUNT
            await pilot.press("escape", "escape")
            await closed(pilot, app)
            await pilot.press("u")
            await shown(pilot, app, f"sends {grown} requests for {grown} rows")
            await pilot.press("enter")
            await closed(pilot, app)

            await pilot.press("escape", "asterisk", "d")
            await shown(pilot, app, f"for {COUNT} of {COUNT + 1} rows", "△ queue 0 (default): the default")
            await pilot.press("y")
            await shown(pilot, app, f"{COUNT} done", "1 refused: queue 0 (default): the default queue can't")
            await pilot.press("escape")
            await closed(pilot, app)
            await until(lambda: len(app.model.snapshot.queues) == 1, between=lambda: pilot.pause(0.02))
            await pilot.press("u")
            await told(pilot, app, "nothing to undo", "a freed queue is gone")
