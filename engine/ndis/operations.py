"""The registry of operations (contract 5), with their parameters and functions; decoding of requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal

from engine.ndis import host_settings, queries, queue_requests, vm_requests
from engine.ndis.adapter import DEFAULT_DRIVER
from engine.ndis.outcome import NdisError, NdisStatus, Outcome, invalid
from engine.scenario.keys import Key, keys_of
from engine.scenario.model import CHANGEABLE, SET_KEYS, AdapterSpec, BalancerSpec
from engine.scenario.values import (
    MAX_NAME_CHARACTERS,
    check_flag,
    check_name,
    check_vlan,
    check_whole,
    is_whole,
    parse_mac,
    show,
)

_SHOWN_KEY_CHARACTERS = 64
_LAST_SEQ = (1 << 63) - 1


class _TooLongError(ValueError):
    """A name has more characters than NDIS allows."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: a check that returns its value or raises ValueError; ``fits`` names the valid values."""

    check: Callable[[object], Any]
    fits: str
    required: bool = True


@dataclass(frozen=True)
class Operation:
    """One operation: its function, and its parameters in addition to the common ones.

    ``run`` gets the object that ``about`` names, the data plane's gauges, the driver, and the parameters.
    ``needs_adapter``: on a host with several adapters, the request must name one. ``fixed`` lists keys of
    ``[[adapter]]`` that no request can change.
    """

    run: Callable[..., Outcome]
    parameters: Mapping[str, Parameter]
    needs_adapter: bool = True
    about: Literal["adapter", "traffic", "balancer", "event_history"] = "adapter"
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Request:
    """A well-formed request, not yet checked against the adapter's state."""

    operation: Operation
    adapter: str | None
    driver: str
    what_if: bool
    values: dict[str, Any]


def _name(value: object) -> str:
    if isinstance(value, str) and len(value) > MAX_NAME_CHARACTERS:
        raise _TooLongError(f"{show(value)} has {len(value)} characters (1..{MAX_NAME_CHARACTERS} fit)")
    return check_name(value)


def _name_or_nothing(value: object) -> str | None:
    return None if value is None else _name(value)


def _whole(value: object) -> int:
    if isinstance(value, int) and is_whole(value):
        return value
    raise ValueError(f"{show(value)} is not a whole number")


def _whole_in(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        return check_whole(value, low, high)

    return check


def _wholes(value: object) -> list[int]:
    if isinstance(value, list | tuple) and all(is_whole(one) for one in value):
        return list(value)
    raise ValueError(f"{show(value)} is not an array of queue ids")


def _as_it_is(value: object) -> object:
    return value


def _adapter_key(name: str) -> Parameter:
    """Return the parameter for a key of ``[[adapter]]``, checked as in a scenario file.

    None for a key of the processor set takes its value away.
    """
    key = keys_of(AdapterSpec)[name]
    assert isinstance(key, Key)
    if name in SET_KEYS:
        return Parameter(lambda value: None if value is None else key.read(value), key.fits, required=False)
    return Parameter(key.read, key.fits, required=False)


_NAME = Parameter(_name, f"a name of 1..{MAX_NAME_CHARACTERS} characters")
_VM = Parameter(_name, "a VM's name")
_QUEUE_ID = Parameter(_whole, "a queue's id")
_FILTER_ID = Parameter(_whole, "a filter's id")
_CPU = Parameter(_whole, "a processor's number")
_BUFFERS = Parameter(_whole, "a number of buffers")


def _optional(parameter: Parameter) -> Parameter:
    return Parameter(parameter.check, parameter.fits, required=False)


COMMON: Final[Mapping[str, Parameter]] = {
    "adapter": _optional(_NAME),
    "driver": _optional(_NAME),
    "what_if": Parameter(check_flag, "true or false", required=False),
}
"""Parameters that every operation takes."""

OPERATIONS: Final[Mapping[str, Operation]] = {
    "allocate_queue": Operation(
        queue_requests.allocate_queue,
        {
            "name": _NAME,
            "vm": Parameter(_name_or_nothing, "a VM's name, or nothing"),
            "cpu": _CPU,
            "buffers": _BUFFERS,
            "lookahead_bytes": Parameter(_whole, "a number of bytes", required=False),
        },
    ),
    "complete_allocation": Operation(
        queue_requests.complete_allocation, {"queue_ids": Parameter(_wholes, "an array of queue ids")}
    ),
    "set_queue_parameters": Operation(
        queue_requests.set_queue_parameters,
        {
            "queue_id": _QUEUE_ID,
            "cpu": _optional(_CPU),
            "buffers": _optional(_BUFFERS),
            "name": _optional(_NAME),
            "keep_home": Parameter(check_flag, "true or false", required=False),
        },
    ),
    "free_queue": Operation(queue_requests.free_queue, {"queue_id": _QUEUE_ID}),
    "set_filter": Operation(
        queue_requests.set_filter,
        {
            "queue_id": _QUEUE_ID,
            "mac": Parameter(parse_mac, 'a unicast MAC, like "00:15:5d:00:00:01"'),
            "vlan": Parameter(check_vlan, '1..4094, "untagged", or left out', required=False),
        },
    ),
    "clear_filter": Operation(queue_requests.clear_filter, {"queue_id": _QUEUE_ID, "filter_id": _FILTER_ID}),
    "enum_queues": Operation(queries.enum_queues, {}),
    "enum_filters": Operation(queries.enum_filters, {"queue_id": _QUEUE_ID}),
    "query_queue": Operation(queries.query_queue, {"queue_id": _QUEUE_ID}),
    "query_filter": Operation(queries.query_filter, {"filter_id": _FILTER_ID}),
    "query_capabilities": Operation(queries.query_capabilities, {}),
    "pause_vm": Operation(vm_requests.pause_vm, {"vm": _VM}),
    "resume_vm": Operation(vm_requests.resume_vm, {"vm": _VM}),
    "remove_vm": Operation(vm_requests.remove_vm, {"vm": _VM}),
    "migrate_vm": Operation(vm_requests.migrate_vm, {"vm": _VM}),
    "query_traffic": Operation(host_settings.query_traffic, {}, needs_adapter=False, about="traffic"),
    "set_traffic": Operation(
        host_settings.set_traffic,
        {
            "seed": Parameter(_as_it_is, "a seed", required=False),
            "mix": Parameter(_as_it_is, "an array of mixes", required=False),
        },
        needs_adapter=False,
        about="traffic",
    ),
    "set_balancer": Operation(
        host_settings.set_balancer,
        {name: Parameter(_as_it_is, "a key of [balancer]", required=False) for name in keys_of(BalancerSpec)},
        needs_adapter=False,
        about="balancer",
    ),
    "set_adapter": Operation(
        host_settings.set_adapter,
        {name: _adapter_key(name) for name in CHANGEABLE},
        fixed=frozenset(keys_of(AdapterSpec)) - frozenset(CHANGEABLE),
    ),
    "query_events": Operation(
        queries.query_events,
        {
            "since_seq": Parameter(_whole_in(0, _LAST_SEQ), "an event's seq", required=False),
            "limit": Parameter(
                _whole_in(1, queries.MAX_EVENTS),
                f"a number of events, 1..{queries.MAX_EVENTS}",
                required=False,
            ),
        },
        needs_adapter=False,
        about="event_history",
    ),
    "restart_worker": Operation(queue_requests.restart_worker, {"cpu": _CPU}, needs_adapter=False),
    "ping": Operation(queries.ping, {}, needs_adapter=False),
}
"""Every operation by name."""


def decode(op: str, params: object) -> Request:
    """Decode a received request. Raises ``NdisError``."""
    operation = OPERATIONS.get(op)
    if operation is None:
        raise NdisError(
            NdisStatus.NOT_SUPPORTED,
            f"op: {show(op)} is not an operation; the nearest is {_nearest(op, OPERATIONS)}",
        )
    if not isinstance(params, Mapping):
        raise invalid(f"params: {show(params)} is not a map")
    known = {**operation.parameters, **COMMON}
    values: dict[str, Any] = {}
    for key, value in params.items():
        parameter = known.get(key)
        if key in operation.fixed:
            fitting = ", ".join(operation.parameters)
            raise NdisError(
                NdisStatus.NOT_SUPPORTED, f"{key}: is fixed while the engine runs ({fitting} can be changed)"
            )
        if parameter is None:
            nearest = _nearest(key, {**known, **dict.fromkeys(operation.fixed)})
            raise invalid(f"params: {show(key)} is not a parameter of {op}; the nearest is {nearest}")
        try:
            values[key] = parameter.check(value)
        except _TooLongError as error:
            raise NdisError(NdisStatus.INVALID_LENGTH, f"{key}: {error}") from None
        except ValueError as error:
            raise invalid(f"{key}: {error}") from None
    for name, parameter in operation.parameters.items():
        if parameter.required and name not in values:
            raise invalid(f"{name}: missing ({parameter.fits} fits)")
    return Request(
        operation=operation,
        adapter=values.pop("adapter", None),
        driver=values.pop("driver", DEFAULT_DRIVER),
        what_if=values.pop("what_if", False),
        values=values,
    )


def _nearest(word: object, known: Mapping[str, object]) -> str:
    """Return the known name that is most similar to ``word``."""
    nearest = get_close_matches(str(word)[:_SHOWN_KEY_CHARACTERS], list(known), n=1, cutoff=0.0)
    return show(nearest[0])
