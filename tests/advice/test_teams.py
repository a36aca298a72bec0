"""Rules on teams: what they find, and that their fix leaves nothing to find."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding
from engine.advice.rules import findings
from engine.ndis.operations import decode
from engine.telemetry.config import AdapterConfig, Config
from tests.advice.lab import evidence
from tests.vmqtui.scripted import make_config

Members = Sequence[Sequence[tuple[str, int]]]
"""Of each member its queues: VM and processor."""


def team(mode: str, members: Members, *, cpus: int = 8) -> Config:
    """A host of one team."""
    adapters = []
    for number, queues in enumerate(members):
        vms = [("default", None, 0, 0), *((vm, vm, cpu, 0) for vm, cpu in queues)]
        [adapter] = make_config(vms, adapters=(f"nic{number}",), cpus=cpus).adapters
        adapters.append(msgspec.structs.replace(adapter, team="t", team_mode=mode))
    return msgspec.structs.replace(make_config((), cpus=cpus), adapters=adapters)


def found_in(seen: Evidence) -> Finding | None:
    found = [one for one in findings(seen) if one.rule.startswith("team-")]
    assert len(found) <= 1
    return found[0] if found else None


def only(mode: str, *members: Sequence[tuple[str, int]], **seen: Any) -> Finding:
    found = found_in(evidence(team(mode, members), **seen))
    assert found is not None
    return found


def fixed(config: Config, finding: Finding) -> Config:
    """The configuration once the finding's requests were carried out."""
    adapters = {one.name: one for one in config.adapters}
    for request in finding.requests:
        decode(request.op, request.params)
        adapter = adapters[request.params["adapter"]]
        if request.op == "set_adapter":
            keys = {key: value for key, value in request.params.items() if key != "adapter"}
            adapters[adapter.name] = msgspec.structs.replace(adapter, **keys)
            continue
        assert request.op == "set_queue_parameters"
        queues = [
            msgspec.structs.replace(one, cpu=request.params["cpu"], home_cpu=request.params["cpu"])
            if one.queue_id == request.params["queue_id"]
            else one
            for one in adapter.queues
        ]
        adapters[adapter.name] = msgspec.structs.replace(adapter, queues=queues)
    return msgspec.structs.replace(config, adapters=list(adapters.values()))


def cpus_of(adapter: AdapterConfig) -> dict[str, int]:
    return {one.name: one.cpu for one in adapter.queues if one.queue_id and one.cpu is not None}


def test_members_apart_in_sum_and_alike_in_min_are_as_they_should_be() -> None:
    apart = [[("a", 1), ("b", 2)], [("c", 3)]]
    alike = [[("a", 1), ("b", 2)], [("a", 1), ("b", 2)]]
    assert found_in(evidence(team("sum", apart))) is None
    assert found_in(evidence(team("min", alike))) is None
    assert only("min", *apart).rule == "team-differs"
    assert only("sum", *alike).rule == "team-overlap"


def test_default_queues_and_members_without_queues_count_for_nothing() -> None:
    for mode in ("sum", "min"):
        assert found_in(evidence(team(mode, [[("a", 1)], []]))) is None


def test_each_member_gets_neighbouring_processors_of_its_own() -> None:
    finding = only("sum", [("a", 1), ("b", 2)], [("c", 1), ("d", 2), ("e", 3)])
    assert finding.fix == "Give each member processors of its own: nic0 0:1..0:3; nic1 0:4..0:7"
    # nic1 steps aside first: no member takes processors that another one still has
    assert [one for one in finding.commands if one.startswith("Set-")] == [
        "Set-NetAdapterVmq -Name 'nic1' -BaseProcessorGroup 0 -BaseProcessorNumber 4 -MaxProcessorNumber 7"
        " -MaxProcessors 4",
        "Set-NetAdapterVmq -Name 'nic0' -BaseProcessorGroup 0 -BaseProcessorNumber 1 -MaxProcessorNumber 3"
        " -MaxProcessors 3",
    ]
    assert (finding.value, finding.after, finding.numbers["shared_processors"]) == (2, 0, 2)


def test_an_overlap_is_as_bad_as_what_it_does() -> None:
    members = [[("a", 1)], [("b", 1)]]
    severities = [
        only("sum", *members, pps=frames, loads={1: load}).severity
        for frames, load in (({}, 0.0), ({1: 5000}, 0.2), ({1: 200_000}, 1.0))
    ]
    assert severities == ["note", "warn", "bad"]


def test_a_pile_that_only_the_team_makes_is_the_teams() -> None:
    seen = evidence(team("sum", [[("a", 1)], [("b", 1)]]), pps={1: 200_000}, loads={1: 1.0})
    assert [one.rule for one in findings(seen)] == ["team-overlap"]
    seen = evidence(team("sum", [[("a", 1), ("c", 1)], [("b", 2)]]), pps={1: 2000, 2: 2000}, loads={1: 1.0})
    assert [one.rule for one in findings(seen)] == ["piled-queues"]


def test_what_the_balancer_does_is_not_the_plan() -> None:
    config = team("sum", [[("a", 1)], [("b", 2)]])
    first, second = config.adapters
    queues = [second.queues[0], msgspec.structs.replace(second.queues[1], cpu=1, home_cpu=2)]
    away = msgspec.structs.replace(config, adapters=[first, msgspec.structs.replace(second, queues=queues)])
    assert found_in(evidence(away)) is None


def test_fewer_processors_than_members_are_not_shared_out() -> None:
    finding = found_in(evidence(team("sum", [[("a", 0)], [("b", 0)]], cpus=1)))
    assert finding is not None
    assert (finding.requests, finding.commands, finding.after) == ([], [], None)
    assert "fewer processors than the 2 members need" in finding.fix


@pytest.mark.parametrize("mode", ["min", "primary"])
def test_in_min_and_primary_all_members_get_one_set_and_a_vm_one_processor(mode: str) -> None:
    members = [[("a", 1), ("b", 1)], [("a", 4), ("b", 5), ("c", 6)]]
    finding = only(mode, *members, pps={1: 100})
    assert (finding.value, finding.after, finding.severity) == (4, 0, "warn")
    assert finding.numbers["vms_on_several"] == 2
    assert finding.numbers["frames_of_those_pps"] == 200
    assert ("come in on any member" in finding.cause) == (mode == "min")
    first, second = fixed(team(mode, members), finding).adapters
    assert {vm: cpus_of(second)[vm] for vm in cpus_of(first)} == cpus_of(first)
    lines = [one.partition(" -Base")[2] for one in finding.commands if one.startswith("Set-")]
    assert lines == ["ProcessorGroup 0 -BaseProcessorNumber 1 -MaxProcessorNumber 7 -MaxProcessors 7"] * 2


def test_a_vm_of_a_min_team_that_fills_its_processor_is_no_pile() -> None:
    members = [[("a", 1), ("b", 2)], [("a", 1), ("b", 2)]]
    seen = evidence(team("min", members), pps={1: 200_000, 2: 200_000}, loads={1: 1.0, 2: 1.0})
    assert "piled-queues" not in {one.rule for one in findings(seen)}


def test_the_balancer_which_would_part_a_vms_queues_is_not_advised_for_a_min_team() -> None:
    off = msgspec.structs.replace(team("min", [[("a", 1)], [("a", 1)]]), balancer={"mode": "off"})
    found = findings(evidence(off, pps={1: 200_000}, loads={1: 1.0}))
    assert "balancer-off" not in {one.rule for one in found}
    apart = msgspec.structs.replace(team("sum", [[("a", 1), ("b", 1)], [("c", 2)]]), balancer={"mode": "off"})
    found = findings(evidence(apart, pps={1: 200_000, 2: 200_000}, loads={1: 1.0}))
    assert "balancer-off" in {one.rule for one in found}


def test_the_queues_of_a_vm_of_a_min_team_move_together() -> None:
    members = [[("a", 1), ("b", 1)], [("a", 1), ("b", 1)]]
    config = team("min", members)
    (finding,) = (
        one
        for one in findings(evidence(config, pps={1: 90_000, 2: 40_000}, loads={1: 1.0}))
        if one.rule == "piled-queues"
    )
    first, second = fixed(config, finding).adapters
    assert cpus_of(first) == cpus_of(second)
    assert len(set(cpus_of(first).values())) == 2


def test_a_hot_member_of_a_sum_team_keeps_clear_of_the_others_and_of_all_default_queues() -> None:
    hot = [(name, 0) for name in "abcd"]
    config = team("sum", [hot, [("e", 4), ("f", 5), ("g", 6)]])
    first, second = config.adapters
    default = msgspec.structs.replace(second.queues[0], cpu=4, home_cpu=4)
    second = msgspec.structs.replace(second, queues=[default, *second.queues[1:]])
    config = msgspec.structs.replace(config, adapters=[first, second])
    found = findings(evidence(config, loads={0: 1.0}, pps={1: 50_000, 2: 50_000, 3: 50_000, 4: 50_000}))
    (finding,) = (one for one in found if one.rule == "shared-with-default")
    after = fixed(config, finding)
    assert set(cpus_of(after.adapters[0]).values()) == {1, 2, 3}
    assert cpus_of(after.adapters[1]) == cpus_of(second)
    lines = {line for one in found for line in one.commands if line.startswith("Set-")}
    assert lines == {
        "Set-NetAdapterVmq -Name 'nic0' -BaseProcessorGroup 0 -BaseProcessorNumber 1 -MaxProcessorNumber 3"
        " -MaxProcessors 3"
    }


def test_separate_adapters_that_share_processors_are_a_note_and_the_later_one_moves() -> None:
    config = team("sum", [[("a", 1), ("b", 2)], [("c", 1), ("d", 2)]])
    sets = [
        msgspec.structs.replace(one, team=None, team_mode=None, base_processor="0:1", max_processor="0:3")
        for one in config.adapters
    ]
    config = msgspec.structs.replace(config, adapters=sets)
    (finding,) = findings(evidence(config, pps={1: 1000, 2: 1000}))
    assert (finding.rule, finding.severity, finding.value, finding.after) == ("sets-overlap", "note", 3, 0)
    assert {one.params["adapter"] for one in finding.requests} == {"nic1"}
    assert findings(evidence(fixed(config, finding), pps={1: 1000, 2: 1000})) == []


queues = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 7)), max_size=6)


@given(st.sampled_from(["sum", "min"]), st.lists(queues, min_size=2, max_size=4), st.integers(0, 3))
def test_what_the_fix_leaves_is_no_finding(mode: str, members: Members, busy: int) -> None:
    config = team(mode, members)
    finding = found_in(evidence(config, pps={busy: 5000}))
    if finding is not None:
        after = fixed(config, finding)
        assert found_in(evidence(after)) is None
        sets = {
            (one.base_processor, one.max_processor, one.max_processors)
            for one in after.adapters
            if one.base_processor is not None
        }
        if mode == "min":
            assert len(sets) <= 1
            everywhere = set.intersection(*(set(cpus_of(one)) for one in after.adapters))
            singles = [
                vm for vm in everywhere if all([name for name, _ in one].count(vm) < 2 for one in members)
            ]
            for vm in singles:
                assert len({cpus_of(one)[vm] for one in after.adapters}) == 1


def test_a_processor_that_is_not_told_of_is_nothing_to_reckon_with() -> None:
    config = msgspec.structs.replace(team("sum", [[("a", 7)], [("b", 7)]]), cpus=[])
    assert found_in(evidence(config)) is None


@pytest.mark.parametrize("mode", ["", "max"])
def test_a_mode_that_is_not_known_is_not_judged(mode: str) -> None:
    assert found_in(evidence(team(mode, [[("a", 1)], [("b", 1)]]))) is None
