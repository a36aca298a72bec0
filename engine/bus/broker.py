"""The embedded broker as its parent sees it: started, asked for its URL, stopped."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO

from engine.bus.errors import BrokerFailed
from engine.bus.urls import BrokerUrl
from engine.logs import note, relayed

_log = logging.getLogger(__name__)

_LINE_LIMIT_BYTES = 64 << 10
_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class EmbeddedBroker:
    """An MQTT broker in a process of its own, which ends with this one, however this one ends.

    ``port`` 0 lets the system choose a free one. What it logs is
    logged by this process.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        deadline_seconds: float = 10.0,
    ) -> None:
        self._host = host
        self._port = port
        self._deadline_seconds = deadline_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._url: BrokerUrl | None = None
        self._relay: threading.Thread | None = None

    @property
    def url(self) -> BrokerUrl:
        """Where clients of this machine find it, once it is started."""
        if self._url is None:
            raise BrokerFailed("the broker is not started")
        return self._url

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> BrokerUrl:
        """Start it and wait until it listens. Raises ``BrokerFailed``."""
        with tempfile.TemporaryFile() as errors:
            process = self._process = self._spawn(errors)
            # A thread, since the selector loop that aiomqtt needs on Windows has no subprocesses.
            reading = asyncio.create_task(asyncio.to_thread(process.stdout.readline))  # type: ignore[union-attr]
            try:
                line = await asyncio.wait_for(asyncio.shield(reading), self._deadline_seconds)
            except BaseException as error:
                process.kill()
                await reading
                await self.stop()
                if isinstance(error, TimeoutError):
                    raise BrokerFailed(
                        f"the broker was not ready within {self._deadline_seconds:g} s"
                    ) from None
                raise
            try:
                answer = json.loads(line)
                port = int(answer["port"])
            except ValueError:
                await self.stop()
                errors.seek(0)
                last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise BrokerFailed(
                    f"the broker ended before it was ready: {last or 'no reason given'}"
                ) from None
            except KeyError:
                await self.stop()
                raise BrokerFailed(f"the broker {answer['error']}") from None
        self._relay = threading.Thread(target=_relay, args=(process.stdout,), daemon=True)
        self._relay.start()
        self._url = BrokerUrl(_WILDCARDS.get(self._host, self._host), port)
        return self._url

    async def stop(self) -> None:
        """End the process and wait for its end."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.to_thread(process.wait, 2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        if self._relay is not None:
            await asyncio.to_thread(self._relay.join, 2.0)
        if process.stdout is not None and (self._relay is None or not self._relay.is_alive()):
            process.stdout.close()
        self._relay = None
        self._process = None
        self._url = None

    async def __aenter__(self) -> "EmbeddedBroker":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _spawn(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "engine.bus.broker_process", self._host, str(self._port)]
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        # A process group of its own keeps the terminal's Ctrl-C away from it.
        if sys.platform == "win32":
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
            )
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            process_group=0,
        )


def _relay(lines: IO[bytes]) -> None:
    """Log what the broker's process has to say, until it ends."""
    while line := lines.readline(_LINE_LIMIT_BYTES):
        relayed(_log, line)
    note(_log, logging.INFO, "broker_ended")
