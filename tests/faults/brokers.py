"""Real brokers that can be killed, paused and started again on the port they had."""

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Protocol

from engine.bus.broker import EmbeddedBroker
from engine.bus.urls import BrokerUrl
from tests.bus.conftest import free_port
from vmqtui.testing import until


class FaultyBroker(Protocol):
    """A broker process. ``persistent``: what it keeps outlives it, from the next start on."""

    name: str
    persistent: bool
    url: BrokerUrl

    @property
    def pid(self) -> int: ...
    async def start(self) -> None: ...
    async def kill(self) -> None: ...
    def signal(self, number: int) -> None: ...


class MosquittoProcess:
    """Mosquitto."""

    name = "Mosquitto"

    def __init__(self, directory: Path) -> None:
        self.url = BrokerUrl("127.0.0.1", free_port())
        self.persistent = False
        self._directory = directory
        self._config = directory / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        kept = f"persistence_location {self._directory}/\nautosave_on_changes true\nautosave_interval 1\n"
        self._config.write_text(
            f"listener {self.url.port} 127.0.0.1\nallow_anonymous true\nlog_type none\nset_tcp_nodelay true\n"
            f"persistence {str(self.persistent).lower()}\n{kept if self.persistent else ''}"
        )
        command = ["mosquitto", "-c", str(self._config)]
        self._process = await asyncio.to_thread(subprocess.Popen, command, stderr=subprocess.DEVNULL)
        await until(lambda: listens(self.url), what="mosquitto listens")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)


class EmbeddedProcess:
    """The embedded broker. It keeps nothing."""

    name = "embedded"
    persistent = False

    def __init__(self) -> None:
        self.url = BrokerUrl("127.0.0.1", free_port())
        self._broker = EmbeddedBroker(port=self.url.port)

    async def start(self) -> None:
        self.url = await self._broker.start()

    @property
    def pid(self) -> int:
        assert self._broker.pid is not None
        return self._broker.pid

    async def kill(self) -> None:
        if self._broker.running:
            self.signal(signal.SIGKILL)
        await self._broker.stop()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)


def listens(url: BrokerUrl) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as attempt:
        return attempt.connect_ex((url.host, url.port)) == 0
