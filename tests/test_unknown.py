"""Numbers that a measured host does not know, from its messages to what reads them."""

import msgspec
import pytest

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding
from engine.advice.rules import RULES
from engine.advice.thresholds import AdviceThresholds
from engine.bus import codec
from engine.measure.host import MeasuredHost
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats
from tests import measured

HOSTS = pytest.mark.parametrize("host", [measured.linux(), measured.windows()], ids=["linux", "windows"])


def evidence_of(host: MeasuredHost) -> Evidence:
    return Evidence(host.config, host.readings[-1], host.readings[0])


@HOSTS
def test_what_a_measured_host_does_not_know_survives_the_wire(host: MeasuredHost) -> None:
    config = codec.decode(Config, codec.encode(host.config))
    assert msgspec.to_builtins(config) == msgspec.to_builtins(host.config)
    for reading in host.readings:
        decoded = codec.decode(Stats, codec.encode(reading))
        assert msgspec.to_builtins(decoded) == msgspec.to_builtins(reading)


def test_an_adapter_without_a_known_link_has_no_link_use() -> None:
    adapters = {one.name: one for one in evidence_of(measured.linux()).adapters}
    assert adapters["eth0"].link_use == pytest.approx(0.0128)
    assert adapters["eth2"].link_use is None
    assert adapters["eth0"].buffers_left is None
    assert adapters["eth0"].free_queues == 1


def test_a_queue_of_no_known_processor_is_served_by_none() -> None:
    evidence = evidence_of(measured.linux())
    unknown = [one for one in evidence.queues if one.cpu is None]
    assert [one.name for one in unknown] == ["vf 0", "vf 1", "rx-2"]
    assert all(one.processor is None and evidence.serving(one) is None for one in unknown)
    assert not {one.identity for cpu in evidence.cpus for one in cpu.queues} & {
        one.identity for one in unknown
    }


@HOSTS
def test_no_rule_of_the_advisor_needs_what_is_unknown(host: MeasuredHost) -> None:
    evidence = evidence_of(host)
    for rule in RULES.values():
        for finding in rule.look(evidence, AdviceThresholds()):
            assert isinstance(finding, Finding)
            assert "None" not in f"{finding.says} {finding.fix}", finding
