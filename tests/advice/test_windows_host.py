"""The model of a Windows host that judges the advisor's lines, held to what Microsoft's pages say."""

import pytest

from tests.advice.windows_host import Adapter, Host, Team, Vlan, Vmq, Vnic
from tests.advice.windows_lines import LineError, read
from tests.advice.windows_typing import Outcome, run

BOTH = ("NIC1", "NIC2")
ETHERNET = Adapter("Ethernet 2")


def two_ports(mode: str = "sum", *, release: str = "2012 R2", lbfo: bool = True, **of_host: object) -> Host:
    """A host with a team of two fresh adapters."""
    team = Team("Team1", BOTH, mode, lbfo)  # type: ignore[arg-type]
    return Host(release, adapters={name: Adapter(name) for name in BOTH}, teams=(team,), **of_host)  # type: ignore[arg-type]


def one_port(adapter: Adapter = ETHERNET, *vnics: Vnic, release: str = "2012 R2") -> Host:
    return Host(release, adapters={adapter.name: adapter}, vnics=vnics)


def kinds(outcome: Outcome) -> list[str]:
    return [fault.kind for fault in outcome.faults]


def numbers(host: Host, name: str) -> list[int]:
    return sorted(number for _, number in host.processors_of(name))


# Sets, as KB 2974384 has them.


def test_a_fresh_team_in_sum_mode_has_event_106() -> None:
    assert {*two_ports().clashes()} == {BOTH}
    assert not two_ports("min").clashes()


def test_the_knowledge_base_lines_for_a_sum_team_clear_event_106() -> None:
    lines = [
        "Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber 2 -MaxProcessors 2",
        "Set-NetAdapterVmq -Name NIC2 -BaseProcessorNumber 4 -MaxProcessors 2",
    ]
    typed = run(two_ports(), lines)
    assert not typed.faults
    assert not typed.after.clashes()
    assert [numbers(typed.after, name) for name in BOTH] == [[2, 3], [4, 5]]


def test_the_knowledge_base_lines_with_hyperthreading_give_even_processors() -> None:
    lines = [
        "Set-NetAdapterVMQ -Name NIC1 -BaseProcessorNumber 0 -MaxProcessors 6",
        "Set-NetAdapterVMQ -Name NIC2 -BaseProcessorNumber 12 -MaxProcessors 6",
    ]
    typed = run(two_ports(groups=(24,), hyperthreading=True), lines)
    assert not typed.faults
    assert numbers(typed.after, "NIC1") == [0, 2, 4, 6, 8, 10]
    assert numbers(typed.after, "NIC2") == [12, 14, 16, 18, 20, 22]


def test_the_knowledge_base_lines_for_a_min_team_make_its_sets_equal() -> None:
    lines = [f"Set-NetAdapterVmq -Name {name} -BaseProcessorNumber 2 -MaxProcessors 4" for name in BOTH]
    typed = run(two_ports("min"), lines)
    assert not typed.faults
    assert [numbers(typed.after, name) for name in BOTH] == [[2, 3, 4, 5]] * 2


def test_a_preferred_node_narrows_a_set_and_breaks_a_min_team() -> None:
    host = two_ports("min", groups=(32,), nodes=8)
    lines = [
        f"Set-NetAdapterVmq -Name {name} -BaseProcessorNumber 2 -MaxProcessors 4 -NumaNode {node}"
        for node, name in enumerate(BOTH)
    ]
    typed = run(host, lines)
    assert [numbers(typed.after, name) for name in BOTH] == [[2, 3], [4, 5]]
    assert kinds(typed) == ["team-min"]


def test_what_a_line_leaves_out_stays_as_it_was() -> None:
    host = one_port(Adapter("NIC1", Vmq(base=0, max_number=3)))
    typed = run(host, ["Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber 4 -MaxProcessors 2"])
    assert kinds(typed) == ["max-below-base"]


def test_a_set_never_crosses_a_processor_group() -> None:
    host = Host(groups=(40, 40), nodes=2, adapters={"NIC1": Adapter("NIC1")})
    line = "Set-NetAdapterVmq -Name NIC1 -BaseProcessorGroup {} -BaseProcessorNumber {} -MaxProcessors {}"
    assert kinds(run(host, [line.format(0, 36, 8)])) == ["crosses-group"]
    assert kinds(run(host, [line.format(0, 44, 4)])) == ["not-on-host"]
    assert kinds(run(host, [line.format(2, 0, 4)])) == ["not-on-host"]
    typed = run(host, [line.format(1, 36, 4)])
    assert not typed.faults
    assert typed.after.processors_of("NIC1") == {(1, 36), (1, 37), (1, 38), (1, 39)}
    assert host.processor(76) == (1, 36)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber 3 -MaxProcessors 2", "odd-base"),
        ("Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber 4 -MaxProcessorNumber 2", "max-below-base"),
        ("Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber 4 -MaxProcessors 0", "empty-set"),
        ("Set-NetAdapterVmq -Name NIC1 -NumaNode 1", "not-on-host"),
        ("Set-NetAdapterVmq -Name NIC3 -BaseProcessorNumber 4", "no-such-adapter"),
    ],
)
def test_a_set_that_does_not_fit_the_host_is_a_fault(line: str, kind: str) -> None:
    host = Host(hyperthreading=True, adapters={"NIC1": Adapter("NIC1")})
    assert kinds(run(host, [line])) == [kind]


def test_swapping_two_sum_members_through_an_overlap_is_worse_in_between() -> None:
    apart = {"NIC1": Adapter("NIC1", Vmq(0, 0, None, 2)), "NIC2": Adapter("NIC2", Vmq(0, 2, None, 2))}
    host = Host(adapters=apart, teams=(Team("Team1", BOTH),))
    line = "Set-NetAdapterVmq -Name {} -BaseProcessorNumber {} -MaxProcessors 2"
    assert kinds(run(host, [line.format("NIC1", 2), line.format("NIC2", 4)])) == ["worse-between"]
    assert not run(host, [line.format("NIC2", 4), line.format("NIC1", 2)]).faults


def test_members_of_a_min_team_change_one_right_after_the_other() -> None:
    host = two_ports("min")
    other = Adapter("NIC3")
    host = Host(adapters={**host.adapters, "NIC3": other}, teams=host.teams)
    line = "Set-NetAdapterVmq -Name {} -BaseProcessorNumber 2 -MaxProcessors 2"
    assert not run(host, [line.format(name) for name in ("NIC1", "NIC2", "NIC3")]).faults
    assert kinds(run(host, [line.format(name) for name in ("NIC1", "NIC3", "NIC2")])) == ["worse-between"]
    assert kinds(run(host, [line.format("NIC1")])) == ["team-min"]


def test_a_set_that_is_not_known_is_where_its_queues_are() -> None:
    at = frozenset({(0, 2), (0, 4)})
    host = Host(adapters={"NIC1": Adapter("NIC1", None, queues_on=at), "NIC2": Adapter("NIC2")})
    assert numbers(host, "NIC1") == [2, 4]
    assert kinds(run(host, ["Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber 2"])) == ["open-ended"]


# VMQ on and off, releases.


def test_vmq_is_not_turned_on_for_a_slow_link() -> None:
    host = one_port(Adapter("Ethernet 2", link_gbps=1, vmq=False))
    assert kinds(run(host, ["Set-NetAdapterVmq -Name 'Ethernet 2' -Enabled $true"])) == ["vmq-below-10"]
    assert kinds(run(host, ["Enable-NetAdapterVmq 'Ethernet 2'"])) == ["vmq-below-10"]
    registry = r"HKLM:\SYSTEM\CurrentControlSet\Services\VMSMP\Parameters"
    line = f"New-ItemProperty '{registry}' -Name BelowTenGigVmqEnabled -Value 1 -PropertyType DWord"
    assert kinds(run(host, [line])) == ["vmq-below-10"]
    assert not run(host, ["Set-NetAdapterVmq -Name 'Ethernet 2' -Enabled $false"]).faults


@pytest.mark.parametrize(
    ("release", "line", "right"),
    [
        ("2012 R2", "Set-VMNetworkAdapter -VMName web -VmmqEnabled $true", False),
        ("2016", "Set-VMNetworkAdapter -VMName web -VmmqEnabled $true -VmmqQueuePairs 8", True),
        ("2016", "Set-VMNetworkAdapter -VMName web -VrssQueueSchedulingMode Dynamic", False),
        ("2019", "Set-VMNetworkAdapter -VMName web -VrssQueueSchedulingMode Dynamic", True),
        ("2008 R2", "Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber 2 -MaxProcessors 2", False),
        ("2019", "Set-NetLbfoTeam -Name Team1 -TeamingMode Static", True),
        ("2022", "Set-NetLbfoTeam -Name Team1 -TeamingMode Static", False),
    ],
)
def test_a_line_needs_the_release_that_has_its_feature(release: str, line: str, right: bool) -> None:
    adapter = Adapter("NIC1", ndis=(6, 60))
    host = Host(release, adapters={"NIC1": adapter}, vnics=(Vnic("web", adapters=("NIC1",)),))
    assert kinds(run(host, [line])) == ([] if right else ["feature"])


def test_multi_queue_does_nothing_on_an_lbfo_team_or_an_older_driver() -> None:
    line = "Set-VMNetworkAdapter -VMName web -VmmqEnabled $true"
    web = Vnic("web", adapters=BOTH)
    assert kinds(run(two_ports(release="2019", vnics=(web,)), [line])) == ["feature"]
    assert kinds(run(two_ports(release="2019", lbfo=False, vnics=(web,)), [line])) == ["feature"]


# Buffers, virtual adapters, VMs.


def test_receive_buffers_are_set_after_the_driver_was_asked() -> None:
    put = "Set-NetAdapterAdvancedProperty 'Ethernet 2' -RegistryKeyword '*ReceiveBuffers' -RegistryValue 4096"
    ask = (
        "Get-NetAdapterAdvancedProperty -Name 'Ethernet 2' -RegistryKeyword '*ReceiveBuffers' "
        "| Format-List NumericParameterMaxValue"
    )
    assert kinds(run(one_port(), [put])) == ["buffers-unasked"]
    assert not run(one_port(), [ask, put]).faults
    small = one_port(Adapter("Ethernet 2", most_receive_buffers=2048))
    assert kinds(run(small, [ask, put])) == ["buffers-above-most"]


def test_a_trunk_keeps_its_vlans() -> None:
    host = one_port(Adapter("NIC1"), Vnic("fw", vlan=Vlan.of([10, 20, 30])))
    assert kinds(run(host, ["Set-VMNetworkAdapterVlan -VMName fw -Access -VlanId 40"])) == ["ends-trunk"]
    trunk = "Set-VMNetworkAdapterVlan -VMName fw -Trunk -AllowedVlanIdList '10,20,30,40' -NativeVlanId 0"
    typed = run(host, [trunk])
    assert not typed.faults
    assert typed.after.vnics[0].vlan.ids == {0, 10, 20, 30, 40}
    assert kinds(run(host, [trunk.replace("10,", "")])) == ["ends-trunk"]


def test_an_access_line_takes_a_vm_out_of_its_vlan() -> None:
    host = one_port(Adapter("NIC1"), Vnic("Redmond", vlan=Vlan.of([10])))
    line = "Set-VMNetworkAdapterVlan -VMName Redmond -Access -VlanId 121"
    assert kinds(run(host, [line])) == ["loses-vlan"]
    assert kinds(run(host, ["Get-VM Redmond | Set-VMNetworkAdapterVlan -Untagged"])) == ["loses-vlan"]
    assert not run(host, [line.replace("121", "10")]).faults
    wide = "Set-VMNetworkAdapterVlan -VMName Redmond -Trunk -AllowedVlanIdList 1-100 -NativeVlanId 10"
    assert not run(host, [wide]).faults


def test_a_vnic_of_the_host_needs_its_switch_and_its_name() -> None:
    host = one_port(Adapter("NIC1"), Vnic(None, "LiveMigration"), Vnic(None, "Management"), Vnic("web"))
    assert kinds(run(host, ["Set-VMNetworkAdapter -VMName LiveMigration -VmqWeight 0"])) == ["management-os"]
    assert kinds(run(host, ["Set-VMNetworkAdapter -ManagementOS -VmqWeight 0"])) == ["reaches-others"]
    typed = run(host, ["Set-VMNetworkAdapter -ManagementOS -Name 'LiveMigration' -VmqWeight 0"])
    assert not typed.faults
    assert [one.weight for one in typed.after.vnics] == [0, 100, 100]
    everyone = run(host, ["Get-VMNetworkAdapter -All | Set-VMNetworkAdapter -VmqWeight 50"])
    assert not everyone.faults
    assert [one.weight for one in everyone.after.vnics] == [50] * 3


def test_a_weight_gives_no_queue_where_links_are_slow_or_vmq_is_off() -> None:
    line = "Set-VMNetworkAdapter -VMName web -VmqWeight 100"
    web = Vnic("web", adapters=("NIC1",), weight=0)
    assert kinds(run(one_port(Adapter("NIC1", link_gbps=1), web), [line])) == ["vmq-below-10"]
    assert kinds(run(one_port(Adapter("NIC1", vmq=False), web), [line])) == ["no-effect"]
    assert kinds(run(one_port(Adapter("NIC1"), web), [line.replace("100", "101")])) == ["value"]


def test_turning_a_vm_off_pulls_its_plug() -> None:
    host = one_port(Adapter("NIC1"), Vnic("TestVM"))
    assert not run(host, ["Stop-VM -Name TestVM"]).faults
    assert kinds(run(host, ["Stop-VM -Name TestVM -TurnOff"])) == ["pulls-plug"]
    assert kinds(run(host, ["Stop-VM -Name Other"])) == ["no-such-vm"]


def test_what_if_changes_nothing() -> None:
    typed = run(
        one_port(), ["Set-NetAdapterVmq 'Ethernet 2' -BaseProcessorNumber 2 -MaxProcessors 2 -WhatIf"]
    )
    assert not typed.faults
    assert typed.after == typed.states[0]


# Words and types.


@pytest.mark.parametrize(
    "line",
    [
        "Set-NetAdapterVmq -Name Ethernet 2 -BaseProcessorNumber 2",  # the name is two words
        "Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber 256",  # Byte
        "Set-NetAdapterVmq -Name NIC1 -BaseProcessorNumber -1",
        "Set-NetAdapterVmq -Name NIC1 -BaseProcessorGroup 65536",  # UInt16
        "Set-NetAdapterVmq -Name NIC1 -MaxProcessors 4294967296",  # UInt32
        "Set-NetAdapterVmq -Name NIC1 -MaxProcessors 2,4",
        "Set-NetAdapterVmq -Name NIC1 -MaxProcessors",
        "Set-NetAdapterVmq -Name NIC1 -Enabled yes",
        "Set-NetAdapterVmq -Name NIC1 -Processors 2",
        "Set-NetAdapterVmq -Name NIC1 -Name NIC2",
        "Set-NetAdapterVmq -BaseProcessorNumber 2",  # it would ask for the name
        "Set-NetAdapterVmqs -Name NIC1",
        "Set-VMNetworkAdapterVlan -VMName fw -Trunk -AllowedVlanIdList 10,20 -NativeVlanId 0",
        "Set-VMNetworkAdapter -VMName Bob's -VmqWeight 0",
        "Set-VMNetworkAdapter -VMName 'Bob's VM' -VmqWeight 0",
        "Set-VMNetworkAdapter -VMName 'Bob\u2019s VM' -VmqWeight 0",
        "Set-VMNetworkAdapter -VMName 'web -VmqWeight 0",
        'Set-VMNetworkAdapter -VMName "a$b" -VmqWeight 0',
        "Set-VMNetworkAdapter -VMName a&b -VmqWeight 0",
        "Stop-VM web; Stop-VM db",
        "| Set-VMNetworkAdapter -VmqWeight 0",
    ],
)
def test_a_line_that_powershell_refuses_or_reads_otherwise_is_unreadable(line: str) -> None:
    with pytest.raises(LineError):
        read(line)


def test_a_doubled_quote_is_a_quote() -> None:
    command = read(
        "Set-VMNetworkAdapter -VMName 'Bob''s VM' -Name 'a\u2019\u2019b' -VmqWeight 0  # a comment"
    )[0]
    assert command.values == {"VMName": "Bob's VM", "Name": "a\u2019b", "VmqWeight": 0}


def test_a_comment_and_an_empty_line_are_no_command() -> None:
    assert read("# Get-NetAdapterVmq") == read("   ") == ()


@pytest.mark.parametrize(
    "line",
    [
        'Set-NetAdapterVmq -Name "MyAdapter" -Enabled $True',
        'Set-NetAdapterAdvancedProperty MyAdapter -DisplayName "Flow Control" -DisplayValue "Rx Enabled"',
        "Set-VMNetworkAdapterVlan -ManagementOS -Access -VlanID 20",
        "Get-VMNetworkAdapter -VMName Redmond,Kirkland | Set-VMNetworkAdapter -MinimumBandwidthWeight 1",
        "Stop-VM -Name VM1 -Force",
        r"Get-Counter '\Hyper-V Virtual Switch Processor(*)\Number of VMQs' -MaxSamples 1",
        "Get-NetAdapterVmqQueue 'Ethernet 2' | Where-Object { $_.QueueID -ne 0 } | Format-List",
    ],
)
def test_the_examples_of_the_pages_are_read(line: str) -> None:
    assert read(line)
