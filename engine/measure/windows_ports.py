"""A Windows host's virtual switches: uplinks, teams, and the adapters of VMs and of the host itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.counted import counted
from engine.measure.windows_tables import Row, WindowsTables
from engine.scenario.values import format_mac
from engine.telemetry.bounds import MAX_PORTS
from engine.telemetry.config import Vlan

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


@dataclass(frozen=True)
class Switches:
    """``uplinks``: the physical adapters of each switch. ``teams``: each member's team and mode."""

    uplinks: Mapping[str, Sequence[str]]
    teams: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class VNic:
    """A virtual adapter at a switch. ``vm`` is its VM, or its own name if it is the host's.

    ``vlans`` has what its port accepts: a VLAN, "untagged", or None for any. ``guids`` identify it in the
    names of counters.
    """

    vm: str
    management_os: bool
    switch: str
    mac: str
    vlans: Sequence[Vlan]
    guids: Sequence[str]


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
        if row.flag("EmbeddedTeamingEnabled") and len(found) > 1:
            teams.update(dict.fromkeys(found, (switch, "sum")))
    return Switches(uplinks, teams)


def _lbfo_teams(
    tables: WindowsTables, descriptions: Mapping[str, str]
) -> tuple[dict[str, Sequence[str]], dict[str, tuple[str, str]]]:
    """The members of each LBFO team by the descriptions of its own adapters, and each member's team."""
    by_description: dict[str, Sequence[str]] = {}
    teams: dict[str, tuple[str, str]] = {}
    for row in tables.rows("Get-NetLbfoTeam"):
        team, members = row.text("Name"), [one for one in row.texts("Members") if one in descriptions]
        if len(members) < len(row.texts("Members")):
            tables.remarks.add(f"team {team!r}: some of its members are not among the host's adapters")
        teams.update(dict.fromkeys(members, (team, _team_mode(row, tables))))
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
        found.append(VNic(vm, is_host, switch, mac, vlans, tuple(_GUID.findall(adapter_id))))
    if off:
        tables.remarks.add(f"{counted(off, 'adapter')} of VMs that do not run are left out")
    return found


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
