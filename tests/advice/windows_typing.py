"""What a Windows host becomes when an administrator types lines, and what is wrong with them.

Rules and sources: Set-NetAdapterVmq, Set-VMNetworkAdapter, Set-VMNetworkAdapterVlan, Stop-VM and
Set-NetAdapterAdvancedProperty in windows-powershell-docs; KB 2974384 (event 106, hyper-threading);
"Standardized INF keywords for VMQ" (slow links); "Synthetic accelerations" (releases). It shares no code with
the advisor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from tests.advice.windows_host import NO_NODE, Adapter, Host, Vlan, Vmq, Vnic
from tests.advice.windows_lines import CMDLETS, Command, LineError, read

SLOW_GBPS: Final = 10
_RECEIVE_BUFFERS: Final = "*receivebuffers"
_VMSMP: Final = r"hklm:\system\currentcontrolset\services\vmsmp\parameters"
_SET: Final = {"BaseProcessorGroup", "BaseProcessorNumber", "MaxProcessorNumber", "MaxProcessors", "NumaNode"}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a line: a class to count by, the line, a sentence, and the rule that prints it."""

    kind: str
    line: str
    says: str
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.rule}: {self.line}: {self.says}"


@dataclass(frozen=True)
class Outcome:
    """What lines make of a host: its states, before and after each line that changes it, and the faults."""

    states: tuple[Host, ...]
    changed_by: tuple[str, ...]
    faults: tuple[Fault, ...]

    @property
    def after(self) -> Host:
        return self.states[-1]


def run(host: Host, lines: Sequence[str]) -> Outcome:
    """Type lines one after the other. A line that PowerShell refuses changes nothing."""
    states, changed_by, faults = [host], list[str](), list[Fault]()
    for line in lines:
        try:
            commands = read(line)
        except LineError as error:
            faults.append(Fault("unreadable", line, str(error)))
            continue
        now = states[-1]
        for number, command in enumerate(commands):
            now, wrong = _Typed(now, line, command, commands[number - 1] if number else None).done()
            faults += wrong
        if now != states[-1]:
            states.append(now)
            changed_by.append(line)
    faults += _teams_on_the_way(states, changed_by)
    return Outcome(tuple(states), tuple(changed_by), tuple(faults))


def _touched(before: Host, after: Host) -> frozenset[str]:
    return frozenset(name for name, one in after.adapters.items() if one != before.adapters[name])


def _teams_on_the_way(states: Sequence[Host], lines: Sequence[str]) -> Iterator[Fault]:
    """Event 106 among members that lines touch: at the end, and states in between worse than the first."""
    first, last = states[0], states[-1]
    touched = frozenset[str]().union(*(_touched(one, next_) for one, next_ in pairwise(states)))
    for pair, dispute in last.clashes().items():
        if touched & {*pair}:
            yield Fault(
                f"team-{last.mode_of(pair)}", " ; ".join(lines), f"{pair} at the end: {sorted(dispute)}"
            )
    for number, state in enumerate(states[1:-1], 1):
        for pair, dispute in state.clashes().items():
            was = first.clashes().get(pair, frozenset())
            if state.mode_of(pair) == "sum":
                worse = len(dispute) > len(was)
            else:  # members that change together differ for a moment: the next line ends it
                mates = {name for team in state.teams if pair[0] in team.members for name in team.members}
                worse = not was and not _touched(state, states[number + 1]) & mates
            if worse:
                yield Fault("worse-between", lines[number - 1], f"{pair} in between: {sorted(dispute)}")


class _Typed:
    """A command that is typed on a host: the host after it, and its faults."""

    def __init__(self, host: Host, line: str, command: Command, source: Command | None) -> None:
        self.host = host
        self.line = line
        self.command = command
        self.source = source
        self.faults: list[Fault] = []

    def done(self) -> tuple[Host, list[Fault]]:
        before = self.host
        since = CMDLETS[self.command.cmdlet].since
        if not before.has(since):
            return before, [Fault("feature", self.line, f"{self.command.cmdlet} came with {since}")]
        does = _DOES.get(self.command.cmdlet)
        if does is not None:
            does(self)
        return (before if self.command.on("WhatIf") else self.host), self.faults

    def fault(self, kind: str, says: str) -> None:
        self.faults.append(Fault(kind, self.line, says))

    # Adapters.

    def adapters(self) -> list[Adapter]:
        """The adapters that the line names, itself or up the pipe."""
        names = self.command.texts("Name")
        if not names and self.source is not None and "NetAdapter" in self.source.cmdlet:
            names = self.source.texts("Name") or tuple(self.host.adapters)
        found = []
        for name in names:
            same = [one for one in self.host.adapters.values() if one.name.lower() == name.lower()]
            if not same:
                self.fault("no-such-adapter", f"the host has no adapter {name!r}")
            found += same
        return found

    def names_adapters(self) -> None:
        self.adapters()

    def put(self, adapter: Adapter) -> None:
        self.host = replace(self.host, adapters={**self.host.adapters, adapter.name: adapter})

    def set_vmq(self) -> None:
        enabled = self.command.values.get("Enabled")
        for adapter in self.adapters():
            changed = self._switched(adapter, enabled) if isinstance(enabled, bool) else adapter
            if _SET & {*self.command.values}:
                changed = replace(changed, setting=self._setting(changed))
            self.put(changed)

    def _switched(self, adapter: Adapter, on: bool) -> Adapter:
        if on and adapter.link_gbps < SLOW_GBPS:
            self.fault("vmq-below-10", f"{adapter.name} has {adapter.link_gbps:g} Gbit/s")
        return replace(adapter, vmq=on)

    def switch_on(self) -> None:
        for adapter in self.adapters():
            self.put(self._switched(adapter, True))

    def switch_off(self) -> None:
        for adapter in self.adapters():
            self.put(self._switched(adapter, False))

    def _setting(self, adapter: Adapter) -> Vmq:
        """What the adapter's setting becomes: what the line leaves out stays as it was."""
        was = adapter.setting or Vmq()

        def given(name: str, otherwise: int | None) -> int | None:
            number = self.command.number(name)
            return otherwise if number is None else number

        node = given("NumaNode", was.node)
        setting = Vmq(
            group=given("BaseProcessorGroup", was.group) or 0,
            base=given("BaseProcessorNumber", was.base) or 0,
            max_number=given("MaxProcessorNumber", was.max_number),
            max_processors=given("MaxProcessors", was.max_processors),
            node=None if node == NO_NODE else node,
        )
        self._judge(adapter, setting)
        return setting

    def _judge(self, adapter: Adapter, setting: Vmq) -> None:
        host, name = self.host, adapter.name
        if setting.group >= len(host.groups):
            self.fault("not-on-host", f"{name}: no processor group {setting.group}")
            return
        size = host.groups[setting.group]
        if setting.base >= size:
            self.fault("not-on-host", f"{name}: base {setting.base} in a group of {size}")
            return
        if setting.node is not None and setting.node >= host.nodes:
            self.fault("not-on-host", f"{name}: no NUMA node {setting.node}")
        elif setting.node is not None and setting.node not in map(host.node_of, host.span(setting)):
            self.fault("node-outside", f"{name}: no processor of the set is on node {setting.node}")
        if host.hyperthreading and setting.base % 2:
            self.fault("odd-base", f"{name}: base {setting.base} with hyper-threading")
        if setting.max_number is not None:
            if setting.max_number < setting.base:
                self.fault("max-below-base", f"{name}: max {setting.max_number} below base {setting.base}")
            if size <= setting.max_number != 63:
                self.fault("not-on-host", f"{name}: max number {setting.max_number} in a group of {size}")
        self._judge_count(adapter, setting)
        if not host.span(setting) and not self.faults:
            self.fault("empty-set", f"{name}: no processor is left in the set")

    def _judge_count(self, adapter: Adapter, setting: Vmq) -> None:
        name, most = adapter.name, setting.max_processors
        if most == 0:
            self.fault("empty-set", f"{name}: no processor at all")
        elif most is not None:
            there = len(self.host.span(replace(setting, max_number=None, node=None)))
            if there < most and self.command.number("MaxProcessors") is not None:
                self.fault("crosses-group", f"{name}: the group has {there} of {most} processors")
        elif adapter.setting is None and setting.max_number is None:
            self.fault("open-ended", f"{name}: the line does not say where the set ends, and it is not known")

    def advanced_property(self) -> None:
        keywords = [one.lower() for one in self.command.texts("RegistryKeyword")]
        if self.command.cmdlet.startswith("Get"):
            if _RECEIVE_BUFFERS in keywords or not keywords:
                names = [one.name for one in self.adapters()] or list(self.host.adapters)
                self.host = replace(self.host, asked=self.host.asked | {*names})
            return
        for adapter in self.adapters() if _RECEIVE_BUFFERS in keywords else ():
            value = self.command.texts("RegistryValue")
            most = adapter.most_receive_buffers
            if not value or not value[0].isdecimal():
                self.fault("value", "*ReceiveBuffers without a number")
            elif most is not None and int(value[0]) > most:
                self.fault("buffers-above-most", f"{adapter.name}: the driver takes at most {most}")
            elif most is None and adapter.name not in self.host.asked:
                self.fault("buffers-unasked", f"{adapter.name}: nobody asked for NumericParameterMaxValue")

    def registry(self) -> None:
        path, name = self.command.texts("Path"), self.command.texts("Name")
        of_vmsmp = bool(path) and path[0].lower().rstrip("\\") == _VMSMP
        named = bool(name) and name[0].lower() == "belowtengigvmqenabled"
        if of_vmsmp and named and self.command.number("Value") == 1:
            self.fault("vmq-below-10", "Microsoft sees no reason for VMQ below 10 Gbit/s")

    # Virtual adapters.

    def vnics(self, name_parameter: str) -> list[Vnic]:
        """The vNICs that the line reaches: all of a VM, or the host's one by its name."""
        command = self.command
        if self.source is not None and self.source.cmdlet in ("Get-VMNetworkAdapter", "Get-VM"):
            command, name_parameter = self.source, "Name"
        wanted = [] if command.cmdlet == "Get-VM" else [one.lower() for one in command.texts(name_parameter)]
        if command.on("ManagementOS") or command.on("All"):
            found = [one for one in self.host.vnics if one.vm is None or command.on("All")]
            if command.on("ManagementOS") and not wanted and len(found) > 1:
                self.fault("reaches-others", "-ManagementOS without -Name reaches every vNIC of the host")
        else:
            found = self._of_vms(command.texts("VMName") or command.texts("Name"))
        named = [one for one in found if not wanted or one.name.lower() in wanted]
        if wanted and not named and not self.faults:
            self.fault("no-such-vnic", f"no vNIC {wanted[0]!r}")
        return named

    def _of_vms(self, names: Sequence[str]) -> list[Vnic]:
        found: list[Vnic] = []
        for name in names:
            if any(one in name for one in "*?["):
                self.fault("wildcard", f"{name!r} may mean several VMs")
            same = [one for one in self.host.vnics if (one.vm or "").lower() == name.lower()]
            of_the_host = [one.name.lower() for one in self.host.vnics if one.vm is None]
            if not same and name.lower() in of_the_host:
                self.fault("management-os", f"{name!r} is a vNIC of the host: -ManagementOS -Name")
            elif not same:
                self.fault("no-such-vm", f"the host has no VM {name!r}")
            found += same
        return found

    def put_vnic(self, old: Vnic, new: Vnic) -> None:
        self.host = replace(self.host, vnics=tuple(new if one is old else one for one in self.host.vnics))

    def set_vnic(self) -> None:
        vnics = self.vnics("Name")
        self._judge_features(vnics)
        weight = self.command.number("VmqWeight")
        if weight is None:
            return
        if weight > 100:
            self.fault("value", f"-VmqWeight {weight}: 0..100")
            return
        for vnic in vnics:
            behind = [self.host.adapters[name] for name in vnic.adapters]
            who = vnic.vm or vnic.name
            if weight and behind and all(one.link_gbps < SLOW_GBPS and not one.queues_on for one in behind):
                self.fault(
                    "vmq-below-10", f"{who}: the links are slow, the weight is not why it has no queue"
                )
            if weight and behind and not any(one.vmq for one in behind):
                self.fault("no-effect", f"{who}: VMQ is off on its adapters")
            self.put_vnic(vnic, replace(vnic, weight=weight))

    def _judge_features(self, vnics: Sequence[Vnic]) -> None:
        host, given = self.host, {*self.command.values}
        mode = self.command.texts("VrssQueueSchedulingMode")
        if mode and mode[0].lower() not in ("dynamic", "staticvrss", "staticvmq"):
            self.fault("value", f"-VrssQueueSchedulingMode {mode[0]}: Dynamic, StaticVrss, StaticVmq")
        for parameters, since in (
            ({"VmmqEnabled", "VmmqQueuePairs", "VrssEnabled"}, "2016"),
            ({"VrssQueueSchedulingMode"}, "2019"),
        ):
            asked = sorted(parameters & given)
            behind = {name for vnic in vnics for name in vnic.adapters}
            if not asked:
                continue
            if not host.has(since):
                self.fault("feature", f"-{asked[0]} came with {since}, the host has {host.release}")
            elif any(team.lbfo and behind & {*team.members} for team in host.teams):
                self.fault("feature", f"-{asked[0]} does nothing on an LBFO team")
            elif any(host.adapters[name].ndis < (6, 60) for name in behind):
                self.fault("feature", f"-{asked[0]} needs a driver of NDIS 6.60")

    def set_vlan(self) -> None:
        given = self.command
        modes = [one for one in ("Access", "Trunk", "Untagged") if given.on(one)]
        wanted: Vlan | None = Vlan()
        if len(modes) != 1:
            self.fault("value", "one of -Access, -Trunk, -Untagged")
            return
        if modes == ["Access"]:
            vlan = given.number("VlanId")
            if vlan is None or not 1 <= vlan <= 4094:
                self.fault("value", f"-Access needs -VlanId 1..4094, not {vlan}")
                return
            wanted = Vlan("Access", frozenset({vlan}))
        elif modes == ["Trunk"]:
            wanted = self._trunk()
        if wanted is None:
            return
        for vnic in self.vnics("VMNetworkAdapterName"):
            lost = sorted(vnic.vlan.ids - wanted.ids)
            if lost:
                kind = "ends-trunk" if vnic.vlan.mode == "Trunk" else "loses-vlan"
                self.fault(kind, f"{vnic.vm or vnic.name} is taken out of VLAN {lost}")
            self.put_vnic(vnic, replace(vnic, vlan=wanted))

    def _trunk(self) -> Vlan | None:
        texts, native = self.command.texts("AllowedVlanIdList"), self.command.number("NativeVlanId")
        if not texts or native is None:
            self.fault("value", "-Trunk needs -AllowedVlanIdList and -NativeVlanId")
            return None
        ids = set[int]()
        for part in texts[0].split(","):
            low, _, high = part.strip().partition("-")
            if not low.isdecimal() or not (high or low).isdecimal():
                self.fault("value", f"-AllowedVlanIdList {texts[0]!r}")
                return None
            ids |= {*range(int(low), int(high or low) + 1)}
        if not ids <= {*range(1, 4095)} or not 0 <= native <= 4094:
            self.fault("value", f"VLANs of a trunk are 1..4094: {texts[0]!r}, native {native}")
            return None
        return Vlan("Trunk", frozenset({*ids, native}))

    def stop_vm(self) -> None:
        if self.command.on("TurnOff"):
            self.fault("pulls-plug", "-TurnOff loses what the guest has not saved")
        self.names_vms()

    def names_vms(self) -> None:
        self._of_vms(self.command.texts("Name"))

    def set_team(self) -> None:
        if self.host.has("2022"):
            self.fault("feature", "a switch on an LBFO team is gone from 2022 on")


_DOES: Final[Mapping[str, Callable[[_Typed], None]]] = {
    "Set-NetAdapterVmq": _Typed.set_vmq,
    "Enable-NetAdapterVmq": _Typed.switch_on,
    "Disable-NetAdapterVmq": _Typed.switch_off,
    **dict.fromkeys(
        ["Get-NetAdapterVmq", "Get-NetAdapterVmqQueue", "Get-NetAdapter", "Get-NetAdapterRss"],
        _Typed.names_adapters,
    ),
    **dict.fromkeys(["Get-NetAdapterVPort", "Restart-NetAdapter"], _Typed.names_adapters),
    **dict.fromkeys(
        ["Get-NetAdapterAdvancedProperty", "Set-NetAdapterAdvancedProperty"], _Typed.advanced_property
    ),
    "Set-VMNetworkAdapter": _Typed.set_vnic,
    "Set-VMNetworkAdapterVlan": _Typed.set_vlan,
    "Stop-VM": _Typed.stop_vm,
    **dict.fromkeys(["Resume-VM", "Suspend-VM"], _Typed.names_vms),
    "Set-NetLbfoTeam": _Typed.set_team,
    **dict.fromkeys(["Set-ItemProperty", "New-ItemProperty"], _Typed.registry),
}
