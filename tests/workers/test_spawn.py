"""Workers where there is no fork, as on Windows: what a spawned one imports, and many of them."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from engine.workers import pool
from engine.workers.pool import WorkerPool
from engine.workers.start import context
from tests.workers.test_deaths import OTHER, queue, two_queues
from tests.workers.test_restarts import serve

SPAWNING: Final = """
import json, multiprocessing, sys
from vmqtui.__main__ import main  # as the console script has it, which a spawned process imports, too

def report(target, pipe):
    pipe.send(sorted(sys.modules))

if __name__ == "__main__":
    from engine.workers import shard
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=report, args=(shard.main, theirs))
    process.start()
    print(json.dumps(ours.recv()))
    process.join()
"""
ENGINE: Final = {
    "engine",
    "engine.dataplane",
    "engine.dataplane.memory",
    "engine.signals",
    "engine.kernels",
    *(
        f"engine.kernels.{name}"
        for name in [
            "armed",
            "cache",
            "dpc",
            "jit",
            "latency",
            "layout",
            "round_ends",
            "serve",
            "steer",
            "top",
            "views",
        ]
    ),
    "engine.ndis",
    "engine.ndis.counters",
    "engine.ndis.steering",
    "engine.files",
    "engine.trusted",
    "engine.workers",
    "engine.workers.shard",
}
PACKAGES: Final = {"llvmlite", "numba", "numpy", "platformdirs", "psutil"}
OF_NUMBA: Final = {"cffi", "pycparser", "yaml", "colorama", "scipy"}
"""What Numba imports where it is installed."""
NOT_NEEDED: Final = {"asyncio", "concurrent", "http", "ssl", "sqlite3", "tkinter", "unittest", "xml"}


@pytest.mark.slow
def test_a_spawned_worker_imports_kernels_and_what_they_need(tmp_path: Path) -> None:
    script = tmp_path / "spawning.py"
    script.write_text(SPAWNING, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert {name for name in loaded if name.split(".")[0] == "engine"} == ENGINE
    assert {name for name in loaded if name.split(".")[0] == "vmqtui"} == {"vmqtui", "vmqtui.__main__"}
    tops = {name.split(".")[0] for name in loaded}
    own = {"engine", "vmqtui", "__main__", "__mp_main__", "cython_runtime", "sitecustomize", "usercustomize"}
    foreign = {name for name in tops - sys.stdlib_module_names - own if not name.startswith("_")}
    assert foreign - OF_NUMBA == PACKAGES
    assert not tops & NOT_NEEDED


def test_the_ends_of_more_workers_than_windows_waits_for_at_once_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before Python 3.13, ``wait`` takes 63 handles there."""

    def wait_on_windows(handles: Sequence[Any], timeout: float | None = None) -> list[Any]:
        if len(handles) > 63:
            raise ValueError("need at most 63 handles")
        return list(wait(handles, timeout))

    monkeypatch.setattr(pool, "wait", wait_on_windows)
    pipes = [os.pipe() for _ in range(200)]
    many = object.__new__(WorkerPool)
    # A stand-in has what is waited for.
    many._processes = [SimpleNamespace(sentinel=ours) for ours, _ in pipes]  # type: ignore[misc]
    try:
        assert many.dead() == []
        for cpu in (0, 63, 64, 150, 199):
            os.write(pipes[cpu][1], b"!")
        assert many.dead() == [0, 63, 64, 150, 199]
    finally:
        for ends in pipes:
            for end in ends:
                os.close(end)


@pytest.mark.skipif(context().get_start_method() == "spawn", reason="workers are spawned anyway")
@pytest.mark.slow
def test_spawned_workers_serve_as_forked_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "context", lambda: multiprocessing.get_context("spawn"))
    with two_queues() as rounds:
        serve(rounds, [1] * 10 + [OTHER] * 10, 0)
        assert [queue(rounds, one)["returned_frames"] for one in (1, 2)] == [10, 10]
