"""Receive queues, the filters set on them, and the switch's ports."""

from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from engine.ndis.states import OPERATIONAL, State
from engine.ndis.steering import TEST_ANY, TEST_UNTAGGED
from engine.scenario.values import Vlan, format_mac

DEFAULT_QUEUE: Final = 0
"""Id of the queue that gets what passes no other queue's filters."""


def vlan_test(vlan: Vlan) -> int:
    """A VLAN test as the low 16 bits of a steering key."""
    if vlan is None:
        return TEST_ANY
    return TEST_UNTAGGED if vlan == "untagged" else vlan


def vlan_of(key: int) -> Vlan:
    """The VLAN test of a steering key, as people write it."""
    test = key & 0xFFFF
    if test == TEST_ANY:
        return None
    return "untagged" if test == TEST_UNTAGGED else test


def key_of(mac: int, vlan: Vlan) -> int:
    """The steering key of a MAC, a 48-bit big-endian number, and a VLAN test."""
    return mac << 16 | vlan_test(vlan)


def describe_key(key: int) -> dict[str, Any]:
    """A steering key as ``mac`` and ``vlan``, as the messages write them."""
    return {"mac": format_mac(key >> 16), "vlan": vlan_of(key)}


def key_in_words(key: int) -> str:
    """A steering key in a sentence."""
    vlan = vlan_of(key)
    if vlan is None:
        return f"{format_mac(key >> 16)} any VLAN"
    return f"{format_mac(key >> 16)} {vlan if vlan == 'untagged' else f'VLAN {vlan}'}"


@dataclass(frozen=True, slots=True)
class Filter:
    """A receive filter: its tests, the queue it is set on, and the driver that set it."""

    filter_id: int
    queue_id: int
    key: int
    driver: str

    def describe(self) -> dict[str, Any]:
        """Its configuration, as in the config message."""
        return {
            "filter_id": self.filter_id,
            "queue_id": self.queue_id,
            **describe_key(self.key),
            "driver": self.driver,
        }


class Port(NamedTuple):
    """A switch port: a VM that the switch gives frames of this MAC and VLAN to."""

    vm: str
    key: int


@dataclass(slots=True)
class Queue:
    """One receive queue.

    ``home_cpu`` is the processor it was given by whoever plans; ``cpu`` is another one while a balancer has
    it elsewhere. ``suggested_buffers`` is what its driver asks for; what it got is in the adapter's
    ``BufferBudget``. ``guest_memory``, decided at completion: its frames are split, the part behind
    ``lookahead_bytes`` lies in its VM's memory. ``filters`` by id.
    """

    queue_id: int
    generation: int
    name: str
    vm: str | None
    cpu: int
    home_cpu: int
    suggested_buffers: int
    driver: str
    lookahead_bytes: int = 0
    return_delay_us: int = 0
    state: State = State.ALLOCATED
    guest_memory: bool = False
    filters: dict[int, Filter] = field(default_factory=dict)

    @property
    def is_default(self) -> bool:
        """Whether this is queue 0."""
        return self.queue_id == DEFAULT_QUEUE

    @property
    def takes_frames(self) -> bool:
        """Whether its filters take frames from the default queue."""
        return self.state is State.RUNNING and not self.is_default

    def copy(self) -> "Queue":
        """A queue that can be changed without changing this one."""
        return replace(self, filters=dict(self.filters))

    def describe(self, vm_paused: bool) -> dict[str, Any]:
        """Its configuration, as in the config message (``buffers`` is what it suggested)."""
        return {
            "queue_id": self.queue_id,
            "generation": self.generation,
            "name": self.name,
            "vm": self.vm,
            "vm_paused": vm_paused,
            "cpu": self.cpu,
            "home_cpu": self.home_cpu,
            "buffers": self.suggested_buffers,
            "lookahead_bytes": self.lookahead_bytes,
            "guest_memory": self.guest_memory,
            "return_delay_us": self.return_delay_us,
            "state": str(self.state),
            "operational_state": str(OPERATIONAL[self.state]),
            "driver": self.driver,
        }
