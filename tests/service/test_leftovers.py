"""Files of crashed engines: found, removed at a start, and never taken from a running engine.

Files that only this test may remove are in its own directories: engines of other tests clear the real ones.
"""

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import pytest

from engine.dataplane.memory import SHOWN_IN, Block
from engine.files import hold, own_directory, places
from engine.kernels.layout import AdapterSizes, Sizes
from engine.scenario.load import loads
from engine.service import leftovers
from vmqtui.pytest_plugin import StartEngine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared memory is shown as files")

SMALL = Sizes(1, (AdapterSizes(1, 1, 2, 1, 1518, 1),), 8192, 65_536)


@pytest.fixture
def dead() -> str:
    """The id of a process that is no more, as in the name of a segment."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{process.pid:x}"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(leftovers, "runtime_directory", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def shown_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which this process looks for shared memory."""
    directory = tmp_path / "shown"
    directory.mkdir()
    monkeypatch.setattr(leftovers, "SHOWN_IN", directory)
    monkeypatch.setattr(leftovers, "places", set)
    return directory


def test_the_memory_of_a_dead_engine_is_left(runtime: Path, shown_in: Path, dead: str) -> None:
    left = shown_in / f"vmq-{dead}-00000001"
    left.touch()
    assert leftovers.leftovers() == [left]
    assert leftovers.clear() == [left]
    assert not left.exists()


def test_the_memory_of_a_living_engine_is_not_left(runtime: Path) -> None:
    block = Block(SMALL)
    memory = SHOWN_IN / block.name
    try:
        assert memory not in leftovers.leftovers()
        assert memory not in leftovers.clear()
        assert memory.exists()
    finally:
        block.close()
    assert not memory.exists()


def test_a_directory_where_files_can_not_be_locked_is_made_and_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with own_directory() as directory:
        assert hold(directory) is None
        assert directory.parent == tmp_path
    assert not directory.exists()


def test_what_is_held_is_not_left_whatever_process_id_it_names(
    runtime: Path, shown_in: Path, dead: str
) -> None:
    """An engine of another container that shares the memory, and not the process ids."""
    foreign = shown_in / f"vmq-{dead}-00000002"
    with foreign.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert leftovers.leftovers() == []
    assert leftovers.leftovers() == [foreign]


def test_a_process_id_in_use_again_hides_nothing_for_long(
    runtime: Path, shown_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reused = shown_in / f"vmq-{os.getpid():x}-00000003"
    reused.touch()
    assert leftovers.leftovers() == []  # it may be about to be held
    monkeypatch.setattr(leftovers, "_YOUNG_S", 0.0)
    assert leftovers.leftovers() == [reused]


def test_where_the_system_shows_no_segments_engines_list_theirs(
    runtime: Path, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "SHOWN_IN", runtime / "nowhere")
    monkeypatch.setattr(leftovers, "places", set)
    name = f"vmq-{dead}-00000004"
    memory = shared_memory.SharedMemory(name, create=True, size=4096)
    held = hold(SHOWN_IN / name)  # so that no engine of another test removes it
    assert held is not None
    listed = leftovers.enlist(name)
    assert listed is not None
    mine = leftovers.enlist(f"vmq-{os.getpid():x}-00000005")
    assert leftovers.leftovers() == [listed]
    assert leftovers.clear() == [listed]
    assert not (SHOWN_IN / name).exists()
    memory.close()
    os.close(held)
    assert mine is not None
    assert mine.exists()


def test_a_temporary_directory_is_left_by_a_dead_process_and_not_by_a_living_one(
    runtime: Path, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = runtime / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    left, living = temporary / f"vmq-{dead}-00000007", temporary / f"vmq-{os.getpid():x}-00000008"
    for directory in (left, living, temporary / "vmq-else"):
        directory.mkdir()
        (directory / "listener-x").touch()
    held = hold(living)
    assert held is not None
    monkeypatch.setattr(leftovers, "_YOUNG_S", 0.0)
    assert [path for path in leftovers.leftovers() if path.parent == temporary] == [left]
    leftovers.remove(left)
    assert not left.exists()
    os.close(held)
    assert [path for path in leftovers.leftovers() if path.parent == temporary] == [living]


def test_sockets_have_room_for_their_path_where_that_of_temporary_files_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 15)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with own_directory() as kept, own_directory(short=True) as sockets:
        assert kept.parent == long
        assert len(str(sockets / "listener-12345678")) < 104
        assert {kept.parent, sockets.parent} <= places()
    assert not sockets.exists()


WITHOUT_TRACKER = """
import os, signal
from multiprocessing import resource_tracker
from engine.kernels.layout import AdapterSizes, Sizes
from engine.dataplane.memory import Block
block = Block(Sizes(1, (AdapterSizes(1, 1, 2, 1, 1518, 1),), 8192, 65_536))
os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
os.waitpid(resource_tracker._resource_tracker._pid, 0)
block.close()
print("closed")
"""


def test_a_resource_tracker_that_was_killed_is_no_error() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRACKER], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "closed\n", "")


def test_only_the_maker_of_shared_memory_has_it_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker of a process that attaches would remove it when that process ends."""
    told: list[str] = []
    register = resource_tracker.register

    def note(name: str, kind: str) -> None:
        told.append(name)
        register(name, kind)

    monkeypatch.setattr(resource_tracker, "register", note)
    block = Block(SMALL)
    Block(SMALL, block.name).close()
    assert told == [f"/{block.name}"]
    block.close()


async def test_an_engine_that_starts_clears_them(
    vmq_engine: StartEngine, dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / f"vmq-{dead}-00000006"
    left.touch()
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "SHOWN_IN", tmp_path)
        one = await vmq_engine(loads('[host]\nname = "first"\ncpus = 1', "test"))
    assert not left.exists()
    await vmq_engine(loads('[host]\nname = "second"\ncpus = 1', "test"))
    assert one._live is not None
    assert (SHOWN_IN / one._live.machine.plane.block_name).exists()
