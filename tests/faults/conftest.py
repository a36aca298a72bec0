"""A lab on each broker, shared by the tests; delays short enough for many faults."""

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from engine.bus import connection, watcher
from tests.faults.brokers import EmbeddedProcess, FaultyBroker, MosquittoProcess
from tests.faults.lab import Lab, running_lab


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=["embedded", "mosquitto"])
async def shared_lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    broker: FaultyBroker
    if request.param == "embedded":
        broker = EmbeddedProcess()
    elif shutil.which("mosquitto"):
        broker = MosquittoProcess(tmp_path_factory.mktemp("mosquitto"))
    else:
        pytest.skip("mosquitto is not installed")
    await broker.start()
    try:
        async with running_lab(broker) as lab:
            yield lab
    finally:
        await broker.kill()


@pytest_asyncio.fixture
async def lab(shared_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """A real engine and a reader on a real broker, with everything well at the beginning and at the end."""
    monkeypatch.setattr(connection, "FIRST_DELAY_SECONDS", 0.005)
    monkeypatch.setattr(connection, "LONGEST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(watcher, "FIRST_REPEAT_SECONDS", 0.1)
    await shared_lab.live()
    yield shared_lab
    await shared_lab.check()
    await shared_lab.live()
