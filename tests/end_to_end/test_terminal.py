"""However a dashboard ends, its terminal is as it was before, and its private engine ends with it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.program import VMQTUI
from tests.windows_hosts import WindowsHostSample
from vmqtui.preferences.kept import StateFile
from vmqtui.testing import wait_until

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

import fcntl
import pty
import termios

pytestmark = pytest.mark.slow

ALTERNATE_SCREEN = "\x1b[?1049h"
OWN_SCREEN = "\x1b[?1049l"
CURSOR = "\x1b[?25h"
NO_MOUSE = "\x1b[?1000l"


class Terminal:
    """A pseudo-terminal with a program on it, which is its session's leader."""

    def __init__(self, *command: str, **environment: str) -> None:
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, b"\x28\x00\x78\x00\x00\x00\x00\x00")
        self.mode_before = self.mode()
        self.process = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=os.environ | {"TERM": "xterm-256color"} | environment,
            preexec_fn=_own_terminal,
        )
        self.output = ""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65_536)
            except OSError:
                return
            self.output += data.decode("utf-8", "replace")

    def mode(self) -> list[Any]:
        """How the terminal treats what is typed: flags and characters."""
        return termios.tcgetattr(self.slave)

    def shows(self, *words: str) -> None:
        """Wait until it has shown these."""
        wait_until(lambda: all(word in self.output for word in words), what=f"{words} on the terminal")

    def type(self, keys: str) -> None:
        """Type keys on it."""
        os.write(self._master, keys.encode())

    def hang_up(self) -> None:
        """Take the terminal away, as a lost connection does: the system sends SIGHUP."""
        os.close(self.slave)
        os.close(self._master)
        self._master = self.slave = -1

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self._master, self.slave):
            if file >= 0:
                os.close(file)


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Terminal]:
    """A dashboard on a terminal, with its private engine, once it is live."""
    terminal = Terminal(VMQTUI, XDG_RUNTIME_DIR=str(tmp_path), VMQTUI_BROKER="")
    try:
        terminal.shows(ALTERNATE_SCREEN, "live")
        assert terminal.mode() != terminal.mode_before
        yield terminal
    finally:
        terminal.end()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signal_leaves_the_terminal_as_it_was_and_no_engine(dashboard: Terminal, number: int) -> None:
    family = psutil.Process(dashboard.process.pid).children(recursive=True)
    assert family
    dashboard.process.send_signal(number)
    assert dashboard.process.wait(30) == 128 + number
    assert dashboard.mode() == dashboard.mode_before
    dashboard.shows(OWN_SCREEN)
    after = dashboard.output.rpartition(ALTERNATE_SCREEN)[2]
    assert all(word in after for word in (OWN_SCREEN, CURSOR, NO_MOUSE))
    assert "Traceback" not in after
    wait_until(lambda: not any(_runs(each) for each in family), 30, what="the engine's end")


def test_dashboard_ends_with_its_terminal_and_leaves_no_engine(dashboard: Terminal) -> None:
    family = psutil.Process(dashboard.process.pid).children(recursive=True)
    dashboard.hang_up()
    dashboard.process.wait(30)
    wait_until(lambda: not any(_runs(each) for each in family), 30, what="the engine's end")


@pytest.mark.parametrize("no_state", [False, True], ids=["kept", "no state"])
def test_what_is_chosen_is_in_the_state_file_at_the_end(tmp_path: Path, no_state: bool) -> None:
    recording, config = tmp_path / "hv01.json", tmp_path / "config.toml"
    recording.write_bytes(WindowsHostSample("2012 R2", shared=1, vms=6).json())
    written = 'theme = "light"\n'
    config.write_text(written, encoding="utf-8")
    words = [VMQTUI, "play", str(recording), *(["--no-state"] if no_state else [])]
    terminal = Terminal(*words, VMQTUI_CONFIG=str(config), VMQTUI_NO_STATE="0")
    try:
        terminal.shows(ALTERNATE_SCREEN, "HV01")
        terminal.type("tq")
        assert terminal.process.wait(30) == 0
    finally:
        terminal.end()
    state = StateFile(config.with_name("config.state.json"))
    assert (state.kept.theme is None, state.path.exists(), state.problem) == (no_state, not no_state, "")
    assert state.kept.theme is None or state.kept.theme.instead_of == "light"
    assert config.read_text(encoding="utf-8") == written


STUCK = """
import asyncio, time, tty
from vmqtui.cli import run

class Stuck:
    def exit(self, return_code): pass

    async def run_async(self):
        tty.setraw(0)
        print("stuck", flush=True)
        while True:
            time.sleep(1)

run._FAREWELL_S = 0.1
asyncio.run(run.run_app(Stuck()))
"""
"""A screen that no longer does anything, as one whose terminal takes no more output."""


def test_screen_that_is_stuck_ends_with_its_process_and_restores_the_mode() -> None:
    terminal = Terminal(sys.executable, "-c", STUCK)
    try:
        terminal.shows("stuck")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(30) == 128 + signal.SIGTERM
        assert terminal.mode() == terminal.mode_before
    finally:
        terminal.end()


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
