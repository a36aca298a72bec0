"""How a plan decides: bursts into buffers, loads onto processors, limits kept; each against a slow oracle."""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.advice.powershell import set_line
from engine.scenario.load import loads
from engine.scenario.model import CpuSpec, HostSpec
from engine.scenario.relations import MisfitError
from engine.service.replay import plan_capture, replay
from engine.traffic.capture import CaptureSource
from engine.traffic.plan import Hardware, Plan, plan
from engine.traffic.plan_count import count
from engine.traffic.plan_placement import NoProcessorError, eligible, size, spread
from engine.traffic.plan_text import to_toml
from tests.slow import examples
from tests.traffic.captures import Frame, ethernet, frame, pcap

COST = CpuSpec()
Planner = Callable[..., Plan]


def mac_of(number: int) -> str:
    return (0x02_00_00_00_00_00 + number).to_bytes(6, "big").hex(":")


def write(directory: Path, frames: list[Frame]) -> Path:
    path = directory / "capture.pcap"
    path.write_bytes(pcap(frames, magic=0xA1B23C4D))
    return path


@pytest.fixture
def planned(tmp_path: Path) -> Planner:
    def from_frames(frames: list[Frame], **hardware: Any) -> Plan:
        return plan_capture(write(tmp_path, frames), Hardware(**hardware))[0]

    return from_frames


def most_waiting(arrivals_ns: list[int], service_ns: int, moderation_ns: int) -> int:
    """A server that begins so long after the first frame of an idle time, frame by frame."""
    ends: list[int] = []
    most = 0
    for at in arrivals_ns:
        waiting = [end for end in ends if end > at]
        begin = waiting[-1] if waiting else at + moderation_ns
        ends = [*waiting, begin + service_ns]
        most = max(most, len(ends))
    return most


@given(
    gaps=st.lists(st.sampled_from([30, 500, 2000, 3000, 20_000, 60_000, 10**7]), min_size=1, max_size=120),
    macs=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_that_wait_at_once_are_as_many_as_a_queue_of_single_frames_has(
    tmp_path: Path, gaps: list[int], macs: int, seed: int
) -> None:
    chosen = random.Random(seed)
    arrivals: dict[int, list[int]] = defaultdict(list)
    frames = []
    for at in itertools.accumulate(gaps, initial=0):
        number = chosen.randrange(macs)
        frames.append(frame(at, ethernet(mac_of(number), length=60)))
        arrivals[number].append(at)
    # A link without end: frames arrive when the capture says.
    source = CaptureSource(write(tmp_path, frames), adapter=0, link_gbps=10_000.0)
    try:
        seen = count(source, COST)
    finally:
        source.close()
    service_ns = math.ceil((COST.cycles_per_frame + 60 * COST.cycles_per_byte) / COST.clock_ghz)
    assert seen.peaks == {
        int(mac_of(number).replace(":", ""), 16): most_waiting(times, service_ns, 50_000)
        for number, times in arrivals.items()
    }


def test_group_addresses_wait_together_at_the_default_queue(planned: Planner) -> None:
    groups = ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb"]
    assert planned([frame(0, ethernet(mac)) for mac in groups * 40]).default_peak == 80


def test_buffers_are_twice_what_waits_as_a_power_of_two() -> None:
    assert size([1, 8, 9, 100, 3000], 10, 1518, None) == ([16, 16, 32, 256, 4096], 64, False)


@pytest.mark.parametrize(("limit", "frame_bytes"), [(None, 65_535), (1000, 1518), (101, 1518)])
def test_buffers_keep_within_the_adapters_and_within_memory(limit: int | None, frame_bytes: int) -> None:
    each, of_default, bounded = size([3000] * 100, 3000, frame_bytes, limit)
    assert bounded
    total = sum(each) + of_default
    if limit is None:
        assert total * frame_bytes <= 64 << 20 or max(each) <= 16
    else:
        assert total <= limit
    assert min(*each, of_default) >= 1


def test_the_planned_buffers_let_a_burst_through_that_fewer_would_not(tmp_path: Path) -> None:
    """In the real model: nothing is dropped, and half of what would wait at once is too little."""
    frames = [frame(0, ethernet(mac_of(0), length=60)) for _ in range(700)]
    capture = write(tmp_path, frames)
    scenario = plan_capture(capture)[0].scenario
    done = replay(capture, scenario)
    queue = done.document["adapters"][0]["queues"][1]
    assert (queue["dropped_no_buffer"], queue["steered_frames"]) == (0, 700)
    assert queue["total_buffers"] == 2048
    few = loads(to_toml(plan_capture(capture)[0]).replace("buffers = 2048", "buffers = 350"), "few")
    assert replay(capture, few).document["adapters"][0]["queues"][1]["dropped_no_buffer"] > 0


NO_LIMITS = (100, 100)
costs = st.lists(st.integers(1, 1000), min_size=1, max_size=7)


@given(cycles=costs, processors=st.integers(1, 3))
@settings(max_examples=examples(100), deadline=None)
def test_longest_processing_time_first_is_within_a_third_of_the_best(
    cycles: list[int], processors: int
) -> None:
    places = spread([float(one) for one in cycles], [1] * len(cycles), [range(processors)], {}, NO_LIMITS)
    chosen = [place.cpu for place in places if place is not None]

    def busiest(places: tuple[int, ...] | list[int]) -> int:
        return max(
            sum(cost for cost, place in zip(cycles, places, strict=True) if place == cpu)
            for cpu in range(processors)
        )

    best = min(busiest(places) for places in itertools.product(range(processors), repeat=len(cycles)))
    assert best <= busiest(chosen) <= (4 - 1 / processors) / 3 * best + 1e-9


def test_each_is_placed_where_least_is_to_do_the_costliest_first_the_lowest_where_equal() -> None:
    busy = {0: 5.0, 2: 0.0, 4: 0.0}
    places = spread([1.0, 9.0, 4.0, 4.0], [1] * 4, [[0, 2, 4]], busy, NO_LIMITS)
    assert places == [(0, 0), (0, 2), (0, 4), (0, 4)]
    assert busy == {0: 6.0, 2: 9.0, 4: 8.0}


def test_under_hyper_threading_only_even_processors_of_the_adapters_node_serve() -> None:
    host = HostSpec(cpus=16, hyperthreading=True, numa_nodes=2)
    assert eligible(host, 1, 0, None) == [8, 10, 12, 14]
    assert eligible(host, 1, 9, 2) == [10, 12]
    assert eligible(HostSpec(cpus=4), 0, 1, 2) == [1, 2]
    with pytest.raises(NoProcessorError, match=r"from 7 on \(of NUMA node 0, 0, 2, 4, 6 fit\)"):
        eligible(host, 0, 7, None)


def test_a_plan_keeps_to_the_processors_and_says_why(planned: Planner) -> None:
    frames = [frame(0, ethernet(mac_of(n))) for n in range(20) for _ in range(n + 1)]
    given_ = {"cpus": 16, "hyperthreading": True, "numa_nodes": 2, "numa_node": 1, "base_cpu": 10}
    result = planned(frames, **given_)
    text = to_toml(result)
    scenario = loads(text, "plan")
    assert (scenario.host.hyperthreading, scenario.host.numa_nodes) == (True, 2)
    adapter = scenario.adapter[0]
    assert {queue.cpu for queue in adapter.queue} == {10, 12, 14}
    assert (adapter.default_queue_cpu, adapter.numa_node) == (8, 1)
    assert "longest processing time first" in text
    assert "processor 8, which is left to it and to the host" in text
    assert "Only those of NUMA node 1, where the adapter is, and even ones" in text
    assert math.isclose(sum(result.processors.values()), 1)


def test_limits_of_the_adapter_leave_the_least_seen_to_the_default_queue(planned: Planner) -> None:
    frames = [frame(0, ethernet(mac_of(n))) for n in range(10) for _ in range(n + 1)]
    result = planned(frames, max_queues=4)
    adapter = loads(to_toml(result), "plan").adapter[0]
    assert [queue.filter[0].mac for queue in adapter.queue] == [mac_of(n) for n in (9, 8, 7, 6)]
    assert adapter.max_queues == 4
    assert result.default_queue.frames == sum(range(1, 7))
    assert "Beyond the adapter's 4 queues" in to_toml(result)

    by_filters = loads(to_toml(planned(frames, max_filters=3)), "plan").adapter[0]
    assert (len(by_filters.queue), by_filters.max_filters) == (3, 3)
    by_buffers = loads(to_toml(planned(frames, max_buffers=6)), "plan").adapter[0]
    assert (len(by_buffers.queue), by_buffers.total_buffers) == (5, 6)
    assert planned(frames, max_queues=0).scenario.adapter[0].queue == []


def test_a_host_that_cannot_be_is_refused_by_its_key(tmp_path: Path) -> None:
    source = CaptureSource(write(tmp_path, [frame()]), adapter=0, link_gbps=10.0)
    try:
        with pytest.raises(MisfitError) as refused:
            plan(source, Hardware(cpus=5, hyperthreading=True))
        assert refused.value.path == ("host", "cpus")
    finally:
        source.close()


TRAFFIC = [frame(0, ethernet(mac_of(n))) for n in range(10) for _ in range(n + 1)]
WIDE = {"cpus": 16, "hyperthreading": True, "base_cpu": 2}


def test_ports_of_a_sum_team_have_processors_of_their_own_and_each_vm_is_on_one(planned: Planner) -> None:
    result = planned(TRAFFIC, **WIDE, team="sum")
    scenario = loads(to_toml(result, "x", set_line), "plan")
    assert scenario == result.scenario
    first, second = scenario.adapter
    sets = [scenario.host.processors.configured(one.set_keys) for one in (first, second)]
    assert sets == [(2, 4, 6), (8, 10, 12, 14)]
    for adapter, cpus in zip((first, second), sets, strict=True):
        assert cpus is not None
        assert adapter.queue
        assert {queue.cpu for queue in adapter.queue} <= set(cpus)
        assert adapter.default_queue_cpu == 0
    macs = [queue.filter[0].mac for one in (first, second) for queue in one.queue]
    assert sorted(macs) == sorted(mac_of(n) for n in range(10))
    assert (scenario.team[0].members, scenario.team[0].mode) == (["nic0", "nic1"], "sum")
    assert math.isclose(sum(result.processors.values()), 1)


@pytest.mark.parametrize("mode", ["min", "primary"])
def test_ports_of_a_min_or_primary_team_have_the_same_set_and_the_same_queues(
    planned: Planner, mode: str
) -> None:
    result = planned(TRAFFIC, **WIDE, team=mode, adapters=("SLOT 3 Port 1", "b\"'s"))
    text = to_toml(result, "x", set_line)
    scenario = loads(text, "plan")
    assert scenario == result.scenario
    first, second = scenario.adapter
    assert first.queue == second.queue
    assert len(first.queue) == 10
    assert first.set_keys == second.set_keys
    assert scenario.team[0].members == ["SLOT 3 Port 1", "b\"'s"]
    line = "-BaseProcessorGroup 0 -BaseProcessorNumber 2 -MaxProcessorNumber 14 -MaxProcessors 7"
    assert f"#   Set-NetAdapterVmq -Name 'SLOT 3 Port 1' {line}\n" in text
    assert f"#   Set-NetAdapterVmq -Name 'b\"''s' {line}\n" in text


def test_a_sum_team_has_the_queues_of_both_ports(planned: Planner) -> None:
    adapters = planned(TRAFFIC, team="sum", max_queues=4, max_filters=4).scenario.adapter
    assert [len(one.queue) for one in adapters] == [4, 4]
    assert [len(one.queue) for one in planned(TRAFFIC, team="min", max_queues=4).scenario.adapter] == [4, 4]


def test_a_set_stays_in_one_group(planned: Planner) -> None:
    (adapter,) = planned(TRAFFIC, cpus=80).scenario.adapter
    assert (adapter.base_processor, adapter.max_processor, adapter.max_processors) == ("0:0", "0:63", 64)
    assert planned(TRAFFIC, cpus=80, numa_nodes=2, numa_node=1).scenario.adapter[0].base_processor == "1:0"


@pytest.mark.parametrize(
    ("hardware", "error", "sentence"),
    [
        (
            {"team": "sum", "cpus": 1},
            NoProcessorError,
            "2 ports of a team in mode sum need processors",
        ),
        ({"adapters": ("a", "b")}, MisfitError, "2 adapters without a team"),
        ({"adapters": ("a",), "team": "min"}, MisfitError, "a team of one adapter"),
        ({"adapters": ("a", "a"), "team": "min"}, MisfitError, "the same name twice"),
        ({"adapters": (" a",)}, MisfitError, "no blank at either end"),
    ],
)
def test_a_team_that_cannot_be_planned_is_refused(
    planned: Planner, hardware: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        planned(TRAFFIC, **hardware)
