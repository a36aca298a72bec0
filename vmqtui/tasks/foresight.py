"""What is said of an answer to "what if": the effect of a change before it is made."""

from typing import Any

from engine.bus.messages import Response
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
            f"queue {entry.get('queue_id')} would have {entry.get('buffers')} buffers"
            for entry in _entries(result.get("queues"))
        ]
    steering = _steering(step, result.get("steering"))
    if "cpu" in (step.foresee or {}) and steering and step.op == "set_queue_parameters":
        parts = []  # the engine's sentence on steering says the same, and from where
    parts += steering
    if response.ndis_status == "NDIS_STATUS_PENDING":
        parts.append("it would be pending until then")
    held = [entry for entry in _entries(result.get("queues")) if entry.get("outstanding")]
    if step.op in ("remove_vm", "migrate_vm") and held:
        buffers = sum(int(entry["outstanding"]) for entry in held)
        parts.append(f"{buffers} buffers it holds would be returned")
    return "; ".join(part for part in parts if part), True


def _entries(value: Any) -> list[dict[str, Any]]:
    """Maps of a list, as another writer's answer may have them."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _steering(step: Step, steering: Any) -> list[str]:
    """What would go elsewhere, as the engine says it."""
    if not isinstance(steering, dict) or not isinstance(steering.get("sentence"), str):
        return []
    sentence = printable(steering["sentence"])
    elsewhere = "instead of" in sentence or "gone" in sentence
    return [sentence] if elsewhere or step.op in _ABOUT_STEERING else []
