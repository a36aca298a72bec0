"""Advice on hosts as the script for Windows collects them: what is found, and lines that are right there."""

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding
from engine.advice.needs import PAIRS
from engine.advice.rules import findings, unchecked
from engine.advice.verdict import agreed
from engine.measure.host import MeasuredHost
from engine.measure.sources import read_measured
from engine.measure.twin import make_twin
from engine.scenario.load import loads
from tests.advice.windows_judge import host_of, judge
from tests.advice.windows_typing import run
from tests.netview import netview, write_folder
from tests.windows_hosts import BUILDS, PROCESSORS, VNICS, WindowsHostSample

VMQ, QUEUES, VLANS = "Get-NetAdapterVmq", "Get-NetAdapterVmqQueue", "Get-VMNetworkAdapterVlan"
Change = Callable[[dict[str, Any]], None]


def as_it_is(document: dict[str, Any]) -> None:
    """Nothing is changed."""


def fresh_sets(document: dict[str, Any]) -> None:
    """Sets as a fresh team has them: of each adapter all processors from 0:0 on."""
    for row in document["tables"][VMQ]:
        row |= {"BaseProcessorNumber": 0, "MaxProcessorNumber": 15, "MaxProcessors": 8}


def busy(document: dict[str, Any]) -> None:
    """All queues of the first adapter on 0:2, which is busy."""
    for row in document["tables"][QUEUES]:
        if row["Name"].endswith("1") and row["QueueID"]:
            row["ProcessorAffinityMask"] = 1 << 2
    for second, sample in enumerate(document["samples"]):
        row = sample["tables"][PROCESSORS][2]
        row["PercentDPCTime"] = 9_700_000 * second


def off(document: dict[str, Any]) -> None:
    """VMQ is off on the second adapter, which has no queues."""
    document["tables"][VMQ][1]["Enabled"] = False
    rows = document["tables"][QUEUES]
    document["tables"][QUEUES] = [row for row in rows if row["Name"].endswith("1") or row["QueueID"] == 0]


def slow(document: dict[str, Any]) -> None:
    """Links of 1 Gbit/s, with VMQ on for them."""
    for row in document["tables"]["Get-NetAdapter"]:
        row["ReceiveLinkSpeed"] = 1_000_000_000
    document["tables"]["VMSMP"] = [{"BelowTenGigVmqEnabled": 1}]


CHANGES = (as_it_is, fresh_sets, busy, off, slow)
RELEASES = [*((release, "SwitchIndependent/HyperVPort") for release in BUILDS), ("2012 R2", "Lacp/Dynamic")]


def found_on(measured: MeasuredHost) -> Sequence[Finding]:
    return findings(Evidence(measured.config, measured.readings[-1], measured.readings[0]))


def read(tmp_path: Path, release: str, lbfo: str, change: Change) -> MeasuredHost:
    document = WindowsHostSample(release, lbfo=lbfo, seconds=20, vms=6).document()
    change(document)
    (tmp_path / "host.json").write_text(json.dumps(document), encoding="ascii")
    return read_measured(tmp_path / "host.json")


@pytest.mark.parametrize(("release", "lbfo"), RELEASES)
@pytest.mark.parametrize("change", CHANGES)
def test_lines_for_a_collected_host_are_right_on_that_host(
    tmp_path: Path, release: str, lbfo: str, change: Change
) -> None:
    measured = read(tmp_path, release, lbfo, change)
    host, found = host_of(tomllib.loads(make_twin(measured).text)), found_on(measured)
    assert [str(one) for one in judge(host, found, agreed(found))] == []


@pytest.mark.parametrize(
    ("change", "release", "rules"),
    [
        (as_it_is, "2019", set()),
        (fresh_sets, "2012 R2", {"team-overlap"}),
        (busy, "2019", {"piled-queues"}),
        (slow, "2012 R2", {"vmq-on-slow-link"}),
    ],
)
def test_what_is_wrong_with_a_collected_host_is_found(
    tmp_path: Path, change: Change, release: str, rules: set[str]
) -> None:
    found = {one.rule for one in found_on(read(tmp_path, release, "SwitchIndependent/HyperVPort", change))}
    assert rules <= found if rules else not found, found


@pytest.mark.parametrize(("release", "lbfo"), RELEASES)
def test_a_vm_without_a_queue_is_found_by_what_its_virtual_adapter_received(
    tmp_path: Path, release: str, lbfo: str
) -> None:
    sample = WindowsHostSample(release, lbfo=lbfo, seconds=20, vms=6, weights={2: 0, 5: 100})
    (tmp_path / "host.json").write_bytes(sample.json())
    measured = read_measured(tmp_path / "host.json")
    all_found = found_on(measured)
    found = {one.vm: one for one in all_found if one.rule == "vm-without-queue"}
    assert {vm: one.numbers["pps"] for vm, one in found.items()} == {"vm-2": 3000, "vm-5": 6000}
    assert found["vm-2"].says.startswith("vm-2 has VMQ turned off (VmqWeight 0)")
    assert "Set-VMNetworkAdapter -VMName 'vm-2' -VmqWeight 100" in found["vm-2"].commands
    assert "above 0" in found["vm-5"].cause
    assert [one.after for one in found.values()] == [None, None]  # Windows may refuse one
    assert not any(line.startswith("Set-") for line in found["vm-5"].commands)
    twin = make_twin(measured)
    assert judge(host_of(tomllib.loads(twin.text)), all_found, agreed(all_found)) == []
    why = next(one for one in unchecked(Evidence(measured.config, measured.readings[-1])) if one.applies)
    assert "vm-without-queue" not in why.rules


def trunk(document: dict[str, Any]) -> None:
    """The port of vm-5 is a trunk."""
    document["tables"][VLANS][6] |= {
        "OperationMode": "Trunk",
        "NativeVlanId": 10,
        "AllowedVlanIdList": [10, 20],
    }


def any_vlan(document: dict[str, Any]) -> None:
    """The VLANs of the port of vm-5 are not known."""
    del document["tables"][VLANS][6]


def uncounted(document: dict[str, Any]) -> None:
    """The virtual adapter of vm-5 has no counter."""
    _, nic = WindowsHostSample().vm_guids(5)
    for sample in document["samples"]:
        rows = sample["tables"][VNICS]
        sample["tables"][VNICS] = [row for row in rows if nic.lower() not in row["Name"].lower()]


@pytest.mark.parametrize("change", [trunk, any_vlan, uncounted])
@pytest.mark.parametrize("alone", [False, True])
def test_vms_without_a_queue_whose_frames_are_not_known_are_said_to_be_left_out(
    tmp_path: Path, change: Change, alone: bool
) -> None:
    weights = {5: 100} if alone else {2: 0, 5: 100}
    document = WindowsHostSample("2019", seconds=20, vms=6, weights=weights).document()
    change(document)
    (tmp_path / "host.json").write_text(json.dumps(document), encoding="ascii")
    measured = read_measured(tmp_path / "host.json")
    evidence = Evidence(measured.config, measured.readings[-1], measured.readings[0])
    assert "vm-5" not in [one.vm for one in findings(evidence)]
    gap = next(one for one in unchecked(evidence) if "vm-without-queue" in one.rules)
    assert (gap.why, gap.adapters) == (PAIRS.unknown, ["SLOT 3 Port 1"])
    assert (gap.left_out, gap.rows) == ((0, 0) if alone else (2, 3))  # the host's own has no counter either


def full_and_waiting(tmp_path: Path, release: str, lbfo: str, weight: int) -> dict[str, Finding]:
    """What is found on a host whose adapters have given out all queues, by rule; busy vm-5 has none."""
    sample = WindowsHostSample(release, lbfo=lbfo, seconds=20, vms=6, weights={5: weight})
    document = sample.document()
    for row in document["tables"][VMQ]:
        row["NumberOfReceiveQueues"] = 3 if row["Name"].endswith("1") else 2
    (tmp_path / "host.json").write_text(json.dumps(document), encoding="ascii")
    return {one.rule: one for one in found_on(read_measured(tmp_path / "host.json"))}


FULL = [("2019", ""), ("2012 R2", "Lacp/Dynamic")]


@pytest.mark.parametrize(("release", "lbfo"), FULL)
def test_no_vm_loses_its_queue_for_one_whose_weight_gives_it_none(
    tmp_path: Path, release: str, lbfo: str
) -> None:
    found = full_and_waiting(tmp_path, release, lbfo, 100)["more-vms-than-queues"]
    assert found.vm == "vm-5"
    assert not any(line.startswith("Set-") for line in found.commands)
    assert found.fix.startswith("Look at ")
    assert "no documented line" in found.fix
    assert found.requests == []


@pytest.mark.parametrize(("release", "lbfo"), FULL)
def test_a_vm_with_vmq_turned_off_waits_for_nobodys_queue(tmp_path: Path, release: str, lbfo: str) -> None:
    found = full_and_waiting(tmp_path, release, lbfo, 0)
    assert not {"more-vms-than-queues", "idle-queue-held"} & {*found}


def test_where_no_virtual_adapter_counts_vms_without_queues_are_not_looked_for(tmp_path: Path) -> None:
    def uncounted(document: dict[str, Any]) -> None:
        for sample in document["samples"]:
            sample["tables"][VNICS] = []
        rows = document["tables"][QUEUES]
        document["tables"][QUEUES] = [row for row in rows if row["VmFriendlyName"] != "vm-2"]

    measured = read(tmp_path, "2019", "", uncounted)
    evidence = Evidence(measured.config, measured.readings[-1], measured.readings[0])
    (why,) = (one for one in unchecked(evidence) if "vm-without-queue" in one.rules)
    assert (why.why, why.adapters) == (
        "the MACs and VLANs in the default queue are not known",
        ["SLOT 3 Port 1"],
    )
    assert found_on(measured) == []


def test_vmq_on_a_slow_link_comes_before_what_turning_it_off_makes_pointless(tmp_path: Path) -> None:
    def both(document: dict[str, Any]) -> None:
        slow(document)
        busy(document)
        fresh_sets(document)

    found = found_on(read(tmp_path, "2012 R2", "SwitchIndependent/HyperVPort", both))
    rules = ["vmq-on-slow-link", "vmq-on-slow-link", "piled-queues", "team-overlap"]
    assert [one.rule for one in found] == rules
    assert {one.adapter for one in found[:2]} == {"SLOT 3 Port 1", "SLOT 3 Port 2"}
    agree = agreed(found)
    assert [bool(one.withheld) for one in agree] == [False, False, True, True]
    assert agree[2].fix.startswith("vmq-on-slow-link, SLOT 3 Port 1, makes this pointless")


def test_a_set_of_which_only_the_base_was_set_goes_back_to_a_line_that_limits_nothing(tmp_path: Path) -> None:
    def base_only(document: dict[str, Any]) -> None:
        busy(document)
        for row in document["tables"][VMQ]:
            row |= {"BaseProcessorNumber": 0, "MaxProcessorNumber": None, "MaxProcessors": None}

    measured = read(tmp_path, "2012 R2", "SwitchIndependent/HyperVPort", base_only)
    host = host_of(tomllib.loads(make_twin(measured).text))
    block = next(one for one in found_on(measured) if one.rule == "piled-queues").commands
    assert any("MaxProcessorNumber and MaxProcessors had no value" in one for one in block)
    back = [one.removeprefix("# To take it back: ") for one in block if "To take it back: " in one]
    typed, undone = run(host, block).after, run(host, [*block, *back]).after
    for name in host.adapters:
        assert typed.processors_of(name) != host.processors_of(name)
        assert undone.processors_of(name) == host.processors_of(name)


@pytest.mark.parametrize("release", BUILDS)
def test_the_twin_of_a_host_from_either_collector_is_a_scenario(tmp_path: Path, release: str) -> None:
    sample = WindowsHostSample(release)
    (tmp_path / "host.json").write_bytes(sample.json())
    for source in (tmp_path / "host.json", write_folder(tmp_path / "folder", netview(sample))):
        scenario = loads(make_twin(read_measured(source)).text, "the twin")
        assert [len(adapter.queue) for adapter in scenario.adapter] == [2, 2]
        assert scenario.host.windows == release
        assert scenario.traffic is not None
        assert sum(mix.rate_pps or 0 for mix in scenario.traffic.mix) == pytest.approx(10_200, rel=0.01)
