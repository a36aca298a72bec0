"""PowerShell for the administrator of a real host: blocks of lines, to be copied as one.

Each change is a group of lines: comments that say what it does, a line that shows the values before it, the
line itself, and one that shows the result. Cmdlets and parameters are those of Microsoft's modules NetAdapter
and Hyper-V ("Set-NetAdapterVmq", "Set-NetAdapterAdvancedProperty", "Set-VMNetworkAdapter",
"Set-VMNetworkAdapterVlan").
"""

import itertools
import re
from collections.abc import Sequence
from typing import Final

from engine.scenario.model import MANAGEMENT_OS
from engine.scenario.processor_set import SetLine

_QUOTES = "'\u2018\u2019\u201a\u201b"
"""Each of these ends a single-quoted string in PowerShell; doubled, it is a literal character."""
_WILDCARDS = "[]*?`"
DYNAMIC_MULTI_QUEUE: Final = ("2019", "2022", "2025")
"""Releases of Windows Server with dynamic VMMQ, on by default, and with up to 16 queue pairs for a vNIC."""
SET_PARAMETERS: Final = ("BaseProcessorNumber", "MaxProcessorNumber", "MaxProcessors")
"""The parameters of ``Set-NetAdapterVmq`` that limit a set."""
_NO_UNSETTING: Final = "no page of Microsoft's tells how to unset one, and the next line's limits nothing"
_RESTARTS: Final = "Restarts the adapter: its VMs lose the network for seconds."


def quoted(text: str) -> str:
    """Quote a name with single quotes, so that PowerShell expands nothing in it.

    Names are matched as wildcard patterns: what is special in one is escaped, or ``Ethernet [2]`` would be
    the name of another adapter, ``Ethernet 2``.
    """
    plain = "".join(f"`{one}" if one in _WILDCARDS else one for one in text)
    return "'" + "".join(one * 2 if one in _QUOTES else one for one in plain) + "'"


def note(text: str) -> str:
    """Return a comment line. It must not hold a name from outside, which could contain a line break."""
    return f"# {text}"


def set_line(adapter: str, line: SetLine, numa_node: int | None = None) -> str:
    """Return the line that sets the processors of an adapter's queues."""
    node = f" -NumaNode {numa_node}" if numa_node is not None else ""
    return (
        f"Set-NetAdapterVmq -Name {quoted(adapter)}{node} -BaseProcessorGroup {line.group} "
        f"-BaseProcessorNumber {line.base_number} -MaxProcessorNumber {line.max_number} "
        f"-MaxProcessors {line.max_processors}"
    )


def processor_set(
    adapter: str,
    line: SetLine,
    words: str,
    *,
    before: SetLine,
    unset: Sequence[str] = (),
    numa_node: int | None = None,
    numa_node_before: int | None = None,
) -> list[str]:
    """Return the group of lines that sets an adapter's processors, given in ``words`` too.

    ``before``: the line that takes it back, in which the parameters named in ``unset`` have values that limit
    nothing, as they were not set.
    """
    back = _one_line(set_line(adapter, before, numa_node_before if numa_node is not None else None))
    takes_back = [f"To take it back: {back}"]
    if len(unset) == len(SET_PARAMETERS):
        shown = "To take it back: set the values shown here again. What shows none was not set"
        takes_back = [f"{shown}: {_NO_UNSETTING}:", back]
    elif unset:
        takes_back = [f"{' and '.join(unset)} had no value: {_NO_UNSETTING}.", *takes_back]
    return [
        note(f"Queues on processors {words}: reaches all queues of the adapter. {_RESTARTS}"),
        f"Get-NetAdapterVmq -Name {quoted(adapter)} | Format-List Name, Enabled, BaseProcessorGroup, "
        "BaseProcessorNumber, MaxProcessorNumber, MaxProcessors, NumaNode",
        *map(note, takes_back),
        set_line(adapter, line, numa_node),
        note("Check: a ProcessorAffinityMask and ProcessorGroup in the set, for each queue."),
        queues_of(adapter),
    ]


def _one_line(text: str) -> str:
    """Replace line breaks, which would end a comment."""
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", "?", text)


def queues_of(adapter: str) -> str:
    """Show the queues of an adapter with their processors."""
    return f"Get-NetAdapterVmqQueue -Name {quoted(adapter)}"


def look_at_queues(adapter: str, why: str) -> list[str]:
    """Return what to look at where no line expresses a change of single queues."""
    return [note(why), queues_of(adapter)]


def show_vm(vm: str, vnic: str | None = None) -> str:
    """Show the network adapters of a VM or the host, with their weights and use of queues."""
    return f"Get-VMNetworkAdapter {_of(vm, vnic)} | Format-List Name, MacAddress, VmqWeight, VmqUsage"


def _of(vm: str, vnic: str | None = None) -> str:
    """Return the parameters that select a VM's network adapters, or the host's, or its ``vnic``."""
    if vm != MANAGEMENT_OS:
        return f"-VMName {quoted(vm)}"
    return "-ManagementOS" if vnic is None else f"-ManagementOS -Name {quoted(vnic)}"


def vmq_weight(vm: str, weight: int, vnic: str | None = None) -> list[str]:
    """Return the group of lines that allows a VM a queue (``weight`` above 0) or not (0).

    For the host itself, ``vnic`` is the name of its vNIC; without one there is no line, but what to look at.
    """
    if vm == MANAGEMENT_OS and vnic is None:
        return [note("A vNIC of the host: find its name by its MAC, for -ManagementOS -Name:"), show_vm(vm)]
    reach = (
        "this vNIC of the host" if vm == MANAGEMENT_OS else "every network adapter of the VM; -Name limits it"
    )
    return [
        note(f"VmqWeight {weight}: {'may have a queue' if weight else 'has no queue'}. Reaches {reach}."),
        show_vm(vm, vnic),
        note("To take it back: set the VmqWeight shown here again."),
        f"Set-VMNetworkAdapter {_of(vm, vnic)} -VmqWeight {weight}",
        note(f"Check: VmqUsage is {'above 0' if weight else '0'}."),
        show_vm(vm, vnic),
    ]


def show_vlans(vm: str) -> str:
    """Show the VLANs of the ports of a VM or the host."""
    return f"Get-VMNetworkAdapterVlan {_of(vm)}"


def untagged(vm: str) -> list[str]:
    """Return the group of lines that leaves the port of a VM no VLAN."""
    if vm == MANAGEMENT_OS:
        return look_at_vlans(
            vm, "A vNIC of the host: find its name, for -ManagementOS -VMNetworkAdapterName:"
        )
    return [
        note("Replaces the mode and the VLANs of every network adapter of the VM."),
        note("-VMNetworkAdapterName limits it to one."),
        show_vlans(vm),
        note("To take it back: set the mode and the VLANs shown here again."),
        f"Set-VMNetworkAdapterVlan {_of(vm)} -Untagged",
        note("Check: the mode is Untagged."),
        show_vlans(vm),
    ]


def look_at_vlans(vm: str, why: str) -> list[str]:
    """Return what to look at where no line adds a VLAN without ending another."""
    return [note(why), show_vlans(vm)]


def one_queue_each(adapter: str) -> list[str]:
    """Return what to look at where a VM's adapter has one queue at most (no VMMQ)."""
    return [
        note(
            "One queue for each network adapter of a VM: VMMQ needs Windows Server 2016, NDIS 6.60, no LBFO."
        ),
        queues_of(adapter),
    ]


def multi_queue(vm: str, pairs: int) -> list[str]:
    """Return the group of lines that gives a VM several queues (VMMQ, Windows Server 2016 and later)."""
    if vm == MANAGEMENT_OS:
        return [note("A vNIC of the host: look whether it has several queues."), show_vm(vm)]
    properties = "Name, VmmqEnabled, VmmqQueuePairs, VrssEnabled"
    shown = f"Get-VMNetworkAdapter -VMName {quoted(vm)} | Format-List {properties}"
    return [
        note(
            "Needs Windows Server 2016, a driver of NDIS 6.60, and no LBFO team. Leave it where the pairs "
            "shown are more."
        ),
        shown,
        note("To take it back: set the values shown here again."),
        f"Set-VMNetworkAdapter -VMName {quoted(vm)} -VmmqEnabled $true -VmmqQueuePairs {pairs}",
        note("Check:"),
        shown,
    ]


def receive_buffers(adapter: str, count: int) -> list[str]:
    """Return the group of lines that sets the number of receive buffers of an adapter."""
    selected = f"-Name {quoted(adapter)} -RegistryKeyword '*ReceiveBuffers'"
    shown = (
        f"Get-NetAdapterAdvancedProperty {selected} | Format-List RegistryValue, NumericParameterMaxValue, "
        "NumericParameterStepValue"
    )
    return [
        note(f"Reaches all queues of the adapter. {_RESTARTS}"),
        note("NumericParameterMaxValue is the most that the driver takes: set that where it is less."),
        note("The most that a queue of it needs; leave it where the RegistryValue shown is more."),
        shown,
        note("To take it back: set the RegistryValue shown here again."),
        f"Set-NetAdapterAdvancedProperty {selected} -RegistryValue {count}",
        note("Check:"),
        shown,
    ]


_RECEIVE_BUFFERS: Final = re.compile(
    r"(?P<setting>Set-NetAdapterAdvancedProperty -Name '(?:[^']|'')*' -RegistryKeyword '\*ReceiveBuffers' "
    r"-RegistryValue )(?P<count>\d+)"
)


def with_most_buffers(blocks: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return blocks of lines in which those that set the receive buffers of one adapter all set the most."""
    most: dict[str, int] = {}
    for line in itertools.chain.from_iterable(blocks):
        if (found := _RECEIVE_BUFFERS.fullmatch(line)) is not None:
            most[found["setting"]] = max(int(found["count"]), most.get(found["setting"], 0))

    def raised(line: str) -> str:
        found = _RECEIVE_BUFFERS.fullmatch(line)
        return line if found is None else f"{found['setting']}{most[found['setting']]}"

    return [[raised(line) for line in block] for block in blocks]


def show_state(vm: str) -> str:
    """Show whether a VM runs."""
    return f"Get-VM -Name {quoted(vm)} | Format-List Name, State"


def resume(vm: str) -> list[str]:
    """Return the group of lines that resumes a paused VM."""
    return [
        note("The VM runs on; Suspend-VM takes it back."),
        f"Resume-VM -Name {quoted(vm)}",
        show_state(vm),
    ]


def shut_down(vm: str) -> list[str]:
    """Return the group of lines that shuts a VM down."""
    return [
        note("Shuts the VM down through its guest. -TurnOff would pull its plug: unsaved data is lost."),
        f"Stop-VM -Name {quoted(vm)}",
        show_state(vm),
    ]


def dynamic(adapter: str, release: str | None) -> list[str]:
    """Return what to look at for queues that follow the load. ``release`` of Windows Server: None if unknown.

    It is on by default wherever a release has it: dynamic VMQ of 2012 and 2012 R2, and dynamic VMMQ from 2019
    on, where ``VrssQueueSchedulingMode`` is Dynamic by default (Msvm_EthernetSwitchPortOffloadSettingData).
    """
    if release == "2008 R2":
        return [note("Windows Server 2008 R2 has no dynamic VMQ: a queue stays on its processor.")]
    if release == "2016":
        return [note("Windows Server 2016 has no dynamic VMQ: it has VMMQ, and vRSS in the VM.")]
    lines = []
    if release in (None, "2012", "2012 R2"):
        lines += [
            note(
                "Windows Server 2012, 2012 R2: dynamic VMQ is on where the driver can; no line turns it on."
            ),
            f"Get-NetAdapterVmq -Name {quoted(adapter)} | Format-List Name, Enabled, "
            "DynamicProcessorAffinityChangeSupported",
        ]
    if release is None or release in DYNAMIC_MULTI_QUEUE:
        lines += [
            note(
                "From Windows Server 2019 on: dynamic VMMQ is on by default, with a driver that has RSSv2 and"
            ),
            note("without LBFO. Look for a VM whose VrssQueueSchedulingMode is not Dynamic."),
            "Get-VMNetworkAdapter -VMName * | Format-List VMName, Name, VmmqEnabled, VrssQueueSchedulingMode",
        ]
    return lines


def vmq_off(adapter: str) -> list[str]:
    """Return the group of lines that turns VMQ of an adapter off, for links that need none."""
    name = quoted(adapter)
    shown = f"Get-NetAdapterVmq -Name {name} | Format-List Name, InterfaceDescription, Enabled"
    return [
        note(
            "Broadcom 57xx, drivers b57nd60a 16.2 to 16.6: VMs lose the network with VMQ on. Intel I350: VMs"
        ),
        note("got no frames with it on."),
        *link(adapter),
        note(f"Update that driver, or turn VMQ off. {_RESTARTS}"),
        shown,
        note(f"To take it back: Set-NetAdapterVmq -Name {_one_line(name)} -Enabled $true"),
        f"Set-NetAdapterVmq -Name {name} -Enabled $false",
        note("Check: Enabled is False."),
        shown,
    ]


def link(adapter: str) -> list[str]:
    """Show the speed and the driver of an adapter's link."""
    return [
        f"Get-NetAdapter -Name {quoted(adapter)} | Format-List Name, InterfaceDescription, LinkSpeed, "
        "DriverVersion, NdisVersion"
    ]


_CHANGE: Final = re.compile(r"(?P<cmdlet>(?:Set|Resume|Stop|New)-\w+) (?P<rest>.*)", re.DOTALL)
_SUBJECT: Final = re.compile(r"(-ManagementOS )?-(?:VM)?Name '(?:[^']|'')*'|-RegistryKeyword '[^']*'")
_SETTING: Final = re.compile(r"-(VmqWeight|VmmqEnabled)\b")


def subject(line: str) -> str | None:
    """Return the setting that a line changes: its cmdlet and object; None for a line that only shows."""
    change = _CHANGE.fullmatch(line)
    if change is None:
        return None
    rest = change["rest"]
    named = [one.group() for one in _SUBJECT.finditer(rest)]
    setting = _SETTING.search(rest)
    return " ".join([change["cmdlet"], *named, setting.group() if setting else ""])
