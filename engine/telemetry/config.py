"""The config message: the configuration of a host, identified by a revision; counters are in ``stats``.

None is a number or name that is not known; the model knows them all, a measured host does not (contract 5).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from engine.telemetry.bounds import (
    Count,
    Name,
    Number,
    OfAdapters,
    OfColumns,
    OfCpus,
    OfFilters,
    OfPorts,
    OfQueues,
    Words,
)

Vlan = int | Literal["untagged"] | None


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One queue. ``buffers`` is the number it suggests; ``total_buffers`` in stats is the number it owns.

    ``guest_memory``: its frames are split, and the part after ``lookahead_bytes`` is in the VM's memory.
    ``management_os``: its frames are those of the host itself, and ``vm`` stands for it.
    ``home_cpu`` is the processor from the scenario or the last request; ``cpu`` differs while the balancer
    has moved the queue. Both are None from an older writer. ``vm_paused``: the VM returns no buffers, which
    the queue's ``state`` does not show.
    """

    queue_id: Count
    generation: Count
    name: Name
    vm: Name | None
    management_os: bool = False
    vm_paused: bool = False
    cpu: Count | None
    home_cpu: Count | None = None
    buffers: Count | None
    lookahead_bytes: Count | None
    guest_memory: bool | None = None
    return_delay_us: Count | None
    state: Name
    operational_state: Name
    driver: Name


class FilterConfig(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One filter and the queue it is set on."""

    filter_id: Count
    queue_id: Count
    mac: Name
    vlan: Vlan
    driver: Name


class PortConfig(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A switch port: the VM, or with ``management_os`` the host itself, to which the switch delivers the
    frames of this MAC and VLAN.

    ``vmq_weight`` is that of its virtual adapter on a Windows host, 0 if that may have no queue. None: not
    known.
    """

    vm: Name
    management_os: bool = False
    mac: Name
    vlan: Vlan
    vmq_weight: Count | None = None


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter: its settings; the name and mode of its team, if any; its queues (the default queue first)
    and filters in order of id; its ports.

    ``base_processor`` and ``max_processor`` (group:number), ``max_processors`` and ``preferred_numa_node``
    are what is configured of its processor set; None: not known, or left to the system. ``vmq`` None: not
    known.
    """

    name: Name
    vmq: bool | None = None
    base_processor: Name | None = None
    max_processor: Name | None = None
    max_processors: Count | None = None
    preferred_numa_node: Count | None = None
    ndis_version: Name | None
    nic_driver: Name | None = None
    link_gbps: Number | None
    link_up: bool | None = None
    max_queues: Count | None
    max_filters: Count | None
    max_frame_bytes: Count | None
    vlan_filtering: bool | None
    buffers: Count | None
    numa_node: Count | None
    min_lookahead_bytes: Count | None
    max_lookahead_bytes: Count | None
    team: Name | None = None
    team_mode: Name | None = None
    queues: Annotated[list[QueueConfig], OfQueues]
    filters: Annotated[list[FilterConfig], OfFilters]
    ports: Annotated[list[PortConfig], OfPorts]


class CpuConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One processor. ``name`` is group:number; processors with the same ``core`` are its hyper-threads."""

    id: Count
    name: Name
    core: Count | None
    numa_node: Count | None


class Config(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The whole configuration of a host. ``traffic`` describes the source of frames in words. ``cpu_model``
    has the keys of the scenario's ``[cpu]``, ``balancer`` those of ``[balancer]`` (none from an older
    writer). ``windows`` is the release of Windows Server, None if not known. ``system`` is a real host's
    operating system in words ("Linux 6.12.9"), "" from the model."""

    revision: Count
    host: Name
    cpus: Annotated[list[CpuConfig], OfCpus]
    hyperthreading: bool | None
    numa_nodes: Count | None
    windows: Name | None = None
    system: Words = ""
    cpu_model: Annotated[dict[Name, Any], OfColumns]
    balancer: Annotated[dict[Name, Any], OfColumns] = {}
    traffic: Words
    adapters: Annotated[list[AdapterConfig], OfAdapters]
    schema: Literal["vmq.config/1"] = "vmq.config/1"


def ports_without_queue(config: Config) -> Mapping[str, Mapping[str, Sequence[Vlan]]]:
    """Return the MACs of ports without a filter, with their VLANs, by the first adapter that has them."""
    seen = {one.mac for adapter in config.adapters for one in adapter.filters}
    found: dict[str, Mapping[str, Sequence[Vlan]]] = {}
    for adapter in config.adapters:
        vlans: defaultdict[str, list[Vlan]] = defaultdict(list)
        for port in adapter.ports:
            if port.mac not in seen:
                vlans[port.mac].append(port.vlan)
        seen |= vlans.keys()
        found[adapter.name] = vlans
    return found
