"""The engine or agent of a dashboard, in a process of its own.

This module imports little: a bare ``vmqtui`` starts its engine before it imports the rest.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Final, cast

from vmqtui.cli.startup import has_terminal

if TYPE_CHECKING:
    from engine.bus.urls import BrokerUrl

_FAREWELL_S: Final = 10.0
_BARE: Final = ("engine", "--tied", "{}")
"""``tied.arguments`` of an engine without options, for which more would have to be imported."""


@contextlib.contextmanager
def bare_engine() -> "Iterator[PrivateEngine | None]":
    """Start the engine of a bare ``vmqtui``, and end it at the end; None if there is no terminal."""
    if not has_terminal():
        yield None
        return
    private = PrivateEngine(_BARE)
    try:
        yield private
    finally:
        private.stop()


class PrivateEngine:
    """An engine or agent in a child process, which exits when this process exits, even if this one is killed.

    ``arguments`` are those of ``tied.arguments``.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.error: str | None = None
        self.status: int | None = None
        self._newest = "starting"
        self._report: Callable[[str], object] = lambda sentence: None
        windows = sys.platform == "win32"
        # A separate process group: Ctrl-C on the terminal goes to the screen only.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vmqtui", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=not windows,
            creationflags=0x200 if windows else 0,  # CREATE_NEW_PROCESS_GROUP
        )
        self._stdin = cast("IO[str]", self._process.stdin)
        self._stdout = cast("IO[str]", self._process.stdout)
        self._stderr = cast("IO[str]", self._process.stderr)
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    async def start(self) -> "BrokerUrl | None":
        """Wait until its broker listens, and return its URL; None if it ended instead: ``error`` says why."""
        import asyncio

        from engine.bus.urls import BrokerUrl

        line = await asyncio.to_thread(self._stdout.readline)
        if line:
            return BrokerUrl.parse(line.strip())
        await self.ended_early()
        return None

    async def ended_early(self) -> None:
        """Wait until it has ended, which is before it was ready; ``error`` then has the reason."""
        import asyncio

        await asyncio.to_thread(self.wait)
        await asyncio.to_thread(self._listening.join)
        self.error = self.error or "the engine ended before it was ready"

    def wait(self) -> None:
        """Block until the process has exited, and set ``status``."""
        self.status = self._process.wait()

    def report_to(self, report: Callable[[str], None]) -> None:
        """Report progress to ``report``, in this event loop, from now on; first the newest sentence."""
        import asyncio

        event_loop = asyncio.get_running_loop()
        self._report = lambda sentence: event_loop.call_soon_threadsafe(report, sentence)
        report(self._newest)

    def stop(self) -> None:
        """Close its standard input, which ends it; kill it after a timeout."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listening.join(_FAREWELL_S)
        self._stdout.close()

    def _listen(self) -> None:
        """Read its stderr: report progress, and store an error in ``error``."""
        with self._stderr as said:
            for line in said:
                sentence = line.strip()
                if sentence.startswith("error: "):
                    self.error = sentence.removeprefix("error: ")
                self._newest = sentence
                with contextlib.suppress(RuntimeError):  # the event loop is closed
                    self._report(sentence)
