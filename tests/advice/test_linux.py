"""Advice for Linux hosts: their rings are queues, and nothing of Windows is printed for them.

The hosts are constructed from the documented properties of Linux adapters.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec
import pytest

from engine.advice.evidence import Evidence, Moved, Trace
from engine.advice.finding import Finding
from engine.advice.rules import RULES, findings, unchecked
from engine.advice.window import AdviceWindow
from engine.ndis.counters import DEFAULT_QUEUE_REASONS
from engine.telemetry.config import Config, CpuConfig, FilterConfig
from engine.telemetry.stats import Cell, Stats, TopPairs
from tests.measured import adapter_stats, linux_config, queue_config, table

SECOND_NS: Final = 1_000_000_000


def host(
    cpus: Sequence[int],
    *,
    name: str = "eth0",
    nodes: int = 1,
    siblings: int = 0,
    link_gbps: float = 10.0,
) -> Config:
    """A machine of 8 processors and one adapter, with a ring for each of ``cpus``, on that processor.

    ``siblings``: processor n and n + siblings share a core, as they do on most machines.
    """
    base = linux_config()
    queues = [queue_config(n, f"rx-{n}", cpu, driver="igb", buffers=256) for n, cpu in enumerate(cpus)]
    eth0 = msgspec.structs.replace(
        base.adapters[0], name=name, link_gbps=link_gbps, queues=queues, filters=[]
    )
    return msgspec.structs.replace(
        base,
        cpus=[
            CpuConfig(id=n, name=f"0:{n}", core=n % siblings if siblings else n, numa_node=n * nodes // 8)
            for n in range(8)
        ],
        numa_nodes=nodes,
        hyperthreading=bool(siblings),
        adapters=[eth0],
    )


def seen(
    config: Config,
    loads: Mapping[int, float],
    pps: Sequence[int],
    drops: Sequence[int] | None = None,
    trace: Trace | None = None,
    pause_s: int = 2,
) -> Evidence:
    """What two seconds of a machine show: its loads, and each ring's frames and drops (None: not known)."""
    readings = [_reading(config, loads, pps, drops, second) for second in (0, pause_s)]
    return Evidence(config, readings[1], readings[0], trace or Trace())


def _reading(
    config: Config, loads: Mapping[int, float], pps: Sequence[int], drops: Sequence[int] | None, second: int
) -> Stats:
    rings = len(pps)
    received: list[Cell] = [second * one for one in pps]
    dropped: list[Cell] = [second * one for one in drops] if drops is not None else [None] * rings
    steered: list[Cell] = [None] * rings
    if drops is not None:
        steered = [second * (one + lost) for one, lost in zip(pps, drops, strict=True)]
    adapter = config.adapters[0]
    frames = second * (sum(pps) + sum(drops or ()))
    return Stats(
        seq=second + 1,
        sim_time_ns=second * SECOND_NS,
        time_ns=second * SECOND_NS,
        revision=config.revision,
        cpus=table(
            ("busy_cycles", "budget_cycles"),
            8,
            id=[*range(8)],
            busy_cycles=[round(second * SECOND_NS * loads.get(cpu, 0.01)) for cpu in range(8)],
            budget_cycles=[second * SECOND_NS] * 8,
        ),
        adapters={
            adapter.name: adapter_stats(
                generations=[one.generation for one in adapter.queues],
                sources={"received_frames": "exact"},
                port={"offered_frames": frames, "offered_bytes": 1000 * frames},
                received_frames=received,
                dropped_no_buffer=dropped,
                steered_frames=steered,
                total_buffers=[256] * rings,
            )
        },
    )


def lines(one: Finding) -> list[str]:
    """The lines of a finding that are no comments."""
    return [line for line in one.commands if not line.startswith("#")]


PILED: Final = seen(host([0, 0, 0, 0]), {0: 1.0}, [9000, 100, 50_000, 3000])
FULL_RING: Final = seen(host([0, 1, 2]), {1: 0.99}, [100, 90_000, 100])
MOVED: Final = Trace({("eth0", 1, 2): tuple(Moved(n * SECOND_NS // 4, n % 2) for n in range(1, 6))})
FOUND: Final[dict[str, Evidence]] = {
    "piled-queues": PILED,
    "one-queue-one-processor": FULL_RING,
    "numa-span": seen(host([0, 4], nodes=2), {}, [900, 800]),
    "full-processor": seen(host(range(8)), dict.fromkeys(range(8), 0.99), [9000] * 8, [100] * 8),
    "affinity-churn": seen(host([0, 1]), {}, [900, 800], trace=MOVED),
    "too-few-buffers": seen(host([0, 1]), {}, [900, 800], [0, 40]),
    "slow-link": seen(host([0, 1], link_gbps=0.1), {}, [9000, 8000]),
}


@pytest.mark.parametrize("rule", FOUND)
def test_a_rule_that_looks_at_linux_finds_and_prints_lines_of_linux_only(rule: str) -> None:
    found = findings(FOUND[rule])
    assert [one.rule for one in found] == [rule]
    words = f"{found[0].says} {found[0].cause} {found[0].fix} {' '.join(found[0].commands)}"
    assert not [word for word in ("VM", "Get-", "Set-", "Windows", "team", "PowerShell") if word in words], (
        words
    )
    assert {line.split()[0] for line in lines(found[0])} <= {"ethtool", "grep", "systemctl", "ip"}
    if "ook " in found[0].fix:  # a fix that looks only
        assert (found[0].requests, found[0].after) == ([], None)
    assert lines(found[0])


def test_every_rule_that_looks_at_linux_is_tried_here() -> None:
    captured = {"near-miss-vlan"}  # has a test of its own
    assert set(FOUND) | captured == {rule.id for rule in RULES.values() if rule.on_linux}


def test_a_quiet_machine_without_filters_and_reasons_gets_no_advice_for_vms() -> None:
    assert findings(seen(host(range(8)), {}, [10_000] * 8)) == []


def test_the_first_ring_is_one_like_others() -> None:
    (found,) = findings(PILED)
    assert found.numbers["queues"] == 4
    moved = {one.params["queue_id"] for one in found.requests}
    assert moved == {0, 1, 3}  # the busiest one stays
    assert found.fix.startswith(
        "Let other processors serve the interrupts of its rings: queue 0 to processor 0:1"
    )
    assert found.after is not None
    assert found.after == pytest.approx(50_000 / 62_100)  # its part by frames
    assert "echo 1 > /proc/irq/N/smp_affinity_list" in " ".join(found.commands)


def test_hyper_threads_are_those_that_share_a_core_not_neighbours() -> None:
    (found,) = findings(seen(host([0, 0, 0], siblings=4), {0: 1.0}, [9000, 8000, 7000]))
    targets = {one.params["cpu"] for one in found.requests}
    assert targets <= {1, 2, 3}
    busy_sibling = seen(host([0, 4], siblings=4), {0: 0.99}, [50_000, 3000])
    assert [one.rule for one in findings(busy_sibling)] == []  # half a core: the ring may be a small one


def test_rings_go_to_the_node_of_the_adapter() -> None:
    (found,) = findings(FOUND["numa-span"])
    assert {one.params["queue_id"]: one.params["cpu"] for one in found.requests} == {1: 1}


def test_a_drop_with_time_left_is_a_small_ring_and_without_drops_known_nothing_is_said() -> None:
    (found,) = findings(FOUND["too-few-buffers"])
    assert (found.queue_id, found.severity) == (1, "bad")
    assert "ethtool -G eth0 rx 1024" in found.commands
    assert [one.params["buffers"] for one in found.requests] == [1024, 1024]  # the line reaches all rings
    assert found.numbers["buffers_in_no_queue"] is None
    assert found.commands.index("ethtool -g eth0") < found.commands.index("ethtool -G eth0 rx 1024")
    assert findings(seen(host([0, 1]), {}, [900, 800])) == []


def test_a_name_is_quoted_for_the_shell() -> None:
    odd = "a b;$(reboot)'"
    found = findings(seen(host([0, 0, 1], name=odd), {0: 1.0}, [900, 800, 700], [0, 9, 9]))
    typed = [line for one in found for line in lines(one)]
    assert typed
    assert all(odd in shlex.split(line) for line in typed)


def test_a_measured_host_is_offered_no_requests_and_its_load_is_that_of_all_devices() -> None:
    window = AdviceWindow()
    assert PILED.before is not None
    window.add(PILED.config, PILED.before)
    window.add(PILED.config, PILED.stats)
    (found,) = window.listed
    assert (found.requests, found.rule) == ([], "piled-queues")
    assert found.commands
    assert "all devices" in found.cause


def test_frames_for_a_function_with_another_vlan_are_a_near_miss_if_the_default_queue_was_captured() -> None:
    vf = queue_config(2, "vf 0", None, driver="igb", vm="eth0 vf 0")
    mac = "02:00:00:00:00:02"
    config = host([0, 1])
    eth0 = msgspec.structs.replace(
        config.adapters[0],
        queues=[*config.adapters[0].queues, vf],
        filters=[FilterConfig(filter_id=2, queue_id=2, mac=mac, vlan=10, driver="igb")],
    )
    captured = TopPairs(mac=[mac], vlan=[20], reason=["vlan_mismatch"], frames=[500], error=[0])
    whole = seen(msgspec.structs.replace(config, adapters=[eth0]), {}, [900, 800, 0])
    eth0_stats = whole.stats.adapters["eth0"]
    reasons = {reason.name: 500 * (reason.name == "vlan_mismatch") for reason in DEFAULT_QUEUE_REASONS}
    eth0_stats = msgspec.structs.replace(eth0_stats, default_queue=reasons, default_queue_top=captured)
    adapters = {"eth0": eth0_stats}
    (found,) = findings(replace(whole, stats=msgspec.structs.replace(whole.stats, adapters=adapters)))
    assert (found.rule, found.where) == ("near-miss-vlan", "eth0 vf 0")
    assert lines(found) == ["ip -details link show dev eth0"]
    assert "VLAN of the virtual function" in found.fix
    assert "near-miss-vlan" in {rule for gap in unchecked(whole) for rule in gap.rules if gap.applies}
