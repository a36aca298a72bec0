"""Buffers, processors and pace in simulated time (CONTRACT 1, "Time"; DESIGN, "Simulated time decides")."""

import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from engine.workers.conductor import Conductor
from tests.end_to_end.capture_forms import enhanced, frame, interface, packet, pcap, section, write
from tests.end_to_end.checks import replay_document, without
from tests.end_to_end.conftest import Here
from tests.end_to_end.oracle import adapters_of, read

MACS = [f"02:00:5e:20:00:{k:02x}" for k in range(8)]


def replay(here: Here, folder: Path, content: bytes, scenario: str, *more: str) -> dict[str, Any]:
    path = folder / "s.toml"
    path.write_text(scenario, encoding="utf-8")
    done = here("replay", write(folder / "c.pcap", content), "--json", "--scenario", path, *more)
    assert (done.status, done.err) == (0, ""), done
    replay_document(done.document, adapters_of(scenario), "nic0", read(content))
    return done.document


def one_queue(buffers: int, return_delay_us: int = 0, cpu: str = "", cpus: int = 2) -> str:
    return f"""
[host]
cpus = {cpus}
[cpu]
{cpu}
[[adapter]]
name = "nic0"
max_frame_bytes = 2000
[[adapter.queue]]
vm = "a"
cpu = 1
buffers = {buffers}
return_delay_us = {return_delay_us}
[[adapter.queue.filter]]
mac = "{MACS[0]}"
"""


def test_a_burst_shorter_than_moderation_drops_exactly_what_has_no_buffer(tmp_path: Path, here: Here) -> None:
    content = pcap([packet(0, frame(MACS[0]))] * 10)
    [row] = replay(here, tmp_path, content, one_queue(buffers=4))["adapters"]
    queue = row["queues"][1]
    assert (queue["received_frames"], queue["dropped_no_buffer"], queue["total_buffers"]) == (4, 6, 4)
    assert (queue["interrupts"], queue["dpcs"]) == (1, 1)


def test_rates_and_loads_in_the_tables_are_means_over_the_time_of_the_frames(
    tmp_path: Path, here: Here
) -> None:
    (tmp_path / "s.toml").write_text(one_queue(buffers=4), encoding="utf-8")

    def replayed(times: list[int]) -> tuple[str, list[dict[str, str]]]:
        """The text of a replay, and the last row of its tables of queues, filters and processors."""
        content = pcap([packet(at_ns, frame(MACS[0])) for at_ns in times])
        done = here("replay", write(tmp_path / "c.pcap", content), "--scenario", tmp_path / "s.toml")
        assert (done.status, done.err) == (0, ""), done
        tables = [part.strip().splitlines() for part in done.out.split("\n\n")[2:]]
        rows = [(re.split("  +", table[0].strip()), re.split("  +", table[-1].strip())) for table in tables]
        return done.out, [dict(zip(heads, row, strict=False)) for heads, row in rows]

    text, (queue, one, cpu) = replayed([0] * 9 + [2_000_000_000])
    assert "rates and loads are means over the 2.000000 s" in text
    assert (queue["Packets/s"], queue["Drops/s"], one["Matches/s"]) == ("5", "2.50", "5")
    assert cpu["Load"] == "<.1%"
    text, (queue, one, cpu) = replayed([0])
    assert "means" not in text
    assert (queue["Packets/s"], queue["Drops/s"], one["Matches/s"], cpu["Load"]) == ("–",) * 4


def test_a_vm_that_returns_late_keeps_its_buffers_and_the_replay_waits_for_them(
    tmp_path: Path, here: Here
) -> None:
    """Three buffers for 10 s each, a frame a second: three taken, eight dropped, again and again."""
    content = pcap([packet(k * 10**9, frame(MACS[0])) for k in range(25)])
    [row] = replay(here, tmp_path, content, one_queue(buffers=3, return_delay_us=10_000_000))["adapters"]
    queue = row["queues"][1]
    assert (queue["received_frames"], queue["dropped_no_buffer"]) == (9, 16)
    assert queue["returned_frames"] == 9


def served(
    times: list[int], lengths: list[int], buffers: int, delay: int, moderation: int, quota: int
) -> dict[str, int]:
    """One queue alone on a processor of 1 GHz: 1,000 cycles an interrupt, 700 a DPC, 90 a frame, 2 a byte."""
    pending: deque[tuple[int, int]] = deque()
    taken: list[int] = []  # when a buffer in use comes back
    count = dict.fromkeys(["received_frames", "dropped_no_buffer", "interrupts", "dpcs", "busy_cycles"], 0)
    armed: int | None = None
    fresh, free_at = True, 0

    def serve(until: int | None) -> None:
        nonlocal armed, fresh, free_at
        while armed is not None and (until is None or max(armed, free_at) < until):
            start = max(armed, free_at)
            batch = [each for each in pending if each[0] < start][:quota]
            for _ in batch:
                pending.popleft()
            cycles = 1000 * fresh + 700 + 90 * len(batch) + 2 * sum(length for _, length in batch)
            free_at = start + cycles
            taken.extend([free_at + delay] * len(batch))
            count["interrupts"] += fresh
            count["dpcs"] += 1
            count["busy_cycles"] += cycles
            armed, fresh = (free_at, False) if pending else (None, True)

    for time, length in zip(times, lengths, strict=True):
        serve(time)
        taken[:] = [each for each in taken if each > time]
        if len(pending) + len(taken) >= buffers:
            count["dropped_no_buffer"] += 1
            continue
        if not pending and armed is None and free_at <= time:
            armed, fresh = time + moderation, True
        elif armed is None:
            armed, fresh = max(free_at, time), False
        pending.append((time, length))
        count["received_frames"] += 1
    serve(None)
    return count


@pytest.mark.parametrize(
    ("buffers", "delay_us", "moderation_us", "quota"), [(16, 0, 5, 4), (40, 30, 2, 8), (7, 13, 0.5, 64)]
)
def test_a_slow_processor_drops_what_a_step_by_step_account_says(
    buffers: int, delay_us: int, moderation_us: float, quota: int, tmp_path: Path, here: Here
) -> None:
    """Bursts and pauses of frames at odd times, so that no two things happen in the same nanosecond."""
    cpu = f"""
clock_ghz = 1.0
cycles_per_interrupt = 1000
cycles_per_dpc = 700
cycles_per_frame = 90
cycles_per_byte = 2
moderation_us = {moderation_us}
quota = {quota}
"""
    now, times, lengths, state = 0, [], [], 4711
    for k in range(3000):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        length = 60 + 5 * (state >> 16) % 500
        times.append(now)
        lengths.append(length)
        now += (length + 20) * 8 // 10 + (state >> 8) % (97 if k % 100 else 400_001)
    packets = [packet(t, frame(MACS[0], size=n)) for t, n in zip(times, lengths, strict=True)]
    scenario = one_queue(buffers, delay_us, cpu).replace('name = "nic0"', 'name = "nic0"\nlink_gbps = 10000')
    document = replay(here, tmp_path, pcap(packets, nanoseconds=True), scenario)
    queue, processor = document["adapters"][0]["queues"][1], document["cpus"][1]
    expected = served(times, lengths, buffers, delay_us * 1000, int(moderation_us * 1000), quota)
    assert expected["dropped_no_buffer"] > 50
    assert {key: queue[key] for key in expected if key in queue} == {
        key: value for key, value in expected.items() if key in queue
    }
    assert {key: processor[key] for key in ("busy_cycles", "dpcs", "interrupts")} == {
        key: expected[key] for key in ("busy_cycles", "dpcs", "interrupts")
    }


def spread(cpus: int) -> str:
    queues = "".join(
        f"""[[adapter.queue]]
vm = "vm {k}"
cpu = {k % cpus}
buffers = 4096
[[adapter.queue.filter]]
mac = "{mac}"
"""
        for k, mac in enumerate(MACS)
    )
    return f'[host]\ncpus = {cpus}\n[[adapter]]\nname = "nic0"\n{queues}'


def test_nothing_but_processor_work_depends_on_the_number_of_processors(tmp_path: Path, here: Here) -> None:
    content = pcap([packet(k * 20_000, frame(MACS[k * k % 8], size=60 + k % 900)) for k in range(2000)])
    seen = []
    for cpus in (1, 2, 5):
        document = replay(here, tmp_path, content, spread(cpus))
        assert len(document["cpus"]) == cpus
        [row] = document["adapters"]
        assert not any(queue["dropped_no_buffer"] for queue in row["queues"])
        row["queues"] = [without(queue, "cpu", "interrupts", "dpcs") for queue in row["queues"]]
        seen.append(document["adapters"])
    assert seen[0] == seen[1] == seen[2]


def test_two_runs_print_the_same_document_even_when_frames_are_dropped(tmp_path: Path, here: Here) -> None:
    content = pcap([packet(k * 300, frame(MACS[k * 7 % 8], size=60 + k % 900)) for k in range(5000)])
    scenario = spread(3).replace("buffers = 4096", "buffers = 40")
    first, second = (replay(here, tmp_path, content, scenario) for _ in range(2))
    assert any(queue["dropped_no_buffer"] for queue in first["adapters"][0]["queues"])
    assert without(first, "wall_seconds") == without(second, "wall_seconds")


@pytest.mark.parametrize("pace", ["max", "real"])
def test_processors_have_no_idle_time_while_vms_hold_buffers_after_the_last_dpc(
    pace: str, tmp_path: Path, here: Here
) -> None:
    """One DPC: 1,000 cycles for an interrupt, 700 for itself, 90 a frame, at 1 GHz, 5 us after the frame."""
    cpu = """
clock_ghz = 1
cycles_per_interrupt = 1000
cycles_per_dpc = 700
cycles_per_frame = 90
cycles_per_byte = 0
moderation_us = 5
"""
    content = pcap([packet(0, frame(MACS[0]))])
    for return_delay_us in (0, 5000, 200_000):
        document = replay(here, tmp_path, content, one_queue(8, return_delay_us, cpu), "--pace", pace)
        processor = document["cpus"][1]
        assert (processor["busy_cycles"], processor["budget_cycles"]) == (1790, 6790), return_delay_us


@pytest.mark.parametrize(
    ("clock_ghz", "smt_share", "ns_a_cycle"),
    [(0.001, 0.01, 100_000), (0.0015, 1, 2000 / 3), (1.6, 0.25, 2.5)],
)
def test_a_slow_clock_runs_as_slowly_as_it_says(
    clock_ghz: float, smt_share: float, ns_a_cycle: float, tmp_path: Path, here: Here
) -> None:
    """1,500 cycles for a DPC and 30 for 60 bytes; the processor's sibling serves the default queue."""
    cpu = f"""
clock_ghz = {clock_ghz}
smt_share = {smt_share}
cycles_per_interrupt = 0
cycles_per_frame = 0
cycles_per_byte = 0.5
moderation_us = 0
"""
    scenario = one_queue(8, cpu=cpu).replace("cpus = 2", "cpus = 2\nhyperthreading = true")
    document = replay(here, tmp_path, pcap([packet(0, frame(MACS[0]))]), scenario)
    assert document["cpus"][1]["busy_cycles"] == 1530
    assert document["adapters"][0]["queues"][1]["latency_max_ns"] == round(1530 * ns_a_cycle)


def test_percentiles_of_seconds_are_at_most_a_quarter_too_high(tmp_path: Path, here: Here) -> None:
    """Frames of 0.5 s of work each that come at once: the first waits 0.5 s, the last 60 s."""
    cpu = """
clock_ghz = 0.001
cycles_per_interrupt = 0
cycles_per_dpc = 0
cycles_per_frame = 500_000
cycles_per_byte = 0
moderation_us = 0
quota = 1
"""
    document = replay(here, tmp_path, pcap([packet(0, frame(MACS[0]))] * 120), one_queue(200, cpu=cpu))
    queue = document["adapters"][0]["queues"][1]
    assert queue["latency_max_ns"] == pytest.approx(60e9)
    assert 30e9 * 0.999 <= queue["latency_p50_ns"] <= 30e9 * 1.25
    assert 59.5e9 * 0.999 <= queue["latency_p99_ns"] <= queue["latency_max_ns"]


def test_processors_have_their_time_up_to_a_last_frame_that_causes_no_dpc(tmp_path: Path, here: Here) -> None:
    runt = bytes(10)
    content = pcap([packet(0, frame(MACS[0])), packet(3_000_000, runt)])
    document = replay(here, tmp_path, content, one_queue(8, cpu="clock_ghz = 1"))
    assert [row["budget_cycles"] for row in document["cpus"]] == [3_000_000, 3_000_000]


def test_pace_real_shortens_a_long_gap_and_says_so(tmp_path: Path, here: Here) -> None:
    content = pcap([packet(0, frame(MACS[0])), packet(30_000_000_000, frame(MACS[0]))])
    capture = write(tmp_path / "gap.pcap", content)
    done = here("replay", capture, "--json", "--pace", "real")
    assert done.status == 0
    assert 1.0 <= done.document["wall_seconds"] < 30
    assert "1 s" in done.err
    fast = here("replay", capture, "--json")
    assert fast.document["sim_seconds"] == 30
    assert fast.document["wall_seconds"] < 30


@pytest.mark.slow
def test_pace_real_says_how_late_the_last_frames_were(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes 60 ms: too long where one is due each 20."""
    content = pcap([packet(k * 20_000_000, frame(MACS[0])) for k in range(40)])
    capture = write(tmp_path / "steady.pcap", content)
    run_to = Conductor.run_to

    def slow(
        conductor: Conductor, horizon_ns: int, after_round: Callable[[], None], *, or_to_end: bool = False
    ) -> None:
        until = monotonic() + 0.06
        run_to(conductor, horizon_ns, after_round, or_to_end=or_to_end)
        while monotonic() < until:
            pass

    monkeypatch.setattr(Conductor, "run_to", slow)
    done = here("replay", capture, "--json", "--pace", "real")
    assert done.status == 0
    assert re.search(r"^warning: the last frames came \d\.\d s late", done.err, re.MULTILINE)


def test_a_pcap_may_reach_from_1970_to_2106(tmp_path: Path, here: Here) -> None:
    times = [0, 0, (2**32 - 1) * 10**9 + 999_999_999]
    content = pcap([packet(time, frame(MACS[0], size=61)) for time in times], nanoseconds=True)
    replay(here, tmp_path, content, one_queue(buffers=8))
    replay(here, tmp_path, content, one_queue(buffers=8, cpu="clock_ghz = 6"))


def test_a_gap_of_300_years_is_a_break_that_is_said(tmp_path: Path, here: Here) -> None:
    content = (
        section() + interface(resolution=0) + enhanced(2, frame(MACS[0])) + enhanced(2**33, frame(MACS[0]))
    )
    done = here("replay", write(tmp_path / "t.pcapng", content), "--json")
    assert done.status == 1
    assert "146 years" in done.err
    assert done.document["truncated"] is True
    assert all(row["pending"] == 0 for row in done.document["adapters"][0]["queues"])


@pytest.mark.parametrize(
    ("name", "more", "adapter", "queue", "p50_ns", "longest_ns"),
    [
        ("team-backward-time", ("--adapter", "team0"), 1, 1, 51_000, 51_000),
        ("slow-latency", (), 0, 1, 151_286_500, 301_520_500),
    ],
)
def test_cases_that_went_wrong_are_right(
    name: str, more: tuple[str, ...], adapter: int, queue: int, p50_ns: int, longest_ns: int,
    captures: Path, here: Here,
) -> None:  # fmt: skip
    case = captures.parent / "cases" / name
    done = here("replay", f"{case}.pcap", "--scenario", f"{case}.toml", "--json", *more)
    assert done.status == 0
    row = done.document["adapters"][adapter]["queues"][queue]
    assert p50_ns <= row["latency_p50_ns"] <= 1.25 * p50_ns
    assert row["latency_max_ns"] == longest_ns
