"""Runs the installed program and waits for things, always with a deadline."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil

from vmqtui.testing import wait_until

VMQTUI = next(
    (str(each) for each in Path(sys.executable).parent.glob("vmqtui*") if each.stem == "vmqtui"), ""
) or str(shutil.which("vmqtui"))


@dataclass(frozen=True)
class Done:
    """An ended run of the program."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document that stdout holds."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def run(*arguments: str | Path, timeout: float = 60, **environment: str) -> Done:
    """Run ``vmqtui`` with these arguments to its end; ``environment`` is added to this one's."""
    ended = subprocess.run(
        [VMQTUI, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        env=os.environ | environment,
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def in_this_process() -> Iterator[None]:
    """For the program's ``main`` in this process: what it sets for its own children is undone at the end."""
    environment = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for name in os.environ.keys() - environment:
            del os.environ[name]
        os.environ.update(environment)


def shared_memory(family: list[psutil.Process]) -> set[Path]:
    """Shared-memory segments that these processes have mapped, where the system shows them as files."""
    if not sys.platform.startswith("linux"):
        return set()
    paths = {Path(each.path) for process in family for each in process.memory_maps()}
    return {path for path in paths if path.is_relative_to("/dev/shm") and path.exists()}


class Running:
    """A running ``vmqtui`` command, its lines gathered as they come."""

    started: ClassVar[list["Running"]] = []
    """All of them, so that what a failed test left running is ended."""

    def __init__(self, *arguments: str | Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [VMQTUI, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | environment,
        )
        self.started.append(self)
        self.begun = time.monotonic()
        self.ended = 0.0
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._gather, args=pair, daemon=True)
            for pair in ((self.out, self.process.stdout), (self.err, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _gather(self, lines: list[str], stream: Iterable[str]) -> None:
        lines.extend(stream)
        self.ended = time.monotonic()

    def wait(self, seconds: float) -> Done:
        """Wait for its own end."""
        self.process.wait(seconds)
        for reader in self._readers:
            reader.join(60)
        return Done(self.process.returncode, "".join(self.out), "".join(self.err))

    def first_line(self, seconds: float = 60) -> str:
        def came() -> object:
            return self.out or self.process.poll() is not None

        wait_until(came, seconds, what=f"first line of {self.process.args!r}")
        assert self.out, f"ended with {self.process.returncode}: {self.err}"
        return self.out[0].rstrip("\n")

    def family(self) -> list[psutil.Process]:
        """This process and everything below it."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def end(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal if it still runs, wait for its end, give its status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        finally:
            self.process.kill()
        for reader in self._readers:
            reader.join(60)
        return self.process.returncode
