"""The scenario: what a host, its adapters, its processors and its traffic are (contract 3).

These types hold a scenario that has already been checked; ``load`` makes them from a file and says
what is wrong with it. Defaults stand here and nowhere else.
"""

from typing import Final, Literal

import msgspec

Vlan = int | Literal["untagged"] | None
"""A filter's VLAN test: 1..4094, "untagged" (also passes VID 0), or None for any tagging."""


BUFFERS_FOR_LATER: Final = 8192
"""Receive buffers of an adapter, by default, for queues that come later."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table; an unknown key is an error."""


class FilterSpec(_Table, frozen=True, kw_only=True):
    """``[[adapter.queue.filter]]``. ``mac`` is lower case with colons once loaded."""

    mac: str
    vlan: Vlan = None


class PortSpec(_Table, frozen=True, kw_only=True):
    """``[[adapter.port]]``: a VM the switch knows, with or without a queue."""

    vm: str
    mac: str
    vlan: Vlan = None


class QueueSpec(_Table, frozen=True, kw_only=True):
    """``[[adapter.queue]]``. ``name`` defaults to the VM's, else to "queue N"."""

    name: str = ""
    vm: str | None = None
    cpu: int = 0
    buffers: int = 512
    lookahead_bytes: int = 0
    return_delay_us: int = 0
    filter: list[FilterSpec] = []


class AdapterSpec(_Table, frozen=True, kw_only=True):
    """``[[adapter]]``. ``buffers`` None: what its queues ask for, and BUFFERS_FOR_LATER."""

    name: str = "nic0"
    ndis_version: str = "6.30"
    link_gbps: float = 10.0
    max_queues: int = 64
    max_filters: int = 128
    max_frame_bytes: int = 1518
    vlan_filtering: bool = True
    buffers: int | None = None
    default_queue_buffers: int = 1024
    default_queue_cpu: int = 0
    min_lookahead_bytes: int = 0
    max_lookahead_bytes: int = 0
    numa_node: int = 0
    port: list[PortSpec] = []
    queue: list[QueueSpec] = []

    @property
    def total_buffers(self) -> int:
        """Receive buffers of the adapter in all."""
        return self.asked_buffers + BUFFERS_FOR_LATER if self.buffers is None else self.buffers

    @property
    def asked_buffers(self) -> int:
        """What its queues and the default queue ask for."""
        return self.default_queue_buffers + sum(queue.buffers for queue in self.queue)

    @property
    def ndis_minor(self) -> int:
        """The NN of NDIS 6.NN."""
        return int(self.ndis_version.split(".")[1])


class TeamSpec(_Table, frozen=True, kw_only=True):
    """``[[team]]``: adapters that receive as one. ``mode`` says which queues can serve a VM.

    "sum" of queues: switch independent teaming with Hyper-V port or dynamic distribution; a VM's frames come
    in on the member of its port. "min" of queues: every other combination; they come in on any member.
    """

    name: str = "team0"
    members: list[str]
    mode: Literal["sum", "min"] = "min"


class HostSpec(_Table, frozen=True, kw_only=True):
    """``[host]``. Processors ``2k`` and ``2k+1`` share a core under hyper-threading."""

    name: str = ""
    cpus: int = 8
    hyperthreading: bool = False
    numa_nodes: int = 1


class CpuSpec(_Table, frozen=True, kw_only=True):
    """``[cpu]``: what serving frames costs a simulated processor.

    Chosen so that one processor saturates near 4 Gbit/s of 1,514-byte frames, the middle of the 3 to 5
    that administrators report of a host without VMQ; each key's source is in the reference.
    """

    clock_ghz: float = 2.6
    cycles_per_interrupt: int = 2500
    cycles_per_dpc: int = 1500
    cycles_per_frame: int = 6000
    cycles_per_byte: float = 1.0
    moderation_us: float = 50.0
    quota: int = 64
    smt_share: float = 0.6
    remote_copy_factor: float = 1.5


class BalancerSpec(_Table, frozen=True, kw_only=True):
    """``[balancer]``: whether and how queues are moved between processors as load changes.

    Defaults are this project's own: Microsoft publishes the scheme of Dynamic VMQ, not its numbers.
    """

    mode: Literal["off", "dynamic"] = "off"
    interval_ms: int = 100
    scale_out: float = 0.8
    scale_in: float = 0.4
    cooldown_ms: int = 1000
    max_moves: int = 4


class FlowSpec(_Table, frozen=True, kw_only=True):
    """``[[traffic.mix.flow]]``: a share of a mix's frames.

    ``mac`` is the destination (left out: broadcast for kind "broadcast", a group address for "multicast",
    and addresses nobody has for "unknown"). ``vlan`` None: untagged; 0: a priority tag. ``frame_bytes``
    is the length without FCS: a number, or "imix" (7 × 60, 4 × 590, 1 × 1,514; a tag adds 4).
    """

    kind: Literal["unicast", "broadcast", "multicast", "unknown"] = "unicast"
    mac: str | None = None
    vlan: int | None = None
    weight: float = 1.0
    frame_bytes: int | Literal["imix"] = "imix"


class MixSpec(_Table, frozen=True, kw_only=True):
    """``[[traffic.mix]]``: what one adapter receives; exactly one of ``rate_pps`` and ``rate_gbps``.

    ``pattern``: "steady" spaces frames evenly, "random" jitters each within its slot, "bursts" sends
    ``burst_frames`` back to back and then waits.
    """

    adapter: str | None = None
    rate_pps: float | None = None
    rate_gbps: float | None = None
    pattern: Literal["steady", "random", "bursts"] = "steady"
    burst_frames: int = 32
    flow: list[FlowSpec] = []


class TrafficSpec(_Table, frozen=True, kw_only=True):
    """``[traffic]``: what a live engine receives. Frame i of a mix is a function of (seed, i) alone."""

    seed: int = 1
    mix: list[MixSpec] = []


class Scenario(_Table, frozen=True, kw_only=True):
    """A whole scenario file."""

    host: HostSpec = HostSpec()
    adapter: list[AdapterSpec] = msgspec.field(default_factory=lambda: [AdapterSpec()])
    team: list[TeamSpec] = []
    cpu: CpuSpec = CpuSpec()
    balancer: BalancerSpec = BalancerSpec()
    traffic: TrafficSpec | None = None
