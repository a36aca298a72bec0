"""Metrics, judged by Prometheus's own parsers; the Grafana dashboard asks for nothing that is not there."""

import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.bus.codec import encode
from engine.bus.messages import Status
from engine.ndis import counters
from engine.telemetry.stats import known
from tests import measured
from tests.export.lab import INTERFACE, NOW, Known, full_stats
from tests.vmqtui.scripted import VMS, make_config
from vmqtui.export import exposition as metrics
from vmqtui.export.exposition import SILENT_S, exposition

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def text(known: Known, *, filters: bool = True, now: float = NOW, limit: int = 250_000) -> str:
    return exposition(known.as_watcher, now, filters=filters, limit=limit)


def series(document: str) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(document):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def value(found: Series, metric: str, **labels: str) -> float:
    return found[metric, frozenset(labels.items())]


def test_every_counter_of_the_registry_is_there_with_its_value() -> None:
    stats = full_stats()
    found = series(text(Known("hv01")))
    adapter = stats.adapters["nic0"]
    of_adapter = {"host": "hv01", "adapter": "nic0"}
    assert value(found, "vmq_port_offered_bytes_total", **of_adapter) == adapter.port["offered_bytes"]
    assert value(found, "vmq_interface_kernel_dropped_frames_total", **of_adapter) == 3
    assert (
        value(found, "vmq_interface_dropped_frames_total", **of_adapter)
        == INTERFACE["interface_dropped_frames"]
    )
    queues = make_config(VMS).adapters[0].queues
    of_model = [one for one in metrics.QUEUE if one.source in adapter.queues]
    for queue in queues:
        labels = of_adapter | {"queue": str(queue.queue_id), "vm": queue.vm or ""}
        for metric in of_model:
            expected = known(adapter.queues[metric.source])[queue.queue_id] * (metric.scale or 1)
            assert value(found, metric.name, **labels) == pytest.approx(expected)
        told = {"name": queue.name, "cpu": str(queue.cpu), "state": queue.state}
        generation = {"generation": str(queue.generation)}
        assert value(found, "vmq_queue_info", **labels, **told, **generation) == 1
    for cpu in known(stats.cpus["id"]):
        for metric in metrics.CPU:
            assert value(found, metric.name, host="hv01", cpu=str(cpu)) == stats.cpus[metric.source][cpu]
    for reason, count in adapter.default_queue.items():
        assert value(found, "vmq_default_queue_frames_total", **of_adapter, reason=reason) == count
    matched = [count for (name, _), count in found.items() if name == "vmq_filter_matched_frames_total"]
    assert sorted(matched) == sorted(known(adapter.filters["matched_frames"]))
    assert value(found, "vmq_simulated_seconds_total", host="hv01") == pytest.approx(10)
    of_measured = {metrics.SOURCE.name, "vmq_queue_received_bytes_total"}
    assert {name for name, _ in found} == {metric.name for metric in metrics.METRICS} - of_measured


def test_names_and_units_are_by_the_conventions() -> None:
    for metric in metrics.METRICS:
        assert re.fullmatch(r"vmq_[a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not re.search(r"_(ns|ms|us|mbit|gbps|percent)(_|$)", metric.name), metric.name
    of_queues = {metric.source for metric in metrics.QUEUE}
    of_model = (*counters.QUEUE, *counters.QUEUE_GAUGES, *counters.QUEUE_LATENCY)
    assert of_queues == set(counters.names((*of_model, *counters.QUEUE_OF_MEASURED)))


@pytest.mark.parametrize("kind", ["model", "measured"])
def test_promtool_has_nothing_to_say(kind: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    document = text(Known("hv01") if kind == "model" else measured_hosts())
    checked = subprocess.run(["promtool", "check", "metrics"], input=document, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def measured_hosts() -> Known:
    known = Known()
    for host in (measured.linux(), measured.windows()):
        known.add(host.config.host, host.readings[-1], host.config)
        known.hosts[host.config.host].take("status", encode(Status(state="online", kind="measured")))
    return known


def test_what_a_real_queue_received_has_its_bytes() -> None:
    hosts = measured_hosts()
    stats = measured.linux().readings[-1]
    stats.adapters["eth1"].queues["received_bytes"] = [7000, None, 0]
    hosts.hosts["lab-linux"].take("stats", encode(stats))
    found = series(text(hosts))
    where = {"host": "lab-linux", "adapter": "eth1", "vm": ""}
    assert value(found, "vmq_queue_received_bytes_total", **where, queue="0") == 7000
    name = "vmq_queue_received_bytes_total"
    assert (name, frozenset((where | {"queue": "1"}).items())) not in found


def test_what_a_measured_host_does_not_know_has_no_sample() -> None:
    found = series(text(measured_hosts()))
    eth0, eth1 = ({"host": "lab-linux", "adapter": name} for name in ("eth0", "eth1"))
    assert value(found, "vmq_queue_received_frames_total", **eth0, queue="1", vm="") == 1500
    for name, labels in (
        ("vmq_queue_received_frames_total", eth0 | {"queue": "2", "vm": "eth0 vf 0"}),
        ("vmq_queue_dropped_no_buffer_frames_total", eth1 | {"queue": "0", "vm": ""}),
        ("vmq_queue_pending_frames", eth0 | {"queue": "0", "vm": ""}),
        ("vmq_port_offered_bytes_total", eth1),
        ("vmq_cpu_down", {"host": "lab-linux", "cpu": "0"}),
        ("vmq_adapter_link_speed_bytes", {"host": "lab-linux", "adapter": "eth2"}),
    ):
        assert name in {metric.name for metric in metrics.METRICS}
        assert (name, frozenset(labels.items())) not in found
    vf = {"queue": "2", "vm": "eth0 vf 0", "name": "vf 0", "state": "running", "generation": "3"}
    assert value(found, "vmq_queue_info", **eth0, **vf, cpu="") == 1
    assert value(found, "vmq_engine_info", host="lab-linux", version="", kind="measured") == 1


def test_how_a_column_of_a_measured_host_is_known_is_a_label() -> None:
    found = series(text(measured_hosts()))
    of_eth0 = {
        (dict(labels)["column"], dict(labels)["source"])
        for name, labels in found
        if name == "vmq_column_source_info" and ("adapter", "eth0") in labels
    }
    assert of_eth0 == set((measured.linux().readings[-1].adapters["eth0"].sources or {}).items())
    derived = {"adapter": "Ethernet 2", "column": "received_frames", "source": "derived"}
    assert value(found, "vmq_column_source_info", host="lab-windows", **derived) == 1
    of_cpus = {"adapter": "", "column": "busy_cycles", "source": "exact"}
    assert value(found, "vmq_column_source_info", host="lab-linux", **of_cpus) == 1


def test_names_that_could_break_the_format_are_escaped() -> None:
    evil = ('a"b\\c\nd} 7' + "x" * 300)[:256]
    known = Known()
    config = make_config(VMS)
    adapter = config.adapters[0]
    queues = [msgspec.structs.replace(queue, vm=evil + "y") for queue in adapter.queues]
    adapters = [msgspec.structs.replace(adapter, queues=queues)]
    known.add("hv01", full_stats(), msgspec.structs.replace(config, adapters=adapters))
    vms = {dict(labels).get("vm") for name, labels in series(text(known)) if name == "vmq_queue_info"}
    assert vms == {evil}


def test_of_a_host_that_is_offline_or_silent_there_is_only_that_it_is_down() -> None:
    def of_host(known: Known, now: float = NOW) -> Series:
        found = series(text(known, now=now))
        return {key: count for key, count in found.items() if ("host", "hv01") in key[1]}

    down = {("vmq_engine_up", frozenset({("host", "hv01")})): 0.0}
    known = Known("hv01")
    assert len(of_host(known)) > 100
    assert of_host(known, NOW + SILENT_S + 1) == down
    known.hosts["hv01"].take("status", encode(Status(state="offline")))
    assert of_host(known) == down
    known = Known("hv01")
    known.state = "lost"
    assert of_host(known) == down
    assert value(series(text(known)), "vmq_exporter_connected") == 0


def test_a_queue_comes_with_its_configuration_not_before() -> None:
    known = Known()
    config = make_config(VMS)
    adapter = config.adapters[0]
    adapters = [msgspec.structs.replace(adapter, queues=adapter.queues[:-1])]
    known.add("hv01", full_stats(), msgspec.structs.replace(config, adapters=adapters))
    queues = {
        dict(labels)["queue"] for name, labels in series(text(known)) if name == "vmq_queue_pending_frames"
    }
    assert queues == {str(queue.queue_id) for queue in adapter.queues[:-1]}


def test_a_host_whose_readings_cannot_be_read_is_down() -> None:
    known = Known("hv01")
    known.hosts["hv01"].take("stats", b"\xc1")
    known.hosts["hv01"].received_monotonic = NOW
    found = series(text(known))
    assert value(found, "vmq_engine_up", host="hv01") == 0
    assert value(found, "vmq_exporter_undecodable_messages_total") == 1
    assert not any(name.startswith("vmq_queue") for name, _ in found)


def test_series_are_bounded_and_hosts_left_out_are_counted() -> None:
    one = len(series(text(Known("hv01")))) - 3
    found = series(text(Known("hv01", "hv02", "hv03"), limit=2 * one))
    assert {dict(labels).get("host") for _, labels in found} == {None, "hv01", "hv02"}
    assert value(found, "vmq_exporter_left_out_hosts") == 1
    without = series(text(Known("hv01"), filters=False))
    assert not any(name.startswith("vmq_filter") for name, _ in without)


def test_every_expression_of_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    dashboard = json.loads((files("vmqtui.export") / "grafana.json").read_text(encoding="utf-8"))
    labels: dict[str, set[str]] = {}
    for name, of_series in series(text(Known("hv01"), filters=False)):
        labels.setdefault(name, set()).update(dict(of_series))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [one["definition"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    assert len(expressions) > 15
    for expression in expressions:
        named = re.findall(r"\b(vmq_\w+)(?:\{([^}]*)\})?", expression)
        assert named, expression
        for metric, matchers in named:
            assert set(re.findall(r"(\w+)=", matchers)) <= labels[metric], expression
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            known = set().union(*(labels[name] for name in re.findall(r"vmq_\w+", target["expr"])))
            assert shown <= known, panel["title"]
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)


def test_the_busiest_queues_are_by_frames_received_where_those_steered_are_unknown(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    dashboard = json.loads((files("vmqtui.export") / "grafana.json").read_text(encoding="utf-8"))
    (expression,) = (
        target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
        if "steered_frames" in target["expr"]
    )
    for variable, chosen in (("$host", ".*"), ("$adapter", ".*"), ("$__rate_interval", "5m")):
        expression = expression.replace(variable, chosen)
    queue = 'host="h",adapter="eth0",vm="a",queue'
    expected = [{"labels": f'{{{queue}="{number}"}}', "value": rate} for number, rate in ((1, 2), (2, 1))]
    test = {
        "interval": "1m",
        "input_series": [
            {"series": f'vmq_queue_steered_frames_total{{{queue}="1"}}', "values": "0+120x10"},
            {"series": f'vmq_queue_received_frames_total{{{queue}="1"}}', "values": "0+60x10"},
            {"series": f'vmq_queue_received_frames_total{{{queue}="2"}}', "values": "0+60x10"},
        ],
        "promql_expr_test": [
            {
                "expr": expression.replace("$host", ".*")
                .replace("$adapter", ".*")
                .replace("$__rate_interval", "5m"),
                "eval_time": "10m",
                "exp_samples": expected,
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps({"tests": [test]}))
    checked = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_page_on_exports_has_every_metric() -> None:
    page = Path(__file__).parents[2] / "docs" / "exports.md"
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{one.name}` | {one.kind} | {' '.join(f'`{label}`' for label in one.labels)} | {one.help} |"
        for one in metrics.METRICS
    ]
    table = "<!-- metrics -->\n" + "\n".join(lines) + "\n<!-- /metrics -->"
    text = page.read_text(encoding="utf-8")
    if "VMQTUI_UPDATE_SNAPSHOTS" in os.environ:
        text = re.sub("<!-- metrics -->.*?<!-- /metrics -->", lambda _: table, text, flags=re.DOTALL)
        page.write_text(text, encoding="utf-8")
    assert table in text
