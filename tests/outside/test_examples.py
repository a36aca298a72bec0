"""Every file of docs/examples runs in a copy of its folder, as a reader would run it."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.bus.broker import EmbeddedBroker
from engine.bus.engine_bus import EngineBus
from tests import measured
from tests.end_to_end.program import Running

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
RATES = re.compile(r"lab nic0 web-01: (\d+) frames/s, 0 dropped/s")
ENGINE = """
[host]
name = "lab"
cpus = 2
[[adapter]]
[[adapter.queue]]
vm = "web-01"
cpu = 1
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:01"
[[traffic.mix]]
rate_pps = 2_000
flow = [{ mac = "00:15:5d:00:00:01" }]
"""

NOTEBOOK = """
import ast, asyncio, json, sys

with open(sys.argv[1], encoding="utf-8") as notebook:
    cells = [cell for cell in json.load(notebook)["cells"] if cell["cell_type"] == "code"]
known = {"__name__": "__main__"}

async def run():
    for number, cell in enumerate(cells):
        code = compile("".join(cell["source"]), f"cell {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, known)
        if result is not None:
            await result

asyncio.run(run())
"""
"""Runs the cells of a notebook as its kernel does: one after the other, in one event loop."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the examples."""
    return Path(
        shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("node_modules"))
    )


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The URL of an engine whose queue receives 2,000 frames a second."""
    scenario = tmp_path / "lab.toml"
    scenario.write_text(ENGINE, encoding="utf-8")
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    engine = Running("engine", "--scenario", scenario, XDG_RUNTIME_DIR=str(runtime))
    yield engine.first_line()
    assert engine.end() == 0


def run(folder: Path, *command: str | Path, timeout_s: float = 300) -> str:
    """Run a command in the folder; return what it prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("test_*.py")))
def test_the_tests_among_the_examples_pass(folder: Path, name: str) -> None:
    run(folder, sys.executable, "-m", "pytest", "-q", name)


@pytest.mark.slow
def test_a_consumer_that_knows_paho_alone_prints_rates(folder: Path, url: str) -> None:
    source = (folder / "stats_consumer.py").read_text(encoding="utf-8")
    assert not re.search(r"^(import|from) (vmqtui|engine)", source, re.MULTILINE)
    check_rates(run(folder, sys.executable, "stats_consumer.py", url, "--readings", "3"))


@pytest.mark.slow
def test_a_consumer_in_another_language_prints_rates(folder: Path, url: str) -> None:
    check_rates(run(folder, node(folder), "stats_consumer.js", url, "3"))


@pytest.mark.slow
@pytest.mark.parametrize("language", ["Python", "Node.js"])
async def test_a_consumer_takes_what_a_measured_host_does_not_know_for_no_number(
    folder: Path, language: str
) -> None:
    host = measured.linux(4)
    async with EmbeddedBroker() as broker:
        url = broker.url.with_password()
        python = [sys.executable, "stats_consumer.py", url, "--readings", "1"]
        command = python if language == "Python" else [node(folder), "stats_consumer.js", url, "1"]
        bus = EngineBus(broker.url, host.config.host)
        await bus.start(host.config, probe_seconds=0)
        printed = asyncio.create_task(asyncio.to_thread(run, folder, *command))
        while not printed.done():  # it counts from when it has subscribed
            for reading in host.readings:
                bus.publish_stats(reading)
                await asyncio.wait({printed}, timeout=0.05)
        await bus.stop()
    assert "lab-linux eth0 rx-0: 1000 frames/s, 100 dropped/s\n" in printed.result()
    assert "lab-linux eth1 rx-1: 200 frames/s, – dropped/s\n" in printed.result()
    assert "lab-linux eth0 vf 0: – frames/s, – dropped/s\n" in printed.result()


def check_rates(printed: str) -> None:
    rates = [int(rate) for rate in RATES.findall(printed)]
    assert len(rates) == 3, printed
    assert all(1900 <= rate <= 2100 for rate in rates), rates


def node(folder: Path) -> str:
    """Install what the Node.js example needs; return the program that runs it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if program is None or npm is None:
        pytest.skip("Node.js is not installed")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(install, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"its packages are not installed: {done.stderr[-300:]}")
    return program


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(folder: Path) -> None:
    assert "dropped" in run(folder, sys.executable, "-c", NOTEBOOK, "buffers.ipynb")


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads((EXAMPLES / "buffers.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


def test_the_page_of_the_examples_lists_every_file() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {
        "README.md",
        "pytest.ini",
        "package.json",
    }
    assert set(re.findall(r"\]\(([^)/]+)\)", page)) == files
