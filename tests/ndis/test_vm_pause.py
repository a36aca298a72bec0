"""A paused VM returns no buffer of its queues, and a resumed one does again."""

import msgspec
import pytest

from engine.ndis.effects import HoldBuffers, OpenQueue, SteeringChanged
from engine.ndis.outcome import NdisStatus
from engine.scenario.model import PortSpec
from engine.telemetry.config import QueueConfig
from tests.ndis.lab import MAC, OTHER_MAC, lab, snapshot, told


def test_a_paused_vm_keeps_the_buffers_of_all_its_queues_and_of_no_other() -> None:
    host = lab()
    first, theirs, second = host.running(), host.paused(vm="db"), host.allocate()
    host.plane.take(first, 3)

    outcome = host.accept("pause_vm", vm="web")

    assert outcome.effects == (HoldBuffers(0, first, True), HoldBuffers(0, second, True))
    assert told(outcome) == [("vm_paused", None, None)]
    assert outcome.indications[0].cause == 'VM "web" is paused by vsp (queues 1, 3)'
    assert outcome.result["queues"] == [
        {"queue_id": first, "outstanding": 3},
        {"queue_id": second, "outstanding": 0},
    ]
    assert host.vm_paused() == {0: False, first: True, theirs: False, second: True}


def test_pausing_changes_no_state_and_no_steering() -> None:
    host = lab()
    queue_id = host.running()
    before = host.host.adapters[0].steering_rows()

    outcome = host.accept("pause_vm", vm="web")

    assert host.state(queue_id) == "running"
    assert SteeringChanged(0) not in outcome.effects
    after = host.host.adapters[0].steering_rows()
    assert after.queue.tolist() == before.queue.tolist()
    assert after.port_vm.tolist() == before.port_vm.tolist()


def test_a_resumed_vm_gives_buffers_back_again() -> None:
    host = lab()
    queue_id = host.running()
    host.accept("pause_vm", vm="web")

    outcome = host.accept("resume_vm", vm="web")

    assert outcome.effects == (HoldBuffers(0, queue_id, False),)
    assert told(outcome) == [("vm_resumed", None, None)]
    assert host.vm_paused() == {0: False, queue_id: False}


@pytest.mark.parametrize("paused", [True, False])
def test_pausing_a_paused_vm_and_resuming_a_running_one_change_nothing(paused: bool) -> None:
    host = lab()
    host.running()
    if paused:
        host.accept("pause_vm", vm="web")
    before = snapshot(host.host)

    outcome = host.accept("pause_vm" if paused else "resume_vm", vm="web")

    assert outcome.ndis_status is NdisStatus.SUCCESS
    assert (outcome.effects, outcome.indications, outcome.changed) == ((), (), False)
    assert snapshot(host.host) == before


def test_a_queue_allocated_for_a_paused_vm_is_held_from_its_start() -> None:
    host = lab()
    host.allocate()
    host.accept("pause_vm", vm="web")

    allocated = host.accept("allocate_queue", name="late", vm="web", cpu=0, buffers=4)
    completed = host.accept("complete_allocation", queue_ids=[1, 2])

    assert allocated.effects == (OpenQueue(0, 2, 3, 0, 0, 0, 1518), HoldBuffers(0, 2, True))
    assert not any(isinstance(effect, HoldBuffers) for effect in completed.effects)  # both are already
    assert host.accept("query_queue", queue_id=2).result["vm_paused"] is True
    assert host.accept("resume_vm", vm="web").effects == (
        HoldBuffers(0, 1, False),
        HoldBuffers(0, 2, False),
    )


def test_a_vm_without_a_queue_can_be_paused_and_is_when_it_gets_one() -> None:
    host = lab(port=[PortSpec(vm="db", mac=OTHER_MAC)])

    outcome = host.accept("pause_vm", vm="db")

    assert (outcome.effects, told(outcome)) == ((), [("vm_paused", None, None)])
    assert outcome.indications[0].cause == 'VM "db" is paused by vsp (no queue)'
    queue_id = host.paused(vm="db")
    assert host.vm_paused()[queue_id] is True


def test_a_pending_free_names_the_paused_vm_that_holds_the_buffers() -> None:
    host = lab()
    queue_id = host.paused()
    host.plane.take(queue_id, 2)
    host.accept("pause_vm", vm="web")

    outcome = host.accept("free_queue", queue_id=queue_id)

    assert outcome.ndis_status is NdisStatus.PENDING
    assert outcome.message == f'queue {queue_id} is gone when the paused VM "web" has returned 2 buffers'
    (aborted,) = host.host.stop()
    assert 'the paused VM "web" holds buffers' in aborted.cause


def test_a_freeing_queue_is_held_when_its_vm_is_paused() -> None:
    host = lab()
    queue_id = host.paused()
    host.plane.take(queue_id, 1)
    host.accept("free_queue", queue_id=queue_id)

    assert host.accept("pause_vm", vm="web").effects == (HoldBuffers(0, queue_id, True),)
    assert host.state(queue_id) == "freeing"


def test_the_default_queue_is_never_held() -> None:
    host = lab()
    host.running()
    host.accept("set_filter", queue_id=0, mac=MAC)

    assert host.accept("pause_vm", vm="web").effects == (HoldBuffers(0, 1, True),)
    assert host.vm_paused()[0] is False


def test_the_config_message_tells_of_a_paused_vm() -> None:
    host = lab()
    host.running()
    host.accept("pause_vm", vm="web")

    queues = msgspec.convert(host.host.adapters[0].describe()["queues"], list[QueueConfig])

    assert [queue.vm_paused for queue in queues] == [False, True]
