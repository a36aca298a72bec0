"""What is soaked: an engine in a process of its own, its workers, and a broker (Mosquitto, or its own)."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil

ROOT = Path(__file__).parents[2]
HOST = "soak"
CPUS = 4
VMS = [f"vm-{number}" for number in range(8)]
MACS = [f"00:15:5d:00:00:{number:02x}" for number in range(1, 13)]
DEADLINE_S = 2.0
START_S = 120.0


def scenario() -> str:
    """Two adapters whose queues share four processors; some VMs keep buffers for a while."""
    parts = [f'[host]\nname = "{HOST}"\ncpus = {CPUS}\n']
    for adapter in range(2):
        parts.append(
            f'[[adapter]]\nname = "nic{adapter}"\nmax_queues = 16\nmax_filters = 32\nbuffers = 8192\n'
        )
        for number in range(4):
            mac, vm = MACS[4 * adapter + number], VMS[4 * adapter + number]
            parts.append(
                f'[[adapter.queue]]\nname = "q{adapter}{number}"\nvm = "{vm}"\ncpu = {number % CPUS}\n'
                f"return_delay_us = {number * 300}\nbuffers = 256\n"
                f'[[adapter.queue.filter]]\nmac = "{mac}"\n'
            )
    flows = ", ".join(f'{{ mac = "{mac}" }}' for mac in MACS)
    parts += [
        f'[[traffic.mix]]\nadapter = "nic{adapter}"\nrate_pps = 15000\n'
        f'flow = [{flows}, {{ kind = "broadcast" }}, {{ kind = "unknown" }}]\n'
        for adapter in range(2)
    ]
    return "\n".join(parts)


@dataclass(frozen=True)
class Address:
    """Where a broker is, and as whom to come."""

    url: str

    @property
    def name(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 1883

    @property
    def user(self) -> str:
        return unquote(urlsplit(self.url).username or "")

    @property
    def password(self) -> str:
        return unquote(urlsplit(self.url).password or "")


class Mosquitto:
    """A Mosquitto process on a port that stays the same."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise FileNotFoundError("mosquitto is not installed")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = Address(f"mqtt://127.0.0.1:{free.getsockname()[1]}")
        config = directory / "mosquitto.conf"
        config.write_text(
            f"listener {self.address.port} 127.0.0.1\nallow_anonymous true\n"
            "set_tcp_nodelay true\nlog_type none\n"
        )
        self._command = [program, "-c", str(config)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(10)


class EngineProcess:
    """``vmqtui engine`` as its user starts it. ``broker`` None: its own, embedded one."""

    def __init__(self, directory: Path, broker: Address | None, interval_s: float) -> None:
        (directory / "soak.toml").write_text(scenario(), encoding="utf-8")
        runtime = directory / "runtime"
        runtime.mkdir(mode=0o700)
        options = ["--scenario", str(directory / "soak.toml"), "--interval", str(interval_s)]
        options += ["--worker-deadline", str(DEADLINE_S), "--log-file", str(directory / "engine.log")]
        options += ["--broker", broker.url] if broker is not None else []
        self._errors = (directory / "engine.err").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vmqtui", "engine", *options],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT)},
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        if not first:
            raise RuntimeError(f"no engine: {(directory / 'engine.err').read_text()}")
        self.address = broker or self._announced(runtime)

    def _announced(self, runtime: Path) -> Address:
        """Its own broker's URL, with what it takes to be let in."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            for path in runtime.glob(f"**/engine-{self.process.pid}.json"):
                return Address(json.loads(path.read_text())["url"])
            time.sleep(0.05)
        raise RuntimeError("the engine has not told where its broker is")

    @property
    def root(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def workers(self) -> list[psutil.Process]:
        """The workers: what the fork server has forked."""
        try:
            servers = [each for each in self.root.children() if "forkserver" in " ".join(each.cmdline())]
            return [worker for server in servers for worker in server.children()]
        except psutil.NoSuchProcess:
            return []

    def broker(self) -> psutil.Process | None:
        """The embedded broker's process."""
        found = [each for each in self.root.children() if "engine.bus.broker_process" in each.cmdline()]
        return found[0] if found else None

    def segments(self) -> list[Path]:
        """Its shared memory, where the system shows it."""
        pattern = re.compile(f"vmq-{self.process.pid:x}-[0-9a-f]+")
        shared = Path("/dev/shm")
        return [path for path in shared.iterdir() if pattern.fullmatch(path.name)] if shared.is_dir() else []

    def end(self) -> int:
        """End it as a user would; its status."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self._errors.close()
