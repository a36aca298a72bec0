"""``vmqtui bench`` (contract 4)."""

import json
import re
import signal
import sys
from pathlib import Path

import pytest

from engine.service.bench import Settings
from tests.end_to_end.conftest import Here
from tests.end_to_end.program import Running
from tests.service.test_bench import check_row
from vmqtui.testing import wait_until

pytestmark = pytest.mark.slow


def test_bench_prints_one_document_with_the_contracts_keys_and_the_settings(here: Here) -> None:
    settings = {"cpus": 2, "queues": 3, "filters": 7, "frame_bytes": 200}
    options = [text for name, n in settings.items() for text in (f"--{name.replace('_', '-')}", str(n))]
    done = here("bench", "--json", "--seconds", "0.2", *options)
    assert (done.status, done.err) == (0, "")
    document = json.loads(done.out)
    assert document["schema"] == "vmq.bench/1"
    assert {name: document[name] for name in settings} == settings
    check_row(document)
    assert [row["name"] for row in document["baselines"]] == ["plain Python, slice + dict", "dpkt + dict"]
    for row in document["baselines"]:
        assert row["is_missing"] or row["times_slower"] == pytest.approx(
            document["frames_per_second"] / row["frames_per_second"]
        )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--queues", "4", "--filters", "3"], "--filters: 3"),
        (["--sweep", "--frame-bytes", "64"], "--frame-bytes"),
        (["--cpus", "0"], "--cpus"),
        (["--frame-bytes", "13"], "--frame-bytes"),
    ],
)
def test_settings_that_do_not_fit_end_with_2_and_a_line(options: list[str], named: str, here: Here) -> None:
    done = here("bench", "--json", *options)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert named in done.err


def test_a_run_that_drops_frames_fails(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "buffers", 1)
    done = here("bench", "--json", "--seconds", "0.1", "--cpus", "1", "--queues", "1")
    assert (done.status, done.out) == (1, "")
    assert re.search(r"^error: [\d,]+ frames were dropped and 0 found no queue of their own$", done.err)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shared memory that can be seen")
def test_ctrl_c_while_its_engine_is_built_leaves_nothing() -> None:
    running = Running("bench", "--seconds", "60")
    blocks: list[Path] = []

    def made() -> bool:
        blocks[:] = Path("/dev/shm").glob(f"vmq-{running.process.pid:x}-*")
        return bool(blocks)

    wait_until(made, what="the shared memory of an engine")
    assert running.end(signal.SIGINT) == 130
    assert not made()
    assert running.err == []
