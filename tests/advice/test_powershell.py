"""Lines for PowerShell: names are data there, whatever they contain."""

import pytest

from engine.advice import powershell


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("web-01", "'web-01'"),
        ("it's", "'it''s'"),
        ("$(Stop-Computer)", "'$(Stop-Computer)'"),
        ("a\u2019; Stop-Computer", "'a\u2019\u2019; Stop-Computer'"),  # PowerShell takes it for an apostrophe
    ],
)
def test_a_name_can_not_end_its_string(name: str, line: str) -> None:
    assert powershell.quoted(name) == line


def test_processors_are_named_by_group_and_number() -> None:
    line = powershell.adapter_vmq("nic0", [66, 68, 70], numa_node=1)
    assert line == (
        "Set-NetAdapterVmq -Name 'nic0' -NumaNode 1 -BaseProcessorGroup 1 -BaseProcessorNumber 2"
        " -MaxProcessorNumber 6 -MaxProcessors 3"
    )


def test_processors_beyond_the_group_of_the_first_are_left_out() -> None:
    line = powershell.adapter_vmq("nic0", [62, 63, 64, 65])
    assert "-BaseProcessorNumber 62 -MaxProcessorNumber 63 -MaxProcessors 2" in line
