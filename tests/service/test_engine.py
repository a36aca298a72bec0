"""The engine as a whole: real workers, a real broker, counters that add up at every reading."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import msgspec
import psutil
import pytest
import pytest_asyncio

from engine.bus.host_view import HostView
from engine.bus.watcher import Watcher
from engine.ndis import counters
from engine.scenario.load import loads
from engine.service.machine import _EVENTS_KEPT
from engine.telemetry.stats import Stats, known
from vmqtui import Engine
from vmqtui.pytest_plugin import StartEngine

SCENARIO = """
[host]
name = "lab"
cpus = 3

[[adapter]]
name = "nic0"
buffers = 4096
  [[adapter.queue]]
  vm = "fast"
  cpu = 1
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:01"
    vlan = 10
  [[adapter.queue]]
  vm = "slow"
  cpu = 2
  return_delay_us = 2000
  buffers = 64
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:02"

[[traffic.mix]]
rate_pps = 60000
  [[traffic.mix.flow]]
  mac = "00:15:5d:00:00:01"
  vlan = 10
  [[traffic.mix.flow]]
  mac = "00:15:5d:00:00:02"
  [[traffic.mix.flow]]
  kind = "unknown"
  weight = 0.1
"""


def check_identities(stats: Stats) -> None:
    """Contract 2, "always true"."""
    for adapter in stats.adapters.values():
        queues, freed, port = adapter.queues, adapter.freed, adapter.port
        steered = sum(known([*queues["steered_frames"], freed["steered_frames"]]))
        errors = sum(known([port["runt"], port["oversize"]]))
        assert port["offered_frames"] == errors + steered
        for cells in zip(*map(known, queues.values()), strict=True):
            row = dict(zip(queues, cells, strict=True))
            assert row["steered_frames"] == row["received_frames"] + row["dropped_no_buffer"]
            assert row["received_frames"] == (
                row["indicated_frames"] + row["discarded_frames"] + row["lost_frames"] + row["pending"]
            )
            assert row["indicated_frames"] == row["returned_frames"] + row["outstanding"]
            assert row["total_buffers"] == row["free_buffers"] + row["pending"] + row["outstanding"]
        assert sum(known(adapter.default_queue.values())) == queues["steered_frames"][0]
        top = adapter.default_queue_top
        assert top is not None
        assert sum(known(top.frames)) == queues["steered_frames"][0] or len(top.frames) == 64
    assert all(
        b <= g
        for b, g in zip(known(stats.cpus["busy_cycles"]), known(stats.cpus["budget_cycles"]), strict=True)
    )


def _more_than(view: HostView, seen: int) -> Callable[[], bool]:
    return lambda: view.stats_received > seen


class Lab:
    """An engine and a reader that checks every reading."""

    def __init__(self, engine: Engine, watcher: Watcher) -> None:
        self.engine = engine
        self.watcher = watcher

    @property
    def stats(self) -> Stats:
        stats = self.watcher.hosts["lab"].stats
        assert stats is not None
        return stats

    async def readings(self, count: int) -> list[Stats]:
        """The next readings, each checked."""
        found: list[Stats] = []
        view = self.watcher.hosts["lab"]
        while len(found) < count:
            assert await self.watcher.wait_for(_more_than(view, view.stats_received), 60)
            check_identities(self.stats)
            found.append(self.stats)
        return found

    def queue(self, queue_id: int) -> dict[str, int]:
        columns = self.stats.adapters["nic0"].queues
        place = columns["id"].index(queue_id)
        return {name: known(column)[place] for name, column in columns.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab() -> AsyncIterator[Lab]:
    scenario = loads(SCENARIO, "test")
    async with Engine(scenario, interval_s=0.05) as engine, Watcher(engine.url) as watcher:
        assert await watcher.wait_for(
            lambda: "lab" in watcher.hosts and watcher.hosts["lab"].stats is not None, 10
        )
        yield Lab(engine, watcher)


async def test_every_reading_adds_up(lab: Lab) -> None:
    first, *_, last = await lab.readings(10)
    before, after = known(one.adapters["nic0"].port["offered_frames"] for one in (first, last))
    assert after > before
    rate = (after - before) / (last.sim_time_ns - first.sim_time_ns) * 1e9
    assert rate == pytest.approx(60_000, rel=0.01)


async def test_one_worker_process_a_cpu(lab: Lab) -> None:
    assert len(set(lab.engine.worker_pids)) == 3
    assert all(psutil.Process(pid).is_running() for pid in lab.engine.worker_pids)


async def test_stats_have_every_counter_of_the_registry(lab: Lab) -> None:
    stats = lab.stats
    adapter = stats.adapters["nic0"]
    queue = set(counters.names(counters.QUEUE + counters.QUEUE_GAUGES + counters.QUEUE_LATENCY))
    assert set(adapter.queues) == queue | {"id", "generation"}
    assert set(adapter.freed) == set(counters.names(counters.QUEUE))
    assert set(adapter.port) == set(counters.names(counters.PORT))
    assert set(stats.cpus) == {"id", *counters.names(counters.CPU + counters.CPU_GAUGES)}


async def test_events_that_are_not_taken_are_bounded_and_the_oldest_go(lab: Lab) -> None:
    live = lab.engine._live
    assert live is not None

    def tell() -> tuple[int, int]:
        machine = live.machine
        waiting = machine.take_events()
        for number in range(_EVENTS_KEPT + 3):
            machine.add_event("queue_state", f"number {number}")
        kept, machine._events = machine.take_events(), waiting
        return len(kept), int(kept[0].cause.removeprefix("number "))

    assert await asyncio.wrap_future(live.submit(tell)) == (_EVENTS_KEPT, 3)


async def test_a_moved_queue_loads_the_other_cpu_and_loses_nothing(lab: Lab) -> None:
    response = await lab.watcher.request("lab", "set_queue_parameters", {"queue_id": 1, "cpu": 0})
    assert response.status == "ok"
    first, *_, last = await lab.readings(4)
    assert known(last.cpus["busy_cycles"])[0] > known(first.cpus["busy_cycles"])[0]
    assert last.cpus["busy_cycles"][1] == first.cpus["busy_cycles"][1]
    assert lab.queue(1)["lost_frames"] == lab.queue(1)["discarded_frames"] == 0
    back = await lab.watcher.request("lab", "set_queue_parameters", {"queue_id": 1, "cpu": 1})
    assert back.status == "ok"
    await lab.readings(2)


async def test_a_cleared_queue_discards_and_frees_only_when_its_vm_returned_all(lab: Lab) -> None:
    ask = lab.watcher.request
    cleared = await ask("lab", "clear_filter", {"queue_id": 2, "filter_id": 2})
    assert cleared.status == "ok"
    freed = await ask("lab", "free_queue", {"queue_id": 2})
    assert freed.ndis_status in ("NDIS_STATUS_PENDING", "NDIS_STATUS_SUCCESS")
    view = lab.watcher.hosts["lab"]
    assert await lab.watcher.wait_for(lambda: any(e.event == "queue_freed" for e in view.events), 60)
    await lab.readings(2)
    assert 2 not in lab.stats.adapters["nic0"].queues["id"]
    assert known(lab.stats.adapters["nic0"].freed.values())[0] > 0

    queue = {"name": "slow", "vm": "slow", "cpu": 2, "buffers": 64}
    assert (await ask("lab", "allocate_queue", queue)).result["queue_id"] == 2
    assert (await ask("lab", "set_filter", {"queue_id": 2, "mac": "00:15:5d:00:00:02"})).status == "ok"
    completed = await ask("lab", "complete_allocation", {"queue_ids": [2]})
    assert completed.result["queues"][0]["ndis_status"] == "NDIS_STATUS_SUCCESS"
    await lab.readings(2)
    assert lab.queue(2)["generation"] > 3
    assert lab.queue(2)["steered_frames"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
async def test_a_killed_worker_is_replaced_and_its_frames_are_counted(lab: Lab) -> None:
    victim = lab.engine.worker_pids[2]
    others = [lab.engine.worker_pids[cpu] for cpu in (0, 1)]
    os.kill(victim, signal.SIGKILL)
    view = lab.watcher.hosts["lab"]
    assert await lab.watcher.wait_for(lambda: any(e.event == "worker_replaced" for e in view.events), 60)
    before = lab.queue(2)["returned_frames"]
    await lab.readings(4)
    assert lab.queue(2)["returned_frames"] > before
    assert lab.queue(1)["lost_frames"] == 0
    assert [lab.engine.worker_pids[cpu] for cpu in (0, 1)] == others
    assert lab.engine.worker_pids[2] != victim


async def test_the_fixture_starts_an_engine(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(loads('[host]\nname = "other"\ncpus = 1', "test"))
    assert (await engine.request("ping")).status == "ok"
    pids = engine.worker_pids
    await engine.__aexit__(None, None, None)
    assert not any(psutil.pid_exists(pid) for pid in pids)


@contextmanager
def every_core_taken() -> Iterator[None]:
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@pytest.mark.slow
async def test_a_seed_gives_the_same_counters_at_the_same_simulated_time(vmq_engine: StartEngine) -> None:
    """On a machine that is otherwise idle, and on one where every core is taken."""

    async def readings(host: str) -> dict[int, Stats]:
        engine = await vmq_engine(loads(SCENARIO.replace('"lab"', f'"{host}"'), "test"), interval_s=0.05)
        found: dict[int, Stats] = {}
        async with Watcher(engine.url) as watcher:
            assert await watcher.wait_for(lambda: host in watcher.hosts, 60)
            view = watcher.hosts[host]
            while len(found) < 12:
                assert await watcher.wait_for(_more_than(view, view.stats_received), 60)
                assert view.stats is not None
                found[view.stats.sim_time_ns] = view.stats
        await engine.__aexit__(None, None, None)
        return found

    calm = await readings("calm")
    with every_core_taken():
        busy = await readings("busy")
    common = sorted(calm.keys() & busy.keys())
    assert len(common) >= 3
    for sim_time_ns in common:
        one, other = calm[sim_time_ns], busy[sim_time_ns]
        assert one.cpus == other.cpus
        assert msgspec.to_builtins(one.adapters) == msgspec.to_builtins(other.adapters)


async def test_a_reader_that_comes_late_is_given_the_events_of_before(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(loads(SCENARIO, "lab.toml"))
    for cpu in (2, 1):
        assert (await engine.request("set_queue_parameters", queue_id=1, cpu=cpu)).status == "ok"
    assert (await engine.request("pause_vm", vm="fast")).status == "ok"
    async with Watcher(engine.url, engine.host) as watcher:
        assert await watcher.wait_for(lambda: engine.host in watcher.hosts, 60)
        view = watcher.hosts[engine.host]
        await watcher.catch_up(engine.host)
        before = [one.seq for one in view.events]
        assert before == list(range(1, before[-1] + 1))
        assert "vm_paused" in {one.event for one in view.events}
        assert (await watcher.request(engine.host, "resume_vm", {"vm": "fast"})).status == "ok"
        assert await watcher.wait_for(lambda: view.events[-1].event == "vm_resumed", 60)
        await watcher.catch_up(engine.host)
        assert [one.seq for one in view.events] == list(range(1, view.events[-1].seq + 1))
        assert view.events_missed == 0
