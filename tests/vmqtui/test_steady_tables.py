"""Tables whose rows stay where they are: filters and orders by rates go by more than one second."""

from typing import Any

import pytest

from engine.bus.messages import Status
from engine.view.rates import STEADY_NS
from tests.vmqtui.conftest import LAB_INTERVAL_S, Running, Seen
from tests.vmqtui.scripted import (
    SECOND,
    ScriptedHost,
    ScriptedLink,
    live_link,
    make_config,
    make_stats,
    play,
    with_queue,
)
from vmqtui.columns import COLUMNS
from vmqtui.columns.arrange import OWN_ORDER, SteadyOrder, arrange
from vmqtui.state.choices import TableChoice
from vmqtui.state.model import Model
from vmqtui.views.tables import QueuesView


def arranged(model: Model, table: str, choice: TableChoice, order: SteadyOrder | None = None) -> list[str]:
    """What the rows of a table are called, as a view arranges them."""
    snapshot = model.snapshot
    found = arrange(
        snapshot.rows(table),
        COLUMNS[table],
        choice,
        lambda: {row.identity: row for row in snapshot.steady.rows(table)},
        order,
        OWN_ORDER.get(table),
    )
    return [str(getattr(row, "label", row.identity)) for row in found.rows]


def test_pairs_of_the_default_queue_keep_their_places_while_their_rates_are_what_chance_makes_them(
    seen: Seen,
) -> None:
    config, readings = seen
    link = lab_link(config)
    model, order = following(link), SteadyOrder()
    before: list[str] = []
    settled, swaps = round(STEADY_NS / SECOND / LAB_INTERVAL_S), []
    for stats in readings:
        link.publish("hv01", stats=stats)
        model.take()
        now = arranged(model, "top", TableChoice(), order)[:15]
        stayed = [one for one in before if one in now]
        swaps.append(stayed != [one for one in now if one in before])
        before = now
    assert len(before) == 15
    assert sum(swaps[settled:]) <= 1
    assert now[:2] == ["app-01", "log-01"]


def following(link: ScriptedLink) -> Model:
    model = Model(link, "hv01")
    model.take()
    return model


def lab_link(config: Any) -> ScriptedLink:
    link = ScriptedLink(connection="connected")
    link.views["hv01"] = ScriptedHost(status=Status(state="online", started_at=1.0), config=config)
    return link


@pytest.mark.parametrize("filter_", ["drops>0", "drops>=1"])
def test_a_filter_by_drops_keeps_a_queue_that_drops_in_bursts(seen: Seen, filter_: str) -> None:
    config, readings = seen
    link = lab_link(config)
    model = following(link)
    found = []
    for stats in readings:
        link.publish("hv01", stats=stats)
        model.take()
        found.append("backup-01" in arranged(model, "queues", TableChoice(filter=filter_)))
    first = found.index(True)
    assert first * LAB_INTERVAL_S < 4
    assert all(found[first:])


def test_the_order_by_a_rate_settles_and_stays(seen: Seen) -> None:
    config, readings = seen
    link = lab_link(config)
    model, order = following(link), SteadyOrder()
    changes, last = [], None
    for stats in readings:
        link.publish("hv01", stats=stats)
        model.take()
        now = arranged(model, "queues", TableChoice(sort=("pps", True)), order)
        changes.append(now != last)
        last = now
    settled = round(STEADY_NS / SECOND / LAB_INTERVAL_S)
    assert sum(changes[settled:]) <= 1


def _column(key: str) -> Any:
    return next(one for one in COLUMNS["queues"] if one.key == key)


class Row:
    """A row with one rate."""

    def __init__(self, name: str, pps: float | None) -> None:
        self.identity = self.label = name
        self.pps = pps


@pytest.mark.parametrize(
    ("then", "order"),
    [
        ({"a": 100, "b": 104}, "ab"),
        ({"a": 91, "b": 108}, "ab"),
        ({"a": 100, "b": 120}, "ba"),
        ({"a": 80, "b": 99}, "ba"),
        ({"a": 0, "b": 99}, "ba"),
        ({"a": None, "b": 99}, "ba"),
        ({"a": 100, "b": 99, "c": 101}, "cab"),
    ],
)
def test_a_rate_that_changed_by_less_than_a_tenth_moves_no_row(
    then: dict[str, float | None], order: str
) -> None:
    column, kept, choice = _column("pps"), SteadyOrder(), TableChoice(sort=("pps", True))
    for rates in ({"a": 100, "b": 99}, then):
        rows = [Row(name, pps) for name, pps in rates.items()]
        found = arrange(rows, (column,), choice, None, kept)
    assert "".join(row.label for row in found.rows) == order
    again = arrange(rows, (column,), TableChoice(sort=("pps", False)), None, kept)
    exact = sorted((row for row in rows if row.pps is not None), key=lambda row: row.pps or 0)
    assert [row for row in again.rows if row.pps is not None] == exact


def test_equal_rates_keep_the_order_in_which_rows_come() -> None:
    column, kept = _column("pps"), SteadyOrder()
    rows = [Row(name, 5.0) for name in "dacb"]
    for reverse in (True, False):
        found = arrange(rows, (column,), TableChoice(sort=("pps", reverse)), None, kept)
        assert found.rows == rows


def test_a_moment_of_the_past_is_filtered_by_the_time_before_it(seen: Seen) -> None:
    config, readings = seen
    link = lab_link(config)
    model = following(link)
    choice, shown = TableChoice(filter="drops>0"), {}
    for stats in readings:
        link.publish("hv01", stats=stats)
        model.take()
        shown[stats.seq] = arranged(model, "queues", choice)
    model.pause()
    for _ in range(40):
        assert model.snapshot.stats is not None
        assert arranged(model, "queues", choice) == shown[model.snapshot.stats.seq]
        model.step(-1)


def test_what_is_shown_stays_the_rate_of_a_second() -> None:
    link = live_link()
    model = following(link)
    for number in range(1, 80):
        link.publish("hv01", stats=make_stats(number))
        model.take()
    snapshot = model.snapshot
    assert snapshot.span_s == 1
    assert snapshot.steady.span_s is not None
    assert STEADY_NS / SECOND <= snapshot.steady.span_s <= 1.25 * STEADY_NS / SECOND + 0.25


@pytest.mark.slow
async def test_the_screen_filters_so(dashboard: Running, seen: Seen) -> None:
    config, readings = seen
    link = lab_link(config)
    async with dashboard(link) as (app, pilot, _):
        for stats in readings[:32]:
            link.publish("hv01", stats=stats)
            app.draw_now()
        await pilot.press("2", "slash", *["d", "r", "o", "p", "s", "greater_than_sign", "0", "enter"])
        for stats in readings[32:]:
            link.publish("hv01", stats=stats)
            app.draw_now()
            rows = app.screen.query_one(QueuesView).table.rows
            assert "backup-01" in [getattr(row, "label", "") for row in rows]


def test_a_new_queue_is_judged_by_what_there_is_of_it() -> None:
    link = live_link()
    model = following(link)
    play(link, 1, 40)
    model.take()
    again = with_queue(make_config(), 7, generation=99)
    stats = make_stats(41, revision=again.revision)
    columns = stats.adapters["nic0"].queues
    columns["generation"][7] = 99
    link.publish("hv01", config=again, stats=stats)
    model.take()
    assert "file-01" not in arranged(model, "queues", TableChoice(filter="pps>0"))
