"""Runs in the real model: measured right, the same wherever they run, ended with whoever wanted them."""

import tomllib
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.service.compare import runners
from engine.service.compare.comparison import Plan, runs_of
from engine.service.compare.runners import Progress, RunFailedError, run_here
from engine.service.compare.runs import (
    Failure,
    Result,
    Run,
    answer,
    carry_out,
    decode_answer,
    encode_run,
    with_capture,
)
from engine.service.leftovers import leftovers
from engine.service.replay import replay
from engine.traffic.capture_file import capture_file
from engine.workers.start import warm_up
from tests.traffic.captures import ethernet, frame, pcap
from vmqtui.testing import wait_until

MACS = [f"00:15:5d:00:00:0{n}" for n in range(1, 4)]


def scenario(cpus: list[int], buffers: int = 16) -> str:
    """A queue for each MAC on these processors."""
    queues = [
        f'[[adapter.queue]]\nvm = "vm{n}"\ncpu = {cpu}\nbuffers = {buffers}\n'
        f'[[adapter.queue.filter]]\nmac = "{MACS[n]}"\n'
        for n, cpu in enumerate(cpus)
    ]
    return "[host]\ncpus = 2\n[[adapter]]\n" + "".join(queues)


def runs(capture: Path | None, *texts: str) -> list[Run]:
    plans = [Plan(f"plan{n}", tomllib.loads(text)) for n, text in enumerate(texts)]
    held = None if capture is None else capture_file(capture)
    return runs_of(plans, [], capture=held, adapter=None, seconds=0.01)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Bursts of 30 for the first MAC, single frames for the second, one broadcast."""
    frames = [frame(burst * 10_000_000, ethernet(MACS[0])) for burst in range(4) for _ in range(30)]
    frames += [frame(50_000_000 + n * 1_000_000, ethernet(MACS[1])) for n in range(20)]
    frames.append(frame(90_000_000, ethernet("ff:ff:ff:ff:ff:ff")))
    path = tmp_path / "bursts.pcap"
    path.write_bytes(pcap(frames))
    return path


def family() -> set[int]:
    """Processes below this one, the server they are forked from started."""
    warm_up()
    below = psutil.Process().children(recursive=True)
    return {one.pid for one in below if one.status() != psutil.STATUS_ZOMBIE}


def same(results: list[Result]) -> list[tuple[object, ...]]:
    """What must not depend on where or when something ran."""
    return [(one.sim_seconds, one.values, one.cpus, one.latency, one.lowest, one.moves) for one in results]


def test_measures_are_those_of_a_replay_of_the_same_frames(capture: Path) -> None:
    [one] = runs(capture, scenario([0, 1]))
    result = carry_out(one)
    document = replay(capture, one.scenario).document
    default, first, second = document["adapters"][0]["queues"]
    values = result.values
    assert values["offered"] == 141
    assert values["dropped_no_buffer"] == first["dropped_no_buffer"] == 4 * 14
    indicated = sum(queue["indicated_frames"] for queue in (default, first, second))
    assert values["throughput"] == pytest.approx(indicated / 0.09)
    assert values["delivered"] == pytest.approx(indicated / 141)
    assert values["default_queue"] == pytest.approx(1 / 141)
    assert values["dropped_switch"] == default["switch_dropped_frames"] == 1
    busy = [cpu["busy_cycles"] for cpu in document["cpus"]]
    assert values["max_over_mean"] == pytest.approx(max(busy) * 2 / sum(busy))
    assert values["gini"] == pytest.approx(abs(busy[0] - busy[1]) / 2 / sum(busy))
    assert values["low_free"] == 0
    assert (result.lowest[0].queue, result.lowest[0].low_free_buffers) == ("vm0", 0)
    assert values["latency_max_ns"] == max(queue["latency_max_ns"] for queue in (default, first, second))
    assert sum(result.latency) == indicated


def test_latency_of_a_frame_alone_is_moderation_and_what_its_dpc_costs(tmp_path: Path) -> None:
    path = tmp_path / "one.pcap"
    path.write_bytes(pcap([frame(0, ethernet(MACS[0], length=60))]))
    values = carry_out(runs(path, scenario([0]))[0]).values
    exact_ns = 50_000 + (2500 + 1500 + 6000 + 60) / 2.6
    for key in ("latency_p50_ns", "latency_p99_ns", "latency_max_ns"):
        assert values[key] == pytest.approx(exact_ns, abs=1)
    assert values["throughput"] is None


def test_gaps_of_over_a_second_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "gaps.pcap"
    times = (0, 900_000_000, 1_000_000_000, 11_000_000_000, 13_500_000_000)
    path.write_bytes(pcap([frame(ns, ethernet(MACS[0], length=60)) for ns in times]))
    assert carry_out(runs(path, scenario([0]))[0]).idle_seconds == pytest.approx(12.5, abs=1e-6)


@pytest.mark.slow
def test_runs_side_by_side_find_what_each_finds_alone(capture: Path) -> None:
    asked = runs(capture, scenario([0, 1]), scenario([0, 0], buffers=64))
    told: list[tuple[int, int]] = []
    results = run_here(asked, 2, lambda progress: told.append((progress.done, progress.total)))
    assert same(results) == same([carry_out(one) for one in asked])
    assert told[0] == (0, 2)
    assert told[-1] == (2, 2)


def test_a_plans_own_traffic_runs_for_as_long_as_is_asked() -> None:
    mix = '[[traffic.mix]]\nrate_pps = 100_000\nflow = [{ mac = "00:15:5d:00:00:01" }]\n'
    result = carry_out(runs(None, scenario([0]) + mix)[0])
    assert (result.sim_seconds, result.values["offered"]) == (0.01, 1000)


def test_a_run_as_bytes_is_the_same_run(capture: Path) -> None:
    [one] = runs(capture, scenario([0, 1]))
    answered = decode_answer(answer(encode_run(one)))
    assert isinstance(answered, Result)
    assert same([answered]) == same([carry_out(one)])


@pytest.mark.parametrize("order", [b"", b"\xc1", b"\x80"])
def test_an_order_that_is_none_is_answered_in_a_sentence(order: bytes) -> None:
    failure = decode_answer(answer(order))
    assert isinstance(failure, Failure)
    assert failure.kind == "failed"
    assert failure.sentence.startswith("this is no order: ")


def test_what_is_wrong_with_a_capture_is_said_of_the_one_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"no capture")
    [one] = runs(Path("asked.pcap"), scenario([0]))
    failure = decode_answer(answer(with_capture(encode_run(one), str(tmp_path / "sent"))))
    assert isinstance(failure, Failure)
    assert failure.kind == "unusable"
    assert failure.sentence.startswith("asked.pcap: ")


def test_a_plan_with_a_balancer_tells_what_it_moved_and_one_without_that_it_has_none(tmp_path: Path) -> None:
    slow = "[cpu]\nclock_ghz = 0.1\n" + scenario([1, 1, 1], buffers=64)
    balanced = '[balancer]\nmode = "dynamic"\ninterval_ms = 20\n' + slow
    frames = [frame(n * 50_000, ethernet(MACS[n % 3])) for n in range(4_000)]
    path = tmp_path / "busy.pcap"
    path.write_bytes(pcap(frames, magic=0xA1B23C4D))
    static, moving = [carry_out(one) for one in runs(path, slow, balanced)]
    assert (static.moves, static.values["moved_away"], static.values["moved_home"]) == (None, None, None)
    assert moving.moves
    told = [one.reason for one in moving.moves]
    assert (told.count("scale_out"), told.count("scale_in")) == (
        moving.values["moved_away"],
        moving.values["moved_home"],
    )
    first = moving.moves[0]
    assert (first.adapter, first.queue, first.from_cpu, first.to_cpu) == (
        "nic0",
        f"vm{first.queue_id - 1}",
        1,
        0,
    )
    assert first.cause.startswith("balancer, scale-out: ")
    # Both lists hold answers of runs.
    assert same([decode_answer(answer(encode_run(runs(path, balanced)[0])))]) == same([moving])  # type: ignore[list-item]


def test_a_run_that_fails_ends_the_others_and_says_which_it_was(tmp_path: Path, capture: Path) -> None:
    asked = runs(capture, *[scenario([0, 1])] * 2)
    gone = runs(tmp_path / "gone.pcap", scenario([0]))[0]
    before = family()
    with pytest.raises(RunFailedError, match=r"plan0: .*gone\.pcap") as failed:
        run_here([gone, *asked], 2)
    assert failed.value.unusable
    assert family() == before


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.slow
def test_a_run_without_memory_beside_others_is_tried_once_more_alone(
    capture: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    asked = runs(capture, scenario([0, 1]), scenario([0, 0]))
    beside: list[int] = []
    left = [times]

    def hear(pipe: Connection, one: Any) -> Any:
        """What was said; of the first run, so many times that there is too little memory."""
        said = truly(pipe, one)
        if one.number == 0 and isinstance(said, Result) and left[0]:
            left[0] -= 1
            return Failure("memory", "needs 9 bytes of shared memory; 8 are free")
        return said

    truly = runners._hear
    monkeypatch.setattr(runners, "_hear", hear)
    if times == 2:
        with pytest.raises(RunFailedError, match="plan0: needs 9 bytes") as failed:
            run_here(asked, 2)
        assert failed.value.unusable
        return
    results = run_here(asked, 2, lambda progress: beside.append(progress.done))
    assert same(results) == same([carry_out(one) for one in asked])
    assert beside[-2:] == [1, 2]


@pytest.mark.slow
def test_who_gives_up_leaves_no_process(capture: Path) -> None:
    def give_up(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    before, before_left = family(), {*leftovers()}
    with pytest.raises(KeyboardInterrupt):
        run_here(runs(capture, *[scenario([0, 1])] * 3), 2, give_up)
    assert family() == before
    wait_until(lambda: {*leftovers()} <= before_left, what="memory that is freed")  # others' comes and goes
