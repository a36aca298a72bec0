"""``what_if: true`` answers what would happen and changes nothing."""

from typing import Any

import pytest

from tests.ndis.lab import MAC, OTHER_MAC, Lab, lab, snapshot


def ask(host: Lab, op: str, **params: Any) -> dict[str, Any]:
    """The result of a what-if, which must leave everything as it was."""
    before = snapshot(host.host)
    outcome = host.send(op, **params, what_if=True)
    assert snapshot(host.host) == before
    assert (outcome.effects, outcome.indications, outcome.changed) == ((), (), False)
    assert outcome.result["ndis_status"] == outcome.ndis_status
    return outcome.result


def test_a_filter_would_take_its_frames_from_the_default_queue() -> None:
    host = lab()
    queue_id = host.paused()

    result = ask(host, "set_filter", queue_id=queue_id, mac=MAC, vlan=10)

    assert (result["ndis_status"], result["next_state"]) == ("NDIS_STATUS_SUCCESS", "running")
    assert result["filter_id"] == 1
    assert result["steering"] == {
        "sentence": f"frames to {MAC} VLAN 10 would go to queue 1 instead of the default queue",
        "changes": [{"mac": MAC, "vlan": 10, "from_queue": 0, "to_queue": 1}],
        "total_changes": 1,
    }


def test_a_filter_for_any_vlan_on_a_lower_queue_would_take_frames_of_numbered_ones_too() -> None:
    host = lab()
    lower = host.paused()
    higher = host.running(mac=MAC, vlan=10)

    changes = ask(host, "set_filter", queue_id=lower, mac=MAC)["steering"]["changes"]

    assert changes == [
        {"mac": MAC, "vlan": 10, "from_queue": higher, "to_queue": lower},
        {"mac": MAC, "vlan": None, "from_queue": 0, "to_queue": lower},
    ]


def test_clearing_the_last_filter_would_pause_the_queue_and_send_its_frames_to_the_default_queue() -> None:
    host = lab()
    queue_id = host.running()

    result = ask(host, "clear_filter", queue_id=queue_id, filter_id=1)

    assert result["next_state"] == "paused"
    assert result["steering"]["changes"] == [{"mac": MAC, "vlan": 10, "from_queue": queue_id, "to_queue": 0}]


def test_completing_a_batch_says_what_each_queue_would_get() -> None:
    host = lab(buffers=20)
    first, second = host.allocate(buffers=10), host.allocate(buffers=10)
    host.accept("set_filter", queue_id=first, mac=MAC)

    result = ask(host, "complete_allocation", queue_ids=[first, second, 9])

    got = [(e["queue_id"], e["ndis_status"], e["buffers"], e["next_state"]) for e in result["queues"]]
    assert got == [
        (first, "NDIS_STATUS_SUCCESS", 5, "running"),
        (second, "NDIS_STATUS_SUCCESS", 5, "paused"),
        (9, "NDIS_STATUS_INVALID_PARAMETER", 0, "undefined"),
    ]
    assert result["steering"]["total_changes"] == 1
    assert result["next_state"] is None


@pytest.mark.parametrize(
    ("outstanding", "status", "state"), [(0, "SUCCESS", "undefined"), (2, "PENDING", "freeing")]
)
def test_freeing_says_whether_it_would_have_to_wait(outstanding: int, status: str, state: str) -> None:
    host = lab()
    queue_id = host.paused()
    host.plane.take(queue_id, outstanding)

    result = ask(host, "free_queue", queue_id=queue_id)

    assert (result["ndis_status"], result["next_state"]) == (f"NDIS_STATUS_{status}", state)


def test_allocating_says_the_id_that_would_be_given() -> None:
    host = lab()

    result = ask(host, "allocate_queue", name="a", vm="new", cpu=0, buffers=1)

    assert (result["queue_id"], result["next_state"]) == (1, "allocated")
    assert host.allocate() == 1


def test_moving_a_queue_says_which_processor_would_serve_it() -> None:
    host = lab()
    queue_id = host.running(cpu=1)

    steering = ask(host, "set_queue_parameters", queue_id=queue_id, cpu=3)["steering"]

    assert steering["sentence"] == "queue 1 would be served by processor 0:3 instead of 0:1"
    assert steering["changes"] == []


def test_a_request_that_would_be_refused_answers_its_status_and_the_state_as_it_is() -> None:
    host = lab()
    queue_id = host.running()

    result = ask(host, "free_queue", queue_id=queue_id)

    assert (result["ndis_status"], result["next_state"]) == ("NDIS_STATUS_INVALID_PARAMETER", "running")
    assert result["steering"]["sentence"] == "every frame would go where it goes now"


def test_asking_operations_take_what_if_and_answer_as_always() -> None:
    host = lab()
    host.running()

    for op, params in (("enum_queues", {}), ("query_queue", {"queue_id": 1}), ("ping", {})):
        plain = host.accept(op, **params).result
        result = ask(host, op, **params)
        assert plain.keys() <= result.keys()
        assert result["steering"]["changes"] == []


def test_a_what_if_lists_a_bounded_number_of_changes_and_counts_all() -> None:
    host = lab(max_filters=400)
    queue_id = host.allocate()
    for vlan in range(1, 301):
        host.accept("set_filter", queue_id=queue_id, mac=OTHER_MAC, vlan=vlan)

    steering = ask(host, "complete_allocation", queue_ids=[queue_id])["steering"]

    assert (len(steering["changes"]), steering["total_changes"]) == (256, 300)
    assert "297 more" in steering["sentence"]
