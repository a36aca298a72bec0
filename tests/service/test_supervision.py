"""How soon an engine and a replay notice that a worker is gone, and what they tell of it."""

import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.bus.host_view import HostView
from engine.bus.watcher import Watcher
from engine.scenario.load import loads
from engine.service import replay as replaying
from engine.service.machine import Machine
from engine.telemetry.events import Event
from engine.telemetry.stats import known
from engine.workers import supervision
from tests.service.test_engine import check_identities
from tests.traffic.captures import frame, pcap
from vmqtui import Engine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

SCENARIO = """
[host]
name = "guarded"
cpus = 2
[[adapter]]
buffers = 4096
  [[adapter.queue]]
  vm = "web"
  cpu = 1
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:01"
[[traffic.mix]]
rate_pps = 10000
flow = [{ mac = "00:15:5d:00:00:01" }, { kind = "broadcast" }]
"""
INTERVAL_S = 0.05
NOTICED_S = 1.0
DEADLINE_S = 1.5
FRAMES = 250


class Guarded:
    """An engine, a reader, and the events since they were last asked for."""

    def __init__(self, engine: Engine, watcher: Watcher) -> None:
        self.engine = engine
        self.watcher = watcher
        self._seen = 0

    @property
    def view(self) -> HostView:
        return self.watcher.hosts["guarded"]

    async def event(self, kind: str, seconds: float = 60) -> Event:
        """The next event of a kind."""
        found: list[Event] = []

        def came() -> bool:
            found.extend(one for one in self.view.events if one.seq > self._seen and one.event == kind)
            return bool(found)

        assert await self.watcher.wait_for(came, seconds), f"{kind}: not within {seconds} s"
        self._seen = found[0].seq
        return found[0]

    async def ask(self, op: str, **params: Any) -> Any:
        response = await self.watcher.request("guarded", op, params)
        assert response.status == "ok", response
        return response.result

    async def stats_with(self, cpu: int, down: int) -> None:
        """Wait for a reading that says so."""

        def says() -> bool:
            stats = self.view.stats
            if stats is None:
                return False
            check_identities(stats)
            return stats.cpus["down"][cpu] == down

        assert await self.watcher.wait_for(says, 60)

    def queue(self, name: str) -> int:
        stats = self.view.stats
        assert stats is not None
        columns = stats.adapters["nic0"].queues
        return known(columns[name])[columns["id"].index(1)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded() -> AsyncIterator[Guarded]:
    scenario = loads(SCENARIO.replace("[[adapter]]", '[[adapter]]\nname = "nic0"'), "test")
    async with (
        Engine(scenario, interval_s=INTERVAL_S, worker_deadline_s=DEADLINE_S) as engine,
        Watcher(engine.url, "guarded") as watcher,
    ):
        assert await watcher.wait_for(lambda: "guarded" in watcher.hosts, 60)
        yield Guarded(engine, watcher)


@pytest.mark.parametrize("cpu", [0, 1])
@pytest.mark.parametrize("traffic", ["traffic", "idle"])
async def test_a_death_is_noticed_within_a_second(guarded: Guarded, traffic: str, cpu: int) -> None:
    machine = guarded.engine._live
    assert machine is not None
    machine.machine.rounds.restarts.forgive()
    mix = [] if traffic == "idle" else [{"rate_pps": 10_000, "flow": [{"mac": "00:15:5d:00:00:01"}]}]
    await guarded.ask("set_traffic", mix=mix)
    before = guarded.view.stats_received
    os.kill(guarded.engine.worker_pids[cpu], signal.SIGKILL)
    died = await guarded.event("worker_died")
    # By its end, not by the deadline of one that hangs; counted in readings, which a busy machine delays too.
    assert died.cause.startswith(f"the worker of CPU {cpu} died (SIGKILL)")
    assert guarded.view.stats_received - before < NOTICED_S / INTERVAL_S
    await guarded.event("worker_replaced")
    await guarded.stats_with(cpu, 0)


@pytest.mark.parametrize("traffic", ["traffic", "idle"])
async def test_a_hang_is_noticed_within_the_deadline(guarded: Guarded, traffic: str) -> None:
    live = guarded.engine._live
    assert live is not None
    live.machine.rounds.restarts.forgive()
    mix = [] if traffic == "idle" else [{"rate_pps": 10_000, "flow": [{"mac": "00:15:5d:00:00:01"}]}]
    await guarded.ask("set_traffic", mix=mix)
    stopped = time.time_ns()
    os.kill(guarded.engine.worker_pids[1], signal.SIGSTOP)
    died = await guarded.event("worker_died")
    assert f"hung for {DEADLINE_S} s" in died.cause
    assert (died.time_ns - stopped) / 1e9 < 20 * DEADLINE_S  # soon after it, but for a machine that is busy
    await guarded.event("worker_replaced")


@pytest.mark.slow
async def test_a_death_is_told_before_the_deadline_of_another_worker_that_hangs(guarded: Guarded) -> None:
    live = guarded.engine._live
    assert live is not None
    live.machine.rounds.restarts.forgive()
    mix = [{"rate_pps": 10_000, "flow": [{"mac": "00:15:5d:00:00:01"}, {"kind": "broadcast"}]}]
    await guarded.ask("set_traffic", mix=mix)
    hangs, dies = guarded.engine.worker_pids
    os.kill(hangs, signal.SIGSTOP)
    os.kill(dies, signal.SIGKILL)
    first = await guarded.event("worker_died")
    assert first.cause.startswith("the worker of CPU 1 died (SIGKILL)")
    second = await guarded.event("worker_died")
    assert second.cause.startswith(f"the worker of CPU 0 hung for {DEADLINE_S} s")
    assert second.time_ns > first.time_ns
    await guarded.stats_with(0, 0)


@pytest.mark.slow
async def test_a_worker_that_keeps_dying_is_given_up_shown_as_down_and_brought_back(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "DELAYS_S", (0.0, 0.01, 0.02))
    monkeypatch.setattr(supervision, "PAUSES_S", (1000.0,))
    mix = [{"rate_pps": 10_000, "flow": [{"mac": "00:15:5d:00:00:01"}]}]
    await guarded.ask("set_traffic", mix=mix)
    gone: set[int] = set()

    def given_up() -> bool:
        pid = guarded.engine.worker_pids[1]
        if pid not in gone:
            gone.add(pid)
            os.kill(pid, signal.SIGKILL)
        return any(one.event == "worker_down" for one in guarded.view.events)

    assert await guarded.watcher.wait_for(given_up, 60)
    told = await guarded.event("worker_down")
    assert told.cause.startswith("CPU 1 is down: its worker died 4 times within 60 s")
    await guarded.stats_with(1, 1)
    before = guarded.queue("lost_frames"), guarded.queue("returned_frames")
    assert await guarded.watcher.wait_for(lambda: guarded.queue("lost_frames") > before[0] + 100, 60)
    assert guarded.queue("returned_frames") == before[1]

    await guarded.ask("set_queue_parameters", queue_id=1, cpu=0)  # moved away it goes on
    assert await guarded.watcher.wait_for(lambda: guarded.queue("returned_frames") > before[1] + 100, 60)
    await guarded.ask("set_queue_parameters", queue_id=1, cpu=1)

    assert (await guarded.watcher.request("guarded", "restart_worker", {"cpu": 2})).status == "error"
    await guarded.ask("restart_worker", cpu=1)
    await guarded.event("worker_replaced")
    await guarded.stats_with(1, 0)
    returned = guarded.queue("returned_frames")
    assert await guarded.watcher.wait_for(lambda: guarded.queue("returned_frames") > returned + 100, 60)


@pytest.mark.slow
@pytest.mark.parametrize("pace", ["max", "real"])
def test_a_replay_notices_the_death_of_a_worker_that_has_nothing_to_do(
    pace: replaying.Pace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = tmp_path / "x.pcap"
    capture.write_bytes(pcap([frame(n * 10_000_000) for n in range(FRAMES)]))
    machines: list[Machine] = []

    def made(*arguments: Any, **options: Any) -> Machine:
        machines.append(Machine(*arguments, **options))
        return machines[0]

    monkeypatch.setattr(replaying, "Machine", made)
    killed: list[Any] = []
    noticed: list[Any] = []

    def progress(source: object) -> None:
        [machine] = machines
        if not killed:
            worker = machine.rounds._pool._processes[3]
            killed.append(worker)
            worker.kill()
            wait([worker.sentinel])
        if not noticed:
            noticed.extend(one for one in machine._events if one.event == "worker_died")

    plan = replaying.plan_capture(capture)[0].scenario
    done = replaying.replay(capture, plan, pace=pace, progress=progress)
    if pace == "real":
        assert noticed  # before the capture's last frames, 2.5 s later
    assert any("CPU 3 died" in sentence for sentence in done.deaths)
    assert done.document["adapters"][0]["port"]["offered_frames"] == FRAMES
