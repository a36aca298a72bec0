"""Marks, and changes of all marked rows: their requests, a reason for each refusal, an undo."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec
import pytest

from engine.telemetry.config import Config
from engine.view.rows import CpuView
from tests.vmqtui.scripted import ScriptedLink, live_link, make_config, make_stats, with_queue
from vmqtui.state import placement
from vmqtui.state.choices import MOST_MARKED, Marks
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks import batch
from vmqtui.tasks.submission import Submission
from vmqtui.tasks.task import Ending, Step, Task, Values
from vmqtui.tasks.undo import Changes, change_of, hindrance, undo

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
