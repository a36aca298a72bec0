"""The config message: everything about a host that is not a counter, under one revision."""

from typing import Any, Literal

import msgspec

Vlan = int | Literal["untagged"] | None


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One queue as it stands. ``buffers`` is what it suggested, ``total_buffers`` in stats what it got.

    ``guest_memory``: its frames are split, the part behind ``lookahead_bytes`` lies in its VM's memory; None
    from a writer that does not tell. ``vm_paused``: its VM returns no buffer of it. A property of the VM;
    the queue's ``state`` does not tell.
    """

    queue_id: int
    generation: int
    name: str
    vm: str | None
    vm_paused: bool = False
    cpu: int
    buffers: int
    lookahead_bytes: int
    guest_memory: bool | None = None
    return_delay_us: int
    state: str
    operational_state: str
    driver: str


class FilterConfig(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One filter and the queue it is set on."""

    filter_id: int
    queue_id: int
    mac: str
    vlan: Vlan
    driver: str


class PortConfig(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A switch port: a VM the switch knows."""

    vm: str
    mac: str
    vlan: Vlan


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter: its settings, its queues by id (the default queue first), filters by id, ports."""

    name: str
    ndis_version: str
    link_gbps: float
    max_queues: int
    max_filters: int
    max_frame_bytes: int
    vlan_filtering: bool
    buffers: int
    numa_node: int
    min_lookahead_bytes: int
    max_lookahead_bytes: int
    queues: list[QueueConfig]
    filters: list[FilterConfig]
    ports: list[PortConfig]


class CpuConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One processor: ``name`` is group:number; processors of one ``core`` are hyper-threads of it."""

    id: int
    name: str
    core: int
    numa_node: int


class Config(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The whole configuration of a host. ``traffic`` says where frames come from, in words;
    ``cpu_model`` holds the keys of the scenario's ``[cpu]``."""

    revision: int
    host: str
    cpus: list[CpuConfig]
    hyperthreading: bool
    numa_nodes: int
    cpu_model: dict[str, Any]
    traffic: str
    adapters: list[AdapterConfig]
    schema: Literal["vmq.config/1"] = "vmq.config/1"
