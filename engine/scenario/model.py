"""The types of a scenario: a host, its adapters, processors and traffic (contract 3).

``load`` reads a file into these types and checks it. Each key is described once, at its field: how its value
is read, which values fit, its meaning and its default. The loader, the error messages and the reference page
read these descriptions (``keys.keys_of``).
"""

from functools import partial
from itertools import cycle
from typing import Annotated, Final, Literal

import msgspec

from engine.scenario import values
from engine.scenario.keys import (
    MAX_ADAPTERS,
    MAX_CPUS,
    MAX_FILTERS,
    MAX_FLOWS,
    MAX_MIXES,
    MAX_QUEUES,
    Choice,
    Key,
    Tables,
    destination,
    flag,
    index,
    members,
    number,
    place,
    sizes,
    whole,
)
from engine.scenario.processor_set import HostProcessors, SetKeys, host_processors, parse_place
from engine.scenario.values import Vlan

_IDENTIFIER = "1..64 of A-Z a-z 0-9 _ . -"
_NAME = "1..256 printable characters"
_ADAPTER_NAME = f"{_NAME}, no blank at either end"
_VLAN = Key(
    values.check_vlan, '1..4094, "untagged"', "the VLAN test; `untagged` also passes VID 0", "any tagging"
)
_MAC = Key(values.normal_mac, "unicast MAC, colons or dashes", "the destination MAC")

SET_KEYS: Final = ("base_processor", "max_processor", "max_processors", "preferred_numa_node")
"""Keys of an adapter's processor set, as Set-NetAdapterVmq has them."""
CHANGEABLE: Final = ("link_gbps", "max_queues", "max_filters", "vlan_filtering", "vmq", *SET_KEYS)
"""Keys of an adapter that a request changes while the engine runs."""
MANAGEMENT_OS: Final = "management OS"
"""Stands in messages and tables, where a VM's name stands otherwise, for the host itself."""
Windows = Literal["2008 R2", "2012", "2012 R2", "2016", "2019", "2022", "2025"]
"""Releases of Windows Server with VMQ."""
BUFFERS_FOR_LATER: Final = 8192
"""Receive buffers that an adapter has by default for queues allocated later."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table; an unknown key is an error."""


class FilterSpec(_Table, frozen=True, kw_only=True):
    """``[[adapter.queue.filter]]``. Once loaded, ``mac`` is in lower case with colons."""

    mac: Annotated[str, _MAC]
    vlan: Annotated[Vlan, _VLAN] = None


class PortSpec(_Table, frozen=True, kw_only=True):
    """``[[adapter.port]]``: a switch port of a VM or the host, with or without a queue."""

    vm: Annotated[
        str | None, Key(values.check_name, _NAME, "the VM behind the port", "none; this or `management_os`")
    ] = None
    management_os: Annotated[bool, flag("a vNIC of the host itself is behind the port, no VM")] = False
    mac: Annotated[str, _MAC]
    vlan: Annotated[Vlan, _VLAN] = None

    @property
    def owner(self) -> str:
        """The name of the VM, or MANAGEMENT_OS."""
        return self.vm if self.vm is not None else MANAGEMENT_OS


class QueueSpec(_Table, frozen=True, kw_only=True):
    """``[[adapter.queue]]``. ``name`` defaults to the VM's name, else to "queue N".

    ``cpu`` None: the queue is placed in the adapter's set (``HostSpec.placed``).
    """

    name: Annotated[str, Key(values.check_name, _NAME, "the queue's name", "the VM's, else `queue N`")] = ""
    vm: Annotated[str | None, Key(values.check_name, _NAME, "the VM whose frames these are", "none")] = None
    management_os: Annotated[bool, flag("the frames are those of a vNIC of the host itself")] = False
    cpu: Annotated[
        int | None,
        Key(
            index,
            "integer below `host.cpus`",
            "processor affinity: whose DPC serves the queue",
            "the next processor of the adapter's set in turn; 0 where there is none",
        ),
    ] = None
    buffers: Annotated[int, whole(1, values.MAX_BUFFERS, "receive buffers it suggests")] = 512
    lookahead_bytes: Annotated[
        int, whole(0, values.MAX_FRAME_BYTES, "above 0 asks for the split, before NDIS 6.30")
    ] = 0
    return_delay_us: Annotated[
        int, whole(0, 60_000_000, "the VM returns a buffer so long after its indication; 0: in the same DPC")
    ] = 0
    filter: Annotated[
        list[FilterSpec], Tables("a frame that passes any of them is the queue's", most=MAX_FILTERS)
    ] = []

    @property
    def owner(self) -> str | None:
        """The name of the VM, or MANAGEMENT_OS; None if there is neither."""
        return MANAGEMENT_OS if self.management_os else self.vm


class AdapterSpec(_Table, frozen=True, kw_only=True):
    """``[[adapter]]``. ``buffers`` defaults to the number that all queues request plus BUFFERS_FOR_LATER."""

    name: Annotated[str, Key(values.check_adapter_name, _ADAPTER_NAME, "unique on the host")] = "nic0"
    vmq: Annotated[
        bool, flag("`false`: no queue but the default one, as `Set-NetAdapterVmq -Enabled $false`")
    ] = True
    base_processor: Annotated[
        str | None,
        Key(
            place,
            "group:number of the host",
            "first processor of its set; with hyper-threading an even number",
            "not known; with another key of the set the first of the group",
        ),
    ] = None
    max_processor: Annotated[
        str | None,
        Key(
            place,
            "group:number in the group of `base_processor`, number up to 63",
            "last processor that its set may have",
            "not known; with another key of the set the last of the group",
        ),
    ] = None
    max_processors: Annotated[
        int | None,
        whole(1, MAX_CPUS, "most processors of its set", "not known; with another key of the set all"),
    ] = None
    preferred_numa_node: Annotated[
        int | None,
        Key(
            index,
            "integer below `host.numa_nodes`",
            "its set has only processors of this node, if any of the range is on it",
            "not known; with another key of the set none",
        ),
    ] = None
    ndis_version: Annotated[
        str, Key(values.check_ndis_version, '"6.20".."6.99"', "before 6.30 an adapter may split lookahead")
    ] = "6.30"
    link_gbps: Annotated[
        float, number(0.001, 10_000, "link speed; a frame occupies (bytes + 20) × 8 / link_gbps ns")
    ] = 10.0
    max_queues: Annotated[int, whole(0, MAX_QUEUES, "receive queues besides the default queue")] = 64
    max_filters: Annotated[int, whole(0, MAX_FILTERS, "filters on all queues together")] = 128
    max_frame_bytes: Annotated[
        int, whole(60, values.MAX_FRAME_BYTES, "a longer frame is oversize; a buffer holds so much")
    ] = 1518
    vlan_filtering: Annotated[bool, flag("whether a filter may have a VLAN number")] = True
    buffers: Annotated[
        int | None,
        whole(
            1,
            (MAX_QUEUES + 1) * values.MAX_BUFFERS,
            "receive buffers in all; at least `default_queue_buffers`",
            "what the queues ask for, and 8192 for those that come later",
        ),
    ] = None
    default_queue_buffers: Annotated[
        int, whole(1, values.MAX_BUFFERS, "receive buffers of the default queue")
    ] = 1024
    default_queue_cpu: Annotated[
        int, Key(index, "integer below `host.cpus`", "processor of the default queue")
    ] = 0
    min_lookahead_bytes: Annotated[
        int, whole(0, values.MAX_FRAME_BYTES, "smallest lookahead split, before NDIS 6.30")
    ] = 0
    max_lookahead_bytes: Annotated[
        int,
        whole(
            0, values.MAX_FRAME_BYTES, "largest lookahead split, before NDIS 6.30; 0: the adapter splits none"
        ),
    ] = 0
    numa_node: Annotated[
        int, Key(index, "integer below `host.numa_nodes`", "node of its receive buffers")
    ] = 0
    port: Annotated[
        list[PortSpec], Tables("switch ports besides those the queues' filters make", most=65_536)
    ] = []
    queue: Annotated[
        list[QueueSpec], Tables("receive queues, ids from 1 in file order", most=MAX_QUEUES)
    ] = []

    @property
    def set_keys(self) -> SetKeys:
        """What is configured of its processor set."""
        base, most = (
            None if one is None else parse_place(one) for one in (self.base_processor, self.max_processor)
        )
        return SetKeys(base, most, self.max_processors, self.preferred_numa_node)

    @property
    def total_buffers(self) -> int:
        """The number of all receive buffers of the adapter."""
        return self.asked_buffers + BUFFERS_FOR_LATER if self.buffers is None else self.buffers

    @property
    def asked_buffers(self) -> int:
        """The number of buffers that the scenario's queues and the default queue request."""
        return self.default_queue_buffers + sum(queue.buffers for queue in self.queue)

    @property
    def ndis_minor(self) -> int:
        """The minor version: NN of NDIS 6.NN."""
        return int(self.ndis_version.split(".")[1])


class TeamSpec(_Table, frozen=True, kw_only=True):
    """``[[team]]``: adapters that receive as one. ``mode`` determines which queues can serve a VM.

    "sum" of queues: switch independent teaming with Hyper-V port or dynamic distribution; a VM's frames
    arrive on the member that has its port. "min" of queues: static teaming or LACP; they arrive on any
    member. "primary": switch independent teaming with an address hash; all frames arrive on the first
    member, and queues are those of "min".
    """

    name: Annotated[
        str, Key(values.check_adapter_name, _ADAPTER_NAME, "unique on the host, among its adapters' too")
    ] = "team0"
    members: Annotated[list[str], Key(members, "1..32 adapters' names", "its adapters; each is in one team")]
    mode: Annotated[
        Literal["sum", "min", "primary"],
        Choice(
            "`sum`: a VM's frames come in on one member; `min`: on any, by the flow's addresses;"
            " `primary`: all frames on the first, queues as in `min`",
        ),
    ] = "min"


class HostSpec(_Table, frozen=True, kw_only=True):
    """``[host]``. With hyper-threading, processors ``2k`` and ``2k+1`` share a core."""

    name: Annotated[
        str,
        Key(
            values.check_identifier,
            _IDENTIFIER,
            "the host's name, HOST in MQTT topics",
            'this machine\'s host name, unfit characters replaced by "-"',
        ),
    ] = ""
    cpus: Annotated[int, whole(1, MAX_CPUS, "simulated logical processors; each is a worker process")] = 8
    hyperthreading: Annotated[bool, flag("processors 2k and 2k+1 share a core; needs an even `cpus`")] = False
    numa_nodes: Annotated[
        int, whole(1, MAX_CPUS, "processors are split evenly among the nodes; divides `cpus`")
    ] = 1

    windows: Annotated[
        Windows | None,
        Choice("release of Windows Server: which features and lines of advice there are", "not known"),
    ] = None
    group_sizes: Annotated[
        list[int] | None,
        Key(
            sizes,
            "array of integers 1..64 that add up to `cpus`",
            "processors of each processor group",
            "whole NUMA nodes, at most 64 processors",
        ),
    ] = None

    @property
    def processors(self) -> HostProcessors:
        """The processors in their groups and nodes; the keys must be checked before."""
        sizes = tuple(self.group_sizes or ())
        return host_processors(self.cpus, self.numa_nodes, self.hyperthreading, sizes)

    def placed(self, adapter: AdapterSpec) -> AdapterSpec:
        """Return the adapter with its queues without ``cpu`` on the processors of its set in turn."""
        if all(queue.cpu is not None for queue in adapter.queue):
            return adapter
        in_turn = cycle(self.processors.configured(adapter.set_keys) or (0,))
        queues = [
            msgspec.structs.replace(queue, cpu=next(in_turn)) if queue.cpu is None else queue
            for queue in adapter.queue
        ]
        return msgspec.structs.replace(adapter, queue=queues)


class CpuSpec(_Table, frozen=True, kw_only=True):
    """``[cpu]``: the cost model of receive processing on a simulated processor.

    With the defaults, one processor saturates near 4 Gbit/s of 1,514-byte frames, the middle of the 3 to 5
    Gbit/s that administrators report for hosts without VMQ. The reference page has each key's source.
    """

    clock_ghz: Annotated[float, number(0.001, 1_000_000, "cycles per ns")] = 2.6
    cycles_per_interrupt: Annotated[
        int, whole(0, 1_000_000_000, "taking an interrupt and queueing its DPC")
    ] = 2500
    cycles_per_dpc: Annotated[int, whole(0, 1_000_000_000, "starting and ending a DPC")] = 1500
    cycles_per_frame: Annotated[
        int, whole(0, 1_000_000_000, "a frame's way up: NDIS, switch, delivery to its VM")
    ] = 6000
    cycles_per_byte: Annotated[
        float, number(0, 1000, "copying: the whole frame, under a split the lookahead only")
    ] = 1.0
    moderation_us: Annotated[
        float, number(0, 1_000_000, "from the first frame of an idle queue to its interrupt")
    ] = 50.0
    quota: Annotated[int, whole(1, 65_536, "most frames a DPC takes of a queue")] = 64
    smt_share: Annotated[
        float, number(0.01, 1, "share of the clock left while the hyper-thread sibling serves a queue")
    ] = 0.6
    remote_copy_factor: Annotated[
        float, number(1, 100, "cost of a byte copied from another NUMA node's buffers")
    ] = 1.5


class BalancerSpec(_Table, frozen=True, kw_only=True):
    """``[balancer]``: whether and how queues move between processors when load changes.

    The defaults are this project's own: Microsoft publishes the scheme of Dynamic VMQ but not its values.
    """

    mode: Annotated[
        Literal["off", "dynamic"], Choice("`dynamic`: queues move as load changes; `off`: only by request")
    ] = "off"
    interval_ms: Annotated[
        int, whole(1, 3_600_000, "simulated time between decisions; loads are those since the last one")
    ] = 100
    scale_out: Annotated[
        float, number(0.01, 1, "load of a processor from which on its queues move to others")
    ] = 0.8
    scale_in: Annotated[
        float, number(0, 1, "load up to which a home processor takes its queues back; below `scale_out`")
    ] = 0.4
    cooldown_ms: Annotated[
        int, whole(0, 3_600_000, "simulated time for which a queue stays where it moved to")
    ] = 1000
    max_moves: Annotated[int, whole(1, 4096, "most queues that move at once")] = 4


class FlowSpec(_Table, frozen=True, kw_only=True):
    """``[[traffic.mix.flow]]``: a share of a mix's frames.

    ``mac`` is the destination. Without it, kind "broadcast" uses the broadcast address, "multicast" a group
    address, and "unknown" addresses that no VM has. ``vlan`` None: untagged; 0: a priority tag.
    ``frame_bytes`` is the length without FCS: a number, or "imix" (7 × 60, 4 × 590, 1 × 1,514; a tag adds 4).
    """

    kind: Annotated[
        Literal["unicast", "broadcast", "multicast", "unknown"], Choice("what the destination is")
    ] = "unicast"
    mac: Annotated[
        str | None,
        Key(
            destination,
            "MAC, colons or dashes",
            "the destination MAC; needed for `unicast`",
            "broadcast; 01:00:5e:00:00:fb for `multicast`; 256 addresses nobody has for `unknown`",
        ),
    ] = None
    vlan: Annotated[
        int | None,
        Key(
            partial(values.check_whole, low=0, high=values.MAX_VLAN),
            "integer 0..4094",
            "VID of the 802.1Q tag; 0: a priority tag",
            "no tag",
        ),
    ] = None
    weight: Annotated[
        float, number(1e-6, 1e6, "its share of the mix's frames, against the other flows' weights")
    ] = 1.0
    frame_bytes: Annotated[
        int | Literal["imix"],
        Key(
            values.check_frame_bytes,
            'integer 60..65531, "imix"',
            "length without FCS, a tag adds 4; `imix`: 7 × 60, 4 × 590, 1 × 1514",
        ),
    ] = "imix"


class MixSpec(_Table, frozen=True, kw_only=True):
    """``[[traffic.mix]]``: traffic to one adapter or team; set either ``rate_pps`` or ``rate_gbps``.

    ``pattern``: "steady" spaces frames evenly, "random" puts each frame at a random time within its slot,
    "bursts" sends ``burst_frames`` back to back and then waits.
    """

    adapter: Annotated[
        str | None,
        Key(
            values.check_adapter_name,
            _ADAPTER_NAME,
            "the adapter's or team's name",
            "the host's only adapter",
        ),
    ] = None
    rate_pps: Annotated[
        float | None, number(0.001, 1e9, "frames per second; this or `rate_gbps`", "none")
    ] = None
    rate_gbps: Annotated[
        float | None, number(1e-6, 10_000, "Gbit/s of frames, without FCS, preamble and gap", "none")
    ] = None
    pattern: Annotated[
        Literal["steady", "random", "bursts"],
        Choice(
            "`steady`: evenly spaced; `random`: each anywhere in its slot; `bursts`: groups back to back",
        ),
    ] = "steady"
    burst_frames: Annotated[int, whole(1, 65_536, "frames of a group, for `bursts`")] = 32
    flow: Annotated[list[FlowSpec], Tables("what its frames are", most=MAX_FLOWS, least=1)] = []


class TrafficSpec(_Table, frozen=True, kw_only=True):
    """``[traffic]``: a live engine's traffic. Frame i of a mix depends only on the seed, the mix and i."""

    seed: Annotated[int, whole(0, 2**63 - 1, "the same seed makes the same frames")] = 1
    mix: Annotated[
        list[MixSpec], Tables("what an adapter receives; several of one adapter add up", most=MAX_MIXES)
    ] = []


class Scenario(_Table, frozen=True, kw_only=True):
    """A whole scenario file."""

    host: Annotated[HostSpec, Tables("the host and its processors")] = HostSpec()
    adapter: Annotated[list[AdapterSpec], Tables("its adapters", most=MAX_ADAPTERS, least=1)] = msgspec.field(
        default_factory=lambda: [AdapterSpec()]
    )
    team: Annotated[list[TeamSpec], Tables("teams of its adapters", most=MAX_ADAPTERS)] = []
    cpu: Annotated[CpuSpec, Tables("what serving frames costs a processor")] = CpuSpec()
    balancer: Annotated[BalancerSpec, Tables("whether queues move between processors as load changes")] = (
        BalancerSpec()
    )
    traffic: Annotated[TrafficSpec | None, Tables("what a live engine receives; left out: no frames")] = None
