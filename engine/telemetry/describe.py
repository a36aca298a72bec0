"""From the control plane's state to the config message."""

import msgspec

from engine.ndis.host import Host
from engine.ndis.processors import processors
from engine.telemetry.config import AdapterConfig, Config, CpuConfig


def config_of(host: Host) -> Config:
    """The whole configuration of a host."""
    scenario = host.scenario
    teams = {
        name: {"team": team.name, "team_mode": team.mode} for team in scenario.team for name in team.members
    }
    return Config(
        revision=host.revision,
        host=scenario.host.name,
        cpus=[
            CpuConfig(id=one.id, name=one.name, core=one.core, numa_node=one.numa_node)
            for one in processors(scenario.host)
        ],
        hyperthreading=scenario.host.hyperthreading,
        numa_nodes=scenario.host.numa_nodes,
        cpu_model=msgspec.to_builtins(scenario.cpu),
        balancer=msgspec.to_builtins(host.balancing.spec),
        traffic=host.traffic.words,
        adapters=msgspec.convert(
            [one.describe() | teams.get(one.spec.name, {}) for one in host.adapters], list[AdapterConfig]
        ),
    )
