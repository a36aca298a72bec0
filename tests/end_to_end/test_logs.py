"""What an engine's log tells its operator, from outside."""

import json
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.lab import LAB
from tests.end_to_end.program import Running, run
from vmqtui.testing import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(LAB, encoding="utf-8")
    return path


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are known by their fork server")
def test_start_clients_refusals_changes_worker_deaths_and_end_are_logged(
    scenario: Path, tmp_path: Path
) -> None:
    file = tmp_path / "log" / "engine.log"
    engine = Running("engine", "--scenario", scenario, "--log-file", file, "--log-format", "json")
    url = engine.first_line()

    def logged() -> dict[str, dict[str, Any]]:
        return {one["event"]: one for one in records(file.read_text(encoding="utf-8"))}

    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), 5) as garbage:
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
        wait_until(lambda: "connection_refused" in logged(), what="the refusal of garbage")
    assert run("queue", "set", "1", "--cpu", "0", "--adapter", "nic0", "--broker", url).status == 0
    assert run("queue", "free", "999", "--adapter", "nic0", "--broker", url).status == 1
    servers = {one.pid for one in engine.family() if "forkserver" in " ".join(one.cmdline())}
    next(one for one in engine.family() if one.pid in servers and one.ppid() in servers).kill()
    wait_until(lambda: "worker_replaced" in logged(), what="the new worker")
    assert engine.end() == 0
    told = logged()
    assert told["engine_started"]["url"] == f"mqtt://owner@127.0.0.1:{address.port}"
    assert str(address.password) not in file.read_text(encoding="utf-8")
    assert told["request_done"]["op"] == "set_queue_parameters"
    assert told["request_refused"]["client"] == told["request_refused"]["client"].strip()
    assert told["request_refused"]["level"] == "warning"
    assert told["client_connected"]["peer"].startswith("127.0.0.1:")
    assert "lost" in told["worker_died"]["cause"]
    assert told["engine_ended"]["sim_seconds"] > 0
    assert engine.err == []


def test_with_a_form_alone_the_log_is_on_standard_error_and_stdout_is_as_ever(scenario: Path) -> None:
    done = run("engine", "--scenario", scenario, "--duration", "0.2", "--log-format", "json")
    assert (done.status, done.out.count("\n")) == (0, 1)
    assert {"engine_started", "engine_ended"} <= {one["event"] for one in records(done.err)}


def test_without_options_it_is_in_the_log_directory(scenario: Path, tmp_path: Path) -> None:
    where = str(tmp_path / "logs")
    assert run("logs", "path", VMQTUI_LOG_DIR=where).out == f"{tmp_path / 'logs'}\n"
    assert (
        run("logs", "show", VMQTUI_LOG_DIR=where).err == f"error: nothing is logged in {tmp_path / 'logs'}\n"
    )
    done = run("engine", "--scenario", scenario, "--duration", "0.2", VMQTUI_LOG_DIR=where)
    assert (done.status, done.err) == (0, "")
    shown = run("logs", "show", VMQTUI_LOG_DIR=where).out.splitlines()
    assert shown[0] == f"# {run('logs', 'list', VMQTUI_LOG_DIR=where).out.strip()}"
    assert any(" info engine_started " in line and " host=lab " in line for line in shown)


def test_a_brokers_password_reaches_no_log(scenario: Path, tmp_path: Path) -> None:
    file = tmp_path / "engine.log"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        secret = f"mqtt://operator:hunter2@127.0.0.1:{port}"
        engine = Running("engine", "--scenario", scenario, "--log-file", file, VMQTUI_BROKER=secret)
        client, _ = listening.accept()
        with client:
            assert b"hunter2" in client.recv(4096)
    named = f"mqtt://operator@127.0.0.1:{port}"
    wait_until(lambda: named in file.read_text(encoding="utf-8"), what="what became of the connection")
    engine.end()
    ended = engine.wait(10)
    text = file.read_text(encoding="utf-8")
    assert "hunter2" not in text + ended.out + ended.err
