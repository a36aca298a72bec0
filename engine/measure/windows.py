"""A Windows host's configuration, from the tables of its cmdlets.

What each property means: Microsoft's pages of the cmdlets and of their CIM classes. Queues, filters and
processor sets are those of ``Get-NetAdapterVmqQueue`` and ``Get-NetAdapterVmq``; where an adapter has virtual
ports instead (Windows Server 2016 on), its queues are those of ``Get-NetAdapterVPort``. What no cmdlet tells
is None.
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from engine.counted import counted
from engine.measure.windows_parts import (
    Processors,
    Switches,
    VNic,
    affinity,
    mac_of,
    read_processors,
    read_switches,
    read_vnics,
)
from engine.measure.windows_tables import Row, WindowsTables
from engine.scenario.keys import MAX_ADAPTERS, MAX_FILTERS, MAX_QUEUES
from engine.scenario.processor_set import Place
from engine.telemetry.config import (
    AdapterConfig,
    Config,
    FilterConfig,
    PortConfig,
    QueueConfig,
    Vlan,
)

RELEASES: Final = {
    7600: "2008 R2",
    7601: "2008 R2",
    9200: "2012",
    9600: "2012 R2",
    14393: "2016",
    17763: "2019",
    20348: "2022",
    26100: "2025",
}
"""Releases of Windows Server by build number."""
TEAM_DRIVER: Final = "ndisimplatform.sys"
"""The driver of a team's own adapter ("Microsoft Network Adapter Multiplexor Driver")."""
PHYSICAL_FUNCTION: Final = 65535
"""``FunctionID`` of a virtual port that is not a virtual function's (NDIS_PF_FUNCTION_ID)."""
NO_NODE: Final = 65535
_BELOW_TEN_GIGABITS: Final = 10.0
_STATES: Final = {"1": "running", "2": "paused", "3": "dma_stopped"}
"""NDIS_RECEIVE_QUEUE_OPERATIONAL_STATE; the cmdlet may print it in words."""


@dataclass(frozen=True)
class WindowsHost:
    """The configuration, and what is needed to tell whose counters are whose."""

    config: Config
    vnics: Sequence[VNic]
    descriptions: Mapping[str, str]
    """Each adapter's interface description, by its name: what counters call it."""
    spread: Set[str]
    """Adapters of which a queue may be served by several processors, whatever its affinity says (VMMQ)."""


def read_host(tables: WindowsTables) -> WindowsHost:
    """Build the configuration of a host; what is missing or does not fit is in the remarks of ``tables``."""
    remarks = tables.remarks
    system = tables.first("Win32_OperatingSystem")
    build = system.number("BuildNumber")
    windows = RELEASES.get(build or 0)
    if windows is None:
        known = "is not known" if build is None else f"{build} is that of no release of Windows Server"
        remarks.add(f"the build of Windows {known}: its features are not known")
    adapters = _physical(tables)
    descriptions = {row.text("Name"): row.text("InterfaceDescription") for row in adapters}
    switches = read_switches(tables, descriptions)
    vnics = read_vnics(tables)
    cpus = read_processors(tables)
    reader = _AdapterReader(tables, cpus, switches, vnics)
    return WindowsHost(
        Config(
            revision=1,
            host=re.sub(r"[^A-Za-z0-9_.-]", "-", tables.host)[:64] or "windows",
            cpus=list(cpus.cpus),
            hyperthreading=cpus.hyperthreading,
            numa_nodes=cpus.numa_nodes,
            windows=windows,
            system=f"Windows Server {windows}" if windows else system.text("Caption") or "Windows",
            cpu_model={},
            traffic="measured",
            adapters=reader.adapters(adapters),
        ),
        vnics,
        descriptions,
        _spread(tables, switches, vnics),
    )


def _spread(tables: WindowsTables, switches: Switches, vnics: Sequence[VNic]) -> Set[str]:
    """The adapters on which a queue may have several queue pairs."""
    found = {*switches.spread}
    for vnic in vnics:
        found.update(switches.uplinks.get(vnic.switch, ()) if vnic.spread else ())
    for row in tables.rows("Get-NetAdapterVPort"):
        if (row.number("NumQueuePairs") or 1) > 1:
            found.add(row.text("Name"))
    if found:
        names = ", ".join(sorted(found))
        tables.remarks.add(
            f"VMMQ may spread queues of {names} over processors: frames of their virtual adapters are shown"
        )
    return found


# --- adapters -------------------------------------------------------------------------------------------


def _physical(tables: WindowsTables) -> list[Row]:
    """One row for each adapter: of those that can do VMQ, else of the hardware; never a team's own."""
    of_teams = {
        row.text("InterfaceDescription")
        for row in tables.rows("Get-NetAdapter")
        if row.text("DriverFileName").lower() == TEAM_DRIVER
    } | {row.text("InterfaceDescription") for row in tables.rows("Get-NetLbfoTeamNic")}
    rows = tables.rows("Get-NetAdapterVmq")
    if not rows:
        rows = [row for row in tables.rows("Get-NetAdapter") if row.flag("HardwareInterface")]
        tables.remarks.add("no adapter tells of VMQ (Get-NetAdapterVmq): the hardware adapters are shown")
    found: dict[str, Row] = {}
    for row in rows:
        name, described = row.text("Name"), row.text("InterfaceDescription")
        if not name or (described and described in of_teams) or "adapter multiplexor" in described.lower():
            continue
        if name in found:
            tables.remarks.add(f"a second adapter {name!r} is left out")
        elif len(found) >= MAX_ADAPTERS:
            tables.remarks.add(f"adapters after the first {MAX_ADAPTERS} are left out")
        else:
            found[name] = row
    return list(found.values())


class _FilterIds:
    """The ids of an adapter's filters: those that were told, and free ones where they are none."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self._next = 1

    def take(self, told: int | None) -> int:
        """Take the id that was told, or the lowest one above all that were taken for want of one."""
        while told is None or told in self.taken:
            told, self._next = self._next, self._next + 1
        self.taken.add(told)
        return told


class _AdapterReader:
    def __init__(
        self, tables: WindowsTables, cpus: Processors, switches: Switches, vnics: Sequence[VNic]
    ) -> None:
        self._tables = tables
        self._remarks = tables.remarks
        self._places = cpus.places
        self._switches = switches
        self._vnics = vnics
        self._by_mac: dict[str, list[VNic]] = {}
        self._of_vm: dict[str, list[VNic]] = {}
        for vnic in vnics:
            if not vnic.management_os:
                self._of_vm.setdefault(vnic.vm, []).append(vnic)
            self._by_mac.setdefault(vnic.mac, []).append(vnic)

        self._tables_of: dict[str, tuple[list[QueueConfig], list[FilterConfig]]] = {}
        self._macs_of: dict[str, set[str]] = {}

    def adapters(self, rows: Sequence[Row]) -> list[AdapterConfig]:
        """Read adapters, each of a row of ``Get-NetAdapterVmq``."""
        self._tables_of = {row.text("Name"): self._queues(row.text("Name")) for row in rows}
        self._macs_of = {name: {one.mac for one in filters} for name, (_, filters) in self._tables_of.items()}
        return [self._adapter(row) for row in rows]

    def _adapter(self, vmq: Row) -> AdapterConfig:
        name = vmq.text("Name")
        adapter = self._of("Get-NetAdapter", name)
        node = self._of("Get-NetAdapterHardwareInfo", name).number("NumaNode", NO_NODE)
        preferred = vmq.number("NumaNode", NO_NODE)
        mtu = adapter.number("MtuSize", 1 << 20)
        team = self._switches.teams.get(name)
        gbps = _gbps(adapter)
        queues, filters = self._tables_of[name]
        self._below_ten_gigabits(name, vmq, gbps)
        return AdapterConfig(
            name=name,
            vmq=vmq.flag("Enabled"),
            base_processor=self._set_place(vmq, "BaseProcessorNumber"),
            max_processor=self._set_place(vmq, "MaxProcessorNumber"),
            max_processors=vmq.number("MaxProcessors", 4096) or None,
            preferred_numa_node=None if preferred == NO_NODE else preferred,
            ndis_version=_ndis_version(adapter),
            nic_driver=_driver(vmq, adapter),
            link_gbps=gbps,
            link_up=_link_up(adapter),
            max_queues=vmq.number("NumberOfReceiveQueues", MAX_QUEUES),
            max_filters=vmq.number("TotalNumberOfMacAddresses", MAX_FILTERS),
            max_frame_bytes=None if mtu is None else mtu + 18,
            vlan_filtering=vmq.flag("VlanFilteringSupported"),
            buffers=self._buffers(name),
            numa_node=None if node == NO_NODE else node,
            min_lookahead_bytes=vmq.number("MinLookaheadSplitSize", 1 << 20),
            max_lookahead_bytes=vmq.number("MaxLookaheadSplitSize", 1 << 20),
            team=team[0] if team else None,
            team_mode=team[1] if team else None,
            queues=queues,
            filters=filters,
            ports=self._ports(name),
        )

    def _of(self, table: str, name: str) -> Row:
        return next(iter(self._tables.named(table, name)), Row(table, {}, self._remarks))

    def _set_place(self, vmq: Row, key: str) -> str | None:
        group, number = vmq.number("BaseProcessorGroup", 255), vmq.number(key, 255)
        return None if number is None else str(Place(group or 0, number))

    def _buffers(self, name: str) -> int | None:
        for row in self._tables.named("Get-NetAdapterAdvancedProperty", name):
            if row.text("RegistryKeyword").lower() == "*receivebuffers":
                values = row.texts("RegistryValue")
                return int(values[0]) if values and re.fullmatch("[0-9]{1,9}", values[0]) else None
        return None

    def _below_ten_gigabits(self, name: str, vmq: Row, gbps: float | None) -> None:
        on = self._tables.first("VMSMP").number("BelowTenGigVmqEnabled")
        if vmq.flag("Enabled") and gbps is not None and gbps < _BELOW_TEN_GIGABITS and not on:
            self._remarks.add(
                f"{name}: VMQ says enabled, but the link is below 10 Gbit/s and BelowTenGigVmqEnabled is not"
                " set: VMs get no queue"
            )

    # --- queues ---------------------------------------------------------------------------------

    def _queues(self, name: str) -> tuple[list[QueueConfig], list[FilterConfig]]:
        rows = self._tables.named("Get-NetAdapterVmqQueue", name)
        key, of_ports = "QueueID", False
        ports = self._tables.named("Get-NetAdapterVPort", name)
        if len(rows) < 2 and len(ports) > len(rows):
            functions = [row for row in ports if row.number("FunctionID") not in (None, PHYSICAL_FUNCTION)]
            if functions:
                told = counted(len(functions), "virtual port")
                self._remarks.add(f"{name}: {told} of SR-IOV functions bypass the host and are not shown")
            rows, key, of_ports = [row for row in ports if row not in functions], "VPortID", True
        queues: dict[int, QueueConfig] = {}
        filters: list[FilterConfig] = []
        ids = _FilterIds()
        for row in rows:
            queue_id = row.number(key, (1 << 32) - 1)
            if queue_id is None or queue_id in queues:
                self._remarks.add(
                    f"{name}: a queue {'without an' if queue_id is None else 'of a known'} id is left out"
                )
            elif len(queues) > MAX_QUEUES:
                self._remarks.add(f"{name}: queues after the first {MAX_QUEUES:,} are left out")
            else:
                own = self._filters(name, queue_id, row, ids)
                filters += own
                queues[queue_id] = self._queue(name, queue_id, len(queues) + 1, row, own, of_ports)
        return [queues[queue_id] for queue_id in sorted(queues)], sorted(
            filters, key=lambda one: one.filter_id
        )

    def _queue(
        self,
        name: str,
        queue_id: int,
        generation: int,
        row: Row,
        filters: Sequence[FilterConfig],
        of_ports: bool,
    ) -> QueueConfig:
        place = affinity(row)
        if place is not None and place not in self._places:
            self._remarks.add(
                f"{name}: queue {queue_id} is on processor {place}, which the host does not have"
            )
        vnic = next((one for one_filter in filters for one in self._by_mac.get(one_filter.mac, ())), None)
        named = "" if of_ports else row.text("VmFriendlyName")
        is_host = vnic.management_os if vnic else named.lower() == self._tables.host.lower() != ""
        vm = (vnic.vm if vnic else named) or None
        state = row.text("VPortState" if of_ports else "State").lower().replace(" ", "_")
        state = _STATES.get(state, state)
        state = state if state in _STATES.values() else "undefined"
        title = row.text("VPortName" if of_ports else "QueueName")
        return QueueConfig(
            queue_id=queue_id,
            generation=generation,
            name=title or ("default" if queue_id == 0 else vm or f"queue {queue_id}"),
            vm=None if queue_id == 0 else vm,
            management_os=queue_id != 0 and is_host,
            cpu=self._places.get(place) if place is not None else None,
            buffers=None,
            lookahead_bytes=None,
            return_delay_us=None,
            state=state,
            operational_state=state,
            driver="vsp",
        )

    def _filters(self, name: str, queue_id: int, row: Row, ids: "_FilterIds") -> list[FilterConfig]:
        found: list[FilterConfig] = []
        for one in row.rows("FilterList"):
            mac, vlan = mac_of(one.text("MacAddress")), one.number("VlanID", 4094)
            if mac is None or len(ids.taken) >= MAX_FILTERS:
                self._remarks.add(f"{name}: a filter of queue {queue_id} without a MAC is left out")
                continue
            filter_id = ids.take(one.number("FilterID", (1 << 32) - 1))
            found.append(
                FilterConfig(
                    filter_id=filter_id, queue_id=queue_id, mac=mac, vlan=vlan or "untagged", driver="vsp"
                )
            )
        return found or self._assumed_filters(name, queue_id, row, ids)

    def _assumed_filters(self, name: str, queue_id: int, row: Row, ids: "_FilterIds") -> list[FilterConfig]:
        """The filter of a VM's queue where the source cuts filters off: its only adapter's MAC and VLAN."""
        vnics = self._of_vm.get(row.text("VmFriendlyName"), ())
        if queue_id == 0 or not row.number("NumFilters") or len(vnics) != 1 or len(vnics[0].vlans) != 1:
            return []
        self._remarks.add(
            f"{name}: filters are cut off; those of a VM's only adapter are assumed for its queue"
        )
        filter_id = ids.take(None)
        vlan: Vlan = vnics[0].vlans[0]
        return [
            FilterConfig(
                filter_id=filter_id,
                queue_id=queue_id,
                mac=vnics[0].mac,
                vlan=vlan or "untagged",
                driver="vsp",
            )
        ]

    # --- ports ----------------------------------------------------------------------------------

    def _ports(self, name: str) -> list[PortConfig]:
        """The ports that lead to the adapter. Of a team whose members receive apart ("sum"), a port is of
        the members that have its queue, or else of the first."""
        return [
            PortConfig(
                vm=vnic.vm,
                management_os=vnic.management_os,
                mac=vnic.mac,
                vlan=vlan,
                vmq_weight=vnic.weight,
            )
            for vnic in self._vnics
            if self._leads_to(name, vnic)
            for vlan in vnic.vlans
        ]

    def _leads_to(self, name: str, vnic: VNic) -> bool:
        uplinks = self._switches.uplinks.get(vnic.switch, ())
        team = self._switches.teams.get(name)
        if name not in uplinks or len(uplinks) < 2 or team is None or team[1] != "sum":
            return name in uplinks
        having = [one for one in uplinks if vnic.mac in self._macs_of[one]]
        return name in (having or uplinks[:1])


def _gbps(adapter: Row) -> float | None:
    """The link's speed: what the adapter receives at; None for 0 and for values that stand for unknown."""
    speed = adapter.number("ReceiveLinkSpeed") or adapter.number("Speed")
    return speed / 1e9 if speed and speed <= 10**13 else None


def _link_up(adapter: Row) -> bool | None:
    state = adapter.number("MediaConnectState", 255)  # 1 connected, 2 disconnected, 0 unknown
    return {1: True, 2: False}.get(state or 0)


def _ndis_version(adapter: Row) -> str | None:
    major, minor = (adapter.number(f"Driver{part}NdisVersion", 255) for part in ("Major", "Minor"))
    return None if not major or minor is None else f"{major}.{minor:02d}"


def _driver(vmq: Row, adapter: Row) -> str | None:
    file, version = adapter.text("DriverFileName"), adapter.text("DriverVersion")
    driver = f"{file} {version}".strip()
    return ", ".join(part for part in (vmq.text("InterfaceDescription"), driver) if part) or None
