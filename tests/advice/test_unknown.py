"""Hosts of which not everything is known: which rules look, and which say that they can't."""

from dataclasses import replace
from random import Random
from typing import Final

import msgspec
import pytest

from engine.advice.evidence import Evidence, Need
from engine.advice.finding import MOST_UNCHECKED, Unchecked
from engine.advice.needs import (
    BALANCER,
    BUSY,
    DROPS,
    FRAMES,
    NEEDS,
    NODE,
    NODES,
    NOT_LINUX,
    PAIRS,
    PLACE,
    REASONS,
    SET,
)
from engine.advice.rules import RULES, findings, unchecked
from engine.advice.window import AdviceWindow
from engine.measure.host import MeasuredHost
from engine.telemetry.config import Config
from engine.telemetry.stats import Columns, Stats
from tests import measured
from tests.advice.blanks import mapped, without
from tests.advice.lab import evidence
from tests.advice.random_hosts import random_case, scene
from tests.vmqtui.scripted import VMS, make_config
from vmqtui.columns import advice as words

HOSTS: Final = range(25)
DROPPED: Final = {"dropped_no_buffer": {1: 500}}
EXPLAINED: Final = {
    ("full-processor", PAIRS): "a full default queue is named where no VMs without a queue can be",
    **dict.fromkeys(
        (("too-few-buffers", need) for need in (BALANCER, NODE, NODES, DROPS, FRAMES)),
        "a full processor at times looks like bursts, where it can't be seen that the balancer would help",
    ),
    ("sets-overlap", PLACE): "the first of the adapters that overlap is one of those whose set is known",
}
"""Findings that a host gains when something becomes unknown, and why that is no lie."""


def places(need: Need) -> list[str]:
    """What has to be unknown for a need to be unmet: the node, also that there is one only."""
    one_node = ["host.numa_nodes"] if any("numa_node" in place for place in need.places) else []
    return [*need.places, *one_node]


def of(host: MeasuredHost) -> Evidence:
    return Evidence(host.config, host.readings[-1], host.readings[0])


def blind(seen: Evidence) -> dict[str, list[str]]:
    """The rules that could not look at anything, by the first reason, or at some adapters."""
    return {gap.why: gap.rules for gap in unchecked(seen) if not gap.left_out}


def of_need(seen: Evidence, need: Need) -> list[Unchecked]:
    return [gap for gap in unchecked(seen) if gap.why == need.unknown]


def test_every_need_is_one_of_a_rule_and_the_reasons_fit_a_message() -> None:
    assert {need for rule in RULES.values() for need in rule.needs} == set(NEEDS)
    assert 2 * len(NEEDS) + 1 <= MOST_UNCHECKED
    assert len({need.unknown for need in NEEDS}) == len(NEEDS)


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: "|".join(need.places))
def test_without_what_it_needs_a_rule_finds_nothing_and_is_listed_with_the_reason(need: Need) -> None:
    needing = [rule.id for rule in RULES.values() if need in rule.needs]
    for number in HOSTS:
        full = scene(random_case(number))
        known = {one.identity for one in findings(full)}
        seen = without(full, places(need))
        for one in findings(seen):
            assert one.rule not in needing
            assert one.identity in known or (one.rule, need) in EXPLAINED, (number, one.says)
        assert blind(seen)[need.unknown] == needing


def test_of_a_model_nothing_is_unchecked() -> None:
    assert all(unchecked(scene(random_case(number))) == [] for number in HOSTS)


def test_adapters_of_which_nothing_is_known_are_left_out_and_the_others_looked_at() -> None:
    config = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0)), adapters=("x", "y"))
    seen = evidence(config, loads={1: 1.0}, pps={1: 1000, 2: 1000})
    blinded = without(seen, FRAMES.places, {"x"})
    assert ("piled-queues", "x") in [(one.rule, one.adapter) for one in findings(seen)]
    assert ("piled-queues", "y") in [(one.rule, one.adapter) for one in findings(blinded)]
    assert "x" not in [one.adapter for one in findings(blinded) if FRAMES in RULES[one.rule].needs]
    assert [gap.adapters for gap in of_need(blinded, FRAMES)] == [["x"]]


def test_rows_that_are_not_known_are_left_out_and_counted() -> None:
    config = make_config(tuple((f"vm{n}", f"vm{n}" if n else None, 1, 0) for n in range(5)))
    seen = evidence(config, loads={1: 1.0}, pps=dict.fromkeys(range(5), 1000))
    stats = seen.stats.adapters["nic0"]
    queues: Columns = {**stats.queues, "steered_frames": [0, 1000, None, 1000, None]}
    partly = replace(
        seen,
        stats=msgspec.structs.replace(
            seen.stats, adapters={"nic0": msgspec.structs.replace(stats, queues=queues)}
        ),
    )
    (found,) = (one for one in findings(partly) if one.rule == "piled-queues")
    assert found.numbers["queues"] == 2
    (gap,) = of_need(partly, FRAMES)
    assert (gap.left_out, gap.rows, gap.adapters) == (2, 5, ["nic0"])
    assert words.gap(gap).endswith("frames by queue are not known, in 2 of 5 rows (nic0)")


def scattered(seen: Evidence, pick: Random) -> Evidence:
    """The host with cells here and there unknown, in configuration and counters."""

    def some(columns: Columns) -> Columns:
        return {
            name: column
            if name in ("id", "generation")
            else [None if pick.random() < 0.3 else cell for cell in column]
            for name, column in columns.items()
        }

    def stats(of_all: Stats) -> Stats:
        adapters = {
            name: msgspec.structs.replace(
                one, queues=some(one.queues), filters=some(one.filters), port={"offered_frames": None}
            )
            for name, one in of_all.adapters.items()
        }
        return msgspec.structs.replace(of_all, cpus=some(of_all.cpus), adapters=adapters)

    def config(of_all: Config) -> Config:
        adapters = [
            msgspec.structs.replace(
                one,
                buffers=None if pick.random() < 0.5 else one.buffers,
                link_gbps=None if pick.random() < 0.5 else one.link_gbps,
                max_queues=None if pick.random() < 0.5 else one.max_queues,
                queues=[
                    msgspec.structs.replace(queue, cpu=None, home_cpu=None) if pick.random() < 0.3 else queue
                    for queue in one.queues
                ],
            )
            for one in of_all.adapters
        ]
        return msgspec.structs.replace(of_all, adapters=adapters)

    return mapped(seen, config, stats)


def test_cells_that_are_unknown_here_and_there_break_no_rule_and_raise_no_new_one() -> None:
    for number in HOSTS:
        full = scene(random_case(number))
        known = {one.rule for one in findings(full)}
        seen = scattered(full, Random(number))
        assert {one.rule for one in findings(seen)} <= known | {"full-processor"}, number
        assert unchecked(seen)


# --- hosts like Linux and Windows --------------------------------------------------------------------


def test_of_a_host_like_windows_most_rules_can_not_look_and_say_so() -> None:
    seen = of(measured.windows())
    assert findings(seen) == []
    assert list(blind(seen)) == [
        DROPS.unknown,
        "free buffers and drops by queue are not known",
        "the buffers of queues are not known",
        "the buffers that VMs hold are not known",
        "the buffers that queues suggested are not known",
        "what moves queues between processors is not known",
        "the bytes that the adapter received are not known",
        REASONS.unknown,
        PAIRS.unknown,
    ]
    assert [(gap.left_out, gap.rows) for gap in of_need(seen, FRAMES)] == [(2, 3)]
    assert words.nothing_found(unchecked(seen)) == "nothing found, but 16 rules could not look"


def test_of_a_host_like_linux_rules_of_windows_are_set_aside() -> None:
    seen = of(measured.linux())
    (alien,) = (gap for gap in unchecked(seen) if gap.why == NOT_LINUX)
    assert set(alien.rules) == {rule.id for rule in RULES.values() if not rule.on_linux}
    assert "vm-without-queue" in alien.rules
    assert "sets-overlap" in alien.rules
    assert not alien.applies
    assert SET.unknown not in blind(seen)


def test_the_message_lists_the_rules_that_could_not_look() -> None:
    host = measured.windows()
    window = AdviceWindow()
    for reading in host.readings:
        window.add(host.config, reading)
    assert list(window.advice().unchecked) == unchecked(of(host))
    assert AdviceWindow().unchecked == ()


def test_an_unknown_load_is_neither_idle_nor_busy() -> None:
    config = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0)), cpus=3)
    seen = evidence(config, loads={1: 1.0}, pps={1: 1000, 2: 1000})
    busy = seen.stats.cpus["busy_cycles"]
    partly = replace(
        seen,
        stats=msgspec.structs.replace(
            seen.stats, cpus={**seen.stats.cpus, "busy_cycles": [busy[0], busy[1], None]}
        ),
    )
    assert [one.rule for one in findings(seen)] == ["piled-queues"]
    assert findings(partly) == []  # the only other processor may be full
    (gap,) = of_need(partly, BUSY)
    assert (gap.left_out, gap.rows) == (1, 3)


@pytest.mark.parametrize(("pps", "rules"), [(1_000, []), (20_000, ["piled-queues"])])
def test_frames_are_not_blamed_for_a_load_that_they_do_not_explain(pps: int, rules: list[str]) -> None:
    config = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0)), cpus=3)
    real = msgspec.structs.replace(config, system="Windows Server 2019", windows="2019")
    seen = evidence(real, loads={1: 1.0}, pps={1: pps, 2: pps})
    assert [one.rule for one in findings(seen)] == rules
    others = [one for one in unchecked(seen) if "other devices" in one.why]
    assert [(one.why.split(" of ")[2][:13], one.left_out) for one in others] == (
        [] if rules else [("processor 0:1", 1)]
    )


def test_a_host_is_not_overloaded_if_the_load_of_a_processor_is_unknown() -> None:
    full = evidence(
        make_config(VMS), loads=dict.fromkeys(range(8), 1.0), pps={1: 1000, 2: 1000}, columns=DROPPED
    )
    busy = full.stats.cpus["busy_cycles"]
    partly = replace(
        full,
        stats=msgspec.structs.replace(full.stats, cpus={**full.stats.cpus, "busy_cycles": [*busy[:7], None]}),
    )
    assert "all processors that may serve nic0 are busy" in "".join(one.says for one in findings(full))
    assert not [one.says for one in findings(partly) if one.rule == "full-processor"]
