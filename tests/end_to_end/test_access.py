"""Who can reach an engine, watch it and control it: its user alone, unless told otherwise."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.end_to_end.conftest import Here
from tests.end_to_end.lab import LAB, small
from tests.end_to_end.program import Running, run
from vmqtui.testing import wait_until

pytestmark = pytest.mark.slow

OTHER_USER = 65534
"""Some user that is neither us nor root."""


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:1883", "host.example:1883"])
def test_an_engine_does_not_listen_beyond_loopback(here: Here, address: str) -> None:
    done = here("engine", "--listen", address)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert "beyond loopback" in done.err


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory, _apart: None) -> Iterator[str]:
    """URL of an engine that listens where it was told to."""
    path = tmp_path_factory.mktemp("listening") / "lab.toml"
    path.write_text(LAB.replace('name = "lab"', 'name = "listening"', 1), encoding="utf-8")
    engine = Running("engine", "--scenario", path, "--listen", "127.0.0.1:0", "--interval", "0.1")
    yield engine.first_line()
    assert engine.end() == 0


def anonymous(url: str) -> str:
    parts = urlsplit(url)
    return f"mqtt://{parts.hostname}:{parts.port}"


def mosquitto(
    program: str, url: str, *arguments: str, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    parts = urlsplit(url)
    command = [program, "-h", str(parts.hostname), "-p", str(parts.port), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, user=user)


@pytest.mark.parametrize("which", ["lab", "listening"])
def test_without_a_credential_nobody_gets_in(request: pytest.FixtureRequest, which: str) -> None:
    url = request.getfixturevalue(which)
    for credential in ((), ("-u", "owner", "-P", "guess"), ("-u", "engine", "-P", "")):
        tried = mosquitto("mosquitto_sub", url, "-t", "#", "-C", "1", *credential)
        assert tried.returncode != 0
        assert "Connection Refused" in tried.stderr


def test_commands_of_this_user_find_the_credential_by_themselves(listening: str, here: Here) -> None:
    asked = ("--broker", anonymous(listening))
    assert here("get", "hosts", *asked, "--json").document["hosts"][0]["host"] == "listening"
    assert here("queue", "set", "1", "--cpu", "1", "--adapter", "nic0", *asked).status == 0


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_the_credentials_lie_where_only_this_user_can_read(lab: str) -> None:
    directory = Path(os.environ["XDG_RUNTIME_DIR"]) / "vmqtui"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = list(directory.glob("engine-*.json"))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert lab in [json.loads(path.read_text())["url"] for path in files]


def test_no_credential_is_in_the_process_list(lab: str) -> None:
    secrets = {urlsplit(lab).password}
    for path in (Path(os.environ["XDG_RUNTIME_DIR"]) / "vmqtui").glob("engine-*.json"):
        secrets |= {urlsplit(url).password for url in json.loads(path.read_text())["urls"].values()}
    lines = [
        " ".join(each.cmdline()) for each in psutil.Process().children(recursive=True) if each.is_running()
    ]
    assert any("broker_process" in line for line in lines)
    assert not [line for line in lines if any(secret and secret in line for secret in secrets)]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="takes root to be another user")
def test_another_user_of_the_machine_can_neither_watch_nor_control(lab: str) -> None:
    [path] = [
        path
        for path in (Path(os.environ["XDG_RUNTIME_DIR"]) / "vmqtui").glob("engine-*.json")
        if json.loads(path.read_text())["url"] == lab
    ]
    read = subprocess.run(
        ["cat", path], capture_output=True, user=OTHER_USER, group=OTHER_USER, extra_groups=[]
    )
    assert (read.returncode, read.stdout) == (1, b"")
    for program, arguments in (
        ("mosquitto_sub", ("-t", "vmq/v1/lab/#", "-C", "1")),
        ("mosquitto_pub", ("-i", "other", "-t", "vmq/v1/lab/request/other", "-m", "x", "-q", "1")),
    ):
        tried = mosquitto(program, lab, *arguments, user=OTHER_USER)
        assert tried.returncode != 0
        assert "Connection Refused: not authorised" in tried.stderr


def test_an_insecure_engine_says_so_by_its_url_and_lets_everyone_in(tmp_path: Path) -> None:
    path = tmp_path / "open.toml"
    path.write_text(small("open"), encoding="utf-8")
    engine = Running("engine", "--scenario", path, "--listen", "127.0.0.1:0", "--insecure")
    url = engine.first_line()
    assert url == anonymous(url)
    read = mosquitto("mosquitto_sub", url, "-t", "vmq/v1/open/status", "-C", "1", "-F", "%t")
    assert (read.returncode, read.stdout) == (0, "vmq/v1/open/status\n")
    assert engine.end() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems let no process change its arguments")
def test_a_password_on_the_command_line_does_not_stay_there(lab: str) -> None:
    secret = str(urlsplit(lab).password)
    watching = Running("get", "cpus", "--watch", "--json", "--broker", lab)
    watching.first_line()
    line = Path(f"/proc/{watching.process.pid}/cmdline").read_bytes().decode()
    assert secret not in line
    assert f"mqtt://owner:{'x' * len(secret)}@127.0.0.1:" in line
    watching.end()


def test_a_second_engine_joins_the_broker_of_the_first(listening: str, tmp_path: Path) -> None:
    path = tmp_path / "joined.toml"
    path.write_text(small("joined"), encoding="utf-8")
    engine = Running("engine", "--scenario", path, "--broker", listening)
    assert "owner" not in engine.first_line().replace("owner@", "")

    def hosts() -> set[str]:
        return {row["host"] for row in run("get", "hosts", "--broker", listening, "--json").document["hosts"]}

    wait_until(lambda: hosts() == {"listening", "joined"}, what="both hosts")
    taken = run("engine", "--scenario", path, "--broker", listening)
    assert taken.status == 1
    assert "taken" in taken.err
    assert engine.end() == 0
