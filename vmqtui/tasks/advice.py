"""Applies the fix of a finding: sends its requests one after another."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.advice.finding import Finding, Request
from engine.counted import counted
from engine.telemetry.config import AdapterConfig, FilterConfig, QueueConfig
from vmqtui.columns.advice import effect, measured
from vmqtui.columns.column import vlan_text
from vmqtui.printable import printable
from vmqtui.state.rows import is_filter, is_so, waits
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.foresight import taken_by_new
from vmqtui.tasks.task import Answers, Foreseen, Step, Task, number_in

_FINAL: Final[Mapping[str, str]] = {
    "free_queue": "a freed queue is gone, and its counters with it",
    "remove_vm": "a VM that is removed is gone from this switch, and its queues with it",
}
"""Operations without an undo, each with the reason."""


_LISTED: Final = 8
"""Maximum number of requests listed in the dialog; it shows only the number of the others."""


def apply_fix(finding: Finding, snapshot: Snapshot) -> Task | str:
    """A task with a finding's requests; a sentence if the finding has none, or if they are outdated.

    ``snapshot`` is the newest one; the finding may be older.
    """
    if not finding.requests:
        return finding.fix if finding.withheld else f"no request mends this; {finding.fix}"
    if (why := _outdated(finding, snapshot)) is not None:
        return why
    steps = [_step(place, finding, snapshot) for place in range(len(finding.requests))]
    lasting = any(one.op in _FINAL for one in finding.requests)
    listed = [f"· {one.title}" for one in steps[:_LISTED]]
    if len(steps) > _LISTED:
        listed.append(f"· … and {len(steps) - _LISTED} more")
    return Task(
        f"Fix: {printable(finding.rule)}",
        "\n".join([f"{printable(finding.fix)}:", *listed, _effect(finding)]),
        "Apply",
        lambda values: steps,
        destructive=lasting,
        fixes=finding.rule,
    )


def _effect(finding: Finding) -> str:
    """The effect of a fix; the present value alone if it was not tried: a preview of the requests follows."""
    if finding.after is None:
        return f"{printable(finding.measure)}: {measured(finding, finding.value)} now"
    return effect(finding)


def _outdated(finding: Finding, snapshot: Snapshot) -> str | None:
    """Why a fix is outdated: an object it needs is gone, or it was already applied; None if it is not."""
    already = []
    for one in finding.requests:
        adapter = _adapter(one, snapshot)
        if "adapter" in one.params and adapter is None:
            return f"adapter {printable(str(one.params['adapter']))} is not known"
        if adapter is not None and (why := _missing(one, finding, adapter)) is not None:
            return f"this fix is outdated: {printable(why)}"
        already.append(is_so(one, snapshot.index))
    return "this fix was applied already" if all(already) else None


def _missing(request: Request, finding: Finding, adapter: AdapterConfig) -> str | None:
    """What changed on the adapter since the finding and makes the request invalid; None if nothing did."""
    params = request.params
    queues = {queue.queue_id: queue for queue in adapter.queues}
    if request.generation is not None:
        queue = queues.get(params["queue_id"])
        if queue is None or queue.generation != request.generation:
            return f"queue {params['queue_id']} was freed"
    match request.op:
        case "clear_filter":
            if not is_filter(adapter.filters, request):
                return f"filter {params['filter_id']} was cleared"
        case "complete_allocation" if request.queue_from is None:
            known = [queues[number] for number in params["queue_ids"] if number in queues]
            if not known or not all(map(waits, known)):
                return f"queue {finding.queue_id} waits for no completion"
        case "allocate_queue" if finding.queue_id is None:
            if any(queue.vm == params.get("vm") is not None for queue in adapter.queues):
                return f"{params['vm']} has a queue"
        case "remove_vm" | "resume_vm":
            if all(queue.vm != params["vm"] for queue in adapter.queues):
                return f"{params['vm']} has no queue"
    return None


def _adapter(request: Request, snapshot: Snapshot) -> AdapterConfig | None:
    """The adapter of a request; None if it is unknown or the request is for the host."""
    adapter = snapshot.index.adapters.get(str(request.params.get("adapter")))
    return None if adapter is None else adapter.settings


def _step(place: int, finding: Finding, snapshot: Snapshot) -> Step:
    """The step of one request; only steps independent of others have a "what if" preview."""
    request = finding.requests[place]
    adapter = _adapter(request, snapshot)
    alone = place == 0 or (request.op == "set_queue_parameters" and "cpu" in request.params)
    queue_id = request.params.get("queue_id")
    queues = adapter.queues if adapter is not None else []
    queue = next((one for one in queues if one.queue_id == queue_id), None)
    fixed = request.queue_from is None and request.op != "free_queue"
    about = (
        (adapter.name, queue.queue_id, queue.generation)
        if adapter is not None and queue is not None
        else None
    )
    return Step(
        _key(place),
        _title(request.op, request.params, snapshot, to_new=request.queue_from is not None),
        request.op,
        lambda answers: _params(request, answers),
        foresee=dict(request.params) if alone and request.queue_from is None else None,
        foreseen=_taken(place, finding, snapshot),
        undo=_undo(place, request, adapter, queue, snapshot),
        about=about if fixed else None,
    )


def _title(op: str, params: Mapping[str, Any], snapshot: Snapshot, *, to_new: bool = False) -> str:
    """A phrase for a request; ``to_new``: it is about a queue that the fix allocates."""
    index = snapshot.index.adapters.get(str(params.get("adapter")))
    of = f" of {printable(str(params['adapter']))}" if len(snapshot.adapter_names) > 1 and index else ""
    numbers = params.get("queue_ids") or [params.get("queue_id")]
    known = index.queues if index is not None else {}
    queue = ", ".join(_queue(number, known.get(number)) for number in numbers) + of
    if to_new:
        queue = "the new queue"
    vm = f"VM {printable(str(params.get('vm')))}{of}"
    settings = ", ".join(
        f"{key} = {printable(_value(one))}" for key, one in params.items() if key != "adapter"
    )
    match op:
        case "set_queue_parameters":
            cpu = params.get("cpu")
            buffers = params.get("buffers")
            parts = [] if cpu is None else [f"move {queue} to processor {snapshot.processors.name(cpu)}"]
            parts += [] if buffers is None else [f"give {queue} {counted(buffers, 'buffer')}"]
            return " and ".join(parts) or f"change {queue}"
        case "set_filter":
            return f"set filter {params['mac']}, VLAN {vlan_text(params.get('vlan'))} on {queue}"
        case "clear_filter":
            one = _filter(index.settings.filters if index is not None else (), params.get("filter_id"))
            test = f" ({one.mac}, VLAN {vlan_text(one.vlan)})" if one is not None else ""
            return f"clear filter {params.get('filter_id')}{test} of {queue}"
        case "free_queue":
            return f"free {queue}"
        case "complete_allocation":
            return f"complete {queue}"
        case "allocate_queue":
            return f"allocate {printable(str(params.get('name') or params.get('vm') or 'a queue'))}{of}"
        case "set_adapter":
            return f"set {settings} of {printable(str(params.get('adapter')))}"
        case "set_balancer":
            return f"set the balancer's {settings}"
    return f"{op.removesuffix('_vm').replace('_', ' ')} {vm}"


def _queue(number: Any, queue: QueueConfig | None) -> str:
    name = "" if queue is None else printable(queue.name or queue.vm or "")
    return f"queue {number}" + (f" ({name})" if name else "")


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _taken(place: int, finding: Finding, snapshot: Snapshot) -> Foreseen | None:
    """The frames that a new queue would receive, for a filter on a queue that the fix allocates; filters that
    it clears before are gone by then."""
    request = finding.requests[place]
    adapter = _adapter(request, snapshot)
    if request.op != "set_filter" or request.queue_from is None or adapter is None:
        return None
    before = [one for one in finding.requests[:place] if one.params.get("adapter") == adapter.name]
    cleared = {one.params["filter_id"] for one in before if one.op == "clear_filter"}
    freed = {one.params["queue_id"] for one in before if one.op == "free_queue"}
    without = {one.filter_id for one in adapter.filters if one.filter_id in cleared or one.queue_id in freed}
    return taken_by_new(snapshot, adapter.name, request.params["mac"], request.params.get("vlan"), without)


def _key(place: int) -> str:
    return f"fix-{place}"


def _params(request: Request, answers: Answers) -> dict[str, Any]:
    params = dict(request.params)
    if request.queue_from is not None:
        queue_id = number_in(answers[_key(request.queue_from)], "queue_id")
        params |= {"queue_ids": [queue_id]} if "queue_ids" in params else {"queue_id": queue_id}
    return params


def _undo(
    place: int,
    request: Request,
    adapter: AdapterConfig | None,
    queue: QueueConfig | None,
    snapshot: Snapshot,
) -> Any:
    """The ``Step.undo`` of a request."""
    op, params = request.op, request.params
    if op in _FINAL:
        return _FINAL[op]
    match op:
        case "set_balancer" if snapshot.config is not None:
            told = snapshot.config.balancer
            return lambda answers: _back(op, {key: told[key] for key in params if key in told}, snapshot)
        case "resume_vm":
            return lambda answers: _back("pause_vm", params, snapshot)
    if adapter is None:
        return None
    return _undo_on(adapter, place, request, queue, snapshot)


def _undo_on(
    adapter: AdapterConfig, place: int, request: Request, queue: QueueConfig | None, snapshot: Snapshot
) -> Any:
    """As ``_undo``, for a request to an adapter."""
    op, params = request.op, request.params
    match op:
        case "set_queue_parameters" if queue is not None:
            before: dict[str, Any] = {key: getattr(queue, key) for key in ("cpu", "buffers") if key in params}
            return lambda answers: _back(op, {**params, **before}, snapshot)
        case "set_filter":
            return lambda answers: _back(
                "clear_filter",
                {
                    "adapter": adapter.name,
                    "queue_id": _params(request, answers)["queue_id"],
                    "filter_id": number_in(answers[_key(place)], "filter_id"),
                },
                snapshot,
            )
        case "clear_filter":
            one = _filter(adapter.filters, params.get("filter_id"))
            if one is None:
                return "the filter that was cleared is not known"
            vlan = {} if one.vlan is None else {"vlan": one.vlan}
            return lambda answers: _back(
                "set_filter",
                {"adapter": adapter.name, "queue_id": one.queue_id, "mac": one.mac, **vlan},
                snapshot,
            )
        case "allocate_queue":
            return lambda answers: _back(
                "free_queue",
                {"adapter": adapter.name, "queue_id": number_in(answers[_key(place)], "queue_id")},
                snapshot,
            )
        case "set_adapter":
            return lambda answers: _back(
                op,
                {key: getattr(adapter, key, value) for key, value in params.items()}
                | {"adapter": adapter.name},
                snapshot,
            )
        case "complete_allocation" if request.queue_from is None:
            return "a completed allocation can't be taken back; d frees the queue"
    return None  # undoing the allocation frees the queue, which undoes this too


def _filter(filters: Sequence[FilterConfig], filter_id: Any) -> FilterConfig | None:
    return next((one for one in filters if one.filter_id == filter_id), None)


def _back(op: str, params: dict[str, Any], snapshot: Snapshot) -> Step:
    title = _title(op, params, snapshot)
    return Step(f"back-{title}", title, op, lambda answers: params, foresee=params)
