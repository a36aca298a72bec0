"""The balancer in a whole machine: moves by request, told, the same on every run; none while it is off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.kernels.layout import CPU, Q
from engine.scenario.load import loads
from engine.scenario.model import BalancerSpec, Scenario
from engine.service import balancing
from engine.service.machine import Machine
from engine.service.replay import ReplayResult, replay
from tests.traffic.captures import ethernet, frame, pcap
from vmqtui.pytest_plugin import StartEngine

MS = 1_000_000
MACS = [f"00:15:5d:00:00:0{number}" for number in range(1, 5)]


def scenario(mode: str, **settings: Any) -> Scenario:
    """Four VMs' queues on one of four slow processors; queue 0 on another."""
    text = '[host]\nname = "lab"\ncpus = 4\n[cpu]\nclock_ghz = 0.1\nmoderation_us = 20\n[[adapter]]\n'
    for mac in MACS:
        text += f'[[adapter.queue]]\ncpu = 1\nbuffers = 64\n[[adapter.queue.filter]]\nmac = "{mac}"\n'
    balancer = BalancerSpec(mode=mode, **settings)  # type: ignore[arg-type]  # options of any of its types
    return msgspec.structs.replace(loads(text, "test"), balancer=balancer)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of too much for one processor, a second of little, a gap of a year, one frame more."""
    much = [number * 50_000 for number in range(10_000)]
    little = [500 * MS + number * 10 * MS for number in range(100)]
    times = [*much, *little, 365 * 86_400 * 1_000 * MS]
    frames = [frame(ns, ethernet(MACS[number % 4], length=100)) for number, ns in enumerate(times)]
    path = tmp_path_factory.mktemp("balancing") / "swing.pcap"
    path.write_bytes(pcap(frames, magic=0xA1B23C4D))
    return path


@pytest.fixture(scope="module")
def balanced(capture: Path) -> ReplayResult:
    return replay(capture, scenario("dynamic", interval_ms=20, cooldown_ms=100))


@pytest.fixture(scope="module")
def static(capture: Path) -> ReplayResult:
    return replay(capture, scenario("off"))


def dropped(replayed: ReplayResult) -> int:
    return sum(queue["dropped_no_buffer"] for queue in replayed.document["adapters"][0]["queues"])


def test_balancing_lets_processors_do_what_one_could_not(
    balanced: ReplayResult, static: ReplayResult
) -> None:
    assert dropped(static) > 1_500
    assert dropped(balanced) < dropped(static) / 5
    assert sum(cpu["indicated_frames"] > 0 for cpu in balanced.document["cpus"]) >= 3


def test_the_document_tells_every_move_with_its_numbers(balanced: ReplayResult) -> None:
    told = balanced.document["balancer"]
    assert told["total_moves"] == len(told["moves"]) > 0
    where = dict.fromkeys(range(1, 5), 1)
    for move in told["moves"]:
        assert move["sim_time_ns"] % (20 * MS) == 0
        assert where[move["queue_id"]] == move["from_cpu"]
        where[move["queue_id"]] = move["to_cpu"]
        assert move["cause"].startswith(f"balancer, {move['reason'].replace('_', '-')}: ")
    assert {move["reason"] for move in told["moves"]} == {"scale_out", "scale_in"}
    assert all(move["from_load"] >= 0.8 for move in told["moves"] if move["reason"] == "scale_out")
    queues = balanced.document["adapters"][0]["queues"]
    assert {queue["id"]: queue["cpu"] for queue in queues[1:]} == where == dict.fromkeys(range(1, 5), 1)


def test_two_replays_make_the_same_moves(capture: Path, balanced: ReplayResult) -> None:
    again = replay(capture, scenario("dynamic", interval_ms=20, cooldown_ms=100))
    assert again.document | {"wall_seconds": 0} == balanced.document | {"wall_seconds": 0}


def test_a_balancer_that_finds_nothing_to_do_changes_nothing(capture: Path, static: ReplayResult) -> None:
    idle = replay(capture, scenario("dynamic", scale_out=1.0, scale_in=0.0, interval_ms=3_600_000)).document
    assert idle.pop("balancer") == {"total_moves": 0, "moves": []}
    assert idle | {"wall_seconds": 0} == static.document | {"wall_seconds": 0}


def test_a_replay_ends_with_its_capture_whoever_is_due_later(
    balanced: ReplayResult, static: ReplayResult
) -> None:
    ends = [
        [cpu["budget_cycles"] for cpu in replayed.document["cpus"]] + [replayed.stats.sim_time_ns]
        for replayed in (balanced, static)
    ]
    assert ends[0] == ends[1]
    last = balanced.document["balancer"]["moves"][-1]
    assert last["sim_time_ns"] <= balanced.document["sim_seconds"] * 1e9


TEAM = """
[host]
name = "lab"
cpus = 4
[cpu]
clock_ghz = 0.1
[[adapter]]
name = "a"
[[adapter.queue]]
cpu = 1
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:01"
[[adapter.queue]]
cpu = 1
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:02"
[[adapter]]
name = "b"
[[adapter.queue]]
cpu = 2
[[adapter.queue]]
cpu = 3
[[team]]
name = "t"
members = ["a", "b"]
[balancer]
mode = "dynamic"
interval_ms = 20
"""


@pytest.mark.parametrize(("mode", "goes_to"), [("sum", 0), ("min", 2)])
def test_members_of_a_team_with_summed_queues_keep_apart(mode: str, goes_to: int, tmp_path: Path) -> None:
    path = tmp_path / "half.pcap"
    frames = [frame(number * 60_000, ethernet(MACS[number % 2])) for number in range(1_000)]
    path.write_bytes(pcap(frames, magic=0xA1B23C4D))
    text = TEAM.replace('name = "t"', f'name = "t"\nmode = "{mode}"')
    moves = replay(path, loads(text, "test"), "a").document["balancer"]["moves"]
    assert {move["to_cpu"] for move in moves} == {goes_to}


@pytest.fixture
def overloaded() -> Iterator[Machine]:
    """A machine whose processor 1 was busy all through the first window."""
    machine = Machine(scenario("dynamic", interval_ms=20, scale_out=0.5, scale_in=0.1))
    try:
        busy, steered = CPU.busy_cycles, [Q.steered_frames, Q.received_frames]
        machine.plane.views.cpus[:, 1, busy] = 2_000_000  # of 20 ms at 0.1 GHz
        for queue_id in range(1, 5):
            machine.plane.row(machine.plane.slot(0, queue_id))[steered] = 80
        machine.plane.settle_time(20 * MS)
        yield machine
    finally:
        machine.close()


def test_moves_told_are_bounded_and_all_are_counted(
    overloaded: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancing, "MOVES_KEPT", 1)
    overloaded.balancing.settle()
    assert overloaded.balancing.by_reason.total() > len(overloaded.balancing.moves) == 1


def test_every_move_is_a_request_and_an_event(overloaded: Machine) -> None:
    machine = overloaded
    before = machine.host.revision
    machine.balancing.settle()
    events = machine.take_events()
    assert machine.host.revision - before == len(events) == machine.balancing.by_reason.total() > 0
    for event in events:
        assert (event.event, event.sim_time_ns, event.state) == ("queue_moved", 20 * MS, "running")
        assert event.cause.startswith("balancer, scale-out: ")
        assert event.queue_id is not None
        queue = machine.host.adapters[0].queues[event.queue_id]
        assert queue.cpu != queue.home_cpu == 1


async def test_it_is_turned_on_and_off_while_an_engine_runs(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(scenario("off"))
    asked = await engine.request("set_balancer", mode="dynamic", what_if=True)
    assert asked.status == "ok"
    assert engine.config is not None
    assert engine.config.balancer["mode"] == "off"
    answer = await engine.request("set_balancer", mode="dynamic", interval_ms=50)
    assert answer.status == "ok"
    assert answer.revision == 2
    refused = await engine.request("set_balancer", scale_in=0.9)
    assert refused.ndis_status == "NDIS_STATUS_INVALID_PARAMETER"
    assert refused.message.startswith("scale_in: 0.9 is not below scale_out, 0.8")
    assert (await engine.request("set_balancer", mode="off")).message.startswith("the balancer is off")
