"""The embedded broker, as its parent process controls it: start, stop, restart, URLs, and supervision."""

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
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final

import msgspec

from engine.bus.accounts import ENGINE, USERS, AccessSettings, Account, BrokerSettings, ListenAddress
from engine.bus.errors import BrokerFailed
from engine.bus.tls import TlsFiles
from engine.bus.topics import random_client
from engine.bus.urls import BrokerUrl, is_loopback
from engine.logs import note, relayed

_log = logging.getLogger(__name__)

_LINE_LIMIT_BYTES = 64 << 10
_POLL_S: Final = 0.25
_DELAYS_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
_CALM_S: Final = 60.0
HANGS_AFTER_S: Final = 15.0
"""A broker whose engine is not connected for this time counts as hung. It exceeds the keep-alive and
several attempts to connect."""


class EmbeddedBroker:
    """An MQTT broker in a child process, which ends with this process even if this one is killed.

    ``port`` 0 lets the system choose a free one. Only the client with ``engine_url`` and ``engine_client``
    can publish for the host ``engine_of``. ``accounts`` may connect in addition to the users of this run;
    ``insecure`` admits clients without credentials if there are no accounts. Beyond loopback, and with
    ``tls``, it also listens on loopback, for clients on this machine. This process logs its log records.
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
        self._addresses = [ListenAddress(host, port, tls)]
        if tls is not None or not is_loopback(host):
            self._addresses.insert(0, ListenAddress("127.0.0.1", 0))
        self._open = insecure and not accounts
        self._deadline_seconds = deadline_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []
        self._relay: threading.Thread | None = None
        self.engine_client = random_client("engine")
        self._access_settings = AccessSettings(
            host=engine_of,
            engine_client=self.engine_client,
            passwords={user: secrets.token_hex(16) for user in (*USERS, ENGINE)},
            accounts=list(accounts),
            anonymous="engine" if self._open else None,
        )

    @property
    def url(self) -> BrokerUrl:
        """URL on this machine, for the owner, who has all rights except to publish for ``engine_of``. Raises
        ``BrokerFailed`` before the start."""
        return self.url_of("owner")

    @property
    def engine_url(self) -> BrokerUrl:
        """URL for the engine that the broker belongs to."""
        return self._as(ENGINE)

    def url_of(self, user: str) -> BrokerUrl:
        """Return the URL for one of ``accounts.USERS``."""
        return self._as(None if self._open else user)

    @property
    def public_url(self) -> BrokerUrl | None:
        """URL for other machines, without credentials; None if it is on loopback and without TLS."""
        if len(self._addresses) < 2:
            return None
        address = self._addresses[-1]
        host = socket.gethostname() if address.host in ("0.0.0.0", "::") else address.host
        return BrokerUrl(host, self._started()[-1], tls=address.tls is not None)

    def _as(self, user: str | None) -> BrokerUrl:
        password = None if user is None else self._access_settings.passwords[user]
        return BrokerUrl(self._addresses[0].host, self._started()[0], user=user, password=password)

    def _started(self) -> list[int]:
        if not self._ports:
            raise BrokerFailed("the broker is not started")
        return self._ports

    @property
    def pid(self) -> int | None:
        """Id of the broker's process; None if there is no process."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the broker's process runs."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> BrokerUrl:
        """Start the process and wait until it listens. Raises ``BrokerFailed``."""
        with tempfile.TemporaryFile() as errors:
            process = self._process = self._spawn(errors)
            self._send_settings(process)
            # In a thread, because the selector loop that aiomqtt needs on Windows can't run subprocesses.
            # stdout is not None, because _spawn requests a pipe.
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
        """End the process and wait until it has ended."""
        if self._process is not None:
            await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Do the same without an event loop."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._relay is not None:
            self._relay.join(2.0)
        if process.stdout is not None and (self._relay is None or not self._relay.is_alive()):
            process.stdout.close()
        self._relay = None
        self._process = None
        self._ports = []

    async def restart(self) -> None:
        """Restart the broker on the same ports; kill its process if it still runs.

        Raises ``BrokerFailed``; the caller may try again.
        """
        ports = self._started()
        self._addresses = [
            msgspec.structs.replace(address, port=port)
            for address, port in zip(self._addresses, ports, strict=True)
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

    def _send_settings(self, process: subprocess.Popen[bytes]) -> None:
        """Send the settings through the pipe, because other users can read a command line."""
        settings = BrokerSettings(self._addresses, self._access_settings)
        with contextlib.suppress(OSError):  # it has already ended; its output gives the reason
            # stdin is not None, because _spawn requests a pipe.
            process.stdin.write(msgspec.json.encode(settings) + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]

    def _spawn(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "engine.bus.broker_process"]
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
        # A separate process group does not receive the terminal's Ctrl-C.
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
    """Log the records of the broker's process until its output ends."""
    while line := lines.readline(_LINE_LIMIT_BYTES):
        relayed(_log, line)
    note(_log, logging.INFO, "broker_ended")


async def supervise(
    broker: EmbeddedBroker, connected: Callable[[], bool], report: Callable[[str], None]
) -> None:
    """Restart a broker whenever its process ends or hangs, until this task is cancelled.

    ``connected`` returns whether its engine is connected; ``report`` is called with a sentence after each
    restart.
    """
    failures = 0
    back_s = lost_s = time.monotonic()
    while True:
        await asyncio.sleep(_POLL_S)
        now_s = time.monotonic()
        if connected():
            lost_s = now_s
        if broker.running and now_s - lost_s < HANGS_AFTER_S:
            continue
        why = "hung" if broker.running else "ended"
        note(_log, logging.ERROR, "broker_died", why=f"the embedded broker {why}; it is started again")
        failures = 0 if now_s - back_s > _CALM_S else failures + 1
        await asyncio.sleep(_DELAYS_S[min(failures, len(_DELAYS_S) - 1)])
        try:
            await broker.restart()
        except BrokerFailed as error:
            note(_log, logging.ERROR, "broker_failed", why=error)
            continue
        back_s = lost_s = time.monotonic()
        report(f"the embedded broker {why} and was started again")
