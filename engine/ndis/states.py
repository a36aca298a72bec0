"""The states of a receive queue and the one table of what each event does in each of them.

Source: NDIS, "Queue States and Operations". The default queue has rules of its own (``adapter``).
"""

from enum import Enum, StrEnum
from typing import Final


class State(StrEnum):
    """A receive queue's state."""

    UNDEFINED = "undefined"
    ALLOCATED = "allocated"
    SET = "set"
    RUNNING = "running"
    PAUSED = "paused"
    DMA_STOPPED = "dma_stopped"
    FREEING = "freeing"


class OperationalState(Enum):
    """What NDIS reports of a queue: NDIS_RECEIVE_QUEUE_OPERATIONAL_STATE."""

    UNDEFINED = 0
    RUNNING = 1
    PAUSED = 2
    DMA_STOPPED = 3

    def __str__(self) -> str:
        return self.name.lower()


class Event(StrEnum):
    """What can happen to a queue: requests, and what the data plane reports."""

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
"""The next state by event and state. An event without an entry for a state is invalid in it."""

OPERATIONAL: Final[dict[State, OperationalState]] = {
    State.UNDEFINED: OperationalState.UNDEFINED,
    State.ALLOCATED: OperationalState.PAUSED,
    State.SET: OperationalState.PAUSED,
    State.RUNNING: OperationalState.RUNNING,
    State.PAUSED: OperationalState.PAUSED,
    State.DMA_STOPPED: OperationalState.DMA_STOPPED,
    State.FREEING: OperationalState.DMA_STOPPED,
}
