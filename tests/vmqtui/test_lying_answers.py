"""Answers that fit the message and say nonsense: who speaks as an engine gets no further than a sentence."""

from typing import Any

import pytest

from engine.bus.messages import Response
from tests.fuzz.people import all_tasks
from vmqtui.cli.failures import CommandError
from vmqtui.cli.traffic import print_traffic, scaled
from vmqtui.tasks.foresight import foretold
from vmqtui.tasks.task import Ending, Step, refusal, step
from vmqtui.tasks.traffic import received
from vmqtui.tasks.undo import change_of

NONSENSE: tuple[Any, ...] = (
    None,
    7,
    -1,
    1.5,
    float("inf"),
    "x\x1b[2J",
    "9" * 5000,
    [],
    [7],
    [[]],
    {},
    {"a": 1},
)


def answer(**result: Any) -> Response:
    return Response(id="1", status="ok", ndis_status="NDIS_STATUS_SUCCESS", message="done", result=result)


def asked(op: str) -> Step:
    return step("key", "title", op, {})


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_queues_of_an_answer_may_be_anything(value: Any) -> None:
    for op in ("complete_allocation", "remove_vm", "migrate_vm"):
        for result in ({"queues": value}, {"queues": [{"outstanding": value, "queue_id": value}]}):
            assert refusal(asked(op), answer(**result)) is None
            told = foretold(asked(op), answer(**result))
            assert told.fits
            assert told.words.isprintable()


@pytest.mark.parametrize("value", [one for one in NONSENSE if not isinstance(one, int)], ids=repr)
def test_a_queue_id_that_is_none_leaves_nothing_to_undo(value: Any) -> None:
    task = next(one for one in all_tasks() if one.title.startswith("New queue"))
    typed = {"vm": "a", "mac": "00:15:5d:00:00:01", "vlan": "10"}
    values = {field.key: field.check(typed.get(field.key, field.value)) for field in task.fields}
    allocate, *_, complete = task.plan(values)
    with pytest.raises(TypeError):
        complete.params({"allocate": answer(queue_id=value)})
    change = change_of(Ending("", ((allocate, answer(queue_id=value)),)), "hv01", 0.0, 0.0)
    assert change is not None
    assert change.why_not == "the engine's answer did not say what it made"


@pytest.mark.parametrize("value", [one for one in NONSENSE if one is not None], ids=repr)
def test_traffic_that_no_scenario_has_is_refused_in_a_sentence(value: Any) -> None:
    for table in (value, {"mix": [value]}, {"mix": [{"rate_pps": value, "flow": value}]}):
        if table in ({}, {"mix": [{}]}):
            continue
        sentence = received(answer(traffic=table), ["nic0"])
        assert isinstance(sentence, str)
        assert sentence.startswith("the engine's answer: traffic")
        for use in (print_traffic, lambda given: scaled(given, {"rate_pps": 1.0})):
            with pytest.raises(CommandError, match="the engine's answer: traffic"):
                use(answer(traffic=table))
