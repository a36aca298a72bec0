"""What is said of an answer to "what if": the effect of a change before it is made."""

from typing import Any

from engine.bus.messages import Response
from engine.scenario.keys import MAX_QUEUES
from vmqtui.printable import printable
from vmqtui.tasks.task import Step, refusal

_ABOUT_STEERING = frozenset({"set_filter", "clear_filter", "free_queue", "complete_allocation"})
"""Operations that are about where frames go: that none would go elsewhere is worth saying of them."""


def foretold(step: Step, response: Response) -> tuple[str, bool]:
    """Sentences on what a step would do, and whether it would be done."""
    refused = refusal(step, response)
    if refused is not None:
        return f"would be refused: {refused}", False
    result = response.result
    parts = [step.foreseen or printable(response.message.removeprefix("what if: "))]
    if step.op == "complete_allocation":
        parts += [
            f"queue {_number(entry, 'queue_id')} would have {_number(entry, 'buffers')} buffers"
            for entry in _entries(result.get("queues"))
        ]
    steering = _steering(step, result.get("steering"))
    if "cpu" in (step.foresee or {}) and steering and step.op == "set_queue_parameters":
        parts = []  # the engine's sentence on steering says the same, and from where
    parts += steering
    if response.ndis_status == "NDIS_STATUS_PENDING":
        parts.append("it would be pending until then")
    outstanding = [entry.get("outstanding") for entry in _entries(result.get("queues"))]
    held = sum(count for count in outstanding if isinstance(count, int))
    if step.op in ("remove_vm", "migrate_vm") and held > 0:
        parts.append(f"{held} buffers it holds would be returned")
    return "; ".join(part for part in parts if part), True


def _entries(value: Any) -> list[dict[str, Any]]:
    """Maps of a list, as another writer's answer may have them."""
    return [one for one in value[:MAX_QUEUES] if isinstance(one, dict)] if isinstance(value, list) else []


def _number(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return str(value) if isinstance(value, int) else "?"


def _steering(step: Step, steering: Any) -> list[str]:
    """What would go elsewhere, as the engine says it."""
    if not isinstance(steering, dict) or not isinstance(steering.get("sentence"), str):
        return []
    sentence = printable(steering["sentence"])
    elsewhere = "instead of" in sentence or "gone" in sentence
    return [sentence] if elsewhere or step.op in _ABOUT_STEERING else []
