"""Windows hosts for tests, as the JSON of the collecting script and as a folder of Get-NetView.

Constructed from the documented properties of the cmdlets and CIM classes: none of it was read from a real
host. A host has two physical adapters under one switch, in a team that fits its release, and VMs with a queue
each.
"""

import json
from dataclasses import dataclass, field
from typing import Any

MULTIPLEXOR = "Microsoft Network Adapter Multiplexor Driver"
ACTIVITY = "Win32_PerfRawData_Counters_PerProcessorNetworkInterfaceCardActivity"
PROCESSORS = "Win32_PerfRawData_Counters_ProcessorInformation"
VNICS = "Win32_PerfRawData_NvspNicStats_HyperVVirtualNetworkAdapter"
START_MS = 1_790_000_000_000
HOST_GUID = "11111111-2222-3333-4444-555555555555"

BUILDS = {"2012 R2": 9600, "2016": 14393, "2019": 17763, "2022": 20348}
NDIS = {"2012 R2": (6, 40), "2016": (6, 60), "2019": (6, 80), "2022": (6, 85)}

Rows = list[dict[str, Any]]


@dataclass
class WindowsHostSample:
    """A host of a release. Each second VM n receives 1,000 × (n + 1) frames of 100 × (n + 1) bytes, a default
    queue 100.

    Queues of VMs lie on processors 2, 4, … of their adapter's half; ``shared`` of them on the first of these.
    ``weights`` are the VmqWeights of VMs that have no queue, by number: the default queue takes their frames.
    ``vports``: the adapters list virtual ports instead of queues, as they may from 2016 on.
    """

    release: str = "2019"
    cores: int = 8
    nodes: int = 2
    hyperthreading: bool = True
    vms: int = 4
    shared: int = 0
    vports: bool = False
    name: str = "HV01"
    seconds: int = 3
    lbfo: str = "SwitchIndependent/HyperVPort"
    link_gbps: float = 10
    weights: dict[int, int] = field(default_factory=dict)
    tables: dict[str, Rows] = field(default_factory=dict)

    @property
    def cpus(self) -> int:
        return self.cores * (2 if self.hyperthreading else 1)

    @property
    def is_set(self) -> bool:
        """Whether the team is embedded in the switch, as in 2016 on."""
        return self.release not in ("2012", "2012 R2")

    def place(self, cpu: int) -> tuple[int, int]:
        """The group and number of a processor: one group of up to 64, else one for each node."""
        return (0, cpu) if self.cpus <= 64 else divmod(cpu, self.cpus // self.nodes)

    def adapter_of(self, vm: int) -> int:
        return vm % 2

    def cpu_of(self, vm: int) -> int:
        base = 2 if self.adapter_of(vm) == 0 else 2 + self.cpus // 2
        step = 0 if vm // 2 <= self.shared and self.shared else 2 * (vm // 2)
        return base + step

    @staticmethod
    def adapter(number: int) -> tuple[str, str]:
        """The name and description of an adapter."""
        described = "Intel(R) Ethernet Controller X540-AT2" + (f" #{number + 1}" if number else "")
        return f"SLOT 3 Port {number + 1}", described

    @staticmethod
    def vm_guids(vm: int) -> tuple[str, str]:
        return f"aaaaaaaa-0000-0000-0000-{vm:012x}", f"bbbbbbbb-0000-0000-0000-{vm:012x}"

    @staticmethod
    def mac(vm: int) -> str:
        return f"00155D0000{vm + 1:02X}"

    # --- documents ------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """The JSON of the script, decoded."""
        return {
            "schema": "vmq.windows/1",
            "host": self.name,
            "time_ms": START_MS,
            "tables": {**self.configuration(), **self.tables},
            "samples": [
                {"time_ms": START_MS + 1000 * second, "tables": self.sample(second)}
                for second in range(self.seconds)
            ],
            "errors": [],
        }

    def json(self) -> bytes:
        return json.dumps(self.document()).encode("ascii")

    # --- configuration --------------------------------------------------------------------------

    def configuration(self) -> dict[str, Rows]:
        sockets = [
            {"NumberOfCores": self.cores // self.nodes, "NumberOfLogicalProcessors": self.cpus // self.nodes}
            for _ in range(self.nodes)
        ]
        return {
            "Win32_OperatingSystem": [
                {"BuildNumber": str(BUILDS[self.release]), "Caption": "Microsoft Windows Server"}
            ],
            "Win32_Processor": sockets,
            "Get-VMHostNumaNode": [
                {"NodeId": node, "ProcessorsAvailability": [100] * (self.cpus // self.nodes)}
                for node in range(self.nodes)
            ],
            "VMSMP": [{}],
            "Get-NetAdapter": self._adapters(),
            "Get-NetAdapterHardwareInfo": [
                {"Name": self.adapter(n)[0], "NumaNode": n % self.nodes} for n in (0, 1)
            ],
            "Get-NetAdapterAdvancedProperty": [
                {"Name": self.adapter(n)[0], "RegistryKeyword": "*ReceiveBuffers", "RegistryValue": ["512"]}
                for n in (0, 1)
            ],
            "Get-NetAdapterRss": [
                {
                    "Name": self.adapter(0)[0],
                    "RssProcessorArray": [
                        "{}:{}/0".format(*self.place(cpu)) for cpu in range(0, self.cpus, 2)
                    ],
                }
            ],
            "Get-NetAdapterVmq": self._vmq(),
            "Get-NetAdapterVmqQueue": [] if self.vports else self._queues(),
            "Get-NetAdapterVPort": self._vports() if self.vports else [],
            **self._teams(),
            "Get-VM": [
                {"Id": self.vm_guids(vm)[0], "Name": f"vm-{vm}", "State": "Running"} for vm in range(self.vms)
            ],
            "Get-VMNetworkAdapter": self._vnics(),
            "Get-VMNetworkAdapterVlan": self._vlans(),
        }

    def _adapters(self) -> Rows:
        major, minor = NDIS[self.release]
        speed = int(self.link_gbps * 1e9)
        rows = [
            {
                "Name": name,
                "InterfaceDescription": described,
                "DriverFileName": "ixt63x64.sys",
                "DriverVersion": "4.1.131.0",
                "DriverMajorNdisVersion": major,
                "DriverMinorNdisVersion": minor,
                "ReceiveLinkSpeed": speed,
                "MtuSize": 1500,
                "MediaConnectState": 1,
                "HardwareInterface": True,
            }
            for name, described in (self.adapter(0), self.adapter(1))
        ]
        if not self.is_set:
            own = {
                "Name": "Team1",
                "InterfaceDescription": MULTIPLEXOR,
                "DriverFileName": "NdisImPlatform.sys",
            }
            rows.append({**rows[0], **own, "ReceiveLinkSpeed": 2 * speed, "HardwareInterface": False})
        return rows

    def _vmq(self) -> Rows:
        half = self.cpus // 2
        rows = [
            {
                "Name": name,
                "InterfaceDescription": described,
                "Enabled": True,
                "NumberOfReceiveQueues": 31,
                "TotalNumberOfMacAddresses": 127,
                "VlanFilteringSupported": True,
                "MinLookaheadSplitSize": 0,
                "MaxLookaheadSplitSize": 0,
                "BaseProcessorGroup": 0,
                "BaseProcessorNumber": half * number,
                "MaxProcessors": half // 2,
                "MaxProcessorNumber": half * (number + 1) - 1,
                "NumaNode": 65535,
            }
            for number, (name, described) in enumerate((self.adapter(0), self.adapter(1)))
        ]
        if not self.is_set:
            own = {"Name": "Team1", "InterfaceDescription": MULTIPLEXOR, "NumberOfReceiveQueues": 62}
            rows.append({**rows[0], **own, "MaxProcessors": None})
        return rows

    def _queues(self) -> Rows:
        rows = []
        for number in (0, 1):
            name, base = self.adapter(number)[0], self.cpus // 2 * number
            rows.append(self._queue(name, 0, base, self.name, []))
            having = (vm for vm in range(number, self.vms, 2) if vm not in self.weights)
            for queue_id, vm in enumerate(having, 1):
                mac = "-".join(self.mac(vm)[at : at + 2] for at in range(0, 12, 2))
                filters = [{"FilterID": queue_id, "MacAddress": mac, "VlanID": 10 if vm % 3 == 0 else 0}]
                rows.append(self._queue(name, queue_id, self.cpu_of(vm), f"vm-{vm}", filters))
        return rows

    def _queue(self, name: str, queue_id: int, cpu: int, vm: str, filters: Rows) -> dict[str, Any]:
        return {
            "Name": name,
            "QueueID": queue_id,
            "State": 1,
            "NumFilters": len(filters),
            "ProcessorAffinityMask": 1 << self.place(cpu)[1],
            "ProcessorGroup": self.place(cpu)[0],
            "VmID": "",
            "VmFriendlyName": vm,
            "QueueName": "",
            "FilterList": filters,
        }

    def _vports(self) -> Rows:
        rows = []
        for row in self._queues():
            same = {
                key: row[key] for key in ("Name", "NumFilters", "ProcessorAffinityMask", "ProcessorGroup")
            }
            own = {"VPortID": row["QueueID"], "VPortName": "", "VPortState": 1, "FunctionID": 65535}
            rows.append({**same, **own, "NumQueuePairs": 1, "FilterList": row["FilterList"]})
        return rows

    def _teams(self) -> dict[str, Rows]:
        members = [self.adapter(0), self.adapter(1)]
        switch: dict[str, Any] = {"Name": "Converged", "SwitchType": "External"}
        if self.is_set:
            described = [one[1] for one in members]
            switch |= {"EmbeddedTeamingEnabled": True, "NetAdapterInterfaceDescriptions": described}
            return {"Get-NetLbfoTeam": [], "Get-VMSwitch": [switch]}
        teaming, _, balancing = self.lbfo.partition("/")
        switch |= {"NetAdapterInterfaceDescription": MULTIPLEXOR}
        team = {"Name": "Team1", "Members": [one[0] for one in members], "TeamingMode": teaming}
        return {
            "Get-NetLbfoTeam": [{**team, "LoadBalancingAlgorithm": balancing}],
            "Get-NetLbfoTeamNic": [{"Name": "Team1", "Team": "Team1", "InterfaceDescription": MULTIPLEXOR}],
            "Get-VMSwitch": [switch],
        }

    def _vnics(self) -> Rows:
        rows: Rows = [
            {
                "Id": f"Microsoft:{HOST_GUID}",
                "Name": "Management",
                "VMName": None,
                "VMId": None,
                "IsManagementOs": True,
                "SwitchName": "Converged",
                "MacAddress": "00155D00FF01",
            }
        ]
        for vm in range(self.vms):
            vm_id, nic_id = self.vm_guids(vm)
            rows.append(
                {
                    "Id": f"Microsoft:{vm_id.upper()}\\{nic_id.upper()}",
                    "Name": "Network Adapter",
                    "VMName": f"vm-{vm}",
                    "VMId": vm_id,
                    "IsManagementOs": False,
                    "SwitchName": "Converged",
                    "MacAddress": self.mac(vm),
                    "VmqWeight": self.weights.get(vm, 100),
                }
            )
        return rows

    def _vlans(self) -> Rows:
        rows = []
        for number, vnic in enumerate(self._vnics()):
            tagged = number and (number - 1) % 3 == 0
            mode = (
                {"OperationMode": "Access", "AccessVlanId": 10} if tagged else {"OperationMode": "Untagged"}
            )
            rows.append({"AdapterId": vnic["Id"], **mode})
        return rows

    # --- counters -------------------------------------------------------------------------------

    def sample(self, second: int) -> dict[str, Rows]:
        """Counters that begin at some thousands, as those of a host that has been up."""
        tables: dict[str, Rows] = {ACTIVITY: [], PROCESSORS: [], VNICS: [], "Get-NetAdapterStatistics": []}
        for number in (0, 1):
            name, described = self.adapter(number)
            own = [vm for vm in range(self.vms) if self.adapter_of(vm) == number]
            frames = dict.fromkeys(range(self.cpus), 5000)
            frames[self.cpus // 2 * number] += 100 * second
            for vm in own:
                base = self.cpus // 2 * number
                frames[base if vm in self.weights else self.cpu_of(vm)] += self.frames(vm) * second
            for cpu, received in frames.items():
                instance = f"{cpu}, {described.replace('(', '[').replace(')', ']').replace('#', '_')}"
                counts = {"ReceivedPacketsPersec": received, "InterruptsPersec": received // 10}
                tables[ACTIVITY].append({"Name": instance, **counts, "DPCsQueuedPersec": received // 10})
            total = 7000 + (100 + sum(self.frames(vm) for vm in own)) * second
            kinds = {
                "ReceivedUnicastPackets": total,
                "ReceivedMulticastPackets": 0,
                "ReceivedBroadcastPackets": 0,
            }
            port = {**kinds, "ReceivedBytes": 1000 * total, "ReceivedDiscardedPackets": 3}
            tables["Get-NetAdapterStatistics"].append({"Name": name, **port})
        per_node = self.cpus // self.nodes
        for cpu in range(self.cpus):
            tables[PROCESSORS].append(
                {
                    "Name": f"{cpu // per_node},{cpu % per_node}",
                    "PercentDPCTime": 40_000 + 2_000_000 * second,
                    "PercentInterruptTime": 10_000 + 500_000 * second,
                    "Timestamp_Sys100NS": 134_000_000_000_000_000 + 10_000_000 * second,
                }
            )
        tables[PROCESSORS].append({"Name": "_Total"})
        for vm in range(self.vms):
            vm_id, nic_id = self.vm_guids(vm)
            instance = f"vm-{vm}_Network Adapter_{vm_id}--{nic_id}"
            total = 9000 + self.frames(vm) * second
            size = (vm + 1) * 100
            counts = {"PacketsReceivedPersec": total, "BytesReceivedPersec": size * total}
            tables[VNICS].append({"Name": instance, **counts})
        return tables

    @staticmethod
    def frames(vm: int) -> int:
        """Frames that a VM receives each second."""
        return 1000 * (vm + 1)
