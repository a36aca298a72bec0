"""What a change left, and what has changed since, by another client or the balancer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engine.bus.messages import Response
from engine.ndis.processors import processor_name
from engine.telemetry.config import AdapterConfig, Config
from vmqtui.columns.shared import vlan_text
from vmqtui.printable import printable
from vmqtui.tasks.task import Step, number_in

Thing = tuple[str, int | None]
"""A queue by adapter and id; an adapter without an id; the host, for its balancer, without either ("")."""
Values = dict[str, Any]
"""Of a queue ``cpu``, ``buffers``, ``name`` and ``filters`` (MAC and VLAN each); else settings by key."""

_OF_QUEUE = ("cpu", "buffers", "name")
_WORDS = {"cpu": "processor"}


def left_by(before: Config | None, done: Sequence[tuple[Step, Response]]) -> dict[Thing, Values]:
    """What steps left of the things they changed, worked out from the configuration before them.

    A queue is there with all its values, also those that no step changed; of other things those changed.
    """
    left: dict[Thing, Values] = {}
    answers = {step.key: response for step, response in done}
    for step, response in done:
        try:
            params = step.params(answers)
            _apply(left, before, step.op, params, response)
        except (KeyError, TypeError, ValueError):
            continue  # an answer that says nothing usable: nothing is known of that step
    return left


def _apply(
    left: dict[Thing, Values], before: Config | None, op: str, params: Mapping[str, Any], response: Response
) -> None:
    adapter = str(params.get("adapter", ""))
    if op in ("set_adapter", "set_balancer"):
        wanted = {key: value for key, value in params.items() if key != "adapter"}
        left[adapter, None] = left.get((adapter, None), {}) | wanted
        return
    given = {key: params[key] for key in _OF_QUEUE if key in params}
    if op == "allocate_queue":
        left[adapter, number_in(response, "queue_id")] = {"filters": frozenset(), **given}
        return
    if op not in ("set_queue_parameters", "set_filter", "clear_filter"):
        return
    thing = adapter, params["queue_id"]
    values = left[thing] if thing in left else queue_values(before, *thing)
    if values is None:
        return
    tests = values.get("filters", frozenset())
    if op == "set_filter":
        tests |= {(params["mac"], params.get("vlan"))}
    elif op == "clear_filter":
        known = _adapter(before, adapter)
        filters = known.filters if known is not None else ()
        tests -= {(one.mac, one.vlan) for one in filters if one.filter_id == params["filter_id"]}
    left[thing] = values | given | {"filters": tests}


def _adapter(config: Config | None, name: str) -> AdapterConfig | None:
    return next((one for one in config.adapters if one.name == name), None) if config is not None else None


def queue_values(config: Config | None, adapter: str, queue_id: int) -> Values | None:
    """The values of a queue; None where there is none."""
    known = _adapter(config, adapter)
    queue = next((one for one in known.queues if one.queue_id == queue_id), None) if known else None
    if known is None or queue is None:
        return None
    tests = frozenset((one.mac, one.vlan) for one in known.filters if one.queue_id == queue_id)
    return {key: getattr(queue, key) for key in _OF_QUEUE} | {"filters": tests}


def changed_since(left: Mapping[Thing, Values], config: Config | None) -> list[str]:
    """What is no longer as it was left, a phrase each."""
    return [words for thing, values in left.items() for words in _changes(thing, values, config)]


def _changes(thing: Thing, values: Values, config: Config | None) -> Iterator[str]:
    adapter, queue_id = thing
    now: Values | None
    if queue_id is not None:
        called, now = f"queue {queue_id}", queue_values(config, adapter, queue_id)
    elif adapter:
        settings = _adapter(config, adapter)
        called, now = printable(adapter), None if settings is None else msgspec.structs.asdict(settings)
    else:
        called, now = "balancer", None if config is None else config.balancer
    if now is None:
        return
    for key, value in values.items():
        if key == "filters":
            yield from _of_filters(called, value, now[key])
        elif key in now and now[key] != value:
            yield f"{called}: {_WORDS.get(key, key)} {_shown(key, value)} → {_shown(key, now[key])}"


def _of_filters(called: str, before: frozenset[Any], now: frozenset[Any]) -> Iterator[str]:
    for words, tests in (("set", now - before), ("cleared", before - now)):
        for mac, vlan in sorted(tests, key=str):
            yield f"{called}: filter {mac}, VLAN {vlan_text(vlan)} {words}"


def _shown(key: str, value: Any) -> str:
    if key == "cpu" and isinstance(value, int):
        return processor_name(value)
    return printable(str(value).lower() if isinstance(value, bool) else str(value))
