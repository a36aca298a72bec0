"""The CPU model: what serving costs, what a busy sibling leaves of the clock, what a remote buffer costs."""

from pathlib import Path
from typing import Any

import pytest

from engine.scenario.model import AdapterSpec, CpuSpec, FilterSpec, HostSpec, QueueSpec, Scenario
from engine.service.replay import replay
from tests.traffic.captures import ethernet, frame, pcap

MAC = "00:15:5d:00:00:01"
CPU = CpuSpec(
    clock_ghz=2.0,
    cycles_per_interrupt=1000,
    cycles_per_dpc=500,
    cycles_per_frame=300,
    cycles_per_byte=2.0,
    moderation_us=1.0,
    smt_share=0.5,
    remote_copy_factor=3.0,
)


def replay_one_frame(tmp_path: Path, host: HostSpec, queue_cpus: list[int], **adapter: Any) -> dict[str, Any]:
    """The document of a capture of one 100-byte frame for the first of some queues."""
    path = tmp_path / "one.pcap"
    path.write_bytes(pcap([frame(0, ethernet(MAC, length=100))]))
    queues = [
        QueueSpec(
            name=f"q{number}", cpu=cpu, buffers=16, filter=[FilterSpec(mac=f"00:15:5d:00:00:{number:02x}")]
        )
        for number, cpu in enumerate(queue_cpus, 1)
    ]
    scenario = Scenario(
        host=host, adapter=[AdapterSpec(default_queue_buffers=16, queue=queues, **adapter)], cpu=CPU
    )
    return replay(path, scenario).document


def test_a_frame_costs_its_interrupt_its_dpc_itself_and_its_bytes(tmp_path: Path) -> None:
    cpus = replay_one_frame(tmp_path, HostSpec(name="h", cpus=2), [1])["cpus"]
    assert cpus[1]["busy_cycles"] == 1000 + 500 + 300 + 2 * 100
    assert (cpus[1]["interrupts"], cpus[1]["dpcs"], cpus[1]["indicated_frames"]) == (1, 1, 1)
    assert cpus[0]["busy_cycles"] == 0


def test_a_processor_of_another_node_pays_more_for_its_bytes(tmp_path: Path) -> None:
    host = HostSpec(name="h", cpus=4, numa_nodes=2)
    near = replay_one_frame(tmp_path, host, [3], numa_node=1)["cpus"][3]["busy_cycles"]
    far = replay_one_frame(tmp_path, host, [1], numa_node=1)["cpus"][1]["busy_cycles"]
    assert far - near == (3 - 1) * 2 * 100


def test_a_hyper_thread_next_to_a_serving_one_has_a_share_of_the_clock(tmp_path: Path) -> None:
    host = HostSpec(name="h", cpus=6, hyperthreading=True)
    cpus = replay_one_frame(tmp_path, host, [2])["cpus"]
    budgets = [cpu["budget_cycles"] for cpu in cpus]
    # Queue 0 is on 0 and the other queue on 2: their siblings 1 and 3 are slow, 4 and 5 are not.
    assert budgets[0] == budgets[2] == budgets[4] == budgets[5]
    assert budgets[1] == budgets[3] == pytest.approx(budgets[0] / 2, abs=1)


def test_serving_takes_twice_as_long_beside_a_serving_sibling(tmp_path: Path) -> None:
    def ends_ns(cpus: list[int]) -> float:
        document = replay_one_frame(tmp_path, HostSpec(name="h", cpus=6, hyperthreading=True), cpus)
        return float(document["cpus"][5]["budget_cycles"] / CPU.clock_ghz)

    moderation_ns = 1000
    alone, beside = ends_ns([2]) - moderation_ns, ends_ns([2, 3]) - moderation_ns
    assert alone == 2000 / CPU.clock_ghz
    assert beside == 2 * alone


def test_only_the_lookahead_is_copied_under_a_split(tmp_path: Path) -> None:
    def busy(lookahead_bytes: int) -> int:
        path = tmp_path / "tagged.pcap"
        path.write_bytes(pcap([frame(0, ethernet(MAC, vlan=10, length=104))]))
        queue = QueueSpec(
            name="q",
            vm="vm",
            cpu=0,
            buffers=16,
            lookahead_bytes=lookahead_bytes,
            filter=[FilterSpec(mac=MAC, vlan=10)],
        )
        adapter = AdapterSpec(
            ndis_version="6.20", max_lookahead_bytes=128, default_queue_buffers=16, queue=[queue]
        )
        document = replay(
            path, Scenario(host=HostSpec(name="h", cpus=1), adapter=[adapter], cpu=CPU)
        ).document
        return int(document["cpus"][0]["busy_cycles"])

    assert busy(0) - busy(64) == 2 * (104 - 64)
