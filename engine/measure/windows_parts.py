"""The parts of a Windows host: processors, groups, NUMA nodes; switches, uplinks, teams; virtual adapters."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from engine.counted import counted
from engine.measure.windows_tables import Remarks, Row, WindowsTables
from engine.scenario.keys import MAX_CPUS
from engine.scenario.processor_set import MAX_GROUP_SIZE, Place, default_group_sizes
from engine.scenario.values import format_mac
from engine.telemetry.bounds import MAX_PORTS
from engine.telemetry.config import CpuConfig, Vlan

PROCESSOR_COUNTERS: Final = "Win32_PerfRawData_Counters_ProcessorInformation"
_PROCESSOR: Final = re.compile(r"(\d{1,3}):(\d{1,3})")
MAX_VLANS: Final = 64
"""Limit of VLANs of a trunk that are shown as a port each; one with more is shown as a port of any VLAN."""
_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_APART: Final = ("hypervport", "dynamic")
_TEAMING: Final = {"0": "static", "1": "switchindependent", "2": "lacp"}
_BALANCING: Final = {
    "0": "transportports",
    "2": "ipaddresses",
    "3": "macaddresses",
    "4": "hypervport",
    "5": "dynamic",
}
"""Values of MSFT_NetLbfoTeam, which scripts may print as numbers."""

# --- processors -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Processors:
    cpus: Sequence[CpuConfig]
    hyperthreading: bool | None
    numa_nodes: int | None
    places: Mapping[Place, int]


def processor_names(rows: Iterable[Row]) -> dict[str, int]:
    """The processors of the counter set Processor Information, by instance, numbered in their order.

    An instance is "NODE,NUMBER" (Microsoft: the NUMA node, and the index in the node).
    """
    found = []
    for row in rows:
        node, comma, number = row.text("Name").partition(",")
        if comma and node.strip().isdecimal() and number.strip().isdecimal() and len(node + number) < 12:
            found.append((int(node), int(number), row.text("Name")))
    return {name: cpu for cpu, (_, _, name) in enumerate(sorted(set(found)))}


def read_processors(tables: WindowsTables) -> Processors:
    sockets, remarks = tables.rows("Win32_Processor"), tables.remarks
    logical = _total(row.number("NumberOfLogicalProcessors", 4096) for row in sockets)
    cores = _total(row.number("NumberOfCores", 4096) for row in sockets)
    sampled = tables.samples[0].rows(PROCESSOR_COUNTERS) if tables.samples else []
    names = processor_names(sampled)
    used = [Place(int(group), int(number)) for group, number in _named_places(tables)]
    count = len(names) or logical
    if not count:
        count = 1 + max((place.number for place in used), default=0)
        remarks.add("the number of processors is not known: those are shown that queues or RSS use")
    hyperthreading = None if not logical or not cores else logical > cores
    nodes = _nodes(tables, count, sorted(names, key=names.__getitem__))
    if nodes is None:
        remarks.add("no NUMA nodes of processors are known")
    sizes = _group_sizes(count, 1 + max(nodes or [0]), used, remarks)
    places = [Place(group, number) for group, size in enumerate(sizes) for number in range(size)][:MAX_CPUS]
    if count > MAX_CPUS:
        remarks.add(f"of {counted(count, 'processor')} the first {MAX_CPUS} are shown")
    cpus = [
        CpuConfig(
            id=cpu,
            name=str(place),
            core=None if hyperthreading is None else cpu // 2 if hyperthreading else cpu,
            numa_node=nodes[cpu] if nodes and cpu < len(nodes) else None,
        )
        for cpu, place in enumerate(places)
    ]
    return Processors(
        cpus,
        hyperthreading,
        1 + max(nodes) if nodes else None,
        {place: cpu for cpu, place in enumerate(places)},
    )


def _total(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if not known or None in known else sum(number or 0 for number in known)


def _named_places(tables: WindowsTables) -> Iterable[tuple[str, str]]:
    for row in tables.rows("Get-NetAdapterRss"):
        for text in row.texts("RssProcessorArray"):
            yield from _PROCESSOR.findall(text)
    for row in tables.rows("Get-NetAdapterVmqQueue"):
        place = affinity(row)
        if place is not None:
            yield str(place.group), str(place.number)


def _nodes(tables: WindowsTables, count: int, names: Sequence[str]) -> list[int] | None:
    """The NUMA node of each processor: nodes follow each other, as Windows numbers processors."""
    rows = [row for row in tables.rows("Get-VMHostNumaNode") if row.number("NodeId", 255) is not None]
    sizes = [len(row.texts("ProcessorsAvailability")) for row in rows]
    if sizes and sum(sizes) == count and all(sizes):
        return [node for node, size in enumerate(sizes) for _ in range(size)]
    if len(names) == count:
        order = sorted({int(name.partition(",")[0]) for name in names})
        return [order.index(int(name.partition(",")[0])) for name in names]
    if len(sizes) > 1 and count % len(sizes) == 0:
        tables.remarks.add(
            f"which processors are in which of {len(sizes)} NUMA nodes is not told: even parts are assumed"
        )
        return [cpu * len(sizes) // count for cpu in range(count)]
    return [0] * count if len(sizes) == 1 else None


def _group_sizes(count: int, nodes: int, used: Sequence[Place], remarks: Remarks) -> Sequence[int]:
    least = [0] * (1 + max((place.group for place in used), default=0))
    for place in used:
        least[place.group] = max(least[place.group], place.number + 1)
    if count <= MAX_GROUP_SIZE and len(least) == 1:
        return [max(count, min(least[0], MAX_GROUP_SIZE))]
    sizes = default_group_sizes(count, nodes if count % nodes == 0 else 1)
    fits = len(least) <= len(sizes) and all(few <= size for few, size in zip(least, sizes, strict=False))
    if fits:
        remarks.add(f"sizes of processor groups are not told: {sizes} follow from Windows's rule")
        return sizes
    even = [count // len(least)] * len(least)
    remarks.add(f"sizes of processor groups are not told: {even} are assumed, from the processors in use")
    return [max(size, min(few, MAX_GROUP_SIZE)) for size, few in zip(even, least, strict=True)]


def affinity(row: Row) -> Place | None:
    """The processor of a queue, if its affinity has one; None for several, or if it is not known."""
    mask, group = row.number("ProcessorAffinityMask"), row.number("ProcessorGroup", 255)
    if not mask or mask & (mask - 1):
        return None
    return Place(group or 0, mask.bit_length() - 1)


@dataclass(frozen=True)
class Switches:
    """``uplinks``: the physical adapters of each switch. ``teams``: each member's team and mode. ``spread``:
    the adapters under a switch that spreads its default queue over processors (VMMQ)."""

    uplinks: Mapping[str, Sequence[str]]
    teams: Mapping[str, tuple[str, str]]
    spread: Set[str]


@dataclass(frozen=True)
class VNic:
    """A virtual adapter at a switch. ``vm`` is its VM, or its own name if it is the host's.

    ``vlans`` has what its port accepts: a VLAN, "untagged", or None for any. ``guids`` identify it in the
    names of counters. ``spread``: its frames may be spread over several processors (VMMQ). ``weight`` is its
    VmqWeight, 0 to 100; None: not known.
    """

    vm: str
    management_os: bool
    switch: str
    mac: str
    vlans: Sequence[Vlan]
    guids: Sequence[str]
    spread: bool = False
    weight: int | None = None


def mac_of(text: str) -> str | None:
    """The MAC as we write it, of one with dashes, colons or neither; None if it is none, or zero."""
    digits = re.sub(r"[-:.]", "", text)
    if not re.fullmatch("[0-9A-Fa-f]{12}", digits) or int(digits, 16) == 0:
        return None
    return format_mac(int(digits, 16))


# --- switches and teams ---------------------------------------------------------------------------------


def read_switches(tables: WindowsTables, descriptions: Mapping[str, str]) -> Switches:
    """Find the uplinks of each switch. ``descriptions`` are those of the physical adapters, by name."""
    by_description = {described: name for name, described in descriptions.items() if described}
    members, teams = _lbfo_teams(tables, descriptions)
    uplinks: dict[str, Sequence[str]] = {}
    spread: set[str] = set()
    for row in tables.rows("Get-VMSwitch"):
        switch = row.text("Name")
        named = row.texts("NetAdapterInterfaceDescriptions") or row.texts("NetAdapterInterfaceDescription")
        found: list[str] = []
        for described in named:
            if described in by_description:
                found.append(by_description[described])
            elif described in members:
                found += members[described]
            else:
                tables.remarks.add(
                    f"switch {switch!r}: its adapter {described!r} is not among the host's adapters"
                )
        uplinks[switch] = found
        if _is_spread(row, "DefaultQueueVmmqEnabled", "DefaultQueueVmmqQueuePairs"):
            spread.update(found)
        if row.flag("EmbeddedTeamingEnabled") and len(found) > 1:
            teams.update(dict.fromkeys(found, (switch, "sum")))
    return Switches(uplinks, teams, spread)


def _is_spread(row: Row, enabled: str, pairs: str) -> bool:
    """Whether VMMQ gives several queue pairs, which serve on several processors, to what a row is about."""
    return bool(row.flag(enabled)) and row.number(pairs) != 1


def _lbfo_teams(
    tables: WindowsTables, descriptions: Mapping[str, str]
) -> tuple[dict[str, Sequence[str]], dict[str, tuple[str, str]]]:
    """The members of each LBFO team by the descriptions of its own adapters, and each member's team."""
    by_description: dict[str, Sequence[str]] = {}
    teams: dict[str, tuple[str, str]] = {}
    for row in tables.rows("Get-NetLbfoTeam"):
        team, named = row.text("Name"), set(row.texts("Members"))
        members = [one for one in descriptions if one in named]
        if len(members) < len(named):
            tables.remarks.add(f"team {team!r}: some of its members are not among the host's adapters")
        mode = _team_mode(row, tables)
        if mode == "primary" and len(members) > 1:
            tables.remarks.add(
                f"team {team!r}: which member is the primary is not told: {members[0]!r} is assumed"
            )
        teams.update(dict.fromkeys(members, (team, mode)))
        own = [
            *(nic for nic in tables.rows("Get-NetLbfoTeamNic") if nic.text("Team") == team),
            *(nic for nic in tables.rows("Get-NetAdapter") if nic.text("Name") == team),
        ]
        by_description.update((nic.text("InterfaceDescription"), members) for nic in own)
    return by_description, teams


def _team_mode(row: Row, tables: WindowsTables) -> str:
    """How a team's queues count: "sum", "min" or "primary" (Microsoft, KB 2974384)."""
    teaming = row.text("TeamingMode").lower().replace(" ", "")
    balancing = row.text("LoadBalancingAlgorithm").lower().replace(" ", "")
    teaming, balancing = _TEAMING.get(teaming, teaming), _BALANCING.get(balancing, balancing)
    if teaming not in _TEAMING.values() or (
        teaming == "switchindependent" and balancing not in _BALANCING.values()
    ):
        tables.remarks.add(
            f"team {row.text('Name')!r}: its mode is not known: it is taken for one of the sum of queues"
        )
        return "sum"
    if teaming != "switchindependent":
        return "min"
    return "sum" if balancing in _APART else "primary"


# --- virtual adapters -----------------------------------------------------------------------------------


def read_vnics(tables: WindowsTables) -> list[VNic]:
    """The virtual adapters that are connected and have a MAC; those of VMs that do not run are left out."""
    modes = {row.text("AdapterId").lower(): row for row in tables.rows("Get-VMNetworkAdapterVlan")}
    states = {row.text("Id").lower(): row.text("State").lower() for row in tables.rows("Get-VM")}
    found: list[VNic] = []
    seen: set[str] = set()
    off = ports = 0
    for row in tables.rows("Get-VMNetworkAdapter"):
        adapter_id, mac, switch = (
            row.text("Id").lower(),
            mac_of(row.text("MacAddress")),
            row.text("SwitchName"),
        )
        is_host = row.flag("IsManagementOs") or False
        vm = row.text("Name") if is_host else row.text("VMName")
        state = states.get(row.text("VMId").lower(), "")
        runs = is_host or state in ("", "running", "paused", "2", "9", "32768")
        off += not runs
        if not (vm and mac and switch and runs) or adapter_id in seen:
            continue
        seen |= {adapter_id} if adapter_id else set()
        vlans = _vlans(modes.get(adapter_id), vm, tables)
        ports += len(vlans)
        if ports > MAX_PORTS:
            tables.remarks.add(f"ports after the first {MAX_PORTS:,} are left out")
            break
        spread = _is_spread(row, "VmmqEnabled", "VmmqQueuePairs")
        guids, weight = tuple(_GUID.findall(adapter_id)), row.number("VmqWeight", 100)
        found.append(VNic(vm, is_host, switch, mac, vlans, guids, spread, weight))
    if off:
        tables.remarks.add(f"{counted(off, 'adapter')} of VMs that do not run are left out")
    return sorted(found, key=lambda one: (not one.management_os, one.vm, one.mac))


def _vlans(row: Row | None, vm: str, tables: WindowsTables) -> Sequence[Vlan]:
    mode = row.text("OperationMode").lower() if row else ""
    if row is None or mode in ("", "unknown"):
        tables.remarks.add(
            "the VLANs of some virtual adapters are not known: their ports are shown as of any VLAN"
        )
        return (None,)
    if mode in ("untagged", "0"):
        return ("untagged",)
    if mode in ("access", "1"):
        return (row.number("AccessVlanId", 4094) or "untagged",)
    if mode not in ("trunk", "2"):
        tables.remarks.add(f"{vm}: VLAN mode {mode!r} has no counterpart: its ports are shown as of any VLAN")
        return (None,)
    allowed = _listed(row.text("AllowedVlanIdListString")) or _listed(
        ",".join(row.texts("AllowedVlanIdList"))
    )
    native = row.number("NativeVlanId", 4094)
    if not allowed or len(allowed) > MAX_VLANS:
        tables.remarks.add(f"{vm}: a trunk of {counted(len(allowed), 'VLAN')} is shown as a port of any VLAN")
        return (None,)
    of_untagged: Sequence[Vlan] = () if native is None else (native or "untagged",)
    return (*of_untagged, *(vlan for vlan in allowed if vlan != native))


def _listed(text: str) -> list[int]:
    """Read ``1-3,7`` as VLANs; empty if it does not have that form."""
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        low, _, high = part.partition("-")
        if not re.fullmatch("[0-9]{1,4}", low) or (high and not re.fullmatch("[0-9]{1,4}", high)):
            return []
        found.update(range(int(low), min(int(high or low), 4094) + 1))
    return sorted(vlan for vlan in found if 1 <= vlan <= 4094)
