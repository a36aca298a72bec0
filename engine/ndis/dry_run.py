"""Dry runs of requests (``what_if``): the answer, the queue's next state, and the steering changes."""

from collections.abc import Callable
from typing import Any, Final

from engine.counted import counted
from engine.ndis.adapter import Adapter
from engine.ndis.outcome import NdisError, Outcome
from engine.ndis.queue import DEFAULT_QUEUE, State, describe_key, key_in_words
from engine.ndis.steering import TEST_ANY

MAX_CHANGES: Final = 256
"""Limit of steering changes listed in an answer; ``total_changes`` counts all of them."""

_TOLD = 3
_UNMOVED = "every frame would go where it goes now"


def foresee(adapter: Adapter, run: Callable[[Adapter], Outcome], queue_id: int | None) -> Outcome:
    """Apply ``run`` to a copy of the adapter and return its answer; the adapter itself is unchanged.

    These fields are added to the request's result: ``ndis_status``; ``next_state`` of the queue that the
    request names (None if it names none or several); and ``steering``.
    """
    trial = adapter.copy()
    try:
        outcome = run(trial)
    except NdisError as error:
        trial = adapter
        outcome = Outcome(error.status, error.message)
    result = dict(outcome.result)
    for entry in result.get("queues", ()):
        entry["next_state"] = _state(trial, entry["queue_id"])
    subject = result.get("queue_id", queue_id)
    result["ndis_status"] = str(outcome.ndis_status)
    result["next_state"] = None if subject is None else _state(trial, subject)
    result["steering"] = _steering(adapter, trial)
    message = f"what if: {outcome.message}" if outcome.status == "ok" else outcome.message
    return Outcome(outcome.ndis_status, message, result)


def malformed(error: NdisError) -> Outcome:
    """Return the answer to a dry run of a request that could not be decoded."""
    steering = {"sentence": _UNMOVED, "changes": [], "total_changes": 0}
    result = {"ndis_status": str(error.status), "next_state": None, "steering": steering}
    return Outcome(error.status, error.message, result)


def _state(adapter: Adapter, queue_id: int) -> str:
    queue = adapter.queues.get(queue_id)
    return str(State.UNDEFINED if queue is None else queue.state)


def _destination(adapter: Adapter, key: int) -> int:
    """Return the queue for a key (contract 1, rule 4). TEST_ANY covers VLANs without a key of their own."""
    filters = (adapter.filter_of.get(candidate) for candidate in {key, key | TEST_ANY})
    return min(
        (one.queue_id for one in filters if one is not None and adapter.queues[one.queue_id].takes_frames),
        default=DEFAULT_QUEUE,
    )


def _touched_macs(before: Adapter, after: Adapter) -> set[int]:
    """Return the MACs of filters that are set or cleared, or whose queue starts or stops taking frames."""
    keys = set(before.filter_of.items()) ^ set(after.filter_of.items())
    macs = {key >> 16 for key, _ in keys}
    for queue_id, queue in after.queues.items():
        known = before.queues.get(queue_id)
        if known is not None and known.takes_frames != queue.takes_frames:
            macs.update(one.key >> 16 for one in (*known.filters.values(), *queue.filters.values()))
    return macs


def _steering(before: Adapter, after: Adapter) -> dict[str, Any]:
    """Describe the changes: MACs and VLANs that change queue, queues that change processor, lost ports."""
    macs = _touched_macs(before, after)
    keys = {key for adapter in (before, after) for key in adapter.filter_of if key >> 16 in macs}
    moved = []
    for key in sorted(keys):
        source, target = _destination(before, key), _destination(after, key)
        if source != target:
            moved.append((key, source, target))
    told = [
        f"frames to {key_in_words(key)} would go to {_called(target)} instead of {_called(source)}"
        for key, source, target in moved[:_TOLD]
    ]
    if len(moved) > _TOLD:
        told.append(f"{len(moved) - _TOLD:,} more would go elsewhere")
    for queue_id, queue in after.queues.items():
        known = before.queues.get(queue_id)
        if known is not None and known.cpu != queue.cpu:
            told.append(
                f"{_called(queue_id)} would be served by processor {after.processors.name(queue.cpu)}"
                f" instead of {after.processors.name(known.cpu)}"
            )
    gone = before.ports.keys() - after.ports.keys()
    if gone:
        told.append(f"{counted(len(gone), 'port')} of the switch would be gone")
    return {
        "sentence": "; ".join(told) or _UNMOVED,
        "changes": [
            {**describe_key(key), "from_queue": source, "to_queue": target}
            for key, source, target in moved[:MAX_CHANGES]
        ],
        "total_changes": len(moved),
    }


def _called(queue_id: int) -> str:
    return "the default queue" if queue_id == DEFAULT_QUEUE else f"queue {queue_id}"
