"""Where compiled kernels are kept, and a first start: visible, once, wherever the program is installed."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.kernels import cache as kernel_cache
from engine.kernels import prepare as kernels
from tests.traffic.captures import ethernet, frame, pcap
from vmqtui.cli.program import run as run_command

ROOT = Path(__file__).parents[2]
PREPARE = "from engine.kernels.prepare import prepare; prepare(print)"
REACHED = """
import json, sys
from engine.kernels import prepare as kernels

class Reached(BaseException):
    pass

def prepare(*given):
    raise Reached("engine.kernels.jit" in sys.modules)

kernels.prepare = prepare
from vmqtui.cli.program import run
try:
    run(sys.argv[1:])
except Reached as reached:
    print(reached)
"""
"""Prints whether anything with kernels was imported before a command saw to it that they are compiled."""
WHY = "from engine.kernels.prepare import why_at_every_start; print(why_at_every_start())"


def install(directory: Path) -> Path:
    """A copy of the packages, that nobody may write to."""
    for package in ("engine", "vmqtui"):
        shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "themes", directory / "vmqtui" / "themes")
    for path in [*directory.rglob("*"), directory]:
        path.chmod(path.stat().st_mode & ~0o222)
    return directory


def run(installed: Path, cache: Path, *command: str) -> str:
    """Run Python on an installed copy, with its caches below ``cache``."""
    variables = ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA", "USERPROFILE", "TMPDIR", "TMP", "TEMP")
    environment = os.environ | dict.fromkeys(variables, str(cache))
    environment |= {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=installed.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def replay_a_frame(installed: Path, cache: Path, directory: Path) -> None:
    capture = directory / "one.pcap"
    capture.write_bytes(pcap([frame(0, ethernet("00:15:5d:00:00:01"))]))
    document = json.loads(run(installed, cache, "-m", "vmqtui", "replay", str(capture), "--json"))
    assert document["adapters"][0]["port"]["offered_frames"] == 1


@pytest.mark.slow
def test_a_read_only_install_compiles_once_says_how_far_it_is_and_runs(tmp_path: Path) -> None:
    installed = install(tmp_path / "site")
    before = sorted(installed.rglob("*"))
    cache = tmp_path / "cache"
    cache.mkdir()
    first = run(installed, cache, "-c", PREPARE).splitlines()
    count = len(kernels.MODULES)
    counted = [line.split(";")[0] for line in first]
    assert counted == [f"compiling kernels, once: {done} of {count}" for done in range(count + 1)]
    assert first[0].startswith("compiling kernels, once: 0 of 9; left: serve, steer, synthetic, ")
    assert all(len(line) <= 78 for line in first)
    assert run(installed, cache, "-c", PREPARE) == ""
    replay_a_frame(installed, cache, tmp_path)
    assert sorted(installed.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        "engine",
        "engine --listen 127.0.0.1:0",
        "engine --interface lo",
        "replay one.pcap",
        "plan one.pcap",
        "compare one.pcap lab.toml",
        "advise --scenario lab.toml",
        "scenario run one-queue --headless",
        "bench",
    ],
)
@pytest.mark.slow
def test_every_command_sees_to_the_kernels_before_it_imports_any(command: str, tmp_path: Path) -> None:
    """What is imported first compiles without a word, in a process that keeps the compiler's memory."""
    (tmp_path / "one.pcap").write_bytes(pcap([frame(0, ethernet("00:15:5d:00:00:01"))]))
    (tmp_path / "lab.toml").write_text('[host]\nname = "lab"\n[[adapter]]\nname = "nic0"\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", REACHED, *command.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "False\n", done.stderr


@pytest.mark.slow
def test_without_any_directory_to_keep_kernels_in_it_says_so_and_runs(tmp_path: Path) -> None:
    installed = install(tmp_path / "site")
    cache = tmp_path / "cache"
    cache.mkdir()
    for taken in (".cache", "vmqtui", "Library", f"vmqtui-{getattr(os, 'getuid', int)()}"):
        (cache / taken).write_text("a file is no directory", encoding="utf-8")
    assert run(installed, cache, "-c", PREPARE) == ""
    told = run(installed, cache, "-c", WHY)
    assert told.startswith("no directory can keep compiled kernels: they are compiled at every start (")
    assert f"vmqtui-{getattr(os, 'getuid', int)()}: " in told or sys.platform == "win32"
    replay_a_frame(installed, cache, tmp_path)


NOT_NEEDED = """
import asyncio
import engine.traffic.interface_kernels, engine.traffic.plan_count
from engine.kernels.jit import Kernel
from engine.service.engine import Engine
async def main():
    async with Engine():
        print(*sorted({one._module.rpartition(".")[2] for one in Kernel._not_loaded}))
asyncio.run(main())
"""


def test_an_engine_loads_only_kernels_that_its_frames_need() -> None:
    """Others, which modules it imports define, may not be compiled yet: its start would wait for them."""
    done = subprocess.run(
        [sys.executable, "-c", NOT_NEEDED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "capture_kernels interface_kernels plan_kernels\n"


def test_each_installation_has_a_cache_of_its_own(tmp_path: Path) -> None:
    """Numba keeps what it compiles apart by path: one copy's kernels are no use to another."""
    where = "from engine.kernels.cache import CACHE_DIRECTORY; print(CACHE_DIRECTORY)"
    found = {run(install(tmp_path / name), tmp_path, "-c", where) for name in ("one", "other")}
    assert len(found) == 2


def test_kernels_that_do_not_compile_are_an_error_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "CACHE_DIRECTORY", tmp_path)
    module = "engine.no_such_module"
    with pytest.raises(kernels.KernelError, match=r"do not compile: .*no_such_module"):
        kernels.prepare(lambda sentence: None, (module,))
    assert kernel_cache.faults(tmp_path, module) is None


def test_kernels_that_few_need_are_compiled_when_they_are_asked_for_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "CACHE_DIRECTORY", tmp_path)
    told: list[str] = []
    kernels.prepare(told.append, ("json",))
    assert told[-1] == "compiling kernels, once: 1 of 1"
    told.clear()
    kernels.prepare(told.append, ("json", "shlex"))
    begun, done = "compiling kernels, once: 0 of 1; left: shlex", "compiling kernels, once: 1 of 1"
    assert told == [begun, done]
    told.clear()
    kernels.prepare(told.append, ("json", "shlex"))
    assert told == []


def test_kernels_of_other_sources_go_after_a_month(tmp_path: Path) -> None:
    month = 31 * 24 * 3600
    for name, age in {"kernels-mine": month, "kernels-old": month, "kernels-new": 0, "other": month}.items():
        directory = tmp_path / name
        directory.mkdir()
        os.utime(directory, times=(time.time() - age,) * 2)
    used = tmp_path / "kernels-used"
    used.mkdir()
    (used / kernel_cache.USED).touch()
    os.utime(used, times=(time.time() - month,) * 2)
    kernel_cache.forget_old(tmp_path / "kernels-mine")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"kernels-mine", "kernels-new", "kernels-used", "other"}


def test_kernels_are_compiled_and_found_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernel_cache, "CACHE_DIRECTORY", tmp_path)
    monkeypatch.setattr(kernels, "CACHE_DIRECTORY", tmp_path)
    monkeypatch.setattr(kernels, "MODULES", ("json",))
    monkeypatch.setattr(kernels, "OF_INTERFACE", ())
    assert run_command(["kernels", "path"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"
    for compiled in (True, False):
        assert run_command(["kernels", "compile", "--json"]) == 0
        out, err = capsys.readouterr()
        document = json.loads(out)
        assert document.pop("seconds") >= 0
        assert document.pop("schema") == "vmq.kernels/1"
        assert document == {"directory": str(tmp_path), "kernels": 0, "bytes": 0, "compiled": compiled}
        assert ("compiling kernels, once: 1 of 1" in err) is compiled


def test_commands_say_that_kernels_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernel_cache, "CACHE_DIRECTORY", None)
    monkeypatch.setattr(kernels, "CACHE_DIRECTORY", None)
    for command in ("path", "compile"):
        assert run_command(["kernels", command]) == 1
        assert "error: no directory can keep compiled kernels" in capsys.readouterr().err
