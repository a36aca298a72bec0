"""Commands for an administrator of a real host: one line of PowerShell each."""

from collections.abc import Sequence

_QUOTES = "'\u2018\u2019\u201a\u201b"
"""All of these end a single-quoted string in PowerShell; doubled, they stand for themselves."""


def quoted(text: str) -> str:
    """A name as a single-quoted string, in which nothing is expanded."""
    return "'" + "".join(one * 2 if one in _QUOTES else one for one in text) + "'"


def adapter_vmq(adapter: str, cpus: Sequence[int], *, numa_node: int | None = None) -> str:
    """Which processors the queues of an adapter are spread over: from the first of ``cpus`` to the last.

    They are of one group, the first one's: the cmdlet knows no other for the last.
    """
    first = min(cpus)
    group = [cpu for cpu in cpus if cpu // 64 == first // 64]
    node = f" -NumaNode {numa_node}" if numa_node is not None else ""
    return (
        f"Set-NetAdapterVmq -Name {quoted(adapter)}{node} -BaseProcessorGroup {first // 64} "
        f"-BaseProcessorNumber {first % 64} -MaxProcessorNumber {max(group) % 64} -MaxProcessors {len(group)}"
    )


def vmq_weight(vm: str, weight: int) -> str:
    """Whether a VM may have a queue: above 0 it may."""
    return f"Set-VMNetworkAdapter -VMName {quoted(vm)} -VmqWeight {weight}"


def vlan(vm: str, number: int | str | None) -> str:
    """The VLAN of a VM's port."""
    tag = f"-Access -VlanId {number}" if isinstance(number, int) else "-Untagged"
    return f"Set-VMNetworkAdapterVlan -VMName {quoted(vm)} {tag}"


def multi_queue(vm: str, pairs: int) -> str:
    """Several queues for one VM (VMMQ, Windows Server 2016 and later)."""
    return f"Set-VMNetworkAdapter -VMName {quoted(vm)} -VmmqEnabled $true -VmmqQueuePairs {pairs}"


def receive_buffers(adapter: str, count: int) -> str:
    """How many receive buffers the adapter gives."""
    return (
        f"Set-NetAdapterAdvancedProperty -Name {quoted(adapter)} -RegistryKeyword '*ReceiveBuffers' "
        f"-RegistryValue {count}"
    )


def resume(vm: str) -> str:
    """Let a paused VM run."""
    return f"Resume-VM -Name {quoted(vm)}"


BELOW_TEN_GIGABIT = (
    r"New-ItemProperty -Path 'HKLM:\SYSTEM\CurrentControlSet\Services\VMSMP\Parameters' "
    "-Name BelowTenGigVmqEnabled -PropertyType DWord -Value 1 -Force"
)
"""Let Windows use VMQ on slower links, too."""
