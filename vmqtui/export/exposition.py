"""What engines report as Prometheus's text format, version 0.0.4.

Written here and not by ``prometheus_client``, which makes an object of every sample: 1,024 queues take it
ten times as long. That library's parser and ``promtool`` are the tests' judges.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from engine.bus.host_view import HostView
from engine.bus.watcher import Watcher
from engine.telemetry.config import AdapterConfig, Config
from engine.telemetry.stats import AdapterStats
from vmqtui.export import metrics
from vmqtui.export.metrics import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SERIES_LIMIT: Final = 250_000
"""Hosts whose series would be more, together with those before them by name, are left out, and counted."""
SILENT_S: Final = 5.0
"""A host is down when no reading came for so long, or for five intervals where that is longer."""

LABEL_CHARACTERS: Final = 256
"""What is longer, which no engine's names are, is cut."""

Samples = dict[Metric, list[str]]
"""The lines of each metric."""


def exposition(
    watcher: Watcher, now: float, *, filters: bool = False, limit: int = SERIES_LIMIT, closed: int = 0
) -> str:
    """Everything known, as one document; ``now`` is of ``time.monotonic``, ``closed`` of the endpoint.

    Of a host that is offline or silent there is ``vmq_engine_up`` 0 and nothing else, so that its series end.
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
        found[metrics.UP].append(_line(metrics.UP, (name,), int(samples is not None)))
        for metric, lines in (samples or {}).items():
            found[metric] += lines
    found[metrics.CONNECTED].append(_line(metrics.CONNECTED, (), int(watcher.state == "connected")))
    found[metrics.LEFT_OUT].append(_line(metrics.LEFT_OUT, (), left_out + watcher.left_out_hosts))
    found[metrics.UNDECODABLE].append(_line(metrics.UNDECODABLE, (), watcher.undecodable))
    found[metrics.CLOSED].append(_line(metrics.CLOSED, (), closed))
    parts: list[str] = []
    for metric in metrics.METRICS:
        if found.get(metric):
            parts += (f"# HELP {metric.name} {_help(metric.help)}", f"# TYPE {metric.name} {metric.kind}")
            parts += found[metric]
    return "\n".join(parts) + "\n"


def is_up(view: HostView, now: float) -> bool:
    """Whether the host is online and its readings come, and can be read."""
    if not view.online or view.status is None or view.received_monotonic is None:
        return False
    if view.stats is None or view.stats_unreadable:
        return False
    return now - view.received_monotonic <= max(SILENT_S, 5e-9 * view.status.interval_ns)


def host_samples(host: str, view: HostView, *, filters: bool) -> Samples | None:
    """The series of a host; None before its first reading."""
    stats, config = view.stats, view.config
    if stats is None:
        return None
    found: Samples = defaultdict(list)
    version = view.status.version if view.status is not None else ""
    found[metrics.ENGINE_INFO].append(_line(metrics.ENGINE_INFO, (host, version), 1))
    for metric in metrics.HOST:
        if (value := getattr(stats, metric.source)) is not None:
            found[metric].append(_line(metric, (host,), _scaled(value, metric)))
    cpus = [f'{{host="{_escaped(host)}",cpu="{cpu}"}}' for cpu in stats.cpus.get("id", [])]
    _columns(found, metrics.CPU, stats.cpus, cpus)
    for name, adapter in stats.adapters.items():
        labels = (host, name)
        for family, values in (
            (metrics.PORT, adapter.port),
            (metrics.INTERFACE, adapter.interface or {}),
            (metrics.FREED, adapter.freed),
        ):
            for metric in family:
                if metric.source in values:
                    found[metric].append(_line(metric, labels, values[metric.source]))
        found[metrics.REASON] += [
            _line(metrics.REASON, (*labels, reason), count) for reason, count in adapter.default_queue.items()
        ]
        settings = _settings(config, name)
        if settings is not None:
            bytes_a_second = settings.link_gbps * 1e9 / 8
            found[metrics.LINK].append(_line(metrics.LINK, labels, bytes_a_second))
            _queues(found, labels, adapter, settings)
            if filters:
                _filters(found, labels, adapter, settings)
    return found


def _settings(config: Config | None, adapter: str) -> AdapterConfig | None:
    return next((one for one in config.adapters if one.name == adapter), None) if config else None


def _queues(found: Samples, labels: tuple[str, str], adapter: AdapterStats, settings: AdapterConfig) -> None:
    """Series of the queues whose configuration is known; that of a new one comes a moment after it."""
    known = {(queue.queue_id, queue.generation): queue for queue in settings.queues}
    host, name = map(_escaped, labels)
    rows: list[str | None] = []
    ids = adapter.queues.get("id", [])
    for key in zip(ids, adapter.queues.get("generation", []), strict=False):
        queue = known.get(key)
        if queue is None:
            rows.append(None)
            continue
        vm = queue.vm or ""
        rows.append(f'{{host="{host}",adapter="{name}",queue="{queue.queue_id}",vm="{_escaped(vm)}"}}')
        found[metrics.QUEUE_INFO].append(
            _line(
                metrics.QUEUE_INFO,
                (*labels, queue.queue_id, vm, queue.name, queue.cpu, queue.state, queue.generation),
                1,
            )
        )
    _columns(found, metrics.QUEUE, adapter.queues, rows)


def _filters(found: Samples, labels: tuple[str, str], adapter: AdapterStats, settings: AdapterConfig) -> None:
    vms = {queue.queue_id: queue.vm or "" for queue in settings.queues}
    queue_of = {one.filter_id: one.queue_id for one in settings.filters}
    (metric,) = metrics.FILTER
    for number, count in zip(
        adapter.filters.get("id", []), adapter.filters.get(metric.source, []), strict=False
    ):
        if (queue := queue_of.get(number)) is not None:
            found[metric].append(_line(metric, (*labels, queue, vms.get(queue, ""), number), count))


def _columns(
    found: Samples, family: Iterable[Metric], columns: dict[str, list[int]], rows: Sequence[str | None]
) -> None:
    """A line of each metric for each row; a column that the engine does not send is left out."""
    for metric in family:
        values = columns.get(metric.source)
        if values is None:
            continue
        name = metric.name
        if metric.scale is None:
            found[metric] += [
                f"{name}{row} {value}" for row, value in zip(rows, values, strict=False) if row is not None
            ]
        else:
            found[metric] += [
                f"{name}{row} {value * metric.scale:.9g}"
                for row, value in zip(rows, values, strict=False)
                if row is not None
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
