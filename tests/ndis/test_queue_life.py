"""A queue's way through its states, who may do what to it, and what the data plane is told."""

from typing import Any

import pytest

from engine.ndis.effects import (
    CloseQueue,
    DiscardPending,
    MoveQueue,
    NewFilter,
    OpenQueue,
    SetBuffers,
    SplitBuffers,
    SteeringChanged,
)
from engine.ndis.outcome import NdisStatus
from tests.ndis.lab import MAC, OTHER_MAC, Lab, lab

SPLIT = {"ndis_version": "6.20", "min_lookahead_bytes": 64, "max_lookahead_bytes": 128}


def in_state(host: Lab, state: str) -> int:
    """The id of a new queue in a state."""
    if state == "allocated":
        return host.allocate()
    if state == "paused":
        return host.paused()
    queue_id = host.running() if state == "running" else host.allocate()
    if state == "set":
        host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan=10)
    if state == "freeing":
        host.accept("complete_allocation", queue_ids=[queue_id])
        host.plane.take(queue_id, 1)
        assert host.accept("free_queue", queue_id=queue_id).ndis_status is NdisStatus.PENDING
    assert host.state(queue_id) == state
    return queue_id


# The table of NDIS.md, row by row: the next state by state; the request is invalid in any other.
KEPT = {"allocated": "allocated", "set": "set", "running": "running", "paused": "paused"}
ROWS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("query_queue", {}, KEPT),
    ("set_queue_parameters", {"cpu": 3}, KEPT),
    ("set_filter", {"mac": OTHER_MAC}, {**KEPT, "allocated": "set", "paused": "running"}),
    ("enum_filters", {}, KEPT),
    ("free_queue", {}, {"allocated": "undefined", "paused": "undefined"}),
]


@pytest.mark.parametrize("state", ["allocated", "set", "running", "paused", "freeing"])
@pytest.mark.parametrize(("op", "params", "next_states"), ROWS)
def test_a_request_moves_a_queue_as_the_table_says(
    op: str, params: dict[str, Any], next_states: dict[str, str], state: str
) -> None:
    host = lab()
    queue_id = in_state(host, state)
    expected = next_states.get(state)

    if expected is None:
        status, message = host.refuse(op, queue_id=queue_id, **params)
        assert (status, message.startswith("queue_id: ")) == ("INVALID_PARAMETER", True)
    else:
        host.accept(op, queue_id=queue_id, **params)
        assert host.state(queue_id) == expected


@pytest.mark.parametrize("state", ["allocated", "set", "running", "paused", "freeing"])
def test_completion_moves_allocated_to_paused_and_set_to_running(state: str) -> None:
    host = lab()
    queue_id = in_state(host, state)

    entry = host.accept("complete_allocation", queue_ids=[queue_id]).result["queues"][0]

    expected = {"allocated": ("SUCCESS", "paused"), "set": ("SUCCESS", "running")}
    status, next_state = expected.get(state, ("INVALID_PARAMETER", state))
    assert (entry["ndis_status"], host.state(queue_id)) == (f"NDIS_STATUS_{status}", next_state)


@pytest.mark.parametrize(("state", "next_state"), [("set", "allocated"), ("running", "paused")])
def test_clearing_the_last_filter_but_no_other_changes_the_state(state: str, next_state: str) -> None:
    host = lab()
    queue_id = in_state(host, state)
    host.accept("set_filter", queue_id=queue_id, mac=OTHER_MAC)

    host.accept("clear_filter", queue_id=queue_id, filter_id=1)
    assert host.state(queue_id) == state
    host.accept("clear_filter", queue_id=queue_id, filter_id=2)
    assert host.state(queue_id) == next_state


def test_clearing_the_last_filter_of_a_running_queue_discards_before_steering_changes() -> None:
    host = lab()
    queue_id = host.running()

    outcome = host.accept("clear_filter", queue_id=queue_id, filter_id=1)

    assert outcome.effects == (DiscardPending(0, queue_id), SteeringChanged(0))
    assert [(one.event, one.state) for one in outcome.indications] == [("queue_state", "paused")]


def test_clearing_the_last_filter_of_a_set_queue_discards_nothing() -> None:
    host = lab()
    queue_id = in_state(host, "set")

    assert host.accept("clear_filter", queue_id=queue_id, filter_id=1).effects == (SteeringChanged(0),)


@pytest.mark.parametrize("state", ["allocated", "set", "running", "paused"])
def test_clearing_a_filter_that_is_not_on_the_queue_is_file_not_found_in_every_state(state: str) -> None:
    host = lab()
    queue_id = in_state(host, state)
    host.accept("set_filter", queue_id=0, mac=OTHER_MAC)
    (elsewhere,) = (f["filter_id"] for f in host.accept("enum_filters", queue_id=0).result["filters"])

    assert host.refuse("clear_filter", queue_id=queue_id, filter_id=elsewhere)[0] == "FILE_NOT_FOUND"
    assert host.refuse("clear_filter", queue_id=queue_id, filter_id=99)[0] == "FILE_NOT_FOUND"


def test_clearing_on_a_freeing_or_another_drivers_queue_is_invalid_before_the_filter_is_looked_up() -> None:
    host = lab()
    freeing = in_state(host, "freeing")
    theirs = host.running(driver="other")

    assert host.refuse("clear_filter", queue_id=freeing, filter_id=99)[0] == "INVALID_PARAMETER"
    assert host.refuse("clear_filter", queue_id=theirs, filter_id=99)[0] == "INVALID_PARAMETER"
    assert host.refuse("clear_filter", queue_id=theirs, filter_id=99, driver="other")[0] == "FILE_NOT_FOUND"


def test_a_queue_with_filters_can_not_be_freed() -> None:
    host = lab()
    queue_id = host.running()

    status, message = host.refuse("free_queue", queue_id=queue_id)

    assert status == "INVALID_PARAMETER"
    assert "filters set (1)" in message


def test_a_free_without_buffers_outstanding_ends_at_once_and_indicates_every_step() -> None:
    host = lab()
    queue_id = host.paused()

    outcome = host.accept("free_queue", queue_id=queue_id)

    assert outcome.ndis_status is NdisStatus.SUCCESS
    assert outcome.effects == (CloseQueue(0, queue_id),)
    assert [(one.event, one.state) for one in outcome.indications] == [
        ("queue_state", "dma_stopped"),
        ("queue_state", "freeing"),
        ("queue_freed", "undefined"),
    ]
    assert "NDIS_STATUS_RECEIVE_QUEUE_STATE" in outcome.indications[0].cause


def test_a_free_with_buffers_outstanding_is_pending_until_they_are_returned() -> None:
    host = lab()
    queue_id = host.paused()
    host.plane.take(queue_id, 3)

    outcome = host.accept("free_queue", queue_id=queue_id)
    assert (outcome.ndis_status, outcome.effects) == (NdisStatus.PENDING, ())
    assert outcome.message == f'queue {queue_id} is gone when VM "web" has returned 3 buffers'
    assert host.host.freeing() == ((0, queue_id),)
    revision = host.host.revision

    host.plane.give_back(queue_id, 3)
    gone = host.returned(queue_id)
    assert gone.effects == (CloseQueue(0, queue_id),)
    assert [(one.event, one.state) for one in gone.indications] == [("queue_freed", "undefined")]
    assert (host.host.freeing(), host.host.revision) == ((), revision + 1)
    assert host.state(queue_id) == "undefined"


def test_returned_is_refused_for_a_queue_that_is_not_freeing() -> None:
    host = lab()
    queue_id = host.paused()

    assert host.host.returned(0, queue_id).status == "error"
    assert host.state(queue_id) == "paused"


def test_stopping_aborts_pending_frees() -> None:
    host = lab()
    queue_id = in_state(host, "freeing")

    aborted = host.host.stop()

    assert [(one.event, one.queue_id, one.state) for one in aborted] == [
        ("queue_free_aborted", queue_id, "freeing")
    ]
    assert "NDIS_STATUS_REQUEST_ABORTED" in aborted[0].cause
    assert host.host.stop() == ()


def test_ids_are_the_lowest_unused_and_generations_are_never_reused() -> None:
    host = lab()
    assert [host.paused() for _ in range(3)] == [1, 2, 3]
    host.accept("free_queue", queue_id=2)
    host.accept("free_queue", queue_id=1)

    assert [host.allocate() for _ in range(3)] == [1, 2, 4]
    queues = host.accept("enum_queues").result["queues"]
    assert [(queue["queue_id"], queue["generation"]) for queue in queues] == [
        (0, 1),
        (1, 5),
        (2, 6),
        (3, 4),
        (4, 7),
    ]


def test_nothing_of_a_freed_queue_shows_up_in_the_next_one_with_its_id() -> None:
    host = lab(**SPLIT)
    first = host.running(lookahead_bytes=64, name="old", vm="old", cpu=3)
    host.accept("clear_filter", queue_id=first, filter_id=1)
    host.accept("free_queue", queue_id=first)

    assert host.allocate(name="new", vm=None) == first
    assert host.accept("query_queue", queue_id=first).result == {
        "queue_id": first,
        "generation": 3,
        "name": "new",
        "vm": None,
        "management_os": False,
        "vm_paused": False,
        "cpu": 1,
        "home_cpu": 1,
        "processor": "0:1",
        "buffers": 8,
        "total_buffers": 0,
        "num_filters": 0,
        "lookahead_bytes": 0,
        "guest_memory": False,
        "return_delay_us": 0,
        "state": "allocated",
        "operational_state": "paused",
        "driver": "vsp",
    }
    host.accept("set_filter", queue_id=first, mac=MAC, vlan="untagged")  # guest memory is not inherited


def test_only_its_driver_may_change_free_complete_or_filter_a_queue_and_anyone_may_look() -> None:
    host = lab()
    queue_id = host.running(driver="other")

    assert host.refuse("set_queue_parameters", queue_id=queue_id, cpu=3)[0] == "INVALID_PARAMETER"
    assert host.refuse("set_filter", queue_id=queue_id, mac=OTHER_MAC)[0] == "INVALID_PARAMETER"
    assert host.refuse("clear_filter", queue_id=queue_id, filter_id=1)[0] == "INVALID_PARAMETER"
    paused = host.paused(driver="other")
    status, message = host.refuse("free_queue", queue_id=paused)
    assert (status, message) == ("INVALID_PARAMETER", 'driver: queue 2 belongs to "other", not to "vsp"')
    allocated = host.allocate(driver="other")
    (entry,) = host.accept("complete_allocation", queue_ids=[allocated]).result["queues"]
    assert entry["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"

    assert host.accept("query_queue", queue_id=queue_id).result["driver"] == "other"
    assert len(host.accept("enum_filters", queue_id=queue_id).result["filters"]) == 1
    assert len(host.accept("enum_queues").result["queues"]) == 4
    host.accept("free_queue", queue_id=paused, driver="other")


def test_the_default_queue_is_anyones_but_a_filter_on_it_is_of_who_set_it() -> None:
    host = lab()
    host.accept("set_filter", queue_id=0, mac=MAC, driver="other")
    host.accept("set_queue_parameters", queue_id=0, cpu=2, buffers=5, driver="third")

    assert host.refuse("clear_filter", queue_id=0, filter_id=1)[0] == "INVALID_PARAMETER"
    outcome = host.accept("clear_filter", queue_id=0, filter_id=1, driver="other")
    assert outcome.effects == (SteeringChanged(0),)
    assert [(one.event, one.state) for one in outcome.indications] == [("filter_changed", "running")]
    assert host.state(0) == "running"


def test_the_default_queue_is_neither_completed_freed_nor_renamed() -> None:
    host = lab()

    (entry,) = host.accept("complete_allocation", queue_ids=[0]).result["queues"]
    assert entry["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"
    assert host.refuse("free_queue", queue_id=0)[0] == "INVALID_PARAMETER"
    assert host.refuse("set_queue_parameters", queue_id=0, name="mine")[0] == "INVALID_PARAMETER"


def test_each_change_tells_the_data_plane_what_it_needs_in_order() -> None:
    host = lab()

    assert host.accept("allocate_queue", name="a", vm="a", cpu=2, buffers=4).effects == (
        OpenQueue(0, 1, 2, 2, 0, 0, 1518),
    )
    assert host.accept("set_filter", queue_id=1, mac=MAC).effects == (NewFilter(0, 1), SteeringChanged(0))
    assert host.accept("complete_allocation", queue_ids=[1]).effects == (
        SetBuffers(0, 1, 4),
        SteeringChanged(0),
    )
    assert host.accept("set_queue_parameters", queue_id=1, cpu=3, buffers=6, name="b").effects == (
        MoveQueue(0, 1, 3),
        SetBuffers(0, 1, 6),
    )
    assert host.accept("set_queue_parameters", queue_id=1, name="c").effects == ()


def test_the_revision_counts_requests_that_changed_something_and_no_others() -> None:
    host = lab()
    assert host.host.revision == 1
    queue_id = host.allocate()
    assert host.host.revision == 2

    host.accept("set_queue_parameters", queue_id=queue_id, cpu=1)  # as it is
    host.accept("enum_queues")
    host.accept("complete_allocation", queue_ids=[])
    host.accept("complete_allocation", queue_ids=[9])
    assert host.host.revision == 2
    host.accept("set_queue_parameters", queue_id=queue_id, name="renamed")
    assert host.host.revision == 3


def test_a_split_queue_whose_filters_all_have_numbers_uses_guest_memory_from_completion_on() -> None:
    host = lab(**SPLIT)
    queue_id = host.allocate(lookahead_bytes=100)
    host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan=10)

    effects = host.accept("complete_allocation", queue_ids=[queue_id]).effects

    assert effects[:2] == (SplitBuffers(0, queue_id, 100), SetBuffers(0, queue_id, 8))
    assert host.refuse("set_filter", queue_id=queue_id, mac=MAC, vlan="untagged")[0] == "INVALID_PARAMETER"
    host.accept("clear_filter", queue_id=queue_id, filter_id=1)
    assert host.refuse("set_filter", queue_id=queue_id, mac=MAC, vlan="untagged")[0] == "INVALID_PARAMETER"
    host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan=11)


@pytest.mark.parametrize("why", ["no split", "no filter", "untagged", "no vm"])
def test_any_other_queue_uses_host_memory(why: str) -> None:
    host = lab(**SPLIT)
    queue_id = host.allocate(
        lookahead_bytes=0 if why == "no split" else 100, vm=None if why == "no vm" else "web"
    )
    if why != "no filter":
        host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan="untagged" if why == "untagged" else 10)

    effects = host.accept("complete_allocation", queue_ids=[queue_id]).effects

    assert not any(isinstance(effect, SplitBuffers) for effect in effects)
    host.accept("set_filter", queue_id=queue_id, mac=OTHER_MAC, vlan="untagged")


def test_a_filter_on_a_vms_queue_makes_a_port_that_stays() -> None:
    host = lab()
    queue_id = host.running(vm="web")
    host.accept("clear_filter", queue_id=queue_id, filter_id=1)
    host.accept("free_queue", queue_id=queue_id)
    host.accept("set_filter", queue_id=0, mac=OTHER_MAC)

    assert host.host.adapters[0].describe()["ports"] == [
        {"vm": "web", "management_os": False, "mac": MAC, "vlan": 10}
    ]
    assert host.host.adapters[0].vms == {"web": 0}


def test_capabilities_tell_what_the_adapter_can_do() -> None:
    old = lab(**SPLIT).accept("query_capabilities").result
    new = lab(vlan_filtering=False)
    new.running(vlan="untagged")
    result = new.accept("query_capabilities").result

    assert (old["lookahead_split"], old["min_lookahead_bytes"], old["max_lookahead_bytes"]) == (True, 64, 128)
    assert (result["lookahead_split"], result["min_lookahead_bytes"], result["max_lookahead_bytes"]) == (
        False,
        0,
        0,
    )
    assert old["dynamic_processor_affinity"] is result["dynamic_processor_affinity"] is True
    assert (old["vlan_filtering"], result["vlan_filtering"]) == (True, False)
    assert (result["max_queues"], result["num_queues"], result["max_filters"], result["num_filters"]) == (
        6,
        1,
        8,
        1,
    )
    assert (result["buffers"], result["buffers_left"], result["msix_vectors"]) == (100, 82, 2)
