"""The balancer on the screen: that it is on, where it has queues away from home, and how it is set."""

import msgspec
import pytest

from engine.telemetry.config import Config
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, shown
from tests.vmqtui.scripted import live_link, make_config, make_stats, with_queue
from vmqtui.state.placement import balancer_words
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.host_changes import set_balancer

OFF = {
    "mode": "off",
    "interval_ms": 100,
    "scale_out": 0.8,
    "scale_in": 0.4,
    "cooldown_ms": 1000,
    "max_moves": 4,
}
ON = msgspec.structs.replace(
    with_queue(make_config(), 1, cpu=6, home_cpu=2), balancer=OFF | {"mode": "dynamic"}
)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (make_config(), ""),
        (msgspec.structs.replace(make_config(), balancer=OFF), ""),
        (msgspec.structs.replace(make_config(), balancer=ON.balancer), "balancer on"),
        (ON, "balancer on, 1 away from home (⌂)"),
    ],
    ids=["not told", "off", "on", "away"],
)
def test_what_is_said_of_it(config: Config, words: str) -> None:
    assert balancer_words(Snapshot("hv01", None, config, make_stats(8))) == words


async def test_the_matrix_marks_the_home_of_a_queue_that_is_away(dashboard: Running) -> None:
    link = live_link()
    link.publish("hv01", stats=make_stats(2), config=ON)
    async with dashboard(link, size=(120, 40)) as (app, pilot, _):
        await pilot.press("5")
        await shown(pilot, app, "balancer on, 1 away from home")
        lines = [line for line in screen_text(app).splitlines() if "⌂" in line and " 0:2 " in line]
        assert len(lines) == 1


@pytest.mark.slow
async def test_it_is_turned_on_and_the_change_taken_back(dashboard: Running) -> None:
    link = live_link()
    link.publish("hv01", stats=make_stats(2), config=msgspec.structs.replace(make_config(), balancer=OFF))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("B")
        await shown(pilot, app, "Every, ms")
        link.answer()
        await pilot.press("right", "enter")
        await closed(pilot, app)
        assert link.asked == [("hv01", "set_balancer", {"mode": "dynamic"})]
        await pilot.press("u")
        await shown(pilot, app, "set the balancer's mode = off")


def test_values_that_do_not_fit_each_other_are_refused_before_they_are_sent() -> None:
    task = set_balancer(msgspec.structs.replace(make_config(), balancer=OFF))
    assert not isinstance(task, str)
    with pytest.raises(ValueError, match=r"scale_in: .* is not below scale_out"):
        task.plan(OFF | {"scale_in": 0.9})
    assert task.plan(dict(OFF)) == []


@pytest.mark.parametrize("told", [{}, {"mode": "sideways"}])
def test_an_engine_that_has_none_or_tells_nonsense_ends_in_a_sentence(told: dict[str, str]) -> None:
    assert isinstance(set_balancer(msgspec.structs.replace(make_config(), balancer=told)), str)
