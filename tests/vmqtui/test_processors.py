"""The matrix of processors and queues: what a move would do, what it did, and its two keys."""

import msgspec
import pytest

from engine.telemetry.config import Config
from engine.view.rows import CpuView, QueueView
from tests.slow import slow_but
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, opened, shown, told
from tests.vmqtui.scripted import VMS, live_link, make_config, make_stats, play, with_queue
from vmqtui.actions import ACTIONS, MATRIX
from vmqtui.app import VmqApp
from vmqtui.columns import COLUMNS
from vmqtui.state.placement import cost_of, followed, forecast, intended, load_of
from vmqtui.state.snapshot import Snapshot
from vmqtui.widgets.matrix import MatrixTable, _marks

SNAPSHOT = Snapshot("hv01", None, make_config(), make_stats(8), make_stats(4))
WEB = 1
PER_BYTE = dict.fromkeys(("cycles_per_frame", "cycles_per_dpc", "cycles_per_interrupt"), 1.0) | {
    "cycles_per_byte": 10.0
}


def queue(snapshot: Snapshot, queue_id: int = WEB) -> QueueView:
    return next(row for row in snapshot.queues if row.queue_id == queue_id)


def matrix(app: VmqApp) -> MatrixTable:
    return app.screen.query_one("#processors-cpus", MatrixTable)


def test_loads_of_a_processors_queues_add_up_to_its_load() -> None:
    model = make_config().cpu_model
    for cpu in SNAPSHOT.cpus:
        loads = [load_of(one, cpu, model) for one in cpu.queues]
        assert sum(load or 0.0 for load in loads) == pytest.approx(cpu.load)


def test_move_takes_the_queues_part_from_one_and_gives_it_to_the_other() -> None:
    found = forecast(SNAPSHOT, queue(SNAPSHOT), 7)
    assert found is not None
    assert found.source.before is not None
    assert found.source.after is not None
    assert (found.source.processor, found.target.processor) == ("0:2", "0:7")
    assert found.target.after == pytest.approx(found.source.before - found.source.after)
    assert (found.source.queues_before, found.source.queues_after) == (3, 2)
    assert (found.target.queues_before, found.target.queues_after) == (0, 1)
    assert found.warnings == ()


def test_move_to_where_it_is_changes_nothing() -> None:
    found = forecast(SNAPSHOT, queue(SNAPSHOT), 2)
    assert found is not None
    assert (found.source.before, found.source.queues_before) == (
        found.source.after,
        found.source.queues_after,
    )


def test_move_to_another_node_costs_more_and_says_so() -> None:
    config = make_config()
    cpus = [msgspec.structs.replace(cpu, numa_node=cpu.id // 4) for cpu in config.cpus]
    far = Snapshot("hv01", None, msgspec.structs.replace(config, cpus=cpus), make_stats(8), make_stats(4))
    near, remote = forecast(far, queue(far), 3), forecast(far, queue(far), 7)
    assert near is not None
    assert remote is not None
    assert near.target.before is not None
    assert near.target.after is not None
    assert remote.target.after is not None
    assert remote.target.after > near.target.after - near.target.before
    assert remote.warnings == ("0:7 is on NUMA node 1, the adapter's buffers on 0",)


def test_move_beside_a_busy_hyper_thread_says_so() -> None:
    config = make_config()
    cpus = [msgspec.structs.replace(cpu, core=cpu.id // 2) for cpu in config.cpus]
    config = msgspec.structs.replace(config, cpus=cpus, hyperthreading=True)
    smt = Snapshot("hv01", None, config, make_stats(8), make_stats(4))
    found = forecast(smt, queue(smt), 7)
    assert found is not None
    assert found.warnings == ("0:7 shares a core with 0:6, which serves queues",)


def test_move_to_a_processor_that_is_down_says_what_becomes_of_the_frames() -> None:
    broken = Snapshot("hv01", None, make_config(), make_stats(8, down=[7]), make_stats(4, down=[7]))
    found = forecast(broken, queue(broken), 7)
    assert found is not None
    assert found.warnings == ("0:7 is down: frames for its queues are lost",)


@pytest.mark.slow
async def test_a_processor_that_is_down_is_seen_at_every_size_and_brought_back(dashboard: Running) -> None:
    for size in ((80, 24), (120, 40), (200, 60)):
        link = live_link()
        async with dashboard(link, size=size) as (app, pilot, _):
            play(link, 1, 20, down=[2])
            app.draw_now()
            await pilot.pause()
            assert "▲ CPU 0:2 is down" in screen_text(app).splitlines()[0]
            assert "▲down" in screen_text(app)
            await pilot.press("5")
            await pilot.pause()
            [row] = [line for line in screen_text(app).splitlines() if line.lstrip("│▌ ").startswith("0:2 ")]
            assert "▲down" in row
            if size[0] == 80:
                continue
            await pilot.press("b")
            await opened(pilot, app)
            link.answer()
            await pilot.press("enter")
            await closed(pilot, app)
            assert [(op, params) for _, op, params in link.asked] == [("restart_worker", {"cpu": 2})]


async def test_with_no_processor_down_there_is_nothing_to_bring_back(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("b")
        await told(pilot, app, "no processor is down")
        assert not link.asked


def test_forecast_without_rates_is_unknown() -> None:
    alone = Snapshot("hv01", None, make_config(), make_stats(8))
    found = forecast(alone, queue(alone), 7)
    assert found is not None
    assert (found.source.after, found.target.after) == (None, None)
    assert cost_of(queue(alone), {}, remote=False) is None


def test_lookahead_split_copies_only_its_part() -> None:
    whole = cost_of(queue(SNAPSHOT), PER_BYTE, remote=False)
    split = Snapshot(
        "hv01", None, with_queue(make_config(), WEB, lookahead_bytes=128), make_stats(8), make_stats(4)
    )
    part = cost_of(queue(split), PER_BYTE, remote=False)
    frames = queue(SNAPSHOT).rate("indicated_frames")
    assert whole is not None
    assert part is not None
    assert frames is not None
    assert whole - part == pytest.approx(frames * (620 - 128) * 10)


def test_loads_after_a_move_are_shown_once_they_are_of_the_time_after_it() -> None:
    proposal = forecast(SNAPSHOT, queue(SNAPSHOT), 7)
    assert proposal is not None
    move = followed(intended(proposal), SNAPSHOT)
    assert move.at_ns is None
    config = with_queue(make_config(), WEB, cpu=7)
    for seq, measured in ((9, False), (10, False), (13, True)):
        now = Snapshot("hv01", None, config, make_stats(seq), make_stats(seq - 4))
        move = followed(move, now)
        assert move.measured is measured
        assert (move.target.after is not None) is measured
    assert move.source.before == proposal.source.before


def test_backlog_is_what_the_queues_hold() -> None:
    column = next(one for one in COLUMNS["cpus"] if one.key == "backlog")
    for cpu in SNAPSHOT.cpus:
        assert column.value(cpu) == sum(one.count("pending") or 0 for one in cpu.queues)


def test_keys_of_the_matrix_stand_before_those_that_change_the_view_and_no_others() -> None:
    taken = {key: action.id for action in ACTIONS if action.applies("processors") for key in action.keys}
    assert [taken.get(key) for action in MATRIX for key in action.keys] == ["previous_view", "next_view"]


async def test_queue_is_moved_after_confirmation_and_before_and_after_are_shown(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("5", "right", "right")
        assert matrix(app).queue is not None
        assert matrix(app).queue.label == "sql-01"  # type: ignore[union-attr]  # None fails the test
        assert matrix(app).target is None
        await pilot.press("down")
        text = screen_text(app)
        assert "before" in text
        assert "3 → 2 queues" in text
        assert "2 → 3 queues" in text
        await pilot.press("m")
        await shown(pilot, app, "Move queue 3 (sql-01)")
        assert link.asked == []
        assert link.wondered == [("set_queue_parameters", {"adapter": "nic0", "queue_id": 3, "cpu": 3})]
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked == [("hv01", "set_queue_parameters", {"adapter": "nic0", "queue_id": 3, "cpu": 3})]
        assert "sql-01 moved" not in screen_text(app)
        link.publish("hv01", config=with_queue(make_config(), 3, cpu=3))
        play(link, 21, 21)
        app.draw_now()
        await pilot.pause()
        assert "✓ sql-01 moved 0:2 → 0:3" in screen_text(app)
        assert "measuring" in screen_text(app)
        assert matrix(app).queue.label == "sql-01"  # type: ignore[union-attr]  # None fails the test
        play(link, 22, 26)
        app.draw_now()
        await pilot.pause()
        assert "measuring" not in screen_text(app)


async def test_the_matrix_begins_at_the_busiest_queue_of_the_hottest_processor_and_stays(
    dashboard: Running,
) -> None:
    link = live_link()
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("5")
        assert (cursor(app), matrix(app).target) == (("default", 0), None)  # no load is known yet
        play(link, 1, 8)
        app.draw_now()
        assert (cursor(app), matrix(app).target) == (("web-01", 2), None)
        vms = [(name, vm, cpu, 900_000 if name == "file-01" else 9) for name, vm, cpu, _ in VMS]
        for seq in range(9, 30):
            link.publish("hv01", stats=make_stats(seq, vms=vms))
        app.draw_now()
        assert cursor(app) == ("web-01", 2)


@pytest.mark.parametrize("key", ["down", "right"])
async def test_the_matrix_stays_where_the_user_went_before_loads_are_known(
    dashboard: Running, key: str
) -> None:
    link = live_link()
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("5", key)
        before = cursor(app)
        play(link, 1, 8)
        app.draw_now()
        assert cursor(app) == before != ("default", 0)


def cursor(app: VmqApp) -> tuple[str, int]:
    """The queue and the processor of the cursor."""
    row, queue = matrix(app).row, matrix(app).queue
    assert isinstance(row, CpuView)
    assert queue is not None
    return queue.label, row.cpu


async def test_queues_of_several_adapters_are_told_apart(dashboard: Running) -> None:
    adapters = ("nic0", "nic1")
    link = live_link(adapters=adapters)
    play(link, 4, 4, adapters=adapters)
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("5")
        heading = matrix(app).render_line(0).text
        assert heading.split("│")[1].split()[:4] == ["0·0", "1·0", "0·4", "0·5"]
        await pilot.press("right")
        assert "queue 0 of nic1 on 0:0" in screen_text(app)


@pytest.mark.parametrize(
    ("names", "marks"),
    [
        (["nic0", "nic1"], ["0", "1"]),
        (["nic", "nic1"], ["nic", "nic1"]),
        (["a", "b"], ["a", "b"]),
        (["nic0"], [""]),
        ([], []),
    ],
)
def test_what_tells_adapters_apart_is_the_end_of_their_names(names: list[str], marks: list[str]) -> None:
    assert list(_marks(names).values()) == marks


async def test_what_speaks_against_a_move_is_seen_on_a_small_screen(dashboard: Running) -> None:
    link = live_link()
    config = make_config()
    cpus = [msgspec.structs.replace(cpu, numa_node=cpu.id // 4) for cpu in config.cpus]
    config = msgspec.structs.replace(config, cpus=cpus)
    for seq in (4, 8):
        link.publish("hv01", stats=make_stats(seq), config=config)
    async with dashboard(link, size=(80, 24)) as (app, pilot, _):
        await pilot.press("5", "end")
        await pilot.pause()
        text = screen_text(app)
        assert "△ 0:7 is on NUMA node 1" in text
        assert "1 → 0 queues" in text


@pytest.mark.parametrize("name", ["web-01", "vm-0001" + "x" * 57])
async def test_nothing_of_a_move_is_cut_on_a_small_screen(dashboard: Running, name: str) -> None:
    vms = [(one, vm, cpu, pps) if vm != "web-01" else (name, name, cpu, pps) for one, vm, cpu, pps in VMS]
    link = live_link(vms=vms)
    play(link, 1, 9, vms=vms)
    async with dashboard(link, size=(80, 24)) as (app, pilot, _):
        for seq in range(10, 16):
            link.publish("hv01", stats=make_stats(seq, vms=vms))
            app.draw_now()
        await pilot.press("5")
        await pilot.pause()
        lines = before_and_after(app)
        assert ("…" in lines[0]) == (name != "web-01")
        assert lines[0].rstrip().endswith(("/s", "of a processor"))
        assert "backlog" in lines[1]
        assert "…" not in "".join(lines[1:])
        await pilot.press("down")
        await pilot.pause()
        lines = before_and_after(app)
        assert lines[0].rstrip().endswith(("/s", "of a processor"))
        assert sum(" → " in line for line in lines[1:]) == 2


async def test_both_processors_of_a_move_are_seen_on_a_small_screen(dashboard: Running) -> None:
    async with dashboard(size=(80, 24)) as (app, pilot, link):
        await pilot.press("5", "right", "right", "down")
        await pilot.pause()
        assert [line.split()[0] for line in before_and_after(app)] == ["sql-01", "0:2", "0:3", "△"]
        await pilot.press("m")
        await shown(pilot, app, "Move queue 3 (sql-01)")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        for first, last in ((21, 21), (22, 26)):  # before it is measured, and after
            link.publish("hv01", config=with_queue(make_config(), 3, cpu=3))
            play(link, first, last)
            app.draw_now()
            await pilot.pause()
            lines = before_and_after(app)
            assert [line.split()[0] for line in lines] == ["sql-01", "✓", "0:2", "0:3"]
            assert "✓ sql-01 moved 0:2 → 0:3" in lines[1]


def before_and_after(app: VmqApp) -> list[str]:
    """The lines of the panel below the matrix."""
    lines = screen_text(app).splitlines()
    begin = next(n for n, line in enumerate(lines) if "Before and after" in line)
    return lines[begin + 1 : begin + 5]


async def test_refused_move_stays_on_the_screen(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("5", "down")
        link.answer("NDIS_STATUS_INVALID_PARAMETER", "queue 0 is another driver's")
        await pilot.press("m", "enter")
        await shown(pilot, app, "NDIS_STATUS_INVALID_PARAMETER")
        await pilot.press("escape")
        await closed(pilot, app)
        assert "moved" not in screen_text(app)


async def test_going_to_another_queue_leaves_a_proposal(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("5", "down")
        assert matrix(app).target == 3
        await pilot.press("right")
        assert matrix(app).target is None
        assert matrix(app).queue.label == "web-02"  # type: ignore[union-attr]  # None fails the test


async def test_read_only_matrix_offers_no_move(dashboard: Running) -> None:
    async with dashboard(read_only=True) as (app, pilot, link):
        await pilot.press("5", "down", "m")
        await pilot.pause()
        assert "moves it" not in screen_text(app)
        assert len(app.screen_stack) == 1
        assert link.asked == []


async def test_other_keys_act_on_the_queue_of_the_column(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("5", "right", "e")
        await shown(pilot, app, "Resize or rename queue 2")


async def test_click_chooses_queue_and_processor(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("5")
        await pilot.pause()
        table = matrix(app)
        edge = 1 + table._room + 3
        await pilot.click(table, offset=(1 + edge + sum(table._across()[0][:3]), 1 + 8))
        await pilot.pause()
        assert table.queue is not None
        assert (table.queue.label, table.target) == ("web-01", 7)


@pytest.mark.parametrize("cells", slow_but([9, 40], [9, 20, 40, 64]))
@pytest.mark.parametrize("size", slow_but([(120, 40)], [(120, 40), (200, 60)]), ids=["120x40", "200x60"])
async def test_no_name_across_is_cut_beside_empty_space(
    dashboard: Running, size: tuple[int, int], cells: int
) -> None:
    vms = [("default", None, 0, 9), *((name := f"vm-{n}".ljust(cells, "x"), name, n, n) for n in range(1, 5))]
    link = live_link(vms=vms)
    link.publish("hv01", stats=make_stats(3, vms=vms))
    async with dashboard(link, size=size) as (app, pilot, _):
        await pilot.press("5")
        await pilot.pause()
        table = matrix(app)
        heading = "".join(text for text, _ in table._heading()).rstrip()
        whole = [name for name, *_ in vms if f"{name} " in f"{heading} "]
        needs = sum(len(name) for name, *_ in vms) + len(vms)
        assert len(whole) == len(vms) or sum(table._across()[0]) == table._width - table._room - 3
        assert len(whole) == len(vms) or needs > table._width - 34 - 3
        assert "default" in whole


@pytest.mark.slow
async def test_thousand_queues_scroll_with_the_cursor(dashboard: Running) -> None:
    vms = [("default", None, 0, 9), *((f"vm-{n}", f"vm-{n}", n % 64, n) for n in range(1, 1024))]
    link = live_link(vms=vms, cpus=64)
    for seq in (3, 7):
        link.publish("hv01", stats=make_stats(seq, vms=vms, cpus=64))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("5")
        await pilot.pause()
        assert "of 1,024 across" in str(matrix(app).border_subtitle)
        for _ in range(30):
            await pilot.press("right")
        assert matrix(app)._column in matrix(app)._seen()
        assert matrix(app).row is not None
        assert matrix(app).queue.cpu == matrix(app).row.cpu  # type: ignore[union-attr]  # None fails the test


def with_set(**keys: object) -> Config:
    """The configuration, with a processor set of its adapter."""
    config = make_config()
    adapter = msgspec.structs.replace(config.adapters[0], **keys)
    return msgspec.structs.replace(config, adapters=[adapter], revision=8)


def test_a_move_out_of_the_adapters_set_is_warned_of() -> None:
    config = with_set(base_processor="0:1", max_processors=4)
    snapshot = Snapshot("hv01", None, config, SNAPSHOT.stats, SNAPSHOT.before)
    outside, inside = forecast(snapshot, queue(snapshot), 7), forecast(snapshot, queue(snapshot), 4)
    assert outside is not None
    assert inside is not None
    assert outside.warnings == ("0:7 is outside the adapter's set, 0:1..0:4",)
    assert inside.warnings == ()


async def test_the_matrix_has_dots_where_the_set_is_and_marks_queues_outside_it(dashboard: Running) -> None:
    link = live_link()
    stats = msgspec.structs.replace(make_stats(12), revision=8)
    link.publish("hv01", config=with_set(base_processor="0:1", max_processors=3), stats=stats)
    async with dashboard(link, size=(120, 40)) as (app, pilot, _):
        await pilot.press("5")
        await shown(pilot, app, "Processors 8")
        rows = {
            line[3:8].strip(): line
            for line in screen_text(app).splitlines()
            if line[:2] == "│ " or "▌" in line[:3]
        }
        assert "△" in rows["0:4"].partition(" │ ")[2]
        assert "△" not in rows["0:2"].partition(" │ ")[2]
        assert "·   ·" not in rows["0:7"].partition(" │ ")[2]
        await pilot.press(*["right"] * 9)
        await shown(pilot, app, "△ outside its adapter's set: 0:1..0:3")
