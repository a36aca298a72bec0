"""Rules on queues that move, and on the balancer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from engine.advice.evidence import Evidence, Moved, Trace
from engine.advice.finding import Finding
from engine.advice.rules import findings
from engine.advice.thresholds import AdviceThresholds
from engine.ndis.operations import decode
from engine.telemetry.config import Config
from tests.advice.lab import evidence
from tests.vmqtui.scripted import make_config

VMS = (("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0), ("c", "c", 2, 0))
MS = 1_000_000


def host(vms: Sequence[tuple[str, str | None, int, int]] = VMS, **balancer: Any) -> Config:
    return msgspec.structs.replace(make_config(vms), balancer=balancer)


def of_rule(rule: str, seen: Evidence, **thresholds: Any) -> Finding | None:
    found = [one for one in findings(seen, AdviceThresholds(**thresholds)) if one.rule == rule]
    assert len(found) <= 1
    return found[0] if found else None


def churned(by_balancer: Sequence[bool], **balancer: Any) -> Finding:
    moves = tuple(Moved(n * MS, n % 3, whose) for n, whose in enumerate(by_balancer))
    found = of_rule("affinity-churn", evidence(host(**balancer), trace=Trace({("nic0", 1, 2): moves})))
    assert found is not None
    for one in found.requests:
        decode(one.op, one.params)
    return found


def test_what_others_move_about_is_given_a_home() -> None:
    found = churned([False, False, False, False], mode="off")
    assert [one.op for one in found.requests] == ["set_queue_parameters"]
    assert "balancer" not in found.says


def test_what_the_balancer_moves_about_shall_rest_longer() -> None:
    found = churned([True, True, True, False], mode="dynamic")
    assert found.says.endswith("within 30 s, 3 of them by the balancer")
    [request] = found.requests
    assert request.op == "set_balancer"
    # With so long a rest fewer moves than the threshold, 4, fit into 30 s.
    assert 3 * request.params["cooldown_ms"] > 30_000


def test_a_balancer_that_is_off_by_now_is_not_to_blame() -> None:
    assert [one.op for one in churned([True] * 4, mode="off").requests] == ["set_queue_parameters"]


BUSY: dict[str, Any] = {"loads": {1: 0.95}, "pps": {1: 200_000, 2: 150_000, 3: 1000}}


def test_the_balancer_would_move_a_queue_of_a_full_processor() -> None:
    found = of_rule("balancer-off", evidence(host(mode="off"), **BUSY))
    assert found is not None
    assert (found.cpu, found.value, found.severity) == (1, 0.95, "note")
    assert [(one.op, one.params) for one in found.requests] == [("set_balancer", {"mode": "dynamic"})]
    assert found.fix.endswith("it would move queue 1 (a) of nic0 from 0:1 to 0:3 first")
    taken = 200_000 * (6000 + 500) / 2_600_000_000
    assert found.after == pytest.approx(0.95 - taken)


def swung(at_worst: float, moves: bool = True, **balancer: Any) -> Evidence:
    """A host that is half busy on the whole, and in one stretch was so full; both queues dropped frames."""
    columns = {"dropped_no_buffer": {1: 900, 2: 900}, "low_free_buffers": {1: 0, 2: 0}}
    then = evidence(
        host(**balancer),
        loads={1: at_worst},
        pps={1: 200_000, 2: 150_000} if moves else {1: 400_000},
        columns=columns,
    )
    now = evidence(host(**balancer), loads={1: 0.5}, pps={1: 100_000, 2: 75_000}, columns=columns)
    return replace(now, worst={1: then})


def test_a_processor_that_was_full_for_a_time_drops_for_want_of_time_not_of_buffers() -> None:
    seen = swung(1.0, mode="off")
    found = of_rule("load-swings", seen)
    assert found is not None
    assert found.numbers["load"] == 0.5
    assert found.numbers["worst_load"] == 1.0
    assert (found.numbers["from_s"], found.numbers["to_s"]) == (0, 1)
    assert found.value == 1800
    assert found.fix.endswith("it would have moved queue 1 (a) of nic0 from 0:1 to 0:3")
    assert [one.rule for one in findings(seen)] == ["load-swings"]


@pytest.mark.parametrize(
    "seen",
    [swung(0.6, mode="off"), swung(1.0, moves=False, mode="off"), swung(1.0, mode="dynamic"), swung(1.0)],
    ids=["had time", "one queue", "is on", "not told of"],
)
def test_what_the_balancer_could_not_have_helped_is_for_want_of_buffers(seen: Evidence) -> None:
    assert {one.rule for one in findings(seen)} == {"too-few-buffers"}


@pytest.mark.parametrize("balancer", [{}, {"mode": "dynamic"}, {"mode": "off", "scale_in": 7}, {"mode": 3}])
def test_nothing_is_said_where_it_is_on_or_not_told_of(balancer: dict[str, Any]) -> None:
    assert of_rule("balancer-off", evidence(host(**balancer), **BUSY)) is None


def test_where_it_could_not_help_it_is_not_advised() -> None:
    alone = evidence(host(mode="off"), loads={1: 1.0}, pps={1: 400_000})
    everywhere = evidence(host(mode="off"), loads=dict.fromkeys(range(8), 0.95), pps={1: 9000, 2: 9000})
    calm = evidence(host(mode="off"), loads={1: 0.7}, pps={1: 150_000, 2: 150_000})
    for seen in (alone, everywhere, calm):
        assert of_rule("balancer-off", seen) is None


@pytest.mark.parametrize(("mode", "said"), [("dynamic", True), ("off", False)])
def test_one_queue_that_fills_a_processor_is_nothing_the_balancer_can_help(mode: str, said: bool) -> None:
    found = of_rule("one-queue-one-processor", evidence(host(mode=mode), loads={1: 1.0}, pps={1: 400_000}))
    assert found is not None
    assert ("the balancer, which is on, has nothing to move" in found.cause) is said
