"""The registry of metrics: each counter of ``engine.ndis.counters`` under a name by Prometheus's conventions.

Counters end in ``_total``, units are base units and part of the name, and what is counted stands before them:
``vmq_queue_steered_frames_total``. (https://prometheus.io/docs/practices/naming/)
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from engine.ndis import counters
from engine.ndis.counters import Counter

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True)
class Metric:
    """A family of series: ``name`` with the labels ``labels``; ``source`` is the counter it shows.

    Its value is the counter's by ``scale``.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    source: str = ""
    scale: float | None = None


_UNITS: Final = ("frames", "bytes", "cycles", "buffers", "queues")
_OF_ADAPTER: Final = ("host", "adapter")
_OF_QUEUE: Final = (*_OF_ADAPTER, "queue", "vm")
_NANO: Final = 1e-9


def _named(prefix: str, counter: Counter) -> str:
    name = counter.name.removeprefix(f"{prefix}_")
    if name.endswith("_ns"):
        return f"vmq_{prefix}_{name.removesuffix('_ns')}_seconds"
    if counter.unit in _UNITS and counter.unit not in name:
        name = f"{name}_{counter.unit}"
    return f"vmq_{prefix}_{name}{'' if counter.gauge else '_total'}"


def _family(prefix: str, labels: tuple[str, ...], of: Iterable[Counter]) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            _named(prefix, one),
            "gauge" if one.gauge else "counter",
            one.help,
            labels,
            one.name,
            _NANO if one.unit == "ns" else None,
        )
        for one in of
    )


PORT: Final = _family("port", _OF_ADAPTER, counters.PORT)
INTERFACE: Final = _family("interface", _OF_ADAPTER, counters.INTERFACE)
QUEUE: Final = _family("queue", _OF_QUEUE, (*counters.QUEUE, *counters.QUEUE_GAUGES, *counters.QUEUE_LATENCY))
FREED: Final = tuple(
    replace(one, help=f"Of all queues freed so far: {one.help}")
    for one in _family("freed_queues", _OF_ADAPTER, counters.QUEUE)
)
FILTER: Final = _family("filter", (*_OF_QUEUE, "filter"), counters.FILTER)
CPU: Final = _family("cpu", ("host", "cpu"), (*counters.CPU, *counters.CPU_GAUGES))
REASON: Final = Metric(
    "vmq_default_queue_frames_total",
    "counter",
    "Frames that the default queue took, by the reason that no other queue did.",
    (*_OF_ADAPTER, "reason"),
)
QUEUE_INFO: Final = Metric(
    "vmq_queue_info",
    "gauge",
    "What a queue is now; always 1. Join it on host, adapter and queue.",
    (*_OF_QUEUE, "name", "cpu", "state", "generation"),
)
LINK: Final = Metric("vmq_adapter_link_speed_bytes", "gauge", "Bytes a second of the link.", _OF_ADAPTER)
UP: Final = Metric("vmq_engine_up", "gauge", "1: the engine reports; 0: it is offline or silent.", ("host",))
ENGINE_INFO: Final = Metric("vmq_engine_info", "gauge", "The engine; always 1.", ("host", "version"))

HOST: Final = (
    Metric(
        "vmq_simulated_seconds_total", "counter", "Simulated time since the engine started.", ("host",),
        "sim_time_ns", _NANO,
    ),
    Metric(
        "vmq_reading_timestamp_seconds", "gauge", "When these numbers were read (Unix time).", ("host",),
        "time_ns", _NANO,
    ),
    Metric(
        "vmq_behind_seconds", "gauge", "How late simulated time is.", ("host",), "behind_ns", _NANO
    ),
    Metric(
        "vmq_given_up_seconds_total", "counter", "Simulated time that was given up.", ("host",),
        "given_up_ns", _NANO,
    ),
    Metric(
        "vmq_skipped_seconds_total", "counter", "Simulated time cut out of gaps.", ("host",),
        "skipped_ns", _NANO,
    ),
    Metric(
        "vmq_real_time_ratio", "gauge", "Simulated by wall time, lately.", ("host",), "real_time_ratio"
    ),
)  # fmt: skip

CONNECTED: Final = Metric("vmq_exporter_connected", "gauge", "1: the broker is there.", ())
LEFT_OUT: Final = Metric(
    "vmq_exporter_left_out_hosts", "gauge", "Hosts without series here, as there would be too many.", ()
)
UNDECODABLE: Final = Metric(
    "vmq_exporter_undecodable_messages_total", "counter", "Messages that could not be read.", ()
)
CLOSED: Final = Metric(
    "vmq_exporter_closed_connections_total", "counter", "Connections closed to make room for others.", ()
)

METRICS: Final = (
    CONNECTED, LEFT_OUT, UNDECODABLE, CLOSED, UP, ENGINE_INFO, *HOST, LINK, *PORT, *INTERFACE, QUEUE_INFO,
    *QUEUE, *FREED, REASON, *FILTER, *CPU,
)  # fmt: skip
"""All of them, in the order of the output."""
