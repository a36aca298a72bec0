"""Simulated time moves only when a test says so: exact numbers, the same on every run, and no sleeps."""

import pytest

from vmqtui import Engine, NdisStatus

SCENARIO = """
[host]
cpus = 2

[[adapter]]

[[adapter.queue]]
vm = "web-01"
cpu = 1
buffers = 1000
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:01"
vlan = 10

[[traffic.mix]]
rate_pps = 10_000
flow = [{ mac = "00:15:5d:00:00:01", vlan = 10 }]
"""


async def test_a_paused_vm_uses_up_its_buffers_in_100_ms() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.advance(1.0)
        assert engine.queue("web-01").dropped_no_buffer == 0

        await engine.request("pause_vm", vm="web-01", check=True)
        paused_s = engine.now_s
        await engine.until(lambda: engine.queue("web-01").dropped_no_buffer, timeout_s=1.0, step_s=0.001)
        assert engine.now_s - paused_s == pytest.approx(0.1, abs=0.002)

        await engine.advance(0.9)
        assert engine.queue("web-01").outstanding == 1000


async def test_a_queue_is_freed_when_its_vm_resumes() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.request("pause_vm", vm="web-01", check=True)
        await engine.advance(0.05)
        await engine.request("clear_filter", queue_id=1, filter_id=1, check=True)
        answer = await engine.request("free_queue", queue_id=1)
        assert answer.code == NdisStatus.PENDING

        await engine.advance(10.0)  # nothing comes back, however long it takes
        assert engine.queue(1).state == "freeing"

        await engine.request("resume_vm", vm="web-01", check=True)
        freed = await engine.event("queue_freed", queue_id=1, timeout_s=1.0)
        assert freed.sim_time_ns / 1e9 == pytest.approx(10.05, abs=0.001)
