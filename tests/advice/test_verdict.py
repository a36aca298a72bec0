"""A fix is offered only if it makes the host better, and findings of one output agree."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding, Request
from engine.advice.rules import findings
from engine.advice.verdict import agreed, joined, judged, totals, worse_together
from tests.advice.lab import evidence
from tests.vmqtui.scripted import make_config

PILE = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0), ("c", "c", 2, 0)))
SPREAD = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 3, 0), ("c", "c", 2, 0)))


def at(config: Any, loads: Mapping[int, float], drops: int, **more: Any) -> Evidence:
    columns = {"dropped_no_buffer": {1: drops}}
    return evidence(config, loads=dict(loads), pps={1: 60_000, 2: 40_000}, columns=columns, **more)


def tried(before: Evidence, after: Evidence) -> Finding:
    found, left = findings(before), findings(after)
    (pile,) = (one for one in found if one.rule == "piled-queues")
    return judged(pile, before, after, found, left)


def test_a_fix_that_saves_frames_and_raises_nothing_is_offered() -> None:
    fixed = tried(at(PILE, {1: 1.0}, 9000), at(SPREAD, {1: 0.5, 3: 0.5}, 0))
    assert (fixed.cleared, fixed.raises, fixed.withheld) == (True, [], "")
    assert fixed.requests
    assert fixed.after == 0.5


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (at(SPREAD, {1: 0.5, 3: 0.5}, 9000), "saves no frames"),
        (at(SPREAD, {1: 0.5, 3: 0.5}, 20_000), "20,000 frames/s are dropped, and 9,000 without"),
        (at(PILE, {1: 1.0, 0: 1.0}, 0, reasons={}), None),
    ],
)
def test_a_fix_that_is_no_better_is_not_offered_and_it_is_told_why(after: Evidence, why: str | None) -> None:
    fixed = tried(at(PILE, {1: 1.0}, 9000), after)
    if why is None:  # not cleared, but frames are saved and nothing is raised
        assert (fixed.cleared, fixed.withheld) == (False, "")
        return
    assert not fixed.cleared
    assert (fixed.requests, fixed.commands) == ([], [])
    assert why in fixed.withheld
    assert why in fixed.fix


def test_a_fix_that_makes_another_finding_bad_is_not_offered() -> None:
    other = make_config((("default", None, 0, 0), ("a", "a", 3, 0), ("b", "b", 3, 0), ("c", "c", 2, 0)))
    fixed = tried(at(PILE, {1: 1.0}, 9000), at(other, {3: 1.0}, 1000))
    assert fixed.raises == ["piled-queues, processor 0:3"]
    assert "makes piled-queues, processor 0:3, bad" in fixed.withheld
    assert not fixed.requests


def test_a_queue_that_drops_less_than_before_raises_nothing_whatever_its_finding_is_called() -> None:
    short = {"low_free_buffers": {1: 0}}
    after = evidence(
        SPREAD,
        loads={1: 0.5, 3: 0.5},
        pps={1: 60_000, 2: 40_000},
        columns={"dropped_no_buffer": {1: 2000}, **short},
    )
    assert [(one.rule, one.severity) for one in findings(after)] == [("too-few-buffers", "bad")]
    fixed = tried(at(PILE, {1: 1.0}, 9000), after)
    assert (fixed.raises, fixed.withheld, fixed.cleared) == ([], "", True)


def test_to_change_places_in_the_default_queue_saves_no_frames() -> None:
    full = msgspec.structs.replace(PILE, adapters=[msgspec.structs.replace(PILE.adapters[0], max_queues=3)])
    pairs = [("00:15:5d:00:10:01", 10, "no_queue", 60_000)]
    pps = {0: 60_000, 1: 40_000, 2: 41_000, 3: 42_000}
    lost = {"dropped_no_buffer": {0: 30_000}}
    before = evidence(full, pps=pps, pairs=pairs, columns=lost)
    swap = next(one for one in findings(before) if one.rule == "more-vms-than-queues")
    assert swap.severity == "bad"  # a sixth of all frames is dropped there
    after = evidence(full, pps={0: 59_000, 1: 41_000, 2: 41_000, 3: 42_000}, columns=lost)
    assert "saves no frames" in judged(swap, before, after, [swap], []).withheld


def test_vms_that_hardly_differ_do_not_change_places() -> None:
    full = msgspec.structs.replace(PILE, adapters=[msgspec.structs.replace(PILE.adapters[0], max_queues=3)])
    pairs = [("00:15:5d:00:10:01", 10, "no_queue", 40_800)]
    assert findings(evidence(full, pps={0: 60_000, 1: 40_000, 2: 41_000, 3: 42_000}, pairs=pairs)) == []


def test_totals_are_those_of_the_whole_host() -> None:
    assert totals(at(PILE, {1: 0.9}, 5)).drops_pps == 5
    assert totals(at(PILE, {1: 0.9}, 5)).busiest_load == pytest.approx(0.9)


def test_all_fixes_together_are_worse_if_they_lose_more_or_raise_a_finding() -> None:
    good, lossy, piled = (
        at(SPREAD, {1: 0.5, 3: 0.5}, 0),
        at(SPREAD, {1: 0.5}, 20_000),
        at(PILE, {1: 1.0}, 0),
    )
    assert worse_together(good, [], findings(good), good, good) == ""
    assert "more frames are dropped" in worse_together(good, [], [], good, lossy)
    assert "makes piled-queues" in worse_together(good, [], findings(piled), good, piled)


# --- agreement ------------------------------------------------------------------------------------


def finding(rule: str, requests: list[Request] | None = None, commands: list[str] | None = None) -> Finding:
    return Finding(
        rule=rule,
        severity="warn",
        adapter="nic0",
        key="k",
        where="w",
        says="s",
        numbers={},
        cause="c",
        fix="f",
        requests=requests or [],
        commands=commands or [],
        measure="m",
    )


def move(queue_id: int, cpu: int) -> Request:
    return Request(op="set_queue_parameters", params={"adapter": "nic0", "queue_id": queue_id, "cpu": cpu})


def line(base: int, adapter: str = "nic0") -> list[str]:
    return [
        "# what it does",
        f"Set-NetAdapterVmq -Name '{adapter}' -BaseProcessorNumber {base}",
        "# Check:",
        "Get-X",
    ]


def test_of_two_that_tell_one_adapter_different_things_only_the_first_prints_its_line() -> None:
    first, second, third = agreed(
        [
            finding("one", commands=line(1)),
            finding("two", commands=line(2)),
            finding("three", commands=line(3, "b")),
        ]
    )
    assert first.commands == line(1)
    assert (second.commands, second.requests) == ([], [])
    assert "one, w, changes the same: do that first" in second.withheld
    assert third.commands == line(3, "b")


def test_one_line_is_printed_once() -> None:
    both = [*line(1), *line(2, "b")]
    first, second = agreed([finding("one", commands=line(1)), finding("two", [move(1, 2)], commands=both)])
    assert first.commands == line(1)
    told = ["# One line is enough for this and another finding (one), which has it:", f"# {line(1)[1]}"]
    assert second.commands == [*told, *line(2, "b")]
    assert second.requests == [move(1, 2)]


def test_requests_that_move_a_queue_to_two_places_do_not_agree() -> None:
    found = agreed(
        [finding("one", [move(1, 2)]), finding("two", [move(1, 3)]), finding("three", [move(2, 3)])]
    )
    assert [bool(one.requests) for one in found] == [True, False, True]


def test_a_vm_that_gives_up_its_queue_for_another_is_not_given_one_by_a_second_finding() -> None:
    def weight(vm: str, value: int) -> str:
        return f"Set-VMNetworkAdapter -VMName '{vm}' -VmqWeight {value}"

    found = agreed(
        [
            finding("one", commands=[weight("a", 0), weight("b", 100)]),
            finding("two", commands=[weight("a", 100)]),
        ]
    )
    assert [len(one.commands) for one in found] == [2, 0]


def test_fixes_are_joined_with_their_allocations_and_without_what_is_the_same() -> None:
    allocate = Request(op="allocate_queue", params={"adapter": "nic0"})
    fill = Request(op="set_filter", params={"adapter": "nic0", "queue_id": 3, "mac": "m"}, queue_from=0)
    requests = joined([[move(1, 2), move(2, 2)], [move(1, 2)], [allocate, fill], [allocate, fill]])
    assert [one.op for one in requests] == [
        "set_queue_parameters",
        "set_queue_parameters",
        "allocate_queue",
        "set_filter",
        "allocate_queue",
        "set_filter",
    ]
    assert [one.queue_from for one in requests] == [None, None, None, 2, None, 4]
