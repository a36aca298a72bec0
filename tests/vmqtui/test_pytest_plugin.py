"""The pytest plugin in other people's projects, against the installed package."""

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Final

import psutil
import pytest

from vmqtui import Engine, hosting, pytest_plugin
from vmqtui.hosting import ENGINES_KEPT

LOADED: Final = """
import sys

HEAVY = {"engine", "numba", "numpy", "msgspec", "aiomqtt", "multiprocessing", "typer"}

def pytest_unconfigure():
    print("HEAVY", sorted(HEAVY & {name for name in sys.modules}))
"""


def run_pytest(project: Path, *arguments: str, **variables: Path) -> tuple[int, str]:
    """Status and output of ``python -m pytest`` in a project, with the plugins of this environment."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {name: str(path) for name, path in variables.items()}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def write(project: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return project


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["engine/__init__.py", "engine.py"])
def test_a_project_with_an_engine_of_its_own_does_not_notice_vmqtui(tmp_path: Path, layout: str) -> None:
    project = write(
        tmp_path,
        {
            layout: "PISTONS = 4\n",
            "test_car.py": "import engine\n\ndef test_pistons():\n    assert engine.PISTONS == 4\n",
        },
    )
    status, output = run_pytest(project)
    assert status == 0, output
    assert "1 passed" in output
    assert "vmqtui" in output, "the plugin is installed, and pytest names it"


@pytest.mark.slow
def test_a_project_without_an_engine_loads_nothing_heavy(tmp_path: Path) -> None:
    files = {"conftest.py": LOADED, "test_one.py": "def test_one():\n    assert True\n"}
    status, output = run_pytest(write(tmp_path, files), "-p", "no:xdist")
    assert status == 0, output
    assert "HEAVY []" in output


SCENARIO: Final = """
[host]
name = "lab"
cpus = 2
[[adapter]]
  [[adapter.queue]]
  name = "web-01"
  vm = "web-01"
  cpu = 1
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:01"
[traffic]
  [[traffic.mix]]
  rate_pps = 20000
    [[traffic.mix.flow]]
    mac = "00:15:5d:00:00:01"
"""

LEFT: Final = """
import json, os, threading
import psutil

def pytest_unconfigure():
    own = psutil.Process()
    # The fork server and the resource tracker serve later engines, too, and end with this process.
    children = [one.cmdline() for one in own.children(recursive=True)]
    places = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    fds = [os.readlink(place) for place in places if os.path.lexists(place)]
    lasting = ("forkserver", "resource_tracker")
    kinds = ("socket:", "anon_inode:", "/dev/shm")
    left = {
        "threads": [one.name for one in threading.enumerate() if one is not threading.main_thread()],
        "children": [one for one in children if not any(name in " ".join(one) for name in lasting)],
        "descriptors": [one for one in fds if one.startswith(kinds)],
        "memory": [one for one in os.listdir("/dev/shm") if one.startswith(f"vmq-{os.getpid():x}-")],
        "engines": [one for one in os.listdir(os.environ["XDG_RUNTIME_DIR"] + "/vmqtui")],
    }
    print("LEFT", json.dumps({name: found for name, found in left.items() if found}))
    print("PIDS", *[one.pid for one in own.children(recursive=True)])
"""

COMBINATIONS: Final = """
import asyncio
import pytest
from vmqtui import Watcher

started = {{}}

async def use(fixture):
    if hasattr(fixture, "advance"):
        engine = fixture
    else:
        if fixture not in started:
            started[fixture] = await fixture({scenario!r}, clock="manual", announce="named")
        engine = started[fixture]
    before = engine.adapter().port.offered_frames
    await engine.advance(0.01)
    assert engine.adapter().port.offered_frames > before
    assert (await engine.request("pause_vm", vm="web-01", check=True)).status == "ok"
    await engine.event("vm_paused")
    async with Watcher(engine.url) as watcher:
        await watcher.wait_for(lambda: "lab" in watcher.hosts, 60)

""".replace("{{}}", "{}")

COMBINATION: Final = """
{mark_vmq}@pytest.mark.asyncio(loop_scope={loop!r})
class Test_{loop}_{name}:
    async def test_one(self, {name}):
        await use({name})

    async def test_two(self, {name}):
        await use({name})

"""
FIXTURES: Final = ("vmq_engine", "vmq_engine_class", "vmq_engine_module", "vmq_engine_session", "vmq")
LOOPS: Final = ("function", "class", "module", "session")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="descriptors and shared memory are shown as files")
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_no_combination_of_scopes_leaves_anything(tmp_path: Path, mode: str) -> None:
    """Each loop scope of pytest-asyncio with each fixture."""
    mark = '@pytest.mark.vmq(scenario=SCENARIO, clock="manual", announce="named")\n'
    combinations = "".join(
        COMBINATION.format(loop=loop, name=name, mark_vmq=mark if name == "vmq" else "")
        for loop in LOOPS
        for name in FIXTURES
    )
    code = COMBINATIONS.replace("{scenario!r}", repr(SCENARIO)) + f"SCENARIO = {SCENARIO!r}\n" + combinations
    project = write(tmp_path / "project", {"conftest.py": LEFT, "test_scopes.py": code})
    places = {"TMPDIR": tmp_path / "tmp", "XDG_RUNTIME_DIR": tmp_path / "run"}
    for place in places.values():
        place.mkdir(mode=0o700)
    status, output = run_pytest(
        project, "-p", "no:xdist", "-o", f"asyncio_mode={mode}", "-W", "error", **places
    )
    assert status == 0, output
    assert f"{2 * len(LOOPS) * len(FIXTURES)} passed" in output
    assert "LEFT {}" in output, output
    pids = output.partition("PIDS ")[2].partition("\n")[0].split()
    lasting = [process for process in psutil.process_iter() if str(process.pid) in pids]
    assert psutil.wait_procs(lasting, timeout=60)[1] == [], "the fork server and the tracker end, too"
    assert list((tmp_path / "tmp").glob("vmq-*")) == []


TWENTY: Final = """
import pytest

seen = set()

@pytest.mark.vmq(scenario="lab.toml", clock="manual")
@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(20))
async def test_each_test_starts_over(vmq, number):
    seen.add(tuple(vmq.worker_pids))
    assert vmq.now_s == 0
    assert vmq.queue("web-01").received_frames == 0
    assert vmq.queue("web-01").generation == 2
    assert not vmq.events
    await vmq.advance(0.001 * (number + 1))
    response = await vmq.request("set_queue_parameters", queue_id=1, cpu=0, check=True)
    assert response.revision == 2

def test_with_one_engine():
    assert len(seen) == 1

@pytest.mark.vmq(scenario="lab.toml", clock="manual")
@pytest.mark.asyncio
async def test_the_marker_is_the_default_of_the_starter(vmq_engine):
    assert (await vmq_engine()).host == "lab"
    assert (await vmq_engine(clock="real")).host == "lab"
    assert (await vmq_engine({"host": {"name": "other", "cpus": 1}})).host == "other"
"""
WRONG: Final = """
import pytest

@pytest.mark.vmq(scenrio="lab.toml")
def test_argument(vmq):
    pass

@pytest.mark.vmq("lab.toml")
def test_position(vmq_engine):
    pass

@pytest.mark.vmq(clock="slow")
def test_value(vmq):
    pass

@pytest.mark.vmq(scenario={"host": {"cpus": 0}})
def test_scenario(vmq):
    pass
"""


@pytest.mark.slow
def test_an_engine_is_reset_between_tests_and_a_wrong_marker_is_a_sentence(tmp_path: Path) -> None:
    project = write(tmp_path, {"lab.toml": SCENARIO, "test_twenty.py": TWENTY, "test_wrong.py": WRONG})
    status, output = run_pytest(project, "-p", "no:xdist", "--strict-markers")
    assert status == 1
    assert "22 passed" in output, output
    assert "4 errors" in output
    assert "'scenrio' is no argument of it; scenario, clock, run_to" in output
    assert "'lab.toml' has no name; scenario, clock, run_to" in output
    assert "clock: 'slow'" in output or 'clock: "slow"' in output, output
    assert "host.cpus: 0" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_what_the_fixture_needs_is_a_sentence(tmp_path: Path) -> None:
    files = {"test_one.py": "async def test_one(vmq_engine):\n    pass\n"}
    status, output = run_pytest(
        write(tmp_path, files), "-p", "no:xdist", "-p", "no:asyncio", "-p", "no:anyio"
    )
    assert status == 1
    assert "pip install 'vmqtui[testing]'" in output
    status, output = run_pytest(write(tmp_path, {"engine/__init__.py": ""}), "-p", "no:xdist")
    assert status == 1
    assert "vmqtui's own package engine can't be imported" in output
    assert str(tmp_path / "engine/__init__.py") in output


@pytest.mark.parametrize(
    ("layout", "code"),
    [
        ("engine/__init__.py", "from vmqtui import Engine"),
        ("engine.py", "import vmqtui; vmqtui.__version__"),
        ("engine.py", "from vmqtui.testing import until"),
    ],
)
def test_an_import_that_another_engine_hides_is_a_sentence(tmp_path: Path, layout: str, code: str) -> None:
    project = write(tmp_path, {layout: "", "script.py": code})
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("ImportError: vmqtui's own package engine can't be imported (")
    assert sentence.endswith(f"; {project / layout} has its name")


SCOPES: Final = """
import asyncio
import pytest
from vmqtui import EngineEndedError

pytestmark = pytest.mark.vmq(scenario=dict(host=dict(name="module", cpus=1)), clock="manual")
kept = []


class TestMarked:
    pytestmark = pytest.mark.vmq(scenario=dict(host=dict(name="class", cpus=1)), clock="manual")

    @pytest.fixture
    def names(self, vmq_engine_class, vmq_engine_module, vmq_engine_session):
        async def started():
            return [(await start()).host for start in (vmq_engine_class, vmq_engine_module)]
        return asyncio.run(started())

    @pytest.mark.asyncio
    @pytest.mark.vmq(scenario=dict(host=dict(name="method", cpus=1)), clock="manual")
    async def test_a_test_calls_with_its_marker(
        self, names, vmq_engine_class, vmq_engine_module, vmq_engine_session
    ):
        assert names == ["class", "module"], "a fixture calls with that of the scope"
        starters = (vmq_engine_class, vmq_engine_module, vmq_engine_session)
        engines = [await start() for start in starters]
        assert [engine.host for engine in engines] == ["method"] * 3
        kept.extend((engines[0], vmq_engine_class))


@pytest.mark.asyncio
async def test_after_the_class():
    engine, start = kept
    for use in (engine.advance, engine.reading, engine.reset, engine.advised.wait, engine.__aenter__, start):
        with pytest.raises(EngineEndedError, match="ended"):
            await use()
    await engine.stopped.wait()
    await engine.__aexit__(None, None, None)


@pytest.mark.asyncio
async def test_a_condition_awaits_what_belongs_to_the_loop_of_the_test(vmq):
    loop = asyncio.get_running_loop()

    async def condition():
        await vmq.request("query_queues")
        assert asyncio.get_running_loop() is loop
        belongs = loop.create_future()
        loop.call_soon(belongs.set_result, 7)
        return await belongs

    assert await vmq.until(condition, 5) == 7
    assert await vmq.until(lambda: condition(), 5) == 7
"""


@pytest.mark.slow
def test_a_starter_uses_the_marker_of_its_test_and_ends_with_its_scope(tmp_path: Path) -> None:
    status, output = run_pytest(write(tmp_path, {"test_scopes.py": SCOPES}), "-p", "no:xdist", "-W", "error")
    assert status == 0, output
    assert "3 passed" in output


def test_the_marker_takes_what_an_engine_takes() -> None:
    of_engine = [name for name in inspect.signature(Engine.__init__).parameters if name != "self"]
    assert sorted(pytest_plugin.OPTIONS) == sorted(of_engine)


class FakeEngine:
    """An engine without processes."""

    running: ClassVar[list[str]] = []

    def __init__(self, scenario: str) -> None:
        self.host = scenario
        self.resets = 0

    async def __aenter__(self) -> "FakeEngine":
        self.running.append(self.host)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.running.remove(self.host)

    async def reset(self) -> None:
        self.resets += 1


def test_a_session_keeps_a_bounded_number_of_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was unused longest ends."""
    monkeypatch.setattr(hosting, "HostedEngine", FakeEngine)
    scenarios = [f"lab{number}" for number in range(ENGINES_KEPT)]
    with hosting.Home() as home:
        pool: Any = hosting.EnginePool(home)
        engines = [pool.take({"scenario": scenario}) for scenario in scenarios]
        assert pool.take({"scenario": scenarios[0]}) is engines[0]
        assert [engine.resets for engine in engines[:2]] == [1, 0]
        pool.take({"scenario": "another"})
        assert [*scenarios[:1], *scenarios[2:], "another"] == sorted(FakeEngine.running, key=len)
    assert FakeEngine.running == []
