"""The model for other people's tests: answers as the tables of NDIS.md have them, held buffers, copies."""

from typing import Any

import pytest

from engine.ndis.conformance import ConformanceModel
from engine.ndis.outcome import NdisStatus
from engine.scenario.load import ScenarioError
from tests.ndis.lab import MAC, OTHER_MAC
from tests.ndis.table_model import NEXT, WRITTEN

SCENARIO = """
[host]
cpus = 4
[[adapter]]
max_queues = 2
default_queue_buffers = 4
buffers = 20
"""

REACH: dict[str, list[str]] = {
    "undefined": [],
    "allocated": ["allocate_queue"],
    "set": ["allocate_queue", "set_filter"],
    "running": ["allocate_queue", "set_filter", "complete_allocation"],
    "paused": ["allocate_queue", "complete_allocation"],
    "freeing": ["allocate_queue", "set_filter", "complete_allocation", "hold", "clear_filter", "free_queue"],
}
PARAMS: dict[str, dict[str, Any]] = {
    "allocate_queue": {"name": "web", "vm": "web", "cpu": 1, "buffers": 8},
    "set_filter": {"queue_id": 1, "mac": MAC, "vlan": 10},
    "clear_filter": {"queue_id": 1, "filter_id": 1},
    "complete_allocation": {"queue_ids": [1]},
}


def model_in(state: str) -> ConformanceModel:
    """A model whose queue 1 is in this state; where it is freeing, its VM holds 3 buffers."""
    model = ConformanceModel(SCENARIO)
    for op in REACH[state]:
        if op == "hold":
            model.hold(1, 3)
        else:
            assert model.request(op, **PARAMS.get(op, {"queue_id": 1})).status == "ok"
    assert model.state(1) == state
    return model


@pytest.mark.parametrize("state", REACH)
def test_a_queue_goes_from_each_state_where_the_table_of_ndis_says(state: str) -> None:
    before = {written: name for name, written in WRITTEN.items()}[state]
    for event, op in [
        ("set_filter", "set_filter"),
        ("complete_allocation", "complete_allocation"),
        ("clear_filter, last one", "clear_filter"),
        ("free_queue", "free_queue"),
    ]:
        if op == "clear_filter" and state in ("allocated", "paused"):
            continue  # it has no filter
        model = model_in(state)
        params = PARAMS.get(op, {"queue_id": 1})
        answer = model.request(op, **{**params, "mac": OTHER_MAC} if op == "set_filter" else params)
        after = WRITTEN[NEXT[event].get(before, before)]
        if after == "dma_stopped":  # it passes through that state and, with no buffer held, the next one
            after = "undefined"
        assert model.state(1) == after, event
        assert answer.next_states == ({} if after == state else {1: after}), event


def test_a_free_is_pending_until_the_last_buffer_is_returned() -> None:
    model = model_in("freeing")
    assert model.held(1) == 3
    assert model.give_back(1, 2) == ()
    assert model.request("allocate_queue", name="a", vm=None, cpu=0, buffers=1).result["queue_id"] == 2
    (freed,) = model.give_back(1)
    assert (freed.event, freed.queue_id, freed.state) == ("queue_freed", 1, "undefined")
    assert model.states() == {0: "running", 2: "allocated"}


def test_a_queue_that_shrinks_gives_up_what_is_held_when_it_comes_back() -> None:
    model = model_in("running")
    model.hold(1, 8)
    model.request("set_queue_parameters", queue_id=1, buffers=2)
    assert model.request("query_queue", queue_id=1).result["total_buffers"] == 8
    model.give_back(1)
    assert model.request("query_queue", queue_id=1).result["total_buffers"] == 2
    with pytest.raises(ValueError, match=r"^buffers: 3 of queue 1 are not free \(0\.\.2 fits\)$"):
        model.hold(1, 3)


def test_a_copy_goes_its_own_way() -> None:
    model = model_in("running")
    model.hold(1, 3)
    copy = model.copy()
    copy.request("remove_vm", vm="web")
    for _ in range(2):
        copy.request("allocate_queue", name="other", vm="other", cpu=0, buffers=2)
    copy.request("set_balancer", mode="dynamic")
    copy.stop()

    assert (model.states(), model.held(1)) == ({0: "running", 1: "running"}, 3)
    assert copy.states() == {0: "running", 1: "allocated", 2: "allocated"}
    assert copy.request("ping").ndis_status is NdisStatus.NOT_ACCEPTED
    assert model.request("ping").ndis_status is NdisStatus.SUCCESS
    assert model.request("remove_vm", vm="web").next_states == {1: "undefined"}


def test_queues_of_all_adapters_of_a_copy_count_against_one_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = ConformanceModel('[[adapter]]\n[[adapter]]\nname = "nic1"\n').copy()
    monkeypatch.setattr("engine.ndis.resources.MAX_HOST_QUEUES", 4)
    queue = {"name": "web", "vm": None, "cpu": 1, "buffers": 8}
    statuses = [copy.request("allocate_queue", adapter=f"nic{k % 2}", **queue).status for k in range(3)]
    assert statuses == ["ok", "ok", "error"]


def test_adapters_are_told_apart_by_name() -> None:
    model = ConformanceModel('[[adapter]]\n[[adapter]]\nname = "nic1"\n')
    model.request("allocate_queue", adapter="nic1", **PARAMS["allocate_queue"])
    assert (model.states("nic0"), model.states("nic1")) == ({0: "running"}, {0: "running", 1: "allocated"})
    assert "nic1: 0 running, 1 allocated" in repr(model)
    with pytest.raises(ValueError, match=r'^adapter: missing \("nic0", "nic1" fits\)$'):
        model.state(1)


def test_frames_that_can_not_be_are_refused_in_a_sentence() -> None:
    model = model_in("paused")
    with pytest.raises(ValueError, match=r"^queue 1 is paused and receives no frame"):
        model.hold(1)
    with pytest.raises(ValueError, match=r'^queue_id: 7 is not a queue of adapter "nic0" \(0\.\.1\)$'):
        model.hold(7)
    with pytest.raises(ValueError, match=r"^queue 0 is the default queue, which no VM holds"):
        model.hold(0)
    model = model_in("running")
    with pytest.raises(ValueError, match=r"^buffers: 9 of queue 1 are not free \(0\.\.8 fits\)$"):
        model.hold(1, 9)
    model.hold(1, 8)
    model.request("pause_vm", vm="web")
    with pytest.raises(ValueError, match=r"^queue 1: its VM is paused"):
        model.give_back(1)
    model.request("resume_vm", vm="web")
    with pytest.raises(ValueError, match=r"^buffers: -1 of queue 1 are not held \(0\.\.8 fits\)$"):
        model.give_back(1, -1)


def test_a_scenario_is_checked_as_a_file_is() -> None:
    with pytest.raises(ScenarioError, match=r"adapter\[0\]\.max_queues: 5000 is not a whole number"):
        ConformanceModel("[[adapter]]\nmax_queues = 5000\n")
