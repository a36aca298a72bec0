"""Receive queues and their states, the filters set on them, and the switch's ports.

``TRANSITIONS`` is the only table of queue states (NDIS, "Queue States and Operations"). ``adapter`` has the
special rules of the default queue.
"""

from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Any, Final, NamedTuple

from engine.ndis.steering import TEST_ANY, TEST_UNTAGGED
from engine.scenario.model import MANAGEMENT_OS
from engine.scenario.values import Vlan, format_mac

DEFAULT_QUEUE: Final = 0
"""Id of the queue for frames that pass no other queue's filters."""


class State(StrEnum):
    """A receive queue's state (NDIS, "Queue States and Operations")."""

    UNDEFINED = "undefined"
    ALLOCATED = "allocated"
    SET = "set"
    RUNNING = "running"
    PAUSED = "paused"
    DMA_STOPPED = "dma_stopped"
    FREEING = "freeing"


class OperationalState(Enum):
    """The state that NDIS reports: NDIS_RECEIVE_QUEUE_OPERATIONAL_STATE."""

    UNDEFINED = 0
    RUNNING = 1
    PAUSED = 2
    DMA_STOPPED = 3

    def __str__(self) -> str:
        return self.name.lower()


class Event(StrEnum):
    """Events of a queue: requests, and reports from the data plane."""

    ALLOCATE = "allocate_queue"
    QUERY = "query_queue"
    SET_PARAMETERS = "set_queue_parameters"
    SET_FILTER = "set_filter"
    CLEAR_LAST_FILTER = "clear_filter, last one"
    CLEAR_FILTER = "clear_filter, not the last"
    ENUM_FILTERS = "enum_filters"
    QUERY_FILTER = "query_filter"
    COMPLETE = "complete_allocation"
    FRAME = "frame received"
    FREE = "free_queue"
    DMA_STOPPED = "DMA stopped, indication sent"
    RETURNED = "all indications returned, memory freed"


_UNCHANGED: Final = {state: state for state in (State.ALLOCATED, State.SET, State.RUNNING, State.PAUSED)}

TRANSITIONS: Final[dict[Event, dict[State, State]]] = {
    Event.ALLOCATE: {State.UNDEFINED: State.ALLOCATED},
    Event.QUERY: _UNCHANGED,
    Event.SET_PARAMETERS: _UNCHANGED,
    Event.SET_FILTER: {
        State.ALLOCATED: State.SET,
        State.SET: State.SET,
        State.RUNNING: State.RUNNING,
        State.PAUSED: State.RUNNING,
    },
    Event.CLEAR_LAST_FILTER: {State.SET: State.ALLOCATED, State.RUNNING: State.PAUSED},
    Event.CLEAR_FILTER: {State.SET: State.SET, State.RUNNING: State.RUNNING},
    Event.ENUM_FILTERS: _UNCHANGED,
    Event.QUERY_FILTER: {State.SET: State.SET, State.RUNNING: State.RUNNING},
    Event.COMPLETE: {State.ALLOCATED: State.PAUSED, State.SET: State.RUNNING},
    Event.FRAME: {State.RUNNING: State.RUNNING},
    Event.FREE: {State.ALLOCATED: State.DMA_STOPPED, State.PAUSED: State.DMA_STOPPED},
    Event.DMA_STOPPED: {State.DMA_STOPPED: State.FREEING},
    Event.RETURNED: {State.FREEING: State.UNDEFINED},
}
"""The next state by event and current state. If a state has no entry, the event is invalid in that state."""

OPERATIONAL: Final[dict[State, OperationalState]] = {
    State.UNDEFINED: OperationalState.UNDEFINED,
    State.ALLOCATED: OperationalState.PAUSED,
    State.SET: OperationalState.PAUSED,
    State.RUNNING: OperationalState.RUNNING,
    State.PAUSED: OperationalState.PAUSED,
    State.DMA_STOPPED: OperationalState.DMA_STOPPED,
    State.FREEING: OperationalState.DMA_STOPPED,
}


def vlan_test(vlan: Vlan) -> int:
    """Return the low 16 bits of a steering key for a VLAN test."""
    if vlan is None:
        return TEST_ANY
    return TEST_UNTAGGED if vlan == "untagged" else vlan


def vlan_of(key: int) -> Vlan:
    """Return the VLAN test of a steering key, in the form of a scenario."""
    test = key & 0xFFFF
    if test == TEST_ANY:
        return None
    return "untagged" if test == TEST_UNTAGGED else test


def key_of(mac: int, vlan: Vlan) -> int:
    """Return the steering key of a MAC (a 48-bit big-endian number) and a VLAN test."""
    return mac << 16 | vlan_test(vlan)


def describe_key(key: int) -> dict[str, Any]:
    """Return a steering key as the ``mac`` and ``vlan`` of messages."""
    return {"mac": format_mac(key >> 16), "vlan": vlan_of(key)}


def key_in_words(key: int) -> str:
    """Format a steering key for a sentence: "00:15:5d:00:00:01 VLAN 10"."""
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
        """Return the filter with the keys of the config message."""
        return {
            "filter_id": self.filter_id,
            "queue_id": self.queue_id,
            **describe_key(self.key),
            "driver": self.driver,
        }


class Port(NamedTuple):
    """A switch port: the VM, or MANAGEMENT_OS, to which the switch delivers frames of this MAC and VLAN."""

    vm: str
    key: int

    def describe(self) -> dict[str, Any]:
        """Return the port with the keys of the config message."""
        return {"vm": self.vm, "management_os": self.vm == MANAGEMENT_OS, **describe_key(self.key)}


@dataclass(slots=True)
class Queue:
    """One receive queue.

    ``home_cpu`` is the processor from the scenario or the last request; ``cpu`` differs while a balancer has
    moved the queue. ``suggested_buffers`` is the number that the driver requested; the adapter's
    ``BufferBudget`` has the number that the queue owns. ``guest_memory``, set at completion: frames are
    split, and the part after ``lookahead_bytes`` is in the VM's memory. ``filters`` is keyed by id.
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
        """Whether frames that pass this queue's filters go to it instead of the default queue."""
        return self.state is State.RUNNING and not self.is_default

    def copy(self) -> "Queue":
        """An independent copy."""
        return replace(self, filters=dict(self.filters))

    def describe(self, vm_paused: bool) -> dict[str, Any]:
        """Return the queue with the keys of the config message; ``buffers`` is the suggested number."""
        return {
            "queue_id": self.queue_id,
            "generation": self.generation,
            "name": self.name,
            "vm": self.vm,
            "management_os": self.vm == MANAGEMENT_OS,
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
