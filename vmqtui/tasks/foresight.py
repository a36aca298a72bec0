"""Previews the effect of a change: from the engine's answer to "what if", or computed here."""

from collections.abc import Container, Sequence
from typing import Any

from engine.bus.messages import Response
from engine.counted import counted
from engine.ndis.resources import share_out
from engine.scenario.keys import MAX_QUEUES
from engine.telemetry.config import QueueConfig, Vlan
from engine.view.rates import known_sum, ratio
from vmqtui.columns.column import vlan_text
from vmqtui.numbers import compact, grouped, percent
from vmqtui.printable import printable
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.task import Foreseen, Step, refusal

_ABOUT_STEERING = frozenset({"set_filter", "clear_filter", "free_queue", "complete_allocation"})
"""Operations that steer frames: their preview also shows the sentence that no frame would go elsewhere."""

_MAKING_WAY = frozenset({"clear_filter", "free_queue", "set_adapter", "remove_vm", "migrate_vm"})
"""Operations that free what a later request may need: a filter's test, a queue, buffers, a limit."""
_NEEDING = frozenset(
    {
        "free_queue",
        "set_filter",
        "set_adapter",
        "allocate_queue",
        "complete_allocation",
        "set_queue_parameters",
    }
)
"""Operations that are refused where such a thing is not free."""


def stands_alone(step: Step, before: Sequence[Step]) -> bool:
    """Whether the engine, which answers each "what if" as if nothing were done before it, can tell what a
    step does after these."""
    if step.op not in _NEEDING or _only_moves(step):
        return True
    return not any(
        (one.op in _MAKING_WAY or (one.op == "set_queue_parameters" and not _only_moves(one)))
        and one.group == step.group
        for one in before
    )


def _only_moves(step: Step) -> bool:
    return step.op == "set_queue_parameters" and "buffers" not in (step.foresee or {})


def foretold(step: Step, response: Response) -> Foreseen:
    """The effect of a step, given the answer to its "what if"; ``fits`` is false if it would be refused."""
    refused = refusal(step, response)
    if refused is not None:
        return Foreseen(f"would be refused: {refused}", fits=False)
    if step.foreseen is not None:
        return step.foreseen
    result = response.result
    parts = [printable(response.message.removeprefix("what if: "))]
    if step.op == "complete_allocation":
        parts += [
            f"queue {_number(entry, 'queue_id')} would have {_buffers(entry)}"
            for entry in _entries(result.get("queues"))
        ]
    steering = _steering(step, result.get("steering"))
    if "cpu" in (step.foresee or {}) and steering and step.op == "set_queue_parameters":
        parts = []  # the engine's sentence on steering repeats it and adds the source
    parts += steering
    if response.ndis_status == "NDIS_STATUS_PENDING":
        parts.append("it would be pending until then")
    outstanding = [entry.get("outstanding") for entry in _entries(result.get("queues"))]
    held = sum(count for count in outstanding if isinstance(count, int))
    if step.op in ("remove_vm", "migrate_vm") and held > 0:
        parts.append(f"it would return {counted(held, 'buffer')} that it holds")
    return Foreseen("; ".join(part for part in parts if part))


def _entries(value: Any) -> list[dict[str, Any]]:
    """The dicts in a list from an untrusted answer; [] if it is not a list."""
    return [one for one in value[:MAX_QUEUES] if isinstance(one, dict)] if isinstance(value, list) else []


def _number(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return str(value) if isinstance(value, int) else "?"


def _buffers(entry: dict[str, Any]) -> str:
    value = entry.get("buffers")
    return counted(value if isinstance(value, int) else None, "buffer")


def _steering(step: Step, steering: Any) -> list[str]:
    """The engine's sentence on frames that would go elsewhere, if it is worth showing."""
    if not isinstance(steering, dict) or not isinstance(steering.get("sentence"), str):
        return []
    sentence = printable(steering["sentence"])
    elsewhere = "instead of" in sentence or "gone" in sentence
    return [sentence] if elsewhere or step.op in _ABOUT_STEERING else []


def taken_by_new(
    snapshot: Snapshot, adapter: str, mac: str, vlan: Vlan, without: Container[int] = ()
) -> Foreseen:
    """The frames that a new queue with this filter would receive, once filters ``without`` are cleared, and
    their present rate."""
    tests = f"{mac}{'' if vlan is None else f', VLAN {vlan_text(vlan)}'}"
    joined = snapshot.index.adapters.get(adapter)
    if joined is None:
        return Foreseen(f"no other filter has {tests}")
    new = next(number for number in range(1, len(joined.queues) + 2) if number not in joined.queues)
    first = joined.taker(mac, vlan, without)
    if first is not None and first.queue_id < new:
        return Foreseen(
            f"it would take no frame: {_named(first)} takes those to {tests}, and comes first", False
        )
    now = joined.taker(mac, vlan)
    words = f"it would take frames to {tests} from {_named(now) if now else 'the default queue'}"
    if now is not None:
        return Foreseen(words)
    rows = [row for row in snapshot.top if row.adapter == adapter and row.mac == mac and row.queue_id is None]
    rate = known_sum(row.pps for row in rows if vlan in (row.vlan, None))
    if rate is not None:
        landing = known_sum(one.default_pps for one in snapshot.adapters if one.adapter == adapter)
        share = ratio(rate, landing)
        words += f": {compact(rate)} frames/s now"
        words += f", {percent(share)} of what lands there" if share else ""
    return Foreseen(words)


def _named(queue: QueueConfig) -> str:
    return f"queue {queue.queue_id} ({printable(queue.vm or queue.name)})"


def without_filter(buffers: Foreseen | None) -> Foreseen:
    """The effect of completing a new queue that has no filter; ``buffers`` is that on its buffers."""
    more = f"; {buffers.words}" if buffers is not None else ""
    return Foreseen(
        f"without a MAC it would be paused and take no frame until f sets a filter{more}", fits=False
    )


def buffers_of_new(snapshot: Snapshot, adapter: str, asked: int) -> Foreseen | None:
    """The number of unallocated receive buffers that a new queue would get; None if unknown."""
    known = next((one for one in snapshot.adapters if one.adapter == adapter), None)
    given = known.buffers_given if known is not None else None
    total = known.config.buffers if known is not None and known.config is not None else None
    if total is None or given is None:
        return None
    left = max(0, total - given)
    got = share_out([asked], left)[0]
    if got == asked:
        return Foreseen(f"it would have {grouped(asked)} of the {grouped(left)} buffers that no queue has")
    if got:
        return Foreseen(f"it would have {counted(got, 'buffer')}: no more are left", fits=False)
    return Foreseen(
        f"its allocation could not be completed: {counted(left, 'buffer')} left, less than half of what it"
        " asks for",
        fits=False,
    )
