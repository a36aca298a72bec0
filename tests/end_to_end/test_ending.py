"""How engines end, and what is left: nothing (CONTRACT 4, issue 2 point 7)."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.checks import identities, rows
from tests.end_to_end.conftest import Here
from tests.end_to_end.lab import small
from tests.end_to_end.mqtt_client import Reader
from tests.end_to_end.program import Running, shared_memory
from tests.processor_time import wait_within
from vmqtui.cli.frames import SourceOptions
from vmqtui.cli.tied import TiedEngine, arguments
from vmqtui.testing import wait_until

pytestmark = pytest.mark.slow


def engine(folder: Path, host: str, *arguments: str, **environment: str) -> Running:
    path = folder / f"{host}.toml"
    path.write_text(small(host), encoding="utf-8")
    return Running("engine", "--scenario", path, "--interval", "0.05", *arguments, **environment)


@pytest.fixture(scope="module", autouse=True)
def alone(lab: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Running]:
    """Commands with nobody to talk to; they have the time of the other tests to find out.

    After ``lab``, so that one engine, not each, compiles the kernels on a first start.
    """
    nowhere = ["--broker", "mqtt://127.0.0.1:1"]
    runtime = tmp_path_factory.mktemp("empty")
    runtime.chmod(0o700)
    return {
        "engine": Running("engine", *nowhere),
        "get at a broker": Running("get", "queues", "--json", *nowhere),
        "get": Running("get", "queues", "--json", XDG_RUNTIME_DIR=str(runtime)),
    }


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory of temporary files, with a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp" if sys.platform != "win32" else None) as directory:
        yield Path(directory)


def gone(family: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family)


def offline(reader: Reader) -> bool:
    return bool(reader.last("status")["state"] == "offline")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_over_mosquitto_engines_end_by_signal_will_and_refusal(mosquitto: str, tmp_path: Path) -> None:
    """Three hosts on one broker: one told to end, one interrupted, one killed; a fourth is there already."""
    hosts = ("term", "int", "kill")
    engines = {host: engine(tmp_path, host, "--broker", mosquitto) for host in hosts}
    readers = {host: Reader(mosquitto, host) for host in hosts}
    for host in hosts:
        wait_until(partial(readers[host].messages.get, "stats"), what=f"stats of {host}")
        assert readers[host].last("status")["state"] == "online"
    families = {host: each.family() for host, each in engines.items()}
    memory = {path for family in families.values() for path in shared_memory(family)}

    twin = engine(tmp_path, "term", "--broker", mosquitto)
    assert twin.process.wait(30) != 0
    wait_until(lambda: twin.err, what="what the twin says")
    twin.end()
    assert len(twin.err) == 1
    assert re.match(r"error: .*term", twin.err[0])
    assert readers["term"].last("status")["state"] == "online"

    engines["kill"].process.kill()
    offered = readers["term"].last("stats")["adapters"]["nic0"]["port"]["offered_frames"]
    assert engines["term"].end(signal.SIGTERM) == 0
    assert engines["int"].end(signal.SIGINT) == 130
    for host in hosts:
        assert not [line for line in engines[host].err if "Traceback" in line], host
        wait_until(partial(offline, readers[host]), what=f"{host} offline")
        wait_within(partial(gone, families[host]), 2, f"the end of {host}'s processes")
    last = readers["term"].last("stats")
    adapter = last["adapters"]["nic0"]
    assert adapter["port"]["offered_frames"] >= offered
    identities(adapter["port"], rows(adapter["queues"]), adapter["freed"], adapter["default_queue"])
    late = Reader(mosquitto, "kill")
    wait_until(lambda: "status" in late.retained, what="the retained status")
    assert late.retained["status"]["state"] == "offline"
    for reader in (*readers.values(), late):
        reader.close()
    wait_within(lambda: not any(path.exists() for path in memory), 2, "the end of shared memory")


def test_duration_ends_an_engine_quietly(tmp_path: Path) -> None:
    timed = engine(tmp_path, "timed", "--duration", "2")
    reader = Reader(timed.first_line(), "timed")
    family = timed.family()
    memory = shared_memory(family)
    assert timed.process.wait(60) == 0
    assert not any(path.exists() for path in memory)
    wait_within(lambda: reader.lost.is_set() and gone(family), 2, "the end of its processes")
    stats = reader.messages["stats"]
    assert stats[-1]["adapters"]["nic0"]["port"]["offered_frames"] > 100
    assert all(before["seq"] < after["seq"] for before, after in pairwise(stats))
    assert timed.end() == 0
    assert timed.err == []
    assert len(timed.out) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are known by their fork server")
def test_workers_that_die_are_replaced_and_the_identities_hold(tmp_path: Path) -> None:
    hurt = engine(tmp_path, "hurt")
    reader = Reader(hurt.first_line(), "hurt")
    reader.last("stats")
    [server] = [each for each in hurt.family() if is_fork_server(each, hurt)]
    [worker] = server.children()
    worker.kill()
    wait_until(partial(told, reader, "worker_replaced"), what="the next worker")
    offered = reader.last("stats")["adapters"]["nic0"]["port"]["offered_frames"]
    wait_until(partial(returned_more_than, reader, offered), what="frames served by the replacement")
    [worker] = server.children()
    server.kill()  # who could tell of its children's ends
    wait_until(partial(told, reader, "worker_replaced", 2), what="the next one")
    assert gone([worker])
    offered = reader.last("stats")["adapters"]["nic0"]["port"]["offered_frames"]
    wait_until(partial(returned_more_than, reader, offered), what="frames served by the next one")
    for stats in reader.messages["stats"]:
        adapter = stats["adapters"]["nic0"]
        identities(adapter["port"], rows(adapter["queues"]), adapter["freed"], adapter["default_queue"])
    assert hurt.end() == 0
    reader.close()


def is_stopped(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


def is_fork_server(process: psutil.Process, engine: Running) -> bool:
    """Whether it starts the workers of an engine; these go by its command line."""
    return "forkserver" in " ".join(process.cmdline()) and process.ppid() == engine.process.pid


def told(reader: Reader, event: str, times: int = 1) -> bool:
    return [each["event"] for each in reader.messages["event"]].count(event) >= times


def returned_more_than(reader: Reader, frames: int) -> bool:
    queues = reader.last("stats")["adapters"]["nic0"]["queues"]
    return bool(queues["returned_frames"][0] > frames)


@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_engine_takes_its_workers_broker_memory_and_sockets_with_it(
    tmp_path: Path, temporary: Path, state: str
) -> None:
    killed = engine(tmp_path, "killed", TMPDIR=str(temporary))
    reader = Reader(killed.first_line(), "killed")
    reader.last("stats")
    family = killed.family()
    assert len(family) >= 3
    memory = shared_memory(family)
    assert memory or not sys.platform.startswith("linux")
    if state == "stopped":
        if not sys.platform.startswith("linux"):
            pytest.skip("nobody ends a stopped broker there")
        for each in family:
            words = " ".join(each.cmdline())
            is_worker = "forkserver" in words and not is_fork_server(each, killed)
            if is_worker or "broker_process" in words:
                each.suspend()
                wait_until(partial(is_stopped, each), what="a stop")
    killed.process.kill()
    wait_within(lambda: gone(family) and reader.lost.is_set(), 2, "the end of its processes")
    wait_within(
        lambda: not any(path.exists() for path in (*memory, *temporary.iterdir())),
        2,
        "the end of shared memory and sockets",
    )
    reader.close()
    killed.end()


DASHBOARD = """
import subprocess, sys, time
engine = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
engine.stdout.readline()
print(engine.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nobody tells a stopped process elsewhere")
def test_a_killed_dashboard_takes_its_engine_with_it_that_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "tied.toml"
    path.write_text(small("tied"), encoding="utf-8")
    engine_of_it = [sys.executable, "-m", "vmqtui", *arguments(TiedEngine(SourceOptions(path)))]
    command = [sys.executable, "-c", DASHBOARD, *engine_of_it]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as dashboard:
        assert dashboard.stdout is not None
        engine = psutil.Process(int(dashboard.stdout.readline()))
        family = [engine, *engine.children(recursive=True)]
        memory = shared_memory(family)
        engine.suspend()
        wait_until(partial(is_stopped, engine), what="a stop")
        dashboard.kill()
    wait_within(lambda: gone(family), 2, "the end of its processes")
    assert not any(path.exists() for path in memory)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shared memory is shown as files")
def test_a_later_start_clears_what_is_left_when_everything_is_killed_at_once(
    tmp_path: Path, temporary: Path
) -> None:
    killed = engine(tmp_path, "killed-all", TMPDIR=str(temporary))
    killed.first_line()
    family = killed.family()
    memory = shared_memory(family)
    for each in reversed(family):
        each.kill()
    wait_until(lambda: gone(family), what="the end of its processes")
    killed.end()
    assert memory
    sockets = [*temporary.iterdir()]
    assert all(path.exists() for path in memory), "killing everything is not enough any more"
    assert len(sockets) == 1, "killing everything is not enough any more"
    later = engine(tmp_path, "later", TMPDIR=str(temporary))
    later.first_line()
    assert not any(path.exists() for path in (*memory, *sockets))
    assert later.end() == 0
    assert not any(temporary.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--duration", "-1"],
        ["--interval", "0"],
        ["--broker", "http://127.0.0.1"],
        ["--broker", "mqtt://127.0.0.1:1", "--listen", "127.0.0.1:0"],
        ["--listen", "nowhere"],
        ["--scenario", "missing.toml"],
        ["--capture", "missing.pcap"],
        ["--colour"],
        ["more"],
    ],
    ids=" ".join,
)
def test_unusable_arguments_end_with_2_and_a_line(arguments: list[str], here: Here) -> None:
    done = here("engine", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err


def test_commands_with_nobody_to_talk_to_end_with_1_and_a_sentence(alone: dict[str, Running]) -> None:
    for what, command in alone.items():
        done = command.wait(60)  # of which it waits 5 s for an answer
        assert (done.status, done.out) == (1, ""), what
        assert done.err.startswith("error: "), what
        assert done.err.count("\n") == 1


@pytest.mark.parametrize("attempt", range(3))
def test_offline_and_last_stats_reach_readers_of_the_embedded_broker(attempt: int, tmp_path: Path) -> None:
    running = engine(tmp_path, f"last{attempt}")
    reader = Reader(running.first_line(), f"last{attempt}")
    reader.last("stats")
    assert running.end() == 0
    wait_until(reader.lost.is_set, what="the broker's end")
    assert [each["state"] for each in reader.messages["status"]] == ["online", "offline"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_an_engine_starts_ends_it_quietly(number: int, tmp_path: Path) -> None:
    running = engine(tmp_path, "early")
    wait_until(lambda: len(running.family()) > 1, what="a first process of the engine's")
    assert running.end(number) == (0 if number == signal.SIGTERM else 130)
    assert running.err == []
