"""Ctrl-C at any moment of a long command: status 130, nothing printed, nothing left.

A command runs once to count its audit events (imports, files, processes, memory); then again and again, each
time with SIGINT to its process group, as a terminal sends it, at another of them.
"""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import psutil
import pytest

from engine.bus.codec import encode
from engine.telemetry.recorder import Recorder
from tests import measured
from vmqtui.testing import wait_until

if sys.platform == "win32":
    pytest.skip("needs process groups", allow_module_level=True)

pytestmark = pytest.mark.slow

PROGRAM: Final = Path(__file__).with_name("interrupted.py")
MOMENTS: Final = 6
"""Moments at which each command is interrupted: one in each sixth of its run."""
SCENARIO: Final = """
[[adapter]]
name = "nic0"
[[adapter.queue]]
vm = "a"
cpu = 0
buffers = 16
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:01"
[traffic]
seed = 1
[[traffic.mix]]
rate_pps = 100000
[[traffic.mix.flow]]
mac = "00:15:5d:00:00:01"
"""
COMMANDS: Final = {
    "plan": "plan CAPTURE",
    "replay": "replay CAPTURE --scenario SCENARIO",
    "compare": "compare SCENARIO --sweep adapter.queue.buffers=16,32 --seconds 0.1",
    "advise": "advise --scenario SCENARIO --seconds 0.2",
    "lesson": "scenario run slow-link --headless",
    "bench": "bench --cpus 2 --queues 4 --seconds 0.5",
    "export": "export csv RECORDING -o OUTPUT --force",
    "import": "import RECORDING --host lab-linux --seconds 0.2 -o OUTPUT --force",
}
_REMARKS: Final = {"import"}
"""Commands that remark on their input on stderr."""


class Ended(NamedTuple):
    """How a run ended, and which shared memory and temporary files it left."""

    status: int
    err: str
    left: list[Path]


def run(moment: int, directory: Path, arguments: list[str]) -> Ended:
    temporary = directory / "temporary"
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(moment), str(directory / "count"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    try:
        _, err = process.communicate(timeout=180)
        wait_until(lambda: not running(process.pid), what="the end of its processes")
    finally:
        for one in running(process.pid):
            one.kill()
    memory = list(Path("/dev/shm").glob(f"vmq-{process.pid:x}-*"))
    return Ended(process.returncode, err, [*memory, *temporary.rglob("*")])


def running(session: int) -> list[psutil.Process]:
    """Processes of a session that run."""
    found = []
    for one in psutil.process_iter():
        try:
            if os.getsid(one.pid) == session and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.fixture
def words(tmp_path: Path) -> dict[str, str]:
    head = np.array([0xA1B23C4D, 4 << 16 | 2, 0, 0, 65_535, 1], "<u4").tobytes()
    frame = bytes.fromhex("00155d0000010200000000010800").ljust(64, b"\0")
    records = [np.array([0, 1000 * n, 64, 64], "<u4").tobytes() + frame for n in range(2000)]
    capture, scenario = tmp_path / "few.pcap", tmp_path / "one.toml"
    capture.write_bytes(head + b"".join(records))
    scenario.write_text(SCENARIO)
    recording = tmp_path / "measured.vmqrec"
    host = measured.linux()
    with Recorder(recording, limit_bytes=1 << 30) as recorder:
        recorder.message(host.config.host, "config", encode(host.config))
        for reading in host.readings:
            recorder.reading(host.config.host, reading)
    paths = {"CAPTURE": capture, "SCENARIO": scenario, "RECORDING": recording, "OUTPUT": tmp_path / "output"}
    return {word: str(path) for word, path in paths.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupt_at_any_moment_ends_a_command_cleanly(
    name: str, words: dict[str, str], tmp_path: Path
) -> None:
    arguments = [words.get(word, word) for word in COMMANDS[name].split()]
    whole = run(0, tmp_path, arguments)
    assert (whole.status, whole.left) == (0, [])
    assert name in _REMARKS or not whole.err
    count = int((tmp_path / "count").read_text())
    choose = random.Random(name)
    for part in range(MOMENTS):
        moment = choose.randrange(1 + part * count // MOMENTS, 1 + (part + 1) * count // MOMENTS)
        ended = run(moment, tmp_path, arguments)
        # After the last of its work a command may have its own status.
        assert ended.status == 130 or (ended.status == 0 and part == MOMENTS - 1), (moment, ended)
        said = set(ended.err.splitlines()) - set(whole.err.splitlines())
        assert (said, ended.left) == (set(), []), (moment, ended)
        assert not list(tmp_path.glob("output.*")), moment
