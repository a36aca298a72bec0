"""The event message: state changes, the beginning and end of drops, deaths of workers, and others."""

from typing import Literal

import msgspec

from engine.telemetry.bounds import Count, Name, Nanoseconds, Words


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a host. ``cause`` is a sentence for users.

    Kinds: ``queue_state`` (with ``state``), ``queue_freed``, ``queue_free_aborted``, ``vm_paused``,
    ``vm_resumed``, ``vm_removed``, ``vm_migrated`` (``cause`` names the VM), ``drops_begin``, ``drops_end``,
    ``drops_unreported`` (too many to report each), ``worker_died``, ``worker_replaced``, ``worker_down``,
    ``broker_restarted`` (the embedded broker), ``gap_shortened``, ``capture_ended``, ``queue_moved`` (by the
    balancer), ``bad_request``, ``messages_dropped`` (the send queue was full).
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
