"""``vmqtui export``: a real scrape of a real engine, and the tables of a recording from the command line."""

import csv
import gzip
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.telemetry.recording import Recording
from tests.end_to_end.conftest import Here
from tests.end_to_end.mqtt_client import Reader
from tests.end_to_end.program import Running
from vmqtui.library.lessons import LESSONS
from vmqtui.testing import wait_until


def scrape(url: str, **headers: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        body = response.read()
        if response.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
    families = text_string_to_metric_families(body.decode())
    return {
        (one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples
    }


def test_a_scrape_shows_what_the_engine_reports(lab: str, reader: Reader) -> None:
    exporter = Running("export", "prometheus", "--broker", lab, "--listen", "127.0.0.1:0")
    url = exporter.first_line()
    assert url.startswith("http://127.0.0.1:")
    up = ("vmq_engine_up", frozenset({("host", "lab")}))
    wait_until(lambda: scrape(url).get(up) == 1, what="the engine")
    reader.messages["stats"].clear()
    reader.next_stats()
    found = scrape(url, **{"Accept-Encoding": "gzip"})
    shown = {
        dict(labels)["adapter"]: value
        for (name, labels), value in found.items()
        if name == "vmq_port_offered_frames_total"
    }

    def reported() -> list[dict[str, float]]:
        readings = [stats["adapters"] for stats in reader.messages["stats"]]
        return [{name: one["port"]["offered_frames"] for name, one in each.items()} for each in readings]

    wait_until(lambda: shown in reported(), what="the reading that was scraped")
    queues = {labels for name, labels in found if name == "vmq_queue_steered_frames_total"}
    assert len(queues) == sum(len(one["queues"]["id"]) for one in reader.last("stats")["adapters"].values())

    for status, headers, path in ((421, {"Host": "rebound.example"}, ""), (404, {}, "/more"), (405, {}, "")):
        request = urllib.request.Request(
            url + path, headers=headers, method="POST" if status == 405 else "GET"
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == status
    assert exporter.end(signal.SIGTERM) == 0


@pytest.mark.slow
def test_a_taken_port_ends_with_a_sentence(lab: str) -> None:
    first = Running("export", "prometheus", "--broker", lab, "--listen", "127.0.0.1:0")
    address = first.first_line().removeprefix("http://").removesuffix("/metrics")
    second = Running("export", "prometheus", "--broker", lab, "--listen", address).wait(60)
    assert (second.status, second.out) == (1, "")
    assert second.err.startswith(f"error: --listen: {address}: ")
    assert first.end(signal.SIGINT) == 130


def test_a_recording_becomes_tables(lab: str, here: Here, tmp_path: Path) -> None:
    recording, parquet = tmp_path / "lab.vmqrec", tmp_path / "lab.parquet"
    assert here("record", recording, "--broker", lab, "--duration", "0.3").status == 0
    printed = here("export", "csv", recording, "--table", "adapters")
    assert (printed.status, printed.err) == (0, "")
    rows = list(csv.DictReader(printed.out.splitlines()))
    assert {row["host"] for row in rows} == {"lab"}
    offered = [int(row["offered_frames"]) for row in rows if row["adapter"] == rows[0]["adapter"]]
    assert offered == sorted(offered)

    written = here("export", "parquet", recording, "-o", parquet)
    assert (written.status, written.err) == (0, "")
    assert written.out.endswith("rows of queues\n")
    assert parquet.read_bytes()[:4] == b"PAR1"
    again = here("export", "parquet", recording, "-o", parquet)
    assert (again.status, again.err) == (
        2,
        f"error: {parquet}: is there already; another name, or --force to replace it\n",
    )
    assert here("export", "parquet", recording, "-o", parquet, "--force").status == 0

    wrong = here("export", "csv", parquet)
    assert (wrong.status, wrong.out) == (2, "")
    assert here("export", "csv", recording, "--table", "queue").err.startswith(
        "error: --table: 'queue' is not"
    )
    assert here("export", "csv", recording, "--host", "x").err.startswith("error: --host: 'x' is not in")


@pytest.mark.slow
def test_a_recording_of_two_adapters_is_exported_without_a_reading_left_out(
    here: Here, tmp_path: Path
) -> None:
    recording = tmp_path / "team.vmqrec"
    scenario = tmp_path / "team.toml"
    scenario.write_text(LESSONS["team-overlap"].toml, encoding="utf-8")
    engine = Running("engine", "--scenario", scenario, "--interval", "0.05")
    assert here("record", recording, "--broker", engine.first_line(), "--duration", "1.5").status == 0
    assert engine.end() == 0
    with Recording(recording) as opened:
        seqs = [opened.stats("lab", place).seq for place in range(len(opened.hosts["lab"].offsets))]
    assert len(seqs) >= 3
    printed = here("export", "csv", recording)
    assert (printed.status, printed.err) == (0, "")
    rows = list(csv.DictReader(printed.out.splitlines()))
    for adapter in ("nic0", "nic1"):
        queue = [row for row in rows if (row["adapter"], row["queue_id"]) == (adapter, "1")]
        assert [int(row["seq"]) for row in queue] == seqs
        assert len({row["generation"] for row in queue}) == 1
        steered = [int(row["steered_frames"]) for row in queue]
        assert steered[-1] > 0
        assert steered == sorted(steered)


def test_the_dashboard_for_grafana_is_one_document(here: Here) -> None:
    printed = here("export", "grafana")
    assert printed.status == 0
    assert json.loads(printed.out)["uid"] == "vmqtui"
