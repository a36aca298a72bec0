"""Real brokers for the tests of the bus, a stand-in for the engine, and messages to send."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.bus.broker import EmbeddedBroker
from engine.bus.engine_bus import EngineBus
from engine.bus.messages import Request, Response
from engine.bus.urls import BrokerUrl
from engine.telemetry.config import AdapterConfig, Config, CpuConfig
from engine.telemetry.stats import AdapterStats, Stats
from vmqtui.testing import wait_until


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether a server listens on a loopback port."""
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


class Mosquitto:
    """A mosquitto process on a loopback port that stays the same over restarts."""

    def __init__(self, directory: Path) -> None:
        self.url = BrokerUrl("127.0.0.1", free_port())
        self._config = directory / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.url.port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(["mosquitto", "-c", str(self._config)])
        wait_until(lambda: listens(self.url.port), what="mosquitto")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
async def embedded() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(params=["embedded", "mosquitto"])
def broker_url(request: pytest.FixtureRequest) -> BrokerUrl:
    """Each test that asks for it runs over both brokers."""
    url: BrokerUrl = request.getfixturevalue(request.param).url
    return url


@pytest.fixture
def host(request: pytest.FixtureRequest) -> str:
    """A host name of the test's own, since the brokers are shared."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)[-64:]


class EngineStandIn:
    """Counts what it is asked, and answers with it; ``hold`` makes it wait before it answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Request]] = []
        self.bad: list[tuple[str, str]] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self, client: str, request: Request) -> Response:
        self.requests.append((client, request))
        number = len(self.requests)
        await self.hold.wait()
        if request.op == "fail":
            raise RuntimeError("the stand-in was told to")
        return Response(
            id=request.id, status="ok", ndis_status="NDIS_STATUS_SUCCESS", result={"number": number}
        )

    def note_bad(self, client: str, reason: str) -> None:
        self.bad.append((client, reason))


@pytest.fixture
def stand_in() -> EngineStandIn:
    return EngineStandIn()


@contextlib.asynccontextmanager
async def running_bus(url: BrokerUrl, host: str, stand_in: EngineStandIn) -> AsyncIterator[EngineBus]:
    """An engine's bus that is online."""
    bus = EngineBus(
        url, host, stand_in, version="1.2.3", interval_ns=250_000_000, on_bad_request=stand_in.note_bad
    )
    await bus.start(make_config(host), probe_seconds=0)
    try:
        yield bus
    finally:
        await bus.stop()


def make_config(host: str, revision: int = 1) -> Config:
    """A small configuration."""
    return Config(
        revision=revision,
        host=host,
        cpus=[CpuConfig(id=0, name="0:0", core=0, numa_node=0)],
        hyperthreading=False,
        numa_nodes=1,
        cpu_model={"clock_ghz": 2.5},
        traffic="none",
        adapters=[
            AdapterConfig(
                name="nic0",
                ndis_version="6.30",
                link_gbps=10.0,
                max_queues=64,
                max_filters=128,
                max_frame_bytes=1518,
                vlan_filtering=True,
                buffers=4096,
                numa_node=0,
                min_lookahead_bytes=0,
                max_lookahead_bytes=0,
                queues=[],
                filters=[],
                ports=[],
            )
        ],
    )


def make_stats(seq: int, *, queues: int = 4, **changes: Any) -> Stats:
    """Stats whose counters can be recognised: queue i has steered seq × i frames."""
    ids = list(range(queues))
    adapter = AdapterStats(
        port={"offered_frames": 10 * seq},
        queues={"id": [*ids], "steered_frames": [seq * i for i in ids]},
        filters={"id": [1], "matched_frames": [seq]},
        freed={},
        default_queue={"broadcast": seq},
    )
    return Stats(
        seq=seq,
        sim_time_ns=seq * 250_000_000,
        time_ns=time.time_ns(),
        revision=1,
        cpus={"id": [0], "busy_cycles": [seq]},
        adapters={"nic0": adapter},
        **changes,
    )
