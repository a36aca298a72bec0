"""Compiled kernels on the disk: whole and trusted, or compiled again; never an error."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from engine.files import try_lock
from engine.kernels import cache as kernel_cache
from engine.kernels import prepare as kernels

ROOT: Final = Path(__file__).parents[2]
TINY: Final = """
from engine.kernels.jit import kernel

@kernel("int64(int64)")
def double(number):
    return 2 * number
"""
START: Final = """
from engine.kernels import prepare as kernels
kernels.prepare(lambda sentence: print(sentence, flush=True), ("tiny",))
import tiny
print(tiny.double(21))
"""
"""A start of a program with one kernel."""
COMPILER: Final = """
import sys
import tiny
print(tiny.double(21), "numba.typed.typeddict" in sys.modules)
"""
"""Loads the kernel, and says whether it imported parts of Numba that only the compiler needs."""
COMPILED: Final = "compiling kernels, once: 1 of 1"
SMALL_FILES: Final = """
import os, resource, sys
# importlib would keep the first 100 bytes of a module and fail on them later.
sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""
"""Of every file there is room for 100 bytes, as on a disk that is full."""


class Program:
    """A program with one kernel, and a cache directory of its own."""

    def __init__(self, room: Path) -> None:
        (room / "tiny.py").write_text(TINY, encoding="utf-8")
        (room / "cache").mkdir(mode=0o700)
        self._environment = os.environ | {
            "XDG_CACHE_HOME": str(room / "cache"),
            "PYTHONPATH": os.pathsep.join([str(room), str(ROOT)]),
        }
        self._room = room

    def begin(self, code: str = START, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=self._room,
            env=self._environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, code: str = START, **variables: str) -> list[str]:
        """Run it; the lines it printed."""
        out, _ = self.begin(code, **variables).communicate()
        return out.splitlines()

    def file(self, pattern: str) -> Path:
        """The one file of the cache that fits a pattern."""
        (found,) = self._room.glob(f"cache/vmqtui/kernels-*/{pattern}")
        return found


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty, Path.unlink])
def test_a_damaged_kernel_counts_as_missing_and_is_reported(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    assert kernel_cache.faults(tmp_path, "a.module") is None
    for name in ("a.module.one", "a.module.other", "another.module.one"):
        kernel_cache.keep(tmp_path, name, name.encode() * 50)
    for module in ("a.module", "another.module"):
        kernel_cache.complete(tmp_path, module)
        assert kernel_cache.faults(tmp_path, module) == []
    damage(tmp_path / "a.module.one.kernel")
    assert kernel_cache.load(tmp_path, "a.module.one") is None
    assert kernel_cache.load(tmp_path, "a.module.other") == b"a.module.other" * 50
    assert len(found := kernel_cache.faults(tmp_path, "a.module") or []) == 1
    assert found[0].startswith(f"{tmp_path / 'a.module.one.kernel'}: ")
    assert kernel_cache.faults(tmp_path, "another.module") == []


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_a_damaged_list_of_kernels_is_reported(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    kernel_cache.keep(tmp_path, "a.module.one", b"1")
    kernel_cache.complete(tmp_path, "a.module")
    damage(tmp_path / "a.module")
    assert kernel_cache.faults(tmp_path, "a.module")


@pytest.mark.skipif(sys.platform != "linux", reason="XDG directories")
@pytest.mark.slow
def test_a_damaged_kernel_is_compiled_again_and_reported_and_never_an_error(program: Program) -> None:
    assert program.run()[-2:] == [COMPILED, "42"]
    flip(program.file("tiny.double-*.kernel"))
    told = program.run()
    assert told[0].startswith("kernels are compiled again: ")
    assert told[-2:] == [COMPILED, "42"]
    flip(program.file("tiny.double-*.kernel"))  # as if after the check
    assert program.run("import tiny; print(tiny.double(21))") == ["42"]
    assert program.run() == ["42"]
    assert program.run(COMPILER) == ["42 False"]


@pytest.mark.parametrize("content", ["disable_jit: 1", "- not a mapping", "{"])
@pytest.mark.skipif(sys.platform != "linux", reason="XDG directories")
@pytest.mark.slow
def test_settings_that_keep_numba_from_compiling_are_ignored(
    program: Program, tmp_path: Path, content: str
) -> None:
    (tmp_path / ".numba_config.yaml").write_text(content, encoding="utf-8")
    assert program.run(NUMBA_DISABLE_JIT="1")[-2:] == [COMPILED, "42"]
    assert program.run(NUMBA_DISABLE_JIT="1") == ["42"]


@pytest.mark.skipif(sys.platform != "linux", reason="XDG directories")
@pytest.mark.slow
def test_of_two_processes_that_start_at_once_one_compiles(program: Program) -> None:
    both = [program.begin(), program.begin()]
    told = [one.communicate()[0].splitlines() for one in both]
    assert [lines[-1] for lines in told] == ["42", "42"]
    assert sum(lines.count(COMPILED) for lines in told) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="XDG directories, RLIMIT_FSIZE")
@pytest.mark.slow
def test_with_a_full_disk_it_says_so_and_runs(program: Program) -> None:
    told = program.run(SMALL_FILES + START)
    assert told[-1] == "42"
    assert told[-2].startswith("compiled kernels can't be kept in ")
    assert told[-2].endswith("they are compiled at every start (File too large)")
    assert program.run()[-2:] == [COMPILED, "42"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_process_that_is_killed_while_it_compiles_delays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = f"""
import sys
from engine.files import try_lock
file = open({str(tmp_path / "compiling")!r}, "ab")
print(try_lock(file), flush=True)
sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with (tmp_path / "compiling").open("ab") as file:
        assert not try_lock(file)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    monkeypatch.setattr(kernels, "CACHE_DIRECTORY", tmp_path)
    told: list[str] = []
    kernels.prepare(told.append, ("json",))
    assert told[0].startswith("compiling kernels, once: 0 of 1")


def test_a_cache_that_is_not_in_the_first_place_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "CACHE_DIRECTORY", tmp_path)
    monkeypatch.setattr(kernels, "REFUSED", ("/home can be written by every user",))
    told: list[str] = []
    kernels.prepare(told.append, ("json",))
    assert told[0] == f"compiled kernels are kept in {tmp_path}: /home can be written by every user"
    told.clear()
    kernels.prepare(told.append, ("json",))
    assert told == []


def test_what_was_never_written_whole_goes(tmp_path: Path) -> None:
    (tmp_path / "kernels-mine").mkdir()
    for name, age_s in ((".new-old", 7200), (".new-young", 0)):
        path = tmp_path / "kernels-mine" / name
        path.touch()
        os.utime(path, times=(time.time() - age_s,) * 2)
    kernel_cache.forget_old(tmp_path / "kernels-mine")
    assert [path.name for path in (tmp_path / "kernels-mine").iterdir()] == [".new-young"]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that holds the cache of the user, and the one of temporary files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "temporary").mkdir(mode=0o1777)
    (tmp_path / "temporary").chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="XDG directories")
@pytest.mark.parametrize("shared", ["home", "home/vmqtui", "home/vmqtui/kernels"])
def test_a_directory_that_others_can_write_is_not_used_and_the_next_one_is(places: Path, shared: str) -> None:
    first, refused = kernel_cache._cache_directory()
    assert first is not None
    assert (first.parent, refused) == (places / "home/vmqtui", ())
    part = first if shared.endswith("kernels") else places / shared
    part.chmod(0o777)
    second, refused = kernel_cache._cache_directory()
    assert second == places / f"temporary/vmqtui-{os.getuid()}" / first.name
    assert second.parent.stat().st_mode & 0o777 == 0o700
    assert refused == (f"{part} can be written by every user",)
    second.parent.chmod(0o777)
    assert kernel_cache._cache_directory()[0] is None


@pytest.mark.skipif(sys.platform != "linux", reason="XDG directories")
def test_a_cache_that_can_not_be_written_is_used_where_it_is_complete(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = kernel_cache._cache_directory()
    assert directory is not None

    def read_only(**given: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    found, refused = kernel_cache._cache_directory()
    assert found is None
    assert refused[0] == f"{places}/home/vmqtui: Read-only file system"
    (directory / kernel_cache.USED).touch()
    assert kernel_cache._cache_directory() == (directory, ())
