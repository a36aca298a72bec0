"""Hold a driver against the model of the control plane: the same requests must get the same statuses."""

import random
from typing import Any

import pytest
from driver import Driver

from vmqtui.testing import ConformanceModel

SCENARIO = """
[host]
cpus = 4

[[adapter]]
max_queues = 2
"""

Step = tuple[str, dict[str, Any]]

ALLOCATE: Step = ("allocate_queue", {"name": "web", "vm": "web-01", "cpu": 1, "buffers": 64})
SET_FILTER: Step = ("set_filter", {"queue_id": 1, "mac": "00:15:5d:00:00:01", "vlan": 10})
CLEAR_FILTER: Step = ("clear_filter", {"queue_id": 1, "filter_id": 1})
COMPLETE: Step = ("complete_allocation", {"queue_ids": [1]})
FREE: Step = ("free_queue", {"queue_id": 1})
QUERY: Step = ("query_queue", {"queue_id": 1})
HOLD: Step = ("hold", {"queue_id": 1, "buffers": 3})
GIVE_BACK: Step = ("give_back", {"queue_id": 1})

REACH = {
    "undefined": [],
    "allocated": [ALLOCATE],
    "set": [ALLOCATE, SET_FILTER],
    "running": [ALLOCATE, SET_FILTER, COMPLETE],
    "paused": [ALLOCATE, COMPLETE],
    "freeing": [ALLOCATE, SET_FILTER, COMPLETE, HOLD, CLEAR_FILTER, FREE],
}
"""The requests that bring queue 1 into each state."""


class Model:
    """The model, with the methods of the driver."""

    def __init__(self) -> None:
        self.model = ConformanceModel(SCENARIO)
        self.hold = self.model.hold
        self.give_back = self.model.give_back

    def request(self, op: str, **params: Any) -> str:
        answer = self.model.request(op, **params)
        if op == "complete_allocation":  # each queue of the batch has a status of its own
            return str(answer.result["queues"][0]["ndis_status"])
        return str(answer.ndis_status)


def carry_out(subject: Driver | Model, step: Step) -> str | None:
    what, params = step
    if what in ("hold", "give_back"):
        getattr(subject, what)(**params)
        return None
    return subject.request(what, **params)


@pytest.fixture(params=["model", "driver"])
def subject(request: pytest.FixtureRequest) -> Driver | Model:
    return Model() if request.param == "model" else Driver(max_queues=2)


@pytest.mark.parametrize(
    ("state", "step", "expected"),
    [
        ("undefined", FREE, "INVALID_PARAMETER"),
        ("allocated", FREE, "SUCCESS"),
        ("set", FREE, "INVALID_PARAMETER"),  # clear its filters first
        ("running", FREE, "INVALID_PARAMETER"),
        ("paused", FREE, "SUCCESS"),
        ("freeing", FREE, "INVALID_PARAMETER"),
        ("allocated", COMPLETE, "SUCCESS"),
        ("running", COMPLETE, "INVALID_PARAMETER"),
        ("running", SET_FILTER, "INVALID_PARAMETER"),  # this MAC and VLAN have a filter
        ("allocated", CLEAR_FILTER, "FILE_NOT_FOUND"),
        ("freeing", QUERY, "INVALID_PARAMETER"),
    ],
)
def test_a_request_in_a_state_gets_this_status(
    subject: Driver | Model, state: str, step: Step, expected: str
) -> None:
    for earlier in REACH[state]:
        carry_out(subject, earlier)
    assert carry_out(subject, step) == f"NDIS_STATUS_{expected}"


REQUESTS = [ALLOCATE, SET_FILTER, CLEAR_FILTER, COMPLETE, FREE, QUERY]


@pytest.mark.parametrize("step", REQUESTS, ids=lambda step: step[0])
@pytest.mark.parametrize("state", REACH)
def test_the_driver_answers_as_the_model_in_every_state(state: str, step: Step) -> None:
    driver, model = Driver(max_queues=2), Model()
    for earlier in REACH[state]:
        assert carry_out(driver, earlier) == carry_out(model, earlier)
    assert model.model.state(1) == state
    assert carry_out(driver, step) == carry_out(model, step)
    assert model.model.state(1) == (driver.queues[1].state if 1 in driver.queues else "undefined")


def test_the_driver_answers_as_the_model_through_10_000_random_requests() -> None:
    driver, model = Driver(max_queues=2), Model()
    choose = random.Random(1)
    for _ in range(10_000):
        op, params = choose.choice(REQUESTS)
        queue_id = choose.choice([1, 1, 1, 2])
        for key, value in {"queue_id": queue_id, "queue_ids": [queue_id], "vlan": queue_id}.items():
            params = params | ({key: value} if key in params else {})
        assert driver.request(op, **params) == model.request(op, **params), (op, params, driver.queues)


def test_a_free_is_pending_until_the_vm_returns_its_buffers() -> None:
    model = ConformanceModel(SCENARIO)
    for op, params in [ALLOCATE, SET_FILTER, COMPLETE]:
        model.request(op, **params)
    model.hold(1, buffers=3)
    model.request("clear_filter", queue_id=1, filter_id=1)

    either = model.copy()  # branch: what if the VM is removed instead?
    assert either.request("remove_vm", vm="web-01").next_states == {1: "undefined"}

    answer = model.request("free_queue", queue_id=1)
    assert (answer.ndis_status, answer.next_states) == ("NDIS_STATUS_PENDING", {1: "freeing"})
    assert model.give_back(1, buffers=2) == ()
    (freed,) = model.give_back(1)
    assert (freed.event, model.states()) == ("queue_freed", {0: "running"})
