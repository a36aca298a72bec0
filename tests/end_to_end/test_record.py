"""``vmqtui record`` from a running engine, and ``vmqtui play`` of what it wrote."""

import signal
import sys
from pathlib import Path

import pytest

from engine.telemetry.recording import Recording
from tests.end_to_end.conftest import Here
from tests.end_to_end.mqtt_client import Reader
from tests.end_to_end.program import Running, run
from vmqtui.testing import wait_until


def readings(path: Path) -> int:
    with Recording(path) as recording:
        return sum(len(index.offsets) for index in recording.hosts.values())


def test_a_recording_has_readings_configuration_and_status(
    lab: str, reader: Reader, here: Here, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lab.vmqrec"
    done = here("record", path, "--broker", lab, "--duration", "1.5")
    assert done.status == 0
    warned = done.err.splitlines()  # a busy machine may not record as fast as they come
    assert not [line for line in warned if not line.startswith("warning: left out ")]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert "readings" in done.out
    listed = here("play", path, "--json")
    assert (listed.status, listed.err) == (0, "")
    (host,) = listed.document["hosts"]
    assert host["host"] == "lab"
    assert host["readings"] >= 3
    assert host["configs"] >= 1
    assert listed.document["broken"] is None


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_well(lab: str, reader: Reader, tmp_path: Path, number: int, status: int) -> None:
    path = tmp_path / "lab.vmqrec"
    recording = Running("record", path, "--broker", lab)
    wait_until(lambda: path.exists() and readings(path) >= 2, what="two readings")
    recording.process.send_signal(number)
    done = recording.wait(10)
    assert done.status == status
    warned = done.err.splitlines()  # a busy machine may not record as fast as they come
    assert not [line for line in warned if not line.startswith("warning: left out ")]
    assert done.out.startswith(f"{path}: ")
    with Recording(path) as ended:
        assert ended.broken is None


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_it_leaves_what_it_had(lab: str, reader: Reader, here: Here, tmp_path: Path) -> None:
    path = tmp_path / "lab.vmqrec"
    recording = Running("record", path, "--broker", lab)
    wait_until(lambda: path.exists() and readings(path) >= 2, what="two readings")
    recording.process.kill()
    recording.end()
    listed = here("play", path, "--json")
    assert listed.status == 0
    assert "was cut after byte" in listed.err
    assert listed.document["hosts"][0]["readings"] >= 2


def test_bad_files_get_a_sentence(here: Here, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello", encoding="utf-8")
    (tmp_path / "empty").touch()
    for name in ("text", "empty", "missing", "."):
        done = here("play", tmp_path / name, "--json")
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1), name
        assert done.err.startswith("error: ")


def test_a_file_that_is_there_is_kept_unless_forced(lab: str, here: Here, tmp_path: Path) -> None:
    path = tmp_path / "lab.vmqrec"
    path.write_text("precious", encoding="utf-8")
    done = here("record", path, "--broker", lab, "--duration", "1")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert path.read_text(encoding="utf-8") == "precious"
    assert here("record", path, "--broker", lab, "--duration", "1", "--force").status == 0
    assert readings(path)


def test_a_place_that_can_not_be_written_is_told(lab: str, here: Here, tmp_path: Path) -> None:
    done = here("record", tmp_path / "no" / "lab.vmqrec", "--broker", lab, "--duration", "1")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith("error: ")


@pytest.mark.skipif(sys.platform == "win32", reason="open files stay in their place there")
@pytest.mark.slow
def test_a_recorder_that_loses_its_file_to_another_program_ends_with_1(
    lab: str, reader: Reader, tmp_path: Path
) -> None:
    path = tmp_path / "lab.vmqrec"
    first = Running("record", path, "--broker", lab)
    wait_until(lambda: path.exists() and readings(path) >= 2, what="two readings")
    second = run("record", path, "--broker", lab, "--duration", "1", "--force")
    assert (second.status, second.out) == (1, "")
    assert second.err == f"error: {path}: is being written by another recorder\n"
    assert first.process.poll() is None
    path.unlink()
    done = first.wait(20)
    assert (done.status, done.out) == (1, "")
    assert done.err == f"error: {path}: was deleted or renamed while it was being recorded\n"


def test_the_older_half_of_another_recording_is_kept_unless_forced(here: Here, tmp_path: Path) -> None:
    old = tmp_path / "lab.vmqrec.old"
    old.write_text("precious", encoding="utf-8")
    done = here("record", tmp_path / "lab.vmqrec", "--at-limit", "keep-newest")
    assert (done.status, done.err) == (
        2,
        f"error: {old}: is there already; another name, or --force to replace it\n",
    )
