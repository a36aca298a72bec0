"""Simulated time under the control of the test."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from lab import DB, SCENARIO, cpu_s

from vmqtui import Engine, NdisStatus, Stats


async def test_ten_seconds_with_a_request_at_one_second_are_the_same_twice_in_a_fifth_of_a_second(
    record_property: Callable[[str, object], None],
) -> None:
    readings = []
    for _ in range(2):
        async with Engine(SCENARIO, clock="manual") as engine:
            cpu_before_s, wall_before_s = cpu_s(), time.perf_counter()
            await engine.advance(1.0)
            await engine.request("pause_vm", vm="web-01", check=True)
            reading = await engine.advance(9.0)
            record_property("wall_s", round(time.perf_counter() - wall_before_s, 3))
            record_property("cpu_s", round(cpu_s() - cpu_before_s, 3))
            assert cpu_s() - cpu_before_s < 0.2  # of processor time: the machine may be busy
            assert engine.now_s == 10.0
            assert engine.queue("web-01").dropped_no_buffer == 90_000 - 1000
            readings.append(reading)
    assert document(readings[0]) == document(readings[1])


def document(reading: Stats) -> dict[str, Any]:
    """A reading as plain data, without Unix time and without what is counted of the broker."""
    plain: dict[str, Any] = msgspec.to_builtins(reading)
    return plain | {"time_ns": 0, "bus": None}


async def test_drops_begin_100_ms_after_a_pause_to_the_millisecond() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.advance(1.0)
        await engine.request("pause_vm", vm="web-01", check=True)
        paused_s = engine.now_s
        await engine.until(lambda: engine.queue("web-01").dropped_no_buffer > 0, timeout_s=1.0, step_s=0.001)
        assert engine.now_s - paused_s == pytest.approx(1000 / 10_000, abs=0.001)


async def test_a_free_is_pending_and_done_within_the_return_delay() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.receive([bytes.fromhex(DB.replace(":", "")) + bytes(50)], at=0.5)
        await engine.advance(0.51)
        assert engine.queue("db-01").outstanding == 1
        await engine.request("clear_filter", queue_id=2, filter_id=2, check=True)
        answer = await engine.request("free_queue", queue_id=2)
        assert answer.code == NdisStatus.PENDING
        freed = await engine.event("queue_freed", queue_id=2, timeout_s=0.05)
        assert 0.5 < freed.sim_time_ns / 1e9 <= 0.551
