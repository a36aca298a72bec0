"""Simulated time on the wall clock, and what happens when the machine can't keep it there."""

import asyncio
import statistics
from typing import Any

import psutil
import pytest

from engine.bus.host_view import HostView
from engine.bus.watcher import Watcher
from engine.scenario.load import loads
from engine.service.pacing import FIRST_STEP_NS, LONGEST_STEP_NS, MOST_BEHIND_NS, RealTimePacer
from engine.telemetry.stats import Stats
from tests.service.test_engine import check_identities
from vmqtui.pytest_plugin import StartEngine

MS = 1_000_000
S = 1000 * MS
START = 5 * S


def test_simulated_time_is_due_as_long_after_the_start_as_it_says() -> None:
    pacer = RealTimePacer(START)
    assert pacer.due_ns(0) == START
    assert pacer.due_ns(3 * S) == START + 3 * S
    assert pacer.behind_ns(3 * S, START + 3 * S + 7) == 7
    assert pacer.behind_ns(3 * S, START + 2 * S) == 0


def test_up_to_a_second_of_delay_is_made_up_for() -> None:
    pacer = RealTimePacer(START)
    pacer.stepped(S, START + 2 * S, 5 * MS, 1)
    assert pacer.given_up_ns == 0
    assert pacer.due_ns(2 * S) == START + 2 * S


def test_delay_beyond_a_second_is_given_up_and_counted() -> None:
    pacer = RealTimePacer(START)
    wall = START
    for step in range(1, 101):
        wall += 10 * S
        pacer.stepped(step * S, wall, 5 * MS, 1)
        assert pacer.behind_ns(step * S, wall) <= MOST_BEHIND_NS
        assert step * S + pacer.behind_ns(step * S, wall) + pacer.given_up_ns == wall - START
    # On time again after one second, not after the quarter of an hour that was lost.
    assert pacer.due_ns(101 * S) == wall


def test_steps_grow_while_they_are_short_and_shrink_to_what_takes_50_ms() -> None:
    pacer = RealTimePacer(START)
    assert pacer.step_ns == FIRST_STEP_NS
    for _ in range(20):
        pacer.stepped(0, START, MS, 1)
    assert pacer.step_ns == LONGEST_STEP_NS
    pacer.stepped(0, START, 500 * MS, 100)
    assert pacer.step_ns == LONGEST_STEP_NS // 10
    pacer.start_over()
    assert pacer.step_ns == FIRST_STEP_NS


def test_a_step_is_never_cut_below_one_round_however_long_that_takes() -> None:
    """On a machine that is busy with other things, shorter steps would do less for the same price."""
    pacer = RealTimePacer(START)
    for _ in range(10):
        pacer.stepped(0, START, MS, 1)
    before = pacer.step_ns
    for _ in range(100):
        pacer.stepped(0, START, 10 * S, 1)
    assert pacer.step_ns == before
    pacer.stepped(0, START, 10 * S, 4)
    assert pacer.step_ns == before // 4


def test_steps_grow_on_a_machine_on_which_even_the_shortest_is_slow() -> None:
    pacer = RealTimePacer(START)
    for _ in range(20):
        pacer.stepped(0, START, 10 * S, 1)
    assert pacer.step_ns == LONGEST_STEP_NS


def test_the_ratio_is_that_of_the_last_second() -> None:
    pacer = RealTimePacer(START)
    assert pacer.real_time_ratio(0, START) is None
    sim = 0
    for tick in range(1, 31):
        sim += 100 * MS if tick <= 15 else 25 * MS
        ratio = pacer.real_time_ratio(sim, START + tick * 100 * MS)
        if tick <= 15:
            assert ratio == 1
    assert ratio == 0.25


SCENARIO = """
[host]
name = "lab"
cpus = 2
[[adapter]]
name = "nic0"
link_gbps = 1000
buffers = 4096
  [[adapter.queue]]
  vm = "a"
  cpu = 1
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:01"
[traffic]
seed = 3
[[traffic.mix]]
rate_pps = 500_000_000
  [[traffic.mix.flow]]
  mac = "00:15:5d:00:00:01"
  frame_bytes = 60
"""
INTERVAL_S = 0.1
OVERLOADED_READINGS = 20


@pytest.mark.slow
async def test_an_engine_that_cannot_keep_up_says_so_stays_usable_and_recovers(
    vmq_engine: StartEngine,
) -> None:
    """Half a billion frames a second for some seconds, then a thousand.

    Time is counted in readings: a busy machine delays these as it delays answers.
    """
    engine = await vmq_engine(loads(SCENARIO, "test"), interval_s=INTERVAL_S)
    readings: list[Stats] = []
    while_waiting: list[int] = []
    async with Watcher(engine.url) as watcher:
        assert await watcher.wait_for(lambda: "lab" in watcher.hosts, 60)
        view = watcher.hosts["lab"]

        async def ask(op: str, params: dict[str, Any]) -> None:
            before = view.stats_received
            response = await watcher.request("lab", op, params, timeout=60)
            while_waiting.append(view.stats_received - before)
            assert response.status == "ok"

        rss = psutil.Process().memory_info().rss
        while len(readings) < OVERLOADED_READINGS or readings[-1].given_up_ns == 0:
            readings.append(await next_reading(watcher, view))
            await asyncio.gather(*(ask("ping", {}) for _ in range(5)))
        grown = psutil.Process().memory_info().rss - rss
        overloaded = readings[-1]

        await ask("set_traffic", {"mix": [{"rate_pps": 1000, "flow": [{"kind": "broadcast"}]}]})
        while (stats := await next_reading(watcher, view)).behind_ns > 100 * MS:
            assert stats.seq < overloaded.seq + 200
        recovered = stats

    assert overloaded.real_time_ratio is not None
    assert overloaded.real_time_ratio < 0.7
    assert overloaded.given_up_ns > 0
    assert 0.5 * S < overloaded.behind_ns < 3 * S
    assert recovered.given_up_ns >= overloaded.given_up_ns
    first = readings[0]
    for stats in readings:
        check_identities(stats)
        passed = stats.time_ns - first.time_ns
        told = [one.sim_time_ns + one.behind_ns + one.given_up_ns for one in (first, stats)]
        assert told[1] - told[0] == pytest.approx(passed, abs=S / 2)
    assert max(while_waiting) <= 10
    assert statistics.median(while_waiting) <= 2
    assert grown < 64 << 20


async def next_reading(watcher: Watcher, view: HostView) -> Stats:
    """The next one."""
    seen = view.stats_received
    assert await watcher.wait_for(lambda: view.stats_received > seen, 60)
    assert view.stats is not None
    return view.stats
