"""``vmqtui doctor`` as a user meets it."""

from pathlib import Path

import pytest

from tests.end_to_end.program import run


@pytest.mark.slow
def test_a_sound_installation_passes() -> None:
    done = run("doctor")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "nothing stands in the way"
    for subject in ("python", "packages", "kernels", "shared memory", "embedded broker", "leftovers"):
        assert f"  {subject}: " in done.out


@pytest.mark.slow
def test_what_fails_is_said_with_what_to_do_and_ends_with_1(tmp_path: Path) -> None:
    bad = tmp_path / "config.toml"
    bad.write_text("no toml", encoding="utf-8")
    done = run("doctor", "--broker", "mqtt://me:hunter2@127.0.0.1:1", VMQTUI_CONFIG=str(bad))
    assert done.status == 1
    assert "FAILED  broker: no connection to mqtt://me@127.0.0.1:1: " in done.out
    assert f"FAILED  configuration: {bad}: " in done.out
    assert done.out.count("\n        → ") >= 2
    assert "hunter2" not in done.out + done.err


@pytest.mark.slow
def test_json_is_one_document_with_every_check() -> None:
    done = run("doctor", "--json")
    assert done.document["schema"] == "vmq.doctor/1"
    assert done.document["ok"] is (done.status == 0)
    assert {"subject", "verdict", "found", "advice"} == set(done.document["checks"][0])
