"""Marked rows on the screen, and changes of all of them: a preview, a confirmation, an undo."""

from typing import Any

import pytest
from textual.pilot import Pilot

from engine.bus.messages import Response
from engine.scenario.model import AdapterSpec, FilterSpec, HostSpec, QueueSpec, Scenario
from engine.view.rows import QueueView
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, notes, opened, shown, told, type_into
from tests.vmqtui.hosts import link_to
from tests.vmqtui.scripted import ScriptedLink, make_config, make_stats, with_queue
from vmqtui.app import VmqApp
from vmqtui.link import BusLink
from vmqtui.pytest_plugin import StartEngine
from vmqtui.tasks import batch
from vmqtui.tasks.queues import move_queue
from vmqtui.tasks.task import Step
from vmqtui.testing import until

pytestmark = pytest.mark.slow


async def mark(pilot: Pilot[None], *places: int) -> None:
    """In the view of queues, mark the rows at these places."""
    await pilot.press("2")
    for place in places:
        await pilot.press("home", *["down"] * place, "i")


async def test_in_a_table_without_rows_the_keys_of_marks_say_that_there_are_none(dashboard: Running) -> None:
    async with dashboard(ScriptedLink(connection="connected")) as (app, pilot, _):
        for key in ("i", "asterisk"):
            await pilot.press("2", key)
            await told(pilot, app, "no row is shown to be marked")
            app.clear_notifications()
        assert "can be marked" not in notes(app)


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


async def test_effects_of_a_large_batch_are_asked_for_in_part(dashboard: Running) -> None:
    async with dashboard(link_to("1,024 queues")) as (app, pilot, link):
        await pilot.press("2", "asterisk", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "600")
        await shown(pilot, app, "sends 1,024 requests for 1,024 rows", "992 requests not foreseen")
        assert len(link.wondered) == 32


async def test_refusals_known_here_are_told_without_the_engine(dashboard: Running) -> None:
    def unanswered(op: str, params: dict[str, Any]) -> Response:
        raise TimeoutError

    async with dashboard() as (app, pilot, link):
        link.foresee = unanswered
        await mark(pilot, 0, 1)
        await pilot.press("d")
        await shown(pilot, app, "sends 2 requests for 1 of 2 rows", "△ queue 0 (default)", "no preview")


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
