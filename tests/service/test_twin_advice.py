"""Advice on a measured host: what was measured, and the effects of fixes from a run of its twin."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from engine.measure.host import MeasuredHost
from engine.measure.sources import read_measured
from engine.measure.twin import make_twin
from engine.service.twin_check import advise_on
from engine.telemetry.stats import Stats
from tests.advice.windows_judge import host_of, judge
from tests.measure.taken_away import AS_WINDOWS
from tests.measure.test_round_trip import record
from tests.windows_hosts import WindowsHostSample
from vmqtui.cli.scenario import trial_of
from vmqtui.columns import advice as words
from vmqtui.library.lessons import LESSONS


def measured_as_windows(name: str) -> MeasuredHost:
    """A lesson's host as Windows, of which everything is known but what its processors' cycles cost."""
    evidence = trial_of(LESSONS[name]).run()
    assert evidence.before is not None
    config = msgspec.structs.replace(
        evidence.config, system="Windows Server 2012 R2", windows="2012 R2", balancer={}
    )
    return MeasuredHost(f"the lesson {name}", config, [evidence.before, evidence.stats])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rule", "line"),
    [
        ("piled-queues", "piled-queues", "Set-NetAdapterVmq"),
        ("team-overlap", "team-overlap", "Set-NetAdapterVmq"),
        ("idle-queue-held", "idle-queue-held", "Set-VMNetworkAdapter"),
    ],
)
def test_numbers_and_lines_are_the_hosts_and_effects_are_the_twins(name: str, rule: str, line: str) -> None:
    host = measured_as_windows(name)
    diagnosis = advise_on(host, make_twin(host), 0.4)
    one = next(one for one in diagnosis.findings if one.rule == rule)
    assert one.requests == []
    assert any(text.startswith(line) for text in one.commands)
    assert one.adapter in {adapter.name for adapter in host.config.adapters}
    assert one.value is not None
    assert one.modelled == pytest.approx(one.value, rel=0.25)
    assert one.modelled is not None
    assert one.after is not None
    assert one.after < one.modelled
    assert (one.cleared, one.estimated) == (True, False)
    assert "; in a model of the host " in words.effect(one)


@pytest.mark.slow
def test_where_the_twin_has_not_the_problem_the_effect_is_unknown() -> None:
    host = measured_as_windows("piled-queues")
    quiet = make_twin(MeasuredHost("quiet", host.config, [host.readings[0], _same(host)]))
    one = next(one for one in advise_on(host, quiet, 0.2).findings if one.rule == "piled-queues")
    assert (one.after, one.cleared, one.requests) == (None, None, [])
    assert one.modelled is not None
    assert one.modelled < 0.5
    assert one.commands
    assert words.effect(one).endswith("% → unknown")


def _same(host: MeasuredHost) -> Stats:
    """The first reading again, a second later: nothing happened."""
    first = host.readings[0]
    return msgspec.structs.replace(first, seq=first.seq + 1, sim_time_ns=first.sim_time_ns + 1_000_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
def test_lines_for_the_library_as_windows_tells_it_are_right_on_a_windows_host(
    name: str, tmp_path: Path
) -> None:
    lesson = LESSONS[name]
    record(tmp_path / "a.rec", lesson.scenario, AS_WINDOWS, tuple(lesson.interventions))
    measured = read_measured(tmp_path / "a.rec")
    twin = make_twin(measured)
    found = advise_on(measured, twin, 0.4).findings
    assert [str(one) for one in judge(host_of(tomllib.loads(twin.text)), found)] == []
    assert all(one.requests == [] for one in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "host",
    [
        WindowsHostSample("2012 R2"),
        WindowsHostSample("2016", link_gbps=1),
        WindowsHostSample("2019", cores=32, nodes=2),
        WindowsHostSample("2022", vports=True, cores=16, hyperthreading=False),
    ],
    ids=lambda host: host.release,
)
def test_a_windows_host_becomes_a_scenario_that_runs_and_advice_with_right_lines(
    host: WindowsHostSample, tmp_path: Path
) -> None:
    path = tmp_path / "host.json"
    path.write_bytes(host.json())
    measured = read_measured(path)
    twin = make_twin(measured)
    assert twin.remarks == ()
    assert twin.scenario.host.windows == host.release
    assert sum(len(one.queue) for one in twin.scenario.adapter) == host.vms
    diagnosis = advise_on(measured, twin, 0.3)
    assert {one.rule for one in diagnosis.findings} == (
        {"vmq-on-slow-link"} if host.link_gbps < 10 else set()
    )
    assert [str(one) for one in judge(host_of(tomllib.loads(twin.text)), diagnosis.findings)] == []
    by_name = {one.name: one.pps for one in diagnosis.evidence.adapters}
    assert all(by_name.values())
