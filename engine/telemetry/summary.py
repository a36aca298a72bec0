"""The summary message: one host in a table of many, in under 1 KiB."""

from typing import Annotated, Final, Literal

import msgspec

from engine.telemetry.bounds import Count, Nanoseconds, Number

Kind = Literal["model", "measured"]
"""Whether a host's numbers come from the model or from a real host."""

SUMMARY_EVERY_NS: Final = 1_000_000_000

WORST_BYTES: Final = 256


class FindingCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The number of findings of each severity: frames are lost, something costs, worth knowing."""

    bad: Count = 0
    cost: Count = 0
    note: Count = 0


class Summary(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A host in a few numbers. Counters are sums over its adapters and cumulative, as in stats.

    ``dropped_frames`` are all frames that were dropped or lost on their way, queues that were freed included.
    ``busiest_load`` (0..1) is ``busiest_cpu``'s since the summary before; None: unknown. ``worst`` is the
    worst finding in a sentence, None where there is none.
    """

    seq: Count
    time_ns: Nanoseconds
    sim_time_ns: Nanoseconds
    kind: Kind = "model"
    cpus: Count | None = None
    cpus_down: Count | None = None
    adapters: Count | None = None
    queues: Count | None = None
    offered_frames: Count | None = None
    offered_bytes: Count | None = None
    dropped_frames: Count | None = None
    default_queue_frames: Count | None = None
    busiest_cpu: Count | None = None
    busiest_load: Number | None = None
    behind_ns: Nanoseconds | None = None
    findings: FindingCounts | None = None
    worst: Annotated[str, msgspec.Meta(max_length=WORST_BYTES)] | None = None
    schema: Literal["vmq.summary/1"] = "vmq.summary/1"
