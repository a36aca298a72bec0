"""Requests that change queues and filters (NDIS, "Queue States and Operations").

Every function makes all checks before any change, so that a refused request (``NdisError``) changes
nothing. ``operations`` has already checked the types of the parameters.
"""

from collections.abc import Iterable, Sequence

from engine.counted import counted
from engine.ndis.adapter import Adapter, id_ranges
from engine.ndis.effects import (
    CloseQueue,
    DiscardPending,
    Effect,
    Indication,
    MoveQueue,
    NewFilter,
    Observe,
    RestartWorker,
    SetBuffers,
    SplitBuffers,
    SteeringChanged,
    change,
    changed_by,
)
from engine.ndis.outcome import NdisError, NdisStatus, Outcome, done, exhausted, invalid
from engine.ndis.queue import DEFAULT_QUEUE, Event, Filter, Queue, State, key_in_words, key_of, vlan_of
from engine.ndis.resources import share_out
from engine.scenario.model import MANAGEMENT_OS
from engine.scenario.values import MAX_BUFFERS, Vlan, check_filter_vlan, show


def allocate_queue(
    adapter: Adapter,
    observe: Observe,
    driver: str,
    *,
    name: str | None,
    vm: str | None,
    cpu: int,
    buffers: int,
    lookahead_bytes: int = 0,
    return_delay_us: int = 0,
) -> Outcome:
    """Allocate a queue; ``complete_allocation`` gives it buffers later."""
    _check_cpu(adapter, cpu)
    _check_buffers(buffers)
    queue = adapter.add_queue(
        name=name,
        vm=vm,
        cpu=cpu,
        buffers=buffers,
        driver=driver,
        lookahead_bytes=_usable_lookahead(adapter, lookahead_bytes),
        return_delay_us=return_delay_us,
    )
    return done(
        f"queue {queue.queue_id} is allocated",
        result={"queue_id": queue.queue_id},
        effects=adapter.open(queue),
        indications=[adapter.indicate(queue, f"allocated by {driver}")],
    )


def complete_allocation(
    adapter: Adapter, observe: Observe, driver: str, *, queue_ids: Sequence[int]
) -> Outcome:
    """Complete a batch: share the unowned buffers among its queues, and start the queues that have filters.

    The answer has an entry for each of ``queue_ids``, in order; a repetition of an id is refused.
    """
    batch, refused = _find_batch(adapter, driver, queue_ids)
    left = adapter.budget.left(adapter.total_of(observe))
    shares = share_out([queue.suggested_buffers for queue in batch.values()], left)
    effects: list[Effect] = []
    indications: list[Indication] = []
    for (place, queue), share in zip(batch.items(), shares, strict=True):
        if not share:
            refused[place] = exhausted(
                f"buffers: {queue.suggested_buffers} is over twice what queue {queue.queue_id} could have"
                f" ({counted(left, 'buffer')} of {adapter.title} left for the batch)"
            )
            continue
        adapter.budget.give(queue.queue_id, share)
        queue.guest_memory = _may_use_guest_memory(adapter, queue)
        if queue.guest_memory:
            effects.append(SplitBuffers(adapter.index, queue.queue_id, queue.lookahead_bytes))
        effects.append(SetBuffers(adapter.index, queue.queue_id, share))
        indications += adapter.move(
            queue, Event.COMPLETE, f"completed by {driver} with {counted(share, 'buffer')}"
        )
    if any(queue.takes_frames for queue in batch.values()):
        effects.append(SteeringChanged(adapter.index))
    entries = []
    for place, queue_id in enumerate(queue_ids):
        failure = refused.get(place)
        entries.append(
            {
                "queue_id": queue_id,
                "ndis_status": str(failure.status if failure else NdisStatus.SUCCESS),
                "buffers": 0 if failure else adapter.budget.share(queue_id),
                "message": failure.message if failure else f"queue {queue_id} is {batch[place].state}",
            }
        )
    completed = len(queue_ids) - len(refused)
    return done(
        f"{completed:,} of {counted(len(queue_ids), 'queue is', 'queues are')} completed",
        result={"queues": entries},
        effects=effects,
        indications=indications,
        changed=completed > 0,
    )


def _find_batch(
    adapter: Adapter, driver: str, queue_ids: Sequence[int]
) -> tuple[dict[int, Queue], dict[int, NdisError]]:
    """Return the queues that can be completed and the errors of the others, keyed by place in the batch."""
    batch: dict[int, Queue] = {}
    refused: dict[int, NdisError] = {}
    seen: set[int] = set()
    for place, queue_id in enumerate(queue_ids):
        try:
            if queue_id in seen:
                raise invalid(f"queue_ids: {show(queue_id)} is in the batch twice")
            seen.add(queue_id)
            batch[place] = adapter.find_for(queue_id, Event.COMPLETE, driver)
        except NdisError as error:
            refused[place] = error
    return batch, refused


def set_queue_parameters(
    adapter: Adapter,
    observe: Observe,
    driver: str,
    *,
    queue_id: int,
    cpu: int | None = None,
    buffers: int | None = None,
    name: str | None = None,
    keep_home: bool = False,
) -> Outcome:
    """Change a queue's affinity, suggested buffers or name. Any driver may change the first two of queue 0.

    Unless ``keep_home``, the new processor also becomes the queue's home.
    """
    queue = adapter.find_for(queue_id, Event.SET_PARAMETERS, driver)
    if cpu is None and buffers is None and name is None:
        raise invalid("params: nothing to change (cpu, buffers and name fit)")
    if name is not None and queue.is_default:
        raise invalid(f"name: {show(name)} is refused, the default queue keeps its name (leave it out)")
    if cpu is not None:
        _check_cpu(adapter, cpu)
    owned = adapter.budget.share(queue_id)
    if buffers is not None:
        _check_buffers(buffers)
        if owned:
            _check_growth(adapter, observe, queue_id, buffers)
    effects: list[Effect] = []
    indications: list[Indication] = []
    changes: list[str] = []
    settings: list[str] = []
    named = adapter.processors.name
    if cpu is not None and cpu != queue.cpu:
        moved = f"moved by {driver} from {named(queue.cpu)} to {named(cpu)}"
        indications.append(adapter.indicate(queue, moved, "queue_moved"))
        queue.cpu = cpu
        effects.append(MoveQueue(adapter.index, queue_id, cpu))
        changes.append(f"is served by processor {named(cpu)}")
    if cpu is not None and not keep_home and cpu != queue.home_cpu:
        if not changes:
            settings.append(f"home {named(queue.home_cpu)} → {named(cpu)}")
            changes.append(f"is at home on processor {named(cpu)}")
        queue.home_cpu = cpu
    if buffers is not None and owned not in (0, buffers):
        settings.append(change("buffers", owned, buffers))
        adapter.budget.give(queue_id, buffers)
        effects.append(SetBuffers(adapter.index, queue_id, buffers))
        changes.append(f"has {counted(buffers, 'buffer')}")
    elif buffers is not None and buffers != queue.suggested_buffers:
        settings.append(change("suggested buffers", queue.suggested_buffers, buffers))
        changes.append(f"suggests {counted(buffers, 'buffer')}")
    if buffers is not None:
        queue.suggested_buffers = buffers
    if name is not None and name != queue.name:
        settings.append(change("name", queue.name, name))
        queue.name = name
        changes.append(f"is named {show(name)}")
    if settings:
        indications.append(adapter.indicate(queue, changed_by(driver, settings), "queue_changed"))
    what = " and ".join(changes) or "is as it was"
    return done(f"queue {queue_id} {what}", effects=effects, indications=indications, changed=bool(changes))


def free_queue(adapter: Adapter, observe: Observe, driver: str, *, queue_id: int) -> Outcome:
    """Stop a queue's DMA and free it: now, or when its last buffer is returned (status PENDING)."""
    if queue_id == DEFAULT_QUEUE:
        raise invalid("queue_id: 0 is the default queue, which can't be freed")
    queue = adapter.find(queue_id)
    if queue.filters:
        adapter.check_owner(queue, driver)
        raise invalid(
            f"queue_id: queue {queue_id} has filters set ({id_ranges(queue.filters)}); clear them first"
        )
    adapter.find_for(queue_id, Event.FREE, driver)
    waiting = 0
    if adapter.budget.share(queue_id):
        gauges = observe.gauges(adapter.index, queue_id)
        waiting = gauges.pending + gauges.outstanding
    indications = stop_dma(adapter, queue, f"freed by {driver}", f"{counted(waiting, 'buffer')} outstanding")
    adapter.freeing.add(queue_id)
    if waiting:
        return done(
            f"queue {queue_id} is gone when {holder(adapter, queue)} has returned"
            f" {counted(waiting, 'buffer')}",
            indications=indications,
            status=NdisStatus.PENDING,
        )
    gone = returned(adapter, queue_id)
    return done(gone.message, effects=list(gone.effects), indications=[*indications, *gone.indications])


def stop_dma(adapter: Adapter, queue: Queue, cause: str, waiting: str) -> list[Indication]:
    """Stop a queue's DMA, the first step of its free; ``waiting`` is the cause of the second event."""
    stopped = adapter.move(queue, Event.FREE, f"{cause} ({NdisStatus.RECEIVE_QUEUE_STATE}: DmaStopped)")
    return [*stopped, *adapter.move(queue, Event.DMA_STOPPED, waiting)]


def returned(adapter: Adapter, queue_id: int) -> Outcome:
    """Remove a queue whose last buffer was returned, and free its memory."""
    queue = adapter.find_for(queue_id, Event.RETURNED)
    adapter.move(queue, Event.RETURNED, "")
    adapter.remove_queue(queue)
    cause = "every buffer is returned, its shared memory freed"
    return done(
        f"queue {queue_id} is freed",
        effects=[CloseQueue(adapter.index, queue_id)],
        indications=[adapter.indicate(queue, cause, "queue_freed")],
    )


def set_filter(
    adapter: Adapter, observe: Observe, driver: str, *, queue_id: int, mac: int, vlan: Vlan = None
) -> Outcome:
    """Set a filter; if the queue has a VM, the filter's MAC and VLAN also become a port of that VM."""
    queue = adapter.find_for(queue_id, Event.SET_FILTER, driver)
    try:
        check_filter_vlan(vlan, adapter.spec.ndis_minor, adapter.spec.vlan_filtering)
    except ValueError as error:
        raise invalid(f"vlan: {error}") from None
    if queue.guest_memory and not isinstance(vlan, int):
        raise invalid(
            f"vlan: {show(vlan)} does not fit queue {queue_id}, which uses guest memory (1..4094 fits)"
        )
    key = key_of(mac, vlan)
    twin = adapter.filter_of.get(key)
    if twin is not None:
        raise invalid(
            f"mac: {key_in_words(key)} is in filter {twin.filter_id} of queue {twin.queue_id} already"
            " (another MAC or VLAN fits)"
        )
    new = adapter.add_filter(queue, key, driver)
    cause = f"filter {new.filter_id} set by {driver} ({key_in_words(key)})"
    told = adapter.move(queue, Event.SET_FILTER, cause)
    return done(
        f"filter {new.filter_id} ({key_in_words(key)}) is set on queue {queue_id}",
        result={"filter_id": new.filter_id},
        effects=[NewFilter(adapter.index, new.filter_id), SteeringChanged(adapter.index)],
        indications=told or [adapter.indicate(queue, cause, "filter_changed")],
    )


def clear_filter(
    adapter: Adapter, observe: Observe, driver: str, *, queue_id: int, filter_id: int
) -> Outcome:
    """Clear a filter. A running queue without filters pauses, and its pending frames are discarded."""
    queue = adapter.find(queue_id)
    if queue.state in (State.DMA_STOPPED, State.FREEING):
        raise invalid(f"queue_id: queue {queue_id} is {queue.state} (a queue with filters fits)")
    adapter.check_owner(queue, driver)
    old = queue.filters.get(filter_id)
    if old is None:
        raise NdisError(
            NdisStatus.FILE_NOT_FOUND,
            f"filter_id: {show(filter_id)} is not a filter of queue {queue_id} ({id_ranges(queue.filters)})",
        )
    if old.driver != driver:
        raise invalid(f"driver: filter {filter_id} belongs to {show(old.driver)}, not to {show(driver)}")
    cleared = f"cleared by {driver} ({key_in_words(old.key)})"
    effects, told = clear_filters(adapter, queue, [old], f"last filter {cleared}")
    return done(
        f"filter {filter_id} ({key_in_words(old.key)}) is cleared from queue {queue_id}",
        effects=[*effects, SteeringChanged(adapter.index)],
        indications=told or [adapter.indicate(queue, f"filter {filter_id} {cleared}", "filter_changed")],
    )


def clear_filters(
    adapter: Adapter, queue: Queue, filters: Iterable[Filter], cause: str
) -> tuple[list[Effect], list[Indication]]:
    """Clear filters of a queue, as ``clear_filter`` does; return the effects and the events to publish."""
    took_frames = queue.takes_frames
    for one in filters:
        adapter.remove_filter(queue, one)
    if queue.filters or queue.is_default:
        return [], []
    effects: list[Effect] = [DiscardPending(adapter.index, queue.queue_id)] if took_frames else []
    return effects, adapter.move(queue, Event.CLEAR_LAST_FILTER, cause)


def holder(adapter: Adapter, queue: Queue) -> str:
    """Name the holder of a queue's outstanding buffers (the VM or the switch) for a sentence."""
    if queue.vm is None:
        return "the switch"
    if queue.vm == MANAGEMENT_OS:
        return "the host itself"
    return f"the paused VM {show(queue.vm)}" if adapter.is_vm_paused(queue) else f"VM {show(queue.vm)}"


def _check_cpu(adapter: Adapter, cpu: int) -> None:
    cpus = len(adapter.processors.places)
    if not 0 <= cpu < cpus:
        raise invalid(f"cpu: {show(cpu)} is not a processor of this host (0..{cpus - 1})")


def _check_buffers(buffers: int) -> None:
    if not 1 <= buffers <= MAX_BUFFERS:
        raise invalid(f"buffers: {show(buffers)} is not a number of buffers (1..{MAX_BUFFERS})")


def _check_growth(adapter: Adapter, observe: Observe, queue_id: int, buffers: int) -> None:
    """Check that the adapter has enough free buffers for a completed queue to own ``buffers``."""
    total_of = adapter.total_of(observe)
    held = adapter.budget.held(queue_id, total_of)
    left = adapter.budget.left(total_of)
    if buffers - held > left:
        raise exhausted(
            f"buffers: {buffers} for queue {queue_id} is more than {adapter.title} has left"
            f" (1..{min(held + left, MAX_BUFFERS)} fits)"
        )


def restart_worker(adapter: Adapter, observe: Observe, driver: str, *, cpu: int) -> Outcome:
    """Restart the worker of a processor that is down; a running worker is not affected."""
    _check_cpu(adapter, cpu)
    return done(
        f"processor {adapter.processors.name(cpu)} gets a new worker, if it is down",
        effects=[RestartWorker(cpu)],
        changed=False,
    )


def _usable_lookahead(adapter: Adapter, lookahead_bytes: int) -> int:
    """Return the lookahead to use for a requested one: 0, or at least the adapter's minimum."""
    asked = f"lookahead_bytes: {show(lookahead_bytes)}"
    if lookahead_bytes == 0:
        return 0
    if not adapter.can_split:
        raise invalid(f"{asked} does not fit NDIS {adapter.spec.ndis_version} (0 fits)")
    if lookahead_bytes < 0:
        raise invalid(f"{asked} is below 0 (0..{adapter.max_lookahead_bytes} fits)")
    if lookahead_bytes > adapter.max_lookahead_bytes:
        raise NdisError(
            NdisStatus.NOT_SUPPORTED,
            f"{asked} is more than {adapter.title} can split at (0..{adapter.max_lookahead_bytes} fits)",
        )
    return max(lookahead_bytes, adapter.min_lookahead_bytes)


def _may_use_guest_memory(adapter: Adapter, queue: Queue) -> bool:
    """Return whether a queue's frames may be in its VM's memory: all its filters need a VLAN number."""
    return (
        queue.lookahead_bytes > 0
        and queue.vm is not None
        and adapter.spec.vlan_filtering
        and bool(queue.filters)
        and all(isinstance(vlan_of(one.key), int) for one in queue.filters.values())
    )
