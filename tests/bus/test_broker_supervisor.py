"""An engine's own broker that ends or hangs is started again where it was."""

import asyncio
import contextlib
import sys

import psutil
import pytest

from engine.bus import broker as broker_module
from engine.bus.broker import EmbeddedBroker
from engine.bus.errors import BrokerFailed
from engine.bus.watcher import Watcher
from engine.scenario.load import loads
from vmqtui import Engine
from vmqtui.pytest_plugin import StartEngine


def broker_of(engine: Engine) -> psutil.Process:
    assert engine._host_bus.broker is not None
    assert engine._host_bus.broker.pid is not None
    return psutil.Process(engine._host_bus.broker.pid)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
async def test_a_killed_broker_comes_back_and_everybody_finds_each_other_again(
    vmq_engine: StartEngine,
) -> None:
    engine = await vmq_engine(loads('[host]\nname = "kept"\ncpus = 1', "test"), interval_s=0.05)
    url = engine.url
    async with Watcher(engine.url, "kept") as watcher:
        assert await watcher.wait_for(lambda: "kept" in watcher.hosts and watcher.hosts["kept"].online, 60)
        view = watcher.hosts["kept"]
        before = broker_of(engine)
        before.kill()
        assert await watcher.wait_for(lambda: watcher.state != "connected", 60)
        assert await watcher.wait_for(lambda: view.online, 60)
        assert broker_of(engine) != before
        assert engine.url == url
        assert (await watcher.request("kept", "ping", timeout=20)).status == "ok"


class StandIn(EmbeddedBroker):
    """A process that seems to run; starting it fails for a while."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.restarts = 0
        self._failures = failures

    @property
    def running(self) -> bool:
        return True

    async def restart(self) -> None:
        self.restarts += 1
        if self.restarts <= self._failures:
            raise BrokerFailed("no")


async def test_a_broker_that_lets_nobody_connect_is_started_again_until_that_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_module, "HANGS_AFTER_S", 0.05)
    monkeypatch.setattr(broker_module, "_POLL_S", 0.01)
    monkeypatch.setattr(broker_module, "_DELAYS_S", (0.0,))
    broker, back = StandIn(failures=2), asyncio.Event()
    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        back.set()

    keeping = asyncio.create_task(broker_module.supervise(broker, back.is_set, tell))
    async with asyncio.timeout(60):
        await back.wait()
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
    assert broker.restarts == 3
    assert told == ["the embedded broker hung and was started again"]
