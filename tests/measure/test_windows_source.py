"""A Windows host that is read again and again: what grows, what changes, runs of the script that fail."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.advice.evidence import Evidence
from engine.advice.rules import findings
from engine.measure import windows_source
from engine.measure.host import Measured, SourceError, UnknownAdapterError
from engine.measure.windows_source import MOST_REMARKS, WindowsFollower, WindowsSource
from engine.measure.windows_tables import read_json
from tests.windows_hosts import START_MS, VNICS, WindowsHostSample
from vmqtui.cli.program import run

QUEUES = "Get-NetAdapterVmqQueue"
Change = Callable[[dict[str, Any]], None]


def output(second: int, change: Change | None = None, sample: WindowsHostSample | None = None) -> bytes:
    """What one run of the script prints at a second."""
    host = sample or WindowsHostSample()
    document = host.document()
    document["samples"] = [{"time_ms": START_MS + 1000 * second, "tables": host.sample(second)}]
    if change:
        change(document)
    return json.dumps(document).encode("ascii")


def follow(follower: WindowsFollower, second: int, change: Change | None = None, **host: Any) -> Measured:
    return follower.read(
        read_json("output", output(second, change, WindowsHostSample(**host) if host else None))
    )


def received(measured: Measured, adapter: str = "SLOT 3 Port 1") -> list[int | None]:
    return measured.stats.adapters[adapter].queues["received_frames"]


def test_counters_grow_from_run_to_run_and_the_configuration_comes_once() -> None:
    follower = WindowsFollower("here")
    first, second, third = (follow(follower, second) for second in (0, 1, 3))
    assert first.config is not None
    assert (first.config.host, first.config.revision, first.config.windows) == ("here", 1, "2019")
    assert (second.config, third.config) == (None, None)
    assert [one.stats.seq for one in (first, second, third)] == [1, 2, 3]
    assert third.stats.sim_time_ns == 3_000_000_000
    assert [received(one) for one in (first, second, third)] == [
        [0, 0, 0],
        [100, 1000, 3000],
        [300, 3000, 9000],
    ]
    bytes_ = third.stats.adapters["SLOT 3 Port 1"].queues["received_bytes"]
    assert bytes_ == [None, 300_000, 2_700_000]
    assert third.stats.adapters["SLOT 3 Port 1"].port["offered_frames"] == 3 * 4100
    assert set(third.stats.cpus["busy_cycles"]) == {750_000_000}
    assert [*first.events, *second.events, *third.events] == []


def test_a_queue_that_moves_says_so_and_has_what_its_virtual_adapter_received() -> None:
    def moved(document: dict[str, Any]) -> None:
        document["tables"][QUEUES][1]["ProcessorAffinityMask"] = 1 << 6

    follower = WindowsFollower("here")
    follow(follower, 0)
    now = follow(follower, 1, moved)
    assert now.config is not None
    assert (now.config.revision, now.config.adapters[0].queues[1].cpu) == (2, 6)
    assert [(one.event, one.adapter, one.queue_id, one.cause) for one in now.events] == [
        ("queue_moved", "SLOT 3 Port 1", 1, "moved from 0:2 to 0:6")
    ]
    assert received(now) == [100, 1000, 3000]
    assert (now.stats.adapters["SLOT 3 Port 1"].sources or {})["received_frames"] == "derived"


def test_a_queue_that_is_another_vms_is_another_generation() -> None:
    def other(document: dict[str, Any]) -> None:
        document["tables"][QUEUES][1] |= {"VmFriendlyName": "vm-9", "FilterList": []}
        del document["tables"][QUEUES][2]

    follower = WindowsFollower("here")
    before = follow(follower, 0)
    now, later = follow(follower, 1, other), follow(follower, 2, other)
    assert before.config is not None
    assert now.config is not None
    old = [one.generation for one in before.config.adapters[0].queues]
    new = [one.generation for one in now.config.adapters[0].queues]
    assert (old, new) == ([1, 2, 3], [1, 4])
    assert [(one.event, one.queue_id) for one in now.events] == [
        ("queue_freed", 1),
        ("queue_state", 1),
        ("queue_freed", 2),
    ]
    assert received(now)[1] == 0
    assert later.stats.adapters["SLOT 3 Port 1"].queues["generation"] == [1, 4]


def test_a_virtual_adapter_that_lost_its_queue_has_frames_in_the_default_queue_from_then_on() -> None:
    def lost(document: dict[str, Any]) -> None:
        del document["tables"][QUEUES][2]

    follower = WindowsFollower("here")
    runs = [follow(follower, second, lost if second > 2 else None) for second in range(6)]
    pairs = [one.stats.adapters["SLOT 3 Port 1"].default_queue_top for one in runs]
    found = [[] if one is None else list(zip(one.mac, one.frames, strict=True)) for one in pairs]
    mac = "00:15:5d:00:00:03"
    assert found == [[], [], [], [(mac, 0)], [(mac, 3000)], [(mac, 6000)]]
    config = runs[3].config
    assert config is not None
    seen = Evidence(config, runs[4].stats, runs[3].stats)
    assert [one.vm for one in findings(seen) if one.rule == "vm-without-queue"] == ["vm-2"]


def test_frames_that_were_unknown_for_a_while_are_counted_by_another_generation() -> None:
    def unknown(document: dict[str, Any]) -> None:
        document["samples"][0]["tables"][VNICS] = []

    follower = WindowsFollower("here")
    runs = [follow(follower, second, unknown if 1 < second < 4 else None, shared=1) for second in range(7)]
    assert [received(one)[1] for one in runs] == [0, 1000, None, None, None, 0, 1000]
    generations = [one.stats.adapters["SLOT 3 Port 1"].queues["generation"][1] for one in runs]
    assert generations == [2, 2, 2, 2, 2, 4, 4]
    changed = runs[5].config
    assert changed is not None
    assert changed.adapters[0].queues[1].generation == 4


def test_adapters_that_come_and_go_and_links_say_so() -> None:
    def down(document: dict[str, Any]) -> None:
        document["tables"]["Get-NetAdapter"][0]["MediaConnectState"] = 2

    def gone(document: dict[str, Any]) -> None:
        del document["tables"]["Get-NetAdapterVmq"][1]

    follower = WindowsFollower("here")
    events = [
        [one.event for one in follow(follower, second, change).events]
        for second, change in enumerate((None, down, None, gone, None))
    ]
    assert events[:3] == [[], ["link_down"], ["link_up"]]
    assert events[3][0] == "adapter_gone"
    assert events[4] == ["adapter_came"]


def test_a_clock_that_was_set_and_counters_that_went_back_give_no_negative_rate() -> None:
    now_ns = [0]
    follower = WindowsFollower("here", clock=lambda: now_ns[0])
    first = follow(follower, 100)
    now_ns[0] = 2_000_000_000
    second = follow(follower, 0)
    third = follow(follower, 1)
    assert [one.stats.sim_time_ns for one in (first, second, third)] == [0, 2_000_000_000, 3_000_000_000]
    port = [one.stats.adapters["SLOT 3 Port 1"].port["offered_frames"] for one in (first, second, third)]
    assert port == [0, None, 4100]
    assert received(third) == [0, 0, 0]


def test_an_adapter_that_is_not_there_is_refused_with_those_that_are() -> None:
    follower = WindowsFollower("here", ["SLOT 3 Port 2"])
    config = follow(follower, 0).config
    assert config is not None
    assert [one.name for one in config.adapters] == ["SLOT 3 Port 2"]
    with pytest.raises(UnknownAdapterError, match=r"no adapter 'nic\d?' on this host \(SLOT 3 Port 1, SLOT"):
        follow(WindowsFollower("here", ["nic"]), 0)


def test_remarks_are_events_once_and_bounded() -> None:
    def failing(document: dict[str, Any]) -> None:
        document["errors"] = [{"name": f"Get-{n}", "message": "x"} for n in range(MOST_REMARKS + 3)]

    follower = WindowsFollower("here")
    events = [[one.event for one in follow(follower, second, failing).events] for second in (0, 1)]
    assert events == [["reading_trouble"] * (MOST_REMARKS + 1), []]


# --- the program that is run ------------------------------------------------------------------------


def printing(tmp_path: Path, *outputs: bytes) -> list[str]:
    """A command in place of PowerShell: each run prints the next of ``outputs``, at the end the last one."""
    for number, text in enumerate(outputs):
        (tmp_path / f"{number}.json").write_bytes(text)
    program = (
        "import pathlib, sys\n"
        "here = pathlib.Path(sys.argv[1]); count = here / 'count'\n"
        "number = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(number + 1))\n"
        f"sys.stdout.buffer.write((here / f'{{min(number, {len(outputs) - 1})}}.json').read_bytes())\n"
    )
    return [sys.executable, "-c", program, str(tmp_path)]


def test_each_reading_runs_the_script_once(tmp_path: Path) -> None:
    source = WindowsSource("here", command=printing(tmp_path, output(0), output(1)))
    source.read()
    assert received(source.read()) == [100, 1000, 3000]
    source.close()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            "import sys; sys.stderr.write('Access is denied.\\nat line 1'); sys.exit(5)",
            "ended with 5: Access is",
        ),
        ("pass", "ended with 0: nothing said"),
        ("print('hello')", "looks like damaged JSON"),
        ('print(\'{"schema": "vmq.windows/1", \')', "was cut off"),
    ],
)
def test_a_run_that_prints_no_host_is_a_sentence(program: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        WindowsSource("here", command=[sys.executable, "-c", program]).read()


def test_without_powershell_it_is_named() -> None:
    with pytest.raises(SourceError, match="no-such-powershell is not found"):
        WindowsSource("here", command=["no-such-powershell"]).read()


def test_a_run_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_source, "TIMEOUT_S", 0.1)
    source = WindowsSource("here", command=[sys.executable, "-c", "import time; time.sleep(600)"])
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"PowerShell took more than 0\.1 s"):
        source.read()
    assert time.monotonic() - began < 60


def test_watch_reads_a_windows_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vmqtui.cli.measured._system", lambda: "win32")
    monkeypatch.setattr("vmqtui.cli.measured._ONCE_S", 0.0)
    powershell = tmp_path / "powershell"
    command = printing(tmp_path, output(0), output(1))
    program = tmp_path / "program.py"
    program.write_text(command[2], encoding="utf-8")
    powershell.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "{tmp_path}"\n', encoding="utf-8")
    powershell.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["watch", "--once", "--json", "SLOT 3 Port 1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["seconds"] == 1.0
    assert document["rates"]["adapters"]["SLOT 3 Port 1"]["queues"]["received_frames"] == [100, 1000, 3000]
    assert run(["watch", "--once", "nic9"]) == 2
    assert "no adapter 'nic9' on this host (SLOT 3 Port 1, SLOT 3 Port 2 fit)" in capsys.readouterr().err
    assert run(["watch", "--once", "--capture-default"]) == 2
