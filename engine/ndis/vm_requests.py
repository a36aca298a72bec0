"""Requests about a VM: pause, resume, remove, migrate (NDIS.md, "Live migration").

They act for the switch, not for an overlying driver: they apply to the VM's ports and to all of its queues on
this adapter, in any state and of any driver, but never to queue 0.
"""

from typing import Any, Literal

from engine.ndis.adapter import Adapter, id_ranges
from engine.ndis.effects import (
    Effect,
    ForgetVm,
    HoldBuffers,
    Indication,
    Observe,
    ReturnBuffers,
    SteeringChanged,
)
from engine.ndis.outcome import Outcome, answer, done
from engine.ndis.queue import State
from engine.ndis.queue_requests import clear_filters, free_queue, returned, stop_dma
from engine.scenario.values import show


def pause_vm(adapter: Adapter, observe: Observe, driver: str, *, vm: str) -> Outcome:
    """Stop a VM from returning buffers of its queues, including queues allocated later. Idempotent."""
    adapter.check_vm(vm)
    result = _result(adapter, observe, vm)
    if vm in adapter.paused_vms:
        return answer(f"VM {show(vm)} is paused already", result)
    effects, indications = _set_paused(adapter, driver, vm, True)
    return done(
        f"VM {show(vm)} is paused ({_its_queues(adapter, vm)})",
        result=result,
        effects=effects,
        indications=indications,
    )


def resume_vm(adapter: Adapter, observe: Observe, driver: str, *, vm: str) -> Outcome:
    """Let a paused VM return buffers again. Idempotent."""
    adapter.check_vm(vm)
    result = _result(adapter, observe, vm)
    if vm not in adapter.paused_vms:
        return answer(f"VM {show(vm)} is not paused", result)
    effects, indications = _set_paused(adapter, driver, vm, False)
    return done(
        f"VM {show(vm)} is resumed ({_its_queues(adapter, vm)})",
        result=result,
        effects=effects,
        indications=indications,
    )


def remove_vm(adapter: Adapter, observe: Observe, driver: str, *, vm: str) -> Outcome:
    """Remove a VM: return its buffers, clear and free its queues, remove its ports."""
    adapter.check_vm(vm)
    return _tear_down(adapter, observe, driver, vm, "removed")


def migrate_vm(adapter: Adapter, observe: Observe, driver: str, *, vm: str) -> Outcome:
    """Pause a VM, if it is not paused already, and remove it: it continues on another host."""
    adapter.check_vm(vm)
    effects: list[Effect] = []
    indications: list[Indication] = []
    if vm not in adapter.paused_vms:
        effects, indications = _set_paused(adapter, driver, vm, True)
    gone = _tear_down(adapter, observe, driver, vm, "migrated")
    return done(
        gone.message,
        result=gone.result,
        effects=[*effects, *gone.effects],
        indications=[*indications, *gone.indications],
    )


def _set_paused(
    adapter: Adapter, driver: str, vm: str, paused: bool
) -> tuple[list[Effect], list[Indication]]:
    effects: list[Effect] = [
        HoldBuffers(adapter.index, queue.queue_id, held=paused) for queue in adapter.queues_of(vm)
    ]
    (adapter.paused_vms.add if paused else adapter.paused_vms.discard)(vm)
    return effects, [_indicate(adapter, driver, vm, "paused" if paused else "resumed")]


def _tear_down(
    adapter: Adapter, observe: Observe, driver: str, vm: str, fate: Literal["removed", "migrated"]
) -> Outcome:
    queues = adapter.queues_of(vm)
    result = _result(adapter, observe, vm)
    message = f"VM {show(vm)} is {fate} ({_its_queues(adapter, vm)} freed)"
    gone = _indicate(adapter, driver, vm, fate)
    effects: list[Effect] = []
    indications: list[Indication] = []
    for queue in queues:
        if queue.filters:
            filters = list(queue.filters.values())
            cleared, told = clear_filters(adapter, queue, filters, f"filters cleared: {gone.cause}")
            effects += cleared
            indications += told
        effects.append(ReturnBuffers(adapter.index, queue.queue_id))
        if queue.state is not State.FREEING:
            indications += stop_dma(adapter, queue, gone.cause, "the switch returns its buffers")
        freed = returned(adapter, queue.queue_id)
        effects += freed.effects
        indications += freed.indications
    effects += [ForgetVm(adapter.index, adapter.forget_vm(vm)), SteeringChanged(adapter.index)]
    return done(message, result=result, effects=effects, indications=[*indications, gone])


def free_all_queues(adapter: Adapter, observe: Observe, cause: str) -> tuple[list[Effect], list[Indication]]:
    """Free all queues but the default one, of any driver: now, or when their buffers are returned."""
    effects: list[Effect] = []
    indications: list[Indication] = []
    for queue in [queue for _, queue in sorted(adapter.queues.items()) if not queue.is_default]:
        if queue.state is State.FREEING:
            continue
        if queue.filters:
            cleared, told = clear_filters(adapter, queue, list(queue.filters.values()), cause)
            effects += cleared
            indications += told
        freed = free_queue(adapter, observe, queue.driver, queue_id=queue.queue_id)
        effects += freed.effects
        indications += freed.indications
    return [*effects, SteeringChanged(adapter.index)], indications


def _indicate(adapter: Adapter, driver: str, vm: str, fate: str) -> Indication:
    cause = f"VM {show(vm)} is {fate} by {driver} ({_its_queues(adapter, vm)})"
    return Indication(f"vm_{fate}", adapter.index, None, None, cause)


def _its_queues(adapter: Adapter, vm: str) -> str:
    ids = [queue.queue_id for queue in adapter.queues_of(vm)]
    return f"{'queue' if len(ids) == 1 else 'queues'} {id_ranges(ids)}" if ids else "no queue"


def _result(adapter: Adapter, observe: Observe, vm: str) -> dict[str, Any]:
    """Return the VM's queues, each with its outstanding buffers when the request arrived."""
    return {
        "queues": [
            {
                "queue_id": queue.queue_id,
                "outstanding": observe.gauges(adapter.index, queue.queue_id).outstanding,
            }
            for queue in adapter.queues_of(vm)
        ]
    }
