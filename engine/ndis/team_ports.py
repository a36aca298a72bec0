"""The switch behind a team is one: what the scenario says of ports on one member is known on all.

Only where a VM's frames come in on any member. With queues summed up they come in where its port is.
"""

import msgspec

from engine.scenario.model import AdapterSpec, PortSpec, Scenario


def with_team_ports(scenario: Scenario) -> list[AdapterSpec]:
    """The adapters, those of teams in mode "min" with the ports of the other members after their own."""
    adapters = {adapter.name: adapter for adapter in scenario.adapter}
    for team in scenario.team:
        if team.mode == "min":
            ports = [port for name in team.members for port in _ports(adapters[name])]
            for name in team.members:
                adapters[name] = _knowing(adapters[name], ports)
    return list(adapters.values())


def _ports(adapter: AdapterSpec) -> list[PortSpec]:
    """Its ports: those it names, and those that its VMs' filters imply."""
    implied = [
        PortSpec(vm=queue.vm, mac=one.mac, vlan=one.vlan)
        for queue in adapter.queue
        if queue.vm is not None
        for one in queue.filter
    ]
    return [*adapter.port, *implied]


def _knowing(adapter: AdapterSpec, ports: list[PortSpec]) -> AdapterSpec:
    """The adapter with ports that it does not have; what it says itself of a MAC and VLAN counts."""
    known = {(port.mac, port.vlan) for port in _ports(adapter)}
    new = {(port.mac, port.vlan): port for port in reversed(ports) if (port.mac, port.vlan) not in known}
    return msgspec.structs.replace(adapter, port=[*adapter.port, *reversed(new.values())])
