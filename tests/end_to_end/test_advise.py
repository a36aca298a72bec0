"""``vmqtui advise`` and ``vmqtui scenario`` as people type them."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Here
from tests.end_to_end.program import VMQTUI, Running, run
from vmqtui.library.lessons import LESSONS


def test_the_library_is_listed_shown_and_loads_as_a_file(here: Here, tmp_path: Path) -> None:
    listed = here("scenario", "list", "--json").document
    assert [one["name"] for one in listed["scenarios"]] == list(LESSONS)
    assert "\nTry:\n" in here("scenario", "show", "one-queue").out
    path = tmp_path / "lesson.toml"
    path.write_text(here("scenario", "show", "vlan-near-miss", "--toml").out, encoding="utf-8")
    done = here("advise", "--scenario", path, "--seconds", "0.2", "--json")
    assert (done.status, done.err) == (0, "")
    (finding,) = done.document["findings"]
    assert finding["rule"] == "near-miss-vlan"
    assert (finding["cleared"], finding["after"]) == (True, 0)
    assert finding["totals_after"]["drops_pps"] == 0
    assert (finding["raises"], finding["withheld"], done.document["together"]) == ([], "", None)
    assert not any(one.startswith("Set-") for one in finding["commands"])  # its other VLAN would end


def test_headless_prints_the_finding_its_fix_and_what_that_changes(here: Here) -> None:
    done = here("scenario", "run", "base-processor", "--headless")
    assert (done.status, done.err) == (0, "")
    assert "▲ shared-with-default" in done.out
    assert "vmqtui queue set 1 --cpu " in done.out
    assert "Set-NetAdapterVmq -Name 'nic0'" in done.out
    assert "(the model ran again), cleared" in done.out
    assert "Windows (copy as one block)" in done.out
    assert "all fixes together: " in done.out
    assert "nothing is found any more" in done.out


def test_a_running_engine_is_looked_at(lab: str, here: Here) -> None:
    done = here("advise", "--broker", lab, "--seconds", "0.2", "--json", "--set", "slow_link_gbps=100")
    assert (done.status, done.err) == (0, "")
    document = json.loads(done.out)
    assert document["host"] == "lab"
    assert document["unchecked"] == []  # the model knows everything
    assert "vmq-on-slow-link" in {one["rule"] for one in document["findings"]}
    assert all(one["cleared"] is None for one in document["findings"])
    assert 0 < document["window_s"] < 30
    assert document["window_s"] + document["left_s"] == pytest.approx(30)
    done = here("advise", "--broker", lab, "--seconds", "0.2", "--set", "slow_link_gbps=100")
    assert " of 30 s watched: the order may change, and what comes in bursts may be missing" in done.out


def test_a_running_engine_is_watched_until_the_ranking_is_final(lab: str, here: Here) -> None:
    document = here("advise", "--broker", lab, "--json", "--set", "window_s=4").document
    assert (document["window_s"], document["left_s"]) == (4, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("advise", "--set", "busy=1"), 'did you mean "busy_load"'),
        (("advise", "--set", "busy_load=2"), "busy_load: 2.0 is not what fits (number 0.01..1)"),
        (("scenario", "show", "one-qeue"), "did you mean one-queue?"),
        (("scenario", "run", "one-queue", "--json"), "--json: is for --headless"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(here: Here, arguments: tuple[str, ...], said: str) -> None:
    done = here(*arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("backwards", [False, True], ids=["as listed", "last finding first"])
def test_lines_of_all_vms_without_a_queue_can_be_typed_one_after_another(backwards: bool) -> None:
    engine = Running("engine")
    try:
        url = engine.first_line()
        path = f"{Path(VMQTUI).parent}{os.pathsep}{os.environ['PATH']}"
        blocks = run("advise", "--seconds", "2", VMQTUI_BROKER=url).out.split("\n\n")
        wanted = [one for one in blocks if one.startswith("△ vm-without-queue")]
        assert len(wanted) > 1
        vms = {one.split("·")[1].split()[0] for one in wanted}
        for block in reversed(wanted) if backwards else wanted:
            for line in block.splitlines():
                if line.startswith(" " * 12 + "vmqtui "):
                    done = subprocess.run(
                        ["sh", "-c", line.strip()],
                        capture_output=True,
                        encoding="utf-8",
                        timeout=60,
                        env=os.environ | {"VMQTUI_BROKER": url, "PATH": path},
                    )
                    assert (done.returncode, done.stderr) == (0, ""), line
        refused = run("queue", "free", "nobody-01", VMQTUI_BROKER=url)
        assert (refused.status, "no queue nobody-01" in refused.err) == (1, True)
        queues = [
            one
            for one in run("get", "queues", "--json", VMQTUI_BROKER=url).document["queues"]
            if one["vm"] in vms
        ]
        filters = run("get", "filters", "--json", VMQTUI_BROKER=url).document["filters"]
        own = {one["queue_id"]: one for one in queues}
        assert sorted(one["vm"] for one in queues) == sorted(vms)
        assert {one["state"] for one in queues} == {"running"}
        assert len({one["processor"] for one in queues}) > 1
        found = [own[one["queue_id"]]["vm"] for one in filters if one["queue_id"] in own]
        assert sorted(found) == sorted(vms)
    finally:
        assert engine.end() == 0
