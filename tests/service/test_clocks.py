"""Clocks that a test controls: what happens, and when, depends on the test alone."""

import asyncio
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.service.arguments import ADVANCE_LIMIT_S
from engine.service.engine import UNREAD_LIMIT, Engine
from engine.service.engine_api import EngineEndedError
from engine.telemetry.stats import Stats, known
from tests.service.test_engine import check_identities
from vmqtui.pytest_plugin import StartEngine
from vmqtui.testing import until

MAC = "00:15:5d:00:00:01"
SCENARIO = f"""
[host]
name = "clocked"
cpus = 2

[[adapter]]
name = "nic0"
buffers = 4096
  [[adapter.queue]]
  vm = "web-01"
  cpu = 1
  buffers = 100
  return_delay_us = 500
    [[adapter.queue.filter]]
    mac = "{MAC}"

[[traffic.mix]]
rate_pps = 10_000
  [[traffic.mix.flow]]
  mac = "{MAC}"
"""


async def manual(start: StartEngine, **options: Any) -> Engine:
    return await start(SCENARIO, clock="manual", **options)


def counters(stats: Stats) -> dict[str, Any]:
    """All of a reading that does not come from a wall clock."""
    return {name: getattr(stats, name) for name in ("seq", "sim_time_ns", "revision", "cpus")} | {
        name: (one.port, one.queues, one.filters, one.freed, one.default_queue)
        for name, one in stats.adapters.items()
    }


def dropped(stats: Stats) -> int:
    return sum(known(stats.adapters["nic0"].queues["dropped_no_buffer"]))


async def test_time_stands_still_until_it_is_advanced_and_then_is_exact(vmq_engine: StartEngine) -> None:
    engine = await manual(vmq_engine)
    assert engine.now_s == 0.0
    reading = await engine.advance(0.1)
    assert reading is engine.stats
    assert reading.sim_time_ns == 100_000_000
    assert reading.adapters["nic0"].port["offered_frames"] == 1000
    assert (await engine.advance(0.2, ns=1)).sim_time_ns == 300_000_001
    assert (await engine.advance()).sim_time_ns == 300_000_001
    assert engine.now_s == pytest.approx(0.300000001)
    check_identities(reading)


async def test_two_runs_with_the_same_requests_give_the_same_document(vmq_engine: StartEngine) -> None:
    async def run() -> list[Any]:
        engine = await manual(vmq_engine)
        readings = [await engine.advance(1.0)]
        await engine.request("pause_vm", vm="web-01")
        readings.append(await engine.advance(9.0))
        events = (await engine.request("query_events")).result["events"]
        return [counters(one) for one in readings] + [one | {"time_ns": 0} for one in events]

    first = await run()
    assert first[1]["sim_time_ns"] == 10_000_000_000
    assert first == await run()


async def test_drops_begin_when_the_buffers_of_a_paused_vm_are_used_up_to_the_millisecond(
    vmq_engine: StartEngine,
) -> None:
    engine = await manual(vmq_engine)
    await engine.advance(1.0)
    await engine.request("pause_vm", vm="web-01")
    steps = 0
    while not dropped(await engine.advance(0.001)):
        steps += 1
    assert steps == 9  # 10 frames a millisecond, and some of the 100 buffers were outstanding


async def test_a_freed_queue_is_gone_exactly_when_its_vm_has_returned_the_last_buffer(
    vmq_engine: StartEngine,
) -> None:
    engine = await manual(vmq_engine)
    await engine.advance(1.0)
    await engine.request("clear_filter", queue_id=1, filter_id=1)
    assert (await engine.request("free_queue", queue_id=1)).ndis_status == "NDIS_STATUS_PENDING"
    await engine.advance(0.25)
    events = (await engine.request("query_events")).result["events"]
    (freed,) = [one for one in events if one["event"] == "queue_freed"]
    assert 1_000_000_000 < freed["sim_time_ns"] <= 1_000_500_000


async def test_a_change_while_time_stands_still_is_in_the_next_reading_at_once(
    vmq_engine: StartEngine,
) -> None:
    engine = await manual(vmq_engine)
    response = await engine.request("allocate_queue", vm="db-01", cpu=0, buffers=64, name="db")
    assert engine.config is not None
    assert engine.stats is not None
    assert response.revision == engine.config.revision == engine.stats.revision
    assert response.result["queue_id"] in engine.stats.adapters["nic0"].queues["id"]
    assert engine.now_s == 0.0


@pytest.mark.slow
async def test_requests_made_while_time_advances_take_effect_at_its_end(vmq_engine: StartEngine) -> None:
    engine = await manual(vmq_engine)
    await asyncio.gather(engine.advance(1.0), engine.request("pause_vm", vm="web-01"), engine.advance(1.0))
    events = (await engine.request("query_events")).result["events"]
    assert [one["sim_time_ns"] for one in events if one["event"] == "vm_paused"] == [1_000_000_000]
    assert engine.now_s == 2.0


async def test_a_cancelled_advance_ends_once_time_stands_still() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        advancing = asyncio.create_task(engine.advance(ADVANCE_LIMIT_S))
        await until(lambda: engine.now_s > 0)
        advancing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await advancing
        now_s = engine.now_s
        assert (await engine.request("ping")).status == "ok"
        assert engine.stats is not None
        assert engine.now_s == now_s == engine.stats.sim_time_ns / 1e9
        assert (await engine.advance(0.5)).sim_time_ns == pytest.approx((now_s + 0.5) * 1e9)


def is_past(engine: Engine, moment_s: float) -> bool:
    return engine.now_s > moment_s


async def test_a_cancelled_advance_of_a_fixtures_engine_ends_once_time_stands_still(
    vmq_engine: StartEngine,
) -> None:
    engine = await vmq_engine(SCENARIO, clock="manual")
    for _ in range(5):
        advancing = asyncio.create_task(engine.advance(ADVANCE_LIMIT_S))
        await until(partial(is_past, engine, engine.now_s))
        advancing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await advancing
        now_s = engine.now_s
        assert (await engine.request("ping")).status == "ok"
        assert engine.now_s == now_s
    at_once = asyncio.create_task(engine.advance(1.0))
    await asyncio.sleep(0)
    at_once.cancel()
    with pytest.raises(asyncio.CancelledError):
        await at_once
    assert (await engine.request("ping")).status == "ok"


async def test_an_engine_that_ends_ends_an_advance() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        advancing = asyncio.create_task(engine.advance(ADVANCE_LIMIT_S))
        await until(lambda: engine.now_s > 0)
    with pytest.raises(EngineEndedError, match="the engine"):
        await advancing
    with pytest.raises(EngineEndedError, match="the engine has ended"):
        await engine.advance(1.0)


async def test_a_time_that_does_not_fit_is_refused_in_a_sentence(vmq_engine: StartEngine) -> None:
    engine = await manual(vmq_engine)
    for seconds in (-1.0, float("nan"), float("inf"), ADVANCE_LIMIT_S + 1):
        with pytest.raises(ValueError, match=r"seconds: .* is not a number in 0\.\.315360000"):
            await engine.advance(seconds)
    for ns in (1.5, 1e3, np.float64(1), True, "1", None, -1, 2**70):
        with pytest.raises(ValueError, match=r"^ns: .* is not a whole number in 0\.\.315360000"):
            await engine.advance(ns=ns)  # type: ignore[arg-type]
    assert engine.now_s == 0.0
    for number in (np.float32(0.5), np.float64(0.25), np.int64(1)):
        await engine.advance(number)  # type: ignore[arg-type]
    assert (await engine.advance(ns=np.int64(5))).sim_time_ns == 1_750_000_005  # type: ignore[arg-type]


@pytest.mark.slow
async def test_an_event_loop_that_lags_behind_holds_simulated_time_up(vmq_engine: StartEngine) -> None:
    engine = await manual(vmq_engine, interval_s=0.001)
    lagging = asyncio.create_task(engine.advance(0.2))
    await asyncio.sleep(0)  # it has begun
    began_s = time.monotonic()
    while time.monotonic() - began_s < 0.1:  # the event loop can't process a reading
        assert engine.now_s <= UNREAD_LIMIT * 0.001 + 0.002
    assert (await lagging).sim_time_ns == 200_000_000


@pytest.mark.slow
async def test_a_fast_clock_runs_up_to_a_moment_and_two_runs_give_the_same_counters(
    vmq_engine: StartEngine,
) -> None:
    async def run() -> dict[str, Any]:
        engine = await vmq_engine(SCENARIO, clock="fast", run_to=30.0)
        assert await engine.until(lambda: engine.now_s >= 30, 60)
        stats = await engine.reading(revision=0)
        assert stats.sim_time_ns == 30_000_000_000
        assert stats.seq <= 30 * 4 / 2
        assert (await engine.advance(1.0)).sim_time_ns == 31_000_000_000
        return counters(stats) | {"seq": 0}

    assert await run() == await run()


async def test_a_fast_clock_runs_up_to_a_condition_on_a_reading(vmq_engine: StartEngine) -> None:
    def is_over(stats: Stats) -> bool:
        return known([stats.adapters["nic0"].port["offered_frames"]])[0] > 20_000

    engine = await vmq_engine(SCENARIO, clock="fast", run_to=is_over, interval_s=0.5)
    await engine.until(lambda: engine.stats is not None and is_over(engine.stats), 60)
    assert engine.now_s == 2.5
    assert (await engine.advance(0.5)).sim_time_ns == 3_000_000_000


async def test_a_fast_clock_stands_still_while_there_is_nothing_to_do(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO.partition("[[traffic")[0], clock="fast")
    await engine.until(lambda: engine.stats is not None and engine.stats.sim_time_ns == 3_000_000_000, 60)
    assert engine.now_s == 3.0
    await engine.request("set_traffic", mix=[{"rate_pps": 1000, "flow": [{"mac": MAC}]}])
    await engine.until(lambda: engine.now_s > 100, 60)
    stopped = await engine.request("set_traffic", mix=[])
    reading = await engine.reading(revision=stopped.revision, timeout_s=60)
    ended = await engine.ended()
    assert ended.adapters["nic0"].port == reading.adapters["nic0"].port


async def test_requests_to_a_fast_clock_are_answered_while_it_runs(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO, clock="fast")
    for _ in range(20):
        assert (await engine.request("ping")).status == "ok"
    paused = await engine.request("pause_vm", vm="web-01")
    stats = await engine.reading(revision=paused.revision, timeout_s=60)
    await engine.until(lambda: engine.stats is not None and dropped(engine.stats) > dropped(stats), 60)
    with pytest.raises(ValueError, match="the fast clock runs by itself"):
        await engine.advance(1.0)


BUSY = f"""
[host]
name = "clocked"
cpus = 4

[cpu]
clock_ghz = 0.2

[balancer]
mode = "dynamic"

[[adapter]]
name = "nic0"
buffers = 8192
  [[adapter.queue]]
  vm = "web-01"
  cpu = 1
    [[adapter.queue.filter]]
    mac = "{MAC}"
  [[adapter.queue]]
  vm = "db-01"
  cpu = 1
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:02"
"""


@pytest.mark.slow
async def test_the_balancer_and_changes_of_link_and_traffic_work_with_a_manual_clock(
    vmq_engine: StartEngine,
) -> None:
    """At 1 Gbit/s a frame of 1,500 bytes takes 12.16 µs on the wire."""

    async def run() -> list[tuple[int, str]]:
        engine = await vmq_engine(BUSY, clock="manual")
        await engine.request(
            "set_traffic", mix=[{"rate_pps": 150_000, "flow": [{"mac": MAC}, {"mac": "00:15:5d:00:00:02"}]}]
        )
        moved = await engine.event("queue_moved")
        assert moved.sim_time_ns % 1_000_000 == 0
        await engine.request("set_adapter", link_gbps=1.0)
        large = [{"mac": MAC, "frame_bytes": 1500}]
        await engine.request("set_traffic", mix=[{"rate_pps": 150_000, "flow": large}])
        readings = [await engine.advance(0.1) for _ in range(2)]
        offered = known(one.adapters["nic0"].port["offered_frames"] for one in readings)
        assert offered[1] - offered[0] == pytest.approx(0.1 * 1e9 / 12_160, abs=2)
        return [(one.sim_time_ns, one.event) for one in engine.events]

    assert await run() == await run()


@pytest.mark.slow
async def test_what_a_reader_sees_in_the_end_is_the_moment_at_which_time_stands(
    vmq_engine: StartEngine,
) -> None:
    engine = await vmq_engine(SCENARIO, clock="manual", interval_s=0.01)
    url = engine.url.with_password()
    async with Watcher(BrokerUrl.parse(url)) as reader:
        await until(lambda: engine.host in reader.hosts)
        for _ in range(5):
            await engine.advance(1.0)
        view = reader.hosts[engine.host]
        await until(lambda: view.stats is not None and view.stats.sim_time_ns == 5_000_000_000)


async def test_time_that_passes_by_itself_is_not_advanced() -> None:
    with pytest.raises(ValueError, match='clock: "sundial" is not one of "real", "fast", "manual"'):
        Engine(clock="sundial")  # type: ignore[arg-type]
    with pytest.raises(EngineEndedError, match="has not started"):
        await Engine(clock="manual").advance(1.0)
    async with Engine(SCENARIO) as engine:
        with pytest.raises(ValueError, match="the real clock runs by itself"):
            await engine.advance(1.0)
    for options, sentence in [
        ({"run_to": 1.0}, 'run_to: the clock is "real"'),
        ({"clock": "fast", "run_to": -1.0}, "run_to: -1.0 is not a number in"),
        ({"clock": "fast", "interface": "lo"}, 'clock: "fast" does not drive the frames of an interface'),
    ]:
        with pytest.raises(ValueError, match=sentence):
            Engine(**options)  # type: ignore[arg-type]
