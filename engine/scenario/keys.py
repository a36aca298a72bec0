"""Every key of a scenario file: how its value is read, what fits, and what it means.

The loader reads files by this registry and the reference page is checked against it. Defaults stand in
``model``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from engine.scenario import model, values

KeyPath = tuple[str | int, ...]
"""Where a value stands: ("adapter", 0, "queue", 3) is ``adapter[0].queue[3]``."""

MAX_CPUS: Final = 256
MAX_QUEUES: Final = 4096
MAX_FILTERS: Final = 65_536
MAX_ADAPTERS: Final = 256
MAX_MIXES: Final = 256
MAX_MEMBERS: Final = 32
MAX_FLOWS: Final = 4096


@dataclass(frozen=True)
class Key:
    """A key with a single value. ``read`` returns the value to use or raises ``ValueError``.

    ``default`` says in words what holds when the key is left out and the model's default doesn't tell.
    """

    read: Callable[[object], object]
    fits: str
    help: str
    default: str = ""


@dataclass(frozen=True)
class Tables:
    """A key that holds tables of type ``row``: an array of at most ``most``, or one where that is None."""

    row: type[msgspec.Struct]
    help: str
    most: int | None = None
    least: int = 0


def _whole(low: int, high: int, text: str, default: str = "") -> Key:
    return Key(partial(values.check_whole, low=low, high=high), f"integer {low}..{high}", text, default)


def _number(low: float, high: float, text: str, default: str = "") -> Key:
    return Key(
        partial(values.check_number, low=low, high=high), f"number {low:.12g}..{high:.12g}", text, default
    )


def _flag(text: str) -> Key:
    return Key(values.check_flag, "true, false", text)


def _choice(choices: tuple[str, ...], text: str) -> Key:
    return Key(partial(values.check_choice, choices=choices), ", ".join(f'"{c}"' for c in choices), text)


def _check_index(value: object) -> int:
    if isinstance(value, int) and values.is_whole(value):
        return value
    raise ValueError(f"{values.show(value)} is not a whole number")


def _destination(value: object) -> str:
    return values.format_mac(values.parse_address(value))


def _members(value: object) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MEMBERS:
        raise ValueError(f"{values.show(value)} is not an array of 1..{MAX_MEMBERS} adapters' names")
    return [values.check_adapter_name(one) for one in value]


_IDENTIFIER = "1..64 of A-Z a-z 0-9 _ . -"
_NAME = "1..256 printable characters"
_ADAPTER_NAME = f"{_NAME}, no blank at either end"
_VLAN = Key(
    values.check_vlan, '1..4094, "untagged"', "the VLAN test; `untagged` also passes VID 0", "any tagging"
)
_MAC = Key(values.normal_mac, "unicast MAC, colons or dashes", "the destination MAC")

KEYS: Final[Mapping[type[msgspec.Struct], Mapping[str, Key | Tables]]] = {
    model.Scenario: {
        "host": Tables(model.HostSpec, "the host and its processors"),
        "adapter": Tables(model.AdapterSpec, "its adapters", most=MAX_ADAPTERS, least=1),
        "team": Tables(model.TeamSpec, "teams of its adapters", most=MAX_ADAPTERS),
        "cpu": Tables(model.CpuSpec, "what serving frames costs a processor"),
        "balancer": Tables(model.BalancerSpec, "whether queues move between processors as load changes"),
        "traffic": Tables(model.TrafficSpec, "what a live engine receives; left out: no frames"),
    },
    model.HostSpec: {
        "name": Key(
            values.check_identifier,
            _IDENTIFIER,
            "the host's name, HOST in MQTT topics",
            'this machine\'s host name, unfit characters replaced by "-"',
        ),
        "cpus": _whole(1, MAX_CPUS, "simulated logical processors; each is a worker process"),
        "hyperthreading": _flag("processors 2k and 2k+1 share a core; needs an even `cpus`"),
        "numa_nodes": _whole(1, MAX_CPUS, "processors are split evenly among the nodes; divides `cpus`"),
    },
    model.AdapterSpec: {
        "name": Key(values.check_adapter_name, _ADAPTER_NAME, "unique on the host"),
        "ndis_version": Key(
            values.check_ndis_version, '"6.20".."6.99"', "before 6.30 an adapter may split lookahead"
        ),
        "link_gbps": _number(0.001, 10_000, "link speed; a frame occupies (bytes + 20) × 8 / link_gbps ns"),
        "max_queues": _whole(0, MAX_QUEUES, "receive queues besides the default queue"),
        "max_filters": _whole(0, MAX_FILTERS, "filters on all queues together"),
        "max_frame_bytes": _whole(
            60, values.MAX_FRAME_BYTES, "a longer frame is oversize; a buffer holds so much"
        ),
        "vlan_filtering": _flag("whether a filter may have a VLAN number"),
        "buffers": _whole(
            1,
            (MAX_QUEUES + 1) * values.MAX_BUFFERS,
            "receive buffers in all; at least `default_queue_buffers`",
            "what the queues ask for, and 8192 for those that come later",
        ),
        "default_queue_buffers": _whole(1, values.MAX_BUFFERS, "receive buffers of the default queue"),
        "default_queue_cpu": Key(_check_index, "integer below `host.cpus`", "processor of the default queue"),
        "min_lookahead_bytes": _whole(
            0, values.MAX_FRAME_BYTES, "smallest lookahead split, before NDIS 6.30"
        ),
        "max_lookahead_bytes": _whole(
            0, values.MAX_FRAME_BYTES, "largest lookahead split, before NDIS 6.30; 0: the adapter splits none"
        ),
        "numa_node": Key(_check_index, "integer below `host.numa_nodes`", "node of its receive buffers"),
        "port": Tables(model.PortSpec, "switch ports besides those the queues' filters make", most=65_536),
        "queue": Tables(model.QueueSpec, "receive queues, ids from 1 in file order", most=MAX_QUEUES),
    },
    model.PortSpec: {
        "vm": Key(values.check_name, _NAME, "the VM behind the port"),
        "mac": _MAC,
        "vlan": _VLAN,
    },
    model.QueueSpec: {
        "name": Key(values.check_name, _NAME, "the queue's name", "the VM's, else `queue N`"),
        "vm": Key(values.check_name, _NAME, "the VM whose frames these are", "none"),
        "cpu": Key(
            _check_index, "integer below `host.cpus`", "processor affinity: whose DPC serves the queue"
        ),
        "buffers": _whole(1, values.MAX_BUFFERS, "receive buffers it suggests"),
        "lookahead_bytes": _whole(0, values.MAX_FRAME_BYTES, "above 0 asks for the split, before NDIS 6.30"),
        "return_delay_us": _whole(
            0, 60_000_000, "the VM returns a buffer so long after its indication; 0: in the same DPC"
        ),
        "filter": Tables(
            model.FilterSpec, "a frame that passes any of them is the queue's", most=MAX_FILTERS
        ),
    },
    model.FilterSpec: {"mac": _MAC, "vlan": _VLAN},
    model.TeamSpec: {
        "name": Key(values.check_adapter_name, _ADAPTER_NAME, "unique on the host, among its adapters' too"),
        "members": Key(_members, "1..32 adapters' names", "its adapters; each is in one team"),
        "mode": _choice(
            ("sum", "min"),
            "`sum`: a VM's frames come in on one member; `min`: on any, by the flow's addresses",
        ),
    },
    model.CpuSpec: {
        "clock_ghz": _number(0.001, 1_000_000, "cycles per ns"),
        "cycles_per_interrupt": _whole(0, 1_000_000_000, "taking an interrupt and queueing its DPC"),
        "cycles_per_dpc": _whole(0, 1_000_000_000, "starting and ending a DPC"),
        "cycles_per_frame": _whole(0, 1_000_000_000, "a frame's way up: NDIS, switch, delivery to its VM"),
        "cycles_per_byte": _number(0, 1000, "copying: the whole frame, under a split the lookahead only"),
        "moderation_us": _number(0, 1_000_000, "from the first frame of an idle queue to its interrupt"),
        "quota": _whole(1, 65_536, "most frames a DPC takes of a queue"),
        "smt_share": _number(
            0.01, 1, "share of the clock left while the hyper-thread sibling serves a queue"
        ),
        "remote_copy_factor": _number(1, 100, "cost of a byte copied from another NUMA node's buffers"),
    },
    model.BalancerSpec: {
        "mode": _choice(("off", "dynamic"), "`dynamic`: queues move as load changes; `off`: only by request"),
        "interval_ms": _whole(
            1, 3_600_000, "simulated time between decisions; loads are those since the last one"
        ),
        "scale_out": _number(0.01, 1, "load of a processor from which on its queues move to others"),
        "scale_in": _number(
            0, 1, "load up to which a home processor takes its queues back; below `scale_out`"
        ),
        "cooldown_ms": _whole(0, 3_600_000, "simulated time for which a queue stays where it moved to"),
        "max_moves": _whole(1, 4096, "most queues that move at once"),
    },
    model.TrafficSpec: {
        "seed": _whole(0, 2**63 - 1, "the same seed makes the same frames"),
        "mix": Tables(
            model.MixSpec, "what an adapter receives; several of one adapter add up", most=MAX_MIXES
        ),
    },
    model.MixSpec: {
        "adapter": Key(
            values.check_adapter_name,
            _ADAPTER_NAME,
            "the adapter's or team's name",
            "the host's only adapter",
        ),
        "rate_pps": _number(0.001, 1e9, "frames per second; this or `rate_gbps`", "none"),
        "rate_gbps": _number(1e-6, 10_000, "Gbit/s of frames, without FCS, preamble and gap", "none"),
        "pattern": _choice(
            ("steady", "random", "bursts"),
            "`steady`: evenly spaced; `random`: each anywhere in its slot; `bursts`: groups back to back",
        ),
        "burst_frames": _whole(1, 65_536, "frames of a group, for `bursts`"),
        "flow": Tables(model.FlowSpec, "what its frames are", most=MAX_FLOWS, least=1),
    },
    model.FlowSpec: {
        "kind": _choice(("unicast", "broadcast", "multicast", "unknown"), "what the destination is"),
        "mac": Key(
            _destination,
            "MAC, colons or dashes",
            "the destination MAC; needed for `unicast`",
            "broadcast; 01:00:5e:00:00:fb for `multicast`; 256 addresses nobody has for `unknown`",
        ),
        "vlan": Key(
            partial(values.check_whole, low=0, high=values.MAX_VLAN),
            "integer 0..4094",
            "VID of the 802.1Q tag; 0: a priority tag",
            "no tag",
        ),
        "weight": _number(1e-6, 1e6, "its share of the mix's frames, against the other flows' weights"),
        "frame_bytes": Key(
            values.check_frame_bytes,
            'integer 60..65531, "imix"',
            "length without FCS, a tag adds 4; `imix`: 7 × 60, 4 × 590, 1 × 1514",
        ),
    },
}
