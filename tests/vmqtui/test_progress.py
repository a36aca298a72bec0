"""Progress of a command: one line on a terminal's stderr, gone at the end, and nothing anywhere else."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.bus.codec import encode
from engine.telemetry.recorder import Recorder
from tests import measured
from vmqtui.cli import output
from vmqtui.cli.output import ProgressLine

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

import fcntl
import pty
import struct
import termios

CLEAR = "\r\x1b[K"


class Terminal:
    """A pseudo-terminal of some columns that is stderr within its context."""

    def __init__(self, columns: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.set_blocking(self._master, False)
        self.file = os.fdopen(slave, "w", encoding="utf-8")
        self._text = ""

    @property
    def text(self) -> str:
        """All that was written to it."""
        while True:
            try:
                self._text += os.read(self._master, 65_536).decode()
            except BlockingIOError:
                return self._text

    def __enter__(self) -> None:
        self._before, sys.stderr = sys.stderr, self.file

    def __exit__(self, *_: object) -> None:
        sys.stderr = self._before

    def close(self) -> None:
        self.file.close()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal(60)
    yield made
    made.close()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def line_with(clock: Clock) -> ProgressLine:
    line = ProgressLine()
    line._clock = clock
    return line


def test_the_time_left_is_estimated_from_the_share_that_is_done(terminal: Terminal) -> None:
    clock = Clock()
    with terminal, line_with(clock) as line:
        line.show("replaying", 0.0)
        clock.now += 10
        line.show("replaying", 0.25)
        assert terminal.text.endswith(f"{CLEAR}replaying: 25%, about 30 s left")
        clock.now += 1000
        line.show("replaying", 0.5)
        assert terminal.text.endswith("replaying: 50%, about 17 min left")


def test_a_smaller_share_begins_another_estimate(terminal: Terminal) -> None:
    clock = Clock()
    with terminal, line_with(clock) as line:
        line.show("planning", 0.0)
        clock.now += 100
        line.show("planning", 0.9)
        clock.now += 1
        line.show("replaying", 0.1)
        assert terminal.text.endswith("replaying: 10%")
        clock.now += 3
        line.show("replaying", 0.4)
        assert terminal.text.endswith("replaying: 40%, about 6 s left")


def test_nothing_is_estimated_of_a_moment_or_of_an_unknown_share(terminal: Terminal) -> None:
    clock = Clock()
    with terminal, line_with(clock) as line:
        line.show("compiling")
        clock.now += 5
        line.show("running", 0.0)
        clock.now += 0.5
        line.show("running", 0.5)
    assert "left" not in terminal.text


def test_the_line_fits_its_terminal_and_is_gone_at_the_end_also_on_an_interrupt(terminal: Terminal) -> None:
    def interrupted() -> None:
        with terminal, ProgressLine() as line:
            line.show("x" * 300)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert terminal.text == f"{CLEAR}{'x' * 59}{CLEAR}"


def test_names_in_it_cannot_steer_the_terminal(terminal: Terminal) -> None:
    with terminal, ProgressLine() as line:
        line.show("reading \x1b[2J\nx")
    assert "\x1b[2J" not in terminal.text
    assert "\n" not in terminal.text


def test_a_remark_stays(terminal: Terminal) -> None:
    with terminal, ProgressLine() as line:
        line.show("compiling")
        line.remark("kernels are kept elsewhere")
        line.show("compiling more")
    assert terminal.text == (
        f"{CLEAR}compiling{CLEAR}kernels are kept elsewhere\r\n{CLEAR}compiling more{CLEAR}"
    )


def test_often_told_it_draws_seldom(terminal: Terminal) -> None:
    clock = Clock()
    with terminal, line_with(clock) as line:
        for step in range(1000):
            clock.now += 0.001
            line.show("replaying", step / 1000)
    assert terminal.text.count("replaying") <= 11


def test_in_a_pipe_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with ProgressLine() as line:
        line.show("replaying", 0.5)
        line.remark("kernels are kept elsewhere")
    assert file.getvalue() == ""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A capture of a few frames; beside it a scenario with one VM and traffic to it, and a recording."""
    head = np.array([0xA1B23C4D, 4 << 16 | 2, 0, 0, 65_535, 1], "<u4").tobytes()
    frame = bytes.fromhex("00155d0000010200000000010800").ljust(64, b"\0")
    records = b"".join(struct.pack("<IIII", 0, 1000 * n, 64, 64) + frame for n in range(2000))
    path = tmp_path / "few.pcap"
    path.write_bytes(head + records)
    (tmp_path / "one.toml").write_text(
        '[[adapter]]\nname = "nic0"\n[[adapter.queue]]\nvm = "a"\ncpu = 0\n'
        '[[adapter.queue.filter]]\nmac = "00:15:5d:00:00:01"\n'
        "[traffic]\nseed = 1\n[[traffic.mix]]\nrate_pps = 1000\n"
        '[[traffic.mix.flow]]\nmac = "00:15:5d:00:00:01"\n'
    )
    host = measured.linux()
    with Recorder(tmp_path / "few.vmqrec", limit_bytes=1 << 30) as recorder:
        recorder.message(host.config.host, "config", encode(host.config))
        for reading in host.readings:
            recorder.reading(host.config.host, reading)
    return path


COMMANDS: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "plan": ("planning", lambda path: ["plan", str(path)]),
    "replay": ("replaying", lambda path: ["replay", str(path), "--json"]),
    "compare": ("of 1 run done", lambda path: ["compare", str(path), "--json"]),
    "advise": (
        "running without a fix",
        lambda path: ["advise", "--scenario", str(path.with_name("one.toml")), "--seconds", "0.2", "--json"],
    ),
    "export": (
        "writing queues",
        lambda path: ["export", "csv", str(path.with_name("few.vmqrec")), "-o", str(path.with_name("rows"))],
    ),
    "import": (
        "running the twin",
        lambda path: ["import", str(path.with_name("few.vmqrec")), "--seconds", "0.2", "--json"],
    ),
    "lesson": ("running without a fix", lambda _: ["scenario", "run", "slow-link", "--headless", "--json"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_it_and_its_output_has_none_of_it(
    name: str, capture: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmqtui.cli.program import run

    doing, arguments = COMMANDS[name]
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    monkeypatch.setattr(output, "_PROGRESS_S", 0.0)  # else a part of the work that is soon done is not drawn
    with terminal:
        assert run(arguments(capture)) == 0
    shown = terminal.text
    assert doing in shown
    if name == "import":  # it remarks on its input, and compares the twin, after the line is gone
        assert f"{CLEAR}the twin ran" in shown
    else:
        assert shown.endswith(CLEAR)
        assert "\n" not in shown
    assert doing not in out.getvalue()
    assert "\x1b" not in out.getvalue()
