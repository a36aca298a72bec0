"""Prometheus: the registry of metrics, and readings in its text format, version 0.0.4.

Most metrics are counters of ``engine.ndis.counters``, renamed by Prometheus's conventions: counters end in
``_total``, preceded by the thing counted and its base unit: ``vmq_queue_steered_frames_total``.
(https://prometheus.io/docs/practices/naming/)

``prometheus_client`` creates an object for every sample: with 1,024 queues it takes ten times as long as
this module. The tests check the output with that library's parser and ``promtool``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from engine.bus.host_view import HostView
from engine.bus.watcher import Watcher
from engine.ndis import counters
from engine.ndis.counters import Counter
from engine.telemetry.stats import AdapterStats, Columns, Source, known
from engine.view.index import AdapterIndex, ConfigIndex

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True)
class Metric:
    """A family of series: ``name`` with the labels ``labels``.

    Its value is the counter named ``source``, multiplied by ``scale`` if that is set.
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
QUEUE: Final = _family(
    "queue",
    _OF_QUEUE,
    (*counters.QUEUE, *counters.QUEUE_GAUGES, *counters.QUEUE_LATENCY, *counters.QUEUE_OF_MEASURED),
)
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
ENGINE_INFO: Final = Metric("vmq_engine_info", "gauge", "The engine; always 1.", ("host", "version", "kind"))
SOURCE: Final = Metric(
    "vmq_column_source_info",
    "gauge",
    "How a measured host knows a column of counters (exact, derived, guessed); always 1.",
    (*_OF_ADAPTER, "column", "source"),
)

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
    CONNECTED, LEFT_OUT, UNDECODABLE, CLOSED, UP, ENGINE_INFO, SOURCE, *HOST, LINK, *PORT, *INTERFACE,
    QUEUE_INFO, *QUEUE, *FREED, REASON, *FILTER, *CPU,
)  # fmt: skip
"""All metrics, in the order of the output."""


CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SERIES_LIMIT: Final = 250_000
"""Limit of series in a document. Hosts are added in order of name; one that exceeds it is left out."""
SILENT_S: Final = 5.0
"""A host is down if no reading arrives for this long, or for five intervals if that is longer."""

LABEL_CHARACTERS: Final = 256
"""Longer label values are cut; no engine sends any."""

Samples = dict[Metric, list[str]]
"""The lines of each metric."""


def exposition(
    watcher: Watcher, now: float, *, filters: bool = False, limit: int = SERIES_LIMIT, closed: int = 0
) -> str:
    """Return all readings as one document.

    ``now`` is a time of ``time.monotonic``; ``closed`` counts the connections that the endpoint closed. A
    host that is offline or silent has only ``vmq_engine_up`` 0, so that its other series end.
    """
    found: Samples = defaultdict(list)
    series = left_out = 0
    for name, view in sorted(watcher.hosts.items()):
        reports = is_up(view, now)
        samples = host_samples(name, view, filters=filters) if reports else None
        count = 1 + (sum(map(len, samples.values())) if samples else 0)
        if series + count > limit:
            left_out += 1
            continue
        series += count
        found[UP].append(_line(UP, (name,), int(samples is not None)))
        for metric, lines in (samples or {}).items():
            found[metric] += lines
    found[CONNECTED].append(_line(CONNECTED, (), int(watcher.state == "connected")))
    found[LEFT_OUT].append(_line(LEFT_OUT, (), left_out + watcher.left_out_hosts))
    found[UNDECODABLE].append(_line(UNDECODABLE, (), watcher.undecodable))
    found[CLOSED].append(_line(CLOSED, (), closed))
    parts: list[str] = []
    for metric in METRICS:
        if found.get(metric):
            parts += (f"# HELP {metric.name} {_help(metric.help)}", f"# TYPE {metric.name} {metric.kind}")
            parts += found[metric]
    return "\n".join(parts) + "\n"


def is_up(view: HostView, now: float) -> bool:
    """Whether the host is online and its newest reading is recent and readable."""
    if not view.online or view.status is None or view.received_monotonic is None:
        return False
    if view.stats is None or view.stats_unreadable:
        return False
    return now - view.received_monotonic <= max(SILENT_S, 5e-9 * view.status.interval_ns)


def host_samples(host: str, view: HostView, *, filters: bool) -> Samples | None:
    """Return the samples of a host; None before its first reading."""
    stats, index = view.stats, ConfigIndex(view.config)
    if stats is None:
        return None
    found: Samples = defaultdict(list)
    version, kind = (view.status.version, view.status.kind) if view.status is not None else ("", "")
    found[ENGINE_INFO].append(_line(ENGINE_INFO, (host, version, kind), 1))
    for metric in HOST:
        if (value := getattr(stats, metric.source)) is not None:
            found[metric].append(_line(metric, (host,), _scaled(value, metric)))
    cpus = [f'{{host="{_escaped(host)}",cpu="{cpu}"}}' for cpu in stats.cpus.get("id", [])]
    _columns(found, CPU, stats.cpus, cpus)
    _sources(found, (host, ""), stats.sources)
    for name, adapter in stats.adapters.items():
        labels = (host, name)
        _sources(found, labels, adapter.sources)
        for family, values in (
            (PORT, adapter.port),
            (INTERFACE, adapter.interface or {}),
            (FREED, adapter.freed),
        ):
            for metric in family:
                if (cell := values.get(metric.source)) is not None:
                    found[metric].append(_line(metric, labels, cell))
        found[REASON] += [
            _line(REASON, (*labels, reason), count)
            for reason, count in adapter.default_queue.items()
            if count is not None
        ]
        known = index.adapters.get(name)
        if known is not None:
            if (gbps := known.settings.link_gbps) is not None:
                found[LINK].append(_line(LINK, labels, gbps * 1e9 / 8))
            _queues(found, labels, adapter, known)
            if filters:
                _filters(found, labels, adapter, known)
    return found


def _sources(found: Samples, labels: tuple[str, str], sources: Mapping[str, Source] | None) -> None:
    """Add a sample for each column whose source is sent; those of processors have no adapter."""
    found[SOURCE] += [_line(SOURCE, (*labels, *one), 1) for one in (sources or {}).items()]


def _queues(found: Samples, labels: tuple[str, str], adapter: AdapterStats, index: AdapterIndex) -> None:
    """Add samples of the queues with a known configuration; a new queue's may arrive after its reading."""
    host, name = map(_escaped, labels)
    rows: list[str | None] = []
    ids, generations = (known(adapter.queues.get(name, ())) for name in ("id", "generation"))
    for key in zip(ids, generations, strict=False):
        queue = index.by_generation.get(key)
        if queue is None:
            rows.append(None)
            continue
        vm, cpu = queue.vm or "", "" if queue.cpu is None else queue.cpu
        rows.append(f'{{host="{host}",adapter="{name}",queue="{queue.queue_id}",vm="{_escaped(vm)}"}}')
        found[QUEUE_INFO].append(
            _line(
                QUEUE_INFO,
                (*labels, queue.queue_id, vm, queue.name, cpu, queue.state, queue.generation),
                1,
            )
        )
    _columns(found, QUEUE, adapter.queues, rows)


def _filters(found: Samples, labels: tuple[str, str], adapter: AdapterStats, index: AdapterIndex) -> None:
    (metric,) = FILTER
    ids = known(adapter.filters.get("id", ()))
    for number, count in zip(ids, adapter.filters.get(metric.source, []), strict=False):
        if count is not None and (one := index.filters.get(number)) is not None:
            queue = index.queues.get(one.queue_id)
            vm = (queue.vm or "") if queue else ""
            found[metric].append(_line(metric, (*labels, one.queue_id, vm, number), count))


def _columns(found: Samples, family: Iterable[Metric], columns: Columns, rows: Sequence[str | None]) -> None:
    """Add a line for each metric and row; skip unknown cells, and columns that the engine does not send."""
    for metric in family:
        values = columns.get(metric.source)
        if values is None:
            continue
        name = metric.name
        if metric.scale is None:
            found[metric] += [
                f"{name}{row} {value}"
                for row, value in zip(rows, values, strict=False)
                if row is not None and value is not None
            ]
        else:
            found[metric] += [
                f"{name}{row} {value * metric.scale:.9g}"
                for row, value in zip(rows, values, strict=False)
                if row is not None and value is not None
            ]


def _scaled(value: float, metric: Metric) -> str:
    return f"{value}" if metric.scale is None else f"{value * metric.scale:.15g}"


def _line(metric: Metric, values: Sequence[object], value: object) -> str:
    if not values:
        return f"{metric.name} {value}"
    labels = ",".join(
        f'{label}="{_escaped(str(one))}"' for label, one in zip(metric.labels, values, strict=True)
    )
    return f"{metric.name}{{{labels}}} {value}"


def _escaped(value: str) -> str:
    return value[:LABEL_CHARACTERS].replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
