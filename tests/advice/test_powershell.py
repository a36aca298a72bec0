"""Lines for PowerShell: names are data there, whatever they contain."""

import pytest

from engine.advice import powershell
from engine.scenario.model import MANAGEMENT_OS
from engine.scenario.processor_set import SetLine


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("web-01", "'web-01'"),
        ("it's", "'it''s'"),
        ("Ethernet [2]", "'Ethernet `[2`]'"),  # as a pattern it would be Ethernet 2
        ("$(Stop-Computer)", "'$(Stop-Computer)'"),
        ("a\u2019; Stop-Computer", "'a\u2019\u2019; Stop-Computer'"),  # PowerShell takes it for an apostrophe
    ],
)
def test_a_name_can_not_end_its_string(name: str, line: str) -> None:
    assert powershell.quoted(name) == line


def test_a_set_is_shown_before_it_is_changed_and_the_line_that_takes_it_back_is_told() -> None:
    block = powershell.processor_set("nic0", SetLine(1, 2, 6, 3), "1:2..1:6", before=SetLine(0, 0, 63, 8))
    shown, line = [place for place, one in enumerate(block) if not one.startswith("#")][:2]
    assert block[shown].startswith("Get-NetAdapterVmq -Name 'nic0' | ")
    assert block[line] == (
        "Set-NetAdapterVmq -Name 'nic0' -BaseProcessorGroup 1 -BaseProcessorNumber 2"
        " -MaxProcessorNumber 6 -MaxProcessors 3"
    )
    back = powershell.set_line("nic0", SetLine(0, 0, 63, 8))
    assert f"# To take it back: {back}" in block[:line]
    assert "Restarts the adapter" in block[0]
    assert block[-1] == "Get-NetAdapterVmqQueue -Name 'nic0'"


def test_no_name_ends_a_comment() -> None:
    line = SetLine(0, 0, 0, 1)
    block = powershell.processor_set("a\nStop-Computer\u2028b", line, "0:0", before=line)
    assert not any("\n" in one or "\u2028" in one for one in block if one.startswith("#"))


def test_what_was_not_set_is_told_as_such_beside_the_line_that_takes_a_set_back() -> None:
    sets, node = SetLine(0, 2, 6, 3), {"numa_node": 1, "numa_node_before": 0}
    block = powershell.processor_set(
        "nic0", sets, "0:2..0:6", before=SetLine(0, 4, 63, 16), unset=powershell.SET_PARAMETERS[1:], **node
    )
    at = next(place for place, one in enumerate(block) if one.startswith("# To take it back"))
    assert block[at - 1].startswith("# MaxProcessorNumber and MaxProcessors had no value")
    assert block[at].endswith(powershell.set_line("nic0", SetLine(0, 4, 63, 16), 0))
    block = powershell.processor_set(
        "nic0", sets, "0:2..0:6", before=SetLine(0, 0, 63, 16), unset=powershell.SET_PARAMETERS
    )
    at = next(place for place, one in enumerate(block) if one.startswith("# To take it back"))
    assert "set the values shown here again. What shows none was not set" in block[at]
    assert block[at + 1] == "# " + powershell.set_line("nic0", SetLine(0, 0, 63, 16))


@pytest.mark.parametrize(
    ("line", "subject"),
    [
        ("Get-NetAdapterVmq -Name 'a'", None),
        ("# Set-NetAdapterVmq -Name 'a'", None),
        (powershell.set_line("a", SetLine(0, 0, 7, 8)), "Set-NetAdapterVmq -Name 'a' "),
        (powershell.vmq_weight("it's", 0)[3], "Set-VMNetworkAdapter -VMName 'it''s' -VmqWeight"),
        (
            powershell.vmq_weight(MANAGEMENT_OS, 0, "lm")[3],
            "Set-VMNetworkAdapter -ManagementOS -Name 'lm' -VmqWeight",
        ),
        (powershell.multi_queue("it's", 4)[3], "Set-VMNetworkAdapter -VMName 'it''s' -VmmqEnabled"),
    ],
)
def test_lines_that_change_one_setting_have_one_subject(line: str, subject: str | None) -> None:
    assert powershell.subject(line) == subject


def test_a_vnic_of_the_host_is_named_as_such_and_without_a_name_is_looked_at() -> None:
    named = powershell.vmq_weight(MANAGEMENT_OS, 0, "Live Migration")
    assert "Set-VMNetworkAdapter -ManagementOS -Name 'Live Migration' -VmqWeight 0" in named
    for block in (powershell.vmq_weight(MANAGEMENT_OS, 0), powershell.untagged(MANAGEMENT_OS)):
        assert not any(one.startswith("Set-") for one in block)
        assert any("-ManagementOS" in one for one in block if one.startswith("Get-"))


def test_the_most_that_a_driver_takes_is_asked_before_its_buffers_are_set() -> None:
    block = powershell.receive_buffers("nic0", 4096)
    asked = next(place for place, one in enumerate(block) if one.startswith("Get-") and "ParameterMax" in one)
    assert asked < next(place for place, one in enumerate(block) if one.startswith("Set-"))


@pytest.mark.parametrize(
    ("release", "says", "shows"),
    [
        ("2008 R2", "has no dynamic VMQ", []),
        ("2012 R2", "dynamic VMQ is on where the driver can", ["Get-NetAdapterVmq"]),
        ("2016", "has no dynamic VMQ", []),
        ("2019", "dynamic VMMQ is on by default", ["Get-VMNetworkAdapter"]),
        ("2025", "dynamic VMMQ is on by default", ["Get-VMNetworkAdapter"]),
        (None, "dynamic VMMQ is on by default", ["Get-NetAdapterVmq", "Get-VMNetworkAdapter"]),
    ],
)
def test_dynamic_queues_are_looked_at_as_each_release_has_them(
    release: str | None, says: str, shows: list[str]
) -> None:
    lines = powershell.dynamic("SLOT 3", release)
    assert says in " ".join(lines)
    assert [line.split()[0] for line in lines if not line.startswith("#")] == shows
