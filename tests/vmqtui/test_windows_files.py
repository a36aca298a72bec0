"""Files from a Windows host, as users open them: ``play``, ``export``, ``import --script``."""

import csv
import io
import json
from pathlib import Path

import pytest

from engine.measure.windows_tables import script
from tests.vmqtui.dialogs import shown
from tests.windows_hosts import WindowsHostSample
from vmqtui.app import VmqApp
from vmqtui.cli.program import run
from vmqtui.recorded import RecordedLink, open_recording
from vmqtui.state.model import Model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "hv01.json"
    path.write_bytes(WindowsHostSample("2012 R2", shared=1, vms=6).json())
    return path


async def test_a_file_from_a_windows_host_plays_as_a_measured_host(path: Path) -> None:
    with open_recording(path) as (recording, remarks):
        assert remarks == ()
        link = RecordedLink(recording)
        app = VmqApp(link, read_only=True, host="HV01", tapes=link.tape)
        async with app.run_test(size=(160, 40)) as pilot:
            names = [f"vm-{vm}" for vm in range(6)]
            await shown(pilot, app, "HV01", "measured", *names)
        model = Model(link, "HV01", tapes=link.tape)
        model.step(1000)
        rates = {row.vm: row.pps for row in model.snapshot.queues if row.adapter == "SLOT 3 Port 1"}
    assert rates == {None: 100, "vm-0": 1000, "vm-2": 3000, "vm-4": 5000}


def test_what_such_a_file_holds_is_listed_with_remarks(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(path.read_bytes())
    document["errors"] = [{"name": "Get-VM", "message": "CommandNotFoundException (ObjectNotFound)"}]
    path.write_text(json.dumps(document), encoding="ascii")
    assert run(["play", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    listing = json.loads(out)
    assert (listing["recording"], listing["broken"]) == (str(path), None)
    assert [(one["host"], one["readings"]) for one in listing["hosts"]] == [("HV01", 3)]
    assert err == "warning: Get-VM failed on the host: CommandNotFoundException (ObjectNotFound)\n"


def test_such_a_file_is_exported_with_sources_and_nothing_for_unknown(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "csv", str(path)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    last = {row["name"]: row for row in rows if row["seq"] == "3"}
    assert (last["vm-2"]["received_frames"], last["vm-2"]["pending"]) == ("6000", "")
    assert "received_frames=derived" in last["vm-2"]["sources"]


@pytest.mark.parametrize("command", [["play", "--json"], ["export", "csv"]])
def test_a_file_that_is_neither_is_refused_with_what_it_looks_like(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"schema": "vmq.windows/1", "tables": {', encoding="ascii")
    assert run([*command, str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: {path}: looks like JSON that was cut off; run the script again\n")
    path.write_text("hello\n", encoding="ascii")
    assert run([*command, str(path)]) == 2
    assert 'a text that begins with "hello"' in capsys.readouterr().err


def test_the_script_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", "--script", "windows"]) == 0
    assert capsys.readouterr().out == script()
    assert run(["import", "--script", "windows", "host.json"]) == 2
    assert run(["import"]) == 2
    assert "SOURCE is missing" in capsys.readouterr().err
