"""Numbers that a measured host does not know, from its messages to what reads them."""

from dataclasses import dataclass

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
from engine.view.host_tables import HostTables
from engine.view.index import ConfigIndex
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


def test_frames_of_a_queue_are_those_received_where_those_steered_are_unknown() -> None:
    adapters = {one.name: one for one in evidence_of(measured.linux()).adapters}
    assert [one.pps for one in adapters["eth0"].queues] == [1100, 500, None, None]
    assert [one.pps for one in adapters["eth1"].queues] == [2000, 200, 20]
    assert [one.mbits for one in adapters["eth1"].queues] == [None, None, None]
    assert adapters["eth0"].steered_rate is None
    assert [one.share for one in adapters["eth0"].queues] == [None] * 4
    assert adapters["eth1"].steered_rate == 2220
    assert adapters["eth1"].default_pps == 2000
    assert adapters["eth1"].queues[1].share == pytest.approx(200 / 2220)
    assert adapters["eth0"].reason("broadcast") is None


def test_a_sum_over_the_queues_of_a_processor_is_unknown_if_one_of_them_is() -> None:
    cpus = evidence_of(measured.linux()).cpus
    assert [[one.adapter for one in cpu.queues] for cpu in cpus] == [
        ["eth0", "eth2"],
        ["eth0"],
        ["eth1"],
        ["eth1"],
    ]
    assert [cpu.drops for cpu in cpus] == [None, 0, None, None]
    assert [cpu.backlog for cpu in cpus] == [None] * 4
    assert [cpu.load for cpu in cpus] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_a_queues_part_of_a_load_is_unknown_without_the_costs_of_its_frames() -> None:
    evidence = evidence_of(measured.linux())
    assert [cpu.share(cpu.queues[0]) for cpu in evidence.cpus] == [None] * 4


def test_a_queue_that_began_again_has_no_rate_and_never_a_negative_one() -> None:
    host = measured.linux()
    before, now = host.readings[2], host.readings[3]
    eth1 = now.adapters["eth1"]
    queues = eth1.queues | {"generation": [4, 2, 3], "received_frames": [7, 600, 60]}
    restarted = msgspec.structs.replace(eth1, queues=queues)
    now = msgspec.structs.replace(now, adapters=now.adapters | {"eth1": restarted})
    found = [one for one in Tables(host.config, now, before).queues if one.adapter == "eth1" and one.row >= 0]
    assert {one.generation: one.pps for one in found} == {2: 200, 3: 20, 4: None}
    assert {one.steered_rate for one in found} == {220}


@dataclass(frozen=True, eq=False)
class Tables(HostTables):
    """Rows of a moment with what only one of configuration and reading has."""

    config: Config
    stats: Stats
    before: Stats | None


def test_a_set_that_depends_on_what_is_unknown_is_unknown() -> None:
    config = measured.windows_config()
    adapter = config.adapters[0]

    def processor_set(preferred: int | None = None, **changes: object) -> tuple[int, ...] | None:
        adapters = [msgspec.structs.replace(adapter, preferred_numa_node=preferred)]
        known = msgspec.structs.replace(config, **{"adapters": adapters, **changes})
        return ConfigIndex(known).adapters["Ethernet 2"].processor_set

    nodes_unknown = [msgspec.structs.replace(one, numa_node=None) for one in config.cpus]
    assert processor_set() == processor_set(0) == (0, 2, 4, 6)
    assert processor_set(hyperthreading=None) is None
    assert processor_set(cpus=nodes_unknown) == (0, 2, 4, 6)
    assert processor_set(0, cpus=nodes_unknown) is None
    assert (
        ConfigIndex(msgspec.structs.replace(config, hyperthreading=None)).processors.line_for([0, 2]) is None
    )
