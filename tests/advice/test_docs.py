"""docs/advice.md has every rule, threshold and scenario; VMQTUI_UPDATE_SNAPSHOTS writes them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from engine.advice.rules import RULES, findings
from engine.advice.thresholds import THRESHOLDS
from tests.advice.random_hosts import random_case, scene
from tests.pages import check_section
from vmqtui.library.lessons import LESSONS

PAGE = Path(__file__).parents[2] / "docs" / "advice.md"


_SET = ("`Set-NetAdapterVmq`", "Set-NetAdapterVmq; KB 2974384")
_QUEUES = (
    "looks only: `Get-NetAdapterVmqQueue`",
    "Get-NetAdapterVmqQueue; no page says how one queue is set",
)
_DYNAMIC = (
    "looks only: `Get-NetAdapterVmq`, `Get-VMNetworkAdapter`",
    "Synthetic accelerations, 2012 and 2019; Msvm_EthernetSwitchPortOffloadSettingData",
)
_WEIGHT = ("`Set-VMNetworkAdapter -VmqWeight`", "Set-VMNetworkAdapter")
_VMMQ = (
    "`Set-VMNetworkAdapter -VmmqEnabled -VmmqQueuePairs`, 2016 on",
    "Synthetic accelerations, 2016 and 2019",
)
_BUFFERS = ("`Set-NetAdapterAdvancedProperty '*ReceiveBuffers'`", "Set-NetAdapterAdvancedProperty")
LINES = {
    **dict.fromkeys(["shared-with-default", "piled-queues", "odd-processors", "numa-span"], _SET),
    **dict.fromkeys(["team-overlap", "team-differs", "sets-overlap"], _SET),
    "one-queue-one-processor": _VMMQ,
    "full-processor": (f"{_SET[0]}, or {_VMMQ[0]}", f"{_SET[1]}; {_VMMQ[1]}"),
    **dict.fromkeys(["balancer-off", "load-swings"], _DYNAMIC),
    **dict.fromkeys(["affinity-churn", "never-completed", "paused-queue", "missing-filter"], _QUEUES),
    **dict.fromkeys(["vm-without-queue", "more-vms-than-queues", "idle-queue-held"], _WEIGHT),
    "free-pending": ("`Resume-VM`, or `Stop-VM`", "Resume-VM; Stop-VM"),
    "vm-paused": ("`Resume-VM`", "Resume-VM"),
    "near-miss-vlan": (
        "looks only: `Get-VMNetworkAdapterVlan`",
        "Set-VMNetworkAdapterVlan: modes exclude each other",
    ),
    "shadowed-filter": (
        "`Set-VMNetworkAdapterVlan -Untagged`, of a port without VLANs",
        "Set-VMNetworkAdapterVlan",
    ),
    "vm-left": ("looks only: `Get-ClusterGroup`", "Get-ClusterGroup"),
    **dict.fromkeys(["too-few-buffers", "fewer-than-suggested"], _BUFFERS),
    "slow-link": ("looks only: `Get-NetAdapter`", "Standardized INF keywords for VMQ: BelowTenGigVmqEnabled"),
    "vmq-on-slow-link": (
        "`Set-NetAdapterVmq -Enabled $false`",
        "Standardized INF keywords for VMQ; Set-NetAdapterVmq",
    ),
}
"""What each rule prints for Windows that changes something, and the Microsoft page that says so."""


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rules() -> str:
    return _table(
        ("Rule", "Finds", "People report", "Effect is", "Thresholds", "Needs", "Rows", "Line", "Source"),
        [
            (
                f"`{rule.id}`",
                rule.title,
                rule.symptom,
                f"{rule.unit}, {rule.better}",
                ", ".join(f"`{name}`" for name in rule.thresholds),
                "; ".join(" or ".join(f"`{place}`" for place in need.places) for need in rule.needs),
                ", ".join(map(str, rule.rows)),
                *LINES[rule.id],
            )
            for rule in RULES.values()
        ],
    )


def thresholds() -> str:
    return _table(
        ("Name", "Default", "Fits", "Unit", ""),
        [
            (f"`{one.name}`", f"{one.default:g}", f"{one.low:g}..{one.high:g}", one.unit, one.help)
            for one in THRESHOLDS
        ],
    )


def library() -> str:
    return _table(
        ("Scenario", "Lesson", "Finding", "Rows"),
        [
            (f"`{one.name}`", one.title, f"`{one.rule}`", ", ".join(map(str, one.rows)))
            for one in LESSONS.values()
        ],
    )


def test_the_lines_of_the_page_are_those_that_rules_print() -> None:
    for number in range(20):
        for one in findings(scene(random_case(number))):
            changing = {line.split()[0] for line in one.commands if not line.startswith(("#", "Get-"))}
            assert all(f"`{cmdlet}" in LINES[one.rule][0] for cmdlet in changing), (one.rule, changing)


def test_the_page_names_the_rules_that_look_at_a_linux_host() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert (
        "those that look there are "
        + ", ".join(f"`{rule.id}`" for rule in RULES.values() if rule.on_linux)
        + "."
        in text
    )


@pytest.mark.parametrize(
    ("section", "make"), [("rules", rules), ("thresholds", thresholds), ("library", library)]
)
def test_page_has_every(section: str, make: Callable[[], str]) -> None:
    check_section(PAGE, section, make())
