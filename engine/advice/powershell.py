"""PowerShell commands for the administrator of a real host, one line each."""

from collections.abc import Sequence

from engine.scenario.processor_set import SetLine

_QUOTES = "'\u2018\u2019\u201a\u201b"
"""Each of these ends a single-quoted string in PowerShell; doubled, it is a literal character."""


def quoted(text: str) -> str:
    """Quote a name with single quotes, so that PowerShell expands nothing in it."""
    return "'" + "".join(one * 2 if one in _QUOTES else one for one in text) + "'"


def set_line(adapter: str, line: SetLine, numa_node: int | None = None) -> str:
    """Return the line that sets the processors of an adapter's queues."""
    node = f" -NumaNode {numa_node}" if numa_node is not None else ""
    return (
        f"Set-NetAdapterVmq -Name {quoted(adapter)}{node} -BaseProcessorGroup {line.group} "
        f"-BaseProcessorNumber {line.base_number} -MaxProcessorNumber {line.max_number} "
        f"-MaxProcessors {line.max_processors}"
    )


def adapter_vmq(adapter: str, cpus: Sequence[int], *, numa_node: int | None = None) -> str:
    """Set the processors of an adapter's queues: the range from the lowest of ``cpus`` to the highest.

    Processors outside the group of the lowest are left out, because the cmdlet takes one group only.
    """
    first = min(cpus)
    group = [cpu for cpu in cpus if cpu // 64 == first // 64]
    node = f" -NumaNode {numa_node}" if numa_node is not None else ""
    return (
        f"Set-NetAdapterVmq -Name {quoted(adapter)}{node} -BaseProcessorGroup {first // 64} "
        f"-BaseProcessorNumber {first % 64} -MaxProcessorNumber {max(group) % 64} -MaxProcessors {len(group)}"
    )


def vmq_weight(vm: str, weight: int) -> str:
    """Allow a VM a queue (``weight`` above 0) or not (0)."""
    return f"Set-VMNetworkAdapter -VMName {quoted(vm)} -VmqWeight {weight}"


def vlan(vm: str, number: int | str | None) -> str:
    """Set the VLAN of a VM's port; any ``number`` that is not an int means untagged."""
    tag = f"-Access -VlanId {number}" if isinstance(number, int) else "-Untagged"
    return f"Set-VMNetworkAdapterVlan -VMName {quoted(vm)} {tag}"


def multi_queue(vm: str, pairs: int) -> str:
    """Give one VM several queues (VMMQ, Windows Server 2016 and later)."""
    return f"Set-VMNetworkAdapter -VMName {quoted(vm)} -VmmqEnabled $true -VmmqQueuePairs {pairs}"


def receive_buffers(adapter: str, count: int) -> str:
    """Set the number of receive buffers of an adapter."""
    return (
        f"Set-NetAdapterAdvancedProperty -Name {quoted(adapter)} -RegistryKeyword '*ReceiveBuffers' "
        f"-RegistryValue {count}"
    )


def resume(vm: str) -> str:
    """Resume a paused VM."""
    return f"Resume-VM -Name {quoted(vm)}"


BELOW_TEN_GIGABIT = (
    r"New-ItemProperty -Path 'HKLM:\SYSTEM\CurrentControlSet\Services\VMSMP\Parameters' "
    "-Name BelowTenGigVmqEnabled -PropertyType DWord -Value 1 -Force"
)
"""Makes Windows use VMQ on links below 10 Gbit/s."""
