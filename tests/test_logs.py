"""Logs hold what an operator needs, no secrets, and stay bounded."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import logs
from engine.bus.urls import BrokerUrl
from engine.logs import Form, note

LOG = logging.getLogger("engine.test")


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(logs.DIRECTORY_VARIABLE, str(tmp_path / "logs"))


Lines = Callable[[], list[str]]


@pytest.fixture(params=["json", "text"])
def lines(request: pytest.FixtureRequest, tmp_path: Path) -> Lines:
    """What is logged, in either form."""
    path = tmp_path / "logs" / "a.log"
    logs.write_to_file(path, request.param)
    return lambda: path.read_text(encoding="utf-8").splitlines()


def test_passwords_in_urls_never_appear(lines: Lines) -> None:
    url = BrokerUrl.parse("mqtts://viewer:s3cret%40x@broker.example:8883")
    note(LOG, logging.INFO, "a", url=url, why=f"lost {url.with_password()} again")
    LOG.warning("could not reach mqtt://viewer:s3cret@broker.example")
    try:
        raise OSError(f"no way to {url.with_password()}")
    except OSError:
        LOG.exception("b")
    text = "\n".join(lines())
    assert "s3cret" not in text
    assert "viewer:***@" in text


def test_a_record_is_one_line_of_ascii_whatever_it_holds(lines: Lines) -> None:
    note(LOG, logging.INFO, "queue\n\x1b[2J", name="\x1b]0;owned\x07\r\n\x9b31mü", number=3)
    [line] = lines()
    assert line.isascii()
    assert line.isprintable()


def test_texts_are_bounded(lines: Lines) -> None:
    note(LOG, logging.INFO, "a", name="x" * 1_000_000)
    assert len(lines()[0]) < 5_000


def test_json_is_an_object_with_typed_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    logs.write_to_file(path, "json")
    note(LOG, logging.WARNING, "behind", behind_ms=700, real_time_ratio=0.5, level="not the level")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "level": "warning",
        "room": "engine.test",
        "pid": os.getpid(),
        "event": "behind",
        "behind_ms": 700,
        "real_time_ratio": 0.5,
    }


def test_text_can_be_read_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    logs.write_to_file(path, "text")
    note(LOG, logging.INFO, "request_refused", client="c-1", message="no such queue", why=None)
    fields = f'pid={os.getpid()} client=c-1 message="no such queue" why=None'
    assert path.read_text(encoding="utf-8").partition(" ")[2] == f"info request_refused {fields}\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_log_file_is_its_users_alone(tmp_path: Path) -> None:
    path = logs.write_beside("engine", "text")
    assert path is not None
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_files_are_rotated_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 2_000)
    path = logs.write_beside("engine", "json")
    assert path is not None
    for number in range(200):
        note(LOG, logging.INFO, f"event-{number}", text="x" * 200)
    files = list(path.parent.iterdir())
    assert len(files) == 1 + logs.OLDER_FILES
    assert all(file.stat().st_size <= 2_000 for file in files)


def test_files_of_processes_that_ended_long_ago_go(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    first = 2_000_000_000  # no process has such an id
    for pid in range(first, first + 30):
        for name in (f"engine-{pid}.log", f"engine-{pid}.log.1"):
            (directory / name).touch()
            os.utime(directory / name, (pid, pid))
    ours = directory / f"dashboard-{os.getpid()}.log"
    for kept in (ours, directory / "notes.txt"):
        kept.touch()
        os.utime(kept, (1, 1))
    logs.remove_old()
    left = {file.name for file in directory.iterdir()}
    newest = {f"engine-{pid}.log" for pid in range(first + 30 - logs.PROCESSES_KEPT, first + 30)}
    assert left == newest | {f"{name}.1" for name in newest} | {"notes.txt", ours.name}


def test_a_field_whose_name_is_no_name_is_left_out(lines: Lines) -> None:
    odd = {"\x7f": 2, "x\x1b[2J": 3, "": 4, "x" * 65: 5}
    logs.relayed(LOG, json.dumps({"level": "info", "event": "a", "why": "known"} | odd).encode())
    [line] = lines()
    assert line.isascii()
    assert line.isprintable()
    assert "known" in line
    assert "2J" not in line


def test_a_flood_of_one_event_is_cut_and_counted() -> None:
    flood = logs.FloodFilter()

    def passes(event: str, at: float) -> logging.LogRecord | None:
        record = logging.LogRecord("engine.test", logging.INFO, "", 0, event, None, None)
        record.created = at
        return record if flood.filter(record) else None

    passed = [passes("client_refused", 10.0 + n / 100_000) for n in range(98_288)]
    assert sum(one is not None for one in passed) == logs.RECORDS_A_SECOND
    assert passes("worker_died", 10.99) is not None
    after = passes("client_refused", 11.0)
    assert after is not None
    assert logs.facts_of(after)["left_out"] == 98_288 - logs.RECORDS_A_SECOND


@pytest.mark.parametrize(
    "line", [b"", b"nonsense\n", b"[]\n", b'{"level": "no"}\n', b"\xff\n", b"[" * 9999], ids=range(6)
)
def test_what_a_child_says_that_is_no_record_is_passed_over(line: bytes) -> None:
    logs.relayed(LOG, line)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_directory_that_cannot_be_made_costs_only_the_log(
    form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(logs.DIRECTORY_VARIABLE, str(tmp_path / "file" / "logs"))
    assert logs.write_beside("engine", form) is None
