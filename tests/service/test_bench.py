"""The benchmark: what its document holds, and that it measures what it says."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from engine.service import bench, bench_costs, bench_sweep
from engine.service.bench import BenchFailedError, Row, Settings
from engine.service.bench_sweep import Target
from engine.traffic.capture import CaptureSource
from tests.traffic.reading import read_all

pytestmark = pytest.mark.slow

CONTRACT_KEYS = {
    "frames_per_second",
    "gbits_per_second",
    "steer_frames_per_second_per_core",
    "memcpy_gbytes_per_second",
    "copied_gbytes_per_second",
    "copy_ratio",
    "line_rate_10g_ratio",
}


def quiet(doing: str, share: float | None) -> None:
    """Progress that nobody looks at."""


def check_row(row: dict[str, Any]) -> None:
    assert row.keys() >= CONTRACT_KEYS
    rate, size = row["frames_per_second"], row["frame_bytes"]
    assert rate > 0
    assert row["gbits_per_second"] == pytest.approx(rate * size * 8 / 1e9)
    assert row["copied_gbytes_per_second"] == pytest.approx(2 * rate * size / 1e9)
    assert row["line_rate_10g_ratio"] == pytest.approx(rate / (10e9 / (8 * (size + 20))))
    assert row["runs"] >= 3
    assert row["frames_per_second_spread"] >= 0


def test_a_sweep_measures_every_row_and_everything_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of it, with small settings."""
    groups = {
        "frame bytes": [Settings(2, 4, 4, size) for size in (64, 512, 1514)],
        "CPUs": [Settings(cpus, 4, 4, 64) for cpus in (1, 2, 3, 4)],
        "queues": [Settings(2, queues, 16, 64) for queues in (2, 4, 16)],
        "filters": [Settings(2, 4, filters, 64) for filters in (4, 8, 64)],
    }
    monkeypatch.setattr(bench_sweep, "GROUPS", groups)
    monkeypatch.setattr(bench_sweep, "MANY_CPUS", 4)
    monkeypatch.setattr(bench_sweep, "MANY_QUEUES", 16)
    monkeypatch.setattr(bench_costs, "REPLAY_FRAMES", 200_000)
    monkeypatch.setattr(bench_costs, "REPLAY_RUNS", 1)
    monkeypatch.setattr(bench_costs, "START_RUNS", 1)
    monkeypatch.setattr(bench_costs, "TELEMETRY_RUNS", 1)
    monkeypatch.setattr(bench_costs, "_TELEMETRY_SECONDS", 0.5)
    monkeypatch.setattr(bench, "_WARM_SECONDS", 0.02)
    monkeypatch.setattr(bench, "_BATCHES", 4)
    monkeypatch.setattr(bench, "_MEMCPY_BYTES", 1 << 20)
    monkeypatch.setattr(bench, "RUNS", 3)
    monkeypatch.setattr(bench_sweep, "RUNS", 3)
    told: list[str] = []
    document = bench_sweep.sweep(
        0.1, [sys.executable, "-m", "vmqtui", "engine"], lambda doing, _: told.append(doing)
    )
    assert json.loads(json.dumps(document)) == document
    check_row(document)
    assert [row["group"] for row in document["rows"]] == [name for name in groups for _ in groups[name]]
    for row in document["rows"]:
        check_row(row)
        assert row["over_first"] > 0
    assert [row["over_first"] for row in document["rows"]][:1] == [1.0]
    assert 0 < document["worker_private_bytes"] < psutil.virtual_memory().total
    assert document["start"]["seconds"] > 0
    assert [row["form"] for row in document["replays"]] == ["pcap", "pcapng"]
    assert len(document["targets"]) == 11
    assert all(row["reached"] in ("aim", "at least", "no") for row in document["targets"])
    assert any("replay" in sentence for sentence in told)
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert [key for key in sorted(keys_of(document)) if f"`{key}`" not in page] == []


def keys_of(found: Any) -> set[str]:
    """Of a document, with all it holds."""
    if isinstance(found, list):
        return set().union(*map(keys_of, found))
    if isinstance(found, dict):
        return set(found) | keys_of([*found.values()])
    return set()


def test_a_target_says_how_far_it_is_reached() -> None:
    rates = [Target("", "frames/s", 10, 20, measured).reached for measured in (9, 10, 20)]
    assert rates == ["no", "at least", "aim"]
    costs = [Target("", "s", 6, 2.5, measured, True).reached for measured in (6.1, 6, 2.5)]
    assert costs == ["no", "at least", "aim"]


def test_rows_are_held_against_each_other_run_by_run() -> None:
    """One slow moment of the machine, which both felt, is not a difference between them."""
    fast = Row(Settings(), 0, [100, 50, 100], [], [])
    slow = Row(Settings(), 0, [50, 25, 50], [], [])
    assert fast.over(slow) == 2
    assert slow.over(fast) == 0.5


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_the_captures_that_are_replayed_hold_the_benchmarks_frames(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_costs, "REPLAY_FRAMES", 1000)
    settings = Settings(frame_bytes=65)
    path = tmp_path / form
    getattr(bench_costs, f"_{form}")(path, settings)
    source = CaptureSource(path, adapter=0, link_gbps=1e4)
    read = read_all(source)
    source.close()
    assert source.broken is None
    assert [one.data for one in read] == [frame.tobytes() for frame in settings.frames(1000)]
    assert [one.arrival_ns for one in read] == settings.arrivals(1000).tolist()


def test_python_on_the_same_frames_finds_the_same_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bench_sweep.baselines(Settings(2, 3, 7, 64), 1e6, 2e6, quiet)
    assert rows[0]["times_slower_than_steering"] == pytest.approx(2 * rows[0]["times_slower"])
    monkeypatch.setattr(bench_sweep, "_plain", lambda frames, filters, longest: {})
    with pytest.raises(BenchFailedError, match="other queues"):
        bench_sweep.baselines(Settings(2, 3, 7, 64), 1e6, 2e6, quiet)


def test_python_without_dpkt_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dpkt", None)
    _, row = bench_sweep.baselines(Settings(2, 3, 7, 64), 1e6, 2e6, quiet)
    assert "dpkt is not installed" in row["is_missing"]


def test_frames_are_spread_evenly_over_the_filters() -> None:
    frames = Settings(1, 3, 7, 64).frames(70)
    _, counts = np.unique(frames[:, :6], axis=0, return_counts=True)
    assert counts.tolist() == [10] * 7
