"""The summary message, under 1 KiB: one host's row in a table of hosts."""

from typing import Annotated, Final, Literal

import msgspec

from engine.telemetry.bounds import Count, Nanoseconds, Number

Kind = Literal["model", "measured"]
"""The origin of a host's numbers: the model or a real host."""

SUMMARY_EVERY_NS: Final = 1_000_000_000

WORST_BYTES: Final = 256


class FindingCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of findings by severity: ``bad`` (frames are lost), ``cost`` (something costs resources),
    ``note`` (worth knowing)."""

    bad: Count = 0
    cost: Count = 0
    note: Count = 0


class Summary(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A host in a few numbers. Counters are cumulative, as in stats, and summed over its adapters.

    ``dropped_frames`` counts all frames dropped or lost, including those of freed queues. ``busiest_load``
    (0..1) is the load of ``busiest_cpu`` since the previous summary; None: unknown. ``worst`` is the worst
    finding in a sentence, or None.
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
