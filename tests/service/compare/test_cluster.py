"""The same runs on a Dask cluster, where the extra is installed; and what is said where it is not."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.service.compare.runners import MAX_CAPTURE_BYTES, Progress, RunFailedError, run_on
from engine.service.compare.runs import carry_out
from tests.service.compare.test_runs import capture, runs, same, scenario

pytestmark = pytest.mark.slow

__all__ = ["capture"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with one worker, a process as on any cluster."""
    try:
        from distributed import LocalCluster
    except ImportError:
        if os.environ.get("VMQTUI_NO_SKIPS"):
            raise
        pytest.skip("distributed is not installed")
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None, memory_limit=0) as made:
        yield made.scheduler_address


def test_a_cluster_finds_what_this_machine_finds(cluster: str, capture: Path) -> None:
    asked = runs(capture, scenario([0, 1]), scenario([0, 0], buffers=64))
    told: list[int] = []
    results = run_on(cluster, asked, lambda progress: told.append(progress.done))
    assert same(results) == same([carry_out(one) for one in asked])
    assert told == [0, 1, 2]


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RunFailedError, match=r"vmqtui\[cluster\]"):
        run_on("tcp://127.0.0.1:1", [])


def test_a_capture_that_is_too_large_to_send_is_refused(cluster: str, tmp_path: Path) -> None:
    large = tmp_path / "large.pcap"
    with large.open("wb") as file:
        file.truncate(MAX_CAPTURE_BYTES + 1)

    def never(progress: Progress) -> None:
        raise AssertionError

    with pytest.raises(RunFailedError, match="too many to send"):
        run_on(cluster, runs(large, scenario([0])), never)
