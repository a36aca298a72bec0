"""Removed and migrated VMs: the switch returns what they held and frees their queues; names and indices."""

from typing import Any

import pytest

from engine.ndis.effects import (
    CloseQueue,
    DiscardPending,
    Effect,
    ForgetVm,
    HoldBuffers,
    ReturnBuffers,
    SetBuffers,
    SteeringChanged,
)
from engine.ndis.outcome import NdisStatus
from engine.scenario.model import AdapterSpec, FilterSpec, PortSpec, QueueSpec, Scenario
from tests.ndis.lab import MAC, OTHER_MAC, Lab, lab, snapshot, start, told
from tests.ndis.test_steering_rows import Verdict, look_up

ENDINGS = ["remove_vm", "migrate_vm"]
THIRD_MAC = "00:15:5d:00:00:03"


def destination(host: Lab, mac: str, vid: int | None) -> Verdict:
    """Where a frame goes."""
    adapter = host.host.adapters[0]
    return look_up(adapter.steering_rows(), adapter.vms, mac, vid)


# --- remove ---------------------------------------------------------------------------------------


def test_removing_a_vm_clears_and_frees_its_running_queue_step_by_step() -> None:
    host = lab()
    queue_id = host.running()
    host.accept("set_filter", queue_id=queue_id, mac=OTHER_MAC)
    host.plane.take(queue_id, 5)

    outcome = host.accept("remove_vm", vm="web")

    assert outcome.ndis_status is NdisStatus.SUCCESS
    assert outcome.result == {"queues": [{"queue_id": queue_id, "outstanding": 5}]}
    assert outcome.effects == (
        DiscardPending(0, queue_id),
        ReturnBuffers(0, queue_id),
        CloseQueue(0, queue_id),
        ForgetVm(0, 0),
        SteeringChanged(0),
    )
    assert told(outcome) == [
        ("queue_state", queue_id, "paused"),
        ("queue_state", queue_id, "dma_stopped"),
        ("queue_state", queue_id, "freeing"),
        ("queue_freed", queue_id, "undefined"),
        ("vm_removed", None, None),
    ]
    assert "NDIS_STATUS_RECEIVE_QUEUE_STATE" in outcome.indications[1].cause
    assert all('VM "web" is removed by vsp' in outcome.indications[place].cause for place in (0, 1, 4))
    assert (host.state(queue_id), host.host.adapters[0].filters) == ("undefined", {})


STEPS: dict[str, tuple[list[type[Effect]], list[str]]] = {
    "allocated": ([], ["dma_stopped", "freeing", "undefined"]),
    "set": ([], ["allocated", "dma_stopped", "freeing", "undefined"]),
    "running": ([DiscardPending], ["paused", "dma_stopped", "freeing", "undefined"]),
    "paused": ([], ["dma_stopped", "freeing", "undefined"]),
    "freeing": ([], ["undefined"]),
}


@pytest.mark.parametrize("state", STEPS)
def test_a_removed_vms_queue_is_freed_at_once_from_every_state(state: str) -> None:
    host = lab()
    queue_id = host.allocate()
    if state in ("set", "running"):
        host.accept("set_filter", queue_id=queue_id, mac=MAC)
    if state in ("running", "paused", "freeing"):
        host.accept("complete_allocation", queue_ids=[queue_id])
        host.plane.take(queue_id, 1)
    if state == "freeing":
        host.accept("free_queue", queue_id=queue_id)
    assert host.state(queue_id) == state

    outcome = host.accept("remove_vm", vm="web")

    first, states = STEPS[state]
    ending = [ReturnBuffers, CloseQueue, ForgetVm, SteeringChanged]
    assert [type(effect) for effect in outcome.effects] == [*first, *ending]
    assert told(outcome)[-2:] == [("queue_freed", queue_id, "undefined"), ("vm_removed", None, None)]
    assert [one.state for one in outcome.indications[:-1]] == states
    assert (host.state(queue_id), host.host.freeing()) == ("undefined", ())
    assert host.accept("query_capabilities").result["buffers_left"] == 90


def test_removing_reaches_queues_and_filters_of_every_driver_but_nothing_of_others() -> None:
    host = lab()
    theirs = host.running(driver="other")
    another = host.running(vm="db", mac=OTHER_MAC)
    host.accept("set_filter", queue_id=0, mac=MAC)

    host.accept("remove_vm", vm="web", driver="third")

    assert host.state(theirs) == "undefined"
    assert host.state(another) == "running"
    kept = [(one.queue_id, one.driver) for one in host.host.adapters[0].filters.values()]
    assert sorted(kept) == [(0, "vsp"), (another, "vsp")]
    assert [port.vm for port in host.host.adapters[0].ports] == ["db"]


def test_queues_go_by_id_and_steering_changes_once_after_all() -> None:
    host = lab()
    first, second = host.running(), host.running(mac=OTHER_MAC)

    effects = host.accept("remove_vm", vm="web").effects

    assert [effect for effect in effects if isinstance(effect, CloseQueue)] == [
        CloseQueue(0, first),
        CloseQueue(0, second),
    ]
    assert effects.count(SteeringChanged(0)) == 1
    assert effects[-1] == SteeringChanged(0)


@pytest.mark.parametrize("op", ENDINGS)
def test_frames_to_a_vm_that_is_gone_are_the_default_queues_as_unknown_unicast(op: str) -> None:
    host = lab(port=[PortSpec(vm="web", mac=OTHER_MAC, vlan=20)])
    host.running()
    assert destination(host, MAC, 10) == Verdict(1, 1, "web", None)
    assert destination(host, OTHER_MAC, 20) == Verdict(0, None, "web", "no_queue")

    host.accept(op, vm="web")

    assert destination(host, MAC, 10) == Verdict(0, None, None, "unknown_unicast")
    assert destination(host, OTHER_MAC, 20) == Verdict(0, None, None, "unknown_unicast")
    assert host.host.adapters[0].describe()["ports"] == []


def test_the_port_of_another_vm_counts_again_when_the_vm_set_last_is_gone() -> None:
    host = lab(port=[PortSpec(vm="a", mac=MAC, vlan=10), PortSpec(vm="b", mac=MAC, vlan=10)])
    host.allocate(vm="a")
    assert destination(host, MAC, 10).vm == "b"

    host.accept("remove_vm", vm="b")

    assert destination(host, MAC, 10) == Verdict(0, None, "a", "no_queue")
    host.accept("remove_vm", vm="a")
    assert destination(host, MAC, 10).reason == "unknown_unicast"


@pytest.mark.parametrize("op", ["pause_vm", "resume_vm", "remove_vm", "migrate_vm"])
def test_a_vm_is_unknown_until_introduced_and_after_it_is_gone(op: str) -> None:
    host = lab(port=[PortSpec(vm="db", mac=OTHER_MAC)])
    assert host.refuse(op, vm="web") == (
        "INVALID_PARAMETER",
        'vm: "web" is not a VM of adapter "nic0" ("db")',
    )
    host.accept("free_queue", queue_id=host.paused())  # it stays known without a queue
    host.accept(op, vm="web")
    if op in ENDINGS:
        assert host.refuse(op, vm="web")[0] == "INVALID_PARAMETER"


def test_naming_the_vms_that_fit_is_bounded() -> None:
    host = lab(port=[PortSpec(vm=f"vm{n}", mac=MAC) for n in range(50)])

    message = host.refuse("pause_vm", vm="web")[1]

    assert message.endswith('"vm6", "vm7", …)')


@pytest.mark.parametrize("op", ["pause_vm", "resume_vm", "remove_vm", "migrate_vm"])
@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, "INVALID_PARAMETER"),
        ({"vm": None}, "INVALID_PARAMETER"),
        ({"vm": 7}, "INVALID_PARAMETER"),
        ({"vm": ""}, "INVALID_PARAMETER"),
        ({"vm": "n" * 257}, "INVALID_LENGTH"),
        ({"vm": "web", "queue_id": 1}, "INVALID_PARAMETER"),
    ],
)
def test_a_request_about_a_vm_takes_its_name_and_nothing_else(
    op: str, params: dict[str, Any], status: str
) -> None:
    host = lab()
    host.running()

    answered, message = host.refuse(op, **params)

    assert (answered, message.split(":")[0] in ("vm", "params")) == (status, True)


def test_a_vm_of_the_same_name_starts_afresh_after_the_first_is_gone() -> None:
    host = lab()
    host.running()
    host.accept("pause_vm", vm="web")
    host.accept("remove_vm", vm="web")

    queue_id = host.running()

    assert (queue_id, host.vm_paused()) == (1, {0: False, 1: False})
    assert host.accept("query_queue", queue_id=1).result["generation"] == 3
    assert destination(host, MAC, 10) == Verdict(1, 1, "web", None)


def test_removing_a_vm_makes_room_for_queues_filters_and_vms() -> None:
    host = lab(max_queues=1, max_filters=1)
    adapter = host.host.adapters[0]
    for number in range(adapter.max_vms - 1):
        adapter.add_port(f"vm{number}", 1)
    host.running()
    wanted = {"name": "new", "vm": "new", "cpu": 0, "buffers": 4}
    assert host.refuse("allocate_queue", **wanted)[0] == "RESOURCES"

    host.accept("remove_vm", vm="web")

    assert host.running(vm="new") == 1


# --- indices --------------------------------------------------------------------------------------


def test_a_vms_index_is_the_lowest_unused_and_given_out_again() -> None:
    host = lab()
    for vm in ("a", "b", "c"):
        host.allocate(vm=vm)
    vms = host.host.adapters[0].vms
    assert vms == {"a": 0, "b": 1, "c": 2}

    assert ForgetVm(0, 1) in host.accept("remove_vm", vm="b").effects
    assert ForgetVm(0, 0) in host.accept("remove_vm", vm="a").effects
    for vm in ("d", "a", "b"):
        host.allocate(vm=vm)

    assert vms == {"c": 2, "d": 0, "a": 1, "b": 3}


def test_vm_indices_stay_below_max_vms_which_sizes_memory() -> None:
    adapter = lab(max_queues=2, port=[PortSpec(vm="a", mac=MAC)]).host.adapters[0]
    assert (adapter.max_vms, adapter.max_ports) == (1 + 2 + 1024, 1 + 8 + 16_384)

    for number in range(adapter.max_vms - 1):
        adapter.add_port(f"vm{number}", 1)

    assert set(adapter.vms.values()) == set(range(adapter.max_vms))


# --- migrate --------------------------------------------------------------------------------------


def test_migrating_pauses_first_and_then_removes() -> None:
    host = lab()
    queue_id = host.running()
    host.plane.take(queue_id, 2)

    outcome = host.accept("migrate_vm", vm="web")

    assert outcome.effects == (
        HoldBuffers(0, queue_id, True),
        DiscardPending(0, queue_id),
        ReturnBuffers(0, queue_id),
        CloseQueue(0, queue_id),
        ForgetVm(0, 0),
        SteeringChanged(0),
    )
    assert [event for event, _, _ in told(outcome)] == [
        "vm_paused",
        *["queue_state"] * 3,
        "queue_freed",
        "vm_migrated",
    ]
    assert outcome.result == {"queues": [{"queue_id": queue_id, "outstanding": 2}]}
    assert 'VM "web" is migrated by vsp' in outcome.indications[-1].cause


def test_migrating_a_paused_vm_does_not_pause_it_again() -> None:
    host = lab()
    host.running()
    host.accept("pause_vm", vm="web")

    outcome = host.accept("migrate_vm", vm="web")

    assert isinstance(outcome.effects[0], DiscardPending)
    assert "vm_paused" not in [event for event, _, _ in told(outcome)]
    assert host.host.adapters[0].paused_vms == set()


@pytest.mark.parametrize("op", ENDINGS)
def test_a_vm_without_a_queue_can_end_with_its_ports(op: str) -> None:
    host = lab(port=[PortSpec(vm="db", mac=OTHER_MAC)])

    outcome = host.accept(op, vm="db")

    assert outcome.effects == (ForgetVm(0, 0), SteeringChanged(0))
    assert told(outcome)[-1] == ("vm_migrated" if op == "migrate_vm" else "vm_removed", None, None)


# --- one adapter, one revision, what if -----------------------------------------------------------


def test_a_vm_on_two_adapters_is_removed_on_the_one_that_is_named() -> None:
    specs = [
        AdapterSpec(name=name, queue=[QueueSpec(vm="web", filter=[FilterSpec(mac=MAC)])])
        for name in ("nic0", "nic1")
    ]
    host = start(Scenario(adapter=specs))

    assert host.refuse("remove_vm", vm="web") == (
        "INVALID_PARAMETER",
        'adapter: missing ("nic0", "nic1" fits)',
    )
    outcome = host.accept("remove_vm", vm="web", adapter="nic1")

    assert outcome.effects[-1] == SteeringChanged(1)
    assert {one.adapter for one in outcome.indications} == {1}
    host.accept("query_queue", queue_id=1, adapter="nic0")
    assert host.refuse("query_queue", queue_id=1, adapter="nic1")[0] == "INVALID_PARAMETER"


@pytest.mark.parametrize("op", ["pause_vm", *ENDINGS])
def test_a_request_about_a_vm_makes_one_revision_whatever_it_frees(op: str) -> None:
    host = lab()
    host.running()
    host.running(mac=OTHER_MAC)
    before = host.host.revision

    host.accept(op, vm="web")

    assert host.host.revision == before + 1


@pytest.mark.parametrize(
    ("op", "state"),
    [("pause_vm", "running"), ("remove_vm", "undefined"), ("migrate_vm", "undefined")],
)
def test_what_if_tells_the_next_state_of_each_queue_and_changes_nothing(op: str, state: str) -> None:
    host = lab(port=[PortSpec(vm="web", mac=THIRD_MAC)])
    queue_id = host.running()
    host.plane.take(queue_id, 1)
    before = snapshot(host.host)

    outcome = host.send(op, vm="web", what_if=True)

    assert snapshot(host.host) == before
    assert (outcome.effects, outcome.indications, outcome.changed) == ((), (), False)
    result = outcome.result
    assert (result["ndis_status"], result["next_state"]) == ("NDIS_STATUS_SUCCESS", None)
    assert result["queues"] == [{"queue_id": queue_id, "outstanding": 1, "next_state": state}]
    steering = result["steering"]
    if state == "running":
        assert steering["sentence"] == "every frame would go where it goes now"
    else:
        assert steering["changes"] == [{"mac": MAC, "vlan": 10, "from_queue": queue_id, "to_queue": 0}]
        assert steering["sentence"].endswith("2 ports of the switch would be gone")


def test_what_if_of_an_unknown_vm_answers_that_it_is() -> None:
    host = lab()

    outcome = host.send("remove_vm", vm="web", what_if=True)

    assert (outcome.status, outcome.result["next_state"]) == ("error", None)
    assert outcome.result["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"


def test_the_buffers_of_a_removed_vm_are_left_for_others_even_while_its_queue_shrinks() -> None:
    host = lab(buffers=20)
    queue_id = host.paused(buffers=8)
    host.plane.take(queue_id, 8)
    host.accept("set_queue_parameters", queue_id=queue_id, buffers=2)
    assert host.accept("query_capabilities").result["buffers_left"] == 2

    host.accept("remove_vm", vm="web")

    assert host.accept("query_capabilities").result["buffers_left"] == 10
    other = host.allocate(vm="db", buffers=10)
    effects = host.accept("complete_allocation", queue_ids=[other]).effects
    assert SetBuffers(0, other, 10) in effects
