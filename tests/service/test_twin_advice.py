"""Advice on a measured host: what was measured, and the effects of fixes from a run of its twin."""

import msgspec
import pytest

from engine.measure.host import MeasuredHost
from engine.measure.twin import make_twin
from engine.service.twin_check import advise_on
from engine.telemetry.stats import Stats
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
