"""The embedded broker as its parent sees it: started, asked for its URL, stopped."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from engine.bus.errors import BrokerFailed
from engine.bus.settings import ENGINE, USERS, Account, Guests, Place, Settings
from engine.bus.tls import TlsFiles
from engine.bus.topics import random_client
from engine.bus.urls import BrokerUrl, is_loopback
from engine.logs import note, relayed

_log = logging.getLogger(__name__)

_LINE_LIMIT_BYTES = 64 << 10


class EmbeddedBroker:
    """An MQTT broker in a process of its own, which ends with this one, however this one ends.

    ``port`` 0 lets the system choose a free one. ``engine_of`` names the host that only ``engine_url`` and
    ``engine_client`` can speak for. ``accounts`` are let in beside the users of this run; ``insecure`` lets
    in who has no credential, where there are no accounts. Beyond loopback, and with ``tls``, it listens on
    loopback too, for this machine. What it logs is logged by this process.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        engine_of: str = "",
        insecure: bool = False,
        tls: TlsFiles | None = None,
        accounts: Sequence[Account] = (),
        deadline_seconds: float = 10.0,
    ) -> None:
        self._places = [Place(host, port, tls)]
        if tls is not None or not is_loopback(host):
            self._places.insert(0, Place("127.0.0.1", 0))
        self._open = insecure and not accounts
        self._deadline_seconds = deadline_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []
        self._relay: threading.Thread | None = None
        self.engine_client = random_client("engine")
        self._guests = Guests(
            host=engine_of,
            engine_client=self.engine_client,
            passwords={user: secrets.token_hex(16) for user in (*USERS, ENGINE)},
            accounts=list(accounts),
            anonymous="engine" if self._open else None,
        )

    @property
    def url(self) -> BrokerUrl:
        """Where clients of this machine find it, once it is started: as its owner, who may do anything but
        speak as another."""
        return self.url_of("owner")

    @property
    def engine_url(self) -> BrokerUrl:
        """The same for the engine it is for."""
        return self._as(ENGINE)

    def url_of(self, user: str) -> BrokerUrl:
        """The same as one of ``settings.USERS``."""
        return self._as(None if self._open else user)

    @property
    def public_url(self) -> BrokerUrl | None:
        """Where clients of other machines find it, where they can; without a credential."""
        if len(self._places) < 2:
            return None
        place = self._places[-1]
        host = socket.gethostname() if place.host in ("0.0.0.0", "::") else place.host
        return BrokerUrl(host, self._started()[-1], tls=place.tls is not None)

    def _as(self, user: str | None) -> BrokerUrl:
        password = None if user is None else self._guests.passwords[user]
        return BrokerUrl(self._places[0].host, self._started()[0], user=user, password=password)

    def _started(self) -> list[int]:
        if not self._ports:
            raise BrokerFailed("the broker is not started")
        return self._ports

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
            self._tell(process)
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
                ports = [int(port) for port in answer["ports"]]
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
        self._ports = ports
        return self.url

    async def stop(self) -> None:
        """End the process and wait for its end."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
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
        self._ports = []

    async def restart(self) -> None:
        """Start it again where it was, after its process ended; one that still runs is killed.

        Raises ``BrokerFailed``; then it may be tried again.
        """
        ports = self._started()
        self._places = [
            msgspec.structs.replace(place, port=port) for place, port in zip(self._places, ports, strict=True)
        ]
        if self._process is not None:
            self._process.kill()
        await self.stop()
        self._ports = ports
        try:
            await self.start()
        finally:
            self._ports = ports

    async def __aenter__(self) -> "EmbeddedBroker":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _tell(self, process: subprocess.Popen[bytes]) -> None:
        """Hand over the settings, by the pipe: other users can read a command line."""
        settings = Settings(self._places, self._guests)
        with contextlib.suppress(OSError):  # it has ended already, and what it printed says why
            process.stdin.write(msgspec.json.encode(settings) + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]

    def _spawn(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "engine.bus.broker_process"]
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
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
