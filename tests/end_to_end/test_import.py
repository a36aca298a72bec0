"""``vmqtui import`` as people type it: a scenario from a recording of a measured host, and its check."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.bus.codec import encode
from engine.measure.host import MeasuredHost
from engine.scenario.load import load, loads
from engine.telemetry.recorder import Recorder
from tests import measured
from tests.end_to_end.conftest import Here
from tests.windows_hosts import WindowsHostSample


def record(path: Path, *hosts: MeasuredHost) -> Path:
    """A recording of measured hosts, as ``vmqtui record`` writes one."""
    with Recorder(path, limit_bytes=1 << 30) as recorder:
        for one in hosts:
            recorder.message(one.config.host, "config", encode(one.config))
            for stats in one.readings:
                recorder.reading(one.config.host, stats)
    return path


@pytest.mark.parametrize("make", [measured.linux, measured.windows])
def test_a_recorded_host_becomes_a_scenario_that_runs_beside_what_was_measured(
    make: Callable[[], MeasuredHost], tmp_path: Path, here: Here
) -> None:
    host = make()
    done = here("import", record(tmp_path / "a.rec", host), "--seconds", "0.2")
    assert done.status == 0
    scenario = loads(done.out, "printed")
    assert scenario.host.name == host.config.host
    assert "the twin ran for 0.15 s, beside 3 s measured:" in done.err
    assert "not all within 10 %: processor" in done.err
    assert "not measured: what frames cost a processor" in done.err


def test_a_file_is_written_and_replaced_only_if_asked(tmp_path: Path, here: Here) -> None:
    source, output = record(tmp_path / "a.rec", measured.windows()), tmp_path / "twin.toml"
    first = here("import", source, "-o", output, "--seconds", "0.2")
    assert (first.status, first.out) == (0, "")
    assert load(output).host.name == "lab-windows"
    assert list(tmp_path.glob("*.part")) == []
    again = here("import", source, "-o", output, "--seconds", "0.2")
    assert (again.status, again.out) == (2, "")
    assert again.err == f"error: {output}: is there already; another name, or --force to replace it\n"
    assert here("import", source, "-o", output, "--force", "--seconds", "0.2").status == 0


def test_the_document_has_the_scenario_and_each_compared_number(tmp_path: Path, here: Here) -> None:
    source = record(tmp_path / "a.rec", measured.linux(), measured.windows())
    document = here("import", source, "--host", "lab-windows", "--json", "--seconds", "0.2").document
    assert (document["schema"], document["host"]) == ("vmq.import/1", "lab-windows")
    assert (document["readings"], document["seconds"]) == (4, 3.0)
    assert loads(document["scenario"], "its text").host.name == "lab-windows"
    assert document["sources"]["adapters"]["Ethernet 2"] == {"received_frames": "derived"}
    rows = {(one["measure"], one["where"]): one for one in document["check"]["rows"]}
    assert rows["load", "processor 0:2"]["measured"] == pytest.approx(0.3)
    assert rows["load", "processor 0:2"]["error"] < -0.9
    assert rows["share", "Ethernet 2, queue 1 (web-01)"]["twin"] == pytest.approx(0.4, rel=0.2)
    drops = rows["drops", "Ethernet 2"]
    assert (drops["measured"], drops["twin"], drops["error"]) == (None, 0, None)
    assert document["values"]["assumed"] > 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[host]\ncpus = 4\n", "a scenario, or another TOML file"),
        (b"", "empty"),
        (b"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00", "a capture (pcapng)"),
    ],
)
def test_a_file_that_is_no_source_ends_with_2_and_what_it_looks_like(
    content: bytes, says: str, tmp_path: Path, here: Here
) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    done = here("import", path, "--json")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {path}: {says}")


def test_of_several_hosts_one_is_named(tmp_path: Path, here: Here) -> None:
    source = record(tmp_path / "a.rec", measured.linux(), measured.windows())
    done = here("import", source)
    assert (done.status, done.out) == (2, "")
    assert "lab-linux, lab-windows fits" in done.err


def test_advice_on_a_measured_host_has_its_findings_and_the_effects_of_a_model(
    tmp_path: Path, here: Here
) -> None:
    source = record(tmp_path / "a.rec", measured.linux(), _crowded())
    done = here("advise", source, "--host", "lab-windows", "--seconds", "0.2")
    assert done.status == 0
    assert "recording a.rec of host lab-windows: 3 s looked at" in done.out
    assert "effects are those of a model of the host (vmqtui import): " in done.out
    assert "    not measured: what frames cost a processor (" in done.out
    assert "vmq-on-slow-link" in done.out
    assert "Disable-NetAdapterVmq" in done.out or "Set-NetAdapterVmq -Name 'Ethernet 2'" in done.out
    document = here("advise", source, "--host", "lab-windows", "--seconds", "0.2", "--json").document
    assert document["host"] == "lab-windows"
    (finding,) = document["findings"]
    assert (finding["rule"], finding["requests"], finding["value"]) == ("vmq-on-slow-link", [], 2)
    assert finding["modelled"] == 2
    assert document["totals"]["offered_pps"] == pytest.approx(3000)
    assert document["model"]["totals"]["offered_pps"] == pytest.approx(3000, rel=0.1)
    assert "loads compared" in document["model"]["check"]


def _crowded() -> MeasuredHost:
    """The Windows host with a link of 1 Gbit/s, whose bytes are known."""
    host = measured.windows()
    adapters = [msgspec.structs.replace(one, link_gbps=1.0) for one in host.config.adapters]
    readings = []
    for n, one in enumerate(host.readings):
        (counted,) = one.adapters.values()
        port = {**counted.port, "offered_bytes": 1_500_000 * n}
        readings.append(
            msgspec.structs.replace(one, adapters={"Ethernet 2": msgspec.structs.replace(counted, port=port)})
        )
    config = msgspec.structs.replace(host.config, adapters=adapters)
    return MeasuredHost(host.origin, config, readings)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--scenario", "x.toml"), "--scenario: "),
        (("--capture", "x.pcap"), "--capture: is for a model, and SOURCE is a measured host"),
        (("--host", "nobody"), 'holds no reading of host "nobody" (lab-windows fits)'),
    ],
)
def test_what_does_not_go_with_a_measured_host_ends_with_2(
    arguments: tuple[str, ...], says: str, tmp_path: Path, here: Here
) -> None:
    done = here("advise", record(tmp_path / "a.rec", measured.windows()), *arguments)
    assert (done.status, done.out) == (2, "")
    assert says in done.err


def test_a_host_without_rates_becomes_a_scenario_without_traffic(tmp_path: Path, here: Here) -> None:
    path = tmp_path / "host.json"
    path.write_bytes(WindowsHostSample(seconds=0).json())
    done = here("import", path)
    assert done.status == 0
    scenario = loads(done.out, "printed")
    assert [len(one.queue) for one in scenario.adapter] == [2, 2]
    assert scenario.traffic is not None
    assert scenario.traffic.mix == []
    assert "the scenario has no traffic, and is not compared with the host" in done.err
    document = here("import", path, "--json").document
    assert (document["check"], document["check_failed"]) == (None, "no time passed between its readings")
    advised = here("advise", path)
    assert (advised.status, advised.out) == (2, "")
    assert "no time passed between its readings, so nothing can be said" in advised.err
