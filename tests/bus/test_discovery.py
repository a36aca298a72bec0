import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.bus import discovery
from engine.bus.errors import BadUrl
from engine.bus.urls import BrokerUrl

URLS = {
    user: BrokerUrl("127.0.0.1", 4711, user=user, password=f"{user} w")
    for user in ("owner", "operator", "viewer")
}


@pytest.fixture(autouse=True)
def _no_broker_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(discovery.ENVIRONMENT_VARIABLE, raising=False)


def note(directory: Path, pid: int, port: int, age_seconds: int) -> Path:
    path = directory / f"engine-{pid}.json"
    path.write_text(json.dumps({"urls": {"viewer": f"mqtt://127.0.0.1:{port}"}, "found": True}))
    written = path.stat().st_mtime - age_seconds
    os.utime(path, (written, written))
    return path


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_an_announced_broker_is_found_until_it_is_withdrawn(tmp_path: Path) -> None:
    path = discovery.announce(URLS, "hv01", directory=tmp_path)
    assert discovery.find_url(user="viewer", directory=tmp_path) == URLS["viewer"]
    discovery.withdraw(path)
    assert discovery.find_url(user="viewer", directory=tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_broker_of_this_users_own_is_talked_to_as_whom_it_takes(tmp_path: Path) -> None:
    discovery.announce(URLS, "hv01", found=False, directory=tmp_path)
    assert discovery.find_url(user="viewer", directory=tmp_path) is None
    for named in ("mqtt://127.0.0.1:4711", "mqtt://localhost:4711", "mqtt://owner:owner%20w@127.0.0.1:4711"):
        found = discovery.find_url(named, user="operator", directory=tmp_path)
        assert found is not None
        assert (found.user, found.password, found.port) == ("operator", "operator w", 4711)
    for named in ("mqtt://127.0.0.1:4712", "mqtt://ann@127.0.0.1:4711", "mqtt://192.0.2.1:4711"):
        assert discovery.find_url(named, user="owner", directory=tmp_path) == BrokerUrl.parse(named)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_only_the_user_can_read_the_announcement(tmp_path: Path) -> None:
    path = discovery.announce(URLS, "hv01", directory=tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_explicit_goes_before_environment_before_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discovery.announce(URLS, "hv01", directory=tmp_path)
    monkeypatch.setenv(discovery.ENVIRONMENT_VARIABLE, "mqtt://from-environment")
    assert discovery.find_url("mqtt://explicit", user="viewer", directory=tmp_path) == BrokerUrl(
        "explicit", 1883
    )
    assert discovery.find_url(user="viewer", directory=tmp_path) == BrokerUrl("from-environment", 1883)
    monkeypatch.setenv(discovery.ENVIRONMENT_VARIABLE, "nonsense")
    with pytest.raises(BadUrl):
        discovery.find_url(user="viewer", directory=tmp_path)


def test_the_newest_living_engine_is_found_and_dead_ones_are_cleared(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        stale = note(tmp_path, dead_pid(), 1, age_seconds=0)
        note(tmp_path, os.getpid(), 2, age_seconds=20)
        note(tmp_path, other.pid, 3, age_seconds=10)
        found = discovery.find_url(user="viewer", directory=tmp_path)
        other.communicate(b"\n")
    assert found == BrokerUrl("127.0.0.1", 3)
    assert not stale.exists()


def test_a_file_that_does_not_read_is_passed_over(tmp_path: Path) -> None:
    broken = ("[1]", "", '{"url": 1}', '{"found": true, "urls": {"viewer": 1}}', "[" * 60_000)
    for content in (*broken, '{"found": true, "urls": 1}'):
        note(tmp_path, os.getpid(), 2, age_seconds=0).write_text(content)
        assert discovery.find_url(user="viewer", directory=tmp_path) is None
        assert discovery.find_url("mqtt://127.0.0.1:2", user="viewer", directory=tmp_path) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="XDG directories")
def test_the_runtime_directory_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "vmqtui").mkdir(mode=0o777)
    directory = discovery.runtime_directory()
    assert directory.parent == tmp_path
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="XDG directories")
def test_another_directory_is_taken_where_the_runtime_directory_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vmqtui").write_text("in the way")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert discovery.runtime_directory() == tmp_path / "state" / "vmqtui" / "run"
