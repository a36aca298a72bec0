"""The advisor's lines, typed on the model of a Windows host: random hosts, with every kind of team and VM."""

import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from engine.advice.rules import findings
from engine.advice.verdict import agreed
from tests.advice.random_hosts import Case, Pair, after, places, random_case, scene
from tests.advice.windows_judge import host_of, judge, one_sided
from tests.advice.windows_typing import Fault

CASES: Final = Path(__file__).parents[3] / "shared" / "cases"


def faults_of(case: Case) -> list[Fault]:
    """What is wrong with an output of the advisor for a host."""
    host, found = host_of(case.document, gone=case.gone), findings(scene(case))
    faults = judge(host, found, agreed(found))
    for one in found:
        changed = after(case, one.requests)
        if isinstance(changed, str):
            faults.append(Fault("refused", "", changed, one.rule))
        else:
            faults += one_sided(host, one, places(changed))
    return faults


def faults_by_kind(hosts: int) -> dict[tuple[str, str], list[tuple[Fault, int]]]:
    """The faults of so many random hosts, each with the number of its host."""
    found: dict[tuple[str, str], list[tuple[Fault, int]]] = defaultdict(list)
    for number in range(hosts):
        for fault in faults_of(random_case(number)):
            found[fault.kind, fault.rule].append((fault, number))
    return found


def shown(found: Mapping[tuple[str, str], list[tuple[Fault, int]]]) -> str:
    """How many faults there are of each kind, with a host for each."""
    return "\n".join(
        f"{len(faults)} × {kind} {rule}: random_case({faults[0][1]}): {faults[0][0]}"
        for (kind, rule), faults in sorted(found.items())
    )


def case_of(document: dict[str, Any]) -> Case:
    """A scenario with the frames that its own traffic has."""
    traffic: dict[Pair, int] = defaultdict(int)
    for mix in document["traffic"]["mix"]:
        flows = mix["flow"]
        frame_bits = 8 * (flows[0]["frame_bytes"] + 20)
        pps = mix.get("rate_pps") or mix["rate_gbps"] * 1e9 / frame_bits
        for flow in flows:
            share = flow["weight"] / sum(one["weight"] for one in flows)
            traffic[flow["mac"], flow["vlan"]] += round(pps * share)
    return Case(document, traffic)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the checkout")
@pytest.mark.parametrize(
    "name",
    ["sum-team-overlap", "sum-team-hot-processor", "min-team-hot-processor", "set-with-holes", "trunk-vm"],
)
def test_lines_for_hosts_that_went_wrong_are_right(name: str) -> None:
    document = tomllib.loads((CASES / f"{name}.toml").read_text())
    assert [str(one) for one in faults_of(case_of(document))] == []


def test_lines_for_a_few_random_hosts_are_right() -> None:
    found = faults_by_kind(20)
    assert not found, shown(found)


@pytest.mark.slow
def test_lines_for_hundreds_of_random_hosts_are_right() -> None:
    found = faults_by_kind(500)
    assert not found, shown(found)


def host_of_80(**adapters: dict[str, Any]) -> Case:
    """Two nodes of 40 processors with hyper-threading: two groups of 40. Four busy VMs on each adapter."""
    traffic: dict[Pair, int] = {}
    rows = []
    for place, (name, keys) in enumerate(adapters.items()):
        queues = []
        for number in range(4):
            vm, mac = f"vm-{place}{number}", f"00:15:5d:00:0{place}:{number:02x}"
            queues.append({"name": vm, "vm": vm, "filter": [{"mac": mac, "vlan": 10}], **keys.get("at", {})})
            traffic[mac, 10] = 200_000
        of_adapter = {key: value for key, value in keys.items() if key != "at"}
        rows.append({"name": name, "max_queues": 31, "ndis_version": "6.40", **of_adapter, "queue": queues})
    host = {"name": "lab", "cpus": 80, "numa_nodes": 2, "hyperthreading": True, "windows": "2012 R2"}
    return Case({"host": host, "adapter": rows}, traffic)


def set_lines(case: Case) -> dict[str, str]:
    """The lines that set processors, by adapter; they and the rest of the output are right."""
    assert faults_of(case) == []
    lines = {}
    for one in findings(scene(case)):
        for line in one.commands:
            if line.startswith("Set-NetAdapterVmq"):
                lines[one.adapter] = line
    return lines


def test_on_80_processors_an_adapter_of_the_second_node_gets_a_set_of_the_second_group() -> None:
    case = host_of_80(far={"numa_node": 1, "base_processor": "0:0", "at": {"cpu": 2}})
    (line,) = set_lines(case).values()
    assert "-BaseProcessorGroup 1 -BaseProcessorNumber 0 -MaxProcessorNumber 38 -MaxProcessors 20" in line


def test_on_80_processors_a_set_never_crosses_the_group_of_40() -> None:
    case = host_of_80(near={"numa_node": 0, "base_processor": "0:0", "at": {"cpu": 0}})
    (line,) = set_lines(case).values()
    assert "-BaseProcessorGroup 0 -BaseProcessorNumber 2 -MaxProcessorNumber 38 -MaxProcessors 19" in line


def test_on_80_processors_a_sum_team_over_both_nodes_gets_a_group_each() -> None:
    fresh = {"base_processor": "0:0", "at": {"cpu": 2}}
    case = host_of_80(one={"numa_node": 0, **fresh}, other={"numa_node": 1, **fresh})
    case.document["team"] = [{"name": "Team 1", "members": ["one", "other"], "mode": "sum"}]
    (overlap,) = (one for one in findings(scene(case)) if one.rule == "team-overlap")
    lines = [line for line in overlap.commands if line.startswith("Set-NetAdapterVmq")]
    assert sorted(line.split("-BaseProcessorGroup ")[1][0] for line in lines) == ["0", "1"]
    assert faults_of(case) == []
