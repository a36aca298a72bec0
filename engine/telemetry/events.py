"""The event message: changes by requests, the beginning and end of drops, deaths of workers, and others."""

from typing import Literal, NamedTuple

import msgspec

from engine.telemetry.bounds import Count, Name, Nanoseconds, Words


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a host. ``cause`` is a sentence for users.

    Kinds: ``queue_state`` (with the new ``state``), ``queue_freed``, ``queue_free_aborted``, ``queue_moved``
    (by a request, the balancer, or another interrupt affinity), ``queue_changed``, ``filter_changed``,
    ``vm_paused``, ``vm_resumed``, ``vm_removed``, ``vm_migrated`` (``cause`` names the VM),
    ``adapter_changed``, ``balancer_changed``, ``traffic_changed``, ``drops_begin``, ``drops_end``,
    ``drops_unreported`` (too many to report each), ``worker_died``, ``worker_replaced``, ``worker_down``,
    ``broker_restarted`` (the embedded broker), ``gap_shortened``, ``capture_ended``, ``bad_request``,
    ``messages_dropped`` (the send queue was full).

    Of measured hosts only: ``adapter_came``, ``adapter_gone``, ``adapter_restarted`` (a new interface of the
    same name), ``channels_changed`` (the number of receive queues in use), ``counters_restarted``,
    ``functions_changed`` (the number of virtual functions), ``link_up``, ``link_down``, ``reading_trouble``
    (something can't be read), ``reading_failed``, ``reading_resumed``, ``reading_late``. Theirs,
    ``filter_changed`` is about a virtual function's MAC or VLAN.
    """

    seq: Count
    sim_time_ns: Nanoseconds
    time_ns: Nanoseconds
    event: Name
    adapter: Name | None = None
    queue_id: Count | None = None
    state: Name | None = None
    cause: Words = ""
    schema: Literal["vmq.event/1"] = "vmq.event/1"


class NewEvent(NamedTuple):
    """An event before it has a number and a time; ``cause`` is a sentence."""

    event: str
    cause: str
    adapter: str | None = None
    queue_id: int | None = None
    state: str | None = None
