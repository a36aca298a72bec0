"""What is read of a data plane between two rounds."""

from dataclasses import dataclass

from engine.kernels.layout import I32, I64


@dataclass(frozen=True, eq=False)
class Reading:
    """Counters of a host at one simulated time: copies, in the layout's columns.

    ``queues`` (slots, QUEUE_ROW), ``latency`` (slots, LATENCY_BUCKETS), ``freed`` (adapters, QUEUE_ROW),
    ``cpus`` (cpus, CPU_ROW), ``top`` (adapters, TOP_PAIRS, TOP_ROW) the sketches of what queues 0 take,
    ``budget_cycles`` by processor (they end at 2**64 - 1, 224 years at 2.6 GHz), ``owner`` (slots,) processor
    or NONE, ``port`` (adapters, PORT_COUNTERS), ``matched`` (filters,).
    """

    sim_time_ns: int
    queues: I64
    latency: I64
    freed: I64
    cpus: I64
    top: I64
    budget_cycles: list[int]
    owner: I32
    port: I64
    matched: I64
