"""An engine ends whatever fails or closes around it, and starts over without starting processes."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import pytest

from engine.bus import discovery
from engine.bus.broker import EmbeddedBroker
from engine.bus.engine_bus import EngineBus
from engine.bus.watcher import Watcher
from engine.dataplane.memory import SHOWN_IN
from engine.dataplane.plane import Plane
from engine.service.engine_api import EngineEndedError
from engine.service.machine import Machine
from engine.service.pacing import ClockName
from engine.workers.pool import WorkerPool
from tests.slow import slow_but
from vmqtui import Engine
from vmqtui.testing import until

SCENARIO: Final = """
[host]
name = "lab"
cpus = 2
[[adapter]]
buffers = 256
default_queue_buffers = 64
  [[adapter.queue]]
  name = "web-01"
  vm = "web-01"
  cpu = 1
  buffers = 64
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:01"
[traffic]
  [[traffic.mix]]
  rate_pps = 20000
    [[traffic.mix.flow]]
    mac = "00:15:5d:00:00:01"
"""


class Parts:
    """The processes and the shared memory of a running engine."""

    def __init__(self, engine: Engine) -> None:
        assert engine._live is not None
        assert engine._host_bus.broker is not None
        self._block = SHOWN_IN / engine._live.machine.plane.block_name
        broker = engine._host_bus.broker.pid
        assert broker is not None
        self._processes = [psutil.Process(pid) for pid in (broker, *engine.worker_pids)]
        self._live = engine._live

    def left(self) -> list[object]:
        """What of it is still there."""
        running = [process for process in self._processes if process.is_running()]
        memory = [self._block] if self._block.exists() else []
        threads = [thread for thread in threading.enumerate() if thread is self._live._thread]
        return [*running, *memory, *threads]


def failing(*arguments: Any, **options: Any) -> Any:
    raise OSError("no luck")


def failing_after(cls: type[Any], name: str) -> Callable[..., Any]:
    method = getattr(cls, name)

    def call(*arguments: Any, **options: Any) -> Any:
        method(*arguments, **options)
        raise OSError("no luck")

    return call


@pytest.mark.parametrize(
    ("cls", "name", "after"),
    slow_but(
        [(WorkerPool, "close", True), (EngineBus, "stop", False)],
        [
            (discovery, "withdraw", False),
            (Machine, "stop", False),
            (Machine, "stats", False),
            (WorkerPool, "close", True),
            (Plane, "close", True),
            (EngineBus, "stop", False),
            (EngineBus, "close", False),
            (EmbeddedBroker, "close", True),
        ],
        unpack=True,
    ),
)
async def test_every_step_of_the_end_is_carried_out_whichever_fails(
    cls: Any, name: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(SCENARIO, announce="named")
    await engine.__aenter__()
    parts = Parts(engine)
    with monkeypatch.context() as broken:
        broken.setattr(cls, name, failing_after(cls, name) if after else failing)
        with pytest.raises(OSError, match="no luck") as raised:
            await engine.__aexit__(None, None, None)
    assert "The engine ended, but" in raised.value.__notes__[0]
    assert parts.left() == []
    assert threading.active_count() == len(threading.enumerate())


@pytest.mark.slow
async def test_an_end_that_fails_twice_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(SCENARIO)
    await engine.__aenter__()
    parts = Parts(engine)
    with monkeypatch.context() as broken:
        broken.setattr(EngineBus, "stop", failing)
        broken.setattr(WorkerPool, "close", failing_after(WorkerPool, "close"))
        with pytest.raises(OSError, match="no luck") as raised:
            await engine.__aexit__(None, None, None)
    first, second = raised.value.__notes__
    assert "stopping the workers" in first
    assert "leaving the bus" in second
    assert parts.left() == []


@pytest.mark.slow
async def test_a_cancelled_end_goes_on_to_its_end() -> None:
    engine = Engine(SCENARIO)
    await engine.__aenter__()
    parts = Parts(engine)
    ending = asyncio.create_task(engine.__aexit__(None, None, None))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait({ending})
    assert ending.cancelled()
    assert parts.left() == []


async def started(clock: Any = "real") -> tuple[Engine, Parts]:
    engine = await Engine(SCENARIO, clock=clock, interval_s=0.05).__aenter__()
    return engine, Parts(engine)


async def in_thread(call: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(call)


async def test_close_ends_an_engine_whose_loop_is_closed() -> None:
    def run() -> None:
        with asyncio.Runner() as runner:
            engine, parts = runner.run(started("manual"))
        engine.close()
        assert parts.left() == []
        engine.close()

    await in_thread(run)


@pytest.mark.slow
async def test_close_ends_an_engine_whose_loop_does_not_run() -> None:
    def run() -> None:
        with asyncio.Runner() as runner:
            engine, parts = runner.run(started())
            engine.close()
            assert parts.left() == []

    await in_thread(run)


@pytest.mark.slow
async def test_close_in_the_engines_own_loop_says_what_to_do() -> None:
    async with Engine(SCENARIO) as engine:
        with pytest.raises(RuntimeError, match="leave its context"):
            engine.close()
        assert (await engine.request("ping")).status == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["real", "manual"])
@pytest.mark.filterwarnings("ignore:.*was not ended:ResourceWarning")
async def test_an_engine_ends_by_itself_when_its_loop_is_closed(clock: str) -> None:
    def run() -> Parts:
        with asyncio.Runner() as runner:
            _, parts = runner.run(started(clock))
        return parts

    parts: Parts = await in_thread(run)
    await until(lambda: not parts.left())


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["real", "manual"])
@pytest.mark.filterwarnings("ignore:.*was not ended:ResourceWarning")
async def test_an_engine_whose_loop_does_not_run_says_so_in_another_loop(clock: str) -> None:
    async def used(engine: Engine, why: str) -> None:
        uses = [
            engine.advance(0.1), engine.until(lambda: True), engine.event("vm_paused"), engine.reading(),
            engine.ended(), engine.memory("web-01"), engine.receive(bytes(60)), engine.request("ping"),
            engine.reset(),
        ]  # fmt: skip
        for use in uses:
            with pytest.raises(EngineEndedError, match=why):
                await use

    def run() -> None:
        with asyncio.Runner() as runner:
            engine, parts = runner.run(started(clock))
            asyncio.run(used(engine, r"^the engine runs in another event loop, which stands: .*loop_scope"))
            assert runner.run(engine.request("ping")).status == "ok"
        assert "lab" in repr(engine)
        asyncio.run(engine.__aexit__(None, None, None))
        assert repr(engine) == "<Engine 'lab': has ended>"
        asyncio.run(used(engine, r"^the engine has ended$"))
        assert parts.left() == []

    await in_thread(run)


@pytest.mark.slow
async def test_another_loop_resets_and_leaves_an_engine_whose_loop_runs() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        parts = Parts(engine)

        async def use() -> None:
            for _ in range(2):
                assert (await engine.advance(0.1)).sim_time_ns == 100_000_000
                await engine.reset()
            await engine.__aexit__(None, None, None)

        await in_thread(lambda: asyncio.run(use()))
        assert repr(engine) == "<Engine 'lab': has ended>"
        assert parts.left() == []


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["real", "manual"])
async def test_what_waits_while_an_engine_is_reset_says_so(clock: ClockName) -> None:
    async with Engine(SCENARIO, clock=clock) as engine:
        waiting = asyncio.create_task(engine.until(lambda: False, 600))
        await until(lambda: engine.now_s > 0)
        await engine.reset()
        with pytest.raises(EngineEndedError, match=r"^the engine was reset meanwhile"):
            await waiting
        assert (await engine.request("ping")).status == "ok"


FORGETFUL: Final = """
import asyncio, sys, threading
from vmqtui import Engine

async def main():
    engine = Engine({scenario!r})
    await engine.__aenter__()
    print(engine._host_bus.broker.pid, *engine.worker_pids, flush=True)
    return engine

if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    engine = loop.run_until_complete(main())
"""


@pytest.mark.slow
def test_a_program_that_forgets_its_engine_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    script = tmp_path / "forgetful.py"
    script.write_text(FORGETFUL.format(scenario=SCENARIO))
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "TMPDIR": str(tmp_path), "PYTHONWARNINGS": "always"}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert "the engine of host 'lab' was not ended before the program" in done.stderr
    assert not any(psutil.pid_exists(int(pid)) for pid in done.stdout.split())
    assert list(tmp_path.glob("vmq-*")) == []


async def test_a_reset_engine_is_as_a_new_one() -> None:
    def counters(engine: Engine) -> Any:
        assert engine.stats is not None
        builtins = msgspec.to_builtins(engine.stats)
        return {name: builtins[name] for name in ("seq", "sim_time_ns", "revision", "cpus", "adapters")}

    async with Engine(SCENARIO, clock="manual") as engine:
        at_first, parts = counters(engine), Parts(engine)
        pids = engine.worker_pids
        await engine.advance(0.3)
        afterwards = counters(engine)
        assert (await engine.request("clear_filter", queue_id=1, filter_id=1)).status == "ok"
        assert (await engine.request("free_queue", queue_id=1)).status == "ok"
        await engine.advance(0.2)
        await engine.reset()
        assert counters(engine) == at_first
        assert engine.events == []
        assert engine.queue("web-01").received_frames == 0
        assert engine.worker_pids == pids
        await engine.advance(0.3)
        assert counters(engine) == afterwards
    assert parts.left() == []


@pytest.mark.slow
async def test_readers_see_a_reset_as_a_restart() -> None:
    async with Engine(SCENARIO, clock="manual") as engine, Watcher(engine.url) as watcher:
        assert await watcher.wait_for(lambda: "lab" in watcher.hosts and watcher.hosts["lab"].online, 60)
        view = watcher.hosts["lab"]
        assert view.status is not None
        began = view.status.started_at
        await engine.advance(2.0)
        assert (
            await watcher.request("lab", "set_queue_parameters", {"queue_id": 1, "cpu": 0})
        ).status == "ok"
        assert await watcher.wait_for(lambda: view.config is not None and view.config.revision > 1, 60)
        await engine.reset()
        assert await watcher.wait_for(
            lambda: view.status is not None and view.status.started_at > began and view.online, 60
        )
        assert await watcher.wait_for(lambda: view.config is not None and view.config.revision == 1, 60)
        assert await watcher.wait_for(lambda: view.stats is not None and view.stats.sim_time_ns == 0, 60)
        assert (await watcher.request("lab", "query_queue", {"queue_id": 1})).result["cpu"] == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
async def test_a_reset_replaces_workers_that_are_gone() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        parts, pids = Parts(engine), engine.worker_pids
        psutil.Process(pids[1]).kill()
        await engine.reset()
        assert set(engine.worker_pids).isdisjoint(pids) or engine.worker_pids[0] == pids[0]
        assert engine.worker_pids[1] != pids[1]
        await engine.advance(0.1)
        assert engine.adapter().port.offered_frames
        new = Parts(engine)
    assert parts.left() == []
    assert new.left() == []


@pytest.mark.slow
async def test_reset_before_the_start_and_after_the_end_says_what_to_do() -> None:
    engine = Engine(SCENARIO)
    with pytest.raises(EngineEndedError, match="has not started"):
        await engine.reset()
    async with engine:
        pass
    with pytest.raises(EngineEndedError, match="has ended"):
        await engine.reset()
