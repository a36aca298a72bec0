"""What the README and docs/use.md tell people to type, typed; and the dashboard in a real terminal."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.capture_forms import frame, packet, pcap
from vmqtui.testing import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(<!-- [a-z ]+ -->\n)?```sh\n(.*?)```", re.DOTALL)
"""Marked blocks set up; CI runs them."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Here ``vmqtui`` is the one under test, and nobody else's engine is found."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {
        "PATH": path,
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_CONFIG_HOME": str(tmp_path),
        "TERM": "xterm-256color",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell reads them")
def test_every_command_works(tmp_path: Path, environment: dict[str, str]) -> None:
    """In the order of the pages, in one directory; what both pages tell is typed once."""
    commands: dict[str, None] = {}
    for page in ("README.md", "docs/use.md"):
        blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
        told = [line for mark, block in blocks if not mark for line in block.splitlines()]
        assert len(told) >= 6, page
        commands |= dict.fromkeys(told)
    (tmp_path / "trace.pcap").write_bytes(pcap([packet(0, frame("02:00:5e:10:00:01"))] * 3))
    engine = None
    try:
        for command in commands:
            if command.startswith("vmqtui engine"):
                engine = subprocess.Popen(
                    command.split(), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
                )
                assert engine.stdout is not None
                assert engine.stdout.readline().startswith("mqtt://owner:")
                continue
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            # Those of live interfaces are compiled by nothing before the command that compiles all.
            told = [
                line for line in done.stderr.splitlines() if not line.startswith("compiling kernels, once: ")
            ]
            assert (done.returncode, told) == (0, []), command
            assert done.stdout or ">" in command
    finally:
        if engine is not None:
            engine.terminate()
            engine.communicate()


class Terminal:
    """A tmux session that runs bare ``vmqtui``."""

    def __init__(self, size: tuple[int, int], socket: Path, environment: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._environment = environment
        width, height = map(str, size)
        command = f"{sys.executable} -m vmqtui"
        self.tmux("new-session", "-d", "-s", "screen", "-x", width, "-y", height, command)
        self.pid = int(self.tmux("list-panes", "-F", "#{pane_pid}"))

    def tmux(self, *command: str) -> str:
        done = subprocess.run(
            [*self._tmux, *command], env=self._environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    @property
    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "screen")

    def close(self) -> None:
        self.tmux("kill-server")


@pytest.fixture(params=[(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def terminal(
    request: pytest.FixtureRequest, tmp_path: Path, environment: dict[str, str]
) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    terminal = Terminal(request.param, tmp_path / "tmux", environment)
    yield terminal
    terminal.close()


def test_bare_vmqtui_shows_moving_numbers_moves_a_queue_and_leaves_nothing(terminal: Terminal) -> None:
    def simulated() -> float:
        shown = re.search(r"sim ([\d.]+)s", terminal.text)
        return float(shown[1]) if shown else 0.0

    def load() -> float:
        shown = re.search(r" 0:7 [^\n%]*?([\d.]+)%", terminal.text)
        return float(shown[1]) if shown else -1.0

    wait_until(lambda: "● live" in terminal.text and simulated() > 0.5, what="a live screen")
    first = simulated()
    wait_until(lambda: simulated() > first, what="time that goes on")
    assert re.search(r"3[45]\dk pkt/s", terminal.text)

    terminal.tmux("send-keys", "-t", "screen", "5")
    wait_until(lambda: load() == 0, what="an idle processor")
    terminal.tmux("send-keys", "-t", "screen", "2", "Down", "m")
    wait_until(lambda: "Move queue 1 (web-01)" in terminal.text, what="the dialog")
    terminal.tmux("send-keys", "-t", "screen", "End")
    wait_until(lambda: "0:7, now at" in terminal.text, what="the choice")
    terminal.tmux("send-keys", "-t", "screen", "Enter")
    wait_until(lambda: "Move queue 1" not in terminal.text, what="the answer")
    terminal.tmux("send-keys", "-t", "screen", "5")
    wait_until(lambda: load() > 5, 20, what="the load on the other processor")

    family = psutil.Process(terminal.pid).children(recursive=True)
    assert len(family) > 8
    terminal.tmux("send-keys", "-t", "screen", "q")
    wait_until(lambda: not any(one.is_running() for one in family), 20, what="the end of every process")
